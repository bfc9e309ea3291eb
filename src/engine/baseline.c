#include "engine/baseline.h"

#include <math.h>

#include "base/json.h"
#include "base/utf8.h"

enum { ROWS_MAX = 4096 };

/* A text as it may be shown on a terminal. */
static void copy_text(const nct_json *value, char *to, size_t n) {
    const char *from = nct_json_string(value, "");
    size_t length = strlen(from), at = 0;
    for (size_t i = 0; i < length;) {
        uint32_t code;
        size_t used = nct_utf8_decode(from + i, length - i, &code);
        bool fit = used && code >= 0x20 && (code < 0x7f || code >= 0xa0);
        size_t take = fit ? used : 1;
        if (at + take >= n)
            break;
        memcpy(to + at, fit ? from + i : "?", take);
        at += take;
        i += used ? used : 1;
    }
    to[at] = 0;
}

static int small_count(const nct_json *value) {
    int64_t n = nct_json_int(value, 0);
    return n > 0 && n <= 65536 ? (int)n : 0;
}

typedef struct reading {
    const char *name;
    nct_baseline *out;
    size_t capacity;
} reading;

static nct_status take_row(reading *r, const nct_json *item, nct_error *err) {
    nct_baseline *b = r->out;
    size_t number = b->n_rows + 1;
    const nct_json *test = nct_json_get(item, "test"), *rate = nct_json_get(item, "tps_med");
    const char *label = nct_json_string(test, "");
    double value = nct_json_number(rate, NAN);
    if (!*label || !nct_json_is_number(rate))
        return nct_fail(err, NCT_E_FORMAT,
                        "%s: record %zu has no test and median rate, so it is not from noctule bench",
                        r->name, number);
    if (strlen(label) >= sizeof b->row->test)
        return nct_fail(err, NCT_E_FORMAT, "%s: the test of record %zu is named with %zu bytes", r->name,
                        number, strlen(label));
    if (!isfinite(value) || value <= 0)
        return nct_fail(err, NCT_E_FORMAT, "%s: record %zu states %g tokens a second", r->name, number,
                        value);
    if (b->n_rows == ROWS_MAX)
        return nct_fail(err, NCT_E_FORMAT, "%s holds more than %d tests", r->name, ROWS_MAX);
    void *rows = b->row;
    NCT_TRY(nct_grow(&rows, &r->capacity, number, sizeof *b->row, err));
    b->row = rows;
    nct_baseline_row *row = &b->row[b->n_rows];
    copy_text(test, row->test, sizeof row->test);
    row->rate = value;
    copy_text(nct_json_get(item, "kv"), row->kv, sizeof row->kv);
    copy_text(nct_json_get(item, "sparse"), row->sparse, sizeof row->sparse);
    row->np = small_count(nct_json_get(item, "np"));
    row->np = row->np ? row->np : 1;
    row->threads_pp = small_count(nct_json_get(item, "threads_pp"));
    row->threads_tg = small_count(nct_json_get(item, "threads_tg"));
    if (nct_baseline_find(b, row, false))
        return nct_fail(err, NCT_E_FORMAT, "%s holds the test %s twice", r->name, row->test);
    if (b->n_rows++ == 0) {
        copy_text(nct_json_get(item, "model"), b->model, sizeof b->model);
        copy_text(nct_json_get(item, "quant"), b->quant, sizeof b->quant);
        copy_text(nct_json_get(item, "cpu"), b->cpu, sizeof b->cpu);
        copy_text(nct_json_get(item, "isa"), b->isa, sizeof b->isa);
    }
    return NCT_OK;
}

/* A list of records, or one. */
static nct_status take_value(reading *r, const char *text, size_t n, nct_error *err) {
    nct_json *json = NULL;
    NCT_TRY(nct_json_parse(r->name, text, n, &json, err));
    nct_status status = NCT_OK;
    if (nct_json_is_array(json))
        for (const nct_json *item = nct_json_first(json); item && status == NCT_OK;
             item = nct_json_next(item))
            status = take_row(r, item, err);
    else
        status = take_row(r, json, err);
    nct_json_close(json);
    return status;
}

/* A record a line. */
static nct_status take_lines(reading *r, const char *text, size_t n, nct_error *err) {
    for (size_t at = 0; at < n;) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t length = end ? (size_t)(end - text) - at : n - at, space = 0;
        while (space < length && strchr(" \t\r", text[at + space]) && text[at + space])
            space++;
        if (space < length)
            NCT_TRY(take_value(r, text + at, length, err));
        at += length + 1;
    }
    return NCT_OK;
}

nct_status nct_baseline_parse(const char *name, const char *text, size_t n, nct_baseline *baseline,
                              nct_error *err) {
    nct_baseline b = {0};
    reading r = {.name = name, .out = &b};
    size_t space = 0;
    while (space < n && text[space] && strchr(" \t\r\n", text[space]))
        space++;
    bool lines = space < n && text[space] == '{';
    nct_status status = lines ? take_lines(&r, text, n, err) : take_value(&r, text, n, err);
    if (status == NCT_OK && b.n_rows == 0)
        status = nct_fail(err, NCT_E_FORMAT, "%s holds no test", name);
    if (status != NCT_OK) {
        nct_baseline_reset(&b);
        return status;
    }
    *baseline = b;
    return NCT_OK;
}

void nct_baseline_reset(nct_baseline *baseline) {
    nct_free(baseline->row);
    *baseline = (nct_baseline){0};
}

static bool same_word(const char *a, const char *b) { return !*a || !*b || strcmp(a, b) == 0; }
static bool same_count(int a, int b) { return !a || !b || a == b; }

const nct_baseline_row *nct_baseline_find(const nct_baseline *b, const nct_baseline_row *like, bool loose) {
    const nct_baseline_row *only = NULL;
    size_t n = 0;
    for (size_t i = 0; i < b->n_rows; i++) {
        const nct_baseline_row *r = &b->row[i];
        if (r->np != like->np || strcmp(r->test, like->test) != 0)
            continue;
        if (same_word(r->kv, like->kv) && same_word(r->sparse, like->sparse) &&
            same_count(r->threads_pp, like->threads_pp) && same_count(r->threads_tg, like->threads_tg))
            return r;
        only = r;
        n++;
    }
    return loose && n == 1 ? only : NULL;
}
