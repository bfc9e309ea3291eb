# Long inputs: the long RoPE list, and what --overflow does where they do not fit.
. "$(dirname "$0")/lib.sh"
export NOCTULE_MODEL="$NCT_TINY_MODEL" # holds 2,048 tokens, 6,623 with its long list; about a token a letter

words() { yes "kwz qxj pvy " | tr -d '\n' | head -c "$1"; }

# ---- info tells both windows
run info
exits 0; prints "2,048 tokens, 6,623 with --rope long (its own list)"
run info --json
exits 0; prints '"rope":{"native":2048,"long":6623,"built_in":false}'

# ---- auto: native while prompt and reserve fit, else long, said with -v and on terminals only
words 500 >short.txt
words 3000 >mid.txt
words 20000 >over.txt
run run --json -n 4 -f short.txt -p x </dev/null
exits 0; silent; prints '"rope":"native"'
run run --json -n 4 -f mid.txt -p x </dev/null
exits 0; silent; prints '"rope":"long"'
cp out auto
run run -v --json -n 4 -f mid.txt -p x </dev/null
exits 0; says "using its long RoPE list, which holds 6,623"
run run --json -n 4 --rope long -f mid.txt -p x </dev/null
exits 0; prints '"rope":"long"'
run run --json -n 2000 --stop a --rope auto -f short.txt -p x </dev/null # the answer may need it
exits 0; prints '"rope":"long"'
run run --json -n 4 -c 4k -f short.txt -p x </dev/null
exits 0; prints '"rope":"long"'
run run --json -n 4 -c 1k -f short.txt -p x </dev/null
exits 0; prints '"rope":"native"'

# ---- native keeps its window, and the refusal names the other
run run -n 4 --rope native -f mid.txt -p x </dev/null
exits 4; prints_nothing; says "holds 2,048"; says "noctule run --rope long"
run run -n 4 -f over.txt -p x </dev/null
exits 4; says "holds 6,623 with its long RoPE list"
run run -n 4 --rope native -c 4k x </dev/null
exits 2; says "--rope long"
run run -n 4 -c 7k x </dev/null
exits 2; says "6,623"
run run --rope long -m "${NCT_TINY_MODEL%/*}/sparse" x </dev/null
exits 2; says "no long RoPE list"
run run --rope sideways x </dev/null
exits 2; says "auto|native|long"
NOCTULE_ROPE=long run run --json -n 4 -f short.txt -p x </dev/null
exits 0; prints '"rope":"long"'

# ---- eval: a window beyond the native one
run eval ppl mid.txt -c 2500 --tokens 2400 --json
exits 0; prints '"windows":1'
run eval ppl mid.txt -c 2500 --rope native
exits 2

# ---- chat: files decide before the session opens, and it stays with that
echo "hm" >turns.txt
"$NOCTULE" chat --script -v -n 2 mid.txt <turns.txt >out 2>err
code=$?
last="chat --script mid.txt"
exits 0; says "using its long RoPE list"
{ echo x; words 3000; echo; echo y; } >turns.txt
"$NOCTULE" chat --script --stats -n 2 <turns.txt >out 2>err
code=$?
last="chat --script"
exits 4; says "the context holds 2,048"; says "noctule chat --rope long"

# ---- overflow: content is dropped where the policy says, the instruction and the template are not, never silently
export NOCTULE_ROPE=native
seq 1 2000 >numbers.txt # some 9,000 tokens; what is fed is read back from the dry run and the prompt's ids
run run -n 4 -f numbers.txt -p "Which?" </dev/null
exits 4; prints_nothing; says "holds 2,048"; says "--overflow middle"
for policy in head tail middle; do
    run run --json -n 4 --overflow $policy -f numbers.txt -p "Which?" </dev/null
    exits 0; prints '"truncated":true'
    dropped=$(json dropped) prompt=$(json prompt)
    holds "$policy: one line on stderr" test "$(wc -l <err)" -eq 1
    says "warning: input is "; says "the context holds 2,048: "; says "of numbers.txt (--overflow $policy)"
    holds "$policy: leaves room for the answer and little else" test "$prompt" -le 2044 -a "$prompt" -gt 2030
    holds "$policy: the counts add up" grep -q "input is $(printf "%'d" $((dropped + prompt)) | sed 's/^\([0-9]\)\([0-9]\{3\}\)$/\1,\2/') tokens" err
done
run run --json -n 4 --overflow middle -f short.txt -p x </dev/null
exits 0; silent; prints '"dropped":0'
run run --dry-run --json -n 4 --overflow tail -f numbers.txt -p "Which?" </dev/null
exits 0; holds "a dry run tells too" test "$(json dropped)" -gt 5000
run run -n 2000 --json --overflow head -f numbers.txt -p "Which?" </dev/null # half is for the input at least
holds "half is for the input" test "$(json prompt)" -gt 1000

# what is kept is the text itself: a run on that text gives the same answer (digits and newlines are a token each)
bytes=$(wc -c <numbers.txt)
mkdir kept
same_as_kept() { # ARGUMENT...: the answer on the files in kept/
    cp out cut
    (cd kept && "$NOCTULE" run --json -n 4 --temp 0 "$@" </dev/null >../out 2>../err)
    code=$?
    last="in kept/: noctule run $*"
    exits 0; silent
    sed -n 's/.*\("usage.*\),"dropped.*\("token_ids.*\)/\1 \2/p' out >a
    sed -n 's/.*\("usage.*\),"dropped.*\("token_ids.*\)/\1 \2/p' cut >b
    holds "there is an answer" grep -q token_ids a
    same a b "what was kept should read like this"
}
run run --json -n 4 --temp 0 --overflow head -f numbers.txt -p "Which?" </dev/null
kept=$((bytes - $(json dropped)))
head -c $kept numbers.txt >kept/numbers.txt
same_as_kept -f numbers.txt -p "Which?"
run run --json -n 4 --temp 0 --overflow tail -f numbers.txt -p "Which?" </dev/null
tail -c $((bytes - $(json dropped))) numbers.txt >kept/numbers.txt
same_as_kept -f numbers.txt -p "Which?"
run run --json -n 4 --temp 0 --overflow middle -f numbers.txt -p "Which?" </dev/null
kept=$((bytes - $(json dropped)))
{ head -c $((kept - kept / 2)) numbers.txt; tail -c $((kept / 2)) numbers.txt; } >kept/numbers.txt
same_as_kept -f numbers.txt -p "Which?"
run run --json -n 4 --temp 0 --overflow tail --order prompt-first -f numbers.txt -p "Which?" </dev/null
tail -c $((bytes - $(json dropped))) numbers.txt >kept/numbers.txt
same_as_kept --order prompt-first -f numbers.txt -p "Which?"
# of two files, the one that loses its beginning keeps its header, and one that goes whole takes its along
seq 1 300 >second.txt
run run --json -n 4 --temp 0 --overflow tail -f numbers.txt -f second.txt -p "Which?" </dev/null
says "of the files"
tail -c $((bytes - $(json dropped))) numbers.txt >kept/numbers.txt
cp second.txt kept/
same_as_kept -f numbers.txt -f second.txt -p "Which?"
run run --json -n 4 --temp 0 --overflow head -f numbers.txt -f second.txt -p "Which?" </dev/null
dropped=$(json dropped)
cp out first
printf '=== numbers.txt ===\n' >kept/only.txt
header=$(wc -c <kept/only.txt)
cat numbers.txt second.txt >both.txt
all=$(($(wc -c <both.txt) + 1 + header + $(printf '=== second.txt ===\n' | wc -c)))
head -c $((all - dropped - header)) numbers.txt >>kept/only.txt
cp first out
same_as_kept -f only.txt -p "Which?"

# characters of several bytes are never cut: what is kept is read without a warning
yes "你好，世界。" | head -n 400 >chinese.txt
bytes=$(wc -c <chinese.txt)
run run --json -n 4 --temp 0 --overflow head -f chinese.txt -p "Which?" </dev/null
head -c $((bytes - $(json dropped))) chinese.txt >kept/chinese.txt
same_as_kept -f chinese.txt -p "Which?"
run run --json -n 4 --temp 0 --overflow tail -f chinese.txt -p "Which?" </dev/null
tail -c $((bytes - $(json dropped))) chinese.txt >kept/chinese.txt
same_as_kept -f chinese.txt -p "Which?"
# bytes that are no UTF-8 are content too
seq 1 2500 | tr '0-4' '\377\376\300\200\301' >bytes.txt
for policy in head tail middle; do
    run run --json -n 4 --overflow $policy -f bytes.txt -p "Which?" </dev/null
    exits 0; says "dropped from the"
    holds "fits and fills" test "$(json prompt)" -le 2044 -a "$(json prompt)" -gt 1500
done

# the instruction alone is too long: nothing can be dropped for it
words 3000 >long-words.txt
run run -n 4 --overflow middle -f short.txt -p "$(cat long-words.txt)" </dev/null
exits 4; prints_nothing
# what stdin holds, with nothing beside it, is content
words 3000 | "$NOCTULE" run --json -n 4 --overflow tail >out 2>err
code=$?
last="words | noctule run --overflow tail"
exits 0; says "from the beginning of the prompt (--overflow tail)"
run run -n 4 --overflow chunk -f numbers.txt -p x </dev/null
exits 2; says "--overflow chunk"
yes 11 | head -n 2100 | paste -sd, >ids
run run -n 4 --overflow middle --ids @ids </dev/null
exits 4; prints_nothing
echo one >turns.txt
"$NOCTULE" chat --script --stats -n 2 --overflow head numbers.txt <turns.txt >out 2>err
code=$?
last="chat --overflow head"
exits 0; says "dropped from the end of numbers.txt"
holds "said once" test "$(grep -c warning err)" -eq 1
"$NOCTULE" chat --script -n 2 --overflow chunk numbers.txt <turns.txt >out 2>err
code=$?
exits 2
unset NOCTULE_ROPE

# ---- Ctrl-C while a chat reads: finished chunks stay, the same turn goes on behind them, and so does another that
# begins with the same text
if timeout 60 script -qefc true screen </dev/null >/dev/null 2>&1; then
    words 6000 >doc.txt
    open_terminal "'$NOCTULE' chat doc.txt --isa ref -X exact=1 -t 1 -X prefill.chunk=64 -n 2 --color never"
    waits_for ">>>"
    types 'x\r'
    waits_for "reading  "
    waits_for "eta "
    types '\003'
    waits_for "[stopped: "
    waits_for "goes on from there]"
    types 'y\r'
    waits_for " out "
    waits_for ">>>"
    types '\004'
    close_terminal
    exits 0
    tr '\r' '\n' <screen | tr -d ',' >plain
    read=$(sed -n 's/.*stopped: \([0-9]*\) of .*/\1/p' plain | head -n 1)
    all=$(sed -n 's/.*stopped: [0-9]* of \([0-9]*\) tokens.*/\1/p' plain | head -n 1)
    cached=$(sed -n 's/.*(\([0-9]*\) cached .*/\1/p' plain | head -n 1)
    fed=$(sed -n 's/.*cached · \([0-9]*\) in .*/\1/p' plain | head -n 1)
    holds "whole chunks are kept: $read of $all" test "$((read % 64))" -eq 0 -a "$read" -ge 64 -a "$read" -lt "$all"
    holds "what was read is not read again: $cached cached" test "$cached" -eq "$read"
    holds "and the rest is: $fed" test "$((cached + fed))" -eq "$all"
fi

finish
