#include "cli/logprobs.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

typedef struct reading {
    nct_logprobs *out;
    const int32_t *ids;
    size_t n_vocab, n_prompt;
    nct_status status;
    nct_error *err;
} reading;

/* Keeps the list in order; what falls off its end is not among the likeliest. */
static void insert(nct_logprob *top, size_t n_top, size_t *n, int32_t id, double value) {
    if (*n == n_top && value <= top[n_top - 1].value)
        return;
    size_t at = *n < n_top ? (*n)++ : n_top - 1;
    while (at > 0 && value > top[at - 1].value) {
        top[at] = top[at - 1];
        at--;
    }
    top[at] = (nct_logprob){id, value};
}

nct_status nct_logprobs_add(nct_logprobs *out, const float *logits, size_t n_vocab, int32_t id,
                            nct_error *err) {
    double most = -INFINITY, sum = 0;
    void *p = out->chosen;
    NCT_TRY(nct_grow(&p, &out->chosen_capacity, out->n + 1, sizeof *out->chosen, err));
    out->chosen = p;
    p = out->top;
    NCT_TRY(nct_grow(&p, &out->top_capacity, (out->n + 1) * out->n_top, sizeof *out->top, err));
    out->top = p;
    nct_logprob *top = out->n_top ? out->top + out->n * out->n_top : NULL;
    for (size_t i = 0; i < out->n_top; i++)
        top[i] = (nct_logprob){-1, -INFINITY};
    out->chosen[out->n] = (nct_logprob){id, -INFINITY};
    out->n++;
    if (!logits)
        return NCT_OK;
    for (size_t i = 0; i < n_vocab; i++)
        most = logits[i] > most ? logits[i] : most;
    for (size_t i = 0; i < n_vocab; i++)
        sum += exp((double)logits[i] - most);
    double scale = most + log(sum);
    size_t n = 0;
    for (size_t i = 0; i < n_vocab && out->n_top; i++)
        insert(top, out->n_top, &n, (int32_t)i, (double)logits[i] - scale);
    out->chosen[out->n - 1].value = (double)logits[id] - scale;
    return NCT_OK;
}

static void take_row(void *context, int position, const float *logits) {
    reading *r = context;
    if ((size_t)position + 1 < r->n_prompt || r->status != NCT_OK)
        return;
    r->status =
        nct_logprobs_add(r->out, logits, r->n_vocab, r->ids[(size_t)position + 1 - r->n_prompt], r->err);
}

nct_status nct_logprobs_find(nct_session *session, const nct_model_info *info, size_t n_prompt,
                             const int32_t *ids, size_t n, size_t n_top, nct_logprobs *out, nct_error *err) {
    void *p = NULL;
    *out = (nct_logprobs){.n_top = n_top < (size_t)info->n_vocab ? n_top : (size_t)info->n_vocab};
    if (n == 0)
        return NCT_OK;
    NCT_TRY(nct_alloc(&p, n, sizeof *ids, err));
    int32_t *fed = p; /* the prompt's last token, and the answer without its last */
    fed[0] = nct_session_tokens(session)[n_prompt - 1];
    memcpy(fed + 1, ids, (n - 1) * sizeof *ids);
    reading r = {out, ids, (size_t)info->n_vocab, n_prompt, NCT_OK, err};
    nct_feed_options feed = {.stop = nct_signals_flag(), .on_row = take_row, .context = &r};
    nct_status status = nct_session_rewind(session, (int)n_prompt - 1, err);
    if (status == NCT_OK)
        status = nct_session_feed(session, fed, n, &feed, err);
    nct_free(fed);
    status = status == NCT_OK ? r.status : status;
    if (status != NCT_OK)
        out->n = 0;
    return status;
}

void nct_logprobs_close(nct_logprobs *l) {
    nct_free(l->chosen);
    nct_free(l->top);
    *l = (nct_logprobs){0};
}

static nct_status write_one(const nct_engine *engine, const nct_logprob *one, nct_bytes *out,
                            nct_error *err) {
    char *text = NULL;
    size_t n;
    NCT_TRY(nct_decode(engine, &one->id, 1, true, &text, &n, err));
    nct_status status = nct_bytes_printf(out, err, "{\"id\":%d,\"text\":", one->id);
    if (status == NCT_OK)
        status = nct_json_write_string(out, text, n, err);
    nct_free(text);
    if (status == NCT_OK)
        status = isfinite(one->value) ? nct_bytes_printf(out, err, ",\"logprob\":%.5f", one->value)
                                      : nct_bytes_add_str(out, ",\"logprob\":null", err);
    return status;
}

/* As OpenAI spells one; a token that nobody looked for is not among the likeliest. */
static nct_status write_openai(const nct_engine *engine, const nct_logprob *one, nct_bytes *out,
                               nct_error *err) {
    char *text = NULL;
    size_t n;
    NCT_TRY(nct_decode(engine, &one->id, 1, true, &text, &n, err));
    nct_status status = nct_bytes_add_str(out, "{\"token\":", err);
    if (status == NCT_OK)
        status = nct_json_write_string(out, text, n, err);
    if (status == NCT_OK) /* -9999 is what OpenAI writes for what has no probability */
        status = nct_bytes_printf(out, err, ",\"logprob\":%.5f,\"bytes\":[",
                                  isfinite(one->value) ? one->value : -9999.0);
    for (size_t i = 0; i < n && status == NCT_OK; i++)
        status = nct_bytes_printf(out, err, i ? ",%u" : "%u", (unsigned char)text[i]);
    nct_free(text);
    return status == NCT_OK ? nct_bytes_add_str(out, "]", err) : status;
}

/* Writes one without the brace that closes it. */
typedef nct_status one_fn(const nct_engine *engine, const nct_logprob *one, nct_bytes *out, nct_error *err);

/* [ .. ] of all chosen tokens, each with a list `top` of the likeliest in its place. */
static nct_status write_all(const nct_engine *engine, const nct_logprobs *l, one_fn *write, const char *top,
                            nct_bytes *out, nct_error *err) {
    NCT_TRY(nct_bytes_add_str(out, "[", err));
    for (size_t i = 0; i < l->n; i++) {
        NCT_TRY(nct_bytes_add_str(out, i ? "," : "", err));
        NCT_TRY(write(engine, &l->chosen[i], out, err));
        NCT_TRY(nct_bytes_printf(out, err, ",\"%s\":[", top));
        for (size_t k = 0; k < l->n_top && l->top[i * l->n_top + k].id >= 0; k++) {
            NCT_TRY(nct_bytes_add_str(out, k ? "," : "", err));
            NCT_TRY(write(engine, &l->top[i * l->n_top + k], out, err));
            NCT_TRY(nct_bytes_add_str(out, "}", err));
        }
        NCT_TRY(nct_bytes_add_str(out, "]}", err));
    }
    return nct_bytes_add_str(out, "]", err);
}

nct_status nct_logprobs_write_openai(const nct_engine *engine, const nct_logprobs *l, nct_bytes *out,
                                     nct_error *err) {
    NCT_TRY(nct_bytes_add_str(out, "\"logprobs\":{\"content\":", err));
    NCT_TRY(write_all(engine, l, write_openai, "top_logprobs", out, err));
    return nct_bytes_add_str(out, "}", err);
}

nct_status nct_logprobs_write_json(const nct_engine *engine, const nct_logprobs *l, nct_bytes *out,
                                   nct_error *err) {
    NCT_TRY(nct_bytes_add_str(out, "\"logprobs\":", err));
    return write_all(engine, l, write_one, "top", out, err);
}

/* In quotes, with newlines and their like spelled out. */
static void add_piece(const nct_engine *engine, int32_t id, nct_bytes *line) {
    char *text = NULL;
    size_t n;
    if (nct_decode(engine, &id, 1, true, &text, &n, NULL) == NCT_OK)
        nct_json_write_string(line, text, n, NULL);
    nct_free(text);
}

void nct_logprobs_print(const nct_engine *engine, const nct_logprobs *l) {
    for (size_t i = 0; i < l->n; i++) {
        nct_bytes line = {0};
        nct_bytes_printf(&line, NULL, "  %8.4f  ", l->chosen[i].value);
        add_piece(engine, l->chosen[i].id, &line);
        for (size_t k = 0; k < l->n_top; k++) {
            const nct_logprob *one = &l->top[i * l->n_top + k];
            nct_bytes_add_str(&line, k ? ", " : "    of ", NULL);
            add_piece(engine, one->id, &line);
            nct_bytes_printf(&line, NULL, " %.4f", one->value);
        }
        fprintf(stderr, "%s\n", line.data ? line.data : "");
        nct_bytes_reset(&line);
    }
}
