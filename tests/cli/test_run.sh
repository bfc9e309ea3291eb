# One answer: its text, its JSON, where it ends, and where it goes.
. "$(dirname "$0")/lib.sh"
find_model
export NOCTULE_MODEL="$model"

# ---- JSON: one line, the stated keys
run run --json -n 5 --ignore-eos --seed 7 --temp 0.5 "Once upon a time" </dev/null
exits 0; silent
holds "is one line" test "$(wc -l <out)" -eq 1
for key in '"id":"r-' '"text":"' '"thinking":null' '"finish_reason":"' '"truncated":' '"model":{"name":"chatty","quant":"' \
    '"sha256":null' '"isa":"' '"version":"' '"spec":{"on":' '"tree":' '"mean_accept":' '"gain":' '"sparse":{"active":false,"dense_len":' \
    '"usage":{"prompt":' '"cached":0' '"completion":5' '"timings":{"load_ms":' '"ttft_ms":' '"prefill_tps":' '"decode_tps":' \
    '"sampling":{"seed":7,"temp":0.5' '"token_ids":['; do
    prints "$key"
done
if command -v python3 >/dev/null 2>&1; then
    holds "parses as JSON" python3 -c 'import json,sys; json.load(open("out"))'
fi
run run --format jsonl -n 2 x </dev/null
exits 0; prints '"text":'

# ---- the same seed, the same text, whatever the threads and chunks; another seed, another
run run -n 40 --seed 7 --temp 1 "Once upon a time" </dev/null
exits 0; cp out first
run run -n 40 --seed 7 --temp 1 "Once upon a time" </dev/null
same out first "the seed should fix the text"
run run -n 40 --seed 7 --temp 1 -t 1 -X prefill.chunk=3 "Once upon a time" </dev/null
same out first "threads and chunks should not change the text"
run run -n 40 --seed 8 --temp 1 "Once upon a time" </dev/null
holds "another seed gives another text" sh -c '! cmp -s out first'
run run --json -n 1 x </dev/null
json seed >seed1
run run --json -n 1 x </dev/null
json seed >seed2
holds "seeds are drawn" sh -c '! cmp -s seed1 seed2'

# ---- greedy from the environment, and flags win
run run -n 20 --greedy --raw "It was a dark night and" </dev/null
cp out greedy
NOCTULE_GREEDY=1 run run -n 20 --raw "It was a dark night and" </dev/null
same out greedy "NOCTULE_GREEDY should be --greedy"
NOCTULE_TEMP=5 NOCTULE_RAW=on run run -n 20 --temp 0 "It was a dark night and" </dev/null
same out greedy "flags should win over the environment"
run run -n 20 --temp 5 --top-k 1 --raw "It was a dark night and" </dev/null
same out greedy "--top-k 1 should be greedy"
run run -m "$plain" -n 20 --greedy "It was a dark night and" </dev/null
same out greedy "a model without a template should continue the text"

# ---- one final newline
holds "ends in one newline" sh -c 'tail -c 1 greedy | od -An -c | grep -q "\\\\n"'
holds "in one only" sh -c 'test "$(tail -c 2 greedy | tr -dc "\n" | wc -c)" -eq 1'

# ---- stop strings, which tokens cut as they like
tr '\n' ' ' <greedy | cut -c 1-60 >text
for span in 3-4 5-12 9-9 12-25 20-31; do
    stop=$(cut -c "$span" text)
    # what stands before its first occurrence
    awk -v stop="$stop" '{ print substr($0, 1, index($0, stop) - 1) }' text >expected
    run run -n 20 --greedy --raw --stop "$stop" "It was a dark night and" </dev/null
    exits 0
    same out expected "--stop '$stop'"
done
stop=$(cut -c 9-14 text)
run run --json -n 20 --greedy --raw --stop nowhere --stop "$stop" "It was a dark night and" </dev/null
prints '"finish_reason":"stop"'; prints '"truncated":false'
# the beginning of a stop string at the very end is text
whole=$(cat greedy)
run run -n 20 --greedy --raw --stop "$(printf '%s' "$whole" | tail -c 3)never" "It was a dark night and" </dev/null
same out greedy "what only begins a stop string should be printed"

# ---- length
run run --json -n 3 --ignore-eos x </dev/null
exits 0; prints '"finish_reason":"length"'; prints '"truncated":true'; prints '"completion":3'
run run -n 3 --ignore-eos --fail-on-length x </dev/null
exits 6; says "cut after 3 tokens"
run run -n 3 --ignore-eos --fail-on-length -o out.txt x </dev/null
exits 6
holds "no file after exit 6" sh -c '! test -e out.txt && ! test -e out.txt.part'
run run --json --raw --ignore-eos "Once upon a time" </dev/null
prints '"completion":256'
run run --json -c 32 --raw -n 1000 --ignore-eos "Once upon a time" </dev/null
exits 0; prints '"finish_reason":"length"'
n=$(sed -n 's/.*"prompt":\([0-9]*\),.*/\1/p' out)
prints "\"completion\":$((32 - n + 1))"
run run --timeout 1s --isa ref -X exact=1 -t 1 --ignore-eos -n 900 --json x </dev/null
if [ "$code" -eq 1 ]; then # on a machine so slow that the second is over before the first token
    says "while the prompt was read"
else
    exits 0; prints '"finish_reason":"timeout"'; prints '"truncated":true'
fi

# ---- penalties and biases
run run --json -n 1 --greedy --raw "It was a dark night and" </dev/null
id=$(sed -n 's/.*"token_ids":\[\([0-9]*\).*/\1/p' out)
run run --json -n 1 --greedy --raw --logit-bias "$id=-inf" "It was a dark night and" </dev/null
exits 0
holds "a banned token does not come" sh -c "! grep -q '\"token_ids\":\[$id\]' out"
run run --json -n 3 --raw --logit-bias 5=1000 x </dev/null
exits 0; prints '"token_ids":[5,5,5]'
run run --logit-bias 5 x </dev/null
exits 2; says "ID=X"
run run --logit-bias 99999999=1 x </dev/null
exits 2; says "vocabulary"
run run -n 60 --greedy --raw --repeat-penalty 1.3 "It was a dark night and" </dev/null
exits 0
holds "a penalty changes the text" sh -c '! cmp -s out greedy'

# ---- the beginning of the answer, and thinking in it
run run -n 3 --greedy --assistant "Sure, " x </dev/null
exits 0
holds "the answer begins as given" sh -c 'head -c 6 out | grep -q "Sure, "'
run run -n 1 --greedy --assistant '<think>
secret plan
</think>

Visible.' x </dev/null
exits 0; prints "Visible."; silent
holds "thinking is no text" sh -c '! grep -q "secret\|think" out'
run run -n 1 --greedy --show-thinking --assistant '<think>secret plan</think>Visible.' x </dev/null
says "secret plan"; prints "Visible."
run run -n 1 --json --assistant '<think>secret plan</think>Visible.' x </dev/null
prints '"thinking":"secret plan"'; prints '"text":"Visible.'
run run -n 1 --json --assistant 'I <think> so' x </dev/null
prints '"thinking":null'; prints '"text":"I <think> so'
run run -n 1 --json --assistant ' <thin' x </dev/null
prints '"text":" <thin'

# ---- a context that is too small
run run -c 64 -p "what is this about" <"$plain/config.json"
exits 4; prints_nothing; says "input is "; says "-c allows 64"; says "largest part: stdin ("; says "--overflow middle"
run run -c 16 -f "$plain/config.json" -p "what is this about" </dev/null
exits 4; says "largest part: $plain/config.json"
says "try: noctule run -c auto ..."; says "noctule sum $plain/config.json    (summarises in sections)"
yes "The bat flew out at dusk." | head -c 4000 >dusk.txt
run run -c 400 -f dusk.txt -p "Who?" </dev/null
exits 4; says "--overflow middle ...    (drops about "
run run --error-format json -c 16 -p x <"$plain/config.json"
exits 4; says '"code":"context_overflow"'
run run -c 100000000 x </dev/null
exits 2; says "ctx.force=1"

# ---- -o: whole or not at all
run run -n 5 --greedy --raw -o answer.txt "It was a dark night and" </dev/null
exits 0; prints_nothing; silent
run run -n 5 --greedy --raw "It was a dark night and" </dev/null
same out answer.txt "-o should hold what stdout would"
holds "no .part is left" sh -c '! test -e answer.txt.part'
run run -n 5 -o nosuchfolder/answer.txt x </dev/null
exits 1; says "nosuchfolder/answer.txt.part cannot be written"
mkdir -p dir
run run -n 5 -o dir x </dev/null
exits 2; says "is a directory"
echo old >kept.txt
run run -c 16 -o kept.txt -p x <"$plain/config.json"
exits 4
holds "the old file stays" grep -q old kept.txt
run run -n 5 -o /dev/null x </dev/null
exits 0
if [ -w /dev/full ]; then
    "$NOCTULE" run -n 5 x </dev/null >/dev/full 2>err
    code=$?
    exits 1; says "stdout cannot be written: No space left"
    run run -n 5 -o /dev/full x </dev/null
    exits 1; says "No space left"
fi
"$NOCTULE" run -n 5 x </dev/null >&- 2>err
code=$?
exits 1; says "stdout cannot be written"

# ---- a dry run
run run --dry-run x </dev/null
exits 0; prints "prompt "; prints "memory "
run run --dry-run --json x </dev/null
exits 0; prints '"dry_run":true'; prints '"cache_bytes":'

# ---- and how long it would take, by speeds that are measured once
speeds() { ls "$XDG_CACHE_HOME/noctule" 2>/dev/null | grep -c '^speed-'; }
rm -rf "$XDG_CACHE_HOME/noctule"
run run --dry-run --json --cache off x </dev/null
exits 0; prints '"from":"measured"'
run run --dry-run --json --cache ro x </dev/null
exits 0; prints '"from":"measured"'
holds "--cache off and ro keep nothing" test "$(speeds)" -eq 0
run run --dry-run --json -n 40 x </dev/null
exits 0; silent; prints '"from":"measured"'
holds "kept for this host" test "$(speeds)" -eq 1
holds "all of it is a time" awk -v a="$(json prefill_s)" -v b="$(json decode_s)" -v c="$(json prefill_tps)" -v d="$(json decode_tps)" -v n="$(json prompt)" 'BEGIN {
    exit !(a > 0 && b > 0 && (c * a / n - 1) ^ 2 < 1e-4 && (d * b / 40 - 1) ^ 2 < 1e-4) }'
run run --dry-run --json -n 40 x </dev/null
exits 0; prints '"from":"remembered"'
short=$(json prefill_s) answer=$(json decode_s) few=$(json prompt)
run run --dry-run --json -n 80 "$(yes "A longer prompt." | head -n 30)" </dev/null
exits 0; prints '"from":"remembered"'
holds "more tokens take longer, each as long at least" awk -v a="$short" -v n="$few" -v b="$(json prefill_s)" -v m="$(json prompt)" -v c="$answer" -v d="$(json decode_s)" 'BEGIN {
    exit !(m > n && b / m >= a / n * (1 - 1e-4) && d >= 2 * c * (1 - 1e-4)) }'
run run --dry-run --json -n 40 --samples 3 x </dev/null
holds "three answers take three times as long" awk -v a="$answer" -v b="$(json decode_s)" 'BEGIN { exit !((b / a - 3) ^ 2 < 1e-6) }'
run run --dry-run --json -n 40 --kv q8 x </dev/null
prints '"from":"measured"'; holds "another cache has another speed" test "$(speeds)" -eq 2
run run --dry-run -n 40 x </dev/null
exits 0; prints "to read the prompt ("; prints "by speeds of this host measured on 20"
run run --dry-run -n 40 --cache off x </dev/null
prints "by speeds of this host measured now"
for damage in 's/"when":[0-9]*/"when":1/' 's/"read_s":[^,]*/"read_s":-1/' 's/"schema":1/"schema":0/' 's/"cpu":"/"cpu":"x/' 's/begin/x/' 's/{/[/'; do
    for file in "$XDG_CACHE_HOME"/noctule/speed-*; do sed "$damage" "$file" >damaged && cat damaged >"$file"; done
    run run --dry-run --json -n 40 x </dev/null
    exits 0; prints '"from":"measured"'
done
# what chooses blocks is timed where it does
few_blocks="--sparse on -X sparse.dense_len=400 -X sparse.topk=3 -X sparse.window=16 -X sparse.block=16"
run run --dry-run --json -n 4 $few_blocks x </dev/null
exits 0; prints '"from":"measured"'
run run --dry-run --json -n 4 $few_blocks "$(yes "A longer prompt." | head -n 200)" </dev/null
exits 0; prints '"from":"measured"'
run run --dry-run --json -n 4 $few_blocks "$(yes "A longer prompt." | head -n 100)" </dev/null
exits 0; prints '"from":"remembered"'
# never invented
run run --dry-run --json --kv f32 --mem 1 x </dev/null
exits 0; prints '"time":null'; prints '"time_unknown":"memory does not suffice to measure"'
run run --dry-run --kv f32 --mem 1 x </dev/null
prints "unknown: memory"
run run --dry-run --json --kv-dir pages x </dev/null
exits 0; prints '"time":{'; holds "no pages are left behind" sh -c '! ls pages/* >/dev/null 2>&1'

# ---- statistics when asked for, notes with -v, threads beyond the machine
run run --stats -n 5 --ignore-eos x </dev/null
exits 0; says " in"; says "5 out"; says "t/s"
run run -v -n 2 x </dev/null
says "parameters"
run run -t 1000 -n 2 x </dev/null
exits 0; says "1000 threads asked"; says "--force-threads"
run run -q -t 1000 -n 2 x </dev/null
exits 0; silent
# ---- a part of the processors; what -q hides is in the log all the same
one=$(sed -n 's/^Cpus_allowed_list:[^0-9]*\([0-9]*\).*/\1/p' /proc/self/status)
run run --cpus "$one" -q -t 2 --log-file log -n 2 x </dev/null
exits 0; silent
holds "one processor is left" grep -q " warning: 2 threads asked" log
for list in x 1- 3-1 1,,2 0,4096; do
    run run --cpus "$list" -n 2 x </dev/null
    exits 2; says "--cpus wants processors"
done
run run --cpus 1023 -n 2 --log-file log x </dev/null
exits 2; says "may not use processor 1023"
holds "the log goes on, with a time" grep -q "^20..-..-..T..:..:..Z [0-9]* error: --cpus" log
holds "and is private" test "$(stat -c %a log)" = 600
run run --log-file /nonexistent/log -n 2 x </dev/null
exits 1; says "/nonexistent/log cannot be written"
run run -t 5 --force-threads -n 2 x </dev/null
exits 0; silent
run run --isa nosuch x </dev/null
exits 2; says "nosuch"

finish
