# What run can do with an answer: events, probabilities, samples, templates, extraction, times, questions by signal.
. "$(dirname "$0")/lib.sh"
find_model
export NOCTULE_MODEL="$model"

# ---- events
run run --greedy --ignore-eos -n 12 Hello </dev/null
cp out plain.txt
run run --greedy --ignore-eos -n 12 --format events Hello </dev/null
exits 0; silent
holds "begins with start" sh -c 'head -n 1 out | grep -q "^{\"event\":\"start\",\"model\""'
holds "ends with done" sh -c 'tail -n 1 out | grep -q "^{\"event\":\"done\",\"id\".*\"finish_reason\":\"length\""'
prints '{"event":"prefill","done":'
holds "all of the prompt was read" sh -c 'grep "\"prefill\"" out | tail -n 1 | grep -Eq "\"done\":([0-9]+),\"total\":\1}"'
sed -n 's/^{"event":"delta","text":"\(.*\)"}$/\1/p' out | tr -d '\n' | sed 's/\\n/\n/g; s/\\"/"/g' >joined
tr -d '\n' <plain.txt >a
tr -d '\n' <joined >b
same a b "the pieces are the answer"
run run --greedy --ignore-eos -n 2 --format events --fail-on-length Hello </dev/null
exits 6; prints '{"event":"error","exit":6,"message":"the answer was cut'

# ---- probabilities
run run --greedy --ignore-eos -n 6 --json --logprobs 3 Hello </dev/null
exits 0; silent
python=$(command -v python3) || python=
if [ -n "$python" ]; then
    cat >check.py <<'P'
import json, math, sys
r = json.load(open("out"))
l = r["logprobs"]
assert [t["id"] for t in l] == r["token_ids"]
for t in l:
    assert len(t["top"]) == 3 and t["logprob"] <= 0
    values = [x["logprob"] for x in t["top"]]
    assert values == sorted(values, reverse=True)
    assert t["id"] == t["top"][0]["id"] and t["logprob"] == t["top"][0]["logprob"]  # greedy
    assert sum(map(math.exp, values)) <= 1.0001
P
    holds "of each token, the likeliest first" "$python" check.py
fi
cp out cached
run run --greedy --ignore-eos -n 6 --json --logprobs 3 --spec 4 Hello </dev/null
sed 's/.*"logprobs"/"logprobs"/' cached >a
sed 's/.*"logprobs"/"logprobs"/' out >b
same a b "guessing changes none of them"
run run --greedy --ignore-eos -n 6 --logprobs 2 Hello </dev/null
exits 0; says " of "
holds "a line a token" test "$(wc -l <err)" -eq 6

# ---- samples: each is what its number says, and the first is what one answer would be
story="Tell me a story about a bat."
run run --temp 1 --seed 5 -n 16 "$story" </dev/null
cp out one
run run --temp 1 --seed 5 -n 16 --samples 3 --format jsonl "$story" </dev/null
exits 0; silent
holds "three answers" test "$(wc -l <out)" -eq 3
prints '"sample":0'; prints '"sample":2'
holds "that differ" sh -c 'test "$(sed "s/.*\"token_ids\"//; s/,\"sample.*//" out | sort -u | wc -l)" -eq 3'
holds "over one prefill" sh -c 'tail -n 1 out | grep -Eq "\"cached\":[1-9]"'
run run --temp 1 --seed 5 -n 16 --samples 2 "$story" </dev/null
head -c "$(wc -c <one)" out >a
same a one "the first sample is the answer without --samples"
run run --samples 2 --session a Hello </dev/null
exits 2; says "--samples does not go with --session"

# ---- templates
mkdir -p config/noctule/templates
printf 'About {{file}}:\n{{input}}\nIn one word.\n' >config/noctule/templates/word.txt
printf 'alpha beta\n' >a.txt
run run --greedy -n 8 -f a.txt -p "$(printf 'x')" -T word --dry-run </dev/null
exits 0; prints "the template"
printf 'alpha beta' | "$NOCTULE" run --greedy -n 8 -T word --json >out 2>err
code=$?; last="run -T word"
exits 0; a=$(json prompt)
run run --greedy -n 8 --json "$(printf 'About stdin:\nalpha beta\nIn one word.')" </dev/null
exits 0
holds "a template is the prompt with its holes filled" test "$a" = "$(json prompt)"
cp out spelled
printf 'alpha beta' | "$NOCTULE" run --greedy -n 8 -T word --json >out 2>err
sed 's/.*"token_ids"//' out >a
sed 's/.*"token_ids"//' spelled >b
same a b "and is answered the same"
mkdir -p config/noctule
printf '{"templates": {"kept": "About {{file}}:\\n{{input}}\\nIn one word."}}' >config/noctule/config.json
printf 'alpha beta' | "$NOCTULE" run --greedy -n 8 -T kept --json >out 2>err
code=$?; last="run -T kept"
exits 0
sed 's/.*"token_ids"//' out >a
same a b "a template of the configuration is answered the same"
rm config/noctule/config.json
printf 'Say it in {{colour}}.\n' >odd.txt
run run -T odd.txt Hello </dev/null
exits 2; says "no hole {{colour}}"
run run -T nosuch Hello </dev/null
exits 2; says "no template 'nosuch'"
run run -T word </dev/null
exits 2; says "a hole for input"
printf 'Say something.\n' >bare.txt
run run --greedy -n 4 -T ./bare.txt </dev/null
exits 0

# ---- extraction
run run --greedy --ignore-eos -n 12 -x Hello </dev/null
exits 0; says "no fenced block"; same out plain.txt "without a block all is printed"
printf '```c\nint main(void) {}\n' >begin
run run --greedy -n 1 -x --assistant '```c
int main(void) {}
```
' Hello </dev/null
exits 0; silent
printf 'int main(void) {}\n' >block
same out block "the first block alone"
run run --extract words Hello </dev/null
exits 2

# ---- times
run run --max-time 1ms Hello </dev/null
exits 1; says "ran out while the prompt was read"
run run --max-time 5m --greedy --ignore-eos -n 12 Hello </dev/null
exits 0; same out plain.txt "time enough changes nothing"

# ---- kill -USR1 asks how far it has come
# once it answers, its handlers stand
: >err
rm -f pid streamed
sh -c 'echo $$ >pid; exec "$0" "$@"' "$NOCTULE" run -X exact=1 --isa ref -t 1 --ignore-eos -n 900 --temp 1 --seed 1 Hello \
    2>err </dev/null | cat >streamed &
last="kill -USR1"
tries=0
until grep -q ' so far' err || [ $tries -gt 1200 ]; do
    tries=$((tries + 1))
    [ ! -s streamed ] || kill -USR1 "$(cat pid)" 2>/dev/null || break
    sleep 0.05
done
kill -INT "$(cat pid)" 2>/dev/null
wait
code=0
: >out
says " so far"
finish
