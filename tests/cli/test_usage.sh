# Flags, numbers, hints, help: what can be said without a model.
. "$(dirname "$0")/lib.sh"

# ---- unknown flags are refused with the nearest one
run run --tmep 1 x </dev/null
exits 2; says "unknown flag --tmep"; says "--temp"; prints_nothing
run run --max-token 1 x </dev/null
exits 2; says "--max-tokens"
run run -temp 1 x </dev/null
exits 2; says "--temp"
run run --n 4 x </dev/null
exits 2; says "try: -n"
run run --xyzzy x </dev/null
exits 2; says "noctule run --help"
run --xyzzy </dev/null
exits 2; says "unknown flag --xyzzy"
run run --logits f x </dev/null
exits 2; says "belongs to eval logits"
run sum --script x </dev/null
exits 2; says "belongs to chat"
run info --temp 1 </dev/null
exits 2; says "not a flag of info"
run run -s 7 x </dev/null
exits 2; says "seed in llama.cpp"; says "system prompt in llm"; says "--seed"; says "-sys"
run runn </dev/null
exits 2; says "no command 'runn'"; says "noctule run"
run eval </dev/null
exits 2; says "ppl, logits"
run eval xyz </dev/null
exits 2; says "ppl, logits"
run run -X exat=1 x </dev/null
exits 2; says "no key 'exat'"; says "try: -X exact"
run run -X exact=2 x </dev/null
exits 2; says "exact=0 or exact=1"
run run -X exact x </dev/null
exits 2
run run -X prefill.chunk=0 x </dev/null
exits 2

# ---- values
for value in abc -1 0 1e99 "" 1.5 2000000000 0x10 " 4" "4 " 5x k nan; do
    run run -n "$value" x </dev/null
    exits 2; says "--max-tokens wants a whole number"
done
for value in abc -1 nan inf 101 "" 0x1p3; do
    run run --temp "$value" x </dev/null
    exits 2; says "--temp wants a number"
done
run run --top-p 0 x </dev/null
exits 2
run run --timeout 5x x </dev/null
exits 2; says "--timeout wants a duration"
run run --think maybe x </dev/null
exits 2; says "auto|on|off"
run run --format yaml x </dev/null
exits 2; says "text|json|jsonl"
run run --overflow sideways x </dev/null
exits 2
run run -n </dev/null
exits 2; says "nothing follows"
run run -p -q </dev/null
exits 2; says "--prompt=-q"
run run --stop "" x </dev/null
exits 2; says "empty"
run run --greedy=maybe x </dev/null
exits 2
run run a -p b </dev/null
exits 2; says '"a"'; says '"b"'

# ---- the environment: every flag has a variable
NOCTULE_TEMP=abc run run x </dev/null
exits 2; says "from NOCTULE_TEMP"
NOCTULE_MAX_TOKENS=-3 run run x </dev/null
exits 2; says "NOCTULE_MAX_TOKENS"
NOCTULE_X=exat=1 run run x </dev/null
exits 2; says "exat"
NOCTULE_TEMP=abc run version
exits 0

# ---- errors as JSON
run run --error-format json --tmep 1 </dev/null
exits 2; says '{"error":{"code":"usage","exit":2,"message":"unknown flag --tmep"'; says '"try":"--temp'
run run --tmep 1 --error-format=json </dev/null
says '{"error":'
NOCTULE_ERROR_FORMAT=json run run -m /nonexistent/model x </dev/null
exits 3; says '"code":"model","exit":3'

# ---- help and version: stdout, exit 0
for page in "" run chat info tokenize detokenize convert doctor bench "bench mem" "bench threads" "eval ppl" "eval logits" "eval drift" "cache stat" "cache list" "cache prune" "cache rm" "cache warm" help version; do
    # shellcheck disable=SC2086
    run $page --help </dev/null
    exits 0; prints "usage: noctule"; silent
    # shellcheck disable=SC2086
    run help $page </dev/null
    exits 0; prints "usage: noctule"; silent
done
run run --help
prints "--max-tokens N"; prints "-sys, --system"; prints "NOCTULE_MAX_TOKENS"
holds "lines are at most 100 columns" awk 'length > 100 { exit 1 }' out
for topic in exit-codes pipes formats; do
    run help "$topic"
    exits 0; silent
    holds "the topic has text" test -s out
done
run help exit-codes
for n in 0 1 2 3 4 5 6 7 130 141 143; do prints "  $n "; done
prints "info --verify"
run help exitcodes
exits 2; says "exit-codes"
run version
exits 0; prints "noctule 0."
run --version
exits 0; prints "noctule 0."
run version --json
exits 0; prints '"schema":1'

# ---- llama.cpp's spellings
run run -fa on -no-cnv -st --ctx-size 64 --n-predict 4 -m /nonexistent/model x </dev/null
exits 3; holds "no note without -v" test "$(wc -l <err)" -eq 1
run run -v -fa -m /nonexistent/model x </dev/null
says "-fa does nothing"
run run -n4k -c2k -Xexact=1 -m /nonexistent/model x </dev/null
exits 3
run run -m /nonexistent/model -- --tmep </dev/null
exits 3

# ---- chat never without a terminal, and before any model is looked for
run chat </dev/null
exits 2; says "noctule run"; says "--script"; prints_nothing
run chat -m /nonexistent/model </dev/null
exits 2
piped 'hi\n' chat -m /nonexistent/model
exits 2

# ---- no model
run run x </dev/null
if [ "$code" -ne 0 ]; then
    exits 3; says "no model"; says "-m"
fi
run run -m nosuchname x </dev/null
exits 3; says "neither a path nor a name"

finish
