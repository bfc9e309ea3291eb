# Conversations that outlive the program: chat and run with --session, and the commands on them.
. "$(dirname "$0")/lib.sh"
find_model
export NOCTULE_MODEL="$model"
kept=state/noctule/sessions

# ---- there are none yet
run session list
exits 0; prints_nothing
run session list --json
exits 0; silent
holds "an empty array" test "$(cat out)" = "[]"
run session list --format jsonl
exits 0; prints_nothing

# ---- a conversation cut in two is one conversation
printf 'Hello there\nAnd then?\nWhy?\n' >turns.txt
run chat --script --greedy -n 12 --cache off <turns.txt
exits 0; cp out whole
holds "a script without a name saves nothing" test ! -e "$kept"
printf 'Hello there\nAnd then?\n' | "$NOCTULE" chat --script --greedy -n 12 --session tale >first 2>err
code=$?; last="chat --session tale"
exits 0
printf 'Why?\n' >turns.txt
run chat --script --greedy -n 12 --session tale <turns.txt
exits 0
cat first out >both
same both whole "a session goes on as if it had not been left"
holds "its folder is private" sh -c "ls -ld $kept/tale | grep -q '^drwx------'"
holds "its transcript too" sh -c "ls -l $kept/tale/transcript.jsonl | grep -q '^-rw-------'"
holds "six turns and a head" test "$(wc -l <$kept/tale/transcript.jsonl)" -eq 7
holds "greppable" grep -q '"text":"And then?"' $kept/tale/transcript.jsonl

# ---- the transcript alone is enough: same bytes after a load and another turn, without pages and meta.json
cp -r $kept/tale copy
printf 'More?\n' >turns.txt
run chat --script --greedy -n 12 --session tale <turns.txt
exits 0; cp out with_pages; cp $kept/tale/transcript.jsonl with_pages.jsonl
rm -rf cache $kept/tale
mkdir -m 700 $kept/tale
cp copy/transcript.jsonl $kept/tale/
run chat --script --greedy -n 12 --session tale --stats --cache off <turns.txt
exits 0
same out with_pages "a session from its transcript alone says the same"
same $kept/tale/transcript.jsonl with_pages.jsonl "and its transcript has the same ids"

# ---- the cache comes back: only the new turn is read
rm -rf cache
printf 'Hello there, and a rather long sentence follows here to be read only once.\n' >turns.txt
run chat --script --greedy -n 12 --session again <turns.txt
exits 0
run run --greedy -n 4 --session again --json "And?" </dev/null
exits 0
cached=$(json cached) prompt=$(json prompt)
holds "nearly all of it is cached" test "$cached" -gt $((prompt - cached))
holds "run adds its turn" test "$(wc -l <$kept/again/transcript.jsonl)" -eq 5
run run --greedy -n 4 --continue "And?" </dev/null
exits 0
holds "--continue takes the newest" test "$(wc -l <$kept/again/transcript.jsonl)" -eq 7
run run --greedy -n 4 --continue --dry-run "And?" </dev/null
exits 0
holds "--dry-run adds none" test "$(wc -l <$kept/again/transcript.jsonl)" -eq 7

# ---- the commands
run session list
exits 0; prints tale; prints again; prints "Hello there"
run session list --json
exits 0; prints '"id":"again"'
holds "the newest first" sh -c 'head -n 1 out | grep -q again'
holds "an array" sh -c 'head -c 2 out | grep -q "^\[{" && tail -c 3 out | grep -q "}\]"'
run session list --format jsonl
exits 0
holds "or an object a line" sh -c 'grep -v "^{.*}$" out | wc -l | grep -qx 0'
run session show tale
exits 0; prints "## user"; prints "And then?"
run session show tale --json
exits 0; prints '"turns":['
run session export tale -o tale.jsonl
exits 0; prints_nothing
holds "a line a turn" test "$(wc -l <tale.jsonl)" -eq 8
holds "as messages" grep -q '{"role":"user","content":"And then?"}' tale.jsonl
run session export tale -o tale.md
holds "as Markdown" grep -q '^## assistant' tale.md
run session show tael
exits 2; says "no session 'tael'"; says "tale"
run session show
exits 2; says "wants the name"
run session rm again
exits 0
run session show again
exits 2
run session
exits 2; says "list, show, export, rm"

# ---- names
for name in ../x .hidden a/b; do
    run run --session "$name" -n 2 Hello </dev/null
    exits 2; says "cannot be the name of a session"
done
run run --session a --continue Hello </dev/null
exits 2
run run --session a --ids 1,2,3 </dev/null
exits 2; says "--ids does not go with --session"
rm -rf state
run run --continue Hello </dev/null
exits 2; says "no session yet"

# ---- damaged transcripts are told and not written over
run run --greedy -n 4 --session hurt Hello </dev/null
exits 0
for damage in 's/"ids":\[[0-9]*/"ids":[-7/' 's/"role":"user"/"role":"king"/' '1d' 's/"ids"/"ids/'; do
    cp $kept/hurt/transcript.jsonl sound
    sed "$damage" sound >$kept/hurt/transcript.jsonl
    cp $kept/hurt/transcript.jsonl hurt
    run run --greedy -n 4 --session hurt "And?" </dev/null
    exits 1; says "transcript.jsonl: line"; prints_nothing
    same $kept/hurt/transcript.jsonl hurt "a damaged transcript stays as it is"
    cp sound $kept/hurt/transcript.jsonl
done
sed 's/"span":\[[0-9]*,/"span":[99999,/' sound >$kept/hurt/transcript.jsonl
run run --greedy -n 4 --session hurt "And?" </dev/null
exits 0 # a place that is none is found anew from the text

# ---- another model reads the text anew
run run --greedy -n 4 --session hurt -m "$plain" "And?" </dev/null
exits 0; says "was held with another model"

need_terminal
# ---- at a terminal every conversation is saved
rm -rf state
open_terminal "$NOCTULE chat -n 8 --seed 3"
waits_for ">>>"
types 'Which way to Leeds?\r'
waits_for " out "
waits_for ">>>"
types '\004'
waits_for "resume: noctule chat --session"
close_terminal
exits 0
name=$(ls $kept)
holds "named after the day and the words" sh -c "echo '$name' | grep -Eq '^[0-9]{4}-[0-9]{2}-[0-9]{2}-which-way-to-leeds$'"
open_terminal "$NOCTULE chat -n 8 --continue"
waits_for "1 turn"
waits_for ">>>"
types 'And back?\r'
waits_for " out "
waits_for ">>>"
# one process at a time
"$NOCTULE" run --session "$name" -n 2 Hello </dev/null >out 2>err
code=$?; last="run --session (in use)"
exits 2; says "in use"
types '/clear\r'
waits_for "new conversation"
types '/bye\r'
close_terminal
exits 0
holds "/clear leaves the session as it was" test "$(wc -l <$kept/$name/transcript.jsonl)" -eq 5

# ---- a session is called after what was typed, not after the documents before it; a list keeps to a line each
printf 'The minutes of Monday.\nThe lease was signed, and everybody went home.\n' >minutes.txt
run run --session of-run -n 2 -f minutes.txt -p "What was decided?" </dev/null
exits 0
piped 'Who went home?\nWhen?\n' chat --script --session of-chat -n 2 minutes.txt
exits 0
run session list
exits 0
holds "run's" grep -q '^of-run .* What was decided?$' out
holds "chat's" grep -q '^of-chat .* Who went home?$' out
piped 'Why?\n' chat --script --session of-chat -n 2 # taken up again
run session list
holds "and again" grep -q '^of-chat .* Who went home?$' out
n=$(wc -l <out)
on_terminal "stty cols 50; $NOCTULE session list"
tr -d '\r' <screen | sed '/^Script /d' >lines
holds "fits 50 columns" test "$(wc -L <lines)" -le 50
holds "a line each" test "$(grep -c . lines)" -eq "$n"
finish
