# Documents scored by a fastText classifier, the good ones passed on.
. "$(dirname "$0")/lib.sh"
golden=$(cd "$OLDPWD" && cd "$(dirname "$0")/../golden/fasttext" && pwd) || exit 1
model=$golden/subwords.bin
cat >docs.txt <<'TEXT'
kilo tu wa
pipi méso

lopixe   spaced ki文
<html> & "quotes" \
TEXT

# ---- text: a document a line
run filter --classifier "$model" --label good --score docs.txt
exits 0; silent
prints '{"text":"kilo tu wa","score":0.'; prints '{"text":"<html> & \"quotes\" \\","score":'
holds "a blank line is no document" test "$(wc -l <out)" -eq 4
cp out scored
run filter --classifier "$model" --label __label__good --score docs.txt -t 2
same out scored "labels go by either name"
best=$(sed 's/.*"score":\([0-9.e-]*\)}/\1/' scored | sort -g | tail -n 1)
run filter --classifier "$model" --label good --min-score "$(awk "BEGIN { print $best - 1e-5 }")" docs.txt
exits 0; silent
n_best=$(awk -F'"score":' -v best="$best" '$2 + 0 >= best - 1e-5' scored | wc -l)
holds "only the best pass" test "$(wc -l <out)" -eq "$n_best"
holds "they are as they came" grep -qxFf docs.txt out
"$NOCTULE" filter --classifier "$model" --label good --min-score 0 <docs.txt >out 2>err
code=$?
exits 0; grep -v '^$' docs.txt >wanted; same out wanted "a score of 0 passes everything, in order"
run filter --classifier "$model" --label good --min-score 2 docs.txt
exits 0; prints_nothing
run filter -v --classifier "$model" --label good --min-score 2 docs.txt
says "0 of 4 documents passed"
printf 'kilo tu wa\r\n' >crlf
run filter --classifier "$model" --label good --score crlf
head -n 1 scored >wanted; same out wanted "a line may end as Windows has it"

# ---- JSON
cat >docs.jsonl <<'TEXT'
{"id": 1, "text": "kilo tu wa", "n": 1.50}
{"score": 7, "text":"pipi\nméso","a":[1,{"b":null}]}
{"text": "" } 
TEXT
run filter --classifier "$model" --label good --min-score 0 docs.jsonl
exits 0; silent; same out docs.jsonl "objects are as they came"
run filter --classifier "$model" --label good --score docs.jsonl
exits 0
score=$(head -n 1 scored | sed 's/.*"score":\(.*\)}/\1/')
prints "{\"id\": 1, \"text\": \"kilo tu wa\", \"n\": 1.50,\"score\":$score}"
score=$(sed -n 2p scored | sed 's/.*"score":\(.*\)}/\1/')
prints "{\"text\":\"pipi\\nméso\",\"a\":[1,{\"b\":null}],\"score\":$score}"
prints '{"text": "" ,"score":'
"$NOCTULE" filter --classifier "$model" --label good --score --field text <docs.jsonl >again 2>err
same again out "from a pipe too"
sed 's/"text"/"body"/' docs.jsonl >body.jsonl
run filter --classifier "$model" --label good --min-score 0 --field body -o body.out body.jsonl
exits 0; prints_nothing; same body.out body.jsonl "another field, to a file"
run filter --classifier "$model" --label good --min-score 0 -o body.out body.jsonl
exits 1; says "body.jsonl: line 1 has no text in its field 'text'"
same body.out body.jsonl "the older file stays"

# ---- many documents: order and threads
awk 'BEGIN { srand(5); split("kilo tu wa pipi méso lopixe du ki文 bapinä so basolofé", w, " ")
    for (i = 0; i < 60000; i++) { s = i; for (k = 0; k < 12; k++) s = s " " w[1 + int(rand() * 11)]; print s } }' >many
run filter --classifier "$model" --label good --min-score 0.5 many -t 1
exits 0; cp out one
run filter --classifier "$model" --label good --min-score 0.5 many -t 2
exits 0; same out one "threads change nothing"
holds "some pass" test "$(wc -l <one)" -gt 100
holds "and some do not" test "$(wc -l <one)" -lt 59000
holds "in their order" sort -n -c one
{ head -n 30000 many; sleep 0.3; tail -n +30001 many; } | "$NOCTULE" filter --classifier "$model" --label good --min-score 0.5 >out 2>err
same out one "a pipe that waits"
"$NOCTULE" filter --classifier "$model" --label good --min-score 0 many 2>err | head -n 1 >out
code=${PIPESTATUS[0]}
last="filter | head"
exits 141; silent
# what is there comes out before more comes in
mkfifo slow
: >out # or what stands in it would be looked at before the pipeline begins
"$NOCTULE" filter --classifier "$model" --label good --min-score 0 <slow 2>err | cat >out &
running=$!
exec 4>slow
printf 'kilo\n' >&4
tries=0
until [ -s out ] || [ $tries -gt 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
last="filter behind a pipe that goes on"
prints "kilo"
printf '{"text": 1}\n' >&4 # a line like any other: what a stream is was told by its beginning
exec 4>&-
wait "$running"
silent; prints '{"text": 1}'

# ---- what is refused
run filter --label good --min-score 0.5 docs.txt
exits 2; says "--classifier FILE"
run filter --classifier "$model" --label good docs.txt
exits 2; says "--min-score 0.5"
run filter --classifier "$model" --min-score 0.5 docs.txt
exits 2; says "filter needs --label"; says "__label__good"
run filter --classifier "$model" --label fine --min-score 0.5 docs.txt
exits 2; says "no label 'fine'"; says "__label__good"
run filter --classifier docs.txt --label good --min-score 0.5 docs.txt
exits 3; says "docs.txt is no fastText model"
head -c 3000 "$model" >torn.bin
run filter --classifier torn.bin --label good --min-score 0.5 docs.txt
exits 3; says "damaged fastText model"
run filter --classifier missing --label good --min-score 0.5 docs.txt
exits 1; says "missing"
run filter --classifier "$model" --label good --min-score 0.5 missing
exits 1; says "missing cannot be read"
run filter --classifier "$model" --label good --min-score 0.5 --preprocess fancy docs.txt
exits 2; says "none"
run filter --classifier "$model" --label good --min-score 0.5 --preprocess none docs.txt
exits 0

# ---- texts prepared as the published filter's authors prepare theirs
bytelevel=${golden%/*}/bytelevel
tokenizer=$bytelevel/tokenizer.json
folded=$(grep -o '{"text":"Hello  World","folded":"[^"]*"}' "$bytelevel/vectors.json" | sed 's/.*"folded":"\(.*\)"}/\1/')
holds "there is a folded text" test -n "$folded"
printf 'Hello  World\n' >raw.txt
printf '%s\n' "$folded" >folded.txt
score_of() { sed 's/.*"score":\(.*\)}/\1/' out; }
run filter --classifier "$model" --label good --score folded.txt
exits 0; score_of >expected
run filter --classifier "$model" --label good --score --preprocess ultrafineweb --tokenizer "$tokenizer" raw.txt
exits 0; silent; prints '{"text":"Hello  World","score":'
score_of >scores
same scores expected "the classifier should see the folded text"
run filter --classifier "$model" --label good --score --preprocess ultrafineweb --tokenizer "$bytelevel" raw.txt
score_of >scores
same scores expected "the tokenizer's folder should do too"
run filter --classifier "$model" --label good --score --preprocess ultrafineweb --tokenizer "$NCT_TINY_MODEL" raw.txt
exits 0
printf '{"text":"Hello \\n\\n\\n World"}\n{"text":"hello \\n\\nWORLD\\u0301"}\n' >raw.jsonl
run filter --classifier "$model" --label good --score --preprocess ultrafineweb --tokenizer "$tokenizer" raw.jsonl
exits 0
run filter --classifier "$model" --label good --min-score 0.5 --preprocess ultrafineweb many -t 2
exits 2; says "--tokenizer tokenizer.json"; prints_nothing
run filter --classifier "$model" --label good --min-score 0.5 --tokenizer "$tokenizer" docs.txt
exits 2; says "--preprocess ultrafineweb"
run filter --classifier "$model" --label good --min-score 0.5 --preprocess ultrafineweb --tokenizer missing.json docs.txt
exits 1; says "missing.json"
run filter --classifier "$model" --label good --min-score 0.5 --preprocess ultrafineweb --tokenizer docs.txt docs.txt
exits 3; says "docs.txt"
head -n 2000 many >some
run filter --classifier "$model" --label good --min-score 0.5 --preprocess ultrafineweb --tokenizer "$tokenizer" some -t 1
exits 0; cp out one
run filter --classifier "$model" --label good --min-score 0.5 --preprocess ultrafineweb --tokenizer "$tokenizer" some -t 2
exits 0; same out one "threads change nothing"
holds "some pass" test -s one

# ---- fastText itself, where it is installed
if command -v fasttext >/dev/null; then
    awk 'BEGIN { srand(9); split("good bad odd", l, " ")
        for (i = 0; i < 3000; i++) { k = int(rand() * 3); s = "__label__" l[k + 1]; n = 3 + int(rand() * 15)
            for (j = 0; j < n; j++) s = s " w" int(rand() * 120 + k * 60) "é" int(rand() * 3); print s } }' >train
    cut -d' ' -f2- train | head -n 400 >asked
    compare() { # NAME FILE OPTION...
        name=$1 file=$2
        shift 2
        fasttext supervised -input train -output trained -thread 1 -verbose 0 -epoch 3 -dim 10 -bucket 5000 "$@" >/dev/null 2>&1
        case $file in *.ftz) fasttext quantize -input train -output trained -qnorm -thread 1 -verbose 0 >/dev/null 2>&1 ;; esac
        for label in good bad odd; do
            fasttext predict-prob "$file" asked -1 0 | awk -v l="__label__$label" '{ for (i = 1; i < NF; i += 2) if ($i == l) print $(i + 1) }' >wanted
            run filter --classifier "$file" --label "$label" --score asked
            exits 0
            sed 's/.*"score":\(.*\)}/\1/' out >got
            last="scores of $label by $name"
            holds "as fastText's own" awk 'NR == FNR { w[NR] = $1; n = NR; next } { d = $1 - w[FNR]; if (d * d > 1e-10) bad++; m++ } END { exit bad > 0 || m != n || m < 400 }' wanted got
        done
    }
    compare softmax trained.bin -wordNgrams 2
    compare subwords trained.bin -minn 2 -maxn 5 -wordNgrams 3
    compare one-vs-all trained.bin -loss ova -minn 3 -maxn 3
    compare quantised trained.ftz -wordNgrams 2
else
    echo "fasttext is not installed: compared with its kept scores only"
fi
finish
