# The parts of a summary are answered together: the same text, sources and kept answers as one after another.
. "$(dirname "$0")/lib.sh"
export NOCTULE_MODEL="${NCT_TINY_MODEL%/*}/sparse" # about a token a letter
seq 1 200 | sed 's/.*/line & kwz qxj/' >book.txt
flags="--strategy map-reduce --seed 3 --temp 1 -n 12"

without_counts() { sed 's/"usage":{[^}]*},"parallel":{[^}]*},//' "$1"; }

# ---- the same, however many at once; those of a level of joining too
for chunk in 700 300; do
    run sum $flags --chunk $chunk --cache off --json --sources -np 1 book.txt
    exits 0; silent; prints '"parallel":{"sequences":1,"steps":0}'
    without_counts out >alone
    for n in 2 3 auto; do
        run sum $flags --chunk $chunk --cache off --json --sources -np $n book.txt
        exits 0; silent
        without_counts out >together
        same together alone "$n at once should change nothing"
        [ $n = auto ] && n=$(grep -o '"begin"' out | wc -l)
        [ "$n" -gt 8 ] && n=8
        holds "so many were answered at once" test "$(json sequences)" -eq "$n"
        holds "a step writes several tokens" test "$(json steps)" -lt "$(json completion)"
    done
done
run sum $flags --chunk 700 --cache off --stats book.txt
exits 0; says "at once"

# ---- what was answered before is not asked again, and nobody else is bothered
run sum $flags --chunk 700 --json book.txt
exits 0
cp out first.json
without_counts out >first
run sum $flags --chunk 700 --json -np 1 book.txt
exits 0; holds "kept answers are anybody's" test "$(json kept)" -eq "$(json asked)"
for file in $(ls cache/noctule/sum | head -n 3); do
    rm "cache/noctule/sum/$file"
done
run sum $flags --chunk 700 --json book.txt
exits 0; holds "three are missing" test "$(json kept)" -eq $(($(json asked) - 3))
without_counts out >again
same again first "and are answered as they were"

# ---- prompts that were read are kept while they are, so that a run that was stopped goes on
rm -rf cache
run sum $flags --chunk 1400 -X cache.min_ms=0 --json -np 3 book.txt
exits 0
without_counts out >first
rm -rf cache/noctule/sum
run sum $flags --chunk 1400 -X cache.min_ms=0 --json -np 3 book.txt
exits 0; holds "most of them are not read again" test "$(json cached)" -gt $(($(json prompt) / 2))
without_counts out >again
same again first "from files the same"

# ---- as many as memory holds
run run --dry-run --json -n 12 x </dev/null
weights=$(json weight_bytes)
each=$(($(json cache_bytes) / ($(json prompt) + $(json answer)) * 1024)) # pages of 512 tokens
run sum $flags -c 1000 --chunk 500 --cache off --json --mem $((weights + each * 5 / 2)) book.txt
exits 0; holds "two at once" test "$(json sequences)" -eq 2
run sum $flags -c 1000 --chunk 500 --plan --mem $((weights + each * 5 / 2)) book.txt
exits 0; prints "tokens), 2 at once, then"
run sum $flags -c 1000 --chunk 500 --plan --mem $((weights + each * 3 / 2)) book.txt
exits 0; prints "tokens), then"

# ---- one after another where it cannot be otherwise, which is said if it was asked for
run sum $flags --chunk 700 --cache off --json -np 1 book.txt
without_counts out >alone
run sum $flags --chunk 700 --cache off --json --kv-dir pages -np 2 book.txt
exits 0; says "-np 2: a cache in files is one; parts are answered one after another"
without_counts out >together
same together alone "in files the same"
run sum $flags --chunk 700 --cache off --json -X sparse.decide=prompt book.txt
exits 0; silent; prints '"sequences":1'
run sum $flags --chunk 700 -np 0 book.txt
exits 2; says "-np 0: expected auto or a number from 1 to 64"
run sum $flags --chunk 700 --max-time 1ms --cache off book.txt
exits 1; says "the time is up"
finish
