# bench spec: what it takes, its forms, and that stated odds come true. What it measures is never asked to be fast.
. "$(dirname "$0")/lib.sh"
: "${NCT_TINY_MODEL:?a tiny model}"
export NOCTULE_MODEL="$NCT_TINY_MODEL" NOCTULE_REPETITIONS=1 NOCTULE_THREADS=1
head=$(dirname "$NCT_TINY_MODEL")-head
i=0
while [ $i -lt 60 ]; do
    echo "line $i of a text that goes on, $((i * 7919 % 1000)) and $((i * 104729 % 997))"
    i=$((i + 1))
done >text

run bench spec -p 8 -n 12
exits 0; silent
for part in "| rows checked" "| prose  | plain" "| prose  | auto" "| code   | auto" "| table  | auto" "chosen for table"; do
    prints "$part"
done
run bench spec -p 8 -n 12 --trees 2,4/2 --format csv
exits 0; silent; prints "part,text,choice,rows,ms,ratio,tokens,tps,accept,passes"
holds "verification of 1 to 16 rows, 24 and 32" test "$(grep -c '^verify' out)" -eq 18
holds "plain, two trees and auto of each text" test "$(grep -c '^run' out)" -eq 12

# a text that is given, and what comes true of it
run bench spec --replay text -p 16 -n 200 --draft "$head" --accept 1 --trees 4,6 --json
exits 0; silent
if command -v python3 >/dev/null 2>&1; then
    holds "guesses that all come true" python3 -c '
import json
b = json.load(open("out"))
runs = {r["choice"]: r for r in b["runs"]}
assert [v["rows"] for v in b["verify"]][:16] == list(range(1, 17)) and len(b["draft"]) == 6
assert runs["plain"]["accept"] == 1 and runs["plain"]["passes"] == 0 and runs["plain"]["gain"] == 1
assert runs["4 rows"]["accept"] == 4 and runs["4 rows"]["passes"] == 3
assert runs["6 rows"]["accept"] > 5.8 and 200 <= runs["6 rows"]["tokens"] < 206
assert all(sum(r["sizes"].values()) for r in runs.values())
'
    run bench spec --replay text -p 16 -n 1000 --draft "$head" --accept '0.6:0.3,0.5' --trees 2,3,8/2 --seed 3 --json
    exits 0
    holds "guesses that come true as stated" python3 -c '
import json
runs = {r["choice"]: r for r in json.load(open("out"))["runs"]}
for choice, mean in ("2 rows", 1.6), ("3 rows", 1.9), ("8 rows, 2 levels", 2.35):
    assert abs(runs[choice]["accept"] - mean) < 0.12, (choice, runs[choice]["accept"])
'
fi
cat text text >twice
run bench spec --replay twice -p "$(wc -c <text)" -n 400 --drafter ngram --trees 8 --format csv --made-up
exits 0
holds "a copier finds what it copies" awk -F, '$1 == "run" && $3 ~ /8 rows/ && $9 > 3 { found = 1 } END { exit !found }' out

# what is kept of it
rm -rf "$XDG_CACHE_HOME"
run bench spec --replay text -p 16 -n 20 --draft "$head" --accept 0.9
exits 0
holds "costs are kept for this host" sh -c 'grep -q "\"edges\": \[\]" "$XDG_CACHE_HOME"/noctule/spec-*.json'

# refused
run bench spec --accept 0.5
exits 2; says "--replay FILE"
run bench spec --accept 0.5 --replay text
exits 2; says "--draft DIR"
run bench spec --accept 1.5 --replay text --draft "$head"
exits 2; says "expected probabilities"; prints_nothing
run bench spec --replay text -p 60000 -n 20
holds "a text that is too short" test "$code" -eq 2 -o "$code" -eq 4
run bench spec --replay nowhere
exits 1; says "nowhere"
run bench spec --trees 1
exits 2; says "--trees 1: expected"
run bench spec --trees 4/x
exits 2
run bench spec 8
exits 2; says "takes no '8'"
finish
