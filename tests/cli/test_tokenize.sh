# Ids and pieces.
. "$(dirname "$0")/lib.sh"
find_model
export NOCTULE_MODEL="$model"

run tokenize "hello world"
exits 0; silent; prints " tokens, 11 bytes"
piped 'hello world' tokenize
exits 0; cp out from_stdin
run tokenize hello world
same out from_stdin "words are joined by a space"
run tokenize --count "hello world"
n=$(cat out)
holds "a number" test "$n" -gt 0
run tokenize --json "hello world"
exits 0; prints "{\"count\":$n,\"ids\":["; prints '"pieces":["'
run tokenize --json --bos "hello world"
prints "{\"count\":$((n + 1)),\"ids\":["

# ---- round trips, byte for byte, through a pipe
for text in 'hello world' ' two  spaces ' 'line\nline\n' 'gr\303\274n \344\275\240\345\245\275 \360\237\230\200' 'tab\there' 'x<|im_end|>y' ''; do
    printf "$text" >original
    "$NOCTULE" tokenize --json <original >out 2>err
    sed 's/.*"ids":\(\[[^]]*\]\).*/\1/' out >ids
    last="tokenize and detokenize '$text'"
    "$NOCTULE" detokenize <ids >back 2>>err
    code=$?
    exits 0; silent
    same original back "the text should come back"
done
run detokenize --json 5 6
exits 0; prints '{"count":2,"text":"'
run detokenize 1,2
exits 0
run detokenize --skip-special 1,2
exits 0; prints_nothing
run detokenize x
exits 2; says "no token id"
run detokenize 99999999
exits 0

# ---- markers
run tokenize --count '<|im_end|>'
text=$(cat out)
run tokenize --count --parse-special '<|im_end|>'
holds "a marker is fewer tokens than its text" test "$(cat out)" -lt "$text"

# ---- the template
run tokenize --chat hi
exits 0; prints '<|im_start|>user'; prints '<|im_start|>assistant'
run tokenize --chat --system "be brief" hi
prints '<|im_start|>system'
run tokenize --chat --json hi
prints '"text":"<|im_start|>user\nhi<|im_end|>'
run tokenize --system s hi
exits 2; says "--chat"
run tokenize -m "$plain" --chat hi
exits 2; says "no chat template"
run tokenize -o ids.txt hi
exits 0; prints_nothing
holds "the file is there" test -s ids.txt

finish
