# Ten thousand short records, from a file and through a pipe that stays open: every one is answered, once, and memory is
# that of a few.
. "$(dirname "$0")/lib.sh"
[ -r /proc/self/status ] || skip "no /proc to see memory in"
find_model

many=10000
seq 1 $many | sed 's/.*/{"id":"r&","prompt":"item & of many"}/' >in.jsonl
peak() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' /proc/$1/status 2>/dev/null; }
# a few dozen bytes for each record that is known of, and the granules that memory comes in
may_grow=$((many * 100 / 1024 + 1024))
leaky() { ldd "$NOCTULE" 2>/dev/null | grep -q libasan; } # which keeps what was freed
# peaks FILE: of the running command $pid, after 1,000 results and as late as can be seen, in $few and $lots
peaks() {
    few=
    lots=
    while kill -0 $pid 2>/dev/null; do
        n=$(wc -l <"$1" 2>/dev/null || echo 0)
        now=$(peak $pid)
        [ -n "$now" ] || break
        [ -z "$few" ] && [ "$n" -ge 1000 ] && few=$now
        lots=$now
        [ "$n" -lt $many ] || break
        sleep 0.1
    done
}
no_growth() {
    checks=$((checks + 1))
    [ -n "$few" ] && { leaky || [ "$lots" -lt $((few + may_grow)) ]; } ||
        fail "$last: memory was ${few:-unseen} kB after 1,000 records and $lots kB after $many"
    echo "$last: $few kB after 1,000 records, $lots kB after $many"
}

last="$many records of a file"
"$NOCTULE" batch -m "$plain" in.jsonl -n 2 --greedy --seed 1 -o file.jsonl >out 2>err &
pid=$!
: >>file.jsonl
peaks file.jsonl
wait $pid
code=$?
exits 0
says "done 10,000 ok, 0 failed"
no_growth
holds "each once" test "$(sed 's/^{"id":"\([^"]*\)".*/\1/' file.jsonl | sort -u | wc -l)" -eq $many

last="$many records through an open pipe"
mkfifo pipe
"$NOCTULE" batch -m "$plain" -n 2 --greedy --seed 1 --ordered <pipe >piped.jsonl 2>err &
pid=$!
exec 4>pipe
cat in.jsonl >&4 & # it is read no further ahead than it has to be
writer=$!
peaks piped.jsonl
kill -0 $pid 2>err
holds "it waits for more" test $? -eq 0
no_growth
wait $writer
exec 4>&-
wait $pid
code=$?
cp piped.jsonl out
exits 0
: >out
without_times file.jsonl | sort >a
without_times piped.jsonl | sort >b
same a b "a pipe gives something else than a file"
sed 's/.*"index":\([0-9]*\).*/\1/' piped.jsonl >a
seq 0 $((many - 1)) >b
same a b "not in order"

# going on with so many that are there takes no longer than reading them
last="--resume with $many records there"
run batch -m "$plain" in.jsonl -n 2 --greedy --seed 1 -o file.jsonl --resume
exits 0
says "10,000 there before"
finish
