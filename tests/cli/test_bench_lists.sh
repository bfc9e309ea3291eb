# bench with lists: a block of rows for each combination, columns for what varies, and guessing ahead.
. "$(dirname "$0")/lib.sh"
: "${NCT_TINY_MODEL:?a tiny model}"
export NOCTULE_MODEL="$NCT_TINY_MODEL" NOCTULE_REPETITIONS=1 NOCTULE_WARMUP=0 NOCTULE_THREADS=1 NOCTULE_SPEC=off
sparse="${NCT_TINY_MODEL%/*}/sparse"

# column NUMBER FILE: the values of a column of a CSV without quotes, in order, without repetition of neighbours
column() { tail -n +2 "$2" | cut -d, -f"$1" | uniq | paste -sd' '; }

# ---- threads and cache types
run bench -p 8,4..8*2 -n 4,4 -t 1,2 --force-threads --kv f32,q8 -o rows.csv -o rows.md -o rows.svg -o rows.json
exits 0; silent; prints_nothing
holds "every combination is a block" test "$(column 9 rows.csv)" = "1 2"
holds "with cache types inside" test "$(column 12 rows.csv)" = "f32 q8 f32 q8"
tests="pp8 pp4 tg4"
holds "of all tests, what is named twice once" test "$(column 15 rows.csv)" = "$tests $tests $tests $tests"
holds "the table has columns for what varies" grep -q '^| test  *| threads | kv  *| t/s median' rows.md
holds "and twelve rows" test "$(grep -c '^| [pt][pg]' rows.md)" -eq 12
holds "a roof for each number of threads" test "$(grep -c '^measured with [12] threads' rows.md)" -eq 2
holds "lines of a drawing are told apart" sh -c 'grep -q ">pp, 1 threads, f32<" rows.svg && grep -q ">pp, 2 threads, q8<" rows.svg'
run bench -p 8 -n 4 -t 2 --force-threads --kv q8 --baseline rows.json --tol 99.99%
exits 0; silent; holds "of four rows of a test the one that is meant" sh -c '! grep -q " new |" out'
run bench -p 8 -n 0 -t 3 --force-threads --kv q8 --baseline rows.json
exits 2; says "none of these tests"
sed 's/"tps_med":[0-9.e+]*/"tps_med":1e12/g' rows.json >fast.json
run bench -p 0 -n 4 -t 2,1 -tb 2 --force-threads --kv f32,q8 --baseline fast.json
exits 7; says "2 of 4"; says "the worst is tg4, 2 threads, "; prints "new |"; prints "▼"
run bench -p 8 -n 4 -t 1,100000
exits 2; says "--force-threads"
for list in f16, ,q8 f16,q9 "f16 q8"; do
    run bench -p 8 --kv "$list"
    exits 2; says "--kv $list: expected"; prints_nothing
done
run bench -p 1..64*2 -n 1..64*2 -d 0,1..32768*2 -np 1..64*2 --kv f32,f16,bf16,q8 --sparse on,off
exits 2; says "more than 4096 tests"

# ---- several sequences together, in tests that generate
run bench -p 8 -n 4 -d 0,16 -np 1,3 -o rows.csv -o rows.md
exits 0; silent
holds "prompts stand once" test "$(column 15 rows.csv)" = "pp8 tg4 pp8 @ d16 tg4 @ d16 tg4 tg4 @ d16"
holds "and alone" test "$(column 19 rows.csv)" = "1 3"
holds "each of three waits for a token as long as three take for all" awk -F, 'NR > 1 { x = $21 * $23 / 1000 / $19; if (x < 0.999 || x > 1.001) exit 1 }' rows.csv
holds "a column, and a note" grep -q '^| tg4 @ d16 *|  3 |.*| together ' rows.md
holds "no column for what does not vary" sh -c 'grep "^| test *| np | t/s median" rows.md && grep -q " · KV " rows.md'
for list in 0 65 x 1,; do
    run bench -n 4 -np "$list"
    exits 2; says "-np"
done

# ---- chosen blocks beside everything
run bench -m "$sparse" -p 16 -n 4 -d 0,1k -c 2000 --sparse on,off -o rows.csv -o rows.md -o rows.json
exits 0; silent
holds "two blocks" test "$(column 13 rows.csv)" = "on off"
holds "rows that choose say what everything gave" test "$(grep -c '@ d1024 *| on .*| sparse; dense [0-9]' rows.md)" -eq 2
holds "rows that do not choose have a roof" sh -c '! grep "^| [pt][pg][0-9]*  *| on" rows.md | grep -q sparse'
holds "so has everything" sh -c '! grep "| off " rows.md | grep -q sparse'
run bench -m "$sparse" -p 0 -n 4 -d 1k -c 2000 --sparse off,on --made-up -np 2 --format csv
exits 0; holds "in the order asked for" test "$(column 13 out)" = "off on"
for list in on,maybe auto,on on,off, ""; do
    run bench -p 8 --sparse "$list"
    exits 2; says "--sparse"
done

# ---- guessing ahead: the model's own text
unset NOCTULE_SPEC
run bench -p 8 -n 4 -d 0,16 -o rows.csv -o rows.md -o rows.jsonl
exits 0; silent
holds "without being asked at no depth, beside the plain test" test "$(column 15 rows.csv)" = "pp8 tg4 tg4 + spec pp8 @ d16 tg4 @ d16"
holds "spec, accept and nodes tell" awk -F, '$15 == "tg4 + spec" && $14 == "on" && $27 >= 1 && $28 >= $27 { found = 1 } $14 == "off" && $27 $28 != "" { exit 1 } END { exit !found }' rows.csv
holds "the note too" grep -q '^| tg4 + spec .*| [0-9.]* tok/step, [0-9]* nodes\{0,1\} ' rows.md
if command -v python3 >/dev/null 2>&1; then
    holds "JSON has the numbers" python3 -c '
import json
rows = {r["test"]: r for r in map(json.loads, open("rows.jsonl"))}
plain, spec = rows["tg4"], rows["tg4 + spec"]
assert 1 <= spec["accept"] <= spec["nodes"] and spec["roof_pct"] is None and len(spec["samples"]) == 1
assert plain["spec"] == "off" and plain["accept"] is None and plain["np"] == 1 and plain["numa"]'
fi
run bench -p 0 -n 4 -d 16 --spec on -pg 6,2 -np 1,2 --format csv
exits 0; holds "alone where asked for, at a depth too, but for several together" test "$(column 15 out)" = "tg4 + spec @ d16 pp6+tg2 + spec @ d16 tg4 @ d16"
run bench -p 8 -n 0 --kv q8 --baseline rows.jsonl --tol 99.99%
exits 0; says "another cache type: "
run bench -p 0 -n 24 --spec 8,off --draft "$(dirname "$NCT_TINY_MODEL")-head" --drafter eagle --format csv
exits 0; holds "a number is that of nodes" awk -F, '$15 == "tg24 + spec" && $14 == "8" && $28 > 1 && $28 <= 8 { found = 1 } END { exit !found }' out
run bench -p 0 -n 4 -d 16 --made-up --format csv
exits 0; holds "nothing to guess where all is made up" test "$(column 15 out)" = "tg4 @ d16"
run bench -p 0 -n 4 --made-up --spec on
exits 2; says "--spec off"
run bench -p 0 -n 0
exits 2; says "nothing to measure"
for list in maybe 0 65 on,8 4,8 auto,off on,x "" on,; do
    run bench -p 8 --spec "$list"
    exits 2; says "--spec"
done
finish
