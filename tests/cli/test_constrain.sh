# Constrained answers: what starts, ends valid.
. "$(dirname "$0")/lib.sh"
find_model
export NOCTULE_MODEL="$plain"
schema='{"type":"object","required":["title","tags"],"properties":{"title":{"type":"string"},"n":{"type":"integer"},"tags":{"type":"array","items":{"enum":["a","b"]},"maxItems":3}}}'
echo "$schema" >schema.json
printf 'root ::= greeting (", " name)* "!" # greets\ngreeting ::= "hello" | "good day"\nname ::= [A-Z] [a-z]{1,8}\n' >greet.gbnf
python=/usr/bin/python3
[ -x "$python" ] || python=

# is_json WHAT: stdout is one JSON value
is_json() {
    [ -z "$python" ] || holds "$1: should be JSON" "$python" -c 'import json; json.loads(open("out").read())'
}

# ---- each kind, greedy and sampled, with guesses and without
for settings in "--greedy" "--temp 1.5 --seed 7 --top-p 0.9" "--temp 8 --seed 9 --repeat-penalty 1.4"; do
    for flags in "--choice bug,feature,question -n 8" "--json-mode -n 40" "--schema @schema.json -n 60" "--grammar greet.gbnf -n 24"; do
        # shellcheck disable=SC2086
        run run --spec off $settings $flags "The report of the" </dev/null
        exits 0; silent
        cp out plain_out
        case $flags in
        *choice*) holds "one of the choices" grep -qxE 'bug|feature|question' out ;;
        *grammar*) holds "the grammar's text" grep -qxE '(hello|good day)(, [A-Z][a-z]{1,8})*!' out ;;
        *) is_json "$flags" ;;
        esac
        # shellcheck disable=SC2086
        run run --spec 6 $settings $flags "The report of the" </dev/null
        exits 0
        same out plain_out "guesses should not change a constrained answer"
    done
done
[ -z "$python" ] || {
    run run --schema "$schema" --temp 2 --seed 3 -n 80 "The report" </dev/null
    exits 0
    holds "the schema's properties" "$python" -c 'import json; d = json.load(open("out")); assert isinstance(d["title"], str) and set(d["tags"]) <= {"a", "b"} and set(d) <= {"title", "n", "tags"}'
}
run run --json --choice yes,no -n 9 "Is it" </dev/null
exits 0; prints '"finish_reason":"stop"'; prints '"truncated":false'

# ---- the limit: refused before anything is computed, kept to otherwise
least=$(run run --schema @schema.json -n 1 x </dev/null; sed -n 's/.*shortest text takes \([0-9]*\).*/\1/p' err)
run run --schema @schema.json -n 1 x </dev/null
exits 6; says "cannot be completed in 1 token:"; says "try: a larger -n"; prints_nothing
run run --schema @schema.json -n $((least - 1)) x </dev/null
exits 6; prints_nothing
run run --schema @schema.json -n "$least" --temp 3 --seed 5 x </dev/null
exits 0; is_json "within the least limit"
run run --dry-run --choice a,b x </dev/null
exits 0

# ---- wrong usage
run run --choice a,b --json-mode x </dev/null
exits 2; says "--choice and --json-mode"
run run --schema @schema.json --stop x x </dev/null
exits 2; says "--stop and --schema"
run run --grammar greet.gbnf --ignore-eos x </dev/null
exits 2; says "--ignore-eos and --grammar"
run run --choice a,,b x </dev/null
exits 2; says "choice 2 is empty"
run run --schema '{"type":"string","pattern":"x"}' x </dev/null
exits 2; says "'pattern'"
run run --schema '{"type":' x </dev/null
exits 2; says "not valid JSON"
run run --schema @missing.json x </dev/null
holds "a missing schema is an error" test "$code" -ne 0; says "missing.json"
printf 'root ::= root "a" | "b"\n' >left.gbnf
run run --grammar left.gbnf x </dev/null
exits 2; says "left.gbnf: a rule begins with itself"
printf 'root ::= "a" root\n' >never.gbnf
run run --grammar never.gbnf x </dev/null
exits 2; says "it can produce nothing"

# ---- the beginning that is given is part of the answer
run run --choice alpha,beta --assistant al x </dev/null
exits 0; holds "completed" grep -qx alpha out
run run --choice alpha,beta --assistant gl x </dev/null
exits 2; says "does not agree"

# ---- a banned token is written with others
id=$("$NOCTULE" run --json --choice zebra --greedy -n 9 x </dev/null | sed 's/.*"token_ids":\[\([0-9]*\).*/\1/')
run run --choice zebra --logit-bias "$id=-inf" -n 12 x </dev/null
exits 0; holds "the choice without the token" grep -qx zebra out

# ---- chat: every answer
printf 'Hello\nAnd then?\n' >turns.txt
run chat -m "$model" --script --choice yes,no -n 6 <turns.txt
exits 0; silent
holds "two answers of the list" test "$(grep -cxE 'yes|no' out)" -eq 2
printf 'Hello\n/set stop x\nAgain\n' >turns.txt
run chat -m "$model" --script --choice yes,no -n 6 <turns.txt
exits 2; says "--stop and --choice"

# ---- thinking comes first, and is free
thinker=$home/models/thinker
cp -r "$home/models/chatty" "$thinker"
template='<|im_start|> {% if enable_thinking is defined and enable_thinking is false %}<think>\\n\\n</think>\\n{% endif %}'
grep -v '"chat_template"' "$home/models/plain/tokenizer_config.json" | sed "1s#{#{\"chat_template\": \"$template\",#" >"$thinker/tokenizer_config.json"
run run -m "$thinker" --json --choice yes,no -n 40 --assistant "<think>I " "Is it?" </dev/null
exits 0; prints '"finish_reason":"stop"'
holds "thinking is apart" sh -c 'grep -qE "\"text\":\"(yes|no)\",\"thinking\":\"I " out'
run run -m "$thinker" --json --choice yes,no -n 40 --think on --think-budget 3 --assistant "<think>I " --seed 4 "Is it?" </dev/null
exits 0; prints '"finish_reason":"stop"'; prints '"thinking":3'
run run -m "$thinker" --choice yes,no --think off -n 6 "Is it?" </dev/null
exits 0; holds "no thinking when it is off" grep -qxE 'yes|no' out
run run -m "$model" --choice yes,no -n 6 "Is it?" </dev/null
exits 0; holds "no thinking in a model without" grep -qxE 'yes|no' out

run help constraints
exits 0; prints "--schema JSON|@FILE"
finish
