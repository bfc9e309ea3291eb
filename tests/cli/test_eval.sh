# Perplexity and logits.
. "$(dirname "$0")/lib.sh"
find_model
export NOCTULE_MODEL="$plain"

# ---- logits: a row a token, or from N - 1 on
run eval logits --ids 1,5,9,33 --logits all.f32
exits 0; silent; prints '{"positions":[0,1,2,3],"argmax":['; prints '"top5":[[['
run eval logits --ids 1,5,9,33 --prefill 2 --logits late.f32
exits 0; prints '{"positions":[1,2,3],'
vocabulary=$("$NOCTULE" info --json | sed -n 's/.*"vocab":\([0-9]*\).*/\1/p')
last="eval logits"
holds "four rows" test "$(wc -c <all.f32)" -eq $((4 * 4 * vocabulary))
holds "three rows" test "$(wc -c <late.f32)" -eq $((3 * 4 * vocabulary))
tail -c $((3 * 4 * vocabulary)) all.f32 >tail.f32
same tail.f32 late.f32 "steps should have the bits of a chunk"
run eval logits --ids 1,5,9,33 -X exact=1 -X prefill.chunk=1 -t 5 --force-threads --logits one.f32
run eval logits --ids 1,5,9,33 -X exact=1 -t 1 --logits two.f32
same one.f32 two.f32 "chunks and threads should not change bits"
run eval logits
exits 2; says "--ids"
run eval logits --ids 1,2 --prefill 3
exits 2; says "--prefill 3"
run eval logits --ids 99999999
exits 2; says "vocabulary"
run eval logits --ids 1 x
exits 2
run eval logits --ids '[]'
exits 2
run eval logits --ids 1,2 --logits nosuch/file
exits 1

# ---- perplexity
yes "It was a dark night and the rain fell in torrents." | head -n 20 >text.txt
run eval ppl text.txt
exits 0; silent; prints "perplexity"; prints "bits a byte"; prints "95 %"
run eval ppl text.txt -c 32 --tokens 100 --json
exits 0; prints '"tokens":100'; prints '"windows":4'; prints '"window":32'
cp out once
piped 'It was a dark night and the rain fell in torrents.' eval ppl -
exits 0
run eval ppl text.txt -c 32 --tokens 100 --json -t 1 -X prefill.chunk=5
sed 's/,"seconds".*//' out >a
sed 's/,"seconds".*//' once >b
same a b "threads and chunks should not change the perplexity"
run eval ppl
exits 2; says "eval ppl FILE"
run eval ppl nosuch.txt
exits 1
run eval ppl text.txt -c 100000000
exits 2
: >empty.txt
run eval ppl empty.txt
exits 2; says "nothing to predict"

# ---- several ways side by side: each as it is alone, and what it differs by from the first
row_of() { sed 's/^.*"sparse"/"sparse"/; s/,"seconds".*//; s/"delta":{[^}]*}//; s/,$//'; }
number_of() { sed -n "s/.*\"$1\":\([-0-9.e+]*\).*/\1/p"; }
few="-c 200 --tokens 200 -X sparse.dense_len=32 -X sparse.topk=3 -X sparse.window=16 -X sparse.block=16"
run eval ppl text.txt $few --sparse off,on --kv f32,q8 --format jsonl
exits 0
cp out rows
holds "two by two" test "$(wc -l <rows)" -eq 4
holds "in the order asked for" sh -c 'sed "s/.*\"sparse\":\"\([a-z]*\)\",\"keys\":\"\([a-z0-9]*\)\".*/\1 \2/" rows | tr "\n" "," | grep -qx "off f32,off q8,on f32,on q8,"'
holds "the first is compared with nothing" test "$(head -n 1 rows | grep -c delta)" -eq 0
i=0
for ways in "off f32" "off q8" "on f32" "on q8"; do
    i=$((i + 1))
    run eval ppl text.txt $few --sparse "${ways% *}" --kv "${ways#* }" --json
    exits 0
    row_of <out >alone
    sed -n "${i}p" rows | row_of >beside
    same alone beside "$ways is another beside the others"
    [ $i = 1 ] && first=$(number_of ppl <out) && nll=$(number_of nll <out)
done
holds "each way has its own" test "$(sed 's/"delta".*//; s/.*"ppl":\([^,]*\),.*/\1/' rows | sort -u | wc -l)" -eq 4
for i in 2 3 4; do
    delta=$(sed -n "${i}p" rows | sed 's/.*"delta"//') ppl=$(sed -n "${i}p" rows | sed 's/"delta".*//' | number_of ppl)
    more=$(sed -n "${i}p" rows | sed 's/"delta".*//' | number_of nll)
    holds "row $i: $delta" awk -v d="$(echo "$delta" | number_of ppl)" -v r="$(echo "$delta" | number_of percent)" -v n="$(echo "$delta" | number_of nll)" \
        -v low="$(echo "$delta" | number_of nll_low)" -v high="$(echo "$delta" | number_of nll_high)" -v p="$ppl" -v f="$first" -v m="$more" -v k="$nll" 'BEGIN {
        near = 1e-5 * f
        exit !((d - (p - f)) ^ 2 < near ^ 2 && (r - 100 * (p / f - 1)) ^ 2 < 1e-6 && (n - (m - k)) ^ 2 < 1e-12 && low <= n && n <= high) }'
done
run eval ppl text.txt $few --sparse off,on --kv f32,q8 --json
exits 0; prints '"rows":[{"sparse":"off"'
holds "one object" test "$(wc -l <out)" -eq 1
run eval ppl text.txt $few --sparse off,on
exits 0; silent; prints "delta"
holds "a line each" test "$(grep -c '^o[nf]' out)" -eq 2
run eval ppl text.txt --sparse off,on -X sparse.topk=1 -X sparse.block=16 --progress plain
exits 2; prints_nothing; holds "refused before anything is measured" test "$(grep -c measuring err)" -eq 0
run eval ppl text.txt --sparse off,never
exits 2; says "auto|on|off"
run eval ppl text.txt --kv q8,f16,q8
exits 2; says "twice"
run eval ppl text.txt --kv q8,f16 -ctk f16 -ctv f16
exits 2; says "-ctk"

# ---- the golden perplexity, where the data is at hand
stories=${NCT_SHARED_DIR:-}/data/stories
if [ -e "$stories/golden_ppl_stories.txt" ]; then
    for name in stories260K tinystories-656k; do
        run eval ppl "$stories/golden_ppl_stories.txt" -m "$stories/$name-minicpm" -c 256 --tokens 2048 -X exact=1 --json
        exits 0
        golden=$(tr '{' '\n' <"$stories/golden.json" | sed -n 's/.*"ppl": \([0-9.]*\).*/\1/p')
        got=$(sed -n 's/.*"ppl":\([0-9.]*\),.*/\1/p' out)
        holds "$name: $got should be among the golden $golden" awk -v got="$got" -v golden="$golden" 'BEGIN {
            n = split(golden, g, /[ \n]+/)
            for (i = 1; i <= n; i++) if ((got - g[i]) ^ 2 <= (1e-4 * g[i]) ^ 2) exit 0
            exit 1 }'
    done
fi

finish
