# eval lines and eval needle: what is asked, scored, kept and drawn. The tiny models know nothing; what counts is
# counted.
. "$(dirname "$0")/lib.sh"
export NOCTULE_MODEL="$NCT_TINY_MODEL" # holds 2,048 tokens, 6,623 with its long list

# ---- lines
entry() { # NAME NUMBER
    printf '{"random_idx":["%s",0],"expected_number":%s,"num_lines":2,"prompt":"line one: <%s>\\nline two: <77>\\nWhat is in line %s?"}\n' "$1" "$2" "$2" "$1"
}
{ entry one 123; entry two 77; entry three 9; } >three.jsonl
entry one 5 >single.jsonl
run eval lines
exits 2; says "eval lines 200_lines.jsonl"
run eval lines three.jsonl single.jsonl --json -n 4
exits 0; silent; prints '"task":"lines"'; prints '"asked":4'; prints '"computed":4'; prints '"from_records":0'
run eval lines three.jsonl -n 4
exits 0; prints "correct"; prints "three.jsonl"
run eval lines three.jsonl --limit 2 --json -n 4 -o records.jsonl
exits 0; prints '"asked":2'
holds "two records" test "$(wc -l <records.jsonl)" -eq 2
# the same command goes on: what is recorded is not read again, torn ends are cut off
printf '{"key":"torn' >>records.jsonl
run eval lines three.jsonl --json -n 4 -o records.jsonl
exits 0; prints '"asked":3'; prints '"computed":1'; prints '"from_records":2'
holds "three whole records" test "$(wc -l <records.jsonl)" -eq 3
holds "no torn one" sh -c '! grep -q torn records.jsonl'
run eval lines three.jsonl --json -n 4 -o records.jsonl
exits 0; prints '"computed":0'; prints '"prefilled":0'
run eval lines three.jsonl --json -n 5 -o records.jsonl # another setting, another answer
exits 0; prints '"computed":3'
# scores come from the answers: the last number, all of its digits
sed 's/"answer":.*/"answer":"not 99 but 123."}/' records.jsonl >scored.jsonl
run eval lines three.jsonl --json -n 4 -o scored.jsonl
exits 0; prints '"computed":0'; prints '"correct":1,'
sed 's/"answer":.*/"answer":"It is <00077>, surely"}/' records.jsonl >scored.jsonl
run eval lines three.jsonl --json -n 4 -o scored.jsonl
prints '"correct":1,'
for answer in "77 and 78" "177" "7 7" "" "184467440737095516930"; do
    sed "s/\"answer\":.*/\"answer\":\"$answer\"}/" records.jsonl >scored.jsonl
    run eval lines three.jsonl --json -n 4 -o scored.jsonl
    prints '"correct":0,'
done
run eval lines three.jsonl -n 4 --min 50
exits 7; says "is below --min 50"
sed 's/"answer":.*/"answer":"123"}/' records.jsonl >scored.jsonl
run eval lines three.jsonl -n 4 --min 30 -o scored.jsonl
exits 0
echo 'no json' >bad.jsonl
run eval lines bad.jsonl
exits 2; says "line 1: "
echo '{"prompt":"x"}' >bad.jsonl
run eval lines bad.jsonl
exits 2; says "expected_number"
run eval lines three.jsonl -o bad.txt
exits 2; says "FILE.jsonl"
echo 'no record' >bad.jsonl
run eval lines three.jsonl -o bad.jsonl
exits 1; says "no record of an earlier run"
run eval lines nosuch.jsonl
exits 1
{ printf '{"expected_number":1,"prompt":"'; yes "kwz qxj pvy " | tr -d '\n' | head -c 9000; printf '"}\n'; } >long.jsonl
run eval lines single.jsonl long.jsonl -n 4 -o none.jsonl
exits 4; prints_nothing; says "long.jsonl: line 1 is a prompt of "; says "holds 6,623"
holds "nothing was begun" sh -c '! test -e none.jsonl'

# LongEval's own file, where it is at hand
lines=${NCT_SHARED_DIR:-}/data/longdocs/longeval/200_lines.jsonl.xz
if [ -e "$lines" ] && command -v xz >/dev/null 2>&1; then
    run eval lines "$lines"
    exits 2; says "xzcat"
    xz -dc "$lines" >200_lines.jsonl
    run eval lines 200_lines.jsonl --limit 1 -n 2 --json -X ctx.force=1
    exits 0; prints '"lines":200'; prints '"asked":1'
fi

# ---- needle
grid="-L 400,600 -D 0,50,100 --seeds 2 -n 4"
run eval needle $grid --json
exits 0; silent; prints '"computed":12'; prints '"mean":{"auto":'
holds "twelve trials" test "$(grep -c '"seed"' out)" -eq 12
whole=$(sed -n 's/.*"prefilled":\([0-9]*\).*/\1/p' out)
sum=$(grep -o '"tokens":[0-9]*' out | cut -d: -f2 | paste -sd+ | sed 's/$//')
holds "prompts fill their length but for the answer" sh -c "grep -o '\"tokens\":[0-9]*' out | cut -d: -f2 | awk '{ if (!(\$1 > 560 && \$1 <= 596) && !(\$1 > 360 && \$1 <= 396)) exit 1 }'"
# what lies above the needle is read once: two depths of six prompts read all, half and nothing of the hay
holds "$whole tokens read should be less than 0.7 of $sum" test "$whole" -lt $(((sum) * 7 / 10))
cp out first
run eval needle $grid --json
sed 's/"answer".*//' out >a
sed 's/"answer".*//' first >b
same a b "the same seeds should give the same prompts"
run eval needle $grid --seed 9 --json
holds "another seed, other numbers" sh -c 'sed "s/.*expected/expected/" out >c; sed "s/.*expected/expected/" first >d; ! cmp -s c d'

# maps, files, and what is kept
run eval needle $grid
exits 0; prints "100 %"; prints " depth 400 600"; prints "mean "
run eval needle $grid -o cells.svg -o cells.csv -o cells.json -o cells.jsonl
exits 0
holds "records" test "$(wc -l <cells.jsonl)" -eq 12
holds "csv rows" test "$(grep -c '^"' cells.csv)" -ge 12
holds "no journal is left" sh -c '! test -e .cells.svg.noctule-journal'
holds "cells are drawn" test "$(grep -c '<rect x=' cells.svg)" -eq 6
if command -v python3 >/dev/null 2>&1; then
    holds "the SVG is well-formed" python3 -c 'import xml.dom.minidom as d; t = d.parse("cells.svg"); assert t.documentElement.tagName == "svg" and t.getElementsByTagName("title")'
    holds "the JSON parses" python3 -c 'import json; t = json.load(open("cells.json")); assert len(t["trials"]) == 12'
    holds "the CSV parses" python3 -c 'import csv; t = list(csv.DictReader(open("cells.csv", newline="", errors="replace"))); assert len(t) == 12 and t[0]["length"] == "400"'
    cat >cells.py <<'P'
import csv, json
whole = json.load(open("cells.json", "rb"))
lines = [json.loads(line) for line in open("out", "rb")]
table = list(csv.DictReader(open("cells.csv", newline="", errors="replace")))
assert [(c["length"], c["depth"]) for c in whole["cells"]] == [(l, d) for l in (400, 600) for d in (0, 50, 100)]
assert lines == whole["trials"]
for c in whole["cells"]:
    of = [t for t in whole["trials"] if (t["length"], t["depth"], t["sparse"]) == (c["length"], c["depth"], c["sparse"])]
    assert c["answers"] == [t["answer"] for t in of] and len(of) == 2, c
    assert abs(c["percent"] - 50 * sum(t["found"] for t in of)) < 1e-3, c
for t, row in zip(whole["trials"], table):
    assert [int(x) for x in row["expected"].split()] == t["expected"] and row["lang"] == "en", row
    assert float(row["percent"]) == 100 * t["found"] and int(row["seed"]) == t["seed"], row
assert whole["isa"]
P
    run eval needle $grid -o cells.jsonl --format jsonl
    exits 0
    holds "every cell has its share and its answers, in every form" python3 cells.py
fi
run eval needle $grid -o cells.svg -o cells.jsonl --json
exits 0; prints '"computed":0'; prints '"from_records":12'; prints '"prefilled":0'
head -n 7 cells.jsonl >part.jsonl
run eval needle $grid -o part.jsonl --json
exits 0; prints '"computed":5'; prints '"from_records":7'
sort part.jsonl >a
sort cells.jsonl >b
same a b "what was gone on with should be what is made at once"
# the score: as many of the numbers as the answer holds
sed 's/"expected":\[\([0-9]*\)\],"found":[0-9]*,"answer":.*/"expected":[\1],"found":0,"answer":"so it is \1!"}/' cells.jsonl >scored.jsonl
run eval needle $grid -o scored.jsonl -o scored.svg --min 100 --json
exits 0; prints '"mean":{"auto":100}'
run eval needle $grid --min 95
exits 7
run eval needle -L 700 -D 50 --seeds 1 -n 4 --needles 3 --json -o multi.jsonl
exits 0; prints '"needles":3'
sed 's/"expected":\[\([0-9]*\),\([0-9]*\),\([0-9]*\)\],"found":[0-9]*,"answer":.*/"expected":[],"answer":"\3 and \1"}/' multi.jsonl >two.jsonl
run eval needle -L 700 -D 50 --seeds 1 -n 4 --needles 3 --json -o two.jsonl
prints '"found":2'; prints '"auto":66.6667'

# two modes and their difference
run eval needle -L 400 -D 0,100 --seeds 1 -n 4 --sparse on,off -o both.svg -q --json
exits 0; prints '"on":'; prints '"off":'
holds "three maps" test "$(grep -c '<rect x=' both.svg)" -eq 6
holds "the difference" grep -q "sparse on less off" both.svg

# in Chinese: other texts, the same numbers, and records that are not taken for one another
run eval needle $grid --json -o english.jsonl
cp out english
run eval needle $grid --json --lang zh -o english.jsonl
exits 0; prints '"lang":"zh"'; prints '"computed":12'; prints '"from_records":0'
holds "prompts fill their length" sh -c "grep -o '\"tokens\":[0-9]*' out | cut -d: -f2 | awk '{ if (!(\$1 > 540 && \$1 <= 596) && !(\$1 > 340 && \$1 <= 396)) exit 1 }'"
holds "the same numbers" sh -c 'grep -o "expected[^]]*" out >a; grep -o "expected[^]]*" english >b; cmp a b'
run eval needle $grid --json --lang zh -o english.jsonl
prints '"computed":0'
holds "records of both" test "$(wc -l <english.jsonl)" -eq 24
# the prompt itself is not shown, but the least room it needs is known: its sentences without hay
run tokenize --chat --count "下面的文字里藏着一些神奇数字。请记住它们：读完文字之后会问到。

关于琥珀的一个神奇数字是：1234567。

文中琥珀的神奇数字是什么？请用数字回答。"
least=$(($(cat out) + 4 + 128)) # the answer, and twice the least hay
run eval needle -L $((least + 12)) -D 50 --seeds 1 -n 4 --lang zh
exits 0
run eval needle -L $((least - 12)) -D 50 --seeds 1 -n 4 --lang zh
exits 2; says "has no room"
run eval needle --lang fr
exits 2; says "en|zh"

# a haystack of one's own, beyond the native window, and what cannot be
yes "The quick brown bat saw <one> & no more." | head -n 400 >hay.txt
run eval needle -L 3k -D 50 --seeds 1 -n 4 --haystack hay.txt --json -v
exits 0; says "long RoPE list"; prints '"length":3072'
run eval needle -L 64k -D 50 -n 4
exits 4; says "65,536"
run eval needle -L 600,100 -D 50
exits 2; prints_nothing; says "a length of 100 has no room"
run eval needle -L 4k..1k
exits 2; says "-L 4k..1k"
run eval needle -D 50..200/10
exits 2; says "-D 50..200/10"
run eval needle -D 0..100/0
exits 2
run eval needle -L 400 --sparse on,on
exits 2; says "twice"
run eval needle -L 400 --sparse on,maybe
exits 2; says "--sparse on,maybe"
run eval needle -L 400 -o map.png
exits 2; says ".svg .csv .json or .jsonl"
run eval needle something
exits 2; says "--haystack"
: >empty.txt
run eval needle -L 400 --haystack empty.txt
exits 2; says "empty.txt is empty"

# ---- on a terminal the map fills; Ctrl-C keeps what is done
if timeout 60 script -qefc true screen </dev/null >/dev/null 2>&1; then
    on_terminal "'$NOCTULE' eval needle $grid"
    exits 0; prints "6 of 6 cells done"; prints "██"; prints "eta"
fi
if env --default-signal=INT true 2>/dev/null; then
    env --default-signal=INT "$NOCTULE" eval needle -L 1500 -D 0..100/10 --seeds 3 -n 4 --isa ref -X exact=1 -t 1 -o slow.svg >out 2>err &
    child=$!
    tries=0
    until [ -s .slow.svg.noctule-journal ] || [ "$tries" -gt 300 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    kill -INT "$child"
    wait "$child"
    code=$?
    last="eval needle, Ctrl-C"
    exits 130; says "cells are done; the same command goes on from there, with .slow.svg.noctule-journal"
    holds "the records stay" test -s .slow.svg.noctule-journal
    holds "the picture is not there" sh -c '! test -e slow.svg'
fi

finish
