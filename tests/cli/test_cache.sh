# Prompts that begin alike: what is kept of them, where, for how long, and what happens to it.
. "$(dirname "$0")/lib.sh"
export NOCTULE_MODEL="$NCT_TINY_MODEL" # a page of it is half a megabyte
kv=$XDG_CACHE_HOME/noctule/kv

i=0
while [ $i -lt 110 ]; do
    echo "Day $i: the cat sat on a mat, and a dog named Tim ran to the big tree with $i birds."
    i=$((i + 1))
done | head -c 3700 >long.txt
drawn="--temp 1 --top-p 1 --seed 3" # a random model always likes one token best
keep="-X ctx.force=1 -c 12k -X cache.min_ms=0"
ask() { run run -f long.txt $keep -n 12 $drawn --json "$@" </dev/null; }
text() { grep -o '"token_ids":.*' out; }
pages() { ls "$kv" 2>/dev/null | grep -c '\.page$'; }

# ---- short or quick prompts leave nothing
run run -n 3 "Once upon a time" -X cache.min_ms=0 </dev/null
exits 0; silent; holds "nothing is kept of a short prompt" test ! -e "$kv"
ask -p "Who is Tim?" --cache off
exits 0; silent; holds "nothing is kept with --cache off" test ! -e "$kv"
text >fresh
ask -p "Who is Tim?" --cache ro
exits 0; silent; holds "nothing is kept with --cache ro" test ! -e "$kv"
run run -f long.txt -X ctx.force=1 -c 12k -p "Who is Tim?" -n 1 -X cache.min_ms=1000000 </dev/null
exits 0; holds "nothing is kept of a quick prompt" test ! -e "$kv"

# ---- the first write is told, once; then the prompt is taken, and the text is the same
ask -p "Who is Tim?"
exits 0; says "is kept in $kv"; says "--cache off"; prints '"cached":0,'
text >first
same fresh first "the text with a cache that is empty"
holds "pages are kept" test "$(pages)" -ge 3
run cache stat --json
holds "an unfinished page ends in a hole, which is not counted" test "$(json written_today_bytes)" -lt "$(cat "$kv"/*.page | wc -c)"
holds "the folder is private" test "$(stat -c %a "$kv")" = 700
holds "so is the one above" test "$(stat -c %a "$XDG_CACHE_HOME/noctule")" = 700
for file in "$kv"/*; do
    holds "$file is private" test "$(stat -c %a "$file")" = 600
done
ask -p "Who is Tim?"
exits 0; silent
holds "all but the last token are taken" test "$(json cached)" -eq $(($(json prompt) - 1))
text >second
same fresh second "the text from the cache"
ask -p "Who is Tim?" --cache ro
holds "ro takes them too" test "$(json cached)" -eq $(($(json prompt) - 1))
ask -p "Who is Tim?" --cache off
prints '"cached":0,'
ask -p "What did the dog do, and where are the birds?"
holds "another question takes the document" test "$(json cached)" -gt $(($(json prompt) - 60))
text >other
ask -p "What did the dog do, and where are the birds?" --cache off
text >want
holds "and another answer" sh -c '! cmp -s fresh want'
same want other "the text of another question"
ask -p "Who is Tim?" --kv q8
prints '"cached":0,'
ask -p "Who is Tim?" --stats
says "cached"

# ---- damage is one line, and the text is the same
ask -p "Who is Tim?" >/dev/null
victim=$(ls "$kv"/*.page | head -n 1)
printf 'xx' | dd of="$victim" bs=1 seek=5000 conv=notrunc 2>/dev/null
for file in "$kv"/*.page; do
    [ "$file" = "$victim" ] || truncate -s -100 "$file"
done
ask -p "Who is Tim?"
exits 0; says "damaged, and not used"; prints '"cached":0,'
holds "no more than a line each" test "$(wc -l <err)" -le "$(pages)"
text >third
same fresh third "the text beside damaged pages"
ask -p "Who is Tim?"
silent; text >third
same fresh third "the text after damaged pages"

# ---- what is there, and getting rid of it
run cache stat
exits 0; silent; prints "$kv"; prints "pages"; prints "minutes"
run cache stat --json
exits 0; prints '"folder":'; prints '"hit_rate":'; prints '"written_today_bytes":'
run cache list
exits 0; prints "tokens"
run cache list --json
exits 0; prints '"complete":true'
before=$(pages)
name=$(json name | tr -d '"')
run cache rm "$name"
exits 0; holds "a text is removed" test "$(pages)" -lt "$before"
run cache rm zzz
exits 2; says "no text is named 'zzz'"
run cache rm
exits 2; says "--all"
ask -p "Who is Tim?"
run cache prune -X cache.max=1
exits 0; holds "prune leaves what is allowed" test "$(pages)" -eq 0
ask -p "Who is Tim?"
touch "$kv/1-1.temp" # left by somebody who is dead
ask -p "Who is Tim?"
holds "what the dead left is swept up" test ! -e "$kv/1-1.temp"
run cache rm --all
exits 0; holds "nothing is left" test ! -e "$kv"
run cache list
exits 0; silent
run cache stat
exits 0; prints "0 pages"
run cache rm --all
exits 0
run cache
exits 2; says "stat"

# ---- the limit
ask -p "Who is Tim?" -X cache.max=1200k
holds "the limit is kept" test "$(du -sk "$kv" | cut -f 1)" -le 1250
holds "and used" test "$(pages)" -gt 0
run run -X cache.max=lots -n 1 x </dev/null
exits 2; says "cache.max"
run cache rm --all

# ---- reading ahead
run cache warm long.txt -X ctx.force=1 -c 12k
exits 0; prints "tokens, 0 of them read before"
run cache warm long.txt -X ctx.force=1 -c 12k
exits 0; holds "the second time it is there" test "$(sed 's/ tokens.*//; s/,//' out)" -gt 3000
ask -p "Who is Tim?"
holds "a prompt takes what was read ahead" test "$(json cached)" -gt 3000
text >warm
same fresh warm "the text after reading ahead"
run cache warm
exits 2; says "nothing to read"
run cache rm --all

# ---- the cache in files instead of memory
ask -p "Who is Tim?" --kv-dir files
exits 0; silent; text >mapped
same fresh mapped "the text with --kv-dir"
holds "all of it is mapped" test "$(json mapped_bytes)" -eq "$(tr '{' '\n' <out | sed -n 's/^"bytes":\([0-9]*\).*/\1/p')"
holds "only there" test ! -e "$kv"
holds "it is private" test "$(stat -c %a files)" = 700
holds "nothing unfinished is left" test -z "$(ls files | grep temp)"
ask -p "Who is Tim?" --kv-dir files
holds "and found there" test "$(json cached)" -eq $(($(json prompt) - 1))
text >mapped
same fresh mapped "the text from --kv-dir"
run run -f long.txt $keep -n 2 $drawn -p "Who is Tim?" --kv-dir files --stats </dev/null
exits 0; says "in files"
run cache list --kv-dir files
exits 0; prints "tokens"
run cache rm --all --kv-dir files
exits 0; holds "nothing is left there" test ! -e files
ask -p "Who is Tim?" --kv-dir files --cache off
exits 0; text >mapped
same fresh mapped "the text with --kv-dir and --cache off"
holds "nothing is left there either" test -z "$(ls -A files)"
run run -n 1 x --kv-dir long.txt </dev/null
exits 1; says "long.txt"

# ---- no room
last="a file size limit"
(ulimit -f 512 && exec "$NOCTULE" run -f long.txt $keep -n 12 $drawn -p "Who is Tim?" --kv-dir small </dev/null >out 2>err)
code=$?
exits 1; says "no room for a page of the cache"; holds "one line" test "$(wc -l <err)" -eq 1
holds "no remains" test -z "$(ls -A small)"
(ulimit -f 512 && exec "$NOCTULE" run -f long.txt $keep -n 12 $drawn --json -p "Who is Tim?" </dev/null >out 2>err)
code=$?
exits 0; says "going on without"; text >full
same fresh full "the text when nothing can be kept"
run cache rm --all
if mkdir -p disk && mount -t tmpfs -o size=1m none disk 2>/dev/null; then
    ask -p "Who is Tim?" --kv-dir disk/kv
    exits 1; says "No space left on device"; holds "one line" test "$(wc -l <err)" -eq 1
    holds "no remains" test -z "$(find disk -name '*.temp')"
    rm -rf disk/kv
    XDG_CACHE_HOME=$home/disk ask -p "Who is Tim?" -X cache.max=1g
    exits 0; says "going on without"; text >full
    same fresh full "the text on a full disk"
    holds "no remains" test -z "$(find disk -name '*.temp')"
    XDG_CACHE_HOME=$home/disk ask -p "Who is Tim?"
    exits 0; text >full
    same fresh full "the text from what a full disk held"
    umount disk
fi

# ---- killed, and interrupted: what was finished is taken
for delay in 0.03 0.1 0.3; do
    "$NOCTULE" run -f long.txt $keep -n 300 --ignore-eos $drawn -p "Who is Tim?" </dev/null >/dev/null 2>&1 &
    victim=$!
    sleep $delay
    kill -9 $victim 2>/dev/null
    wait $victim 2>/dev/null
    ask -p "Who is Tim?"
    exits 0; text >killed
    same fresh killed "the text after a kill"
    [ $delay = 0.03 ] && "$NOCTULE" cache rm --all
done
holds "no remains of the killed" test -z "$(ls "$kv" | grep temp)"

# ---- two at once
run cache rm --all
"$NOCTULE" run -f long.txt $keep -n 12 $drawn --json -p "Who is Tim?" </dev/null >one 2>one.err &
one=$!
ask -p "Who is Tim?"
exits 0; text >two
wait $one
cp one out
text >one
same fresh one "the text of the first of two"
same fresh two "the text of the second of two"

# ---- chat takes and keeps too
run cache rm --all
echo "Who is Tim?" | "$NOCTULE" chat --script long.txt $keep -n 12 $drawn >out 2>err
code=$?
exits 0; holds "a chat keeps its beginning" test "$(pages)" -ge 3
echo "Who is Tim?" | "$NOCTULE" chat --script long.txt $keep -n 12 $drawn --stats >again 2>err
same out again "the chat from the cache"
says "cached"
run run -X sparse.decide=prompt $keep -f long.txt -p "Who is Tim?" -n 1 --json </dev/null

finish
