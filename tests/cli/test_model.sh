# Which model is taken, what info says, and what broken ones get: one sentence and exit 3.
. "$(dirname "$0")/lib.sh"
find_model

# ---- choosing
run run -n 2 -m "$model" x </dev/null
exits 0
NOCTULE_MODEL="$model" run run -n 2 x </dev/null
exits 0
mkdir -p "$XDG_DATA_HOME/noctule/models"
cp -R "$plain" "$XDG_DATA_HOME/noctule/models/older"
touch -d '2001-01-01' "$XDG_DATA_HOME/noctule/models/older/config.json"
cp -RL "$model" "$XDG_DATA_HOME/noctule/models/newer"
run run --json -n 2 x </dev/null
exits 0; prints '"name":"newer"'
run run --json -n 2 -m older x </dev/null
exits 0; prints '"name":"older"'
run run -m oldest x </dev/null
exits 3; says "neither a path nor a name in $XDG_DATA_HOME/noctule/models"
run run -m ./nosuch x </dev/null
exits 3; says "no model at ./nosuch"

# ---- info
run info "$model"
exits 0; silent
for word in chatty container weights parameters layers vocabulary context template begins ends sampling machine 128K; do prints "$word"; done
run info -m "$model" --json
exits 0; prints '"layers":'; prints '"memory":{"weights":'; prints '"eos":['
if command -v python3 >/dev/null 2>&1; then
    holds "parses as JSON" python3 -c 'import json; json.load(open("out"))'
    run info -v --json "$model"
    holds "parses as JSON, and holds tensors" python3 -c 'import json; assert json.load(open("out"))["tensors"]'
fi
run info -v "$model"
exits 0; prints "tensor"; prints "embed"
run info a b
exits 2

# ---- broken checkpoints
weights=$(basename "$(ls "$plain"/*.safetensors | head -n 1)")
# broken NAME: a copy to damage
broken() {
    rm -rf broken
    cp -RL "$plain" broken
}
refused() {
    run run -m broken x </dev/null
    exits 3; prints_nothing
    [ $# -eq 0 ] || says "$1"
    holds "one error, no crash" sh -c 'test "$(grep -c "^noctule: error: " err)" -eq 1'
    run info broken
    exits 3
}
broken; rm "broken/$weights"
refused
broken; head -c 1000 "$plain/$weights" >"broken/$weights"
refused "$weights"
broken; size=$(wc -c <"$plain/$weights"); head -c $((size - 100)) "$plain/$weights" >"broken/$weights"
refused "$weights"
broken; : >"broken/$weights"
refused "$weights"
broken; head -c 100000 /dev/urandom >"broken/$weights"
refused "$weights"
broken; printf '\377\377\377\377\377\377\377\177{}' >"broken/$weights"
refused "$weights"
broken; printf '\010\000\000\000\000\000\000\000{"a":1}}' >"broken/$weights"
refused "$weights"
broken; rm broken/config.json
refused
broken; echo '{"model_type":' >broken/config.json
refused "config.json"
broken; sed 's/"hidden_size": *[0-9]*/"hidden_size": 999/' "$plain/config.json" >broken/config.json
refused
broken; sed 's/"num_hidden_layers": *[0-9]*/"num_hidden_layers": 1000000/' "$plain/config.json" >broken/config.json
refused
broken; sed 's/"num_attention_heads": *[0-9]*/"num_attention_heads": 0/' "$plain/config.json" >broken/config.json
refused
broken; sed 's/"model_type": *"[a-z]*"/"model_type": "gpt2"/; s/MiniCPMForCausalLM/GPT2LMHeadModel/' "$plain/config.json" >broken/config.json
refused "GPT2LMHeadModel"
broken; rm broken/tokenizer.json
refused
broken; head -c 5000 "$plain/tokenizer.json" >broken/tokenizer.json
refused "tokenizer.json"
broken; echo '[]' >broken/tokenizer.json
refused "tokenizer.json"
rm -rf broken; mkdir broken
refused
rm -rf broken; printf 'GGUF\003\000\000\000' >broken
refused "broken"
rm -rf broken; head -c 65536 /dev/urandom >broken
refused "broken"
rm -rf broken; : >broken
refused "broken"

finish
