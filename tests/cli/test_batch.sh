# noctule batch: results equal to those of run, whatever is decoded together; records good and bad; outputs that survive.
. "$(dirname "$0")/lib.sh"
find_model

# without what differs from run to run
# the text of a record as it stands in JSON
text_of() { sed -n "s/^{\"id\":\"$1\",\"text\":\"\(\([^\"\\\\]\|\\\\.\)*\)\".*/\1/p" "$2"; }
lines_in() {
    checks=$((checks + 1))
    [ "$(wc -l <"$2")" -eq "$1" ] || { cp "$2" out; fail "$last: $2 should have $1 lines"; }
}

i=0
while [ $i -lt 24 ]; do
    case $((i % 4)) in
    0) text="Once upon a time there was a little bird" ;;
    1) text="The sun went down and $i stars came out over the hill. Then" ;;
    2) text="One day" ;;
    3) text="Tom and Sue played in the park with a big red ball number $i until it rained, and they" ;;
    esac
    echo "{\"id\":\"r$i\",\"prompt\":\"$text\"}"
    i=$((i + 1))
done >in.jsonl
batch="batch -m $plain -n 24"
seq 1 400 | sed 's/.*/{"id":"&","prompt":"Once upon a time number &"}/' >many.jsonl

# the same text as run gives, greedy and sampled
run $batch in.jsonl --greedy -o greedy.jsonl --seed 3
exits 0
prints_nothing
says "done 24 ok, 0 failed"
run $batch in.jsonl --temp 0.9 --seed 5 -o sampled.jsonl -np 3
exits 0
for i in 0 1 10 23; do
    prompt=$(sed -n "s/^{\"id\":\"r$i\",\"prompt\":\"\(.*\)\"}/\1/p" in.jsonl)
    run run -m "$plain" -n 24 --greedy --json "$prompt" </dev/null
    [ "$(sed -n 's/^{"id":"[^"]*","text":"\(\([^"\\]\|\\.\)*\)".*/\1/p' out)" = "$(text_of "r$i" greedy.jsonl)" ] || fail "r$i: another text than run, greedy"
    run run -m "$plain" -n 24 --temp 0.9 --seed 5 --json "$prompt" </dev/null
    [ "$(sed -n 's/^{"id":"[^"]*","text":"\(\([^"\\]\|\\.\)*\)".*/\1/p' out)" = "$(text_of "r$i" sampled.jsonl)" ] || fail "r$i: another text than run, sampled"
    checks=$((checks + 2))
done
for width in 1 8 17; do
    run $batch in.jsonl --temp 0.9 --seed 5 -np $width -o "w$width.jsonl"
    without_attempts sampled.jsonl | sort >a
    without_attempts "w$width.jsonl" | sort >b
    same a b "other texts with -np $width"
done

# in order, to a file and to a pipe
run $batch in.jsonl --temp 0.9 --seed 5 --ordered -o ordered.jsonl
exits 0
sed 's/.*"index":\([0-9]*\).*/\1/' ordered.jsonl >a
seq 0 23 >b
same a b "not in order"
holds "the journal should be gone" test ! -e .ordered.jsonl.noctule-journal
"$NOCTULE" $batch --temp 0.9 --seed 5 --ordered <in.jsonl 2>err >out
without_attempts out >a
without_attempts ordered.jsonl >b
same a b "stdout in order"

# an output is not run over
run $batch in.jsonl --greedy -o greedy.jsonl
exits 2
says "--resume"
says "--overwrite"
cp greedy.jsonl before
run $batch in.jsonl --greedy -o greedy.jsonl --resume
exits 0
same greedy.jsonl before "a finished output was changed by --resume"
says "24 there before"
run $batch in.jsonl --temp 0.9 -n 25 -o greedy.jsonl --resume --limit 2 # other settings are other work
exits 0
lines_in 26 greedy.jsonl
run $batch in.jsonl --limit 3 -o greedy.jsonl --overwrite
exits 0
lines_in 3 greedy.jsonl

printf 'notes of mine, no record' >notes.txt
cp notes.txt before
run $batch in.jsonl -o notes.txt --resume
exits 1
says "another -o"
same notes.txt before "somebody else's file was changed"

# a kill at any moment loses nothing that was finished and repeats nothing; what was torn off is cut
without_attempts sampled.jsonl | sort >whole
for moment in 0.05 0.15 0.3; do
    rm -f killed.jsonl
    "$NOCTULE" $batch in.jsonl --temp 0.9 --seed 5 -np 2 -o killed.jsonl >/dev/null 2>&1 &
    sleep $moment
    kill -9 $! 2>/dev/null
    wait $! 2>/dev/null
    cp killed.jsonl part.jsonl 2>/dev/null || : >part.jsonl
    printf '{"id":"r0","te' >>killed.jsonl
    run $batch in.jsonl --temp 0.9 --seed 5 -np 2 -o killed.jsonl --resume
    exits 0
    without_attempts killed.jsonl | sort >a
    same a whole "after a kill at $moment and --resume"
    head -c "$(wc -c <part.jsonl)" killed.jsonl >a
    same a part.jsonl "what was finished before the kill at $moment"
done
# the seed that was drawn is that of the output
run $batch in.jsonl --temp 0.9 -o drawn.jsonl --limit 2
run $batch in.jsonl --temp 0.9 -o drawn.jsonl --limit 4 --resume
lines_in 4 drawn.jsonl
holds "one seed" test "$(sed 's/.*"seed":\([0-9]*\).*/\1/' drawn.jsonl | sort -u | wc -l)" -eq 1

# ids, and who is who
printf '{"id":"a","prompt":"x"}\n{"id":"a","prompt":"x"}\n{"id":"a#2","prompt":"x"}\n{"prompt":"x"}\n{"prompt":"x"}\n{"id":7,"prompt":"x"}\n' >ids.jsonl
run $batch ids.jsonl -n 1 --ordered
exits 0
sed 's/^{"id":"\([^"]*\)".*/\1/' out >a
checks=$((checks + 1))
[ "$(head -n 3 a | tr '\n' ' ')" = "a a#2 a#2#2 " ] || fail "repeated ids"
prints '"id":"7"'
holds "an id from the digest" grep -qE '^[0-9a-f]{16}$' a
holds "and its number" grep -qE '^[0-9a-f]{16}#2$' a

# shards, a sample
for i in 1 2 3; do run $batch in.jsonl -n 2 --shard $i/3 -o "s$i.jsonl"; done
lines_in 8 s1.jsonl
holds "the first record is of shard 1" grep -q '"index":0,' s1.jsonl
cat s1.jsonl s2.jsonl s3.jsonl | sed 's/.*"index":\([0-9]*\),.*/\1/' | sort -n >a
seq 0 23 >b
same a b "the shards together"
run $batch in.jsonl -n 2 --sample 5 -o sample.jsonl
lines_in 5 sample.jsonl
run $batch in.jsonl -n 2 --sample 5 -o sample.jsonl --resume
lines_in 5 sample.jsonl
run $batch --shard 5/4 in.jsonl
exits 2
run $batch -np 65 in.jsonl
exits 2

# what there is to do, without doing it
run $batch in.jsonl --dry-run -o never.jsonl
exits 0
prints "24 to do of 24 records"; prints "time  "; prints "s at most, "
holds "nothing is written" test ! -e never.jsonl

# what prompts have in common is read once
seq 1 6 | sed 's/.*/{"id":"&","text":"Once upon a time there was a very small dog who lived near the sea with a boy. The boy had a red ball, and the dog liked to run after it. One day the ball rolled down the hill and into the water, and the dog did not know how to swim, so it sat down and looked at the ball for a long time. Then the boy came and he said that they would find another ball","prompt":"Number &"}/' >alike.jsonl
run $batch alike.jsonl -n 2
exits 0
holds "tokens of the common beginning are copied" test "$(grep -c '"cached":[1-9][0-9]' out)" -ge 4

# an open pipe gives its first results before it ends
mkfifo pipe
"$NOCTULE" $batch --lines -n 2 <pipe >piped.jsonl 2>err &
reader=$!
exec 4>pipe
printf 'One\n' >&4
tries=0
until [ -s piped.jsonl ] || [ $tries -gt 300 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
lines_in 1 piped.jsonl
printf 'Two\nThree' >&4
exec 4>&-
wait $reader
code=$?
last="batch --lines from a pipe"
exits 0
lines_in 3 piped.jsonl

# bad records fail alone, are counted, and can be tried again
cat >bad.jsonl <<'EOF'
{"id":"good","prompt":"One day"}
{"id":"broken","prompt":
[1,2,3]
"text"
{"id":"empty"}
{"id":"number","prompt":7}
{"id":"nul","prompt":"a\u0000b"}
{"id":"hot","prompt":"x","temperature":-1}
{"id":"long","prompt":"x","max_tokens":"many"}
{"id":"roles","messages":[{"role":"king","content":"x"}]}
{"id":"none","messages":[]}
{"id":"schema","prompt":"x","schema":{"type":"boat"}}
{"id":"lost","file":"/nonexistent/file","prompt":"x"}
{"id":"stop","prompt":"x","stop":[""]}
{"custom_id":"other","method":"POST","url":"/v1/embeddings","body":{"input":"x"}}
{"id":"fine","prompt":"Tom","max_tokens":3,"temperature":0.5,"seed":9}
EOF
run $batch bad.jsonl -o bad.out.jsonl
exits 5
says "2 ok, 14 failed"
says "--resume --retry-failed"
lines_in 16 bad.out.jsonl
for pair in broken:invalid_record nul:invalid_record hot:invalid_record schema:invalid_record lost:unreadable; do
    case ${pair%%:*} in broken) continue ;; esac # it has no id that could be read
    holds "${pair%%:*} fails as ${pair##*:}" grep -q "^{\"id\":\"${pair%%:*}\",\"error\":{\"code\":\"${pair##*:}\"" bad.out.jsonl
done
holds "an item's own seed" grep -q '"sampling":{"seed":9,"base_seed"' bad.out.jsonl
run $batch bad.jsonl -o bad.out.jsonl --resume
exits 5
says "16 there before"
sed -i 's/"seed":9}/"seed":9}\n{"id":"more","prompt":"And"}/; s/{"id":"hot","prompt":"x","temperature":-1}/{"id":"hot","prompt":"x","temperature":1}/' bad.jsonl
run $batch bad.jsonl -o bad.out.jsonl --resume --retry-failed
exits 5
says "2 ok, 13 failed"
lines_in 17 bad.out.jsonl
holds "tried again" grep -q '^{"id":"nul".*"attempts":2' bad.out.jsonl
holds "mended" grep -q '^{"id":"hot","text"' bad.out.jsonl
run $batch bad.jsonl --fail-fast -np 1 -o fast.jsonl
exits 5
holds "ends early" test "$(wc -l <fast.jsonl)" -lt 16
run $batch bad.jsonl --max-errors 3 -np 1 -o few.jsonl
exits 5
lines_in 4 few.jsonl
head -c 3000 /dev/urandom >noise.jsonl
run $batch noise.jsonl
holds "noise is records that fail, or is refused" test "$code" -eq 5 -o "$code" -eq 2
printf '{"id":"big","prompt":"%0100000d"}\n' 1 >big.jsonl
run $batch big.jsonl
exits 5
prints '"code":"context_overflow"'
gzip -c in.jsonl >in.gz.jsonl
run $batch in.gz.jsonl
exits 2
says zcat
printf '' | "$NOCTULE" $batch >out 2>err
code=$?
last="an empty pipe"
exits 0
prints_nothing

# an answer that takes too long is cut; supervisors are told how it goes
printf 'Once\n' | "$NOCTULE" batch -m "$plain" --lines -n 900 --ignore-eos --timeout 30ms >out 2>err
code=$?
last="batch --timeout"
exits 0
prints '"finish_reason":"timeout","truncated":true'
run $batch in.jsonl -n 60 --ignore-eos --progress json -o told.jsonl
exits 0
holds "progress is objects" sh -c '! grep -v "^{\"progress\":{\"phase\":\"batch\",.*}$" err | grep -v "^done "'
run bench batch -m "$plain" -np 1,3 -p 8 -n 4 -r 1 --format csv
exits 0
prints b,pp,tg,reps,prefill_tps,prefill_mad,tps_per_seq,tps,tps_mad
lines_in 3 out

# a record has the fields of run --json, with what is true of it beside others
keys_of() { tr '{,' '\n\n' <"$1" | sed -n 's/^"\([a-z_0-9]*\)":.*/\1/p' | sort -u; }
run run -m "$plain" -n 6 --greedy --json "Once upon a time" </dev/null
keys_of out >keys
isa=$(json isa)
printf '{"id":"a","prompt":"Once upon a time"}\n' | "$NOCTULE" $batch -n 6 --greedy >out 2>err
keys_of out >a
# of run alone: what its process and its cache hold, what a draft takes, and the tokens
holds "no field of run --json is missing" test "$(comm -23 keys a | tr '\n' ' ')" = "anonymous_bytes bytes cache cache_bytes dirty_bytes mapped_bytes memory resident_bytes token_ids weight_bytes written_bytes "
holds "the same instruction set" test "$(json isa)" = "$isa" -a -n "$isa"
holds "it took time to load" awk -v x="$(json load_ms)" 'BEGIN { exit !(x > 0) }'
holds "and to read" awk -v x="$(json prefill_tps)" 'BEGIN { exit !(x > 0) }'
run $batch in.jsonl --greedy --ignore-eos --spec off -np 5
exits 0
holds "without guesses a token a step, the first from the prompt" test "$(grep -c '"completion":24,.*"spec":{"on":false,"tree":1.0,"steps":23,"guessed":0,"mean_accept":1.000,"gain":null}' out)" -eq 24
run batch -m "$NCT_TINY_MODEL" --raw in.jsonl -n 40 --ignore-eos --greedy --spec 6 -np 1 --stats
exits 0
sum_of() { sed "s/.*\"$1\":\([0-9]*\).*/\1/" out | awk '{ n += $1 } END { print n }'; }
holds "guesses of all records are those of the batch" test "$(sum_of guessed)" = "$(sed -n 's/.* \([0-9,]*\) guessed.*/\1/p' err | tr -d ,)"
holds "there were some" test "$(sum_of guessed)" -gt 0
holds "and a record says so" grep -q '"spec":{"on":true' out
few_blocks="-X sparse.dense_len=32 -X sparse.topk=3 -X sparse.window=16 -X sparse.block=16"
yes "Tom had a big red ball." | head -n 30 | tr '\n' ' ' | sed 's/.*/{"id":"long","prompt":"&"}\n{"id":"short","prompt":"Tom"}\n/' >sparse.jsonl
run $batch sparse.jsonl -n 2 --ordered --sparse on $few_blocks
exits 0
holds "the long one chose blocks" grep -q '"id":"long".*"sparse":{"active":true,"dense_len":32}' out
holds "the short one did not" grep -q '"id":"short".*"sparse":{"active":false,"dense_len":32}' out
run $batch sparse.jsonl -n 2 --ordered --sparse off $few_blocks
holds "nor did any with --sparse off" test "$(grep -c '"active":false' out)" -eq 2
run convert "$NCT_TINY_MODEL" -o tiny.nct
exits 0
run run -m tiny.nct --raw -n 2 --json x </dev/null
digest=$(json sha256)
printf '{"id":"a","prompt":"x"}\n' | "$NOCTULE" batch -m tiny.nct --raw -n 2 >out 2>err
holds "the digest of a bundle is run's" test "$(json sha256)" = "$digest" -a "${#digest}" -eq 66

# OpenAI's lines give OpenAI's
printf '{"custom_id":"q1","method":"POST","url":"/v1/chat/completions","body":{"model":"m","messages":[{"role":"user","content":"Hello"}],"max_tokens":4}}\n' >openai.jsonl
printf '{"custom_id":"q2","method":"POST","url":"/v1/chat/completions","body":{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}}\n' >>openai.jsonl
run batch -m "$model" openai.jsonl -o openai.out.jsonl
exits 5
holds "a response" grep -q '^{"id":"batch_req_[0-9a-f]*","custom_id":"q1","response":{"status_code":200,.*"choices":\[{"index":0,"message":{"role":"assistant","content":".*"completion_tokens":[1-4],.*"error":null' openai.out.jsonl
holds "what made it" grep -q '"custom_id":"q1".*"noctule":{"index":0,.*"model":{"name":"chatty",.*"isa":"[a-z0-9]*"},.*"spec":{"on":.*"sparse":{"active":' openai.out.jsonl
holds "an error" grep -q '"custom_id":"q2","response":null,"error":{"code":"unsupported"' openai.out.jsonl
run batch -m "$model" openai.jsonl -o openai.out.jsonl --resume
says "2 there before"
run batch -m "$model" openai.jsonl --format jsonl
prints '{"id":"q1","text":'
run run -m "$model" -n 4 --seed 1 --temp 1 --json "Hello" </dev/null
one=$(json text)
printf '{"id":"m","messages":[{"role":"user","content":"Hello"}]}\n' | "$NOCTULE" batch -m "$model" -n 4 --seed 1 --temp 1 >out 2>err
checks=$((checks + 1))
[ "$(json text)" = "$one" ] || fail "messages: another text than run"

# constraints, of the command and of records
printf '{"id":"a","prompt":"One day"}\n{"id":"b","prompt":"Tom","schema":{"type":"integer"}}\n{"id":"c","prompt":"Sue","max_tokens":1,"schema":{"enum":["much too long for one token"]}}\n' >kept.jsonl
run batch -m "$plain" kept.jsonl --choice red,green,blue --seed 4 --temp 1 -n 24 -o kept.out.jsonl
exits 5
run run -m "$plain" --choice red,green,blue --seed 4 --temp 1 -n 24 --json "One day" </dev/null
one=$(json text | tr -d '"')
holds "a record is kept to the command's constraint, as run is" test "$(text_of a kept.out.jsonl)" = "$one"
case $one in red | green | blue) ;; *) fail "run --choice gave '$one'" ;; esac
holds "a record's own schema wins" sh -c "grep -qE '^\{\"id\":\"b\",\"text\":\"-?[0-9]+\"' kept.out.jsonl"
holds "what cannot be completed fails before it begins" grep -q '^{"id":"c","error":{"code":"constraint_length"' kept.out.jsonl
printf '{"custom_id":"j","method":"POST","url":"/v1/chat/completions","body":{"messages":[{"role":"user","content":"Hello"}],"max_tokens":60,"response_format":{"type":"json_object"}}}\n' >json.jsonl
run batch -m "$model" json.jsonl --seed 1
exits 0
holds "JSON for OpenAI's json_object" grep -q '"content":"{.*}"' out
run batch -m "$plain" kept.jsonl --choice red --json-mode
exits 2
run batch -m "$plain" kept.jsonl --choice red,green --seed 4 -o kept.out.jsonl --resume
holds "another constraint is other work" test "$(grep -c '"id":"a"' kept.out.jsonl)" -eq 2

# several answers to a record, as run gives them; more of them later
head -n 3 in.jsonl >few.jsonl
run $batch few.jsonl --samples 2 --temp 0.9 --seed 5 -n 8 -o sampled.out.jsonl
exits 0
lines_in 6 sampled.out.jsonl
run $batch few.jsonl --samples 3 --temp 0.9 --seed 5 -n 8 -o sampled.out.jsonl --resume
says "3 ok, 0 failed, 6 there before"
run run -m "$plain" --samples 3 --temp 0.9 --seed 5 -n 8 --json "Once upon a time there was a little bird" </dev/null
sed -n 's/^{"id":"[^"]*","text":"\(\([^"\\]\|\\.\)*\)".*"sample":\([0-9]*\).*/\3 \1/p' out >a
sed -n 's/^{"id":"r0","text":"\(\([^"\\]\|\\.\)*\)".*"sample":\([0-9]*\).*/\3 \1/p' sampled.out.jsonl | sort >b
same a b "samples of a batch are those of run"
run $batch few.jsonl --samples 2 --temp 0.9 --seed 5 -n 8 --ordered -o sampled.ordered.jsonl
sed 's/^{"id":"\([^"]*\)".*"sample":\([0-9]*\).*/\1 \2/' sampled.ordered.jsonl | tr '\n' ' ' >a
printf 'r0 0 r0 1 r1 0 r1 1 r2 0 r2 1 ' >b
same a b "samples in order"
run $batch few.jsonl --samples 2 -n 1 -o '{id}.s'
exits 2
says "{sample}"
run $batch few.jsonl --samples 2 -n 1 -o '{id}.{sample}.s'
exits 0
holds "a file for each" test -s r2.1.s

# a beginning that is given, a template, what tokens were worth, answers that were cut, a line of counts
run run -m "$plain" --assistant "The dog" -n 6 --greedy "Tom" </dev/null
cp out one
printf 'Tom\n' | "$NOCTULE" $batch --lines --assistant "The dog" -n 6 --greedy -o '{index}.begun' >out 2>err
same one 0.begun "the beginning of the answer"
printf 'It is said in {{file}}: {{input}}! And then' >said.txt
run run -m "$plain" -n 6 --greedy "It is said in w: Tom! And then" </dev/null
cp out one
printf '{"id":"w","prompt":"Tom"}\n' | "$NOCTULE" $batch -T ./said.txt -n 6 --greedy -o '{id}.filled' >out 2>err
same one w.filled "a template around a record"
printf '{"id":"m","messages":[{"role":"user","content":"Tom"}]}\n' | "$NOCTULE" batch -m "$model" -T ./said.txt >out 2>err
prints '"code":"unsupported"'
run $batch few.jsonl -T nowhere
exits 2
run run -m "$plain" -n 5 --greedy --logprobs 2 --json "One day" </dev/null
grep -o '"logprobs":.*\]' out >a
run $batch in.jsonl -n 5 --greedy --logprobs 2
grep '^{"id":"r2"' out | grep -o '"logprobs":.*\]' >b
same a b "logarithms of probabilities are those of run"
printf '{"custom_id":"l","method":"POST","url":"/v1/chat/completions","body":{"messages":[{"role":"user","content":"Hi"}],"max_tokens":2,"logprobs":true,"top_logprobs":3}}\n' >likely.jsonl
run batch -m "$model" likely.jsonl --greedy
holds "OpenAI's logprobs" grep -qE '"logprobs":\{"content":\[\{"token":"([^"\\]|\\.)*","logprob":-[0-9.]+,"bytes":\[[0-9,]+\],"top_logprobs":\[\{"token"' out
run $batch few.jsonl -n 4 --ignore-eos --fail-on-length
exits 5
prints '"code":"length"'
run $batch few.jsonl -n 4 --stats --color never
says "12 out"
run $batch few.jsonl -n 4 --stats --color always
says "$(printf '\033[2m')"
run $batch few.jsonl -n 4 --json
exits 0
for flag in --ids --show-thinking --session --continue; do
    run $batch $flag
    exits 2
done

# the time of all: what is finished stays, and the rest follows
run $batch many.jsonl --max-time 1ms -o timed.jsonl
exits 1
says "the time is up"
says "--resume"
run $batch few.jsonl -n 2 --max-time 5m -o timely.jsonl
exits 0

# what prompts have in common: with the next few in mind, from files of an earlier batch, or not at all
words() { sed 's/[^a-zA-Z ]//g' "$(dirname "$0")/lib.sh" | tr -s '\n ' '  ' | cut -c "$1"; }
one=$(words 1-1100)
two=$(words 1200-2300)
seq 1 5 | sed 's/.*/{"id":"a&","text":"'"$one"'","prompt":"Number &"}\n{"id":"b&","text":"'"$two"'","prompt":"Number &"}/' >turns.jsonl
computed() { sed -n 's/^\([0-9,]*\) prompt tokens computed, \([0-9,]*\) copied, \([0-9,]*\) from files.*/\'"$1"'/p' err | tr -d ,; }
shared="batch -m $plain turns.jsonl -n 3 --greedy --seed 1 -np 1 --stats --ordered"
run $shared --share off
exits 0
apart=$(computed 1)
without_attempts out >a
run $shared
together=$(computed 1)
without_attempts out >b
same a b "other texts where beginnings are shared"
holds "each beginning is computed once: $together tokens, not $apart" test $((together * 4)) -lt "$apart"
run $shared --kv-dir pages --cache ro
holds "nothing is kept" test ! -e pages
run $shared --kv-dir pages
holds "what is common is kept" test "$(find pages -name '*.page' | wc -l)" -eq 2
run $shared --kv-dir pages
without_attempts out >b
same a b "other texts where beginnings come from files"
holds "both come from files: $(computed 3) tokens" test "$(computed 3)" -gt $((together / 2)) -a "$(computed 1)" -lt $((together / 4))
run $shared --kv-dir pages --cache off
holds "not with --cache off" test "$(computed 3)" -eq 0

# a document of thousands of tokens among short records: whatever a step takes of it, the texts are those of one by one
tiny="batch -m $NCT_TINY_MODEL -X ctx.force=1 -c 12k --temp 1 --top-p 1 --seed 3 --ignore-eos --ordered --cache off"
{
    printf '{"id":"document","prompt":"%s","max_tokens":9}\n' "$(seq 1 700 | tr '\n' ' ')"
    seq 1 30 | sed 's/.*/{"id":"&","prompt":"& birds sat in a tree. Then","max_tokens":1&}/'
} >mixed.jsonl
run $tiny mixed.jsonl -np 1
exits 0
without_attempts out >a
holds "the document is long" grep -q '"usage":{"prompt":[2-9][0-9][0-9][0-9],' out
for how in "-np 4" "-np 3 -t 1" "-np 4 -X prefill.chunk=3"; do
    run $tiny mixed.jsonl $how
    exits 0
    without_attempts out >b
    same a b "other texts beside a document: $how"
done

# what memory does not suffice for fails alone, or lies in files where that is allowed; the texts are the same
run info -m "$NCT_TINY_MODEL" --json
weights=$(tr ',{}' '\n\n\n' <out | sed -n 's/^"weights":\([0-9]*\)$/\1/p')
memory=$((weights + 2100 * $(json cache_per_token))) # of two pages of the cache
few_bytes="$tiny --mem $memory"
run $few_bytes mixed.jsonl -np 3
exits 5
says "30 ok, 1 failed"
holds "it fails by itself" grep -q '^{"id":"document","error":{"code":"memory","message":"a cache of [0-9,]* tokens takes [0-9.]* MB, and [0-9.]* MB are left for it; --kv-dir auto keeps' out
holds "the others are answered" test "$(grep -c '"text"' out)" -eq 30
rm -rf files
for how in "-np 3 --kv-dir files" "-np 1 --kv-dir files --spec 6" "-np 2 --kv-dir auto" "-np 2 --kv-dir files --share off"; do
    run $few_bytes mixed.jsonl $how
    exits 0
    says "are left for it: such caches are kept in files in"
    without_attempts out >b
    same a b "other texts with $how"
done
run $few_bytes mixed.jsonl -np 3 --kv-dir files -q
exits 0
silent
holds "nothing is left of them" test -z "$(ls -A files)"
# documents that begin alike, others between them, and what is kept of beginnings
sed -n '1p;2p;3p' mixed.jsonl >turns
{
    sed -n 1p turns
    sed -n 1p turns | sed 's/"document"/"again"/; s/"max_tokens":9/"max_tokens":7/'
    sed -n '2,3p' turns
    sed -n 1p turns | sed 's/"document"/"another"/; s/"prompt":"1 /"prompt":"2 /'
    sed -n 1p turns | sed 's/"document"/"longer"/; s/ 700 "/ 700 701 702 703"/'
} >documents.jsonl
kept="$(echo "$tiny" | sed 's/ --cache off//') -X cache.min_ms=0 --stats"
run $kept --cache off documents.jsonl -np 1
exits 0
without_attempts out >a
for how in "-np 1" "-np 2" "-np 1 --spec 4" "-np 3 --cache ro"; do
    run $kept documents.jsonl --mem $memory --kv-dir files $how
    exits 0
    without_attempts out >b
    same a b "other texts of documents with $how"
    [ "$how" = "-np 1" ] && holds "a document goes on where the one before was the same" test "$(sed -n 's/.*computed, \([0-9,]*\) copied.*/\1/p' err | tr -d ,)" -gt 4000
done
# files that cannot be written
last="a file size limit"
(ulimit -f 256 && exec "$NOCTULE" $few_bytes mixed.jsonl -np 3 --kv-dir small >out 2>err)
code=$?
exits 5
holds "the disk's refusal is that record's failure" grep -q '^{"id":"document","error":{"code":"failure","message":"small: no room for a page of the cache' out
holds "the others are answered" test "$(grep -c '"text"' out)" -eq 30
holds "no remains" test -z "$(ls -A small)"

# a single record is guessed for, several are not; the texts are the same
again=$(words 1-60)
printf '{"id":"a","prompt":"%s %s %s"}\n{"id":"b","prompt":"Tom %s %s"}\n' "$again" "$again" "$again" "$again" "$again" >again.jsonl
guessing="batch -m $plain again.jsonl -n 100 --ignore-eos --temp 0.7 --seed 2 --ordered --stats"
run $guessing -np 1 --spec off
says "0 guessed"
without_attempts out >a
run $guessing -np 1 --spec 6 --drafter ngram
holds "there were guesses" sh -c '! grep -qF " 0 guessed" err'
without_attempts out >b
same a b "guesses change the text"
run $guessing -np 1 --draft "$plain" --drafter model --spec 3
without_attempts out >b
same a b "guesses of a model change the text"
run $guessing -np 2 --spec 6
says "0 guessed"
without_attempts out >b
same a b "two together give other texts"

# a draft head reads along with a record that has nobody beside it, and guesses for it; a list, rows of the prompt
head=$(dirname "$NCT_TINY_MODEL")-head
printf '5 9 1 300 40 41 42 43\n' >list
alone="batch -m $NCT_TINY_MODEL again.jsonl -n 40 --ignore-eos --temp 0.7 --seed 2 --ordered --stats --cache off"
run $alone -np 1 --spec off
exits 0
without_attempts out >a
for how in "--draft $head" "--draft $head --drafter eagle" "--draft $head --freq list" "--draft $head --freq list --prompt-rows"; do
    run $alone -np 1 --spec 6 $how
    exits 0
    holds "the head guesses: $how" test "$(sed -n 's/.* \([0-9,]*\) guessed.*/\1/p' err | tr -d ,)" -gt 200
    without_attempts out >b
    same a b "other texts with $how"
    run $alone -np 2 $how
    exits 0
    without_attempts out >b
    same a b "other texts with $how, two together"
done
run $alone -np 1 --spec 6 --draft $head --drafter eagle --share off
without_attempts out >b
same a b "other texts with a head where nothing is shared"
# nor does it know less of the prompts than where run reads them
for shipped in "$NCT_MODELS_DIR"/drafts/*-eagle; do
    [ -e "$shipped" ] || continue
    trained="-m $plain --draft $shipped --drafter eagle --spec 6 -n 60 --ignore-eos --greedy --cache off"
    one="It was a dark night, and the old man said that he had seen the ship. The captain of the ship said to the old man"
    two="The children ran down to the sea, where the fishermen mended their nets. One of the fishermen asked the children"
    printf '{"prompt":"%s"}\n{"prompt":"%s"}\n' "$one" "$two" >read.jsonl
    for how in "" "--freq list --prompt-rows"; do
        steps=2 # in which the prompts are read
        for text in "$one" "$two"; do
            run run $trained $how --json "$text" </dev/null
            steps=$((steps + $(json steps)))
        done
        run batch $trained $how read.jsonl -np 1 --share off --stats
        exits 0
        says " 120 out in $steps steps"
    done
done
run $batch --freq list again.jsonl
exits 2
says "--draft DIR"
run $batch --prompt-rows again.jsonl
exits 2
says "--draft DIR"
run $batch --drafter eagle again.jsonl
exits 2
says "--drafter eagle needs a head"

# documents, an instruction, a file for each
mkdir -p tree/under
printf 'The dog.\n' >tree/one.txt
printf 'The cat.\n' >tree/under/two.txt
printf 'a\0b' >tree/binary
run batch -m "$model" -R tree -p "Why?" -n 1
exits 0
lines_in 2 out
prints '"id":"tree/under/two.txt"'
mkdir -p "docs/a b"
printf 'The dog ran.\n' >docs/one.txt
printf 'The cat sat.\n' >"docs/a b/two.txt"
run batch -m "$model" -n 4 --greedy docs/one.txt
exits 2
says "add -p"
find docs -name '*.txt' -print0 | sort -z | "$NOCTULE" batch -m "$model" -n 4 --greedy --files-from - -0 -p "Why?" -o '{dir}/{stem}.sum.md' >out 2>err
code=$?
last="files from find -print0"
exits 0
"$NOCTULE" run -m "$model" -n 4 --greedy -f docs/one.txt -p "Why?" </dev/null >a
same docs/one.sum.md a "a file's text as run gives it"
holds "the other" test -s "docs/a b/two.sum.md"
holds "the journal should be gone" test ! -e ".{stem}.sum.md.noctule-journal"
run batch -m "$model" -n 4 --greedy docs/one.txt "docs/a b/two.txt" -p "Why?" -o '{dir}/{stem}.sum.md'
exits 2
says "is there already"
rm docs/one.sum.md
run batch -m "$model" -n 4 --greedy docs/one.txt "docs/a b/two.txt" -p "Why?" -o '{dir}/{stem}.sum.md' --resume
exits 0
says "1 ok, 0 failed, 1 there before"
same docs/one.sum.md a "made again"
run batch -m "$model" -n 4 docs/one.txt docs/one.txt -p "Why?" -o '{stem}.x'
exits 5
printf '{"id":"../../up","prompt":"x"}\n' >up.jsonl
run $batch up.jsonl -n 1 -o '{id}.y'
exits 0
holds "an id leads nowhere" test -e "_._.._up.y"
run $batch up.jsonl -o '{what}.y'
exits 2
printf '{"id":"1","body":"The dog","extra":[1]}\n' >field.jsonl
run $batch field.jsonl --field body --keep -n 1
exits 0
prints '"meta":{"extra":[1]}'

# signals: what was begun is finished, or dropped; the file stays good
resets=
env --default-signal=INT true 2>/dev/null && resets=--default-signal=INT
for signal in INT TERM; do
    rm -f stopped.jsonl
    [ $signal = INT ] && [ -z "$resets" ] && continue # a script's background ignores it
    env $resets "$NOCTULE" $batch many.jsonl -n 100 --ignore-eos --greedy -np 2 -o stopped.jsonl >out 2>err &
    pid=$!
    tries=0
    until [ -s stopped.jsonl ] || [ $tries -gt 300 ]; do
        tries=$((tries + 1))
        sleep 0.05
    done
    kill -$signal $pid
    wait $pid
    code=$?
    last="batch, SIG$signal"
    [ $signal = INT ] && exits 130 || exits 143
    says "--resume"
    holds "whole records" sh -c '! grep -v "^{.*}$" stopped.jsonl'
done

# a second run on an output that is in use
mkfifo slow
"$NOCTULE" $batch --lines -n 2 -o locked.jsonl <slow >/dev/null 2>&1 &
pid=$!
exec 5>slow
printf 'One\n' >&5
tries=0
until [ -s locked.jsonl ] || [ $tries -gt 300 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
run $batch in.jsonl -o locked.jsonl --resume
exits 2
says "in use"
exec 5>&-
wait $pid

# memory: no more for many than for few, through a pipe that stays open
if [ -r /proc/self/status ]; then
    mkfifo stream
    "$NOCTULE" batch -m "$plain" --lines -n 1 <stream >stream.out 2>/dev/null &
    pid=$!
    exec 6>stream
    wait_for_lines() {
        tries=0
        until [ "$(wc -l <stream.out)" -ge "$1" ] || [ $tries -gt 600 ]; do
            tries=$((tries + 1))
            sleep 0.1
        done
        lines_in "$1" stream.out
    }
    peak() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' /proc/$pid/status; }
    seq 1 200 | sed 's/.*/item &/' >&6
    wait_for_lines 200
    few=$(peak)
    seq 201 2200 | sed 's/.*/item &/' >&6
    wait_for_lines 2200
    lots=$(peak)
    exec 6>&-
    wait $pid
    checks=$((checks + 1))
    ldd "$NOCTULE" 2>/dev/null | grep -q libasan || # which keeps what was freed
        [ "$lots" -lt $((few + 1024)) ] || fail "memory grows: $few kB after 200 items, $lots kB after 2,200"
fi
finish
