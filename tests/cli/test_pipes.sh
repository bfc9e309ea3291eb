# Where the prompt comes from: stdin, terminals, files and arguments.
. "$(dirname "$0")/lib.sh"
find_model
export NOCTULE_MODEL="$model" NOCTULE_MAX_TOKENS=4 NOCTULE_GREEDY=1

# What the model reads is seen from what it answers: equal prompts give equal ids.
ids() { sed -n 's/.*"usage":{"prompt":\([0-9]*\).*"token_ids":\[\([^]]*\)\].*/\1 \2/p' "$1"; }
# asks_as TEXT: the run just made asked exactly TEXT
asks_as() {
    ids out >asked
    "$NOCTULE" run --json --no-stdin -p "$1" >direct 2>/dev/null
    ids direct >expected
    holds "an answer with ids" test -s expected
    same asked expected "the message is not: $1"
}

# ---- a prompt and stdin
piped 'hi\n' run --json -p x
exits 0; silent; asks_as 'hi

x'
piped 'hi' run --json x y
exits 0; asks_as 'hi

x y'
run run --json x </dev/null
exits 0; silent; asks_as x
run run --json x <&-
exits 0; asks_as x
piped 'hi\n' run --json --no-stdin x
exits 0; asks_as x
printf 'from a file\n' >content
run run --json x <content
exits 0; asks_as 'from a file

x'
piped '' run x
exits 2; says "stdin was empty"; says "--allow-empty"; prints_nothing
: >empty
run run x <empty
exits 2; says "stdin was empty"
piped '' run --json --allow-empty x
exits 0; asks_as x
piped 'hi\n' run --json --order prompt-first x
exits 0; asks_as 'x

hi'

# ---- stdin is the prompt
piped 'what is it?\n' run --json
exits 0; asks_as 'what is it?'
piped 'what is it?\n' --json
exits 0; asks_as 'what is it?'
piped 'two\n\n' run --json
exits 0; asks_as 'two
'
piped '' run
exits 2; says "stdin was empty"
run run </dev/null
exits 2; says "no prompt"
run run <&-
exits 2; says "no prompt"
run --json -p 'no command' </dev/null
exits 0; asks_as 'no command'
run 'two words' --json </dev/null
exits 0; asks_as 'two words'

# ---- files
printf 'alpha\n' >a.txt
printf 'beta' >b.txt
run run --json -f a.txt -p x </dev/null
exits 0; asks_as 'alpha

x'
run run --json -f a.txt -f b.txt x </dev/null
exits 0; asks_as '=== a.txt ===
alpha

=== b.txt ===
beta

x'
piped 'do it\n' run --json -f a.txt
exits 0; asks_as 'alpha

do it'
piped 'from stdin\n' run --json -f a.txt -f - x
exits 0; asks_as '=== a.txt ===
alpha

=== stdin ===
from stdin

x'
run run -f a.txt </dev/null
exits 2; says "no instruction; add -p"
piped '' run -f a.txt
exits 2; says "stdin was empty"
run run -f nosuch.txt x </dev/null
exits 1; says "nosuch.txt cannot be read: No such file"
mkdir -p folder/sub
printf 'one\n' >folder/1.txt
printf 'two\n' >folder/sub/2.txt
printf 'secret\n' >folder/.hidden
printf 'a\0b' >folder/binary
run run -f folder x </dev/null
exits 2; says "-R -f folder"
run run --json -R -f folder x </dev/null
exits 0; says "1 file is no text"; asks_as '=== folder/1.txt ===
one

=== folder/sub/2.txt ===
two

x'

# ---- a loop keeps its list: stdin is not touched when a prompt and files are given
printf 'a.txt\nb.txt\n' >list
n=0
while read -r f; do
    "$NOCTULE" run -f "$f" -p x >>all 2>>errors
    n=$((n + 1))
done <list
last="a loop over a list"
holds "reads both names" test "$n" -eq 2
holds "is silent" test ! -s errors

# ---- an open pipe that says nothing is told of, with -v where stderr is no terminal
mkfifo fifo
(sleep 3; echo late) >fifo &
run run -v --json x <fifo
wait
exits 0; says "waiting for stdin"; asks_as 'late

x'

# ---- ids
run run --ids 1,5 x </dev/null
exits 2; says "--ids is the whole prompt"
echo '[1, 5, 9]' >ids.json
run run --json --ids @ids.json </dev/null
exits 0; prints '"prompt":3'
piped 'not read' run --json --ids '1 5 9'
exits 0; prints '"prompt":3'
run run --ids 1,x </dev/null
exits 2
run run --ids 99999999 </dev/null
exits 2; says "outside the vocabulary"
run run --ids @nosuch.json </dev/null
exits 1
echo '{"a":[1,"b"' >ids.json
run run --ids @ids.json </dev/null
exits 2

# ---- what needs a template
run run --raw --system s x </dev/null
exits 2; says "--system needs a chat template"
run run -m "$plain" --tools '[]' x </dev/null
exits 2; says "--tools needs a chat template"
run run --tools 'not json' x </dev/null
exits 2

# ---- terminals
need_terminal
on_terminal "$NOCTULE run -n 4 x"
exits 0
on_terminal "$NOCTULE run > o"
exits 2; prints "stdout is not a terminal, so not starting a chat"
on_terminal "$NOCTULE > o"
exits 2; prints "not starting a chat"
on_terminal "$NOCTULE run -f a.txt"
exits 2; prints "no instruction; add -p"
on_terminal "$NOCTULE run --json"
exits 2; prints "no prompt"
on_terminal "$NOCTULE run -f a.txt -p x > o"
exits 0
on_terminal "$NOCTULE chat > o"
exits 2
for command in "$NOCTULE" "$NOCTULE run"; do
    open_terminal "$command"
    waits_for ">>>"
    types '\004'
    close_terminal
    exits 0; prints "/help"
done
on_terminal "$NOCTULE run -q -n 4 x"
holds "no statistics with -q" sh -c '! grep -q "t/s" screen'
on_terminal "$NOCTULE run -n 4 x"
prints " t/s"

finish
