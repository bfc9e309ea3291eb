# Tool calls and thinking, with a model of MiniCPM4's kind and a tiny one of MiniCPM5's.
. "$(dirname "$0")/lib.sh"
find_model
bytes=${NCT_TINY_MODEL%/*}/bytes
[ -e "$bytes/config.json" ] || skip "no tiny model of MiniCPM5's kind"

cat >tools.json <<'END'
[{"type":"function","function":{"name":"weather","description":"Tells the weather.","parameters":{"type":"object",
"properties":{"city":{"type":"string"},"days":{"type":"integer","default":1}},"required":["city"]}}}]
END

# ---- MiniCPM4's form: Python between markers
call='<|tool_call_start|>
```python
weather(city="Rome", days=2)
```
<|tool_call_end|>'
export NOCTULE_MODEL="$model"
run run -n 1 --greedy --json --tools @tools.json --assistant "$call" x </dev/null
exits 0; silent
prints '"tool_calls":[{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\"city\": \"Rome\", \"days\": 2}"}}]'
holds "the call is no text" sh -c '! grep -q "\"text\":\"[^\"]*tool_call_start" out'
run run -n 1 --greedy --json --assistant "$call" x </dev/null
holds "without definitions nothing is a call" sh -c '! grep -q "tool_calls" out'
prints 'tool_call_start'
run run -n 1 --greedy --json --tools @tools.json --assistant '<|tool_call_start|>weather(city=<|tool_call_end|>' x </dev/null
exits 0; prints '<|tool_call_start|>weather(city=<|tool_call_end|>'
holds "what is malformed is no call" sh -c '! grep -q "\"tool_calls\"" out'
run run -n 1 --greedy --json --tools @tools.json --assistant "<|thought_start|>
I must look.
<|thought_end|>
$call" x </dev/null
prints '"thinking":"I must look."'; prints '"tool_calls":[{'
run run -n 1 --greedy --json --assistant '<|thought_start|>plan<|thought_end|>x' x </dev/null
prints '"thinking":null'
run run -n 1 --greedy --tools @tools.json --assistant "$call" x </dev/null
prints 'weather(city="Rome", days=2)'
run tokenize --chat --tools @tools.json "What is it like in Rome?" </dev/null
prints 'def weather(city, days=1):'
run run -n 1 --tools '[{"type":"function","function":{}}]' x </dev/null
exits 2; says "no name"
run run -n 1 --tools @absent.json x </dev/null
exits 1; says "absent.json"
run run -n 1 --tools '{"no":"list"}' x </dev/null
exits 2; says "array"
run run -n 1 -m "$plain" --tools @tools.json x </dev/null
exits 2; says "chat template"

# ---- MiniCPM5's form: elements. A token whose text is a whole call makes the model say one.
export NOCTULE_MODEL="$home/five"
cp -r "$bytes" five
id=689
sed -i 's#"content":"/no_think"#"content":"<function name=\\"weather\\"><param name=\\"city\\">7</param><param name=\\"days\\">7</param></function>"#' five/tokenizer.json
expected='"tool_calls":[{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\"city\": \"7\", \"days\": 7}"}}]'
run tokenize -q --chat --tools @tools.json hi </dev/null
prints '<tools>'; prints '{"type": "function", "function": {"name": "weather"'
run run -q -n 1 --json --tools @tools.json --logit-bias $id=1000 hi </dev/null
exits 0; prints "$expected"; prints '"text":""'
# the markup of calls is shown although it is made of special tokens
run run -q --json --raw -n 1 --logit-bias 4=1000 x </dev/null
prints '"text":"<function"'
# the same from a bundle
run convert -q five -o five.nct
exits 0
run run -q -m five.nct -n 1 --json --tools @tools.json --logit-bias $id=1000 hi </dev/null
exits 0; prints "$expected"
printf 'hi\n/tool 21 degrees\n/undo\n/tool x\n' >turns.txt
run chat -v --script --tools @tools.json --logit-bias $id=1000 -n 1 <turns.txt
exits 0; says 'tool call: weather {"city": "7", "days": 7}'; says "1 turn dropped, 0 left"; says "no tool call waits"
holds "the result was answered" test "$(grep -c 'tool call: weather' err)" -eq 2
printf 'hi\n/tool\n/tool @absent.txt\n' >turns.txt
run chat -q --script --tools @tools.json --logit-bias $id=1000 -n 1 <turns.txt
says "/tool takes the result"; says "absent.txt"

# ---- thinking and its budget
run run -q --json --greedy --think on --think-budget 5 -n 40 --logit-bias 40=1000 hi </dev/null
exits 0; prints '"thinking":5}'; prints '"thinking":"     "'; prints '"completion":40'
grep -o '"token_ids".*' out >ids
run run -q --json --greedy --think on --think-budget 5 -n 40 --logit-bias 40=1000 --spec 6 --drafter ngram hi </dev/null
grep -o '"token_ids".*' out >guessed
same ids guessed "guesses change nothing"
run run -q --json --greedy --think on --think-budget 5 -n 40 --logit-bias 40=1000 -t 1 hi </dev/null
grep -o '"token_ids".*' out >threads
same ids threads "nor do threads"
run run -q --json --greedy --think on --think-budget 0 -n 10 --logit-bias 40=1000 hi </dev/null
prints '"thinking":0}'; prints '"thinking":""'; prints '"completion":10'
run run -q --json --greedy --think on --think-budget 5 -n 6 --logit-bias 40=1000 hi </dev/null
prints '"finish_reason":"length"'; prints '"thinking":5}'; prints '"text":""'
run run -q --json --greedy --no-think --think-budget 5 -n 10 --logit-bias 40=1000 hi </dev/null
prints '"thinking":null'; prints '"thinking":0}'
# the same in a batch, where what closes the block is given to a sequence beside others
ids_of() { sed 's/.*"text":\("[^"]*"\),"thinking":\("[^"]*"\).*"completion":\([0-9]*\).*/\1 \2 \3/' "$1"; }
for budget in 0 1 5 33; do
    run run -q --json --greedy --think on --think-budget $budget -n 40 --logit-bias 40=1000 hi </dev/null
    ids_of out >one
    printf 'hi\nhello there, you\nhi\n' | "$NOCTULE" batch -q --lines --greedy --think on --think-budget $budget -n 40 --logit-bias 40=1000 --logprobs 1 --ordered >many 2>err
    ids_of many | sed -n 3p >third
    same one third "thinking in a batch ends after $budget tokens as alone"
    holds "every token has its place among the logarithms" test "$(sed -n 3p many | grep -o '"logprob":' | wc -l)" -ge 40
done
printf 'hi\n' | "$NOCTULE" batch -q --lines --think on --think-budget 0 -n 1 >out 2>err
code=$?
exits 0; prints '"finish_reason":"length"'; prints '"completion":0'
run run -q --greedy --think on --think-budget 5 -n 12 --logit-bias 58=1000 hi </dev/null
exits 0; silent
holds "thinking does not go to a pipe" test "$(tr -d '\n' <out | wc -c)" -eq 4
run run -q --greedy --think on --think-budget 5 --show-thinking -n 12 --logit-bias 58=1000 hi </dev/null
says "22222"
# in the model of MiniCPM4's kind the tags are several tokens each
run run -m "$model" --json --greedy --ignore-eos --think-budget 3 -n 40 --assistant '<think>' x </dev/null
exits 0; prints '"thinking":3}'
holds "the block is closed as text" sh -c 'grep -q "\"thinking\":\"[^\"]" out && grep -q "\"text\":\"[^\"]" out'
run run --think-budget -1 x </dev/null
exits 2
run run -m "$model" --think on -n 1 x </dev/null
exits 0; says "no switch for thinking"
printf '/think\n/think 3\n/think\n/think off\n/think maybe\n/thinking\n/thinking on\n/thinking no\n' >turns.txt
run chat -q --script <turns.txt
exits 0; says "thinking is auto"; says "ends after 3 tokens"; says "thinking is off"; says "not 'maybe'"
says "counted, not shown"; says "thinking is shown"; says "not 'no'"

need_terminal
# ---- at a terminal: a line that counts, or all of it
on_terminal "$NOCTULE run -q --greedy --think on --think-budget 30 -n 40 --logit-bias 58=1000 hi"
exits 0; prints "thinking 30 tokens"
holds "thinking is not shown" sh -c '! grep -q 22222222222222222222 out'
open_terminal "$NOCTULE chat -q --think on --think-budget 30 -n 40 --greedy --logit-bias 58=1000"
waits_for ">>>"
types 'hi\r'
waits_for "thinking 30 tokens"
waits_for "2222222"
waits_for ">>>"
types 'hi\r\024'
waits_for "222222222222222222222222222222"
waits_for ">>>"
types '/thinking off\r'
waits_for "counted"
waits_for ">>>"
types 'hi\r'
waits_for "thinking 30 tokens"
waits_for ">>>"
types '/bye\r'
close_terminal
exits 0
finish
