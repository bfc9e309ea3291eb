# What is made from the one table: --help, help --json, manual pages and completions list the same flags, the parser
# takes each of them, and each is in a test.
tests=$(cd "$(dirname "$0")" && pwd)
. "$tests/lib.sh"

run help --json
exits 0; silent
cp out all
command -v jq >/dev/null && holds "help --json is JSON" jq -e '.schema == 1 and (.flags | length) > 50' all
sed -n 's/^{"command":"\([^"]*\)".*/\1/p' all >commands
grep '^{"flag":' all >flags
holds "there are commands" test "$(wc -l <commands)" -gt 20
"$NOCTULE" completion bash >bash.sh && "$NOCTULE" completion zsh >zsh.sh && "$NOCTULE" completion fish >fish.fish
holds "bash can read its script" bash -n bash.sh
command -v zsh >/dev/null && holds "zsh can read its script" zsh -n zsh.sh
command -v fish >/dev/null && holds "fish can read its script" fish -n fish.fish

# ---- lists of "COMMAND: FLAG", one from each
# the members of an array of strings
members='function members(line, key,  rest) {
    rest = substr(line, index(line, "\"" key "\":[") + length(key) + 4)
    rest = substr(rest, 1, index(rest, "]") - 1)
    gsub(/"/, "", rest)
    return rest
}'
awk "$members"'{
    split($0, quoted, "\"")
    n = split(quoted[4] "," members($0, "shorts") "," members($0, "aliases"), flag, ",")
    m = split(members($0, "commands"), command, ",")
    for (c = 1; c <= m; c++) {
        print command[c] ": " quoted[4] >"main.flags"
        for (f = 1; f <= n; f++) if (flag[f] != "") print command[c] ": " flag[f]
    }
}' flags | sort -u >json.flags
sort -u main.flags -o main.flags
: >help.all
: >man.all
while read -r command; do
    # shellcheck disable=SC2086
    set -- $command
    echo "= $command" | tee -a help.all >>man.all
    "$NOCTULE" "$@" --help >>help.all
    "$NOCTULE" help --man "$@" >>man.all
done <commands
# what stands before two spaces, and behind the names
spelled='function spelled(line,  n, i, part) {
    n = split(line, part, /, | /)
    for (i = 1; i <= n && part[i] ~ /^-/; i++) print command ": " part[i]
}'
awk "$spelled"'/^= / { command = substr($0, 3) } /^  -/ || /^      --/ { sub(/^ */, ""); sub(/  .*/, ""); spelled($0) }' help.all | sort -u >help.flags
awk "$spelled"'/^= / { command = substr($0, 3); next }
    take { gsub(/\\f[BRI]/, ""); gsub(/\\-/, "-"); spelled($0) } { take = ($0 == ".TP") }' man.all | sort -u >man.flags
listed() { awk -F ': ' 'NR == FNR { known[$0]; next } $1 in known' commands -; } # without eval, which is half a command
awk -F "'" '/^    .*flags=/ { n = split($4, flag, " "); for (i = 1; i <= n; i++) print $2 ": " flag[i] }' bash.sh | listed | sort -u >bash.flags
awk -F "'" '/^    .*flags=\($/ { command = $2 } /^        .\*?-/ { sub(/^\*/, "", $2); sub(/[=[].*/, "", $2); print command ": " $2 }' zsh.sh | listed | sort -u >zsh.flags
awk -F '"' '/^complete -c noctule -n .__noctule_on "[^"]*". -[sol] / {
    n = split($3, word, " ")
    for (i = 2; i < n && word[i] != "-d"; i++)
        if (word[i] ~ /^-[so]$/) print $2 ": -" word[i + 1]
        else if (word[i] == "-l") print $2 ": --" word[i + 1]
}' fish.fish | listed | sort -u >fish.flags
holds "there are flags" test "$(wc -l <json.flags)" -gt 300
for list in man bash zsh fish; do
    comm -3 json.flags $list.flags >out
    holds "help --json (left) and $list list the same flags" test ! -s out
    [ -s out ] && head -5 out
done
comm -23 main.flags help.flags >out # --help has no room for further spellings
holds "--help lists every flag: $(head -3 out)" test ! -s out
comm -13 json.flags help.flags >out
holds "--help lists no other flag: $(head -3 out)" test ! -s out

# ---- the parser takes every flag with a value of its kind: nothing is done, --help ends it
awk "$members"'{
    split($0, quoted, "\"")
    value = "x"
    if (/"value":null/) value = ""
    else if (/"choices":\["/) { split(members($0, "choices"), word, ","); value = word[1] }
    else if (/"kind":"time"/) value = "1s"
    else if (match($0, /"low":[^,]*/)) value = substr($0, RSTART + 6, RLENGTH - 6)
    m = split(members($0, "commands"), command, ",")
    for (c = 1; c <= m; c++) line[command[c]] = line[command[c]] " " quoted[4] " " value
} END { for (c in line) print c "|" line[c] }' flags >lines
holds "each command has flags" test "$(wc -l <lines)" -eq "$(wc -l <commands)"
while IFS='|' read -r command line; do
    # shellcheck disable=SC2086
    run $command $line --help </dev/null
    exits 0; prints "usage: noctule $command"
done <lines

# ---- every flag is in a test, by its long name or by a short one
untested=$("$tests/../../tools/untested" 2>&1)
checks=$((checks + 1))
[ -z "$untested" ] || fail "flags without a test:" $untested

# ---- mistakes
run help --json run
exits 2; says "everything at once"
run completion
exits 2; says "bash, zsh or fish"
run completion tcsh
exits 2; prints_nothing
run help --man
exits 0; prints ".TH"; prints "noctule\\-run"
run help --man pipes
exits 0; prints 'NOCTULE-PIPES" "7"'
run help --man nosuch
exits 2

# ---- bash completes
complete_with() {
    bash -c '. ./bash.sh; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _noctule; printf "%s\n" "${COMPREPLY[@]}"' noctule noctule "$@" >out 2>err
    code=$?
    last="completing $*"
}
complete_with tokeni
prints tokenize
complete_with run --fail
prints "--fail-on-length"
complete_with run --think o
prints on; prints off
complete_with eval dri
prints drift
complete_with bench --format cs
prints csv

finish
