# The chat: at a terminal, and by script.
. "$(dirname "$0")/lib.sh"
find_model
export NOCTULE_MODEL="$model"

# ---- by script: one turn a line, or a NUL
printf 'Hello\nAnd then?\n' >turns.txt
run chat --script --greedy -n 12 <turns.txt
exits 0; silent
holds "an answer a turn" test "$(wc -l <out)" -ge 2
cp out by_line
printf 'Hello\000And then?\000' >turns.nul
run chat --script --greedy -n 12 <turns.nul
same out by_line "records may end in NULs"
printf 'Hello\nwrong\n/undo\nAnd then?\n' >turns.txt
run chat --script --greedy -n 12 <turns.txt
tail -n "$(wc -l <by_line)" out >undone
holds "/undo leaves no trace" sh -c 'tail -n 1 out >a; tail -n 1 by_line >b; cmp a b'
printf 'Hello\n/clear\nHello\n' >turns.txt
run chat --script --greedy -n 12 <turns.txt
n=$(($(wc -l <out) / 2))
head -n "$n" out >a
tail -n "$n" out >b
same a b "after /clear the same turn should get the same answer"
printf '/nosuch\n' >turns.txt
run chat --script <turns.txt
exits 2; says "no command /nosuch"
printf '//not a command\n' >turns.txt
run chat --script --greedy -n 4 <turns.txt
exits 0
printf 'a\n/bye\nb\n' >turns.txt
run chat --script --greedy -n 4 --stats <turns.txt
exits 0; holds "/bye ends it" test "$(grep -c ' out' err)" -eq 1
# a conversation is what run would be asked, turn by turn: the first answer is that of run
run run --greedy -n 12 Hello </dev/null
head -n "$(wc -l <out)" by_line >a
same out a "the first turn should be answered as run does"
# too long for the context: the line of exit 4
yes "many words" | head -c 3000 | tr '\n' ' ' >turns.txt
run chat --script -c 64 <turns.txt
exits 4; says "the context holds 64"
# without a template the text goes on
printf 'It was a dark night and\n' >turns.txt
run chat --script --greedy -n 12 -m "$plain" <turns.txt
cp out chatted
run run --greedy -n 12 -m "$plain" "It was a dark night and" </dev/null
same out chatted "a chat without a template should continue the text"
# files go with the first turn
printf 'alpha\n' >a.txt
printf 'What is it?\n' >turns.txt
run chat --script --greedy -n 12 a.txt <turns.txt
exits 0; cp out chatted
run run --greedy -n 12 -f a.txt -p "What is it?" </dev/null
same out chatted "files should go with the first turn"

need_terminal
# ---- at a terminal
open_terminal "$NOCTULE chat -n 30 --seed 3"
waits_for ">>>"
types 'Hello there\r'
waits_for " out "
types '/sett\r'
waits_for "try /set"
types '/set temp 0.25\r'
waits_for "temp is 0.25"
types '/set tempp 1\r'
waits_for "no setting"
types '/set\r'
waits_for "(/set)"
types '/set temp hot\r'
waits_for "wants a number"
types '/help\r'
waits_for "/retry"
types '/help undo\r'
waits_for "drop the last turn"
types 'Second turn\r'
waits_for "cached"
types '/retry\r'
waits_for " out "
types '/undo\r'
waits_for "1 turn dropped, 1 left"
types '/undo 9\r'
waits_for "0 left"
types '/retry\r'
waits_for "nothing to retry"
types '/clear\r'
waits_for "new conversation"
types '"""\r'
waits_for "..."
types 'one\rtwo"""\r'
waits_for " out "
types 'one\\\\\rtwo\r'
waits_for " out "
types '\344\275\240\345\245\275 w\303\266rld\r'
waits_for " out "
if "$NOCTULE" version --json | grep -q '"line_editing":true'; then
    edits=true
    types '\344\275\240\345\245\275/help undo\001\004\004\r' # Ctrl-A, and the two wide ones go
    waits_for "drop the last turn"
else
    edits=false
fi
types '/quit\r'
close_terminal
exits 0
if $edits; then
    holds "the history is kept, for its owner only" sh -c 'ls -l state/noctule/history | grep -q "^-rw-------"'
    holds "and holds what was typed" grep -q 'Hello' state/noctule/history
fi

# ---- Ctrl-C stops the answer and keeps the session; Ctrl-D leaves
open_terminal "$NOCTULE chat -X exact=1 --isa ref -t 1 --no-history --ignore-eos"
waits_for ">>>"
types 'Tell me a story.\r'
waits_for "story."
waits_for_more 40
types '\003'
waits_for "[stopped]"
waits_for ">>>"
sleep 2
types 'half a line'
sleep 0.3
types '\003'
waits_for ">>>"
sleep 2
types '\003'
waits_for "Ctrl-D to leave"
waits_for ">>>" # what is typed before it goes with the next Ctrl-C
types 'Go on.\r'
waits_for "Go on."
waits_for_more 40
types '\003'
waits_for "cached"
waits_for ">>>"
types '\004'
close_terminal
exits 0

# ---- Ctrl-C twice leaves with 130; SIGTERM with 143
open_terminal "$NOCTULE chat --no-history"
waits_for ">>>"
types '\003'
waits_for "Ctrl-D to leave"
types '\003' # within a second
close_terminal
exits 130
open_terminal "sh -c 'echo \$\$ >pid; exec $NOCTULE chat --no-history'"
waits_for ">>>"
kill -TERM "$(cat pid)"
close_terminal
exits 143

# ---- a terminal that cannot move its cursor gets plain lines
open_terminal "TERM=dumb $NOCTULE chat -n 5 --no-history"
waits_for ">>>"
types 'Hello\r'
waits_for " out "
types '\004'
close_terminal
exits 0
holds "no escape sequences" sh -c '! grep -q "$(printf "\\033")" screen'

# ---- -q: no banner, no statistics
open_terminal "$NOCTULE chat -q -n 5 --no-history"
waits_for ">>>"
types 'Hello\r'
waits_for ">>>"
types '\004'
close_terminal
exits 0
holds "no banner" sh -c '! grep -q "noctule 0\| t/s" screen'

finish
