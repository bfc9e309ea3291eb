# A bundle against its own reference logits.
. "$(dirname "$0")/lib.sh"
find_model

run convert "$plain" -o made.nct
exits 0; silent
run convert -v "$plain" -o made.nct
exits 0; says "drift on "; says "from exact mode: divergence"; says "the same next token"

run eval drift made.nct
exits 0; silent; prints "itself   divergence"; prints "source   divergence"
run eval drift made.nct -X exact=1 --json
exits 0; prints '"exact":true'; prints '"max_kl":1e-06,"max_error":null,"passed":true'; prints '"self":{"tokens":16,'; prints '"top1":true'; prints '"source":{'
if command -v python3 >/dev/null 2>&1; then
    holds "parses as JSON" python3 -c 'import json; json.load(open("out"))'
fi
# the same instruction set computes the same bits, another nearly
made=$(sed -n 's/.*"reference_isa":"\([a-z0-9]*\)".*/\1/p' out)
NOCTULE_ISA=$made run eval drift made.nct -X exact=1 --json --max-kl 0 --max-error 0
exits 0; prints '"same_bits":true'
NOCTULE_ISA=ref run eval drift made.nct -X exact=1
exits 0
NOCTULE_ISA=ref run eval drift made.nct
exits 0
run eval drift -m made.nct -t 1 -tb 3 --force-threads -X exact=1 --json
exits 0

# ---- thresholds: coded weights meet rounded activations, so something is left
run eval drift made.nct --max-kl 0
exits 7; says "divergence"; prints "itself"
run eval drift made.nct --max-kl 0 --json
exits 7; prints '"max_kl":0,'; prints '"passed":false'
run eval drift made.nct --max-error 0 --json
exits 7; prints '"max_error":0,"passed":false'
run eval drift made.nct --max-error 0
exits 7; says "a logit differs"
run eval drift made.nct --max-kl 1 --max-error 100 -o drift.txt
exits 0; prints_nothing
holds "the report is in the file" grep -q itself drift.txt

# ---- weights that were changed without their checksum being asked for
size=$(wc -c <made.nct)
{
    head -c $((size / 2)) made.nct
    head -c 60000 /dev/urandom
    tail -c +$((size / 2 + 60001)) made.nct
} >changed.nct
run eval drift changed.nct
holds "changed weights are found" test "$code" -eq 7 -o "$code" -eq 3

# ---- refused
run eval drift "$plain"
exits 2; says "no bundle"; says "noctule convert"
run eval drift a b
exits 2
run eval drift ./nosuch.nct
exits 3
run eval drift made.nct --max-kl -1
exits 2
head -c 5000 made.nct >cut.nct
run eval drift cut.nct
exits 3

finish
