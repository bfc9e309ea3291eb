#define _GNU_SOURCE
#include "cli/sources.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "cli/open.h"

/* ------------------------------------------------------------------ counting */

nct_status nct_sources_open(const nct_cli *cli, const nct_model_info *info, size_t n_tokens,
                            nct_sources *sources, nct_error *err) {
    nct_sources s = {.block = info->sparse_block_size > 0 ? (size_t)info->sparse_block_size : 64};
    nct_knobs knobs;
    void *p = NULL;
    if (nct_take_knobs(cli, &knobs) == NCT_EXIT_OK && knobs.block)
        s.block = (size_t)knobs.block;
    s.n_blocks = n_tokens / s.block + 1;
    NCT_TRY(nct_alloc(&p, s.n_blocks, sizeof *s.count, err));
    s.count = p;
    *sources = s;
    nct_sources_clear(sources);
    return NCT_OK;
}

void nct_sources_close(nct_sources *s) {
    nct_free((void *)(uintptr_t)s->count);
    *s = (nct_sources){0};
}

void nct_sources_clear(nct_sources *s) {
    for (size_t b = 0; b < s->n_blocks; b++)
        atomic_init(&s->count[b], 0);
}

void nct_sources_count(void *sources, const nct_choice *c) {
    nct_sources *s = sources;
    for (int i = c->n_first; i < c->n_blocks - c->n_local; i++)
        atomic_fetch_add_explicit(&s->count[c->block[i]], 1, memory_order_relaxed);
}

static uint32_t count_of(const nct_sources *s, size_t block) {
    return atomic_load_explicit(&s->count[block], memory_order_relaxed);
}

uint64_t nct_sources_total(const nct_sources *s) {
    uint64_t total = 0;
    for (size_t b = 0; b < s->n_blocks; b++)
        total += count_of(s, b);
    return total;
}

bool nct_sources_any(const nct_sources *s) { return nct_sources_total(s) > 0; }

nct_status nct_sources_save(const nct_sources *s, nct_bytes *out, nct_error *err) {
    NCT_TRY(nct_bytes_printf(out, err, "%zu\n", s->block));
    for (size_t b = 0; b < s->n_blocks; b++)
        if (count_of(s, b))
            NCT_TRY(nct_bytes_printf(out, err, "%zu %lu\n", b, (unsigned long)count_of(s, b)));
    return NCT_OK;
}

bool nct_sources_load(const char *text, nct_sources *s) {
    char *end;
    nct_sources_clear(s);
    if (strtoull(text, &end, 10) != s->block)
        return false;
    while (*end == '\n' && end[1]) {
        size_t block = strtoull(end + 1, &end, 10);
        uint32_t count = (uint32_t)strtoul(end, &end, 10);
        if (block >= s->n_blocks)
            return false;
        atomic_init(&s->count[block], count);
    }
    return !*end || !end[1];
}

/* ------------------------------------------------------------------ from blocks to bytes */

nct_source_text nct_source_text_of(const nct_prompt_part *part, const nct_bytes *all) {
    size_t end = part->end < all->n ? part->end : all->n, body = part->body < end ? part->body : end;
    return (nct_source_text){.name = part->name,
                             .text = all->data ? all->data + body : "",
                             .n = end - body,
                             .cut = part->cut > body ? part->cut - body : 0,
                             .lines_cut = part->lines_cut};
}

/* The prompt as text, and where in it tokens end and texts lie. */
typedef struct rendering {
    nct_bytes text;
    size_t *ends;   /* [n_ids] */
    double *begin;  /* [n_texts] */
    double stretch; /* bytes of the prompt for a byte of a text */
} rendering;

static nct_status render(const nct_engine *engine, const int32_t *ids, size_t n_ids, rendering *r,
                         nct_error *err) {
    nct_text_stream *stream = NULL;
    nct_status status = NCT_OK;
    NCT_TRY(nct_text_stream_open(engine, true, &stream, err));
    for (size_t i = 0; i < n_ids && status == NCT_OK; i++) {
        size_t n;
        const char *bytes = nct_text_stream_push(stream, ids[i], &n);
        status = nct_bytes_add(&r->text, bytes, n, err);
        r->ends[i] = r->text.n;
    }
    nct_text_stream_close(stream);
    return status;
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* Finds the texts one behind the other, without the space around them, which a template may trim. */
static bool place_exactly(const nct_source_text *texts, size_t n_texts, rendering *r) {
    size_t at = 0;
    for (size_t i = 0; i < n_texts; i++) {
        const char *text = texts[i].n ? texts[i].text : "";
        size_t from = 0, to = texts[i].n;
        while (from < to && is_space(text[from]))
            from++;
        while (to > from && is_space(text[to - 1]))
            to--;
        const char *found =
            r->text.n ? memmem(r->text.data + at, r->text.n - at, text + from, to - from) : NULL;
        if (!found)
            return false;
        at = (size_t)(found - r->text.data);
        r->begin[i] = (double)at - (double)from;
        at += to - from;
    }
    r->stretch = 1;
    return true;
}

/* As if the prompt was nothing but the texts. */
static void place_about(const nct_source_text *texts, size_t n_texts, rendering *r) {
    size_t total = 0, before = 0;
    for (size_t i = 0; i < n_texts; i++)
        total += texts[i].n;
    r->stretch = total ? (double)r->text.n / (double)total : 1;
    for (size_t i = 0; i < n_texts; before += texts[i++].n)
        r->begin[i] = (double)before * r->stretch;
}

/* What a block holds of a text. */
typedef struct piece {
    size_t block, text, from, to; /* bytes of the text */
    double weight;                /* choices */
} piece;

typedef struct pieces {
    piece *item;
    size_t n, capacity;
} pieces;

static nct_status add_piece(pieces *list, piece added, nct_error *err) {
    void *p = list->item;
    NCT_TRY(nct_grow(&p, &list->capacity, list->n + 1, sizeof added, err));
    list->item = p;
    list->item[list->n++] = added;
    return NCT_OK;
}

static double clamp(double x, double most) { return x < 0 ? 0 : x > most ? most : x; }

static nct_status cut_block(const rendering *r, const nct_source_text *texts, size_t n_texts, size_t block,
                            size_t from, size_t to, double count, pieces *list, nct_error *err) {
    for (size_t i = 0; i < n_texts && to > from; i++) {
        double n = (double)texts[i].n, first = clamp(((double)from - r->begin[i]) / r->stretch, n),
               last = clamp(((double)to - r->begin[i]) / r->stretch, n);
        piece p = {.block = block, .text = i, .from = (size_t)first, .to = (size_t)last};
        p.weight = count * (last - first) * r->stretch / (double)(to - from);
        if (p.to > p.from)
            NCT_TRY(add_piece(list, p, err));
    }
    return NCT_OK;
}

/* ------------------------------------------------------------------ from bytes to lines */

size_t nct_source_line(const nct_source_text *t, size_t at) {
    size_t line = 1 + (at >= t->cut ? t->lines_cut : 0);
    for (const char *p = t->text, *end = t->text + at; (p = memchr(p, '\n', (size_t)(end - p))); p++)
        line++;
    return line;
}

static bool begins_character(char c) { return ((unsigned char)c & 0xc0) != 0x80; }

/* The first line that begins in a piece and holds something, else what there is of the line it lies in. */
static void quote(const nct_source_text *t, const piece *p, nct_source *s) {
    size_t from = p->from, line = from;
    if (from && t->text[from - 1] != '\n') {
        const char *end = memchr(t->text + from, '\n', p->to - from);
        line = end ? (size_t)(end + 1 - t->text) : p->to;
    }
    while (line < p->to && is_space(t->text[line]))
        line++;
    if (line < p->to)
        from = line;
    while (from < p->to && (is_space(t->text[from]) || !begins_character(t->text[from])))
        from++;
    const char *end = memchr(t->text + from, '\n', p->to - from);
    s->quote = t->text + from;
    s->n_quote = end ? (size_t)(end - s->quote) : p->to - from;
    s->amid = from != line;
}

static int by_share(const void *a, const void *b) {
    const nct_source *x = a, *y = b;
    return (x->share < y->share) - (x->share > y->share);
}

/* Joins neighbours of the blocks that stand out. */
static nct_status join(const pieces *list, const nct_source_text *texts, double total, nct_source **found,
                       size_t *n, nct_error *err) {
    double most = 0;
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, list->n, sizeof **found, err));
    nct_source *out = p;
    for (size_t i = 0; i < list->n; i++)
        most = list->item[i].weight > most ? list->item[i].weight : most;
    *n = 0;
    for (size_t i = 0; i < list->n;) {
        const piece *first = &list->item[i], *best = first, *last = first;
        double weight = 0;
        for (; i < list->n && list->item[i].weight >= most / 2 && list->item[i].text == first->text &&
               list->item[i].block - first->block <= (size_t)(&list->item[i] - first);
             i++) {
            last = &list->item[i];
            best = last->weight > best->weight ? last : best;
            weight += last->weight;
        }
        if (weight == 0) {
            i++;
            continue;
        }
        const nct_source_text *text = &texts[first->text];
        nct_source s = {.name = text->name, .share = weight / total};
        s.first = nct_source_line(text, first->from);
        s.last = nct_source_line(text, last->to - 1);
        quote(text, best, &s);
        out[(*n)++] = s;
    }
    qsort(out, *n, sizeof *out, by_share);
    *found = out;
    return NCT_OK;
}

static nct_status cut_blocks(const nct_sources *s, const rendering *r, size_t n_ids,
                             const nct_source_text *texts, size_t n_texts, pieces *list, double *total,
                             nct_error *err) {
    for (size_t b = 0; b < s->n_blocks; b++) {
        size_t first = b * s->block, last = first + s->block < n_ids ? first + s->block : n_ids;
        double count = count_of(s, b);
        *total += count;
        if (count > 0 && first < n_ids)
            NCT_TRY(cut_block(r, texts, n_texts, b, first ? r->ends[first - 1] : 0, r->ends[last - 1], count,
                              list, err));
    }
    return NCT_OK;
}

nct_status nct_sources_find(const nct_sources *s, const nct_engine *engine, const int32_t *ids, size_t n_ids,
                            const nct_source_text *texts, size_t n_texts, size_t n_most, nct_source **found,
                            size_t *n_found, nct_error *err) {
    rendering r = {0};
    pieces list = {0};
    void *ends = NULL, *begin = NULL;
    double total = 0;
    nct_status status = nct_alloc(&ends, n_ids, sizeof *r.ends, err);
    if (status == NCT_OK)
        status = nct_alloc(&begin, n_texts, sizeof *r.begin, err);
    r.ends = ends;
    r.begin = begin;
    if (status == NCT_OK)
        status = render(engine, ids, n_ids, &r, err);
    if (status == NCT_OK) {
        if (!place_exactly(texts, n_texts, &r))
            place_about(texts, n_texts, &r);
        status = cut_blocks(s, &r, n_ids, texts, n_texts, &list, &total, err);
    }
    if (status == NCT_OK)
        status = join(&list, texts, total, found, n_found, err);
    if (status == NCT_OK && *n_found > n_most)
        *n_found = n_most;
    nct_free(list.item);
    nct_free(ends);
    nct_free(begin);
    nct_bytes_reset(&r.text);
    return status;
}

nct_status nct_sources_find_in(const nct_sources *s, const nct_engine *engine, const int32_t *ids,
                               size_t n_ids, const nct_prompt *prompt, nct_source **found, size_t *n_found,
                               nct_error *err) {
    enum { MOST = 5 };
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, prompt->n_parts, sizeof(nct_source_text), err));
    nct_source_text *texts = p;
    for (size_t i = 0; i < prompt->n_parts; i++)
        texts[i] = nct_source_text_of(&prompt->part[i], &prompt->text);
    nct_status status =
        nct_sources_find(s, engine, ids, n_ids, texts, prompt->n_parts, MOST, found, n_found, err);
    nct_free(p);
    return status;
}

/* ------------------------------------------------------------------ showing */

/* The quote up to a width, unprintable characters as spaces. */
static void add_quote(const nct_source *s, nct_bytes *out) {
    enum { CHARACTERS = 48 };
    size_t at = 0;
    nct_bytes_add_str(out, s->amid ? "\"…" : "\"", NULL);
    for (int i = 0; i < CHARACTERS && at < s->n_quote; i++) {
        uint32_t c = 0;
        size_t n = nct_utf8_decode(s->quote + at, s->n_quote - at, &c);
        if (n && c >= 0x20 && c != 0x7f && !(c >= 0x80 && c < 0xa0))
            nct_bytes_add(out, s->quote + at, n, NULL);
        else
            nct_bytes_add_str(out, " ", NULL);
        at += n ? n : 1;
    }
    nct_bytes_add_str(out, at < s->n_quote ? "…\"" : "\"", NULL);
}

void nct_sources_print_none(const nct_cli *cli, bool any, int chooses_from) {
    if (any)
        nct_say_dim(cli, "  no sources: the blocks that were chosen lie outside the input");
    else if (chooses_from < 0)
        nct_say_dim(cli, "  no sources: attention is dense here, so all of the input was attended to");
    else
        nct_say_dim(cli,
                    "  no sources: attention is dense up to %s tokens, so all of the input was attended to",
                    NCT_N((uint64_t)chooses_from));
}

void nct_sources_print_lines(const nct_cli *cli, const char *indent, const nct_source *found,
                             size_t n_found) {
    for (size_t i = 0; i < n_found; i++) {
        nct_bytes line = {0};
        nct_bytes_printf(&line, NULL, "%s%.2f  %s:%zu-%zu  ", indent, found[i].share, found[i].name,
                         found[i].first, found[i].last);
        add_quote(&found[i], &line);
        if (line.data)
            nct_say_dim(cli, "%s", line.data);
        nct_bytes_reset(&line);
    }
}

void nct_sources_print_label(const nct_cli *cli) {
    nct_say_dim(cli,
                "  (share of the blocks that attention chose while the answer was written: a diagnostic, "
                "no proof)");
}

void nct_sources_print(const nct_cli *cli, const nct_source *found, size_t n_found, bool any,
                       int chooses_from) {
    nct_sources_print_lines(cli, "  ", found, n_found);
    if (n_found)
        nct_sources_print_label(cli);
    else
        nct_sources_print_none(cli, any, chooses_from);
}

nct_status nct_sources_write_json(const nct_source *found, size_t n_found, nct_bytes *out, nct_error *err) {
    NCT_TRY(nct_bytes_add_str(out, "\"sources\":[", err));
    for (size_t i = 0; i < n_found; i++) {
        NCT_TRY(nct_bytes_add_str(out, i ? ",{\"file\":" : "{\"file\":", err));
        NCT_TRY(nct_json_write_string(out, found[i].name, strlen(found[i].name), err));
        NCT_TRY(nct_bytes_printf(out, err, ",\"lines\":[%zu,%zu],\"share\":%.4f}", found[i].first,
                                 found[i].last, found[i].share));
    }
    return nct_bytes_add_str(out, "]", err);
}
