# Keys of the chat's line editor in the spellings of several terminals; what is no key of the editor's types nothing.
. "$(dirname "$0")/lib.sh"
find_model
export NOCTULE_MODEL="$model"
"$NOCTULE" version --json | grep -q '"line_editing":true' || skip "built without libedit"
need_terminal

# A command that there is none of is named as it was typed, so it tells what a key did to the line.
open_terminal "$NOCTULE chat -q --no-history -n 2"
waits_for ">>>"
# makes KEYS OF-THE-LINE: those keys behind "/one-two three", and "X", make that first word of it
makes() {
    types "/one two$1X\\r"
    waits_for "no command $2; try"
    waits_for ">>>"
}
for key in '\033[1;5D' '\033[1;3D' '\033[5D' '\033Od' '\033b'; do # a word back, and its end gone
    makes "$key$key\033[C\033[C\033[3~" '/onX'
done
for key in '\033[H' '\033OH' '\033[1~' '\033[7~' '\033[1;5H' '\001'; do
    makes "$key\033[C\033[C" '/oXne'
done
for key in '\033[F' '\033OF' '\033[4~' '\033[8~' '\005'; do
    makes "\033[H\033[C$key\027\027\033[D\033[C" "/X" # and two words taken away
done
makes '\033[1;5D\033[1;5D\033[1;5C\033[D' '/onXe'
makes '\033[1;5D\033[1;5D\033[3;5~' '/X'
makes '\033[5~\033[6~\033OP\033[15~\033[[A\033[2~\033[Z\033[I\033[O\033[H\033[C' '/Xone' # pages, F1, F5, Insert, focus
# Ctrl-U takes what stands before the cursor
types 'gone\033[D\033[D\025\033[H/abc\r'
waits_for "no command /abcne; try"
waits_for ">>>"
# a newer line than that which is typed is that which is typed
types '/typed\033[BX\r'
waits_for "no command /typedX; try"
waits_for ">>>"
types '/half\033[A\033[A\033[B\033[BX\r'
waits_for "no command /halfX; try"
waits_for ">>>"
types '\033[A\033[AY\r'
waits_for "no command /typedXY; try"
waits_for ">>>"
# many candidates stand in columns
types '/\t'
waits_for "  /bye       /clear     /compact   /context"
types '\003'
waits_for ">>>"
types '\004'
close_terminal
exits 0

# ---- the history holds what was sent, whole, from several chats and although one is killed
open_terminal "sh -c 'echo \$\$ >pid; exec $NOCTULE chat -q -n 2'"
waits_for ">>>"
mkdir other
(
    cd other
    open_terminal "$NOCTULE chat -q -n 2"
    waits_for ">>>"
    types '/set from another\r'
    waits_for "no setting"
    waits_for ">>>"
    types '/bye\r'
    close_terminal
)
types '/set né\t\\ one\nx\r'
waits_for "x"
waits_for ">>>"
types '/set né \\ one\r'
waits_for "no setting"
waits_for ">>>"
kill -KILL "$(cat pid)"
close_terminal
open_terminal "$NOCTULE chat -q"
waits_for ">>>"
types '\020'
waits_for '/set né \ one'
types '\020\020\020'
waits_for "from another"
types '\003\004'
close_terminal

# ---- what is typed while an answer comes is for the next line, and shown there only; Ctrl-Z gives the shell its terminal
cat >rc <<'END'
PS1='shell$ '
bind 'set enable-bracketed-paste off'
END
open_terminal "bash --rcfile rc -i"
waits_for 'shell$ '
types "$NOCTULE chat -q --no-history --ignore-eos -X exact=1 --isa ref -t 1 -n 12\n"
waits_for ">>>"
types 'A story\r'
waits_for "story"
types '/typed-ahead\r'
waits_for ">>> /typed-ahead"
waits_for "no command /typed-ahead"
waits_for "//typed-ahead"
waits_for ">>>"
holds "no key is shown in the answer" test "$(grep -ao typed-ahead screen | wc -l)" -eq 3
types '/set max-tokens 2000\rA story\r'
waits_for "A story"
waits_for_more 20
types '\032' # Ctrl-Z
waits_for 'shell$ '
types 'stty -a | grep -Eo -e " -?(icanon|echo|icrnl)\\>" | tr -d "\\n"; echo .\n'
waits_for " icrnl icanon echo."
waits_for 'shell$ '
types 'fg\n'
waits_for "-n 12" # the shell names what goes on
waits_for_more 20
types '\003'
waits_for "[stopped]"
waits_for ">>>"
types 'half'
waits_for "half" # Ctrl-Z throws away what nobody has read
types '\032'
waits_for 'shell$ '
types 'fg\n'
waits_for ">>> half"
types '\003'
waits_for ">>>"
types '\004'
waits_for 'shell$ '
types 'exit\n'
close_terminal
exits 0
finish
