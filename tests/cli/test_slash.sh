# The commands of a chat, by script where no keys are needed.
. "$(dirname "$0")/lib.sh"
find_model
export NOCTULE_MODEL="$model"

# says_turns TURN...: a script of these lines
script() {
    printf '%s\n' "$@" >turns.txt
    run chat --script --greedy -n 12 $flags <turns.txt
}
flags=

# ---- /continue gives what a longer answer would have given
flags="-n 24 --ignore-eos"
script "Tell me more"
exits 0; cp out long
flags="-n 12 --ignore-eos"
script "Tell me more" /continue
exits 0
tr -d '\n' <long >a
tr -d '\n' <out >b
same a b "/continue goes on with the answer"
script /continue
exits 0; says "nothing to go on with"
# what follows is as if the answer had come at once
script "Tell me more" /continue "And then?"
tail -n 1 out >a
flags="-n 24 --ignore-eos"
printf 'Tell me more\n' | "$NOCTULE" chat --script --greedy --session s1 $flags >/dev/null 2>err
flags="-n 12 --ignore-eos --session s1"
script "And then?"
tail -n 1 out >b
same a b "and the conversation is the same"
flags=

# ---- /push, /pop: a branch leaves no trace
script "Hello there" "And then?"
tail -n 1 out >straight
script "Hello there" /push "Something else" "More of it" /pop "And then?"
exits 0; says "back to 1 turn"
tail -n 1 out >popped
same straight popped "/pop comes back to the mark"
script "Hello there" "/push here" "Something else" /undo /undo "/pop here" "And then?"
tail -n 1 out >popped
same straight popped "even if the turns of the mark were dropped"
script /pop "/pop nowhere"
says "nothing was pushed"; says "no mark 'nowhere'"

# ---- /forget, /system
script "My name is Tim" "Hello there" /forget "And then?"
exits 0; says "oldest turns forgotten: 1, left: 1"; tail -n 1 out >a
holds "something is answered" test -s a
script /forget
says "nothing to forget"
flags="--system Bats"
script "Hello there"
cp out with
flags=
script "/system Bats" "Hello there" /system
exits 0; same out with "/system is --system"; says "  Bats"
script "Hello there" "/system Bats"
says "tokens are read again"
flags="-m $plain"
script "/system Bats"
says "needs a chat template"
flags=

# ---- /compact: a script does not ask
flags="--session long"
script "Hello there" "And then?" /compact "What now?"
exits 0; says "2 turns are replaced by the summary"
holds "what was long stays as it was" sh -c 'test "$(wc -l <state/noctule/sessions/long/transcript.jsonl)" -eq 5'
flags=
script /compact
says "nothing to compact"

# ---- /file: as files named at the start; the question is answered without reading again
printf 'alpha\nbeta\n' >a.txt
printf 'gamma\n' >'b c.txt'
flags="--stats a.txt"
script "What is it?"
cp out named
flags=--stats
script "/file a.txt" "What is it?"
exits 0; same out named "/file is a file named at the start"
says "1 file · "; says "tokens · reading"; says "cached"
script "Hello there" "/file a.txt 'b c.txt'" "What is it?"
exits 0; says "2 files"
script "/read [ab]*.txt" /context
exits 0; says "2 files"; says "(go with the next turn)"; says " free "; says "of cache"
script "/file nothere.txt" "Hello there"
exits 1; says "nothere.txt"
script /file
says "wants paths"
yes "many words" | head -c 3000 >big.txt
flags="-c 64"
script "/file big.txt"
exits 4; says "the context holds 64"
flags=

# ---- what was said
script "Hello there" "/export said.md" "/export said.jsonl" /dump "/tokens Hello there" /stats
exits 0; says "1 turn in said.md"; says "## user"; says " tokens:"; says "prefill"; says "decode"
holds "Markdown" grep -q '^## assistant' said.md
holds "messages" sh -c 'test "$(wc -l <said.jsonl)" -eq 2 && grep -q "{\"role\":\"user\",\"content\":\"Hello there\"}" said.jsonl'
script "/export"
says "wants a file"
script "Hello there" /copy "/copy code" "/copy all"
says "no way to its clipboard"; says "no block of code"; says "/copy code the last block"
script /copy
says "no answer to copy"

# ---- sessions
script "Hello there" "/save tale" "And then?"
exits 0; says "session tale saved"
holds "what comes after is saved too" test "$(wc -l <state/noctule/sessions/tale/transcript.jsonl)" -eq 5
script "/load tale" "Why?" "/fork other" "What else?" /sessions
exits 0; says "session tale: 2 turns"; says "going on in session other; tale stays as it is"; says "Hello there"
holds "the fork went on alone" sh -c 'cd state/noctule/sessions && test "$(wc -l <tale/transcript.jsonl)" -eq 7 -a "$(wc -l <other/transcript.jsonl)" -eq 9'
script "/load tale" "/save newname" "/save other"
says "there is a session other already"
holds "/save gives it another name" test -d state/noctule/sessions/newname -a ! -d state/noctule/sessions/tale
script "/load nosuch"
exits 2; says "no session 'nosuch'"
script /load /fork /save
says "/load wants"; says "/fork wants"; says "nothing to save yet"

# ---- help and suggestions
script /help
for name in file paste edit system undo retry continue push pop fork forget compact clear save load sessions export dump copy context stats sources tokens set; do
    says "  /$name"
done
script "/compct"
exits 2; says "try /compact"
script "/?"
exits 0; says "/help"
finish
