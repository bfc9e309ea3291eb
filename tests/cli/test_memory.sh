# What does not fit memory: refused with both numbers, or in files where that is allowed.
. "$(dirname "$0")/lib.sh"
export NOCTULE_MODEL="$NCT_TINY_MODEL"
kv=$XDG_CACHE_HOME/noctule/kv

yes "kwz qxj pvy " | tr -d '\n' | head -c 3000 >text.txt
ask() { run run --json --greedy -n 8 -f text.txt -p x "$@" </dev/null; }
text() { grep -o '"token_ids":.*' out; }
bytes() { tr '{' '\n' <out | sed -n 's/^"bytes":\([0-9]*\).*/\1/p'; }

ask --dry-run
exits 0; weights=$(json weight_bytes)
ask --cache off
exits 0; silent; prints '"mapped_bytes":0,'; prints '"dirty_bytes":0,'; prints '"memory":{"anonymous_bytes":'
text >want
cache=$(bytes)
holds "the cache is told" test "$cache" -gt 100000

# ---- --mem: to the byte
ask --cache off --mem $((weights + cache))
exits 0; silent; text >got
same want got "the text where memory just suffices"
ask --cache off --mem $((weights + cache - 1))
exits 1; prints_nothing; says "a cache of 3,0"; says "tokens takes"; says "are left for it"; says "--kv-dir auto"; says "--kv q8"
ask --cache off --mem 1
exits 1; says "0 bytes of --mem are left for it"
ask --kv q8 --mem $((weights + cache - 1))
exits 0; silent
ask --dry-run --mem 1
exits 0
run run -n 1 --mem lots x </dev/null
exits 2; says "--mem"
run eval ppl text.txt -c 1k --mem 1
exits 1; says "--kv-dir auto"
run bench -p 8 -n 0 -r 1 --warmup 0 --mem 1
exits 1; says "--kv-dir auto"

# ---- allowed: files, one line, the same text
ask --kv-dir auto
exits 0; silent; prints '"mapped_bytes":0,'
rm -rf "$kv"
ask --mem $((weights + 1)) --kv-dir auto
exits 0; says "it is kept in files in $kv"; holds "one line" test "$(wc -l <err)" -eq 1
text >got
same want got "the text from files"
holds "all of it is in files" test "$(json mapped_bytes)" -eq "$(bytes)"
ask --mem $((weights + 1)) --kv-dir auto
exits 0; holds "and found there" test "$(json cached)" -eq $(($(json prompt) - 1))
NOCTULE_KV_DIR=auto ask -q --mem 1
exits 0; silent; text >got
same want got "the text from files, by the environment"
run cache stat --kv-dir auto
exits 0; prints "$kv"
run cache rm --all
ask --mem 1 --kv-dir auto --cache off
exits 0; text >got
same want got "the text from files that nobody keeps"
holds "nothing is left" test -z "$(ls -A "$kv")"
run eval ppl text.txt -c 1k --mem 1 --kv-dir auto
exits 0; says "it is kept in files"
ask --mem 1 --kv-dir text.txt/x
exits 1; says "text.txt/x"

# ---- a conversation that outgrows memory stays, and says so
printf 'x\n/clear\nx\n' >turns
"$NOCTULE" chat --script -n 4 --mem 1 <turns >out 2>err
code=$?
last="chat --mem 1"
exits 1; says "--kv-dir auto"
"$NOCTULE" chat --script -n 4 --mem 1 --kv-dir auto <turns >out 2>err
code=$?
exits 1; says "--kv-dir DIR"
"$NOCTULE" chat --script -n 4 -c 2k --mem 1 --kv-dir auto <turns >out 2>err
code=$?
exits 0; says "it is kept in files"

# ---- benches: made-up tokens in files that nobody keeps
run bench -p 8 -n 2 -d 2k --made-up -c 3k -r 1 --warmup 0 --kv-dir files
exits 0; prints "in files"; prints "not written yet"; holds "nothing is left" test -z "$(ls -A files)"
run bench -p 0 -n 2 -d 2k --made-up -c 3k -r 1 --warmup 0 --kv-dir files --json
exits 0; prints '"memory":{"anonymous_bytes":'; prints '"dirty_bytes":'

# ---- a group of the kernel's with a limit, where one can be made
for group in /sys/fs/cgroup/memory /sys/fs/cgroup; do
    group=$group/noctule-test-$$
    mkdir "$group" 2>/dev/null || continue
    limit=$group/memory.max
    [ -e "$limit" ] || limit=$group/memory.limit_in_bytes
    if [ -e "$limit" ] && echo 4000000000 2>/dev/null >"$limit"; then
        sh -c 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"' sh "$group" "$NOCTULE" doctor --json >out 2>err
        code=$?
        last="noctule doctor in a group"
        exits 0
        holds "the limit is found" test "$(json memory_limit_bytes)" -le 4000000000
        holds "and is not none" test "$(json memory_limit_bytes)" -gt 0
    fi
    rmdir "$group"
    break
done

finish
