# bench: its sizes, forms and comparisons. What it measures is never asked to be fast.
. "$(dirname "$0")/lib.sh"
: "${NCT_TINY_MODEL:?a tiny model}"
export NOCTULE_MODEL="$NCT_TINY_MODEL" NOCTULE_REPETITIONS=2 NOCTULE_THREADS=1 NOCTULE_SPEC=off

# ---- sizes
run bench -p 8 -n 4 -d 0,16..32*2 -pg 6,2
exits 0; silent
for test in "| pp8 " "| tg4 " "| pp6+tg2 " "| pp8 @ d16 " "| tg4 @ d32 " "| pp6+tg2 @ d32 "; do prints "$test"; done
holds "nine rows" test "$(grep -c '^| [pt][pg]' out)" -eq 9
holds "a row with depth is judged with attention" sh -c 'grep "^| pp8 @ d16" out | grep -q peak'
holds "a pair has no roof" sh -c 'grep "^| pp6+tg2 " out | grep -q "| *- | both "'
run bench -p 0 -n 0
exits 2; says "nothing to measure"
for sizes in x 8k.. 8..4 8..16*1 8, "" -8 99999999999999999999 20m 1..16777216*2,1..16777216*2,1..16777216*2; do
    run bench -p "$sizes" -n 4
    exits 2; prints_nothing
done
for pair in 8 8,0 8,4,2 x,y; do
    run bench -pg "$pair"
    exits 2; says "-pg"
done
run bench -p 8 -n 4 -d 100k
exits 4; says "try: smaller -d"
run bench xyz
exits 2; says "mem, threads"

# ---- forms
columns=time,version,commit,host,cpu,isa,numa,threads_pp,threads_tg,model,quant,kv,sparse,spec,test,n_prompt,n_gen,depth,np,reps,tps_med,tps_mad,ms_tok,ttft_ms,gbps,roof_pct,accept,nodes,rss_mb
run bench -p 8 -n 4 -o base.json -o table.md -o rows.csv -o lines.jsonl
exits 0; silent; prints_nothing
holds "Markdown by its ending" grep -q '^| pp8 ' table.md
holds "CSV by its ending" sh -c "head -n 1 rows.csv | grep -q '^$columns\$'"
holds "JSON lines by their ending" test "$(grep -c '^{.*}$' lines.jsonl)" -eq 2
holds "every line has all columns" awk -F, 'NF != 29 { exit 1 }' rows.csv
holds "only pp has a time to the first token" awk -F, '$15 == "pp8" && $24 == "" { exit 1 } $15 == "tg4" && $24 != "" { exit 1 }' rows.csv
if command -v python3 >/dev/null 2>&1; then
    holds "JSON by its ending, with samples and what was measured beside" python3 -c '
import json
rows = json.load(open("base.json"))
assert [r["test"] for r in rows] == ["pp8", "tg4"]
assert all(len(r["samples"]) == 2 and r["env"]["read_gbps"] > 0 and "bf16_tflops" in r["env"] for r in rows)
assert all(abs(r["tps_med"] - sum(r["samples"]) / 2) < 1e-4 * r["tps_med"] for r in rows)
assert ",".join(list(rows[0])[:29]) == "'$columns'"
assert rows[0]["accept"] is None and rows[0]["n_prompt"] == 8'
fi
run bench -p 0 -n 4 -o csv
exits 0; prints "$columns"
holds "one row" test "$(wc -l <out)" -eq 2

# ---- drawings: XML that parses, PNG whose checksums are right
run bench -p 4,8 -n 4 -r 1 --warmup 0 -o speed.svg -o speed.png -o speed.csv
exits 0; silent; prints_nothing
holds "the table is there too" grep -q "pp8" speed.csv
run bench depth -p 4 -n 4 -d 0,16,32 -r 1 --warmup 0 -o depth.svg -o depth.png
exits 0; prints_nothing
holds "a title and a text for those who cannot see it" grep -q "<desc>Lines over" depth.svg
holds "both ways are drawn" sh -c 'grep -q ">sparse<" depth.svg && grep -q ">dense<" depth.svg'
command -v xmllint >/dev/null && holds "the drawings are XML" xmllint --noout speed.svg depth.svg
for file in speed.png depth.png; do
    holds "$file begins as a PNG" sh -c "head -c 8 $file | od -An -tx1 | grep -q '89 50 4e 47 0d 0a 1a 0a'"
    if command -v python3 >/dev/null; then
        holds "$file has sound chunks and as many pixels as it says" python3 -c "
import struct, sys, zlib
d = open('$file', 'rb').read(); at = 8; parts = {}
while at < len(d):
    n, kind = struct.unpack('>I4s', d[at:at + 8])
    body = d[at + 8:at + 8 + n]
    assert struct.unpack('>I', d[at + 8 + n:at + 12 + n])[0] == zlib.crc32(kind + body)
    parts[kind] = body; at += 12 + n
w, h, bits, colours = struct.unpack('>IIBB', parts[b'IHDR'][:10])
raw = zlib.decompress(parts[b'IDAT'])
assert bits == 8 and colours == 3 and len(raw) == h * (w + 1) and at == len(d)
assert max(raw) < len(parts[b'PLTE']) // 3 and len(set(raw)) >= 4"
    fi
done
run bench depth -p 4 -n 4 -d 0,16,32 -r 1 --warmup 0
exits 0; prints "┤"; prints "● sparse  ○ dense"

# ---- against an earlier one: the files say what the rates were
# was RATE: a baseline in which every test ran at so many tokens a second
was() { sed "s/\"tps_med\":[0-9.e+]*/\"tps_med\":$1/g" base.json >changed.json; }
was 1e12
run bench -p 8 -n 4 --baseline changed.json
exits 7; says "2 of 2 tests are more than 5 % slower than in changed.json"; prints "▼"
was 1e-3
run bench -p 8 -n 4,5 --baseline changed.json --tol 5%
exits 0; silent; prints "▲"; prints "new |"
sed 's/"tps_med":[0-9.e+]*/"tps_med":1e12/g' lines.jsonl >changed.jsonl
run bench -p 8 -n 4 --baseline changed.jsonl --tol 99.9% -o out.json
exits 7; says "2 of 2"; prints_nothing
holds "the result is written all the same" grep -q '"change_pct":-100' out.json
sed 's/"model":"[^"]*"/"model":"another"/; s/"threads_tg":1/"threads_tg":7/' changed.json >foreign.json
run bench -p 8 -n 4 --baseline foreign.json
exits 0; says "another model: another, now"; says "1/7 threads, now 1/1"
run bench -p 9 -n 5 --baseline changed.json
exits 2; says "none of these tests"
run bench -p 8 --baseline nosuch.json
exits 1; says "nosuch.json"
for text in '' '[]' '{}' 'time,version' '[{"test":"pp8"}]' '[{"test":"pp8","tps_med":0}]' '[{"test":"pp8","tps_med":1e999}]' '[{"test":"pp8","tps_med":"1"}]' '[[[['; do
    printf '%s' "$text" >hostile.json
    run bench -p 8 --baseline hostile.json
    exits 2; says "hostile.json"; says "noctule bench -o base.json"; prints_nothing
done
head -c 100000 /dev/urandom >hostile.json
run bench -p 8 --baseline hostile.json
exits 2
printf '[{"test":"pp8","tps_med":1e-3,"model":"\\u001b]0;x\\u0007"}]' >hostile.json
run bench -p 8 -n 0 --baseline hostile.json
exits 0; says "another model: ?]0;x?"
for tolerance in x -5% 100% 5%% "" inf; do
    run bench -p 8 --baseline changed.json --tol "$tolerance"
    exits 2; says "--tol"
done
run bench -p 8 --tol 5%
exits 2; says "--baseline FILE"

# ---- the machine by itself
unset NOCTULE_THREADS
run bench mem -t 1 -r 1
exits 0; silent; prints "| read |       1 |  all | small |"; prints "| read |       1 |  all | huge  |"
run bench mem -t 1 -r 1 -o csv
exits 0; prints "isa,what,threads,node,pages,rate,unit,with"
holds "eight columns" awk -F, 'NF != 8 { exit 1 }' out
run bench mem -t 1 -r 1 -o mem.json
exits 0; prints_nothing; holds "JSON by its ending" grep -q '^\[{"cpu"' mem.json
run bench mem -t 1 -r 1 -o mem.svg
exits 2; says "draws nothing"
run bench mem -t 100000
exits 2
run bench mem --isa nosuch
exits 2; says "nosuch"

# ---- threads
run bench threads -t 1,2,3 --force-threads -p 8 -n 4 -r 1
exits 0; silent; prints "prefill"; prints "decode"; prints "use: -t "
holds "three rows" test "$(grep -c '^|  *[123] |' out)" -eq 3
run bench threads -t 1 -p 8 -n 4 -d 16 --json
exits 0; prints '"threads":1,"test":"pp8"'; prints '"depth":16'; prints '"recommended":1'
run bench threads -p 8,16
exits 2; says "one size"
run bench threads -t 0
exits 2

# ---- over depth: dense and sparse, and what of sparse attention is choosing
sparse="${NCT_TINY_MODEL%/*}/sparse"
run bench depth -m "$sparse" -d 100,1k -p 128 -n 4 -r 1 -c 2000 --made-up
exits 0; prints "| choosing | blocks of limit |"; prints " % |"
run bench depth -m "$sparse" -d 100,1k -p 128 -n 4 -r 1 -c 2000 --made-up -o csv
exits 0; prints "limit_ratio,choosing_share,blocks_share"
holds "no row chooses at 100, all do at 1,024" sh -c "awk -F, 'NR == 2 || NR == 4 { if (\$10 \$11 != \"\") exit 1 } NR == 3 || NR == 5 { if (!(\$10 > 0 && \$10 < 1 && \$11 > 0)) exit 1 }' out"
run bench depth -m "$sparse" -d 100,1k -p 128 -n 4 -r 1 -c 2000 --made-up --json
exits 0; prints '"choosing_share":null,"blocks_share":null}'
if command -v python3 >/dev/null 2>&1; then
    holds "the JSON parses" python3 -c 'import json; t = json.load(open("out")); assert len(t) == 4 and 0 < t[1]["choosing_share"] < 1 and t[1]["blocks_share"] > 0'
fi

finish
