# Settings in files: what they are, which wins, how they are changed, and files that are hostile.
. "$(dirname "$0")/lib.sh"
find_model
export NOCTULE_MODEL="$plain"
user=$XDG_CONFIG_HOME/noctule/config.json
mkdir -p "$XDG_CONFIG_HOME/noctule"
first="Once upon a time"

# value_of KEY: what a run samples with
value_of() {
    run run --json -n 1 "$@" "$first" </dev/null
    exits 0; silent
}
gives() {
    checks=$((checks + 1))
    [ "$(json "$1")" = "$2" ] || fail "$last: expected $1 to be $2, not $(json "$1")"
}

# ---- flags over environment over profile over project over user over the model's
value_of
before=$(json temp)
echo '{ "temp": 0.11, /* a comment */ "top-p": 0.9, // more
  "profiles": { "hot": {"temp": 0.33}, "both": {"temp": 0.44} } }' >"$user"
value_of
gives temp 0.11; gives top_p 0.9
holds "the model's own value is another" test "$before" != 0.11
echo '{"temp": 0.22, "profiles": {"both": {"temp": 0.55}}}' >.nct.json
value_of
gives temp 0.22; gives top_p 0.9
value_of --profile hot
gives temp 0.33
value_of --profile both
gives temp 0.55
NOCTULE_PROFILE=hot value_of
gives temp 0.33
NOCTULE_TEMP=0.66 value_of --profile hot
gives temp 0.66
NOCTULE_TEMP=0.66 value_of --temp 0.77
gives temp 0.77
value_of --greedy
gives temp 0
run run --profile cold x </dev/null
exits 2; says "no profile 'cold'"; says "hot"
rm .nct.json

# ---- knobs, lists, truth, and settings of other commands
echo '{"cache": {"max": "5g"}, "prefill.chunk": 3, "stop": ["e"], "temp": 0, "count": true, "quant": "int4"}' >"$user"
value_of
exits 0
run run -n 30 "$first" </dev/null
exits 0; holds "a list of stops" sh -c '! grep -q e out'
run run -n 30 --stop zzzz "$first" </dev/null
exits 0; holds "a flag's list replaces it" grep -q e out
run tokenize "a b c"
exits 0; holds "only the number" sh -c 'grep -qx "[0-9]*" out'
echo '{"cache": {"mux": "5g"}}' >"$user"
run run -n 1 x </dev/null
exits 2; says "cache.mux"

# ---- show, get, path
echo '{"temp": 0.5, "cache": {"max": "5g"}, "templates": {"commit": "Write:\n{{input}}"}}' >"$user"
run config path
exits 0; prints "$user"
NOCTULE_TOP_K=7 run config show --origin
exits 0; silent
for line in "temp .*0.5    (user: $user)" "top-k .*7    (environment: NOCTULE_TOP_K)" "order .*content-first    (built-in)" "sources .*off    (built-in)" "threads .*as doctor or bench threads found.*(built-in)" "cache.max .*5g    (user: " "templates.commit "; do
    holds "it shows $line" grep -q "^$line" out
done
run config show
exits 0; prints "temp"; holds "only what is set" sh -c '! grep -q "^order" out'
run config show --json
exits 0; prints '"temp":{"value":0.5,"origin":"user","where":"'
run config get temp
exits 0; prints "0.5"
run config get cache.max
exits 0; prints "5g"
run config get templates.commit
exits 0; holds "no raw newline" test "$(wc -l <out)" -eq 1
run config get min-p
exits 1; says "not set"; prints_nothing

# ---- set keeps comments and order, and refuses what no flag takes
printf '{\n  // how warm\n  "temp": 0.5, "seed": 3\n}\n' >"$user"
run config set temp 0.25
exits 0; silent; prints_nothing
holds "the comment stays" grep -q "// how warm" "$user"
run config get temp
prints "0.25"
run config set cache.max 3g
exits 0
run config set profiles.quick.think off
exits 0
run config set profiles.quick.temp 0.5
exits 0
run config set templates.mail 'Answer this: {{input}}'
exits 0
run config set stop END
exits 0
run config get profiles.quick
prints '"think": "off"'; prints '"temp": 0.5'
run config get stop
prints '["END"]'
command -v jq >/dev/null && holds "it is JSON" sh -c "grep -v // '$user' | jq -e '.cache.max == \"3g\" and .templates.mail'"
cp "$user" kept
for pair in "temp 300" "temp" "tempo 1" "think maybe" "help on" "trust-project on" "profiles.q.tempo 1" ".a 1" "a. 1"; do
    # shellcheck disable=SC2086
    run config set $pair
    exits 2; same kept "$user" "the file is as it was"
done
rm -r "$XDG_CONFIG_HOME"
run config set seed 9
exits 0
run config get seed
prints 9
ln -sf "$PWD/elsewhere" "$user"
echo '{}' >elsewhere
run config set seed 10
exits 0; holds "a link stays one" test -L "$user"
holds "and its file is written" grep -q 10 elsewhere
rm "$user"
for words in "" "shew" "get" "get a b" "set a" "path x"; do
    # shellcheck disable=SC2086
    run config $words
    exits 2
done
run config edit </dev/null
exits 2; says "wants a terminal"

# ---- a project may not reach out of its folder
mkdir sub
ln -s / sub/out
for path in /etc/passwd ../x sub/../../x '~/x' .. sub/out/etc/hosts sub/out/nonexistent; do
    printf '{"file": ["%s"]}' "$path" >.nct.json
    run run -n 1 x </dev/null
    exits 2; says "outside of this folder"
    printf '{"profiles": {"p": {"system": "@%s"}}}' "$path" >.nct.json
    run run --profile p -n 1 x </dev/null
    exits 2; says "outside of this folder"
done
echo "notes" >sub/notes
printf '{"file": ["sub/notes"], "stop": ["/etc"]}' >.nct.json
run run -n 1 x </dev/null
exits 0
if [ "$(id -u)" = 0 ]; then
    echo '{"temp": 0.91}' >.nct.json
    chown 12345 .nct.json
    run run --json -n 1 x </dev/null
    exits 0; says "another user's"; holds "it is passed over" sh -c '! grep -q "\"temp\":0.91" out'
    value_of --trust-project
    gives temp 0.91
fi
rm -f .nct.json

# ---- hostile files: one error, exit 2, and help still works
mkdir -p "$XDG_CONFIG_HOME/noctule"
hostile() {
    run run -n 1 x </dev/null
    exits 2; says "$1"; prints_nothing
    holds "one error" test "$(grep -c error: err)" -eq 1
    run run --help
    exits 0
    run config path
    exits 0
}
echo '{"temp": 0.5' >"$user"; hostile "not valid JSON"
printf '{\n\n"temp": }' >"$user"; hostile "line 3"
echo '[]' >"$user"; hostile "expected an object"
echo '{"tmep": 1}' >"$user"; hostile "try: temp"
echo '{"temp": 1, "temp": 2}' >"$user"; hostile "twice"
echo '{"temp": "warm"}' >"$user"; hostile "--temp wants a number"
echo '{"temp": [1]}' >"$user"; hostile "takes one value"
echo '{"stop": [[1]]}' >"$user"; hostile "list of texts"
echo '{"templates": {"a": 1}}' >"$user"; hostile "wants a text"
echo '{"profiles": {"a": 1}}' >"$user"; hostile "wants an object"
echo '{"help": true}' >"$user"; hostile "no setting"
printf '{"model": "a\377"}' >"$user"; hostile "UTF-8"
printf '{"temp": 1\000}' >"$user"; hostile "UTF-8"
echo '/* {}' >"$user"; hostile "has no end"
head -c 2000000 /dev/zero | tr '\0' ' ' >"$user"; hostile "bytes of settings"
i=0; while [ $i -lt 2000 ]; do printf '['; i=$((i + 1)); done >"$user"; hostile "not valid JSON"
rm "$user"; mkfifo "$user"; hostile "no regular file"
rm "$user"; mkdir "$user"; hostile "no regular file"
rmdir "$user"
: >"$user"
run run -n 1 x </dev/null
exits 0

# ---- an editor
if timeout 60 script -qefc true screen </dev/null >/dev/null 2>&1; then
    rm "$user"
    on_terminal "EDITOR='sed -i s/^{/{\\\"seed\\\":4/' '$NOCTULE' config edit"
    exits 0
    run config get seed
    prints 4
    on_terminal "EDITOR='sed -i s/seed/sede/' '$NOCTULE' config edit"
    exits 0
    on_terminal "EDITOR='sed -i s/4/4,/' '$NOCTULE' config edit"
    exits 2; prints "JSON" # with the line cut to fit
    on_terminal "EDITOR=false '$NOCTULE' config edit"
    exits 1; prints "the editor 'false' failed"
fi

# ---- a knob that no command would take is not written
rm -f config/noctule/config.json
run config set cache.max abc
exits 2; says "expected cache.max=SIZE"
run config set cache.maxx 3G
exits 2; says "try: -X cache.max"
run config set cache.max 3G
exits 0
run config get cache.max
exits 0; prints "3G"

finish
