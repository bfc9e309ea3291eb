# A checkpoint as a bundle, from the command line; what cannot be is refused before anything is written.
. "$(dirname "$0")/lib.sh"
: "${NCT_TINY_MODEL:?a tiny model}"

# ---- as stored
run convert "$NCT_TINY_MODEL" -o made.nct
exits 0; silent
checks=$((checks + 1))
[ "$(cat out)" = made.nct ] || fail "$last: stdout should be the path"
holds "no part is left" test ! -e made.nct.part
run eval logits -m "$NCT_TINY_MODEL" --ids 1,2,3,4,5 --logits before.f32
exits 0
run eval logits -m made.nct --ids 1,2,3,4,5 --logits after.f32
exits 0
same before.f32 after.f32 "a bundle should compute what its source does"
run info made.nct
exits 0; silent; prints "container   nct"; prints "made        noctule"
run info --verify made.nct
exits 0; silent; prints "sections are sound"
mkdir -p "$XDG_DATA_HOME/noctule/models"
cp made.nct "$XDG_DATA_HOME/noctule/models/tiny.nct"
run run -m made.nct --json -n 1 x </dev/null
holds "a bundle has a digest" grep -qE '"model":\{[^}]*"sha256":"[0-9a-f]{64}"' out
run run -m "$NCT_TINY_MODEL" --json -n 1 x </dev/null
prints '"sha256":null'
run info -m tiny
exits 0; prints "tiny.nct"
run tokenize -m made.nct hello
exits 0

# ---- rounded
printf 'The wind rose over the water and the boats came home. %.0s' 1 2 3 4 5 6 7 8 9 10 >text
run convert -v "$NCT_TINY_MODEL" -o small.nct --quant int4 --group 32 --calib text
exits 0; says "int4 g32"; says "outputs"; says "divergence"
holds "smaller" test "$(wc -c <small.nct)" -le "$(wc -c <made.nct)"
run info small.nct
exits 0; prints "int4 g32"; prints gptq
run convert "$NCT_TINY_MODEL" -o nearest.nct --quant int8 --head int4 --embedding keep
exits 0; silent
run run -m nearest.nct -n 3 x </dev/null
exits 0

# ---- the output matrix rounded while loading: what a bundle with the same choice holds
run convert "$NCT_TINY_MODEL" -o two.nct --head keep --embedding int8 # an output matrix of its own
exits 0; silent
for form in int8 int4; do
    for model in "$NCT_TINY_MODEL" made.nct two.nct; do
        run convert "$model" -o head.nct --head $form
        exits 0; silent
        run eval logits -m head.nct --ids 1,2,3,4,5 --logits bundle.f32
        exits 0; silent
        run eval logits -m "$model" -X head=$form --ids 1,2,3,4,5 --logits loaded.f32
        exits 0; silent
        same bundle.f32 loaded.f32 "-X head=$form should compute what convert --head $form does"
        run eval logits -m "$model" -X head=stored --ids 1,2,3,4,5 --logits stored.f32
        exits 0; silent
        if cmp -s stored.f32 loaded.f32; then fail "-X head=$form changes nothing"; fi
    done
    run info -m "$NCT_TINY_MODEL" -X head=$form
    exits 0; prints "$form g"; prints "rounded while loading"
    run info -m "$NCT_TINY_MODEL" -X head=$form --json
    exits 0; prints "\"head\":\"$form g"; prints '"rounded":true'
done
run info -m "$NCT_TINY_MODEL"
exits 0; prints "output matrix"
holds "as it is stored" test "$(grep -c 'rounded while loading' out)" = 0
run convert "$NCT_TINY_MODEL" -o head.nct --head int4
run eval logits -m head.nct -X head=int8 --ids 1,2,3 --logits loaded.f32
exits 0; says "-X head does nothing: the output matrix is held as int4"
run run -m "$NCT_TINY_MODEL" -X head=int8 -X exact=1 -n 3 x </dev/null
exits 2; says "as they are stored"
run run -m "$NCT_TINY_MODEL" -X head=int5 -n 3 x </dev/null
exits 2; says "head=stored, int8 or int4"

# ---- refused
run convert "$NCT_TINY_MODEL"
exits 2; says "name of a file"
run convert "$NCT_TINY_MODEL" made.nct -o again.nct
exits 2
run convert "$NCT_TINY_MODEL" -o again.nct --quant int4 --method gptq
exits 2; says "--calib"
run convert "$NCT_TINY_MODEL" -o again.nct --calib text
exits 2; says "--quant"
run convert "$NCT_TINY_MODEL" -o again.nct --quant int4 --act-order
exits 2
run convert "$NCT_TINY_MODEL" -o again.nct --quant int5
exits 2
run convert "$NCT_TINY_MODEL" -o again.nct --quant int4 --group 48
exits 2
run convert made.nct -o made.nct
exits 2; says "own source"
run convert ./nosuch -o again.nct
exits 3
run convert "$NCT_TINY_MODEL" -o nosuch/again.nct
exits 1
printf 'short' >short
run convert "$NCT_TINY_MODEL" -o again.nct --quant int4 --calib short
exits 2; says "too few"
holds "nothing was written" test ! -e again.nct
holds "no part is left" test ! -e again.nct.part
run info --verify "$NCT_TINY_MODEL"
exits 2; says "no bundle"

# ---- damaged
head -c 5000 made.nct >cut.nct
run info cut.nct
exits 3; says "cut.nct"
# more than the distance between two sections, so that it hits one
size=$(wc -c <made.nct)
{
    head -c $((size / 2)) made.nct
    head -c 5000 /dev/zero | tr '\0' X
    tail -c +$((size / 2 + 5001)) made.nct
} >changed.nct
run info --verify changed.nct
exits 3; prints "damaged"; says "checksum"
run convert changed.nct -o again.nct
exits 3
holds "nothing was written" test ! -e again.nct

finish
