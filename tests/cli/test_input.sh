# What comes in is cleaned or refused, never silently something else.
. "$(dirname "$0")/lib.sh"
find_model
export NOCTULE_MODEL="$model" NOCTULE_MAX_TOKENS=3 NOCTULE_GREEDY=1

ids() { sed -n 's/.*"usage":{"prompt":\([0-9]*\).*"token_ids":\[\([^]]*\)\].*/\1 \2/p' "$1"; }
# reads_as FILE TEXT WARNING: the file as content is TEXT; WARNING is said, or nothing if it is empty
reads_as() {
    run run --json -p x -f "$1" </dev/null
    exits 0
    if [ -n "$3" ]; then says "$3"; else silent; fi
    ids out >got
    printf "$2" >clean.txt
    "$NOCTULE" run --json -p x -f clean.txt </dev/null >direct 2>/dev/null
    ids direct >expected
    same got expected "$1 should read as: $2"
    "$NOCTULE" run --json -p x <"$1" >direct 2>/dev/null
    ids direct >got
    same got expected "$1 should read the same from stdin"
}
refused() {
    run run -p x -f "$1" </dev/null
    exits 2; prints_nothing; says "$2"
    "$NOCTULE" run -p x <"$1" >out 2>err
    code=$?
    exits 2; prints_nothing; says "stdin"
}

# ---- byte-order marks and UTF-16
printf '\357\273\277gr\303\274n\n' >bom.txt
reads_as bom.txt 'gr\303\274n\n' ""
printf '\377\376g\000r\000\374\000n\000\n\000' >le.txt
reads_as le.txt 'gr\303\274n\n' ""
printf '\376\377\000g\000r\000\374\000n\000\n' >be.txt
reads_as be.txt 'gr\303\274n\n' ""
printf '\377\376\075\330\000\336x\000' >pair.txt # U+1F600
reads_as pair.txt '\360\237\230\200x' ""
printf '\377\376\075\330x\000' >half.txt
reads_as half.txt '\357\277\275x' "1 code units"
printf '\377\376x\000y' >odd.txt
reads_as odd.txt 'x' "code units"

# ---- bytes that are no UTF-8 are kept and counted once
printf 'gr\374n und wei\337\n' >latin1.txt
run run --json -p x -f latin1.txt </dev/null
exits 0; says "latin1.txt: 2 bytes are no UTF-8 (first at offset 2)"
holds "one warning" test "$(wc -l <err)" -eq 1
run run -q --json -p x -f latin1.txt </dev/null
exits 0; silent
run run --json "$(printf 'gr\374n')" </dev/null
exits 0; says "the prompt: 1 byte is no UTF-8"
printf 'ok\r\nline\n' >crlf.txt
reads_as crlf.txt 'ok\r\nline\n' ""

# ---- what is no text
printf 'abc\000def' >nul.txt
refused nul.txt "NUL byte stands at offset 3"
printf '\177ELF\002\001\001\000\000' >elf
refused elf "NUL byte"
printf '\037\213\010\000\000\000' >text.gz
refused text.gz "zcat"
says "noctule run"
printf '\3757zXZ\000\000' >text.xz
refused text.xz "xzcat"
printf '\050\265\057\375\000' >text.zst
refused text.zst "zstdcat"
printf 'BZh91AY' >text.bz2
refused text.bz2 "bzcat"
printf '%%PDF-1.7\n' >text.pdf
refused text.pdf "pdftotext"
printf '\377\376a\000\000\000' >nul16.txt
refused nul16.txt "NUL"

# ---- a source that never ends
if [ -r /dev/zero ]; then
    last="noctule run -p x </dev/zero"
    timeout 100 "$NOCTULE" run -p x </dev/zero >out 2>err
    code=$?
    exits 4; says "more than any model holds"
fi

# ---- files that are none
run run -p x -f . </dev/null
exits 2; says "folder"
"$NOCTULE" run -p x <. >out 2>err
code=$?
exits 1; says "stdin cannot be read"
: >empty.txt
run run -p x -f empty.txt </dev/null
exits 0

# ---- @FILE
printf 'be brief\n' >system.txt
run run --json --system @system.txt x </dev/null
exits 0
run run --system @nosuch.txt x </dev/null
exits 1; says "nosuch.txt cannot be read"
run run --system @text.gz x </dev/null
exits 2; says "zcat"
printf '[{"type":"function"' >tools.json
run run --tools @tools.json x </dev/null
exits 2

# ---- markers in content are text, unless asked
run run --json -n 1 '<|im_end|>' </dev/null
content=$(sed -n 's/.*"prompt":\([0-9]*\),.*/\1/p' out)
run run --json -n 1 --parse-special '<|im_end|>' </dev/null
markers=$(sed -n 's/.*"prompt":\([0-9]*\),.*/\1/p' out)
last="<|im_end|> in a prompt"
holds "is more tokens as text than as a marker" test "$content" -gt "$markers"

# ---- a stop string must be text
run run --stop "$(printf 'a\377')" x </dev/null
exits 2; says "UTF-8"

finish
