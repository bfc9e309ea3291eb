#include "cli/overflow.h"

#include <string.h>

#include "cli/open.h"

int nct_overflow_check(const nct_cli *cli) {
    if (cli->args.overflow != NCT_OVERFLOW_CHUNK)
        return NCT_EXIT_OK;
    return nct_say_error(
        cli, NCT_EXIT_USAGE,
        "--overflow chunk is for summaries in sections, which %s does not make\n"
        "try: --overflow middle    (drops tokens from the middle of the content, and says how many)",
        cli->command ? cli->command->name : "run");
}

/* ------------------------------------------------------------------ where tokens end */

/* The first character that begins at `at` or behind it. */
static size_t next_character(const char *text, size_t n, size_t at) {
    while (at < n && ((unsigned char)text[at] & 0xc0) == 0x80)
        at++;
    return at;
}

nct_status nct_token_ends(const nct_engine *engine, const char *text, size_t n, bool parse_special,
                          size_t **ends, size_t *n_ends, nct_error *err) {
    int32_t *ids = NULL;
    size_t n_ids = 0, at = 0, bytes;
    nct_text_stream *stream = NULL;
    void *p = NULL;
    nct_status status = nct_encode(engine, text, n, parse_special, false, &ids, &n_ids, err);
    if (status == NCT_OK)
        status = nct_alloc(&p, n_ids, sizeof(size_t), err);
    if (status == NCT_OK)
        status = nct_text_stream_open(engine, false, &stream, err);
    size_t *end = p;
    for (size_t i = 0; i < n_ids && status == NCT_OK; i++) {
        nct_text_stream_push(stream, ids[i], &bytes);
        end[i] = at += bytes;
    }
    if (status == NCT_OK && at != n) /* spelled otherwise: invalid bytes, markers, a normaliser */
        for (size_t i = 0; i < n_ids; i++)
            end[i] = next_character(text, n, (size_t)((double)n * (double)(i + 1) / (double)n_ids));
    nct_text_stream_close(stream);
    nct_free(ids);
    if (status != NCT_OK) {
        nct_free(p);
        return status;
    }
    *ends = end;
    *n_ends = n_ids;
    return NCT_OK;
}

/* ------------------------------------------------------------------ cutting */

typedef struct cutting {
    const nct_fit *fit;
    nct_bytes whole;       /* the prompt's text before */
    nct_prompt_part *part; /* and its parts, [prompt->n_parts] */
    size_t begin, end;     /* the content in it */
    size_t *ends;          /* of its tokens, from its begin on */
    size_t n;
} cutting;

static size_t count_lines(const char *text, size_t from, size_t to) {
    size_t n = 0;
    for (; from < to; from++)
        n += text[from] == '\n';
    return n;
}

/* Bytes [from, to) of the whole go, and the parts move. A header is kept whole or goes whole. */
static nct_status drop_bytes(const cutting *k, size_t from, size_t to, nct_error *err) {
    nct_prompt *prompt = k->fit->prompt;
    const nct_prompt_part *torn = NULL; /* loses its beginning, but not all */
    for (size_t i = 0; i < prompt->n_parts; i++) {
        const nct_prompt_part *p = &k->part[i];
        if (from > p->begin && from < p->body)
            from = p->begin;
        if (from <= p->begin && to > p->begin && to < p->end && p->body > p->begin)
            torn = p;
        if (i && to > k->part[i - 1].end && to < p->begin)
            to = p->begin;
    }
    if (torn && to < torn->body)
        to = torn->body;
    nct_bytes *text = &prompt->text;
    text->n = 0;
    NCT_TRY(nct_bytes_add(text, k->whole.data, from, err));
    if (torn && text->n && from < torn->begin) /* stands apart from what is before, as it did */
        NCT_TRY(nct_bytes_add_str(text, text->data[text->n - 1] == '\n' ? "\n" : "\n\n", err));
    size_t header = text->n;
    if (torn)
        NCT_TRY(nct_bytes_add(text, k->whole.data + torn->begin, torn->body - torn->begin, err));
    if (to == k->end && to < k->whole.n && k->whole.data[to - 1] == '\n' && text->n &&
        text->data[text->n - 1] != '\n')
        NCT_TRY(nct_bytes_add_str(text, "\n", err)); /* the line that ended here ends */
    size_t behind = text->n;
    NCT_TRY(nct_bytes_add(text, k->whole.data + to, k->whole.n - to, err));
    for (size_t i = 0; i < prompt->n_parts; i++) {
        const nct_prompt_part *old = &k->part[i];
        nct_prompt_part *p = &prompt->part[i];
        p->begin = old == torn          ? header
                   : old->begin <= from ? old->begin
                   : old->begin >= to   ? old->begin - to + behind
                                        : from;
        p->body = p->begin + (old->body - old->begin);
        p->end = old->end <= from ? old->end : old->end >= to ? old->end - to + behind : from;
        size_t first = from > old->body ? from : old->body, last = to < old->end ? to : old->end;
        p->cut = p->body + (first - old->body);
        p->lines_cut = count_lines(k->whole.data, first, last);
    }
    return NCT_OK;
}

/* All but `keep` tokens of the content go, where the policy says. */
static nct_status keep_tokens(const cutting *k, size_t keep, nct_error *err) {
    int64_t policy = k->fit->cli->args.overflow;
    size_t first = policy == NCT_OVERFLOW_HEAD ? keep : policy == NCT_OVERFLOW_TAIL ? 0 : keep - keep / 2;
    size_t last = first + (k->n - keep); /* tokens [first, last) */
    size_t from = k->begin + (first ? k->ends[first - 1] : 0),
           to = last == k->n ? k->end : k->begin + k->ends[last - 1];
    return drop_bytes(k, from, to, err);
}

/* Drops more until it fits: where a text was cut, tokens may fall otherwise. */
static nct_status search(const cutting *k, size_t target, size_t *n_ids, nct_error *err) {
    enum { ROUNDS = 32 };
    size_t drop = 0;
    for (int i = 0; i < ROUNDS; i++) {
        drop += *n_ids - target;
        if (drop >= k->n)
            return NCT_OK;
        NCT_TRY(keep_tokens(k, k->n - drop, err));
        NCT_TRY(k->fit->encode(k->fit->context, n_ids, err));
        if (*n_ids <= target)
            return NCT_OK;
    }
    return NCT_OK;
}

static nct_status open_cutting(const nct_fit *fit, cutting *k, nct_error *err) {
    nct_prompt *prompt = fit->prompt;
    *k = (cutting){.fit = fit, .begin = prompt->text.n};
    for (size_t i = 0; i < prompt->n_parts; i++) {
        const nct_prompt_part *p = &prompt->part[i];
        if (p->instruction)
            continue;
        k->begin = p->begin < k->begin ? p->begin : k->begin;
        k->end = p->end > k->end ? p->end : k->end;
    }
    if (k->end > prompt->text.n) /* a final newline went */
        k->end = prompt->text.n;
    if (k->begin >= k->end)
        return NCT_OK;
    void *parts = NULL;
    NCT_TRY(nct_alloc(&parts, prompt->n_parts, sizeof *k->part, err));
    k->part = parts;
    memcpy(k->part, prompt->part, prompt->n_parts * sizeof *k->part);
    NCT_TRY(nct_bytes_add(&k->whole, prompt->text.data, prompt->text.n, err));
    return nct_token_ends(fit->engine, k->whole.data + k->begin, k->end - k->begin,
                          fit->cli->args.parse_special, &k->ends, &k->n, err);
}

static void close_cutting(cutting *k) {
    nct_bytes_reset(&k->whole);
    nct_free(k->part);
    nct_free(k->ends);
}

/* As it was before. */
static nct_status restore(const cutting *k, nct_error *err) {
    nct_prompt *prompt = k->fit->prompt;
    size_t n_ids;
    prompt->text.n = 0;
    NCT_TRY(nct_bytes_add(&prompt->text, k->whole.data, k->whole.n, err));
    memcpy(prompt->part, k->part, prompt->n_parts * sizeof *k->part);
    return k->fit->encode(k->fit->context, &n_ids, err);
}

static void tell(const nct_fit *fit, size_t n_dropped) {
    static const char *const where[] = {
        [NCT_OVERFLOW_HEAD] = "end", [NCT_OVERFLOW_TAIL] = "beginning", [NCT_OVERFLOW_MIDDLE] = "middle"};
    static const char *const name[] = {
        [NCT_OVERFLOW_HEAD] = "head", [NCT_OVERFLOW_TAIL] = "tail", [NCT_OVERFLOW_MIDDLE] = "middle"};
    const char *of = NULL;
    size_t n = 0;
    for (size_t i = 0; i < fit->prompt->n_parts; i++)
        if (!fit->prompt->part[i].instruction) {
            of = fit->prompt->part[i].name;
            n++;
        }
    nct_say_warning(fit->cli, "input is %s tokens, %s %s: %s dropped from the %s of %s (--overflow %s)",
                    NCT_N(fit->n_ids), fit->reserved ? "there is room for" : "the context holds",
                    NCT_N(fit->limit), NCT_N(n_dropped), where[fit->cli->args.overflow],
                    n == 1 ? of : "the files", name[fit->cli->args.overflow]);
}

int nct_overflow_fit(const nct_fit *fit, size_t *n_dropped) {
    *n_dropped = 0;
    int64_t policy = fit->cli->args.overflow;
    if (fit->n_ids <= fit->limit || policy == NCT_UNSET || policy == NCT_OVERFLOW_ERROR)
        return NCT_EXIT_OK;
    cutting k;
    nct_error err = {0};
    size_t reserve = nct_answer_reserve(fit->cli), n_ids = fit->n_ids;
    size_t target = fit->limit - (fit->reserved ? 0 : reserve < fit->limit / 2 ? reserve : fit->limit / 2);
    nct_status status = open_cutting(fit, &k, &err);
    if (status == NCT_OK && k.n)
        status = search(&k, target, &n_ids, &err);
    if (status == NCT_OK && n_ids <= target) {
        *n_dropped = fit->n_ids - n_ids;
        tell(fit, *n_dropped);
    } else if (status == NCT_OK && k.n) {
        status = restore(&k, &err);
    }
    close_cutting(&k);
    return nct_say_status(fit->cli, &err);
}

/* ------------------------------------------------------------------ a text by itself */

static nct_status count_tokens(void *context, size_t *n_ids, nct_error *err) {
    const nct_fit *fit = context;
    const nct_bytes *text = &fit->prompt->text;
    int32_t *ids = NULL;
    NCT_TRY(nct_encode(fit->engine, text->data ? text->data : "", text->n, fit->cli->args.parse_special,
                       false, &ids, n_ids, err));
    nct_free(ids);
    return NCT_OK;
}

int nct_overflow_fit_text(const nct_cli *cli, const nct_engine *engine, const char *name, nct_prompt *files,
                          size_t n_tokens, size_t room, nct_bytes *text, nct_text_cut *cut) {
    nct_prompt_part whole = {.name = name, .end = text->n};
    nct_prompt one = {.part = &whole, .n_parts = 1}, *prompt = files ? files : &one;
    nct_fit fit = {.cli = cli,
                   .engine = engine,
                   .prompt = prompt,
                   .n_ids = n_tokens,
                   .limit = room,
                   .reserved = true,
                   .encode = count_tokens,
                   .context = &fit};
    size_t before = text->n;
    *cut = (nct_text_cut){0};
    prompt->text = *text;
    int code = nct_overflow_fit(&fit, &cut->n_tokens);
    *text = prompt->text;
    prompt->text = (nct_bytes){0};
    if (cut->n_tokens && !files) {
        cut->at = whole.cut;
        cut->n_bytes = before - text->n;
        cut->n_lines = whole.lines_cut;
    }
    return code;
}
