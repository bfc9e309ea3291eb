# Flags that no other test uses: that each does what its line in --help says.
. "$(dirname "$0")/lib.sh"
find_model
export NOCTULE_MODEL="$plain" NOCTULE_THREADS=1

# ---- the cache's types, one by one
run bench -p 4 -n 0 -r 1 --warmup 0 --cache-type-k q8 --cache-type-v f32 --format csv
exits 0; prints ",q8/f32,"
run bench -p 4 -n 0 -r 1 --warmup 0 -ctk f32 -ctv q8 --format csv
exits 0; prints ",f32/q8,"

# ---- text to run on
: >empty
run bench -p 4 -n 0 -r 1 --warmup 0 --corpus empty
exits 2; says "empty holds no text"
printf 'The boats came home at dusk.' >text
run bench -p 4 -n 0 -r 1 --warmup 0 --corpus text
exits 0; prints "pp4"

# ---- penalties: each parts the answer from the one without it
answer() {
    run run --greedy -n 24 "$@" "Once upon a time there was a man, and the man" </dev/null
    exits 0
}
answer
cp out without
answer --repeat-penalty 50
cp out whole
holds "--repeat-penalty has changed the answer" sh -c '! cmp -s whole without'
answer --repeat-penalty 50 --repeat-last-n 1
holds "--repeat-last-n has changed the answer" sh -c '! cmp -s out whole'
run run --greedy -n 24 --frequency-penalty 1000 --json "Once upon a time there was a man, and the man" </dev/null
exits 0
holds "no token twice" sh -c 'sed "s/.*\"token_ids\":\[\([^]]*\)\].*/\1/" out | tr , "\n" | sort | uniq -d | grep -q . && exit 1; exit 0'

# ---- the likeliest alone, at any temperature
answer
run run --temp 5 --min-p 1 --top-p 1 --top-k 0 --seed 3 -n 24 "Once upon a time there was a man, and the man" </dev/null
exits 0; same out without "--min-p 1 leaves the likeliest token"

# ---- reasoning that is switched off stands in the prompt of models that can
mkdir thinks
for file in "$plain"/*; do
    case $file in *tokenizer_config.json) ;; *) ln -s "$file" thinks/ ;; esac
done
sed '1s#{#{"chat_template": "{% if enable_thinking is defined %}<|im_start|></think>{% endif %}",#' "$plain/tokenizer_config.json" >thinks/tokenizer_config.json
run tokenize -m thinks --chat hello --think on </dev/null
exits 0
cp out thinking
run tokenize -m thinks --chat hello --no-think </dev/null
exits 0; prints "</think>"
cp out quick
holds "--no-think is another prompt than --think on" sh -c '! cmp -s thinking quick'
run tokenize -m thinks --chat hello --think off </dev/null
same out quick "--no-think is --think off"

# ---- a part of the text to calibrate on
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do printf 'The wind rose over the water and the boats came home, number %d. ' $i; done >long
run convert "$NCT_TINY_MODEL" -o a.nct --quant int4 --group 32 --calib long --calib-tokens 63 </dev/null
exits 2; says "--calib-tokens"
run convert "$NCT_TINY_MODEL" -o a.nct --quant int4 --group 32 --calib long --calib-tokens 64 </dev/null
exits 0
run convert "$NCT_TINY_MODEL" -o b.nct --quant int4 --group 32 --calib long </dev/null
exits 0
holds "other tokens round otherwise" sh -c '! cmp -s a.nct b.nct'

# ---- progress: as JSON where asked, else nothing without a terminal
head -c 6000 "$plain/tokenizer_config.json" >page
run eval ppl page -c 64 --progress json
exits 0
if [ -s err ]; then says '{"progress":{"phase":"'; fi
run convert "$NCT_TINY_MODEL" -o c.nct --progress json
exits 0; holds "progress is JSON alone" sh -c '! grep -v "^{\"progress\":{" err | grep -q .'
run eval ppl page -c 64 --progress none
exits 0; silent
run eval ppl page -c 64 --progress sideways
exits 2; says "auto|bar|plain|json|none"

finish
