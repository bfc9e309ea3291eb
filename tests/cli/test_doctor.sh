# doctor, and the numbers of threads that are kept for a host: nothing else depends on them.
. "$(dirname "$0")/lib.sh"
: "${NCT_TINY_MODEL:?a tiny model}"
export NOCTULE_MODEL="$NCT_TINY_MODEL"

run doctor
exits 0; silent; prints "is no bundle"
for word in cpu isa kernels cgroup numa memory threads pages advice; do prints "$word "; done
kept=$(ls "$XDG_CACHE_HOME"/noctule/threads-*.json)
holds "the numbers of threads are kept" test -s "$kept"
run doctor --json
exits 0; silent
for key in '"kernels":{"int4 products":' '"read":[{"threads":1,' '"decode_threads":' '"prefill_threads":' '"bf16_ops_s":' '"memory_limit_bytes":' '"threads_by":"bandwidth"'; do prints "$key"; done
if command -v python3 >/dev/null 2>&1; then
    holds "parses as JSON" python3 -c 'import json; json.load(open("out"))'
fi
run convert "$NCT_TINY_MODEL" -o tiny.nct
run doctor -m tiny.nct
exits 0; silent; prints "model    tiny.nct: decode roof "
run doctor -m tiny.nct --json
exits 0; prints '"model":{"name":"tiny.nct","decode_roof_tps":'
run doctor -m ./nosuch
exits 3
NOCTULE_ISA=ref run doctor
exits 0; prints "all: ref"; prints "portable kernels"
run doctor --isa nosuch
exits 2
run doctor x
exits 2; says "noctule info x"

# ---- runs take what was kept, and say so
# keep THREADS BATCH BY
keep() { sed "s/\"threads\":[0-9]*/\"threads\":$1/; s/\"threads_batch\":[0-9]*/\"threads_batch\":$2/; s/\"by\":\"[a-z]*\"/\"by\":\"$3\"/" "$kept" >k && cat k >"$kept"; }
keep 1 1 bench
run run -v -n 1 x </dev/null
exits 0; says "1/1 threads (prefill/decode, as measured on this host)"
run doctor
exits 0; prints "1 for decoding, 1 for prompts: as bench threads found"
holds "doctor does not replace what bench found" grep -q '"by":"bench"' "$kept"
run run -v -n 1 -t 1 x </dev/null
exits 0; says "1/1 threads (prefill/decode)"
run run -v -n 1 -t 3 -tb 2 --force-threads x </dev/null
exits 0; says "2/3 threads (prefill/decode)"
run run -v -n 1 -t 2 --force-threads x </dev/null
exits 0; says "2/2 threads (prefill/decode)"
run run -n 1 -tb 1024 x </dev/null
exits 0; says "1024 threads asked"
run run -n 1 -tb 0 x </dev/null
exits 2

# ---- what cannot be trusted is passed over
cp "$kept" good
ignored() {
    run run -v -n 1 x </dev/null
    exits 0; says "threads (prefill/decode)"
}
keep 0 1 bench; ignored; cat good >"$kept"
keep 1 99999 bench; ignored; cat good >"$kept"
sed 's/"cpu":"/"cpu":"another /' good >"$kept"; ignored
sed 's/"usable":[0-9]*/"usable":4097/' good >"$kept"; ignored
sed 's/"schema":1/"schema":2/' good >"$kept"; ignored
printf '{"cpu' >"$kept"; ignored
: >"$kept"; ignored
head -c 100000 /dev/zero >"$kept"; ignored
rm "$kept"; mkfifo "$kept"; ignored
rm "$kept"; mkdir "$kept"; ignored
rmdir "$kept"
run doctor
exits 0
holds "and written again" test -s "$kept"
rm -r "$XDG_CACHE_HOME"; : >"$XDG_CACHE_HOME"
run doctor
exits 0; silent; prints "not kept"
ignored

# ---- results have the same bits whatever the numbers are
ids=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20
run eval logits --ids $ids --prefill 12 --logits one.f32 -t 1
exits 0
run eval logits --ids $ids --prefill 12 --logits two.f32 -t 1 -tb 5 --force-threads
exits 0; same one.f32 two.f32 "five threads for the prompt should not change bits"
run eval logits --ids $ids --prefill 12 --logits two.f32 -t 4 -tb 2 --force-threads
exits 0; same one.f32 two.f32 "four threads for steps should not change bits"

finish
