/* Help: made from the tables of commands and options, and a few topics. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/reference.h"

/* ------------------------------------------------------------------ topics */

static const nct_topic topics[] = {
    {"exit-codes", "what a script may rely on",
     "  0    success\n"
     "  1    run-time failure: reading, writing, memory\n"
     "  2    usage: flags, no prompt, not a terminal\n"
     "  3    model: missing, damaged, of a kind this build cannot read\n"
     "  4    the input does not fit the context\n"
     "  5    batch ended, or was ended by --fail-fast or --max-errors, with records that failed\n"
     "  6    --fail-on-length, and the answer was cut; a constraint that cannot be completed within -n, "
     "which is\n"
     "       found before anything is computed\n"
     "  7    a check failed: bench --baseline, eval drift, eval selfcheck, eval --min, info --verify\n"
     "  130  interrupted (Ctrl-C); what there was is printed\n"
     "  141  the reader of stdout went away (| head)\n"
     "  143  terminated\n"},
    {"pipes", "what stdin is, and what goes where",
     "stdout holds the answer and nothing else; everything else goes to stderr, and where stderr is no\n"
     "terminal only warnings and errors do.\n"
     "\n"
     "What stdin is to `noctule run`:\n"
     "  a prompt, stdin a pipe or file      content; the prompt is the instruction\n"
     "  a prompt and -f FILE                not touched, unless -f - names it; so a loop that reads a\n"
     "                                      list of files may call noctule for each\n"
     "  -f FILE, no prompt                  the instruction\n"
     "  neither                             the whole prompt; on a terminal a chat begins\n"
     "  a prompt, stdin closed or /dev/null nothing\n"
     "  an empty pipe                       exit 2, unless --allow-empty\n"
     "\n"
     "The message is: files (two or more under headers === path ===), stdin, then the instruction.\n"
     "An empty line stands between them; --order prompt-first turns it round.\n"
     "\n"
     "Input is UTF-8. A byte-order mark is dropped, UTF-16 with one is converted, other bytes are kept\n"
     "and counted in a warning. A NUL or a compressed file is refused.\n"
     "\n"
     "  git diff --staged | noctule run \"Write a commit message: one line, then bullets.\"\n"
     "  noctule run -f a.txt -f b.txt -p \"What has changed?\" -o changes.txt\n"
     "  while read -r f; do noctule run -f \"$f\" -p \"Summarise.\"; done < list\n"
     "  noctule run --json \"...\" | jq -r .text\n"},
    {"formats", "checkpoints that can be read, and the form of results",
     "Checkpoints (-m):\n"
     "  a Hugging Face directory    config.json, tokenizer files, one or more *.safetensors in F32, F16,\n"
     "                              BF16; INT4 as GPTQ, Marlin or AWQ\n"
     "  a bundle, *.nct             what noctule convert makes of one of the others\n"
     "  a GGUF file, version 2, 3   F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q4_K Q5_K Q6_K\n"
     "Floats that turn out to be ternary, as BitCPM4's are, are held in 2 bits a weight, exactly.\n"
     "Architectures: MiniCPM (MiniCPM3/4/4.1 with this graph, BitCPM4), and Llama of that family "
     "(MiniCPM5).\n"
     "Tokenizers: tokenizer.json or tokenizer.model of MiniCPM4's kind, tokenizer.json of MiniCPM5's "
     "(byte-level\n"
     "BPE), or what a bundle or GGUF holds of them.\n"
     "A name instead of a path is looked up in $XDG_DATA_HOME/noctule/models and beside the program.\n"
     "\n"
     "Frequency lists, for the head of a draft (noctule freq): ids, the most frequent first, as\n"
     "  torch.save's file (.pt)     a list of ints or an int tensor; nothing else in a pickle is known or "
     "called\n"
     "  text                        numbers between white space or commas, or a JSON array\n"
     "  raw numbers                 little-endian uint32\n"
     "Classifiers (noctule filter): fastText's .bin and .ftz of supervised models.\n"
     "\n"
     "run --json is one object on one line:\n"
     "  id, text, thinking, finish_reason (stop, length, timeout, interrupted, tool_calls), truncated,\n"
     "  with --tools, where the model called some, tool_calls [{id, type, function {name, arguments}}]:\n"
     "  arguments are the text of a JSON object, and what is not well-formed stays in text,\n"
     "  model {name, quant, sha256 (of the checksums of a bundle; null of other files), isa}, version,\n"
     "  usage {prompt, dropped, cached, completion, thinking},\n"
     "  timings {load_ms, ttft_ms, prefill_tps, decode_tps}, rope (native, long),\n"
     "  cache {bytes, mapped_bytes, resident_bytes, dirty_bytes, written_bytes}: all of it, in files, in "
     "memory,\n"
     "  in files and not on the disk yet, kept for others,\n"
     "  memory {anonymous_bytes, mapped_bytes} of the process: its own, and of files (weights, cache),\n"
     "  spec {on, tree, steps, guessed, mean_accept, gain, weight_bytes, cache_bytes}: rows of a step and "
     "tokens it\n"
     "  gave, on average; gain is the time plain decoding would have taken over the time it took, null where "
     "--spec is\n"
     "  not auto; the last two of who guesses,\n"
     "  sparse {active, dense_len}, with --sources also sources [{file, lines [first, last], share}],\n"
     "  sampling {seed, temp, ...}, token_ids\n"
     "  with --logprobs N logprobs [{id, text, logprob, top [{id, text, logprob}]}], with --samples sample\n"
     "run --format events is a line a happening, its name under \"event\": start, prefill {done, total},\n"
     "  thinking {text}, delta {text}, done {as above}, error {exit, message}.\n"
     "sum --json: file, text, strategy, tokens, model, version, usage {prompt, dropped, cached, completion, asked, "
     "kept},\n"
     "  sampling,\n"
     "  parallel {sequences, steps}: the most answers that were written together, and steps of all that were,\n"
     "  parts [{begin, end, tokens, text}]: bytes of the input, and the summary of each; with --sources also\n"
     "  covers [{file, lines}], the lines that a part is, and sources, as of run; then sources of all parts.\n"
     "Keys are only ever added.\n"
     "\n"
     "Errors with --error-format json: {\"error\":{\"code\",\"exit\",\"message\",\"detail\",\"try\"}}\n"},
    {"constraints", "--choice, --json-mode, --schema, --grammar",
     "Tokens that would lead astray are masked, so that an answer which ends is one that was asked for, "
     "greedy or\n"
     "sampled, with guessing ahead or without. Near -n only what can still be completed is left, the "
     "shortest last.\n"
     "What cannot be completed within -n at all is exit 6 before anything is computed; what is malformed, or "
     "fits\n"
     "nothing, is exit 2. Only a timeout or a signal leaves an answer unfinished. Thinking comes first and "
     "is free.\n"
     "--assistant TEXT is part of the answer. One constraint at a time, and no --stop or --ignore-eos with "
     "it.\n"
     "\n"
     "--choice A,B,C        one of the texts between commas, without the space around them; \\, is a comma\n"
     "--json-mode           one JSON object\n"
     "--schema JSON|@FILE   JSON Schema:\n"
     "  type (also a list), enum, const, anyOf, $ref into the schema itself (also recursive), allOf of one,\n"
     "  properties, required, additionalProperties, items, prefixItems, minItems, maxItems, minLength, "
     "maxLength,\n"
     "  format: date, time, date-time, uuid, ipv4, email; of integers minimum, maximum, exclusiveMinimum,\n"
     "  exclusiveMaximum (then with up to 15 digits)\n"
     "  Properties come in the schema's order and no others do, unless there are none: then any. Numbers "
     "have up\n"
     "  to 16 digits before and behind the point. A keyword that restricts and is not named here is refused\n"
     "  (pattern, multipleOf, oneOf, not ...); title, description, default and examples are passed over.\n"
     "--grammar FILE        GBNF, the rule root: \"text\" [a-z] [^\\n] . name ( ) | * + ? {2} {1,} {0,9} # "
     "comment,\n"
     "  escapes \\n \\r \\t \\\\ \\\" \\[ \\] \\x41 \\u00E9 \\U0001F600. No rule may begin with itself (left "
     "recursion).\n"
     "\n"
     "  noctule run --choice bug,feature,question -n 4 -f ticket.txt \"Which kind is this?\"\n"
     "  noctule run --schema "
     "'{\"type\":\"object\",\"properties\":{\"title\":{\"type\":\"string\"}},\"required\":[\"title\"]}' ...\n"
     "  noctule run --schema @incident.json -n 400 -f app.log \"Report.\" | jq .title\n"},
    {"jsonl", "records of noctule batch, what goes in and what comes out",
     "In, an object a line:\n"
     "  {\"id\", \"prompt\"}                        the id is a text or a number; without one, the input's "
     "digest\n"
     "  {\"id\", \"messages\": [{\"role\", \"content\"}]}   roles system, user, assistant, tool\n"
     "  {\"id\", \"text\" or \"file\", \"prompt\"}      a document and what to do with it; without prompt, "
     "-p\n"
     "  and for itself max_tokens, temperature, top_p, top_k, min_p, presence_penalty, frequency_penalty, "
     "seed, stop,\n"
     "  schema. Other keys are passed over, or with --keep come back under meta.\n"
     "  {\"custom_id\", \"method\", \"url\", \"body\"}   OpenAI's batch lines, also with response_format, "
     "logprobs and\n"
     "                                          top_logprobs\n"
     "An id that was there before becomes ID#2. -T puts a template around prompts and texts; its {{file}} is "
     "the file,\n"
     "or the id of a record that names none.\n"
     "\n"
     "Out, an object a line: id, text, thinking, finish_reason, truncated, model, version, usage, timings, rope, "
     "spec,\n"
     "  sparse and sampling as of run --json (noctule help formats), and index (of the record, from 0),\n"
     "  input_sha, params_sha (of everything that changes texts, not of threads or -np), attempts, with "
     "--samples N\n"
     "  sample (each of them is a record of its own, of the same id), with --logprobs logprobs, with --sources "
     "sources\n"
     "  [{file, lines, share}], whose file is a path, file, text, the prompt or messages[N]; or\n"
     "  {id, error {code, message, tokens}, index, ...} with code invalid_record, unreadable, unsupported,\n"
     "  context_overflow, constraint_length, length (--fail-on-length), timeout, memory, sampling, "
     "output_taken,\n"
     "  failure.\n"
     "Of a record beside others: prefill_tps and decode_tps are its own, from the first step that read or wrote for it "
     "to\n"
     "the last; usage.cached is what was copied or taken from files; spec counts its own steps, and its gain is "
     "null.\n"
     "OpenAI's lines get OpenAI's responses, with all but the answer under noctule; --format jsonl writes ours for "
     "them too.\n"
     "--resume skips records whose id, input_sha and params_sha are in the output.\n"
     "\n"
     "Beginnings of 64 tokens and more that prompts have in common are computed once: of the next 32 records "
     "those go\n"
     "first that have most in common with what is held (--share off: one after another, and nothing is "
     "shared). What\n"
     "several have in common, and took two seconds and 1,024 tokens, is kept in files for later (noctule "
     "cache; --cache\n"
     "off, ro); with --kv-dir DIR it is kept there, whatever it took.\n"
     "A record whose cache memory (or --mem) would not suffice for fails (code memory), unless --kv-dir DIR or auto "
     "says\n"
     "that such caches may lie in files, which vanish when the record is done.\n"},
    {"sparse", "long documents with InfLLM v2's block-sparse attention",
     "A row with more than dense_len tokens before it looks at the first blocks of the text, the nearest "
     "ones and those\n"
     "whose compressed keys fit best, chosen for each row and key-value head. What a row computes depends on "
     "the\n"
     "tokens before it alone, so chunks, threads and caches change nothing.\n"
     "  --sparse auto     in models that were trained for it: their config has a sparse_config, or they are "
     "MiniCPM4-8B\n"
     "                    or 4.1-8B, whose published values are built in (noctule info tells)\n"
     "  --sparse on|off   always, which warns where a model was not trained for it; never\n"
     "  -X sparse.variant=r2|r1, sparse.decide=row|prompt; sparse.topk, .block, .window, .dense_len =N instead of the model's\n"
     "\n"
     "  noctule run -f report.txt -p \"What was decided?\" --sources      (lines that were chosen most)\n"
     "  noctule bench depth -m 8b.nct -d 4k..32k*2\n"},
    {"spec", "guessing ahead: drafts, trees and what they cost",
     "Several guessed tokens are checked with the next one in a pass over the weights, and what holds is "
     "kept. The text\n"
     "is that of plain decoding, greedy or sampled with the same seed.\n"
     "  --spec auto       as many rows as pay by what guesses were worth and what passes took, on an account of at most\n"
     "                    1 % of an answer's time, and a token's and a half to begin with; N: always up to N rows; off\n"
     "  --drafter ngram   copies what followed when the last words stood in the text before\n"
     "  --draft DIR       an EAGLE or EAGLE-3 head made for the model, or a small model with its vocabulary\n"
     "  --freq FILE       the head scores these tokens alone (noctule freq counts them); --prompt-rows adds the prompt's\n"
     "  -X spec.KEY=VALUE weights=int8|stored|int4 (what a head of plain numbers is rounded to), rows=N (the first N of\n"
     "                    the list), window=N (positions it looks back), residual_scale=X and logit_scale=X (of an EAGLE\n"
     "                    head, unless as trained), width=N (guesses after a token, with --spec N)\n"
     "\n"
     "  noctule run --draft models/drafts/pipistrelle-8m-eagle --stats \"It was a dark night and\"\n"
     "  noctule bench spec -m 8b.nct --draft eagle\n"},
    {"numa", "where weights lie: memory nodes and huge pages",
     "--numa, on machines with several memory nodes (noctule doctor counts them). Answers are the same "
     "bits.\n"
     "  auto      one node, if it has a processor for every thread and room for the model; else shard\n"
     "  off       threads and memory go where the system puts them\n"
     "  node=N    threads stay on node N; what they need comes from its memory while it has any. What the\n"
     "            page cache holds of a bundle stays where it is: -X hugepages=on copies it\n"
     "  shard     every matrix is cut over the nodes in proportion to their threads, and each part is "
     "copied\n"
     "            to its node's memory; threads stay on their nodes and read their own parts first\n"
     "On one node nothing is done. A build without libnuma knows of one node only.\n"
     "\n"
     "-X hugepages, within what /sys/kernel/mm/transparent_hugepage/enabled allows:\n"
     "  auto      a bundle's file is mapped in huge pages if its file system can, and stays shared between\n"
     "            processes; weights that are packed in memory lie in huge pages, and so does\n"
     "            what a cache holds behind its first 8192 tokens\n"
     "  on        all of cache and scratch too, and a bundle's weights are copied into huge pages of the process's "
     "own\n"
     "  off       none\n"
     "\n"
     "Copies need memory of their own: noctule info, bench and --stats say how much.\n"},
};

enum { N_TOPICS = sizeof topics / sizeof *topics };

const nct_topic *nct_topics(size_t *n) {
    *n = N_TOPICS;
    return topics;
}

/* ------------------------------------------------------------------ pages */

enum { COLUMN = 34, WIDTH = 100 };

/* Words from COLUMN on, the first line of which is begun already up to `at`. */
static void print_wrapped(nct_output *out, size_t at, const char *text) {
    size_t width = out->tty && nct_term_width() < WIDTH ? (size_t)nct_term_width() : WIDTH;
    if (at >= COLUMN) {
        nct_output_write(out, "\n", 1);
        at = 0;
    }
    nct_output_print(out, "%*s", (int)(COLUMN - at), "");
    at = COLUMN;
    for (bool first = true; *text; first = false) {
        size_t n = strcspn(text, " ");
        if (!first && at + 1 + n > width) {
            nct_output_print(out, "\n%*s", COLUMN, "");
            at = COLUMN;
            first = true;
        }
        nct_output_print(out, first ? "%.*s" : " %.*s", (int)n, text);
        at += n + !first;
        text += n + (text[n] == ' ');
    }
    nct_output_write(out, "\n", 1);
}

/* Where a line's text begins, and where it goes on: behind the first gap, "  --flag   what it does", if there is one. */
static size_t find_hang(const char *line, size_t n, size_t *indent) {
    size_t at = 0;
    while (at < n && line[at] == ' ')
        at++;
    *indent = at;
    for (; at + 1 < n; at++)
        if (line[at] == ' ' && line[at + 1] == ' ') {
            while (at < n && line[at] == ' ')
                at++;
            return at;
        }
    return *indent;
}

/* A text that was laid out for wide terminals: on others the lines of a paragraph, and of what stands behind a gap, are
 * put together first. */
static void print_text(nct_output *out, const char *text) {
    enum { LAID_OUT = 112 };
    int width = nct_term_width();
    if (!out->tty || width >= LAID_OUT) {
        nct_output_print(out, "%s", text);
        return;
    }
    size_t hang = 0, indent = 0;
    bool begun = false;
    out->folds = true;
    for (const char *line = text; *line;) {
        size_t n = strcspn(line, "\n"), own_indent, own_hang = find_hang(line, n, &own_indent);
        bool paragraph = !indent && !hang && !own_indent && !own_hang,
             behind = hang > indent && own_indent == hang;
        bool joins = begun && n && (paragraph || behind);
        if (begun)
            nct_output_write(out, joins ? " " : "\n", 1);
        if (!joins) {
            hang = own_hang;
            indent = own_indent;
            out->hang = hang > indent && hang <= (size_t)width / 2 ? hang : indent ? indent + 4 : 0;
        }
        nct_output_write(out, line + (joins ? own_indent : 0), n - (joins ? own_indent : 0));
        begun = n > 0;
        if (!n)
            nct_output_write(out, "\n", 1);
        line += n + (line[n] == '\n');
    }
    if (begun)
        nct_output_write(out, "\n", 1);
    out->folds = false;
}

static void print_option(nct_output *out, const nct_option *o) {
    char left[160], help[512];
    int n = o->shorts ? snprintf(left, sizeof left, "  -%s%s", o->shorts, o->name ? ", " : "")
                      : snprintf(left, sizeof left, "      ");
    n += snprintf(left + n, sizeof left - (size_t)n, "%s%s%s%s", o->name ? "--" : "", o->name ? o->name : "",
                  o->value ? " " : "", o->value ? o->value : "");
    nct_output_write(out, left, (size_t)n);
    snprintf(help, sizeof help, o->standard ? "%s (%s)" : "%s", o->help, o->standard);
    print_wrapped(out, (size_t)n, help);
}

static void print_options(nct_output *out, uint64_t command) {
    const char *section = NULL;
    for (size_t i = 0; i < nct_n_options; i++) {
        const nct_option *o = &nct_option_table[i];
        if (!(o->commands & command) || !o->help)
            continue;
        if (!section || strcmp(section, o->section) != 0) {
            section = o->section;
            nct_output_print(out, "\n%s\n", section);
        }
        print_option(out, o);
    }
}

static void print_command(nct_output *out, const nct_command *command) {
    nct_output_print(out, "usage: noctule %s [FLAG...]%s%s\n\n%s\n", command->name,
                     *command->synopsis ? " " : "", command->synopsis, command->summary);
    if (command->manual) {
        nct_output_write(out, "\n", 1);
        print_text(out, command->manual);
    }
    print_options(out, command->bit);
    print_text(out,
               "\nEvery flag has an environment variable (--max-tokens: NOCTULE_MAX_TOKENS); flags win.\n"
               "k, m and g after a number are 1024, its square and its cube. -- ends the flags.\n");
}

static void print_commands(nct_output *out) {
    size_t n;
    const nct_command *all = nct_commands(&n);
    print_text(
        out,
        "usage: noctule [COMMAND] [FLAG...] [PROMPT...]\n\n"
        "MiniCPM4 on ordinary CPUs. Without a command: a chat on a terminal, else as `run`.\n\nCommands\n");
    out->folds = true;
    out->hang = 18; /* where summaries begin */
    for (size_t i = 0; i < n; i++)
        if (all[i].synopsis)
            nct_output_print(out, "  %-16s%s\n", all[i].name, all[i].summary);
    nct_output_print(out, "\nTopics\n");
    for (size_t i = 0; i < N_TOPICS; i++)
        nct_output_print(out, "  %-16s%s\n", topics[i].name, topics[i].summary);
    print_text(
        out, "\n  noctule run \"Once upon a time\"\n"
             "Input that does not fit the context is exit 4 with both numbers. --overflow head keeps the "
             "beginning of\n"
             "the content and tail its end; middle drops what is between. The instruction and the template "
             "stay whole,\n"
             "room for the answer is left, one warning has the counts, and --json says \"truncated\":true.\n"
             "\n"
             "  tail -n 5000 app.log | noctule run --overflow tail -p \"What went wrong last?\"\n"
             "  git diff | noctule run \"Write a commit message.\"\n"
             "  noctule chat -m PATH\n"
             "  noctule help COMMAND    (or noctule COMMAND --help)\n");
}

int nct_help_print(const nct_cli *cli, const nct_command *command) {
    nct_output out;
    int code = nct_output_open(cli, NULL, &out);
    if (code != NCT_EXIT_OK)
        return code;
    if (command && command->synopsis)
        print_command(&out, command);
    else
        print_commands(&out);
    return nct_output_close(&out, code);
}

static int print_topic(const nct_cli *cli, const nct_topic *t) {
    nct_output out;
    int code = nct_output_open(cli, NULL, &out);
    if (code != NCT_EXIT_OK)
        return code;
    print_text(&out, t->text);
    return nct_output_close(&out, code);
}

int nct_help_main(nct_cli *cli) {
    const nct_list *words = &cli->args.words;
    bool json = cli->args.format == NCT_FORMAT_JSON || cli->args.format == NCT_FORMAT_JSONL;
    if (json && words->n)
        return nct_say_error(cli, NCT_EXIT_USAGE, "help --json tells of everything at once, not of '%s'",
                             words->item[0]);
    if (json)
        return nct_reference_json(cli);
    if (words->n == 0)
        return cli->args.man ? nct_reference_man(cli, NULL, NULL) : nct_help_print(cli, NULL);
    char name[64];
    snprintf(name, sizeof name, "%s%s%s", words->item[0], words->n > 1 ? " " : "",
             words->n > 1 ? words->item[1] : "");
    size_t n;
    const nct_command *all = nct_commands(&n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i].name, name) == 0)
            return cli->args.man ? nct_reference_man(cli, all[i].synopsis ? &all[i] : NULL, NULL)
                                 : nct_help_print(cli, &all[i]);
    for (size_t i = 0; i < N_TOPICS; i++)
        if (strcmp(topics[i].name, name) == 0)
            return cli->args.man ? nct_reference_man(cli, NULL, &topics[i]) : print_topic(cli, &topics[i]);
    const char *names[128];
    size_t n_names = 0;
    for (size_t i = 0; i < n && n_names < 96; i++)
        names[n_names++] = all[i].name;
    for (size_t i = 0; i < N_TOPICS; i++)
        names[n_names++] = topics[i].name;
    const char *near = nct_nearest(name, names, n_names);
    return nct_say_error(cli, NCT_EXIT_USAGE, "no help on '%s'\ntry: noctule help%s%s", name, near ? " " : "",
                         near ? near : "");
}

int nct_version_main(nct_cli *cli) {
    nct_output out;
    int code = nct_output_open(cli, NULL, &out);
    if (code != NCT_EXIT_OK)
        return code;
    if (cli->args.format == NCT_FORMAT_JSON || cli->args.format == NCT_FORMAT_JSONL)
        nct_output_print(&out, "{\"name\":\"noctule\",\"version\":\"%s\",\"schema\":1,\"line_editing\":%s}\n",
                         NOCTULE_VERSION, nct_editor_is_built_in() ? "true" : "false");
    else
        nct_output_print(&out, "noctule %s\n", NOCTULE_VERSION);
    return nct_output_close(&out, code);
}
