/* What came of an item, as a line of JSON: ours, or OpenAI's. */
#include <string.h>

#include "cli/batch_item.h"
#include "cli/show.h"

static nct_status add_text(nct_bytes *out, const nct_bytes *text, nct_error *err) {
    return nct_json_write_string(out, text->data ? text->data : "", text->n, err);
}
static nct_status add_string(nct_bytes *out, const char *text, nct_error *err) {
    return nct_json_write_string(out, text, strlen(text), err);
}

static double milliseconds(uint64_t from, uint64_t to) { return to > from ? (double)(to - from) * 1e-6 : 0; }

static double decode_rate(const nct_item *item) {
    double seconds = milliseconds(item->first_ns, item->ended_ns) * 1e-3;
    return item->answer.n_ids > 1 && seconds > 0 ? (double)(item->answer.n_ids - 1) / seconds : 0;
}

static bool is_cut(const nct_item *item) { return item->answer.finish != NCT_FINISH_STOP || item->n_dropped; }

/* The seed of the whole output where the item has another. */
static nct_status add_seed(const nct_item *item, nct_bytes *out, nct_error *err) {
    uint64_t base = item->recipe->sampling.seed, own = item->ids ? item->options.sampling.seed : base;
    NCT_TRY(nct_bytes_printf(out, err, "\"seed\":%llu", (unsigned long long)own));
    return own == base ? NCT_OK : nct_bytes_printf(out, err, ",\"base_seed\":%llu", (unsigned long long)base);
}

/* What a later run looks at. */
static nct_status add_identity(const nct_item *item, nct_bytes *out, nct_error *err) {
    return nct_bytes_printf(
        out, err, "\"index\":%llu,\"input_sha\":\"%s\",\"params_sha\":\"%s\",\"attempts\":%u",
        (unsigned long long)item->index, item->input_sha, item->recipe->params_sha, item->attempts);
}

static nct_status add_error(const nct_item *item, nct_bytes *out, nct_error *err) {
    NCT_TRY(nct_bytes_printf(out, err, "{\"code\":\"%s\",\"message\":", item->fault));
    NCT_TRY(add_text(out, &item->why, err));
    return item->n_tokens ? nct_bytes_printf(out, err, ",\"tokens\":%zu}", item->n_tokens)
                          : nct_bytes_add_str(out, "}", err);
}

/* Keys that are not ours, as they came. */
static nct_status add_meta(const nct_item *item, nct_bytes *out, nct_error *err) {
    static const char *const ours[] = {"id",
                                       "custom_id",
                                       "method",
                                       "url",
                                       "body",
                                       "prompt",
                                       "messages",
                                       "text",
                                       "file",
                                       "max_tokens",
                                       "max_completion_tokens",
                                       "temperature",
                                       "top_p",
                                       "top_k",
                                       "min_p",
                                       "presence_penalty",
                                       "frequency_penalty",
                                       "seed",
                                       "stop",
                                       "schema",
                                       "tools",
                                       "n",
                                       "response_format",
                                       "logprobs",
                                       "top_logprobs"};
    const char *field = item->recipe->cli->args.field;
    bool any = false;
    for (const nct_json *m = nct_json_first(item->json); m && item->recipe->cli->args.keep;
         m = nct_json_next(m)) {
        const char *key = nct_json_key(m);
        bool known = field && strcmp(key, field) == 0;
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
            known = known || strcmp(key, ours[i]) == 0;
        if (known)
            continue;
        NCT_TRY(nct_bytes_add_str(out, any ? "," : ",\"meta\":{", err));
        NCT_TRY(add_string(out, key, err));
        NCT_TRY(nct_bytes_add_str(out, ":", err));
        NCT_TRY(nct_json_write(m, false, out, err));
        any = true;
    }
    return any ? nct_bytes_add_str(out, "}", err) : NCT_OK;
}

static nct_status add_sampling(const nct_item *item, nct_bytes *out, nct_error *err) {
    const nct_sampling *s = &item->options.sampling;
    NCT_TRY(nct_bytes_add_str(out, "\"sampling\":{", err));
    NCT_TRY(add_seed(item, out, err));
    if (item->fault)
        return nct_bytes_add_str(out, "}", err);
    return nct_bytes_printf(out, err,
                            ",\"temp\":%g,\"top_p\":%g,\"top_k\":%d,\"min_p\":%g,\"repeat_penalty\":%g}",
                            s->temperature, s->top_p, s->top_k, s->min_p, s->repeat_penalty);
}

/* With --sources. */
static nct_status add_sources(const nct_item *item, nct_bytes *out, nct_error *err) {
    if (!item->recipe->cli->args.sources || item->fault)
        return NCT_OK;
    NCT_TRY(nct_bytes_add_str(out, ",", err));
    return nct_sources_write_json(item->found, item->n_found, out, err);
}

/* The text, and calls that were found in it. */
static nct_status add_answer(const nct_answer *a, nct_bytes *out, nct_error *err) {
    if (!a->calls)
        return add_text(out, &a->text, err);
    NCT_TRY(add_string(out, a->content, err));
    return nct_bytes_printf(out, err, ",\"tool_calls\":%s", a->calls);
}

/* What made the answer, of what, and how fast. */
static nct_status add_making(const nct_item *item, nct_bytes *out, nct_error *err) {
    const nct_recipe *r = item->recipe;
    const nct_answer *a = &item->answer;
    const nct_sequence_state *s = &item->state;
    NCT_TRY(nct_result_write_model(&r->info, r->digest, out, err));
    NCT_TRY(nct_bytes_printf(
        out, err,
        ",\"usage\":{\"prompt\":%zu,\"dropped\":%zu,\"cached\":%d,\"completion\":%zu,\"thinking\":%zu},"
        "\"timings\":{\"load_ms\":%.1f,\"ttft_ms\":%.1f,\"prefill_tps\":%.1f,\"decode_tps\":%.1f},"
        "\"rope\":\"%s\",",
        a->n_prompt, item->n_dropped, s->n_copied, a->n_ids, a->n_thinking, r->info.load_s * 1e3,
        milliseconds(item->began_ns, item->first_ns), nct_rate((size_t)s->n_computed, s->read_s),
        decode_rate(item), s->is_long ? "long" : "native"));
    NCT_TRY(nct_result_write_spec(s->n_rounds, s->n_guessed, s->n_accepted, 0, out, err));
    NCT_TRY(nct_bytes_add_str(out, "},", err));
    return nct_result_write_sparse(&r->info, s->is_sparse, r->dense_len, out, err);
}

static nct_status write_own(const nct_item *item, nct_bytes *out, nct_error *err) {
    const nct_answer *a = &item->answer;
    NCT_TRY(nct_bytes_add_str(out, "{\"id\":", err));
    NCT_TRY(add_text(out, &item->id, err));
    if (item->fault) {
        NCT_TRY(nct_bytes_add_str(out, ",\"error\":", err));
        NCT_TRY(add_error(item, out, err));
    } else {
        NCT_TRY(nct_bytes_add_str(out, ",\"text\":", err));
        NCT_TRY(add_answer(a, out, err));
        NCT_TRY(nct_bytes_add_str(out, ",\"thinking\":", err));
        NCT_TRY(a->has_thinking ? add_text(out, &a->thinking, err) : nct_bytes_add_str(out, "null", err));
        NCT_TRY(nct_bytes_printf(out, err, ",\"finish_reason\":\"%s\",\"truncated\":%s,",
                                 nct_answer_reason(a), is_cut(item) ? "true" : "false"));
        NCT_TRY(add_making(item, out, err));
    }
    NCT_TRY(nct_bytes_add_str(out, ",", err));
    NCT_TRY(add_sampling(item, out, err));
    NCT_TRY(nct_bytes_add_str(out, ",", err));
    NCT_TRY(add_identity(item, out, err));
    if (item->recipe->n_samples > 1)
        NCT_TRY(nct_bytes_printf(out, err, ",\"sample\":%u", item->sample));
    if (item->wants_logprobs && !item->fault) {
        NCT_TRY(nct_bytes_add_str(out, ",", err));
        NCT_TRY(nct_logprobs_write_json(item->recipe->engine, &item->logprobs, out, err));
    }
    NCT_TRY(add_sources(item, out, err));
    NCT_TRY(add_meta(item, out, err));
    return nct_bytes_add_str(out, "}", err);
}

static nct_status write_body(const nct_item *item, nct_bytes *out, nct_error *err) {
    const nct_answer *a = &item->answer;
    NCT_TRY(
        nct_bytes_printf(out, err,
                         "{\"status_code\":200,\"request_id\":\"%.16s\",\"body\":{\"id\":\"chatcmpl-%.16s\","
                         "\"object\":\"chat.completion\",\"model\":",
                         item->input_sha, item->input_sha));
    NCT_TRY(add_string(out, item->recipe->info.name, err));
    NCT_TRY(nct_bytes_printf(
        out, err,
        ",\"choices\":[{\"index\":%u,\"message\":{\"role\":\"assistant\",\"content\":", item->sample));
    NCT_TRY(add_answer(a, out, err));
    if (a->has_thinking) {
        NCT_TRY(nct_bytes_add_str(out, ",\"reasoning_content\":", err));
        NCT_TRY(add_text(out, &a->thinking, err));
    }
    NCT_TRY(nct_bytes_add_str(out, "}", err));
    if (item->wants_logprobs) {
        NCT_TRY(nct_bytes_add_str(out, ",", err));
        NCT_TRY(nct_logprobs_write_openai(item->recipe->engine, &item->logprobs, out, err));
    }
    return nct_bytes_printf(
        out, err,
        ",\"finish_reason\":\"%s\"}],\"usage\":{\"prompt_tokens\":%zu,\"completion_tokens\":%zu,"
        "\"total_tokens\":%zu}}}",
        a->finish == NCT_FINISH_STOP ? nct_answer_reason(a) : "length", a->n_prompt, a->n_ids,
        a->n_prompt + a->n_ids);
}

static nct_status write_openai(const nct_item *item, nct_bytes *out, nct_error *err) {
    NCT_TRY(nct_bytes_printf(out, err, "{\"id\":\"batch_req_%.16s\",\"custom_id\":", item->input_sha));
    NCT_TRY(add_text(out, &item->id, err));
    NCT_TRY(nct_bytes_add_str(out, ",\"response\":", err));
    NCT_TRY(item->fault ? nct_bytes_add_str(out, "null", err) : write_body(item, out, err));
    NCT_TRY(nct_bytes_add_str(out, ",\"error\":", err));
    NCT_TRY(item->fault ? add_error(item, out, err) : nct_bytes_add_str(out, "null", err));
    NCT_TRY(nct_bytes_add_str(out, ",\"noctule\":{", err));
    NCT_TRY(add_identity(item, out, err));
    if (!item->fault) {
        NCT_TRY(nct_bytes_add_str(out, ",", err));
        NCT_TRY(add_making(item, out, err));
    }
    if (item->recipe->n_samples > 1)
        NCT_TRY(nct_bytes_printf(out, err, ",\"sample\":%u", item->sample));
    NCT_TRY(nct_bytes_add_str(out, ",", err));
    NCT_TRY(add_sampling(item, out, err));
    NCT_TRY(add_sources(item, out, err));
    NCT_TRY(add_meta(item, out, err));
    return nct_bytes_add_str(out, "}}", err);
}

nct_status nct_item_write(const nct_item *item, nct_bytes *out, nct_error *err) {
    int64_t format = item->recipe->cli->args.format;
    return item->openai && format != NCT_FORMAT_JSONL && format != NCT_FORMAT_JSON
               ? write_openai(item, out, err)
               : write_own(item, out, err);
}

bool nct_item_read(const nct_json *record, nct_old_record *old) {
    const nct_json *ours = nct_json_get(record, "noctule");
    const char *id = nct_json_string(nct_json_get(record, ours ? "custom_id" : "id"), NULL);
    if (!ours)
        ours = record;
    const char *input = nct_json_string(nct_json_get(ours, "input_sha"), NULL),
               *params = nct_json_string(nct_json_get(ours, "params_sha"), NULL);
    const nct_json *sampling = nct_json_get(ours, "sampling"), *seed = nct_json_get(sampling, "base_seed");
    int64_t index = nct_json_int(nct_json_get(ours, "index"), -1),
            attempts = nct_json_int(nct_json_get(ours, "attempts"), 1),
            sample = nct_json_int(nct_json_get(ours, "sample"), 0);
    if (!seed)
        seed = nct_json_get(sampling, "seed");
    if (!id || !input || !params || index < 0)
        return false;
    *old = (nct_old_record){.id = id,
                            .sample = sample > 0 && sample <= UINT32_MAX ? (uint32_t)sample : 0,
                            .failed = nct_json_get(record, "error") != NULL,
                            .index = (uint64_t)index,
                            .attempts = attempts > 0 && attempts < 1000000 ? (uint32_t)attempts : 1,
                            .has_seed = nct_json_int(seed, -1) >= 0,
                            .seed = (uint64_t)nct_json_int(seed, 0)};
    nct_bytes all = {0};
    bool ok = nct_bytes_printf(&all, NULL, "%s|%s|%s", input, params, id) == NCT_OK;
    if (ok && old->sample)
        ok = nct_bytes_printf(&all, NULL, "|%u", old->sample) == NCT_OK;
    if (ok)
        old->key = nct_seen_key_of_text(all.data, all.n);
    nct_bytes_reset(&all);
    return ok;
}
