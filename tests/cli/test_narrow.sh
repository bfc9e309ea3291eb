# A chat on terminals of 40 and 80 columns: what it tells is cut between words, progress keeps to its line, and what is to
# be copied is not cut.
. "$(dirname "$0")/lib.sh"
need_terminal
find_model
export NOCTULE_MODEL="$model"
slow="-t 1 --isa ref -X exact=1"
fits() { [ "$(wc -L <lines)" -le "$1" ]; }
# slow enough to be seen while it is read
yes "A sentence that is read slowly, word for word." | head -c 2500 >long.txt
for columns in 40 80; do
    open_terminal "sh -c 'stty cols $columns; exec $NOCTULE chat --no-history -n 4 --session a-name-that-is-to-be-copied --cache off -X prefill.chunk=8 $slow'"
    waits_for ">>>"
    types '/help\r'
    waits_for "front."
    waits_for ">>>"
    types '/file long.txt\r'
    waits_for "reading  "
    waits_for "eta "
    types '\003'
    waits_for "cancelled: "
    waits_for ">>>"
    types '/context\r'
    waits_for "a token)"
    waits_for ">>>"
    types 'A bat\r'
    waits_for " out "
    waits_for ">>>"
    types '\004'
    close_terminal
    exits 0
    tr '\r' '\n' <screen | sed 's/\x1b\[[0-9;?]*[A-Za-z]//g; s/\^C//; /^Script /d' >all
    grep -v '^resume: ' all >lines
    holds "fits $columns columns" fits $columns
    holds "words are whole" sh -c 'tr -s " \n" "  " <lines | grep -qF "the last answer, or its last block of code, to the clipboard"'
    holds "the command of going on is whole" grep -q 'noctule chat --session a-name-that-is-to-be-copied$' all
done
finish
