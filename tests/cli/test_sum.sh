# Summaries: plans, parts, strategies, going on after a stop, forms of output. The small model's summaries are no
# summaries; what is checked is what it is asked about.
. "$(dirname "$0")/lib.sh"
find_model
export NOCTULE_MODEL="$model"
python=$(command -v python3) || skip "python3 is needed to read JSON"

i=0
while [ $i -lt 12 ]; do
    i=$((i + 1))
    printf '# Chapter %d\n\nThe bat number %d flew out at dusk. It called ahead and heard the walls.\n\nThen it came home. Nobody saw it.\n\n' $i $i
done >book.md
printf 'A short note. It says little.\n' >note.txt
flags="--greedy -n 24"

# ---- what fits is summarised in one go
run sum $flags note.txt
exits 0; silent
holds "something is said" test -s out
cp out note.sum
run sum $flags --json note.txt
exits 0; prints '"strategy":"direct"'; prints '"kept":1'
"$NOCTULE" sum $flags <note.txt >out 2>err
code=$?; last="sum < note.txt"
exits 0; silent; same out note.sum "stdin is a file like others"
# it is a run with the instruction behind the text
run sum $flags note.txt --cache off
same out note.sum "kept answers are what is answered"
run sum $flags --strategy direct -c 300 book.md
exits 4; says "try: --strategy map-reduce"; prints_nothing

# ---- a text that does not fit: in parts, refused, or cut
all=$("$NOCTULE" tokenize --count <book.md)
run sum $flags -c 320 --overflow error book.md
exits 4; says "beside the instruction and the answer there is room for"; says "--overflow chunk"; prints_nothing
holds "both numbers" sh -c "tr -d , <err | grep -q 'book.md is $all tokens; .* room for [1-9]'"
run sum $flags --overflow error note.txt
exits 0; same out note.sum "what fits is not refused"
run sum $flags -c 320 --overflow chunk --cache off --json book.md
exits 0; prints '"strategy":"map-reduce"'; prints '"dropped":0'
cat >cut.py <<'P'
import json, sys
r, policy, whole = json.load(open("out")), sys.argv[1], open("book.md", "rb").read()
assert r["strategy"] == "direct" and len(r["parts"]) == 1, r["strategy"]
p = r["parts"][0]
assert r["usage"]["dropped"] > 0 and r["tokens"] + r["usage"]["dropped"] == int(sys.argv[2]), r["usage"]
assert 0 < p["tokens"] <= r["tokens"] <= 320
assert (p["begin"] == 0) == (policy != "tail") and (p["end"] == len(whole)) == (policy != "head"), p
open("left.md", "wb").write(whole[p["begin"]:p["end"]])
P
for policy in head tail middle; do
    run sum $flags -c 320 --overflow $policy --json book.md
    exits 0; says "(--overflow $policy)"; says "of book.md"
    holds "$policy: what is left, and where it was" "$python" cut.py $policy "$all"
    text=$("$python" -c 'import json; print(json.load(open("out"))["text"], end="")')
    [ $policy = middle ] && continue
    run sum $flags -c 320 left.md --cache off
    exits 0; silent
    holds "$policy: its summary is that of what is left" test "$(cat out)" = "$text"
done
run sum $flags --overflow middle note.txt
exits 0; silent; same out note.sum "nothing is dropped of what fits"
run sum $flags -c 320 --overflow tail --strategy map-reduce --chunk 60 --json --sources book.md
exits 0
cat >lines.py <<'P'
import json, sys
r, whole = json.load(open("out")), open("book.md", "rb").read()
lines = whole.count(b"\n")
covers = [c["lines"] for p in r["parts"] for c in p["covers"]]
assert len(r["parts"]) > 1 and covers[-1][1] == lines and covers[0][0] > 1, covers
for p in r["parts"]:
    assert p["covers"][0]["lines"][0] == whole[:p["begin"]].count(b"\n") + 1, p
assert r["parts"][-1]["end"] == len(whole)
P
holds "parts of what is left know their lines" "$python" lines.py
run sum $flags -c 320 --overflow middle --json --sources book.md
exits 0
cat >hole.py <<'P'
import json
r, whole = json.load(open("out")), open("book.md", "rb").read()
[a, b] = [c["lines"] for c in r["parts"][0]["covers"]]
assert a[0] == 1 and a[0] < a[1] < b[0] < b[1] == whole.count(b"\n"), (a, b)
P
holds "and what is gone" "$python" hole.py
run sum $flags -c 320 --overflow head --together --json book.md note.txt
exits 0; says "of the files"; prints '"strategy":"direct"'
run sum $flags --overflow both note.txt
exits 2; says "chunk"

# ---- plans
run sum $flags -c 320 --plan book.md
exits 0; silent; prints "→ map-reduce"; prints "parts ("; prints "level"; prints "estimate: reading"
run sum $flags --plan note.txt
exits 0; prints "→ direct"

# ---- parts: cut before chapters, all of the text, none twice
run sum $flags -c 320 --json book.md
exits 0; silent
cp out first.json
cat >check.py <<'P'
import json, sys
r = json.load(open(sys.argv[1]))
text = open("book.md", "rb").read()
at = 0
assert len(r["parts"]) > 2
for p in r["parts"]:
    assert p["begin"] == at and p["tokens"] <= 320 and p["text"], p
    assert text[at:].startswith(b"# Chapter"), at
    at = p["end"]
assert at == len(text) and r["text"] and r["usage"]["kept"] == 0
assert r["usage"]["asked"] > len(r["parts"])
P
holds "parts are chapters, and the whole text" "$python" check.py first.json
# again: everything was kept
run sum $flags -c 320 --json book.md
exits 0
cat >again.py <<'P'
import json
a, b = json.load(open("first.json")), json.load(open("out"))
assert b["usage"]["kept"] == b["usage"]["asked"] == a["usage"]["asked"] and b["usage"]["completion"] == 0
assert a["text"] == b["text"] and a["parts"] == b["parts"]
P
holds "nothing is asked again" "$python" again.py
holds "for nobody else to read" sh -c 'ls -ld cache/noctule/sum | grep -q "^drwx------"'
# --chunk, --overlap
run sum $flags --strategy map-reduce --chunk 100 --overlap 20 --json book.md
exits 0
cat >overlap.py <<'P'
import json
p = json.load(open("out"))["parts"]
assert len(p) > 4
assert all(b["begin"] < a["end"] and b["end"] > a["end"] and b["tokens"] <= 121 for a, b in zip(p, p[1:]))
P
holds "parts overlap" "$python" overlap.py
# more than eight parts are joined in levels
run sum $flags --strategy map-reduce --chunk 40 --json book.md
exits 0
cat >levels.py <<'P'
import json
r = json.load(open("out"))
n = len(r["parts"])
assert n > 8 and r["usage"]["asked"] >= n + (n + 7) // 8 + 1, r["usage"]
P
holds "in a tree" "$python" levels.py
run sum $flags --strategy refine -c 320 --json book.md
exits 0; prints '"strategy":"refine"'
run sum $flags --strategy map-reduce --chunk 100 --overlap 100 book.md
exits 2; says "do not fit"
run sum $flags -c 80 book.md
exits 4; says "has no room for a text"

# ---- a summary that was stopped goes on
rm -rf cache
cp first.json whole.json
"$NOCTULE" sum $flags -c 320 -X exact=1 --isa ref -t 1 --json book.md >out 2>err &
pid=$!
last="sum, stopped"
tries=0
until [ -n "$(ls cache/noctule/sum 2>/dev/null)" ] || [ $tries -gt 1200 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
kill -TERM $pid
wait $pid
code=$?
if [ $code -ne 0 ]; then # else it was quicker
    exits 143; prints_nothing; says "the same command goes on from there"
fi
kept=$(ls cache/noctule/sum | wc -l)
run sum $flags -c 320 -X exact=1 --isa ref -t 1 --json book.md
exits 0
holds "what was answered is not asked again" test "$(json kept)" -ge "$kept"
run sum $flags -c 320 -X exact=1 --isa ref -t 1 --json --cache off book.md
tr ',' '\n' <out | grep -v '"kept"\|"completion"\|"prompt"\|"cached"\|"usage"\|"parallel"\|"sequences"\|"steps"' >b
run sum $flags -c 320 -X exact=1 --isa ref -t 1 --json book.md
tr ',' '\n' <out | grep -v '"kept"\|"completion"\|"prompt"\|"cached"\|"usage"\|"parallel"\|"sequences"\|"steps"' >a
same a b "and the summary is that of an uninterrupted run"
run sum $flags -c 320 --max-time 1ms book.md --cache off
exits 1; says "the time is up"
# without a seed, the text gives it
run sum -n 24 --temp 1 note.txt
cp out a
run sum -n 24 --temp 1 --cache off note.txt
same out a "the same text gets the same summary"
run sum -n 24 --temp 1 --seed 4 --json note.txt
prints '"seed":4'

# ---- what is asked for
for style in abstract bullets tldr outline minutes; do
    run sum $flags --style $style --length 120w --lang zh --focus bats note.txt
    exits 0
done
run sum --style song note.txt
exits 2
run sum --length 12 note.txt
exits 2; says "--length is short, medium, long"
run sum --length short --temp 0 note.txt
exits 0

# ---- several files
mkdir -p in
cp note.txt in/a.txt
cp note.txt in/b.txt
run sum $flags in/a.txt in/b.txt
exits 0; prints "=== in/a.txt ==="; prints "=== in/b.txt ==="
run sum $flags in/a.txt in/b.txt -o '{dir}/{stem}.sum.md'
exits 0; prints_nothing
same in/a.sum.md note.sum "a file of its own for each"
holds "nothing half-written" sh -c '! ls in | grep -q part'
run sum $flags in/a.txt in/b.txt --json
holds "a line each" test "$(wc -l <out)" -eq 2
run sum $flags in/a.txt in/b.txt -o one.md
exits 2; says "{dir}/{stem}"
run sum $flags in/a.txt in/b.txt --together -o one.md
exits 0
holds "one of all" test -s one.md
run sum --each --together in/a.txt
exits 2
: >empty.txt
run sum empty.txt
exits 2; says "empty.txt is empty"
run sum nothere.txt
exits 1
run cache rm --all
exits 0
holds "nothing is left of it" test ! -e cache/noctule/sum
finish
