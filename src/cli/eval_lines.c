/* LongEval's line retrieval: the number of one line among hundreds, as many right as there are (DachengLi1/LongChat,
 * longeval). As there, the last number of the answer counts, and a text that is continued gets the answer begun. */
#include <string.h>

#include "cli/input.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/quiz.h"

typedef struct item {
    size_t file, number; /* its line, from 1 */
    char *text;          /* as it is asked */
    size_t n_text, n_ids;
    uint64_t expected;
    bool asked, right;
} item;

typedef struct tally {
    size_t n, right, n_lines; /* items asked; lines of record in each, 0 where not stated or not the same */
    uint64_t n_ids;
} tally;

typedef struct lines {
    const nct_cli *cli;
    nct_quiz quiz;
    item *items;
    size_t n_items, capacity;
    tally *tallies; /* a file */
    size_t longest; /* prompt in tokens */
    nct_meter meter;
    uint64_t n_done, n_total; /* tokens, for progress */
} lines;

/* ------------------------------------------------------------------ reading */

/* What begins the answer of a model that continues texts: "Line NAME: <REGISTER_CONTENT> is". */
static nct_status begin_answer(const nct_json *json, nct_bytes *text, nct_error *err) {
    const char *name = nct_json_string(nct_json_first(nct_json_get(json, "random_idx")), NULL);
    return name ? nct_bytes_printf(text, err, "\nLine <%s>: <REGISTER_CONTENT> is", name) : NCT_OK;
}

static int add_item(lines *l, size_t file, size_t number, const nct_json *json) {
    const char *prompt = nct_json_string(nct_json_get(json, "prompt"), NULL),
               *path = l->cli->args.words.item[file];
    int64_t expected = nct_json_int(nct_json_get(json, "expected_number"), -1),
            n_lines = nct_json_int(nct_json_get(json, "num_lines"), 0);
    if (!prompt || expected < 0)
        return nct_say_error(l->cli, NCT_EXIT_USAGE,
                             "%s: line %zu has no \"prompt\" and \"expected_number\" of LongEval's lines",
                             path, number);
    nct_error err = {0};
    nct_bytes text = {0};
    void *p = l->items;
    nct_status status = nct_bytes_add_str(&text, prompt, &err);
    if (status == NCT_OK && l->quiz.talk.plain)
        status = begin_answer(json, &text, &err);
    if (status == NCT_OK)
        status = nct_grow(&p, &l->capacity, l->n_items + 1, sizeof *l->items, &err);
    if (status != NCT_OK) {
        nct_bytes_reset(&text);
        return nct_say_status(l->cli, &err);
    }
    tally *t = &l->tallies[file];
    t->n_lines = n_lines > 0 && (t->n == 0 || t->n_lines == (size_t)n_lines) ? (size_t)n_lines : 0;
    t->n++;
    l->items = p;
    l->items[l->n_items++] = (item){
        .file = file, .number = number, .text = text.data, .n_text = text.n, .expected = (uint64_t)expected};
    return NCT_EXIT_OK;
}

static int read_file(lines *l, size_t file) {
    const char *path = l->cli->args.words.item[file];
    nct_bytes text = {0};
    int code = nct_input_read(l->cli, path, &text);
    int64_t most = l->cli->args.limit;
    size_t number = 0;
    for (size_t at = 0; at < text.n && code == NCT_EXIT_OK; number++) {
        if (most != NCT_UNSET && l->tallies[file].n == (size_t)most)
            break;
        const char *end = memchr(text.data + at, '\n', text.n - at);
        size_t n = end ? (size_t)(end - text.data) - at : text.n - at;
        nct_json *json = NULL;
        nct_error err = {0};
        if (n && nct_json_parse(path, text.data + at, n, &json, &err) != NCT_OK)
            code = nct_say_error(l->cli, NCT_EXIT_USAGE, "line %zu: %s", number + 1, err.text);
        else if (n)
            code = add_item(l, file, number + 1, json);
        nct_json_close(json);
        at += n + 1;
    }
    nct_bytes_reset(&text);
    return code;
}

/* Counts every prompt, so that nothing begins that cannot end. */
static int count_tokens(lines *l) {
    for (size_t i = 0; i < l->n_items; i++) {
        item *t = &l->items[i];
        int32_t *ids = NULL;
        nct_error err = {0};
        if (nct_quiz_encode(&l->quiz, t->text, t->n_text, &ids, &t->n_ids, &err) != NCT_OK)
            return nct_say_status(l->cli, &err);
        nct_free(ids);
        l->longest = t->n_ids > l->longest ? t->n_ids : l->longest;
        l->n_total += t->n_ids;
    }
    return NCT_EXIT_OK;
}

static int check_fit(const lines *l) {
    size_t limit = (size_t)nct_session_limit(l->quiz.session);
    for (size_t i = 0; i < l->n_items; i++)
        if (l->items[i].n_ids > limit)
            return nct_say_error(l->cli, NCT_EXIT_CONTEXT,
                                 "%s: line %zu is a prompt of %s tokens; %s holds %s",
                                 l->cli->args.words.item[l->items[i].file], l->items[i].number,
                                 NCT_N(l->items[i].n_ids), l->quiz.info.name, NCT_N(limit));
    return NCT_EXIT_OK;
}

/* ------------------------------------------------------------------ asking */

static void show(void *context, int done, int total) {
    lines *l = context;
    (void)total;
    nct_meter_show(&l->meter, l->n_done + (uint64_t)done, l->n_total);
}

static int record(lines *l, const item *t, const char *key, const nct_answer *answer) {
    nct_bytes line = {0};
    nct_error err = {0};
    const char *path = l->cli->args.words.item[t->file];
    nct_status status = nct_bytes_printf(&line, &err, "{\"key\":\"%s\",\"file\":", key);
    if (status == NCT_OK)
        status = nct_json_write_string(&line, path, strlen(path), &err);
    if (status == NCT_OK)
        status = nct_bytes_printf(
            &line, &err,
            ",\"line\":%zu,\"tokens\":%zu,\"expected\":%llu,\"correct\":%s,\"answer\":", t->number, t->n_ids,
            (unsigned long long)t->expected, t->right ? "true" : "false");
    if (status == NCT_OK)
        status =
            nct_json_write_string(&line, answer->text.data ? answer->text.data : "", answer->text.n, &err);
    if (status == NCT_OK)
        status = nct_bytes_add_str(&line, "}", &err);
    int code = status == NCT_OK ? nct_journal_add(&l->quiz.journal, &line) : nct_say_status(l->cli, &err);
    nct_bytes_reset(&line);
    return code;
}

static int ask(lines *l, item *t) {
    nct_quiz *q = &l->quiz;
    char key[NCT_QUIZ_KEY];
    nct_quiz_key(q, t->text, t->n_text, key);
    const nct_json *known = q->has_journal ? nct_journal_find(&q->journal, key) : NULL;
    const char *text = nct_json_string(nct_json_get(known, "answer"), NULL);
    if (text) {
        t->right = nct_quiz_has_number(text, t->expected, true);
        t->asked = true;
        q->n_found++;
        l->n_total -= t->n_ids; /* progress is of what is read */
        return NCT_EXIT_OK;
    }
    nct_answer answer = {0};
    nct_error err = {0};
    int32_t *ids = NULL;
    size_t n_ids;
    if (nct_quiz_encode(q, t->text, t->n_text, &ids, &n_ids, &err) != NCT_OK)
        return nct_say_status(l->cli, &err);
    int code = nct_quiz_ask(q, ids, n_ids, &answer);
    if (code == NCT_EXIT_OK) {
        t->asked = true;
        t->right = nct_quiz_has_number(answer.text.data ? answer.text.data : "", t->expected, true);
        l->n_done += t->n_ids;
        if (q->has_journal)
            code = record(l, t, key, &answer);
    }
    nct_answer_close(&answer);
    nct_free(ids);
    return code;
}

static int ask_all(lines *l) {
    int code = NCT_EXIT_OK;
    nct_meter_begin(l->cli, "reading", &l->meter);
    l->quiz.progress = show;
    l->quiz.context = l;
    nct_signals_catch();
    for (size_t i = 0; i < l->n_items && code == NCT_EXIT_OK; i++)
        code = ask(l, &l->items[i]);
    nct_meter_end(&l->meter);
    return code;
}

/* ------------------------------------------------------------------ the report */

static tally add_up(lines *l) {
    tally all = {0};
    for (size_t f = 0; f < l->cli->args.words.n; f++)
        l->tallies[f].n = 0;
    for (size_t i = 0; i < l->n_items; i++) {
        const item *t = &l->items[i];
        if (!t->asked)
            continue;
        tally *into[] = {&l->tallies[t->file], &all};
        for (size_t k = 0; k < 2; k++) {
            into[k]->n++;
            into[k]->right += t->right;
            into[k]->n_ids += t->n_ids;
        }
    }
    return all;
}

static double percent(const tally *t) { return t->n ? 100.0 * (double)t->right / (double)t->n : 0; }
static uint64_t mean_ids(const tally *t) { return t->n ? t->n_ids / t->n : 0; }

static void print_text(const lines *l, const tally *all, nct_output *out) {
    nct_output_print(out, "%6s %8s %6s %8s  %s\n", "lines", "tokens", "asked", "correct", "file");
    for (size_t f = 0; f < l->cli->args.words.n; f++) {
        const tally *t = &l->tallies[f];
        nct_output_print(out, "%6s %8s %6zu %6.1f %%  %s\n", t->n_lines ? NCT_N(t->n_lines) : "-",
                         NCT_N(mean_ids(t)), t->n, percent(t), l->cli->args.words.item[f]);
    }
    if (l->cli->args.words.n > 1)
        nct_output_print(out, "%6s %8s %6zu %6.1f %%  all\n", "", NCT_N(mean_ids(all)), all->n, percent(all));
}

static void print_json(const lines *l, const tally *all, nct_output *out) {
    nct_bytes json = {0};
    nct_bytes_add_str(&json, "{\"task\":\"lines\",\"model\":", NULL);
    nct_json_write_string(&json, l->quiz.info.name, strlen(l->quiz.info.name), NULL);
    nct_bytes_add_str(&json, ",\"files\":[", NULL);
    for (size_t f = 0; f < l->cli->args.words.n; f++) {
        const tally *t = &l->tallies[f];
        const char *path = l->cli->args.words.item[f];
        nct_bytes_add_str(&json, f ? ",{\"file\":" : "{\"file\":", NULL);
        nct_json_write_string(&json, path, strlen(path), NULL);
        nct_bytes_printf(&json, NULL,
                         ",\"lines\":%zu,\"tokens\":%llu,\"asked\":%zu,\"correct\":%zu,\"accuracy\":%.6g}",
                         t->n_lines, (unsigned long long)mean_ids(t), t->n, t->right, percent(t));
    }
    nct_bytes_printf(
        &json, NULL,
        "],\"asked\":%zu,\"correct\":%zu,\"accuracy\":%.6g,\"computed\":%zu,\"from_records\":%zu,"
        "\"prefilled\":%llu}\n",
        all->n, all->right, percent(all), l->quiz.n_computed, l->quiz.n_found,
        (unsigned long long)l->quiz.n_prefill);
    nct_output_write(out, json.data, json.n);
    nct_bytes_reset(&json);
}

static int report(lines *l, int code) {
    nct_output out;
    tally all = add_up(l);
    bool whole = code == NCT_EXIT_OK;
    if (!whole && code < 128) /* what went wrong was said */
        return code;
    int opened = nct_output_open(l->cli, NULL, &out);
    if (opened != NCT_EXIT_OK)
        return opened;
    if (l->cli->args.format == NCT_FORMAT_JSON || l->cli->args.format == NCT_FORMAT_JSONL)
        print_json(l, &all, &out);
    else
        print_text(l, &all, &out);
    if (!whole)
        nct_say_warning(l->cli, "%zu of %zu were asked%s", all.n, l->n_items,
                        l->quiz.has_journal ? "; the same command goes on from there" : "");
    return nct_output_close(&out, whole ? nct_quiz_check_min(&l->quiz, percent(&all), code) : code);
}

/* ------------------------------------------------------------------ the command */

static int prepare(lines *l) {
    const nct_args *a = &l->cli->args;
    nct_error err = {0};
    void *p = NULL;
    const char *out = a->outputs.n ? a->outputs.item[0] : NULL;
    if (a->words.n == 0)
        return nct_say_error(
            l->cli, NCT_EXIT_USAGE,
            "eval lines wants LongEval's files\ntry: noctule eval lines 200_lines.jsonl 400_lines.jsonl");
    if (a->outputs.n > 1 || (out && (strlen(out) < 6 || strcmp(out + strlen(out) - 6, ".jsonl") != 0)))
        return nct_say_error(l->cli, NCT_EXIT_USAGE, "-o takes one file of records\ntry: -o FILE.jsonl");
    if (nct_alloc(&p, a->words.n, sizeof *l->tallies, &err) != NCT_OK)
        return nct_say_status(l->cli, &err);
    l->tallies = p;
    int code = nct_quiz_open(l->cli, &l->quiz);
    for (size_t f = 0; f < a->words.n && code == NCT_EXIT_OK; f++)
        code = read_file(l, f);
    if (code == NCT_EXIT_OK)
        code = count_tokens(l);
    if (code == NCT_EXIT_OK)
        code = nct_quiz_start(&l->quiz, l->longest + l->quiz.max_tokens);
    if (code == NCT_EXIT_OK)
        code = check_fit(l);
    if (code == NCT_EXIT_OK && out) {
        code = nct_journal_open(l->cli, out, &l->quiz.journal);
        l->quiz.has_journal = true;
    }
    return code;
}

int nct_eval_lines_main(nct_cli *cli) {
    lines l = {.cli = cli};
    int code = prepare(&l);
    if (code == NCT_EXIT_OK)
        code = report(&l, ask_all(&l));
    if (l.quiz.has_journal)
        nct_journal_close(&l.quiz.journal, false);
    for (size_t i = 0; i < l.n_items; i++)
        nct_free(l.items[i].text);
    nct_free(l.items);
    nct_free(l.tallies);
    nct_quiz_close(&l.quiz);
    return code;
}
