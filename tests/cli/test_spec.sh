# Guessing ahead: the same text, however many tokens are checked at once.
. "$(dirname "$0")/lib.sh"
find_model
export NOCTULE_MODEL="$plain"
text="The fox and the hen went home. The fox and the hen went home. The fox and the hen"

# spec WHAT ARGUMENT...: run with and without guesses gives the same
spec() {
    what=$1
    shift
    run run --json --spec off "$@" "$text" </dev/null
    exits 0
    sed 's/.*"token_ids"//' out >plain_ids
    for n in 2 5 auto 64; do
        run run --json --spec "$n" "$@" "$text" </dev/null
        exits 0; silent
        sed 's/.*"token_ids"//' out >ids
        same ids plain_ids "$what should be the same with --spec $n"
    done
}
spec "greedy text" --greedy -n 80
holds "there were guesses" test "$(json guessed)" -gt 0
holds "guesses should hold in a text that repeats itself" sh -c "case '$(json mean_accept)' in 1.000) exit 1 ;; esac"
spec "sampled text" --seed 5 --temp 1 -n 60
spec "text with penalties" --seed 6 --temp 0.7 --top-k 30 --repeat-penalty 1.2 --presence-penalty 0.3 -n 60
spec "text up to a stop string" --greedy -n 80 --stop "fox" --stop "."
spec "one token" --greedy -n 1

# nobody who guesses, nothing guessed
run run --json --spec 8 --drafter off --greedy -n 20 "$text" </dev/null
exits 0
holds "no guesses with --drafter off" test "$(json guessed)" = 0
run run --stats --spec 8 --greedy -n 40 "$text" </dev/null
exits 0; says "spec "
run run --stats --spec off --greedy -n 40 "$text" </dev/null
holds "no word of guesses without any" sh -c '! grep -q "spec " err'

# auto unless told otherwise, and it tells its gain
run run --json --greedy -n 60 "$text" </dev/null
exits 0; silent
holds "a gain without --spec" sh -c 'grep -q "\"gain\":[0-9]" out'

# what was learned is kept, and is no matter of text; what is damaged is passed over
run run --json --spec off --greedy -n 60 "$text" </dev/null
sed 's/.*"token_ids"//' out >plain_ids
rm -rf "$XDG_CACHE_HOME"
run run --spec auto --greedy -n 60 --cache off "$text" </dev/null
holds "--cache off keeps nothing" sh -c '! ls "$XDG_CACHE_HOME"/noctule/spec-*'
run run --spec auto --greedy -n 60 "$text" </dev/null
exits 0; silent
holds "what was learned should be kept" sh -c 'ls "$XDG_CACHE_HOME"/noctule/spec-*.json'
for damage in 'true' 'echo "{\"noctule_spec\": 1" >FILE' 'head -c 300 FILE >half; mv half FILE' ': >FILE'; do
    for file in "$XDG_CACHE_HOME"/noctule/spec-*.json; do
        sh -c "$(echo "$damage" | sed "s#FILE#$file#g")"
    done
    run run --json --spec auto --greedy -n 60 "$text" </dev/null
    exits 0; silent
    sed 's/.*"token_ids"//' out >ids
    same ids plain_ids "text should not depend on what was learned ($damage)"
done

# a conversation
printf 'Hello\nAnd then?\nAnd then?\n' >turns.txt
run chat -m "$model" --script --greedy -n 30 --spec off <turns.txt
exits 0; cp out plain_chat
run chat -m "$model" --script --greedy -n 30 --spec 6 <turns.txt
exits 0
same out plain_chat "a conversation should be the same"

# a draft head
head=$(dirname "$NCT_TINY_MODEL")-head
run run -m "$NCT_TINY_MODEL" --json --raw --greedy -n 40 --spec off "$text" </dev/null
exits 0; prints '"spec":{"on":false,"tree":1.0,"steps":39,"guessed":0,"mean_accept":1.000,"gain":null,'
sed 's/.*"token_ids"//' out >plain_ids
for how in "" "--spec 6" "--spec 6 --drafter eagle" "--spec 64 --drafter ngram" "--drafter off"; do
    # shellcheck disable=SC2086 # a list of options
    run run -m "$NCT_TINY_MODEL" --json --raw --greedy -n 40 --draft "$head" $how "$text" </dev/null
    exits 0; silent
    sed 's/.*"token_ids"//' out >ids
    same ids plain_ids "text should not depend on a head ($how)"
done
run run -m "$NCT_TINY_MODEL" --json --raw --greedy -n 40 --draft "$head" --spec 6 "$text" </dev/null
holds "the head should guess" test "$(json guessed)" -gt 100
printf '5 9 1 300 40 41 42 43\n' >list
run run -m "$NCT_TINY_MODEL" --json --raw --greedy -n 40 --draft "$head" --freq list --spec 6 "$text" </dev/null
exits 0; silent
sed 's/.*"token_ids"//' out >ids
same ids plain_ids "text should not depend on a list"
run run -m "$NCT_TINY_MODEL" --json --raw --greedy -n 40 --draft "$head" --freq list --prompt-rows --spec 6 "$text" </dev/null
exits 0; silent
sed 's/.*"token_ids"//' out >ids
same ids plain_ids "text should not depend on rows of the prompt"

# experts: fewer rows of the list, a head rounded to codes, other scales, a short window
for how in "spec.weights=stored" "spec.weights=int4" "spec.rows=3" "spec.window=8" "spec.logit_scale=1" "spec.residual_scale=0.2437" "spec.width=1"; do
    run run -m "$NCT_TINY_MODEL" --json --raw --greedy -n 40 --draft "$head" --freq list --spec 6 -X "$how" "$text" </dev/null
    exits 0; silent
    sed 's/.*"token_ids"//' out >ids
    same ids plain_ids "text should not depend on -X $how"
done
head_bytes() {
    run run -m "$NCT_TINY_MODEL" --json --raw --greedy -n 4 --draft "$head" --spec 6 -X "spec.weights=$1" "$text" </dev/null
    json weight_bytes
}
stored=$(head_bytes stored); int8=$(head_bytes int8); int4=$(head_bytes int4)
holds "a rounded head should be smaller" test "$stored" -gt "$int8" -a "$int8" -gt "$int4"
run run -X spec.weights=int2 x </dev/null
exits 2; says "expected spec.weights=int8, stored or int4"
run run -X spec.logit_scale=0 x </dev/null
exits 2; says "expected a number above 0"
run run -X spec.rows=0 x </dev/null
exits 2; says "spec.rows=1 to 1m"

# a small model
tiny=$(dirname "$NCT_TINY_MODEL")
for how in "--spec 6" "--spec 6 --drafter model" "--spec auto" "--drafter off"; do
    # shellcheck disable=SC2086 # a list of options
    run run -m "$NCT_TINY_MODEL" --json --raw --greedy -n 40 --draft "$tiny/coded" $how "$text" </dev/null
    exits 0; silent
    sed 's/.*"token_ids"//' out >ids
    same ids plain_ids "text should not depend on a small model ($how)"
done
run run -m "$NCT_TINY_MODEL" --json --raw --greedy -n 40 --draft "$tiny/coded" --spec 6 --drafter model "$text" </dev/null
holds "the small model should guess" test "$(json guessed)" -gt 100
holds "its memory should be told" sh -c 'grep -q "\"mean_accept\":[0-9.]*,\"gain\":[a-z0-9.]*,\"weight_bytes\":[1-9][0-9]*,\"cache_bytes\":[1-9]" out'
run run -m "$NCT_TINY_MODEL" --raw --draft "$tiny/coded" --spec 6 --dry-run "$text" </dev/null
exits 0; holds "a dry run tells its weights" grep -q "of the draft's" out
run run --draft "$tiny/coded" --spec 4 x </dev/null
exits 3; says "vocab"
run run -m "$NCT_TINY_MODEL" --raw --draft "$tiny/coded" --drafter eagle --spec 4 x </dev/null
exits 2; says "a whole model"
run run -m "$NCT_TINY_MODEL" --raw --draft "$head" --drafter model --spec 4 x </dev/null
exits 2; says "a draft head"
run run -m "$NCT_TINY_MODEL" --raw --draft "$tiny/coded" --freq list --spec 4 x </dev/null
exits 2; says "a whole model scores all tokens"
run run -m "$NCT_TINY_MODEL" --raw --draft "$tiny/coded" --prompt-rows --spec 4 x </dev/null
exits 2; says "there are none to add"

run run --draft "$head" --spec 4 x </dev/null
exits 3; says "hidden"
run run --draft nowhere x </dev/null
exits 3
run run --freq list x </dev/null
exits 2; says "--draft DIR"
run run --prompt-rows x </dev/null
exits 2; says "--draft DIR"

# refused
run run --spec 65 x </dev/null
exits 2; says "--spec 65: expected auto, off or a number from 1 to 64"
run run --spec often x </dev/null
exits 2; says "expected auto, off or a number"
run run --drafter eagle x </dev/null
exits 2
run run --drafter model x </dev/null
exits 2; says "--draft PATH"
finish
