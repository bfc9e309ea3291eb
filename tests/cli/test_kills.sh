# kill -9 at twenty random moments: every time the command goes on where it was; in the end nothing is missing, nothing was
# done twice, and all is as if nobody had come between. Then the same for a file for each record.
. "$(dirname "$0")/lib.sh"
find_model

i=0
while [ $i -lt 120 ]; do
    echo "{\"id\":\"r$i\",\"prompt\":\"Once upon a time number $i there was\"}"
    i=$((i + 1))
done >in.jsonl
batch="batch -m $plain in.jsonl -n 90 --ignore-eos --temp 0.8 --seed 7 -np 3"
from=$(date +%s%N)
run $batch -o whole.jsonl
took=$((($(date +%s%N) - from) / 1000000)) # ms
exits 0
without_attempts whole.jsonl | sort >whole

# a moment of the time that all takes, from the clock and the process; the same seed is of no use, as nobody else's load is
random_ms() { od -An -N4 -tu4 /dev/urandom | awk -v most="$1" '{ print $1 % most }'; }
kills=0
lost=0
until [ $kills -ge 20 ]; do
    [ -e killed.jsonl ] && cp killed.jsonl before.jsonl || : >before.jsonl
    "$NOCTULE" $batch -o killed.jsonl --resume >out 2>err &
    pid=$!
    ms=$(random_ms $((took / 6 + 20)))
    sleep "$(awk "BEGIN { print $ms / 1000 }")"
    kill -9 $pid 2>/dev/null && kills=$((kills + 1))
    wait $pid 2>/dev/null
    ended=$?
    [ -e killed.jsonl ] || : >killed.jsonl
    # what was there is there, byte for byte, but for a torn line that the next one cuts
    whole_lines=$(wc -l <before.jsonl)
    head -n "$whole_lines" before.jsonl >a
    head -n "$whole_lines" killed.jsonl >b
    cmp -s a b || lost=$((lost + 1))
    if [ $ended -eq 0 ]; then # it was done before its time: begin anew
        without_attempts killed.jsonl | sort >a
        same a whole "after $kills kills"
        rm killed.jsonl
    fi
done
last="batch, killed $kills times"
checks=$((checks + 1))
[ $lost -eq 0 ] || fail "$last: a finished record was lost or changed $lost times"
run $batch -o killed.jsonl --resume
exits 0
without_attempts killed.jsonl | sort >a
same a whole "not what an undisturbed run writes"
holds "nothing was done twice" test "$(wc -l <killed.jsonl)" -eq 120

# a file for each record: none is half written, none is lost, the journal goes at the end
mkdir files
kills=0
until [ $kills -ge 5 ]; do
    "$NOCTULE" $batch --limit 40 -o 'files/{id}.txt' --resume >out 2>err &
    pid=$!
    sleep "$(awk "BEGIN { print $(random_ms $((took / 12 + 20))) / 1000 }")"
    kill -9 $pid 2>/dev/null && kills=$((kills + 1))
    wait $pid 2>/dev/null
done
run $batch --limit 40 -o 'files/{id}.txt' --resume
exits 0
holds "forty files" test "$(find files -name 'r*.txt' | wc -l)" -eq 40
holds "nothing else" test "$(find files -type f | wc -l)" -eq 40
sed -n 's/^{"id":"r17","text":"\(\([^"\\]\|\\.\)*\)".*/\1/p' whole.jsonl >a
sed 's/"/\\"/g' files/r17.txt | awk 'NR > 1 { printf "\\n" } { printf "%s", $0 } END { print "" }' >b
same a b "a file's text is that of the record"
finish
