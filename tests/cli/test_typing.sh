# Keys of the chat's line editor: pastes, several lines, completion, history, the user's own editor.
. "$(dirname "$0")/lib.sh"
find_model
export NOCTULE_MODEL="$model"
"$NOCTULE" version --json | grep -q '"line_editing":true' || skip "built without libedit"
need_terminal
kept=state/noctule/sessions
printf 'one\n' >notes.txt
mkdir folder
: >"wide open.txt"
printf '#!/bin/sh\nprintf "From the editor.\\nTwo lines.\\n" >"$1"\n' >scribe
printf '#!/bin/sh\nsed "s/teh/the/g" "$1" >corrected && cat corrected >"$1"\n' >corrector
chmod +x scribe corrector

open_terminal "EDITOR=$home/scribe VISUAL= $NOCTULE chat -n 4 --session keys"
waits_for ">>>"
# a paste of many lines is one message, and shown by its size
{
    printf '\033[200~'
    seq -f 'line %g' 60 | tr '\n' '\r'
    printf '\033[201~'
} >&3
waits_for "[pasted 60 lines, "
types ' Which is the last?\r'
waits_for " out "
waits_for ">>>"
# a paste of one line is text
types '\033[200~pasted words\033[201~ and typed\r'
waits_for "pasted words and typed"
waits_for " out "
waits_for ">>>"
# pasted paths are no command
types '\033[200~/one/path\r/another\033[201~\r'
waits_for " out "
waits_for ">>>"
# Ctrl-J is another line of the same message
types 'first\nsecond\r'
waits_for " out "
waits_for ">>>"
# Tab: commands, keys, paths, sessions
types '/hel\tund\t\r'
waits_for "drop the last turn"
waits_for ">>>"
types '/se\t'
waits_for "/sessions  /set"
types 't top-\t\t'
waits_for "top-k  top-p"
types 'k 3\r'
waits_for "top-k is 3"
waits_for ">>>"
types '/file not\t'
waits_for "es.txt"
types '\003'
waits_for ">>>"
types '/file fol\t'
waits_for "der/"
types '\003'
waits_for ">>>"
types '/file wid\t' # a space in a name
waits_for 'e\ open.txt'
types '\003'
waits_for ">>>"
types '/file wide\\ op\t'
waits_for "en.txt"
types '\003'
waits_for ">>>"
types '/load ke\t'
waits_for "ys "
types '\003'
waits_for ">>>"
# history search
types '\022path' # Ctrl-R
waits_for "another"
types '\003'
waits_for ">>>"
# /paste takes lines as they are, /edit and Ctrl-G go to the editor
types '/paste\r'
waits_for "/end on a line of its own"
types '/not a command\r'
types '"""\r'
types '/end\r'
waits_for " out "
waits_for ">>>"
types '/edit\r'
waits_for "From the editor."
waits_for " out "
waits_for ">>>"
types '/bye\r'
waits_for "resume:"
close_terminal
exits 0
said=$kept/keys/transcript.jsonl
holds "the paste is one message, whole" sh -c "grep -q 'line 1.nline 2.*line 59.nline 60.n Which is the last' $said"
holds "a paste of paths is text" grep -q '"text":"/one/path\\n/another"' $said
holds "Ctrl-J makes lines" grep -q '"text":"first\\nsecond"' $said
holds "/paste keeps everything" grep -q '"text":"/not a command\\n\\"\\"\\""' $said
holds "/edit sends what was written" grep -q '"text":"From the editor.\\nTwo lines."' $said

open_terminal "VISUAL=$home/corrector $NOCTULE chat -n 4 --session corrected"
waits_for ">>>"
types 'teh bat\007' # Ctrl-G
waits_for "the bat"
waits_for " out "
waits_for ">>>"
types '/copy\r'
waits_for "to the clipboard"
types '\004'
close_terminal
exits 0
holds "Ctrl-G sends what the editor made of the line" grep -q '"text":"the bat"' $kept/corrected/transcript.jsonl
holds "/copy speaks to the terminal" sh -c 'grep -q "$(printf "\\033")\]52;c;" screen'

# ---- /compact asks at a terminal; Ctrl-C while /file reads backs out
open_terminal "$NOCTULE chat -n 8 --session asked"
waits_for ">>>"
types 'Hello there\r'
waits_for " out "
waits_for ">>>"
types '/compact names\r'
waits_for "[y/N]"
types 'n\r'
waits_for "nothing was changed"
waits_for ">>>"
types '/compact\r'
waits_for "[y/N]"
types 'y\r'
waits_for "1 turn is replaced"
waits_for ">>>"
types '\004'
close_terminal
exits 0
yes "A sentence that is read slowly, word for word." | head -c 2500 >long.txt
open_terminal "$NOCTULE chat --no-history -X exact=1 -X prefill.chunk=8 --isa ref -t 1 --cache off"
waits_for ">>>"
types '/file long.txt\r'
waits_for "Ctrl-C cancels"
types '\003'
waits_for "cancelled: "
waits_for ">>>"
types '/context\r'
waits_for " of cache"
types '\004'
close_terminal
exits 0
holds "the file was not taken" sh -c 'tr -d "\r" <screen | grep -Eq "^  files +0 "'
holds "every progress line has its name" sh -c '! grep -q "(null)" screen'
finish
