# The same greedy text by every way, and the baseline of a bench that a slower run fails.
. "$(dirname "$0")/lib.sh"
find_model
export NOCTULE_MODEL="$plain"

run eval selfcheck -n 24
exits 0; silent
for way in "1 thread" "all threads" "guessing 4 a step" "prompt in chunks of 7" "4 prompts together" "cache kept in files"; do
    holds "it tries: $way" grep -q "^$way  *same" out
done
prints "tokens taken from files"
holds "no text is left behind" sh -c "! ls '$XDG_CACHE_HOME'/noctule/selfcheck-* 2>/dev/null | grep -q ."
run eval selfcheck -n 8 --json --kv q8 -t 1 -tb 1
exits 0; prints '"check":"guessing 16 a step","same":true'; prints '"failed":0'
run eval selfcheck -n 8 -X exact=1 -o report
exits 0; holds "the report is in the file" grep -q "same" report
run eval selfcheck model
exits 2; says "-m model"
run eval selfcheck -n 65
exits 2

# ---- what takes five times as long is slower, however busy the machine
run bench -p 64 -n 0 -r 3 -o base.json
exits 0
export NOCTULE_BENCH_DELAY=900
run bench -p 64 -n 0 -r 3 --baseline base.json --tol 50%
exits 7; says "slower than in base.json"

finish
