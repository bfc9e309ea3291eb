# What the tests of the command line share. Sourced with NOCTULE (the program), NCT_MODELS_DIR, NCT_TINY_MODEL
# and NCT_SHARED_DIR set. Each test works in a folder of its own that vanishes, sees no configuration of
# the user's, and ends with `finish`.
set -u
: "${NOCTULE:?the program to test}"

home=$(mktemp -d "${TMPDIR:-/tmp}/noctule-cli.XXXXXX") || exit 1
trap 'rm -rf "$home"' EXIT
trap 'exit 1' INT TERM
cd "$home" || exit 1
export HOME="$home" XDG_DATA_HOME="$home/data" XDG_STATE_HOME="$home/state" XDG_CACHE_HOME="$home/cache" XDG_CONFIG_HOME="$home/config"
for name in $(env | sed -n 's/^\(NOCTULE_[A-Z_]*\)=.*/\1/p'); do
    [ "$name" = NOCTULE_ISA ] || unset "$name"
done
unset NO_COLOR
export TERM=xterm LC_ALL=C.UTF-8 SHELL=/bin/sh
failures=0
checks=0

skip() {
    echo "skipped: $*"
    exit 77
}

fail() {
    failures=$((failures + 1))
    echo "FAILED: $*"
    echo "  exit $code"
    sed 's/^/  out: /' out | head -n 40
    sed 's/^/  err: /' err | head -n 8
}

finish() {
    echo "$checks checks, $failures failed"
    [ "$failures" -eq 0 ]
    exit
}

# run ARGUMENT...: the program, its streams in `out` and `err`, stdin as the caller's, the exit status in `code`
code=0
run() {
    last="noctule $*"
    "$NOCTULE" "$@" >out 2>err
    code=$?
}

# piped TEXT ARGUMENT...: the same with the text (escapes as in printf) through a pipe
piped() {
    text=$1
    shift
    last="printf '$text' | noctule $*"
    printf "$text" | "$NOCTULE" "$@" >out 2>err
    code=$?
}

exits() {
    checks=$((checks + 1))
    [ "$code" -eq "$1" ] || fail "$last: expected exit $1"
}
# says TEXT: on stderr, somewhere
says() {
    checks=$((checks + 1))
    grep -qF -- "$1" err || fail "$last: stderr should say: $1"
}
silent() {
    checks=$((checks + 1))
    [ ! -s err ] || fail "$last: stderr should be empty"
}
prints() {
    checks=$((checks + 1))
    grep -qF -- "$1" out || fail "$last: stdout should hold: $1"
}
prints_nothing() {
    checks=$((checks + 1))
    [ ! -s out ] || fail "$last: stdout should be empty"
}
# same FILE FILE WHAT
same() {
    checks=$((checks + 1))
    cmp -s "$1" "$2" || fail "$last: $3"
}
# holds WHAT COMMAND...
holds() {
    what=$1
    shift
    checks=$((checks + 1))
    "$@" >/dev/null 2>&1 || fail "$last: $what"
}

# json PATH: a value of the JSON object in `out`, by a dotted path of plain keys
json() {
    tr ',{}' '\n\n\n' <out | sed -n "s/^\"$1\"://p" | head -n 1
}

# The shipped model: text that means something. $plain has no chat template, $model the MiniCPM4 one.
find_model() {
    plain=
    for config in "${NCT_MODELS_DIR:-/nonexistent}"/*/config.json; do
        [ -e "$config" ] && plain=${config%/config.json}
    done
    [ -n "$plain" ] || skip "no model in NCT_MODELS_DIR"
    model=$home/models/chatty
    mkdir -p "$model" "$home/models/plain"
    for file in "$plain"/*; do
        cp "$file" "$home/models/plain/"
        case $file in
        */tokenizer_config.json | */chat_template.jinja) ;;
        *) ln -s "$file" "$model/" ;;
        esac
    done
    template='{% for message in messages %}{{'"'<|im_start|>'"' + message['"'role'"'] + '"'\\\\n'"' + message['"'content'"'] + '"'<|im_end|>'"' + '"'\\\\n'"'}}{% endfor %}{% if add_generation_prompt %}{{ '"'<|im_start|>assistant\\\\n'"' }}{% endif %}'
    grep -v '"chat_template"' "$plain/tokenizer_config.json" | sed "1s#{#{\"chat_template\": \"$template\",#" >"$model/tokenizer_config.json"
    rm -f "$home/models/plain/chat_template.jinja"
    grep -v '"chat_template"' "$plain/tokenizer_config.json" >"$home/models/plain/tokenizer_config.json"
    plain=$home/models/plain
}

# Records of batch [FILE...] without what may differ between two runs: times, guesses and what was cached; with attempts, how
# often they were tried; with order, where they stood
without_times() { sed 's/"timings":{[^}]*},//; s/"spec":{[^}]*},//; s/"cached":[0-9]*/"cached":0/' "$@"; }
without_attempts() { without_times "$@" | sed 's/"attempts":[0-9]*/"attempts":0/'; }
without_order() { without_times "$@" | sed 's/"index":[0-9]*/"index":0/' | sort; }

# on_terminal COMMAND: a shell command whose three streams are a terminal and that needs no keys; what it shows
# is in `out` and `screen`
on_terminal() {
    last=$1
    timeout 60 script -qefc "$1" screen </dev/null >/dev/null 2>&1
    code=$?
    cp screen out
    : >err
}
need_terminal() {
    timeout 60 script -qefc true screen </dev/null >/dev/null 2>&1 || skip "script (util-linux) cannot make a terminal here"
}

# A terminal with keys: open_terminal COMMAND, then types TEXT (escapes as in printf) and waits_for TEXT,
# which looks at what was shown since the wait before, then close_terminal, which leaves the exit status in
# `code`.
open_terminal() {
    last=$1
    rm -f keys screen
    mkfifo keys
    : >screen
    seen=0
    # exec: a shell that waits beside the command would take its Ctrl-C for its own, as dash does
    timeout 120 script -qefc "exec env $1" screen <keys >/dev/null 2>&1 &
    terminal=$!
    exec 3>keys
}
types() { printf "$1" >&3; }
waits_for() {
    checks=$((checks + 1))
    tries=0
    until offset=$(tail -c "+$((seen + 1))" screen | grep -aobF -- "$1") && [ -n "$offset" ]; do
        tries=$((tries + 1))
        if [ "$tries" -gt 150 ] || ! kill -0 "$terminal" 2>/dev/null; then
            cp screen out
            : >err
            fail "$last: the screen should show: $1"
            return
        fi
        sleep 0.1
    done
    offset=${offset%%:*} # of the first
    seen=$((seen + offset + ${#1}))
}
# waits_for_more N: until N more bytes are shown, whatever they are
waits_for_more() {
    checks=$((checks + 1))
    tries=0
    until [ "$(wc -c <screen)" -ge $((seen + $1)) ]; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ] || ! kill -0 "$terminal" 2>/dev/null; then
            cp screen out
            : >err
            fail "$last: the screen should show more"
            return
        fi
        sleep 0.1
    done
}
close_terminal() {
    exec 3>&-
    wait "$terminal"
    code=$?
    cp screen out
    : >err
}
