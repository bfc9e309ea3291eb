# Ends that come from outside: a reader that goes away, Ctrl-C, SIGTERM.
. "$(dirname "$0")/lib.sh"
find_model
export NOCTULE_MODEL="$model"
slow="-X exact=1 --isa ref -t 1 --ignore-eos -n 900" # a few tokens a second

# ---- a closed pipe ends quietly with 141
last="noctule run | head -c 1"
{
    "$NOCTULE" run --raw -n 500 --ignore-eos "Once upon a time" </dev/null 2>err
    echo $? >status
} | head -c 1 >out
code=$(cat status)
exits 141; silent
last="noctule run --json | true"
{
    sleep 1
    "$NOCTULE" run --json -n 50 x </dev/null 2>err
    echo $? >status
} | true
code=$(cat status)
: >out
exits 141; silent
last="noctule help | true"
{
    sleep 1
    "$NOCTULE" help run 2>err
    echo $? >status
} | true
code=$(cat status)
exits 141; silent

# ---- signals; a script's background ignores SIGINT, and noctule keeps what is ignored so
env --default-signal=INT true 2>/dev/null || skip "env cannot reset signals"
mkfifo pipe
# starts ARGUMENT...: in the background, its stdout a pipe into `out`
starts() {
    last="noctule $*"
    : >out
    cat pipe >out &
    reader=$!
    # shellcheck disable=SC2086
    env --default-signal=INT "$NOCTULE" "$@" $slow </dev/null >pipe 2>err &
    child=$!
}
# begun: until some of the answer is there
begun() {
    tries=0
    until [ -s out ] || [ "$tries" -gt 200 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
}
ends_after() {
    began=$(date +%s)
    kill -"$1" "$child"
    wait "$child"
    code=$?
    wait "$reader"
    checks=$((checks + 1))
    [ $(($(date +%s) - began)) -le 2 ] || fail "$last: took more than two seconds to end"
}
ends_in_newline() { holds "$1 ends in a newline" sh -c "test \"\$(tail -c 1 $1 | tr -dc '\\n' | wc -c)\" -eq 1"; }

starts run --raw "Once upon a time"
begun
ends_after INT
exits 130; silent; ends_in_newline out

# twice at once: nothing is waited for
starts run --raw "Once upon a time"
begun
kill -INT "$child"
ends_after INT
exits 130; silent

starts run --raw "Once upon a time"
begun
ends_after TERM
exits 143; silent; ends_in_newline out

starts run --json --raw "Once upon a time"
sleep 1
ends_after INT
exits 130; prints '"finish_reason":"interrupted"'; prints '"truncated":true'

starts run -o answer.txt --raw "Once upon a time"
sleep 2
ends_after INT
exits 130; says "what there was is in answer.txt.part"
[ ! -s answer.txt.part ] || ends_in_newline answer.txt.part
holds "the file does not appear" sh -c '! test -e answer.txt'

# while the prompt is read
yes "a long text that takes its time " | head -c 2500 >long.txt
starts run -X prefill.chunk=16 -f long.txt -p x
sleep 1
ends_after INT
exits 130

# ignored by the parent: SIGHUP under nohup
last="nohup noctule run"
: >out
nohup "$NOCTULE" run --raw -n 150 --isa ref -X exact=1 -t 1 --ignore-eos "Once upon a time" </dev/null >out 2>err &
child=$!
sleep 1
kill -HUP "$child" 2>/dev/null
wait "$child"
code=$?
exits 0

finish
