# What people do with other programs: git, pdftotext, find, make, jq, GNU parallel, a loop of two batches that writes
# dialogues. Each part says what it lacks and goes on; what each prints is what run or batch give for the same text.
. "$(dirname "$0")/lib.sh"
find_model
export NOCTULE_MODEL="$model" NOCTULE_GREEDY=1
mkdir -p bin .parallel # GNU parallel wants to be cited once
touch .parallel/will-cite
ln -s "$NOCTULE" bin/noctule
PATH="$home/bin:$PATH"
left_out=
# have PROGRAM...: or say what is left out
have() {
    for program in "$@"; do
        command -v "$program" >/dev/null && continue
        echo "left out: no $program"
        left_out="$left_out $program"
        return 1
    done
}

# ---- a commit message from what is staged
if have git; then
    last="git diff --staged | noctule run | git commit -F -"
    git init -q repo 2>/dev/null
    (
        cd repo
        git config user.email nobody@example.invalid
        git config user.name nobody
        printf 'int main(void) { return 0; }\n' >main.c
        git add main.c
        git diff --staged | noctule run -n 24 "Write a commit message: one line, then bullets." | git commit -qF -
    ) >out 2>err
    code=$?
    exits 0; silent
    git -C repo show -s --format=%B HEAD | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' >message
    git -C repo show --format= HEAD >diff
    noctule run -n 24 "Write a commit message: one line, then bullets." <diff 2>/dev/null >answer
    git stripspace <answer >expected
    git stripspace <message >got
    holds "a message" test -s got
    same got expected "the message is not the answer to the diff"
fi

# ---- a paper
if have pdftotext; then
    last="pdftotext | noctule sum"
    # the smallest there is: one page with one line
    awk 'BEGIN {
        line = "BT /F1 12 Tf 72 720 Td (The dog found a red ball near the old house and took it home.) Tj ET"
        object[1] = "<< /Type /Catalog /Pages 2 0 R >>"
        object[2] = "<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
        object[3] = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
        object[4] = "<< /Length " length(line) " >>\nstream\n" line "\nendstream"
        object[5] = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
        all = "%PDF-1.4\n"
        for (i = 1; i <= 5; i++) { at[i] = length(all); all = all i " 0 obj\n" object[i] "\nendobj\n" }
        printf "%sxref\n0 6\n0000000000 65535 f \n", all
        for (i = 1; i <= 5; i++) printf "%010d 00000 n \n", at[i]
        printf "trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", length(all)
    }' >paper.pdf
    pdftotext -layout paper.pdf paper.txt 2>/dev/null
    holds "the page is text" grep -q "red ball" paper.txt
    pdftotext -layout paper.pdf - 2>/dev/null | noctule sum -n 12 --focus "methods and limits" >out 2>err
    code=$?
    exits 0; silent
    noctule sum -n 12 --focus "methods and limits" paper.txt >expected 2>/dev/null
    same out expected "a pipe gives another summary than the file"
fi

# ---- many files, with names that hurt
last="find -print0 | noctule batch --files-from - -0"
mkdir -p "docs/a b" docs/c
printf 'The dog ran home.\n' >"docs/a b/new
line.md"
printf 'The cat sat down.\n' >"docs/it's \"c\".md"
printf 'The sun went up.\n' >docs/c/plain.md
find docs -name '*.md' -print0 | noctule batch --files-from - -0 -p "Summarise in 3 sentences." -np 4 -n 8 -o '{dir}/{stem}.sum.md' --resume >out 2>err
code=$?
exits 0
noctule run -n 8 -f "docs/it's \"c\".md" -p "Summarise in 3 sentences." >expected 2>/dev/null </dev/null
same "docs/it's \"c\".sum.md" expected "a quoted name"
holds "a name of two lines" test -s "docs/a b/new
line.sum.md"
holds "the third" test -s docs/c/plain.sum.md
find docs -name '*.md' ! -name '*.sum.md' -print0 | noctule batch --files-from - -0 -p "Summarise in 3 sentences." -n 8 -o '{dir}/{stem}.sum.md' --resume >out 2>err
code=$?
exits 0; says "0 ok, 0 failed"

# ---- make: a target that is whole or not there, and made once
if have make; then
    last="make"
    printf '%%.sum: %%.txt ; noctule sum -q -n 8 -o $@ $<\n' >Makefile
    cp docs/c/plain.md one.txt
    cp docs/c/plain.md two.txt
    env -u MAKEFLAGS -u MAKELEVEL make -j1 one.sum two.sum >out 2>err
    code=$?
    exits 0
    same one.sum two.sum "one text, one summary"
    env -u MAKEFLAGS -u MAKELEVEL make -j1 one.sum two.sum >out 2>err
    prints "up to date"
    : >empty.txt
    env -u MAKEFLAGS -u MAKELEVEL make empty.sum >out 2>err
    code=$?
    holds "a failure is make's" test $code -ne 0
    holds "no half-made target" test ! -e empty.sum
fi

# ---- labels, as a table
printf '{"id":"t1","body":"It does not start."}\n{"id":"t2","body":"Please add a button."}\n' >tickets.jsonl
if have jq; then
    last="labels, and jq"
    noctule batch tickets.jsonl --field body --choice bug,feature,question -n 4 -o labels.jsonl >out 2>err && jq -r '[.id,.text]|@csv' labels.jsonl >out
    code=$?
    exits 0
    holds "two lines of two" test "$(grep -cE '^"t[12]","(bug|feature|question)"$' out)" -eq 2
fi

# ---- the end of a log, by a schema
last="tail | noctule run --schema"
i=0
while [ $i -lt 400 ]; do
    echo "2026-01-01 12:00:$((i % 60)) worker $i: the queue holds $((i * 7 % 13)) records"
    i=$((i + 1))
done >app.log
echo '{"type":"object","properties":{"kind":{"enum":["slow","lost"]},"n":{"type":"integer"}},"required":["kind","n"],"additionalProperties":false}' >incident.schema
tail -n 300 app.log | noctule run -c 1k --overflow tail --schema @incident.schema --fail-on-length -n 40 "What happened?" >out 2>err
code=$?
exits 0
says "dropped"
tr '\n\t' '  ' <out >line
holds "an incident" grep -qE '^ *\{ *"kind" *: *"(slow|lost)" *, *"n" *: *-?[0-9]+ *\} *$' line

# ---- shards, put together
last="shards"
i=0
while [ $i -lt 18 ]; do
    echo "{\"id\":\"s$i\",\"prompt\":\"Number $i\"}"
    i=$((i + 1))
done >big.jsonl
noctule batch big.jsonl -n 6 --seed 1 -o whole.jsonl 2>err
for i in 1 2 3 4; do noctule batch big.jsonl -n 6 --seed 1 --shard $i/4 -o "out.$i.jsonl" 2>>err; done
without_order whole.jsonl >expected
cat out.?.jsonl | without_order >got
same got expected "four shards are not the whole"

# ---- GNU parallel: blocks of records to several commands at a time
if have parallel; then
    last="parallel --pipe"
    parallel --pipe -N 5 -j 3 noctule batch -q -t 1 -n 6 --seed 1 <big.jsonl >out 2>err
    code=$?
    exits 0; silent
    without_order out >got
    same got expected "parallel --pipe gives something else"
    last="parallel with shards"
    seq 1 3 | parallel -j 3 noctule batch -q -t 1 -n 6 --seed 1 big.jsonl --shard {}/3 -o shard.{}.jsonl --resume >out 2>err
    code=$?
    exits 0
    cat shard.?.jsonl | without_order >got
    same got expected "parallel with shards gives something else"
fi

# ---- dialogues from seed topics: a pass for each side, lines in and out. Each side sees the other's turns as the user's.
if have jq; then
    last="dialogues"
    printf '{"id":"d1","topic":"bridges"}\n{"id":"d2","topic":"the sea"}\n{"id":"d3","topic":"bread"}\n' >topics.jsonl
    jq -c '{id, turns: ["Ask me something about \(.topic)."]}' topics.jsonl >dialogue.0.jsonl
    for turn in 1 2 3 4; do
        before=dialogue.$((turn - 1)).jsonl
        # whose turn it is has said the 2nd, 4th .. from the end
        jq -c '{id, messages: [.turns | length as $n | to_entries[] | {role: (if ($n - .key) % 2 == 1 then "user" else "assistant" end), content: .value}], turns}' $before |
            noctule batch -n 12 --keep --ordered -q >answers.jsonl 2>err
        code=$?
        exits 0; silent
        jq -c '{id, turns: (.meta.turns + [.text])}' answers.jsonl >dialogue.$turn.jsonl
    done
    holds "three dialogues of five turns" test "$(jq -c '.turns | length' dialogue.4.jsonl | grep -cx 5)" -eq 3
    # the last turn is what one call gives for the conversation so far
    jq -c 'select(.id == "d2") | {id, messages: [.turns[0:4] | to_entries[] | {role: (if .key % 2 == 1 then "user" else "assistant" end), content: .value}]}' dialogue.4.jsonl |
        noctule batch -n 12 -q 2>/dev/null | jq -r .text >got
    jq -r 'select(.id == "d2") | .turns[4]' dialogue.4.jsonl >expected
    same got expected "the fifth turn"
fi
[ -z "$left_out" ] || echo "left out for want of:$left_out"
finish
