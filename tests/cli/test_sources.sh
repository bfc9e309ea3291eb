# --sources and /sources: which lines of the input the answer's rows chose, against the choices themselves.
. "$(dirname "$0")/lib.sh"
export NOCTULE_MODEL="${NCT_TINY_MODEL%/*}/sparse" # chooses 7 blocks of 64 from 448 tokens on, about a token a letter

seq 1 60 | sed 's/.*/line & kwz qxj/' >a.txt
seq 1 40 | sed 's/.*/other & pvy kwz/' >b.txt
asked="-n 8 --seed 1 -p x?"

# every printed range holds the line that is quoted from it
quotes_are_in_their_lines() {
    grep -E '^  [01]\.[0-9][0-9]  ' "$1" >ranges
    [ -s ranges ] && sed 's/.*:\([0-9]*\)-\([0-9]*\)  "[a-z ]*\([0-9]*\).*/\1 \2 \3/' ranges |
        awk '{ if (!($1 <= $3 && $3 <= $2)) exit 1 }'
}

# ---- one file, several, none; lines that --overflow dropped are counted
run run $asked -f a.txt --sources </dev/null
exits 0; says "a.txt:"; says "a diagnostic, no proof"
holds "quotes lie in their lines" quotes_are_in_their_lines err
cp out with
run run $asked -f a.txt </dev/null
exits 0; silent
same out with "--sources should not change the answer"
run run $asked -f a.txt -f b.txt --sources </dev/null
exits 0; says "b.txt:"; holds "quotes lie in their lines" quotes_are_in_their_lines err
run run $asked -q -f a.txt --sources </dev/null
exits 0; silent
seq 1 2000 | sed 's/.*/& kwz/' >long.txt
for policy in head tail middle; do
    run run $asked -f long.txt --sources --overflow $policy </dev/null
    exits 0; says "long.txt:"; holds "--overflow $policy: quotes lie in their lines" quotes_are_in_their_lines err
done
run run $asked -f long.txt --sources --overflow tail </dev/null
holds "lines are those of the file" sh -c "sed -n 's/.*long.txt:\([0-9]*\)-.*/\1/p' err | awk '{ if (\$1 < 1500) exit 1 }'"
printf 'kwz\nqxj\n' | "$NOCTULE" run $asked --sources >out 2>err
code=$?
exits 0; says "no sources: attention is dense up to 448 tokens"
run run $asked -f a.txt --sources --sparse off </dev/null
exits 0; says "no sources: attention is dense here"
run run $asked -f a.txt --sources --json --sparse off </dev/null
exits 0; silent; prints '"sparse":{"active":false,"dense_len":448},"sources":[]'

# ---- settings in place of the model's
run run $asked -f a.txt --json -X sparse.dense_len=1m </dev/null
exits 0; prints '"sparse":{"active":false,"dense_len":1048576}'
run run $asked -f a.txt --json -X sparse.topk=9 -X sparse.block=32 -X sparse.window=64 </dev/null
exits 0; prints '"active":true'
run run $asked -f a.txt -X sparse.window=100 </dev/null
exits 2; says "window_size is 100, expected a multiple of block_size 64"
run run $asked -f a.txt -X sparse.topk=0 </dev/null
exits 2; says "sparse.topk=1 to 4096"
run run $asked --json -m "$NCT_TINY_MODEL" </dev/null
exits 0; prints '"sparse":{"active":false,"dense_len":8192}'
# bytes that are no UTF-8: about there
printf 'caf\351 kwz\n' | cat - a.txt >bad.txt
run run $asked -f bad.txt --sources </dev/null
exits 0; says "bad.txt:"

# ---- the same from pages, with another chunk, and on another number of threads
run run $asked -f a.txt -f b.txt --sources --json </dev/null
sed 's/.*"sources"/"sources"/; s/,"sampling.*//' out >plain
for how in "-t 1" "-X prefill.chunk=13" "-X cache.min_ms=0" "-X cache.min_ms=0"; do
    run run $asked -f a.txt -f b.txt --sources --json $how </dev/null
    sed 's/.*"sources"/"sources"/; s/,"sampling.*//' out >again
    same again plain "$how should change no source"
done
[ "$(json cached)" -gt 1000 ] || fail "the last run should find pages"

# ---- blocks of another size than the model's
run run $asked -f a.txt --sources -X sparse.topk=9 -X sparse.block=32 -X sparse.window=64 </dev/null
exits 0; holds "blocks of 32: quotes lie in their lines" quotes_are_in_their_lines err

# ---- batch: what run tells of each, whatever is read and answered beside it
sources_of() { sed 's/.*"sources"/"sources"/; s/,"sampling.*//; s/}\]}*$/}]/' "$@"; }
spelled() { awk '{ printf "%s\\n", $0 }' "$1"; }
{
    printf '{"id":"a","text":"%s","prompt":"x?"}\n' "$(spelled a.txt)"
    printf '{"id":"short","prompt":"x?"}\n'
    printf '{"id":"c","messages":[{"role":"user","content":"%s"},{"role":"assistant","content":"kwz"},{"role":"user","content":"x?"}]}\n' "$(spelled b.txt)"
    printf '{"custom_id":"d","body":{"messages":[{"role":"user","content":"%s\\nx?"}]}}\n' "$(spelled a.txt)"
} >in.jsonl
run run $asked -f a.txt --sources --json </dev/null
sources_of out | sed 's/"a.txt"/"text"/g' >want
for how in "-np 1" "-np 3" "-np 3 -t 1" "-np 4 -X prefill.chunk=13" "-np 2 --share off" "-np 1 --spec 6"; do
    run batch in.jsonl -n 8 --seed 1 --sources --ordered --cache off $how
    exits 0
    grep '^{"id":"a"' out | sources_of >got
    same got want "batch $how: the sources of a text"
    holds "batch $how: none of a short one" grep -q '^{"id":"short".*"sources":\[\]}' out
    holds "batch $how: those of messages" grep -q '^{"id":"c".*"sources":\[{"file":"messages\[0\]","lines":\[' out
    holds "batch $how: in OpenAI's lines" grep -q '"custom_id":"d".*"noctule":{.*"sources":\[{"file":"messages\[0\]"' out
    [ "$how" = "-np 1" ] && cp out first
    without_times out >got
    without_times first >all
    same got all "batch $how"
done
run batch in.jsonl -n 8 --seed 1 --ordered --cache off
holds "--sources should not change a text" test "$(sed 's/.*"text":\("[^"]*"\).*/\1/; s/.*"content":\("[^"]*"\).*/\1/' out)" = "$(sed 's/.*"text":\("[^"]*"\).*/\1/; s/.*"content":\("[^"]*"\).*/\1/' first)"
run batch a.txt b.txt -p x? -n 8 --seed 1 --sources -o '{stem}.sum'
exits 2; says "try: --format json"
run batch a.txt b.txt -p x? -n 8 --seed 1 --sources -o '{stem}.sum' --format json --cache off
exits 0
sources_of a.sum >got
sed 's/"text"/"a.txt"/g' want >all
same got all "the sources of a file"

# ---- against all choices of the rows that wrote the answer
# size BLOCK FLAG...: of blocks; the window is two of them
size() {
    block=$1
    shift
    printf '\nx?' | cat a.txt - >message
    run run $asked -f a.txt --sources --json "$@" </dev/null
    cp out answer
    run tokenize --chat --json "$(cat message)"
    cp out prompt
    python3 - <<'END' >ids
import json
prompt, answer = json.load(open("prompt"))["ids"], json.load(open("answer", "rb"))
assert answer["usage"]["prompt"] == len(prompt)
print(json.dumps(prompt + answer["token_ids"][:-1]))
END
    run eval logits --ids @ids --selected "$@"
    exits 0
    holds "shares and lines are those of the choices" python3 - "$block" <<'END'
import json, sys
block, prompt, answer = int(sys.argv[1]), json.load(open("prompt")), json.load(open("answer", "rb"))
n, lines = len(prompt["ids"]), open("a.txt").read().split("\n")
count = {}
for layer, position, head, blocks, margin in map(json.loads, open("out")):
    if position >= n - 1:
        for b in blocks[1:-3]: # without the first and the nearest three
            count[b] = count.get(b, 0) + 1
total, most, ranges = sum(count.values()), max(count.values()), []
hot = sorted(b for b in count if 2 * count[b] >= most)
for b in hot:
    if ranges and ranges[-1][1] == b - 1:
        ranges[-1][1] = b
    else:
        ranges.append([b, b])
want = sorted((sum(count[b] for b in range(r[0], r[1] + 1)) / total for r in ranges), reverse=True)
got = answer["sources"]
assert [round(s["share"], 4) for s in got] == [round(w, 4) for w in want][:5], (got, want)
spell = lambda p: p.replace("\u2581", " ") if not p.startswith("<0x") else chr(int(p[3:5], 16))
for s in got: # a token a letter: blocks to lines by spelling the prompt
    r = max(ranges, key=lambda r: -abs(sum(count[b] for b in range(r[0], r[1] + 1)) / total - s["share"]))
    spelled = "".join(map(spell, prompt["pieces"][block * r[0]:block * (r[1] + 1)]))
    first, last = s["lines"]
    inside = spelled.split("\n")[1:-1] # whole lines; where the blocks end with a line, the last one too
    assert inside == lines[first:last - (not spelled.endswith("\n"))], (inside, first, last)
END
}
if command -v python3 >/dev/null 2>&1; then
    size 64
    size 32 -X sparse.block=32 -X sparse.window=64
fi

# ---- chat: counted while the answer is written, or afterwards
printf 'x?\n/sources\n/sources 1\nand?\n/sources\n/undo\n/sources\n/sources none\n' >turns.txt
run chat --script -n 8 --seed 1 a.txt b.txt <turns.txt
exits 0; says "a.txt:"; says "no answer to tell sources of"; says "takes a number of ranges"
holds "quotes lie in their lines" quotes_are_in_their_lines err
grep -E '^  0' err >afterwards
cp out answers
printf 'x?\nand?\n' >turns.txt
run chat --script -n 8 --seed 1 --sources a.txt b.txt <turns.txt
exits 0
same out answers "asking for sources should change no answer"
grep -E '^  0' err >meanwhile
n=$(wc -l <meanwhile)
holds "two answers' sources" test "$n" -gt 1
awk '!seen[$0]++' afterwards >a
awk '!seen[$0]++' meanwhile >b
same a b "sources found afterwards should be those that were counted"
run run --sources -n 2 -m "$NCT_TINY_MODEL" x </dev/null
exits 0; says "attention is dense here"

# ---- sum: of a text in one go they are those of run with its instruction
summary="-n 8 --seed 1"
run sum $summary --sources a.txt
exits 0; says "a.txt:"; holds "quotes lie in their lines" quotes_are_in_their_lines err
cp err direct
run run $summary --sources -f a.txt -p "Summarise the text above as one abstract in running text. Write in the language of the text. Write the summary only." </dev/null
exits 0
same err direct "a summary has the sources of the answer that it is"
run sum $summary --sources a.txt
exits 0
same err direct "one that was kept has them too"
run sum $summary -q --sources a.txt
exits 0; silent
run sum $summary b.txt
exits 0; silent
cp out before
run sum $summary --sources --json b.txt
exits 0; silent; prints '"sources":[{"file":"b.txt"'
holds "one that was kept without is asked for again" test "$(json kept)" -eq 0
run sum $summary --sources b.txt
same out before "asking for sources should change no summary"
run sum $summary --sources --sparse off a.txt
exits 0; says "no sources: attention is dense here"

# ---- of parts: the lines that each is, and of these the ones that were chosen most
run sum $summary --sources --strategy map-reduce --chunk 600 a.txt b.txt
exits 0; says "  part 1 of 2  a.txt:1-"; says "  part 2 of 2  a.txt:"; says "  0."; says "a diagnostic, no proof"
sed 's/^    /  /' err >lines
holds "quotes lie in their lines" quotes_are_in_their_lines lines
run sum $summary --sources --strategy refine --chunk 600 a.txt
exits 0; says "  part 1 of 2  a.txt:1-"
sed 's/^    /  /' err >lines
holds "quotes lie in their lines" quotes_are_in_their_lines lines
run sum $summary --sources --strategy map-reduce --chunk 900 --together --json a.txt b.txt
exits 0; silent
if command -v python3 >/dev/null 2>&1; then
    holds "parts cover all lines of all files, and sources lie in them" python3 - <<'END'
import json
r = json.load(open("out", "rb"))
at, n = {"a.txt": 1, "b.txt": 1}, {"a.txt": 60, "b.txt": 40}
for p in r["parts"]:
    for c in p["covers"]:
        assert c["lines"][0] == at[c["file"]], p
        at[c["file"]] = c["lines"][1] + 1
    assert 0 < sum(s["share"] for s in p["sources"]) < 1.0001
    for s in p["sources"]:
        assert any(c["file"] == s["file"] and c["lines"][0] <= s["lines"][0] <= s["lines"][1] <= c["lines"][1]
                   for c in p["covers"]), p
assert len(r["parts"]) == 2 and all(at[f] == n[f] + 1 for f in at), at
shares = [s["share"] for s in r["sources"]]
assert shares == sorted(shares, reverse=True) and len(shares) <= 5 and 0 < sum(shares) < 1.0001
assert all(any((s["file"], s["lines"]) == (t["file"], t["lines"]) and s["share"] <= t["share"] for p in r["parts"] for t in p["sources"])
           for s in r["sources"])
END
fi

finish
