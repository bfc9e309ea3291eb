#include "cli/sum.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/sha256.h"
#include "cli/input.h"
#include "cli/overflow.h"
#include "cli/result.h"
#include "text/cuts.h"

enum {
    CHILDREN = 8,       /* summaries that are summarised at once */
    PART_MOST = 49152,  /* tokens of a part where the context holds more: cuts beat a memory that is strained */
    ANSWER_MOST = 1024, /* tokens of a summary where nothing else is asked for */
    LEAST = 32,         /* tokens that a part must have room for */
};

/* A stretch of the text, and what was asked and said about it. */
typedef struct part {
    size_t begin, end, n_tokens; /* bytes */
    nct_question asked;
} part;

/* One summary: of a file, or of all. */
typedef struct job {
    nct_sum *s;
    const char *name;
    nct_bytes text;
    nct_prompt *files; /* that stand in the text one behind the other; NULL: it is one */
    nct_text_cut cut;  /* by --overflow */
    size_t *ends; /* [n_tokens] where each token ends, in bytes */
    size_t n_tokens;
    nct_strategy strategy;
    size_t chunk, overlap, room; /* tokens of a part; that a prompt's content may have */
    part *part;
    size_t n_parts, parts_capacity;
    nct_bytes summary;
} job;

static void close_job(job *j) {
    for (size_t i = 0; i < j->n_parts; i++)
        nct_question_close(&j->part[i].asked);
    nct_free(j->part);
    nct_free(j->ends);
    nct_bytes_reset(&j->text);
    nct_bytes_reset(&j->summary);
    *j = (job){0};
}

/* ------------------------------------------------------------------ parts */

/* Tokens that end at or before a byte. */
static size_t tokens_before(const job *j, size_t at) {
    size_t low = 0, high = j->n_tokens;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (j->ends[middle] <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The byte behind so many tokens. */
static size_t byte_behind(const job *j, size_t n) {
    return n == 0 ? 0 : n >= j->n_tokens ? j->text.n : j->ends[n - 1];
}

static nct_status add_part(job *j, size_t begin, size_t end, nct_error *err) {
    void *p = j->part;
    NCT_TRY(nct_grow(&p, &j->parts_capacity, j->n_parts + 1, sizeof *j->part, err));
    j->part = p;
    j->part[j->n_parts++] =
        (part){.begin = begin, .end = end, .n_tokens = tokens_before(j, end) - tokens_before(j, begin)};
    return NCT_OK;
}

/* Parts of about the same size, each cut at the best place in its last third. */
static nct_status cut_parts(job *j, nct_error *err) {
    uint8_t *cut = NULL;
    NCT_TRY(nct_cuts_find(j->text.data, j->text.n, &cut, err));
    nct_status status = NCT_OK;
    for (size_t begin = 0; begin < j->text.n && status == NCT_OK;) {
        size_t first = tokens_before(j, begin), left = j->n_tokens - first;
        size_t n_more = (left + j->chunk - 1) / j->chunk, even = n_more ? (left + n_more - 1) / n_more : left;
        size_t most = even + even / 8 < j->chunk ? even + even / 8 : j->chunk; /* room to find a good place */
        size_t high = n_more <= 1 ? j->text.n : byte_behind(j, first + most), low = byte_behind(j, first + most * 2 / 3);
        if (high <= begin)
            high = byte_behind(j, first + 1) > begin ? byte_behind(j, first + 1) : j->text.n;
        low = low > begin ? low : begin + 1;
        size_t end = high == j->text.n ? high : nct_cuts_best(cut, low < high ? low : high, high);
        size_t from = begin;
        if (j->overlap && begin) { /* begins again where something begins, at most so many tokens before */
            size_t back = byte_behind(j, first > j->overlap ? first - j->overlap : 0);
            from = begin;
            for (size_t at = back; at < begin; at++)
                if (cut[at] > cut[from] || from == begin)
                    from = cut[at] >= NCT_CUT_WORD ? at : from;
        }
        status = add_part(j, from, end, err);
        begin = end;
    }
    nct_free(cut);
    return status;
}

/* The text of file i. */
static nct_source_text file_text(const job *j, size_t i) {
    if (j->files)
        return nct_source_text_of(&j->files->part[i], &j->text);
    return (nct_source_text){.name = j->name,
                             .text = j->text.data ? j->text.data : "",
                             .n = j->text.n,
                             .cut = j->cut.at,
                             .lines_cut = j->cut.n_lines};
}

static size_t n_files(const job *j) { return j->files ? j->files->n_parts : 1; }

/* Bytes [from, to) of a file, if there are any, with the file's lines. */
static nct_status add_slice(nct_question *q, const nct_source_text *file, size_t from, size_t to, nct_error *err) {
    void *texts = q->texts;
    size_t capacity = q->n_texts;
    if (from >= to)
        return NCT_OK;
    NCT_TRY(nct_grow(&texts, &capacity, q->n_texts + 1, sizeof *q->texts, err));
    q->texts = texts;
    q->texts[q->n_texts++] = (nct_source_text){.name = file->name,
                                               .text = file->text + from,
                                               .n = to - from,
                                               .lines_cut = nct_source_line(file, from) - 1};
    return NCT_OK;
}

/* What a part holds of a file; where lines of that were dropped, it is two. */
static nct_status slice_file(const job *j, part *p, size_t i, nct_error *err) {
    nct_source_text file = file_text(j, i);
    size_t off = (size_t)(file.text - j->text.data), from = p->begin > off ? p->begin - off : 0,
           to = p->end < off ? 0 : p->end - off < file.n ? p->end - off : file.n,
           hole = file.lines_cut ? file.cut : 0;
    NCT_TRY(add_slice(&p->asked, &file, from, to < hole ? to : hole, err));
    return add_slice(&p->asked, &file, from > hole ? from : hole, to, err);
}

/* With --sources: what parts hold of files. */
static nct_status slice_files(job *j, nct_error *err) {
    for (size_t i = 0; i < j->n_parts; i++)
        for (size_t k = 0; k < n_files(j); k++)
            NCT_TRY(slice_file(j, &j->part[i], k, err));
    return NCT_OK;
}

/* ------------------------------------------------------------------ planning */

static int refuse_direct(const job *j) {
    return nct_say_error(j->s->cli, NCT_EXIT_CONTEXT,
                         "%s is %s tokens; beside the instruction and the answer there is room for %s\n"
                         "try: --strategy map-reduce",
                         j->name, NCT_N(j->n_tokens), NCT_N(j->room));
}

static int count_text(job *j) {
    nct_error err = {0};
    nct_free(j->ends);
    j->ends = NULL;
    nct_token_ends(j->s->engine, j->text.data ? j->text.data : "", j->text.n, j->s->cli->args.parse_special,
                   &j->ends, &j->n_tokens, &err);
    return nct_say_status(j->s->cli, &err);
}

/* A text that is longer than there is room for, as --overflow says. */
static int fit_text(job *j) {
    int64_t policy = j->s->cli->args.overflow;
    if (policy == NCT_UNSET || policy == NCT_OVERFLOW_CHUNK || j->n_tokens <= j->room)
        return NCT_EXIT_OK;
    if (policy == NCT_OVERFLOW_ERROR)
        return nct_say_error(j->s->cli, NCT_EXIT_CONTEXT,
                             "%s is %s tokens; beside the instruction and the answer there is room for %s\n"
                             "try: --overflow chunk     (in parts)\n"
                             "     --overflow middle    (drops tokens from the middle, reported)",
                             j->name, NCT_N(j->n_tokens), NCT_N(j->room));
    int code = nct_overflow_fit_text(j->s->cli, j->s->engine, j->name, j->files, j->n_tokens, j->room, &j->text,
                                     &j->cut);
    return code == NCT_EXIT_OK ? count_text(j) : code;
}

/* Counts, and settles how it is done. */
static int plan(job *j, size_t window) {
    const nct_args *a = &j->s->cli->args;
    nct_error err = {0};
    nct_bytes instruction = {0};
    size_t n_bare = 0;
    int code = count_text(j);
    if (code == NCT_EXIT_OK)
        code = (nct_sum_instruction(j->s->cli, "part 1000 of 1000 of a longer text, which stands above,", false,
                                    &instruction, &err),
                nct_say_status(j->s->cli, &err));
    if (code == NCT_EXIT_OK)
        code = nct_sum_count(j->s, "", 0, instruction.data, &n_bare);
    nct_bytes_reset(&instruction);
    if (code != NCT_EXIT_OK)
        return code;
    enum { SLACK = 16 }; /* a text's first and last token may fall otherwise beside the template */
    size_t taken = n_bare + j->s->max_tokens + SLACK;
    if (window < taken + LEAST)
        return nct_say_error(j->s->cli, NCT_EXIT_CONTEXT,
                             "the context of %s tokens has no room for a text beside the instruction (%s) and the "
                             "answer (%s)\ntry: a smaller -n",
                             NCT_N(window), NCT_N(n_bare), NCT_N(j->s->max_tokens));
    j->room = window - taken;
    if ((code = fit_text(j)) != NCT_EXIT_OK)
        return code;
    bool fits = j->n_tokens <= j->room;
    j->strategy = a->strategy == NCT_UNSET ? NCT_SUM_AUTO : (nct_strategy)a->strategy;
    if (j->strategy == NCT_SUM_AUTO)
        j->strategy = fits ? NCT_SUM_DIRECT : NCT_SUM_MAP_REDUCE;
    if (j->strategy == NCT_SUM_DIRECT)
        return fits ? (add_part(j, 0, j->text.n, &err), nct_say_status(j->s->cli, &err)) : refuse_direct(j);
    size_t most = j->strategy == NCT_SUM_REFINE && j->room > j->s->max_tokens + LEAST ? j->room - j->s->max_tokens
                                                                                     : j->room;
    j->chunk = a->chunk != NCT_UNSET ? (size_t)a->chunk : most < PART_MOST ? most : PART_MOST;
    j->overlap = a->overlap == NCT_UNSET ? 0 : (size_t)a->overlap;
    if (j->chunk + j->overlap > most && a->chunk == NCT_UNSET && j->overlap < j->chunk / 2)
        j->chunk -= j->overlap;
    if (j->chunk + j->overlap > most || j->overlap >= j->chunk)
        return nct_say_error(j->s->cli, NCT_EXIT_USAGE,
                             "parts of %s tokens with an overlap of %s do not fit: there is room for %s", NCT_N(j->chunk),
                             NCT_N(j->overlap), NCT_N(most));
    cut_parts(j, &err);
    return nct_say_status(j->s->cli, &err);
}

/* ------------------------------------------------------------------ doing it */

/* What is asked about a text; whole: the answer is the summary that was asked for. */
static int prepare(job *j, nct_question *q, const char *content, size_t n, const char *about, bool whole) {
    nct_error err = {0};
    q->content = content;
    q->n_content = n;
    q->show = whole && !j->s->show.silent;
    nct_sum_instruction(j->s->cli, about, whole, &q->instruction, &err);
    return nct_say_status(j->s->cli, &err);
}

static int ask(job *j, nct_question *q, const char *content, size_t n, const char *about, bool whole) {
    int code = prepare(j, q, content, n, about, whole);
    return code == NCT_EXIT_OK ? nct_sum_ask(j->s, q) : code;
}

static int map(job *j) {
    void *p = NULL;
    nct_error err = {0};
    if (nct_alloc(&p, j->n_parts, sizeof(nct_question *), &err) != NCT_OK)
        return nct_say_status(j->s->cli, &err);
    nct_question **question = p;
    int code = NCT_EXIT_OK;
    for (size_t i = 0; i < j->n_parts && code == NCT_EXIT_OK; i++) {
        char about[96];
        part *at = &j->part[i];
        snprintf(about, sizeof about, "part %zu of %zu of a longer text, which stands above,", i + 1, j->n_parts);
        question[i] = &at->asked;
        code = prepare(j, question[i], j->text.data + at->begin, at->end - at->begin, about, false);
    }
    if (code == NCT_EXIT_OK)
        code = nct_sum_ask_all(j->s, question, j->n_parts, "part");
    nct_free(question);
    return code;
}

/* Several summaries, and the one that is made of them. */
typedef struct join {
    nct_bytes text;
    nct_question asked;
} join;

/* Puts as many of the summaries level [n] into a prompt as fit, from number `first` on. */
static int gather(job *j, const nct_bytes *level, size_t n, size_t first, join *k, size_t *n_taken) {
    nct_error err = {0};
    int code = NCT_EXIT_OK;
    for (*n_taken = 0; first + *n_taken < n && *n_taken < CHILDREN; ++*n_taken) {
        const nct_bytes *one = &level[first + *n_taken];
        size_t before = k->text.n, n_ids = 0;
        if (nct_bytes_printf(&k->text, &err, "%sSummary of part %zu:\n%s\n", *n_taken ? "\n" : "",
                             first + *n_taken + 1, one->data ? one->data : "") != NCT_OK)
            return nct_say_status(j->s->cli, &err);
        code = nct_sum_count(j->s, k->text.data, k->text.n, "", &n_ids);
        if (code != NCT_EXIT_OK)
            return code;
        if (*n_taken >= 2 && n_ids > j->room) { /* two always go together, or it would not end */
            k->text.n = before;
            k->text.data[before] = 0;
            break;
        }
    }
    return code;
}

/* The summaries level [*n] become fewer; one: it is the last. */
static int join_level(job *j, nct_bytes *level, size_t *n) {
    void *joins = NULL, *questions = NULL;
    nct_error err = {0};
    size_t n_joins = 0, n_taken = 0;
    if (nct_alloc(&joins, *n, sizeof(join), &err) != NCT_OK ||
        nct_alloc(&questions, *n, sizeof(nct_question *), &err) != NCT_OK) {
        nct_free(joins);
        return nct_say_status(j->s->cli, &err);
    }
    join *k = joins;
    nct_question **question = questions;
    int code = NCT_EXIT_OK;
    for (size_t i = 0; i < *n && code == NCT_EXIT_OK; i += n_taken)
        code = gather(j, level, *n, i, &k[n_joins++], &n_taken);
    for (size_t i = 0; i < n_joins && code == NCT_EXIT_OK; i++) {
        question[i] = &k[i].asked;
        code = prepare(j, question[i], k[i].text.data, k[i].text.n,
                       "the text whose parts are summarised above, as one text and without mention of parts,",
                       n_joins == 1);
    }
    snprintf(j->s->label, sizeof j->s->label, "joining");
    if (code == NCT_EXIT_OK)
        code =
            n_joins == 1 ? nct_sum_ask(j->s, question[0]) : nct_sum_ask_all(j->s, question, n_joins, "join");
    for (size_t i = 0; i < *n; i++)
        nct_bytes_reset(&level[i]);
    for (size_t i = 0; i < n_joins; i++) {
        level[i] = k[i].asked.answer;
        k[i].asked.answer = (nct_bytes){0};
        nct_bytes_reset(&k[i].text);
        nct_question_close(&k[i].asked);
    }
    *n = n_joins;
    nct_free(joins);
    nct_free(questions);
    return code;
}

/* The summaries of the parts, of these, and so on. */
static int reduce(job *j) {
    void *p = NULL;
    nct_error err = {0};
    size_t n = j->n_parts, n_all = n;
    if (nct_alloc(&p, n, sizeof(nct_bytes), &err) != NCT_OK)
        return nct_say_status(j->s->cli, &err);
    nct_bytes *level = p;
    for (size_t i = 0; i < n && err.status == NCT_OK; i++)
        nct_bytes_add(&level[i], j->part[i].asked.answer.data, j->part[i].asked.answer.n, &err);
    int code = nct_say_status(j->s->cli, &err);
    do {
        if (code == NCT_EXIT_OK)
            code = join_level(j, level, &n);
    } while (code == NCT_EXIT_OK && n > 1);
    if (code == NCT_EXIT_OK) {
        j->summary = level[0];
        level[0] = (nct_bytes){0};
    }
    for (size_t i = 0; i < n_all; i++)
        nct_bytes_reset(&level[i]);
    nct_free(level);
    return code;
}

static const char *text_of(const part *p) { return p->asked.answer.data ? p->asked.answer.data : ""; }

/* What was said about the last part is the summary. */
static int take_last(job *j) {
    const part *last = &j->part[j->n_parts - 1];
    nct_error err = {0};
    nct_bytes_add(&j->summary, text_of(last), last->asked.answer.n, &err);
    return nct_say_status(j->s->cli, &err);
}

/* The summary so far stands before each part. */
static int refine(job *j) {
    int code = NCT_EXIT_OK;
    nct_error err = {0};
    for (size_t i = 0; i < j->n_parts && code == NCT_EXIT_OK; i++) {
        part *p = &j->part[i];
        nct_bytes text = {0};
        nct_status status = NCT_OK;
        if (i)
            status = nct_bytes_printf(&text, &err, "What came before, in short:\n%s\n\nHow it goes on:\n",
                                      text_of(&j->part[i - 1]));
        if (status == NCT_OK)
            status = nct_bytes_add(&text, j->text.data + p->begin, p->end - p->begin, &err);
        snprintf(j->s->label, sizeof j->s->label, "part %zu of %zu", i + 1, j->n_parts);
        code = status != NCT_OK
                   ? nct_say_status(j->s->cli, &err)
                   : ask(j, &p->asked, text.data, text.n,
                         i ? "all of this, what came before included, as one text," : "the text above",
                         i + 1 == j->n_parts);
        nct_bytes_reset(&text);
    }
    return code == NCT_EXIT_OK ? take_last(j) : code;
}

static int direct(job *j) {
    snprintf(j->s->label, sizeof j->s->label, "reading");
    int code = ask(j, &j->part[0].asked, j->text.data, j->text.n, "the text above", true);
    return code == NCT_EXIT_OK ? take_last(j) : code;
}

static int work(job *j) {
    if (j->strategy == NCT_SUM_DIRECT)
        return direct(j);
    if (j->strategy == NCT_SUM_REFINE)
        return refine(j);
    int code = map(j);
    return code == NCT_EXIT_OK ? reduce(j) : code;
}

/* ------------------------------------------------------------------ what comes out */

static const char *strategy_name(nct_strategy strategy) {
    static const char *const names[] = {"auto", "direct", "map-reduce", "refine"};
    return names[strategy];
}

static bool as_json(const nct_cli *cli) {
    return cli->args.format == NCT_FORMAT_JSON || cli->args.format == NCT_FORMAT_JSONL;
}

/* Which lines a part is, and which of them its summary rests on. */
static nct_status write_part_sources(const nct_question *q, nct_bytes *out, nct_error *err) {
    NCT_TRY(nct_bytes_add_str(out, ",\"covers\":[", err));
    for (size_t i = 0; i < q->n_texts; i++) {
        const nct_source_text *t = &q->texts[i];
        NCT_TRY(nct_bytes_add_str(out, i ? ",{\"file\":" : "{\"file\":", err));
        NCT_TRY(nct_json_write_string(out, t->name, strlen(t->name), err));
        NCT_TRY(nct_bytes_printf(out, err, ",\"lines\":[%zu,%zu]}", nct_source_line(t, 0),
                                 nct_source_line(t, t->n - 1)));
    }
    NCT_TRY(nct_bytes_add_str(out, "],", err));
    return nct_sources_write_json(q->found, q->n_found, out, err);
}

/* The lines of all parts, by their share of all choices. */
static nct_status write_sources(const job *j, nct_bytes *out, nct_error *err) {
    enum { MOST = 5 };
    nct_source best[MOST];
    size_t n = 0;
    uint64_t n_choices = 0;
    for (size_t i = 0; i < j->n_parts; i++)
        n_choices += j->part[i].asked.n_choices;
    for (size_t i = 0; i < j->n_parts; i++)
        for (size_t k = 0; k < j->part[i].asked.n_found; k++) {
            nct_source s = j->part[i].asked.found[k];
            s.share *= (double)j->part[i].asked.n_choices / (double)n_choices;
            size_t at = n < MOST ? n++ : MOST;
            for (; at && best[at - 1].share < s.share; at--)
                if (at < MOST)
                    best[at] = best[at - 1];
            if (at < MOST)
                best[at] = s;
        }
    NCT_TRY(nct_bytes_add_str(out, ",", err));
    return nct_sources_write_json(best, n, out, err);
}

static void print_part_sources(const job *j, size_t i) {
    enum { MOST = 3 };
    const nct_cli *cli = j->s->cli;
    const nct_question *q = &j->part[i].asked;
    nct_bytes line = {0};
    nct_bytes_printf(&line, NULL, "  part %zu of %zu ", i + 1, j->n_parts);
    for (size_t k = 0; k < q->n_texts; k++)
        nct_bytes_printf(&line, NULL, "%s %s:%zu-%zu", k ? "," : "", q->texts[k].name,
                         nct_source_line(&q->texts[k], 0), nct_source_line(&q->texts[k], q->texts[k].n - 1));
    if (line.data)
        nct_say_dim(cli, "%s", line.data);
    nct_bytes_reset(&line);
    nct_sources_print_lines(cli, "    ", q->found, q->n_found < MOST ? q->n_found : MOST);
}

/* --sources on stderr: lines for each part. */
static void print_sources(const job *j) {
    const nct_cli *cli = j->s->cli;
    bool any = false, found = false;
    nct_report report;
    if (cli->args.quiet)
        return;
    nct_session_report(j->s->session, &report);
    for (size_t i = 0; i < j->n_parts; i++) {
        const nct_question *q = &j->part[i].asked;
        any = any || q->n_choices;
        found = found || q->n_found;
        if (j->n_parts > 1)
            print_part_sources(j, i);
        else
            nct_sources_print_lines(cli, "  ", q->found, q->n_found);
    }
    if (found)
        nct_sources_print_label(cli);
    else
        nct_sources_print_none(cli, any, report.chooses_from);
}

/* Where a part begins or ends in the input, of which something may have been dropped. */
static size_t input_byte(const job *j, size_t at, bool begins) {
    if (j->cut.n_bytes == 0 || at < j->cut.at || (at == j->cut.at && !begins))
        return at;
    return j->s->cli->args.overflow == NCT_OVERFLOW_HEAD ? j->cut.at : at + j->cut.n_bytes;
}

static nct_status write_json(const job *j, nct_bytes *out, nct_error *err) {
    const nct_sum *s = j->s;
    char digest[NCT_DIGEST_HEX];
    NCT_TRY(nct_bytes_add_str(out, "{\"file\":", err));
    NCT_TRY(nct_json_write_string(out, j->name, strlen(j->name), err));
    NCT_TRY(nct_bytes_add_str(out, ",\"text\":", err));
    NCT_TRY(nct_json_write_string(out, j->summary.data ? j->summary.data : "", j->summary.n, err));
    NCT_TRY(nct_bytes_printf(out, err, ",\"strategy\":\"%s\",\"tokens\":%zu,", strategy_name(j->strategy),
                             j->n_tokens));
    NCT_TRY(nct_result_digest(s->engine, &s->info, digest, err));
    NCT_TRY(nct_result_write_model(&s->info, digest, out, err));
    NCT_TRY(nct_bytes_printf(out, err,
                             ",\"usage\":{\"prompt\":%zu,\"dropped\":%zu,\"cached\":%zu,\"completion\":%zu,"
                             "\"asked\":%zu,\"kept\":%zu},\"parallel\":{\"sequences\":%zu,\"steps\":%llu},"
                             "\"sampling\":{\"seed\":%llu,\"temp\":%g},\"parts\":[",
                             s->n_prompt, j->cut.n_tokens, s->n_cached, s->n_completion, s->n_asked,
                             s->n_kept, s->n_together ? s->n_together : 1, (unsigned long long)s->n_steps,
                             (unsigned long long)s->sampling.seed, s->sampling.temperature));
    for (size_t i = 0; i < j->n_parts; i++) {
        const part *p = &j->part[i];
        NCT_TRY(nct_bytes_printf(out, err, "%s{\"begin\":%zu,\"end\":%zu,\"tokens\":%zu,\"text\":", i ? "," : "",
                                 input_byte(j, p->begin, true), input_byte(j, p->end, false), p->n_tokens));
        NCT_TRY(nct_json_write_string(out, text_of(p), p->asked.answer.n, err));
        if (s->cli->args.sources)
            NCT_TRY(write_part_sources(&p->asked, out, err));
        NCT_TRY(nct_bytes_add_str(out, "}", err));
    }
    NCT_TRY(nct_bytes_add_str(out, "]", err));
    if (s->cli->args.sources)
        NCT_TRY(write_sources(j, out, err));
    return nct_bytes_add_str(out, "}\n", err);
}

static void print_time(double seconds, char buf[32]) {
    if (seconds < 90)
        snprintf(buf, 32, "%.0f s", ceil(seconds));
    else if (seconds < 5400)
        snprintf(buf, 32, "%.0f min", seconds / 60);
    else
        snprintf(buf, 32, "%.1f h", seconds / 3600);
}

/* How fast this machine reads and writes with this model: a little of the text is read and gone on with. */
static int measure(job *j, double *prefill, double *decode, double *together) {
    enum { READ = 256, STEPS = 8 };
    int32_t *ids = NULL, id;
    size_t n = 0, n_bytes = byte_behind(j, READ);
    nct_report r;
    nct_error err = {0};
    nct_session *session = j->s->session;
    nct_status status = nct_encode(j->s->engine, j->text.data, n_bytes, false, true, &ids, &n, &err);
    if (status == NCT_OK)
        status = nct_session_feed(session, ids, n, NULL, &err);
    for (int i = 0; i < STEPS && status == NCT_OK; i++)
        if ((status = nct_session_sample(session, &j->s->sampling, (int)n, 0, &id, &err)) == NCT_OK)
            status = nct_session_feed(session, &id, 1, NULL, &err);
    int code = nct_say_status(j->s->cli, &err);
    if (code == NCT_EXIT_OK && j->s->width > 1)
        code = nct_sum_measure(j->s, ids, n, together);
    nct_free(ids);
    nct_session_report(session, &r);
    *prefill = nct_rate(r.n_prefill, r.prefill_s);
    *decode = nct_rate(r.n_decode, r.decode_s);
    return code;
}

static int print_plan(job *j) {
    nct_sum *s = j->s;
    nct_output *o = &s->show.output;
    double prefill = 0, decode = 0, together = 0;
    size_t least = SIZE_MAX, most = 0, n_levels = 0, n_asked = j->n_parts, n_read = j->n_tokens;
    int code = j->text.n ? measure(j, &prefill, &decode, &together) : NCT_EXIT_OK;
    if (code != NCT_EXIT_OK)
        return code;
    for (size_t i = 0; i < j->n_parts; i++) {
        least = j->part[i].n_tokens < least ? j->part[i].n_tokens : least;
        most = j->part[i].n_tokens > most ? j->part[i].n_tokens : most;
    }
    for (size_t n = j->n_parts; j->strategy == NCT_SUM_MAP_REDUCE; n_levels++) {
        n_read += n * s->max_tokens;
        n = (n + CHILDREN - 1) / CHILDREN;
        n_asked += n;
        if (n <= 1) {
            n_levels++;
            break;
        }
    }
    nct_output_print(o, "%s  %s tokens %s %s → %s\n", j->name, NCT_N(j->n_tokens), j->n_tokens <= j->room ? "≤" : ">",
                     NCT_N(j->room), strategy_name(j->strategy));
    if (j->strategy != NCT_SUM_DIRECT)
        nct_output_print(o, "  structure: %zu part%s (%s to %s tokens)", j->n_parts, j->n_parts == 1 ? "" : "s", NCT_N(least),
                         NCT_N(most));
    if (s->width > 1)
        nct_output_print(o, ", %zu at once", s->width);
    if (n_levels)
        nct_output_print(o, ", then %zu level%s of joining", n_levels, n_levels == 1 ? "" : "s");
    if (j->strategy != NCT_SUM_DIRECT)
        nct_output_print(o, "\n");
    char longest[32], reading[32];
    size_t n_together = s->width > 1 ? j->n_parts : 0; /* levels of joining are few */
    print_time(prefill > 0 ? (double)n_read / prefill : 0, reading);
    double writing = decode > 0 ? (double)((n_asked - n_together) * s->max_tokens) / decode : 0;
    writing += together > 0 ? (double)(n_together * s->max_tokens) / together : 0;
    print_time(writing, longest);
    nct_output_print(o, "  estimate: reading %s, writing at most %s, KV %s  (measured here)\n", reading,
                     longest,
                     NCT_BYTES(s->width * nct_session_cache_bytes(s->session, (most ? most : j->n_tokens) +
                                                                                  s->max_tokens)));
    return NCT_EXIT_OK;
}

/* {dir}, {stem}, {name}, {ext} of an input's path. */
static nct_status expand(const char *pattern, const char *path, nct_bytes *out, nct_error *err) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    if (!dot || dot == name)
        dot = name + strlen(name);
    for (const char *at = pattern; *at;) {
        size_t length = 0;
        nct_status status = NCT_OK;
        if (strncmp(at, "{dir}", length = 5) == 0)
            status = slash ? nct_bytes_add(out, path, (size_t)(slash - path), err) : nct_bytes_add_str(out, ".", err);
        else if (strncmp(at, "{stem}", length = 6) == 0)
            status = nct_bytes_add(out, name, (size_t)(dot - name), err);
        else if (strncmp(at, "{name}", length = 6) == 0)
            status = nct_bytes_add_str(out, name, err);
        else if (strncmp(at, "{ext}", length = 5) == 0)
            status = nct_bytes_add_str(out, dot, err);
        else
            status = nct_bytes_add(out, at, length = 1, err);
        NCT_TRY(status);
        at += length;
    }
    return NCT_OK;
}

/* ------------------------------------------------------------------ the command */

static void tell_stopped(const job *j, int code) {
    if (code < NCT_EXIT_INTERRUPT && *nct_signals_flag() != SIGALRM)
        return;
    nct_say_warning(
        j->s->cli, "%s after %zu answer%s; %s", *nct_signals_flag() == SIGALRM ? "the time is up" : "stopped",
        j->s->n_asked, j->s->n_asked == 1 ? "" : "s",
        j->s->cli->args.cache > 0 ? "with --cache off or ro none was kept" : "the same command goes on from there");
}

/* How many parts are answered together: what -np says, what there are, and what memory holds. */
static int choose_width(job *j, size_t window) {
    nct_sum *s = j->s;
    nct_knobs knobs;
    size_t longest = s->n_expected, joined = CHILDREN * s->max_tokens + window - j->room;
    if (j->n_parts > CHILDREN && joined > longest) /* several are made together */
        longest = joined < window ? joined : window;
    uint64_t each = nct_session_cache_bytes(s->session, longest), room = nct_cache_room(s->cli, &s->info);
    int code = nct_take_width(s->cli, &s->width);
    if (code == NCT_EXIT_OK)
        code = nct_take_knobs(s->cli, &knobs);
    if (code != NCT_EXIT_OK)
        return code;
    const char *alone = nct_session_is_mapped(s->session) ? "a cache in files is one"
                        : knobs.decide_by_prompt ? "with sparse.decide=prompt a prompt is read as a whole"
                                                 : NULL;
    if (alone && s->width > 1)
        nct_say_warning(s->cli, "-np %s: %s; parts are answered one after another", s->cli->args.parallel,
                        alone);
    size_t most = s->width ? s->width : NCT_WIDTH, n = j->strategy == NCT_SUM_MAP_REDUCE ? j->n_parts : 1;
    n = n < most ? n : most;
    n = room / each < n ? (size_t)(room / each) : n;
    s->width = alone || n < 1 ? 1 : n;
    return NCT_EXIT_OK;
}

static int open_session(job *j, size_t window) {
    nct_sum *s = j->s;
    const nct_args *a = &s->cli->args;
    size_t largest = 0;
    nct_session_close(s->session); /* the table of positions may be another one for another text */
    s->session = NULL;
    if (!j->part) {
        largest = j->n_tokens;
    }
    for (size_t i = 0; i < j->n_parts; i++)
        largest = j->part[i].n_tokens > largest ? j->part[i].n_tokens : largest;
    size_t n = largest + (window - j->room);
    if (j->strategy == NCT_SUM_REFINE)
        n += s->max_tokens;
    s->n_expected = n < window ? n : window;
    s->sampling.seed = a->seed == NCT_UNSET ? s->sampling.seed : (uint64_t)a->seed;
    int code = nct_open_session(s->cli, s->engine, s->n_expected, &s->session);
    if (code == NCT_EXIT_OK)
        code = choose_width(j, window);
    if (code != NCT_EXIT_OK || !a->sources || a->plan)
        return code;
    nct_error err = {0};
    nct_sources_close(&s->sources);
    if (nct_sources_open(s->cli, &s->info, (size_t)nct_session_limit(s->session), &s->sources, &err) == NCT_OK)
        slice_files(j, &err);
    return nct_say_status(s->cli, &err);
}

/* Without --seed, one that follows from the text: so the same command goes on where it was stopped. */
static void take_seed(nct_sum *s, const nct_bytes *text) {
    uint8_t digest[NCT_SHA256_BYTES];
    if (s->cli->args.seed != NCT_UNSET)
        return;
    nct_sha256_of(text->data ? text->data : "", text->n, digest);
    s->sampling.seed = nct_le32(digest);
}

static void print_stats(const nct_sum *s, const char *name) {
    nct_bytes line = {0};
    nct_bytes_printf(&line, NULL, "%s: %zu answer%s", name, s->n_asked, s->n_asked == 1 ? "" : "s");
    if (s->n_kept)
        nct_bytes_printf(&line, NULL, ", %zu kept before", s->n_kept);
    if (s->n_together)
        nct_bytes_printf(&line, NULL, ", up to %zu at once", s->n_together);
    nct_bytes_printf(&line, NULL, " · %s in", NCT_N(s->n_prompt));
    if (s->n_cached)
        nct_bytes_printf(&line, NULL, " (%s cached)", NCT_N(s->n_cached));
    nct_bytes_printf(&line, NULL, " · %s out", NCT_N(s->n_completion));
    if (line.data)
        nct_say_dim(s->cli, "%s", line.data);
    nct_bytes_reset(&line);
}

/* files: those that stand in the text, or NULL. */
static int summarise(nct_sum *s, const char *name, nct_bytes *text, nct_prompt *files,
                     const char *output, bool header) {
    job j = {.s = s, .name = name, .text = *text, .files = files};
    const nct_cli *cli = s->cli;
    nct_error err = {0};
    size_t window = nct_window(cli, &s->info);
    *text = (nct_bytes){0};
    if (cli->args.ctx != NCT_UNSET && (size_t)cli->args.ctx < window)
        window = (size_t)cli->args.ctx;
    s->n_prompt = s->n_cached = s->n_completion = s->n_asked = s->n_kept = s->n_together = 0;
    s->n_steps = 0;
    take_seed(s, &j.text);
    int code = plan(&j, window);
    if (code == NCT_EXIT_OK)
        code = open_session(&j, window);
    if (code == NCT_EXIT_OK && (code = nct_output_open(cli, output, &s->show.output)) == NCT_EXIT_OK) {
        if (cli->args.plan) {
            code = print_plan(&j);
        } else {
            if (header && !s->show.silent)
                nct_output_print(&s->show.output, "=== %s ===\n", name);
            code = work(&j);
            nct_bytes json = {0};
            if (s->show.silent && code == NCT_EXIT_OK && write_json(&j, &json, &err) == NCT_OK)
                nct_output_write(&s->show.output, json.data, json.n);
            nct_bytes_reset(&json);
            if (!s->show.silent && s->show.output.last && s->show.output.last != '\n')
                nct_output_write(&s->show.output, "\n", 1);
            if (err.status != NCT_OK)
                code = nct_say_status(cli, &err);
            tell_stopped(&j, code);
            if (cli->args.sources && !s->show.silent && code == NCT_EXIT_OK)
                print_sources(&j);
        }
        if (s->cli->args.stats)
            print_stats(s, name);
        code = nct_output_close(&s->show.output, code);
    }
    if (s->session)
        nct_session_keep(s->session, nct_session_length(s->session));
    nct_batcher_close(s->batcher);
    s->batcher = NULL;
    close_job(&j);
    return code;
}

static int check(const nct_cli *cli, const nct_list *paths) {
    const nct_args *a = &cli->args;
    size_t n_words, width;
    if (!nct_sum_words(cli, &n_words))
        return nct_say_error(cli, NCT_EXIT_USAGE, "--length is short, medium, long or a number of words such as 120w, "
                                                  "not '%.40s'", a->sum_length);
    if (a->each && a->together)
        return nct_say_error(cli, NCT_EXIT_USAGE, "--each is a summary of every file, --together one of all\n"
                                                  "try: one of them");
    if (paths->n > 1 && !a->together && a->output && !strchr(a->output, '{'))
        return nct_say_error(cli, NCT_EXIT_USAGE, "-o %s is one file, and there are %zu summaries\n"
                                                  "try: -o '{dir}/{stem}.sum.md'\n     --together", a->output, paths->n);
    if (paths->n == 0 && cli->term.in_tty)
        return nct_say_error(cli, NCT_EXIT_USAGE, "nothing to summarise\ntry: noctule sum FILE\n     ... | noctule sum");
    return nct_take_width(cli, &width);
}

static int open_all(nct_sum *s) {
    const nct_args *a = &s->cli->args;
    size_t n_words = 0;
    int code = nct_open_model(s->cli, false, &s->engine, &s->info);
    if (code == NCT_EXIT_OK)
        code = nct_take_sampling(s->cli, s->engine, &s->sampling, &s->bias);
    if (code == NCT_EXIT_OK)
        code = nct_talk_open(s->cli, s->engine, a->raw || !nct_engine_has_template(s->engine), &s->talk);
    nct_sum_words(s->cli, &n_words);
    size_t window = a->ctx != NCT_UNSET ? (size_t)a->ctx : nct_window(s->cli, &s->info);
    s->max_tokens = a->max_tokens != NCT_UNSET ? (size_t)a->max_tokens : n_words ? 4 * n_words + 64 : ANSWER_MOST;
    if (a->max_tokens == NCT_UNSET && s->max_tokens > window / 4)
        s->max_tokens = window / 4;
    return code;
}

/* Files one by one, or all in one text with headers. */
static int go_through(nct_sum *s, const nct_list *paths) {
    const nct_cli *cli = s->cli;
    static const char *const dash[] = {"-"};
    const char *const *path = paths->n ? paths->item : dash;
    size_t n = paths->n ? paths->n : 1;
    int code = NCT_EXIT_OK;
    if (cli->args.together && n > 1) {
        nct_prompt all = {0};
        code = nct_prompt_add_files(cli, &all, paths);
        if (code == NCT_EXIT_OK)
            code = summarise(s, "all files", &all.text, &all, cli->args.output, false);
        nct_prompt_close(&all);
        return code;
    }
    for (size_t i = 0; i < n && code == NCT_EXIT_OK; i++) {
        nct_bytes text = {0}, output = {0};
        nct_error err = {0};
        const char *name = strcmp(path[i], "-") == 0 ? "stdin" : path[i];
        code = nct_input_read(cli, path[i], &text);
        if (code == NCT_EXIT_OK && text.n == 0)
            code = nct_say_error(cli, NCT_EXIT_USAGE, "%s is empty", name);
        if (code == NCT_EXIT_OK && cli->args.output && expand(cli->args.output, name, &output, &err) != NCT_OK)
            code = nct_say_status(cli, &err);
        if (code == NCT_EXIT_OK)
            code = summarise(s, name, &text, NULL, cli->args.output ? output.data : NULL,
                             n > 1 && !cli->args.output);
        nct_bytes_reset(&text);
        nct_bytes_reset(&output);
    }
    return code;
}

int nct_sum_main(nct_cli *cli) {
    nct_sum s = {.cli = cli, .show.cli = cli, .show.silent = as_json(cli)};
    nct_list paths = {0};
    bool listed = true;
    for (size_t i = 0; i < cli->args.files.n; i++)
        listed = listed && nct_list_add(&paths, cli->args.files.item[i]);
    for (size_t i = 0; i < cli->args.words.n; i++)
        listed = listed && nct_list_add(&paths, cli->args.words.item[i]);
    int code = listed ? check(cli, &paths) : nct_say_error(cli, NCT_EXIT_FAILURE, "out of memory");
    if (code == NCT_EXIT_OK)
        code = open_all(&s);
    if (code == NCT_EXIT_OK) {
        nct_signals_catch();
        nct_signals_alarm(isnan(cli->args.max_time) ? 0 : cli->args.max_time);
        code = go_through(&s, &paths);
        nct_signals_alarm(0);
    }
    nct_show_close(&s.show);
    nct_sources_close(&s.sources);
    nct_talk_close(&s.talk);
    nct_free(s.bias);
    nct_session_close(s.session);
    nct_engine_close(s.engine);
    nct_free(paths.item);
    return code;
}
