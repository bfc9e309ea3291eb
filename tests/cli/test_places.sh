# Where weights lie: huge pages and memory nodes. Whatever is chosen, the same logits; what costs memory is told.
. "$(dirname "$0")/lib.sh"
find_model

run convert "$model" -o model.nct
exits 0
ids=1,2,3,4,5,6,7,8,9
# logits NAME FLAG...
logits() {
    name=$1
    shift
    run eval logits --ids $ids --logits "$name.f32" "$@"
    exits 0
}
logits plain -m model.nct -t 1
logits directory -m "$model" -t 2
same plain.f32 directory.f32 "a bundle and its source should agree"

# ---- huge pages
for way in auto off on; do
    logits bundle -m model.nct -X hugepages=$way
    same plain.f32 bundle.f32 "hugepages=$way, bundle"
    logits packed -m "$model" -X hugepages=$way
    same plain.f32 packed.f32 "hugepages=$way, directory"
done
switch=/sys/kernel/mm/transparent_hugepage/enabled
run info model.nct
exits 0; silent
holds "a bundle's weights are not copied" sh -c '! grep -q "^copied" out'
run info --json model.nct
prints '"copied":0,'
if [ -r $switch ] && ! grep -qF '[never]' $switch; then
    run info model.nct -X hugepages=on
    exits 0; silent; prints "are a copy of this process's own"
    run info --json model.nct -X hugepages=on
    holds "says how much was copied" sh -c 'grep -q "\"copied\":[1-9]" out'
    run run -v -m model.nct -n 1 --stats -X hugepages=on x </dev/null
    exits 0; says "are a copy of this process's own"; says "of weights copied"
    run info "$model" -X hugepages=on
    holds "what is packed is no copy" sh -c '! grep -q "^copied" out'
else
    run info model.nct -X hugepages=on
    exits 0; says "does nothing"
fi
run info model.nct -X hugepages=maybe
exits 2; says "hugepages=auto, on or off"
run info model.nct -X hugepages
exits 2

# ---- memory nodes
for way in auto off shard; do
    logits bundle -m model.nct --numa $way
    same plain.f32 bundle.f32 "--numa $way"
done
for threads in 2 5; do
    logits bundle -m model.nct --numa shard -X numa.pretend=2 -t $threads --force-threads
    same plain.f32 bundle.f32 "two nodes, $threads threads"
    logits packed -m "$model" --numa shard -X numa.pretend=2 -t $threads --force-threads
    same plain.f32 packed.f32 "two nodes, $threads threads, directory"
done
run info model.nct --numa shard -X numa.pretend=2 -t 2 --force-threads
exits 0; prints "sharded over 2 nodes"; prints "are a copy of this process's own"
run info model.nct --numa auto -X numa.pretend=2 -t 1
exits 0; prints "node 0 of 2"
run info model.nct --numa off -X numa.pretend=2
exits 0; prints "2 nodes, left alone"
run info model.nct --numa node=1 -X numa.pretend=2
exits 0; prints "node 1 of 2"; prints "1 thread "
run info model.nct --numa node=2 -X numa.pretend=2
exits 2; says "no memory node 2"; says "nodes 0 and 1"
run info model.nct --numa node=999
exits 2; says "no memory node 999"
for way in node node= node=x node=-1 shards ""; do
    run info model.nct --numa "$way"
    exits 2
done
run doctor
exits 0; prints "numa     "; prints "pages    "
run doctor --json
exits 0; prints '"huge_pages":"'; prints '"numa_nodes":'
finish
