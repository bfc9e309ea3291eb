# What a model will take, from its shape alone. Speeds are looked at for being there, not for being right: that is
# measured, not tested.
. "$(dirname "$0")/lib.sh"
find_model
config=$plain/config.json

run info -m "$plain" --json
weights=$(json weights | grep -E '^[0-9]+$' || sed 's/.*"memory":{"weights":\([0-9]*\).*/\1/' out)
each=$(sed 's/.*"cache_per_token":\([0-9]*\).*/\1/' out)
run plan "$config" -c 128 -t 1 --json
exits 0; silent
prints "\"cache_per_token\":$each,"
prints '"timed_layers":'; prints '"depth":0,'; prints '"fits":true'
# the shape alone is taken to have groups of 128, which shows in a hundredth of the weights at most where they are smaller
planned=$(sed 's/.*"memory":{"weights":\([0-9]*\).*/\1/' out)
if grep -q '"head":"f16"' out && grep -q float16 "$config"; then
    holds "the weights take what is planned" test $((planned * 100)) -ge $((weights * 98)) -a $((planned * 98)) -le $((weights * 100))
fi
run plan "$config" -c 128 -t 1 -tb 1 --quant int8 --head int8 -o report
exits 0; prints_nothing
holds "the report is in the file" grep -q "layers int8 g128, head int8 g128" report
run plan "$config" -c 4 --quant bf16
exits 0; prints "layers bf16, head bf16"; prints "4 tokens"
run plan "$plain" -c 64 --kv q8 --progress none
exits 0; prints "fits"
run convert "$plain" --head int8 -o held.nct -q
exits 0
run plan held.nct -c 64
exits 0; prints "head int8" # as the file has it
run plan held.nct -c 64 --head int4
exits 0; prints "head int4"

# ---- mistakes
run plan
exits 2; says "one model"
run plan a b
exits 2
run plan MiniCPM4-9B
exits 3; says "MiniCPM4-8B"; says "try: noctule plan MiniCPM4-8B"
run plan minicpm4-8b -c 1m
exits 2; says "131,072"
echo '{"architectures": ["GPT2LMHeadModel"]}' >broken.json
run plan broken.json
exits 3; prints_nothing
echo '{' >broken.json
run plan broken.json
exits 3
sed 's/"hidden_size": *[0-9]*/"hidden_size": 100000/; s/"intermediate_size": *[0-9]*/"intermediate_size": 1000000/' "$config" >huge.json
run plan huge.json
if [ "$code" -ne 3 ]; then exits 1; says "are available"; fi

finish
