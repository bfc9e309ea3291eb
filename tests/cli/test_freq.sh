# Frequency lists: counted over files and pipes, ranked, written in every form.
. "$(dirname "$0")/lib.sh"
find_model
export NOCTULE_MODEL="$model"

# A text of some pieces (a megabyte): these scripts, long runs, bytes that are no UTF-8.
here=$(dirname "$0")
awk 'BEGIN { srand(7); split("the moon rose over a quiet field and nobody said anything at all \303\251t\303\251 \344\275\240\345\245\275 \360\237\230\200 0123 \377", w, " ")
    for (i = 0; i < 18000; i++) { line = ""; for (k = 0; k < 8; k++) line = line w[1 + int(rand() * 18)] (rand() < .1 ? "  " : " "); print line (rand() < .02 ? "\n\n" : "") }
    s = "aaaaaaaaaaaaaaaa"; for (i = 0; i < 12; i++) s = s s; print s }' >random
cat "$here"/*.sh random "$here"/*.sh >text

# expected FILE: the ranking of a text, made from its ids
expected() {
    "$NOCTULE" tokenize --json <"$1" | sed 's/.*"ids":\[\([^]]*\)\].*/\1/' | tr ',' '\n' | sort -n | uniq -c |
        awk '{ print $1, $2 }' | sort -k1,1nr -k2,2n | awk '{ print $2 }'
}
expected text >ranked
stated() { tr -d ' \n' <"$model/config.json" | sed -n "s/.*\"$1\":\[*\([0-9]*\).*/\1/p"; }
eos=$(stated eos_token_id) n_vocab=$(stated vocab_size)

# ---- counting: what tokenize gives, for any number of threads, from a file or a pipe
run freq text -o list.txt -t 1
exits 0; silent; prints " tokens in "; prints "100.00 %"
holds "the first entry is the end of an answer" test "$(head -n 1 list.txt)" = "$eos"
holds "no entry comes twice" test -z "$(sort list.txt | uniq -d)"
head -n 40 list.txt >front # what an answer must not lack is in these
tail -n +41 list.txt >rest
grep -vxFf front ranked >ranked_rest
same rest ranked_rest "the order should be that of the counts"
newline=$(printf '\n' | "$NOCTULE" tokenize --json | sed 's/.*"ids":\[\([^]]*\)\].*/\1/' | tr ',' '\n' | tail -n 1)
n_tokens=$("$NOCTULE" tokenize --count <text)
run freq text -o again.txt -t 2 --json
exits 0; same list.txt again.txt "threads change nothing"
prints "\"tokens\":$n_tokens,"; prints '"documents":1,'; prints '"coverage":[{"entries":'$((n_vocab / 8)),
"$NOCTULE" freq -o piped.txt <text >out 2>err
code=$?
exits 0; silent; same list.txt piped.txt "a pipe or a file"
{ head -c 300000 text; sleep 0.2; tail -c +300001 text; } | "$NOCTULE" freq - -o slow.txt >out 2>err
code=$?
exits 0; same list.txt slow.txt "a pipe that waits"

# ---- forms
run freq text -o list.pt -o list.u32 -o list.txt
exits 0
if [ -x /usr/bin/python3 ]; then
    /usr/bin/python3 - <<'PYTHON' >out 2>err
import pickle, struct, zipfile
ids = [int(line) for line in open("list.txt")]
archive = zipfile.ZipFile("list.pt")
assert archive.testzip() is None
assert archive.read("archive/data.pkl") == pickle.dumps(ids, 2)
assert list(struct.unpack("<%dI" % len(ids), open("list.u32", "rb").read())) == ids
PYTHON
    code=$?
    last="python3 on the lists"
    exits 0
fi
run freq text --size 100 -o small.txt
exits 0
head -n 100 list.txt >wanted
same small.txt wanted "a smaller list is the beginning of a larger one"

# ---- what a list covers of a corpus
run freq text --json -o again.pt
cp out made
for list in list.txt list.pt list.u32; do
    run freq text --list $list --json
    exits 0; silent; same out made "a list of either form covers what it was made of"
done
printf '%s\n' "$newline" >one.txt
run freq text --list small.txt
exits 0; prints "       100"
run freq text --list one.txt --json
n_lines=$("$NOCTULE" tokenize --json <text | sed 's/.*"ids":\[\([^]]*\)\].*/\1/' | tr ',' '\n' | grep -cx "$newline")
prints "$(awk "BEGIN { printf \"\\\"entries\\\":1,\\\"share\\\":%.6f\", $n_lines / $n_tokens }")"
run freq text --list small.txt -o c.txt
exits 2; says "--list measures a list"
printf '5\n%s\n' "$n_vocab" >high.txt
run freq text --list high.txt
exits 3; says "high.txt: entry 2 is $n_vocab, and the vocabulary has $n_vocab tokens"
run freq text --list docs
exits 1
truncate -s 100M huge.u32
run freq text --list huge.u32
exits 3; says "too many for a list"
rm huge.u32

# ---- documents in JSON: named, by ending, by how they begin
printf '{"text": "the moon\\n", "id": 1}\n\n{"text": "a quiet field", "body": "x"}' >docs.jsonl
run freq docs.jsonl -o a.txt --json
exits 0; prints '"bytes":22,"documents":2,'
n=$(($("$NOCTULE" tokenize --count 'a quiet field') + $(printf 'the moon\n' | "$NOCTULE" tokenize --count)))
prints "\"tokens\":$n,"
"$NOCTULE" freq -o b.txt --json <docs.jsonl >out 2>err
code=$?
exits 0; prints "\"tokens\":$n,"; same a.txt b.txt "by ending or by beginning"
printf '{ "body": "the moon" }\n' | "$NOCTULE" freq -o b.txt --field body --json >out 2>err
code=$?
exits 0; prints "\"tokens\":$("$NOCTULE" tokenize --count 'the moon'),"
printf '{"body": "the moon"}\n{"body": 7}\n' >body.jsonl
run freq body.jsonl --field body -o c.txt
exits 1; says "body.jsonl: line 2 has no text in its field 'body'"; prints_nothing
printf '{"text": "x"}\nnothing\n' | "$NOCTULE" freq -o c.txt >out 2>err
code=$?
exits 1; says "stdin: line 2 is no JSON object"
awk 'BEGIN { for (i = 1; i <= 30000; i++) print (i == 20000 || i == 29000) ? "{\"text\": }" : "{\"text\": \"the moon rose over a quiet field\"}" }' >long.jsonl
run freq long.jsonl -o c.txt -t 2
exits 1; says "long.jsonl: line 20000 is no JSON object"
holds "nothing is left behind" test ! -e c.txt -a ! -e c.txt.part

# ---- what is refused
run freq text
exits 2; says "-o freq.pt"
run freq text -o -
exits 2; says "try: -o FILE"
run freq missing -o c.txt
exits 1; says "missing cannot be read: No such file"
run freq . -o c.txt
exits 1; says "Is a directory"
: >empty
run freq empty -o c.txt
exits 2; says "the corpus is empty"
gzip -c text >text.gz
run freq text text.gz -o c.txt
exits 2; says "text.gz is a gzip file"; says "zcat text.gz | noctule freq"
printf 'a\000b' >nul
run freq nul -o c.txt
exits 2; says "offset 1"
printf '\377\376a\000' >utf16
run freq utf16 -o c.txt
exits 2; says "iconv"
run freq text -o missing/c.txt
exits 1; says "cannot be written"
run freq -m missing text -o c.txt
exits 3
run freq text -o c.txt --size 0
exits 2
holds "nothing is left behind" test ! -e c.txt -a ! -e c.txt.part
printf 'old\n' >c.txt
run freq empty -o c.txt
holds "an older list stays" test "$(cat c.txt)" = old

# ---- ended while it reads
mkfifo slow
"$NOCTULE" freq -o d.txt <slow >out 2>err &
running=$!
exec 4>slow
cat text >&4
sleep 0.5
kill -TERM "$running"
wait "$running"
code=$?
exec 4>&-
last="freq that is terminated"
exits 143; says "no list was written"
holds "nothing is left behind" test ! -e d.txt -a ! -e d.txt.part
finish
