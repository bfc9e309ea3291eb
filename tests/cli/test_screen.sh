# What is shown fits the terminal: reports and help are folded between words and lose nothing; lines that are drawn over
# leave out what matters least.
. "$(dirname "$0")/lib.sh"
need_terminal
find_model
export NOCTULE_MODEL="$model"

# shown COLUMNS COMMAND: on a terminal as wide as that, without what moves the cursor, a line each
shown() {
    on_terminal "stty cols $1; $2"
    tr '\r' '\n' <screen | sed 's/\x1b\[[0-9;?]*[A-Za-z]//g; /^Script /d' >lines
}
fits() { [ "$(wc -L <lines)" -le "$1" ]; }

for columns in 80 120; do
    for command in info help "help sparse" "help formats" "help pipes" "help spec" "help jsonl" "sum --help" "batch --help"; do
        shown $columns "$NOCTULE $command"
        exits 0; holds "fits $columns columns" fits $columns
        "$NOCTULE" $command | tr -d ' \n' >all
        tr -d ' \n' <lines >folded
        same folded all "nothing should be lost"
    done
done
shown 80 "$NOCTULE help pipes"
holds "a paragraph is put together" grep -qF "An empty line stands between them; --order prompt-first turns it" lines
holds "what stands behind a gap stays there" grep -q '^  *loop that reads a list' lines
shown 80 "$NOCTULE doctor"
exits 0; holds "fits 80 columns" fits 80
shown 60 "$NOCTULE info"
exits 0; holds "tables are left alone" grep -q '^context .* in memory   q8 cache  in memory$' lines

# lines_drawn PATTERN: lines shown on a terminal with keys, in `drawn`, without its echo of Ctrl-C
lines_drawn() { tr '\r' '\n' <screen | sed 's/\x1b\[[0-9;?]*[A-Za-z]//g; s/\^C//' | grep -- "$1" >drawn; }

# ---- progress of a batch, which is slow enough on any machine to be stopped once it is seen
slow="-t 1 --isa ref -X exact=1"
seq 1 300 | sed 's/.*/line &/' >many.txt
for columns in 50 80 120; do
    open_terminal "sh -c 'stty cols $columns; exec $NOCTULE batch --lines many.txt --raw -n 2 --greedy --cache off $slow -o many.jsonl --overwrite'"
    waits_for "eta "
    types '\003'
    close_terminal
    exits 130
    lines_drawn '^batch  '
    holds "no line wraps" test "$(wc -L <drawn)" -lt $columns
    holds "how many are done, and how long it takes" grep -qE '^batch  [0-9,]+/300 items .* eta ' drawn
done
holds "numbers have one form" sh -c '! grep -vE "items  ([0-9,]+/[0-9,]+|[0-9]+k/[0-9]+k|[0-9.]+M/[0-9.]+M) tokens" drawn'

# ---- and of parts that are summarised together; Ctrl-C
i=0
while [ $i -lt 40 ]; do
    i=$((i + 1))
    printf '# Chapter %d\n\nThe bat number %d flew out at dusk. It called ahead and heard the walls.\n\n' $i $i
done >book.md
for columns in 40 80; do
    open_terminal "sh -c 'stty cols $columns; exec $NOCTULE sum --strategy map-reduce --chunk 100 -c 400 -n 100 --greedy --cache off $slow -X prefill.chunk=8 book.md'"
    waits_for " parts, 8 at once  "
    waits_for "eta "
    types '\003'
    waits_for "stopped after "
    close_terminal
    exits 130
    lines_drawn ' eta '
    holds "no line wraps" test "$(wc -L <drawn)" -le $((columns > 60 ? columns : 60))
done
finish
