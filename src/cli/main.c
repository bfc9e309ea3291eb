/* The table of commands, and the only main(). Exit codes: cli.h. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/processors.h"
#include "cli/settings.h"

static int group_main(nct_cli *cli);

static const nct_command commands[] = {
    {"chat", NCT_CMD_CHAT, "[FILE...]", "a conversation at the terminal; files go with the first turn",
     "  noctule chat -m PATH\n"
     "  noctule chat report.txt\n"
     "  noctule chat --script < turns.txt\n"
     "\n"
     "/help in the chat lists its commands.\n",
     nct_chat_main},
    {"run", NCT_CMD_RUN, "[PROMPT...]", "one answer to stdout; stdin and files are content",
     "  noctule run \"Once upon a time\"\n"
     "  cat notes.txt | noctule run \"Summarise in three sentences.\"\n"
     "  noctule run -f a.c -f b.c -p \"What is the difference?\" -o difference.txt\n"
     "  noctule run -f report.txt -p \"What was decided?\" --sources    (and which lines were looked at)\n"
     "\n"
     "How stdin is read, and what is refused: noctule help pipes. A checkpoint without a chat template is\n"
     "continued as plain text.\n",
     nct_run_main},
    {"sum", NCT_CMD_SUM, "[FILE...|-]", "summarises texts of any length",
     "A text that fits the context is summarised in one go. A longer one is cut where its structure allows, before\n"
     "headings, between paragraphs, between sentences, blocks of code and tables whole; the parts are summarised,\n"
     "-np of them at once, and then their summaries, eight in one. How many at once changes no text. What was answered\n"
     "is kept in $XDG_CACHE_HOME/noctule/sum (removed by noctule cache rm --all; --cache off keeps none): a command\n"
     "that was stopped goes on from there when it is given again. Without --seed the seed follows from the text.\n"
     "\n"
     "-o may hold {dir}, {stem}, {name} and {ext} of the input. --json adds parts[]: byte ranges and their summaries.\n"
     "\n"
     "  noctule sum report.txt --style bullets --length 150w\n"
     "  pdftotext -layout paper.pdf - | noctule sum --focus \"methods and limits\" --lang zh\n"
     "  noctule sum --plan war-and-peace.txt\n"
     "  noctule sum *.txt -o '{dir}/{stem}.sum.md'\n",
     nct_sum_main},
    {"batch", NCT_CMD_BATCH, "[IN.jsonl|FILE...]", "many prompts, several at a time, resumable",
     "Records are JSON lines, {\"id\", \"prompt\"} or {\"id\", \"messages\"} or OpenAI's batch lines, from files that end in\n"
     ".jsonl or from stdin; with --lines every line is a prompt; other files, and those of a list, are documents, and -p\n"
     "is what to do with each. A record may bring text or file (with prompt, or -p, as the instruction), max_tokens,\n"
     "temperature, top_p, top_k, min_p, seed, stop, schema (noctule help constraints); OpenAI's also response_format.\n"
     "\n"
     "Several are decoded together, which changes speed and never a text. A result is a record with id, text,\n"
     "finish_reason and whatever it takes to do it again, or {\"id\", \"error\"}; OpenAI's lines get OpenAI's. Each is on\n"
     "the disk once it is finished: after Ctrl-C, a kill or a power cut the same command with --resume goes on. Failed\n"
     "records do not end a batch; exit 5 says that there were some.\n"
     "\n"
     "  noctule batch prompts.jsonl -o out.jsonl\n"
     "  noctule batch prompts.jsonl -o out.jsonl --resume --retry-failed\n"
     "  noctule batch tickets.jsonl --field body -p \"Which product is this about?\" -n 16 -o products.jsonl\n"
     "  find docs -name '*.md' -print0 | noctule batch --files-from - -0 -p \"Summarise.\" -o '{dir}/{stem}.sum.md' --resume\n"
     "  tail -f questions | noctule batch --lines > answers.jsonl\n"
     "  noctule batch big.jsonl --shard 1/4 -o out.1.jsonl       (one of four machines)\n",
     nct_batch_main},
    {"info", NCT_CMD_INFO, "[MODEL]", "what a checkpoint holds, and the memory it needs",
     "  noctule info\n"
     "  noctule info -v model.gguf    (every tensor)\n"
     "  noctule info --verify 8b.nct  (all checksums of a bundle)\n",
     nct_info_main},
    {"tokenize", NCT_CMD_TOKENIZE, "[TEXT...]", "a text (or stdin) as ids and pieces",
     "  noctule tokenize \"hello world\"\n"
     "  noctule tokenize --count < book.txt\n"
     "  noctule tokenize --chat \"hello\"     (as the template renders it)\n",
     nct_tokenize_main},
    {"detokenize", NCT_CMD_DETOKENIZE, "[ID...]", "ids (or stdin) as text",
     "  noctule detokenize 31986,2809\n"
     "  noctule tokenize --json \"hello\" | jq -c .ids | noctule detokenize\n",
     nct_detokenize_main},
    {"convert", NCT_CMD_CONVERT, "SRC -o FILE.nct",
     "a checkpoint as one bundle that opens at once, rounded if asked to",
     "A bundle holds the matrices as they are computed with, the tokenizer, the template and the defaults. "
     "It "
     "is\n"
     "mapped, so it opens in milliseconds and processes share its memory. The path is printed when it is "
     "done.\n"
     "\n"
     "  noctule convert MiniCPM4-8B-GPTQ -o 8b.nct\n"
     "  noctule convert MiniCPM4-0.5B -o small.nct --quant int4 --calib book.txt\n"
     "  noctule info --verify 8b.nct\n",
     nct_convert_main},
    {"pull", NCT_CMD_PULL, "NAME", "fetches a published model, with curl",
     "Asks the hub for the list of files, tells size and licence, and after a yes fetches what a checkpoint is made\n"
     "of into $XDG_DATA_HOME/noctule/models/NAME. What was interrupted goes on where it ended. Lengths are checked,\n"
     "and the SHA-256 of all large files. The path is printed when it is done. Without a name: the list of names.\n"
     "No other command uses a network.\n"
     "\n"
     "  noctule pull MiniCPM4-0.5B-QAT-Int4-GGUF\n"
     "  m=$(noctule pull --yes MiniCPM4.1-8B-GPTQ) && noctule run -m \"$m\" \"...\"\n"
     "  noctule pull --print MiniCPM4-8B        (the commands, for another machine)\n",
     nct_pull_main},
    {"plan", NCT_CMD_PLAN, "NAME|CONFIG.json|MODEL", "memory and speed of a model on this machine, before it is there",
     "Makes up weights of the model's shape and times them as they will be computed with: all of a small model, one\n"
     "and four layers of a larger one. Takes some seconds, and memory for what is timed. A name is that of a\n"
     "published model; the config.json of any other will do, without its weights. What is told holds for an\n"
     "otherwise idle machine.\n"
     "\n"
     "  noctule plan MiniCPM4-8B\n"
     "  noctule plan MiniCPM4.1-8B -c 128k --head int8\n"
     "  noctule plan config.json --quant bf16 --json\n",
     nct_plan_main},
    {"freq", NCT_CMD_FREQ, "CORPUS... -o FILE", "counts tokens, and ranks them for the head of a draft",
     "Counts the tokens of files, or of stdin where none is named (or - is), with the model's tokenizer, and writes\n"
     "the list that a draft's head is cut to: what an answer must not lack first (special tokens, newlines), then\n"
     "what was seen, the most frequent first. The beginning of a list is a smaller list. How much of the corpus\n"
     "lists of a size cover goes to stdout. A corpus should be like the use: languages, code, answers.\n"
     "\n"
     "A file is text, or one JSON object a line: if it is named .jsonl, begins with {\", or with --field.\n"
     "A FILE.pt is written as torch.save writes a list of ints, FILE.u32 as raw numbers, any other as text.\n"
     "\n"
     "  noctule freq -m MiniCPM4-8B corpus/*.txt -o freq.pt -o freq.txt\n"
     "  zcat pile.jsonl.gz | noctule freq --field text --size 32k -o freq_32768.pt\n"
     "  noctule freq -m MiniCPM4-8B --list freq.pt other.txt      (what the list covers of another text)\n",
     nct_freq_main},
    {"filter", NCT_CMD_FILTER, "--classifier FILE --label L --min-score X [FILE...]",
     "scores documents with a fastText classifier, passes the good ones on",
     "Reads documents from files, or from stdin where none is named (or - is): one a line as text, or as JSON (a\n"
     "file that is named .jsonl or begins with {\", or with --field). Those that are of a label with at least a score\n"
     "go out as they came and in their order. With --score lines of JSON get a member \"score\", and lines of text\n"
     "become {\"text\", \"score\"}.\n"
     "\n"
     "A score is what fastText's predict prints for the label: a probability and 0.00001 more. It is given the\n"
     "document as it is, as one line. --preprocess ultrafineweb does to it first what the authors of Ultra-FineWeb\n"
     "do: small letters, no marks, line feeds collapsed, and words cut by the tokenizer that lies beside their\n"
     "classifiers (--tokenizer, which any other tokenizer.json or .model may be too).\n"
     "\n"
     "  zcat pile.jsonl.gz | noctule filter --classifier quality.bin --label hq --min-score 0.5 > good.jsonl\n"
     "  noctule filter --classifier lid.176.ftz --label zh --score docs.txt | head\n"
     "  noctule filter --classifier ultra_fineweb_en.bin --label pos --min-score 0.5 --preprocess ultrafineweb\\\n"
     "    --tokenizer local_tokenizer/tokenizer.json docs.jsonl > good.jsonl\n",
     nct_filter_main},
    {"bench mem", NCT_CMD_BENCH_MEM, "", "read bandwidth by threads, pages and nodes; peaks of arithmetic",
     "The roofline that the other tables are judged against, and how it hangs on the number of threads and the\n"
     "size of pages. Peaks are those of the instruction set in use, in registers.\n"
     "\n"
     "  noctule bench mem\n"
     "  noctule bench mem -t 1..16*2 --isa avx2 --format csv\n",
     nct_bench_mem_main},
    {"bench threads", NCT_CMD_BENCH_THREADS, "", "speed over numbers of threads; the pair to use",
     "Marks the fewest threads that come within 2 % of the fastest, for prompts (prefill) and for steps (decode),\n"
     "and keeps the pair for this host in $XDG_CACHE_HOME/noctule, unless the machine was unsteady: commands\n"
     "without -t use it. Results are the same for any number of threads.\n"
     "\n"
     "  noctule bench threads -m 8b.nct\n"
     "  noctule bench threads -t 1..16*2 -d 4k\n",
     nct_bench_threads_main},
    {"bench depth", NCT_CMD_BENCH_DEPTH, "", "speed over depth, dense and sparse",
     "A prompt chunk and steps at each depth, attending to everything and to chosen blocks (InfLLM v2; --sparse on\n"
     "unless told otherwise), from one filling of the cache. The last ratios: sparse attention against what dense\n"
     "attention would take at 70 % of the tighter of its limits, arithmetic and reading, beside the rest as it is at\n"
     "depth 0; and the rate against that at depth 0. Choosing is the share of sparse attention's time in which blocks\n"
     "are scored and chosen, and blocks is what attending to those chosen reaches of the tighter of its limits.\n"
     "--made-up fills the cache with random keys and values instead of reading a text.\n"
     "\n"
     "  noctule bench depth -m 8b.nct -d 8k..128k*2\n"
     "  noctule bench depth -m 8b.nct -d 128k --made-up --kv q8\n",
     nct_bench_depth_main},
    {"bench spec", NCT_CMD_BENCH_SPEC, "", "what guessing ahead costs and brings",
     "What it takes to check rows together, passes of the draft (--draft), and answers of several kinds of text, plain and\n"
     "as --spec auto does it, taking turns along the same tokens: tokens a step, rows and passes a step, and the rate.\n"
     "What is learned of costs is kept for this model and host.\n"
     "\n"
     "With --replay the answer is a given text, so that costs can be measured on any weights, random ones too; the prompt\n"
     "is its beginning. Who copies (--drafter ngram) copies what really stands there; a head's guesses mean nothing then,\n"
     "and --accept says what comes true of them, while every pass of the head is paid for.\n"
     "\n"
     "  noctule bench spec -m 8b.nct --draft eagle\n"
     "  noctule bench spec -m 8b.nct --replay answer.txt -p 512 -n 256 --drafter ngram\n"
     "  noctule bench spec -m 8b.nct --draft eagle --replay any.txt -n 256 --accept 0.58,0.59,0.65,0.68,0.73\n"
     "  noctule bench spec -m 8b.nct --draft eagle --replay any.txt -n 256 --accept '0.6:0.15:0.05,0.5:0.1;0.3~0.4'\n",
     nct_bench_spec_main},
    {"bench batch", NCT_CMD_BENCH_BATCH, "", "speed over numbers of sequences decoded together",
     "B sequences with prompts of PP tokens, read one after another, then TG tokens generated for all of them together:\n"
     "the rate of each, and of all. Texts are the same for any B.\n"
     "\n"
     "  noctule bench batch -m 8b.nct\n"
     "  noctule bench batch -m 8b.nct -np 1,4,8,16 -p 512 -n 64\n",
     nct_bench_batch_main},
    {"bench", NCT_CMD_BENCH, "", "speed, beside what this machine can do at best",
     "pp N: processing a prompt of N tokens; tg N: generating N, one by one; @ dN: with N tokens held before; + spec: guessed\n"
     "ahead, as run does it, what the model itself goes on with (at no depth behind 64 tokens of the text). Rates are medians,\n"
     "spread is the median distance from them. The roof is measured in the same run:\n"
     "  pp          multiplying with every weight of the layers; attention is not counted\n"
     "  pp @ d      the same, and attention over what is held, at the bf16 peak where that is higher, else f32\n"
     "  tg          reading every weight and the cache, or multiplying with the cache where that takes longer\n"
     "  pp + tg, + spec, several together, and rows that attend to chosen blocks have no roof\n"
     "Memory limits no model that fits the processor's caches, so a small one may pass its roof.\n"
     "A line below the table says so if read bandwidth changed by more than 5 % meanwhile.\n"
     "\n"
     "-t, --kv, --sparse, --spec and -np take lists: a block of rows for each combination, and a column for what varies; CSV\n"
     "and JSON have all columns. With --sparse on,off rows that choose blocks say what attending to everything gave. Prompts\n"
     "are read one after another, so that -np is about tg alone: t/s are those of all, ms_tok what each of them waits for a\n"
     "token, and nothing is guessed. tok/step (accept) and nodes are tokens that a step of guessing gave and checked, the\n"
     "certain one included. The page of text is repeated to the depth asked for, which makes guessing easy there: give\n"
     "--corpus with --spec on and -d.\n"
     "\n"
     "--baseline compares a row with that of the same test, sequences, threads, cache type and attention; without lists it\n"
     "takes the only one of the test, and says in what they differ.\n"
     "\n"
     "  noctule bench\n"
     "  noctule bench -p 512,2k -n 64 -d 0,4k..16k*2 -o speed.csv\n"
     "  noctule bench -p 0 -t 1,8,16 --kv f16,q8 -np 1,4\n"
     "  noctule bench -d 64k --sparse on,off --spec off\n"
     "  noctule bench --draft DIR -p 0 --spec on,off --corpus book.txt\n"
     "  noctule bench -o base.json              (and later: is it still as fast?)\n"
     "  noctule bench --baseline base.json --tol 5%\n",
     nct_bench_main},
    {"doctor", NCT_CMD_DOCTOR, "", "this machine: processor, instruction sets, memory, and how fast they are",
     "Reads and measures for a second or two. Changes nothing but the numbers of threads that are kept for this\n"
     "host in $XDG_CACHE_HOME/noctule, and those not where bench threads has measured them.\n"
     "\n"
     "  noctule doctor\n"
     "  noctule doctor -m 8b.nct      (and what the roof allows for a bundle)\n",
     nct_doctor_main},
    {"eval ppl", NCT_CMD_EVAL_PPL, "FILE", "perplexity of a text",
     "The text is cut into windows of -c tokens, each behind the begin-of-text token and with an empty "
     "cache.\n"
     "\n"
     "With several values of --sparse or --kv there is a row for each, or for each pair, and what it differs by from\n"
     "the first. Its nats are a token's, on average: all rows read the same tokens, so that this is known more\n"
     "closely than the perplexities are.\n"
     "\n"
     "  noctule eval ppl book.txt -c 256 --tokens 2048\n"
     "  noctule eval ppl book.txt -c 32k --sparse off,on --kv f16,q8\n",
     nct_eval_ppl_main},
    {"eval logits", NCT_CMD_EVAL_LOGITS, "", "logits of given ids, for comparing implementations",
     "Prints positions, argmax and the five largest logits of each row as JSON: all rows, or those from\n"
     "N - 1 on with --prefill N.\n"
     "\n"
     "  noctule eval logits --ids 1,17,42 -X exact=1 --logits out.f32\n",
     nct_eval_logits_main},
    {"eval drift", NCT_CMD_EVAL_DRIFT, "[MODEL]", "distance from the logits that a bundle keeps",
     "A bundle holds logits of a fixed prompt, computed in exact mode when it was made: of the model in it, and of\n"
     "the one it was made from. This computes them again, as a run would, with the instruction set in use, and\n"
     "exits 7 if the model is too far from itself: a wrong conversion, kernel or processor.\n"
     "\n"
     "  noctule eval drift 8b.nct\n"
     "  noctule eval drift 8b.nct -X exact=1 --isa avx2\n",
     nct_eval_drift_main},
    {"eval lines", NCT_CMD_EVAL_LINES, "FILE.jsonl...", "line retrieval: LongEval's files of prompts",
     "Each prompt holds hundreds of numbered lines and asks for one; the last number of the answer counts.\n"
     "With -o, finished answers are kept, and the same command goes on from there.\n"
     "\n"
     "  noctule eval lines 200_lines.jsonl 680_lines.jsonl -o lines.jsonl --limit 10\n",
     nct_eval_lines_main},
    {"eval needle", NCT_CMD_EVAL_NEEDLE, "", "numbers hidden in long texts, by length and depth",
     "Every cell is asked with several seeds. Prompts of a length go from the deepest needle up, so that\n"
     "what lies before the needle is read once. With -o, finished answers are kept, and the same command\n"
     "goes on from there; they lie beside the file until all is done, or in the .jsonl if one is named.\n"
     "\n"
     "  noctule eval needle -L 4k..128k*2 -o needle.svg --min 95\n"
     "  noctule eval needle -L 32k -D 0,50,100 --sparse on,off --haystack book.txt -o cells.csv\n"
     "  noctule eval needle -L 8k --lang zh\n",
     nct_eval_needle_main},
    {"eval selfcheck", NCT_CMD_EVAL_SELFCHECK, "", "the same greedy text by every way: threads, guesses, chunks, batch, cache",
     "Answers one prompt greedily in ways that must not matter and compares the tokens: with one thread and with all,\n"
     "with guesses, in other chunks, with the cache kept in files and taken from there. Exits 7 if a text differs.\n"
     "Each instruction set is judged against itself.\n"
     "\n"
     "  noctule eval selfcheck -m 8b.nct\n"
     "  noctule eval selfcheck --isa avx2 --kv q8 -n 32\n",
     nct_eval_selfcheck_main},
    {"eval", NCT_CMD_HELP, NULL, NULL, NULL, group_main},
    {"cache stat", NCT_CMD_CACHE_STAT, "", "what is kept of prompts that were read, and what it was good for",
     "run and chat keep keys and values of long prompts (1,024 tokens and two seconds or more) in page files, and\n"
     "prompts that begin alike start from there: at once, and with the same text as without. Pages are named by\n"
     "all tokens up to their end, the model and whatever else decides their bits, and checked before they are\n"
     "used. They lie in $XDG_CACHE_HOME/noctule/kv, readable for nobody else, and can be turned back into text.\n"
     "The least recently used go when they exceed a tenth of the free disk, or 20 GB. --cache off keeps none.\n"
     "With --kv-dir DIR the cache of a session lies in DIR instead of in memory; nothing is removed there. With\n"
     "--kv-dir auto (or NOCTULE_KV_DIR=auto) it lies in the folder above if memory would not suffice, which is\n"
     "else refused.\n",
     nct_cache_stat_main},
    {"cache list", NCT_CMD_CACHE_LIST, "", "the texts that are kept, newest first",
     "A name, tokens, bytes on the disk (shared beginnings are counted with each), and when it was last used.\n",
     nct_cache_list_main},
    {"cache prune", NCT_CMD_CACHE_PRUNE, "", "removes what was used least, down to -X cache.max",
     "  noctule cache prune -X cache.max=5g\n", nct_cache_prune_main},
    {"cache rm", NCT_CMD_CACHE_RM, "[NAME...]", "removes texts as cache list names them, or everything",
     "  noctule cache rm 3fa9c1\n"
     "  noctule cache rm --all\n",
     nct_cache_rm_main},
    {"cache warm", NCT_CMD_CACHE_WARM, "[FILE...]", "reads files now, so that prompts about them start at once",
     "  noctule cache warm -sys @policy.txt handbook.txt\n"
     "  noctule run -sys @policy.txt -f handbook.txt -p \"Who approves travel?\"\n",
     nct_cache_warm_main},
    {"cache", NCT_CMD_HELP, NULL, NULL, NULL, group_main},
    {"session list", NCT_CMD_SESSION, "", "conversations that were saved, the newest first",
     "A chat saves its conversation with every answer, run one that it was given with --session. They lie in\n"
     "$XDG_STATE_HOME/noctule/sessions, a folder each, readable for nobody else: transcript.jsonl holds what was\n"
     "said and its token ids, and is enough to go on from. Keys and values are kept as noctule cache tells.\n"
     "\n"
     "  noctule chat --session leeds\n"
     "  noctule run --session leeds \"List all action items as CSV.\" > actions.csv\n",
     nct_session_list_main},
    {"session show", NCT_CMD_SESSION, "NAME", "what was said in a conversation",
     "  noctule session show leeds\n"
     "  noctule session show leeds --json | jq -r '.turns[-1].text'\n",
     nct_session_show_main},
    {"session export", NCT_CMD_SESSION, "NAME [-o FILE.md|FILE.jsonl]", "a conversation as Markdown or as messages",
     "With --format jsonl, or -o FILE.jsonl, a line {\"role\", \"content\"} a turn.\n"
     "\n"
     "  noctule session export leeds -o leeds.md\n",
     nct_session_export_main},
    {"session rm", NCT_CMD_SESSION, "NAME...", "removes conversations",
     "Their keys and values stay among the pages of noctule cache until those are removed or needed no longer.\n"
     "\n"
     "  noctule session rm leeds\n",
     nct_session_rm_main},
    {"session", NCT_CMD_HELP, NULL, NULL, NULL, group_main},
    {"config", NCT_CMD_CONFIG, "show|get KEY|set KEY VALUE|edit|path", "settings that are kept in a file",
     "Settings are the long names of flags, in JSON with comments, in $XDG_CONFIG_HOME/noctule/config.json:\n"
     "\n"
     "  { \"model\": \"8b.nct\", \"temp\": 0.6, \"cache\": {\"max\": \"20g\"},     // -X cache.max=20g\n"
     "    \"templates\": { \"commit\": \"Write a commit message for:\\n{{input}}\" },\n"
     "    \"profiles\": { \"fast\": {\"think\": \"off\"}, \"quiet\": {\"threads\": 4} } }\n"
     "\n"
     "Flags win over the environment (NOCTULE_TEMP; every flag has one), that over the profile that --profile (or\n"
     "\"profile\") names, that over ./.nct.json, the project's, that over the user's file, that over the model's own\n"
     "settings. A flag that may be repeated is a list; a stronger one replaces it. A project's file is taken if it is\n"
     "the user's own or with --trust-project, and may name no path outside of its folder.\n"
     "\n"
     "  noctule config show --origin\n"
     "  noctule config set temp 0.6         (comments and order stay)\n"
     "  noctule config set profiles.fast.think off\n"
     "  noctule run --profile fast \"...\"\n",
     nct_config_main},
    {"completion", NCT_CMD_COMPLETION, "bash|zsh|fish", "a script that completes commands, flags and their words",
     "  source <(noctule completion bash)                                        (for this shell)\n"
     "  noctule completion bash > ~/.local/share/bash-completion/completions/noctule\n"
     "  noctule completion zsh > ~/.zfunc/_noctule                (where ~/.zfunc is in $fpath)\n"
     "  noctule completion fish > ~/.config/fish/completions/noctule.fish\n"
     "\n"
     "cmake --install puts all three where shells look.\n",
     nct_completion_main},
    {"help", NCT_CMD_HELP, "[COMMAND|TOPIC]", "this list, a command's page, or a topic",
     "  noctule help bench mem\n"
     "  noctule help pipes\n"
     "  noctule help --man run | man -l -\n"
     "  noctule help --json | jq '.flags[].flag'     (all commands, flags and topics)\n",
     nct_help_main},
    {"version", NCT_CMD_VERSION, "", "the version", NULL, nct_version_main},
};

enum { N_COMMANDS = sizeof commands / sizeof *commands };

const nct_command *nct_commands(size_t *n) {
    *n = N_COMMANDS;
    return commands;
}

/* The first word of commands that have two. */
static int group_main(nct_cli *cli) {
    const char *first = cli->command->name;
    char names[256] = "";
    for (size_t i = 0; i < N_COMMANDS; i++) {
        size_t n = strlen(first);
        if (strncmp(commands[i].name, first, n) == 0 && commands[i].name[n] == ' ')
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", *names ? ", " : "",
                     commands[i].name + n + 1);
    }
    if (cli->args.words.n)
        return nct_say_error(cli, NCT_EXIT_USAGE, "%s has no '%s'\nit has: %s", first,
                             cli->args.words.item[0], names);
    return nct_say_error(cli, NCT_EXIT_USAGE, "%s what?\nit has: %s", first, names);
}

static void note_noops(const nct_cli *cli) {
    for (size_t i = 0; i < cli->args.noops.n; i++) {
        const char *flag = cli->args.noops.item[i] + strspn(cli->args.noops.item[i], "-");
        const nct_option *o = nct_option_find(NCT_CMD_ANY, flag);
        nct_say_note(cli, "%s does nothing: %s", cli->args.noops.item[i],
                     o ? o->words : "it is only accepted");
    }
}

/* What tells of the program and mends its configuration works where that is broken. */
static bool takes_settings(const nct_cli *cli) {
    return !cli->command ||
           !(cli->command->bit & (NCT_CMD_HELP | NCT_CMD_VERSION | NCT_CMD_COMPLETION | NCT_CMD_CONFIG));
}

int main(int argc, char **argv) {
    nct_cli cli = {.argv = argv};
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow further is an error of writing, with its line */
    nct_term_init(&cli.term);
    bool asks_version = argc == 2 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0);
    int code = nct_args_parse(&cli, asks_version ? 1 : argc, argv);
    if (code == NCT_EXIT_OK && !asks_version && !cli.args.help && takes_settings(&cli))
        code = nct_settings_apply(&cli);
    if (code == NCT_EXIT_OK && !cli.args.help)
        code = nct_log_open(&cli);
    if (code == NCT_EXIT_OK && !cli.args.help && cli.args.cpus)
        code = nct_use_processors(&cli, cli.args.cpus);
    if (code == NCT_EXIT_OK) {
        nct_term_set_color(&cli.term, cli.args.color);
        if (asks_version)
            code = nct_version_main(&cli);
        else if (cli.args.help)
            code = nct_help_print(&cli, cli.command);
        else {
            note_noops(&cli);
            code = cli.command ? cli.command->main(&cli) : nct_run_main(&cli);
        }
    }
    if (cli.log)
        fclose(cli.log);
    nct_args_close(&cli.args);
    nct_settings_close(&cli);
    return code;
}
