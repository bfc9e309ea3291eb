/* From a record to the ids of a prompt. */
#include "cli/batch_item.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/constrain.h"
#include "cli/open.h"
#include "cli/overflow.h"
#include "cli/template.h"
#include "engine/identity.h"

enum { MAX_TOKENS = 1024, PLAIN_TOKENS = 256 };

/* ------------------------------------------------------------------ the recipe */

int nct_recipe_open(const nct_cli *cli, nct_recipe *r) {
    const nct_args *a = &cli->args;
    nct_knobs knobs;
    nct_error err = {0};
    *r = (nct_recipe){.cli = cli, .quiet = *cli};
    r->quiet.said = &r->said;
    int code = nct_overflow_check(cli);
    if (code == NCT_EXIT_OK)
        code = nct_constraint_check(cli);
    if (code == NCT_EXIT_OK && a->prompt)
        code = nct_input_option(cli, a->prompt, "-p", &r->instruction);
    if (code == NCT_EXIT_OK && a->template)
        code = nct_template_read(cli, &r->template);
    if (code == NCT_EXIT_OK && a->assistant)
        code = nct_input_option(cli, a->assistant, "--assistant", &r->prefix);
    r->n_samples = a->samples == NCT_UNSET ? 1 : (size_t)a->samples;
    if (code == NCT_EXIT_OK)
        code = nct_open_model(cli, false, &r->engine, &r->info);
    if (code == NCT_EXIT_OK && nct_result_digest(r->engine, &r->info, r->digest, &err) != NCT_OK)
        code = nct_say_status(cli, &err);
    if (code == NCT_EXIT_OK)
        code = nct_take_knobs(cli, &knobs);
    if (code == NCT_EXIT_OK)
        r->dense_len = (int)knobs.dense_len;
    if (code == NCT_EXIT_OK)
        code = nct_take_sampling(cli, r->engine, &r->sampling, &r->bias);
    if (code == NCT_EXIT_OK)
        code = nct_take_constraint(cli, r->engine, &r->sampling, &r->constraint);
    r->plain = a->raw || (code == NCT_EXIT_OK && !nct_engine_has_template(r->engine));
    if (code == NCT_EXIT_OK)
        code = nct_talk_open(cli, r->engine, r->plain, &r->talk);
    r->max_tokens = a->max_tokens != NCT_UNSET ? (size_t)a->max_tokens : r->plain ? PLAIN_TOKENS : MAX_TOKENS;
    return code;
}

void nct_recipe_close(nct_recipe *r) {
    nct_talk_close(&r->talk);
    nct_bytes_reset(&r->said);
    nct_bytes_reset(&r->instruction);
    nct_bytes_reset(&r->template);
    nct_bytes_reset(&r->prefix);
    nct_bytes_reset(&r->last_id);
    nct_seen_close(&r->ids);
    nct_constraint_close(r->constraint);
    nct_free(r->bias);
    nct_engine_close(r->engine);
}

static nct_status describe(const nct_recipe *r, const nct_bytes *constraint, nct_bytes *out, nct_error *err) {
    const nct_args *a = &r->cli->args;
    const nct_sampling *s = &r->sampling;
    nct_link model;
    nct_knobs knobs;
    if (nct_take_knobs(r->cli, &knobs) != NCT_EXIT_OK)
        return nct_fail(err, NCT_E_ARGUMENT, "-X is out of range");
    NCT_TRY(nct_model_identity(r->engine, &model, err));
    NCT_TRY(nct_bytes_add(out, model.bytes, sizeof model.bytes, err));
    NCT_TRY(nct_bytes_printf(
        out, err, "|2|%d|%d|%d|%d|%zu|%lld|%lld|%lld|%lld|%lld|%lld|%lld|%d|%d|%lld|%lld|", r->plain,
        r->talk.options.think, r->talk.options.parse_special, a->ignore_eos, r->max_tokens, (long long)a->ctx,
        (long long)a->sparse, (long long)a->rope, (long long)a->kv, (long long)a->keys, (long long)a->values,
        (long long)a->overflow, knobs.exact, knobs.r1, (long long)knobs.force_ctx, (long long)a->order));
    if (knobs.head)
        NCT_TRY(nct_bytes_printf(out, err, "head%d|", knobs.head));
    if (knobs.topk || knobs.block || knobs.window || knobs.dense_len)
        NCT_TRY(nct_bytes_printf(out, err, "%lld|%lld|%lld|%lld|", (long long)knobs.topk,
                                 (long long)knobs.block, (long long)knobs.window,
                                 (long long)knobs.dense_len));
    NCT_TRY(nct_bytes_printf(out, err, "%.17g|%d|%.17g|%.17g|%.17g|%d|%.17g|%.17g|%llu|%d|", s->temperature,
                             s->top_k, s->top_p, s->min_p, s->repeat_penalty, s->repeat_last_n,
                             s->presence_penalty, s->frequency_penalty, (unsigned long long)s->seed,
                             s->n_bias));
    NCT_TRY(nct_bytes_add(out, s->bias_id, (size_t)s->n_bias * sizeof *s->bias_id, err));
    NCT_TRY(nct_bytes_add(out, s->bias_value, (size_t)s->n_bias * sizeof *s->bias_value, err));
    NCT_TRY(nct_bytes_printf(out, err, "%lld|%lld|%s", (long long)a->think_budget, (long long)a->logprobs,
                             a->sources ? "sources|" : ""));
    const nct_bytes *texts[] = {&r->instruction, &r->talk.system, &r->talk.tools,
                                constraint,      &r->template,    &r->prefix};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        NCT_TRY(nct_bytes_printf(out, err, "|%zu|", texts[i]->n));
        NCT_TRY(nct_bytes_add(out, texts[i]->data ? texts[i]->data : "", texts[i]->n, err));
    }
    NCT_TRY(nct_bytes_printf(out, err, "|%s|", a->field ? a->field : ""));
    for (size_t i = 0; i < a->stops.n; i++)
        NCT_TRY(nct_bytes_printf(out, err, "%zu|%s", strlen(a->stops.item[i]), a->stops.item[i]));
    return NCT_OK;
}

int nct_recipe_seal(nct_recipe *r, uint64_t seed) {
    nct_bytes text = {0}, constraint = {0};
    nct_error err = {0};
    uint8_t digest[NCT_SHA256_BYTES];
    r->sampling.seed = seed;
    int code = nct_constraint_text(r->cli, &constraint);
    nct_status status = code == NCT_EXIT_OK ? describe(r, &constraint, &text, &err) : NCT_OK;
    if (status == NCT_OK && code == NCT_EXIT_OK) {
        nct_sha256_of(text.data, text.n, digest);
        nct_sha256_hex(digest, sizeof digest, r->params_sha);
    }
    nct_bytes_reset(&text);
    nct_bytes_reset(&constraint);
    return code == NCT_EXIT_OK ? nct_say_status(r->cli, &err) : code;
}

/* ------------------------------------------------------------------ failing */

nct_status nct_item_fail(nct_item *item, nct_error *err, const char *fault, const char *fmt, ...) {
    char text[1024];
    va_list args;
    if (item->fault)
        return NCT_OK;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    item->fault = fault;
    return nct_bytes_add_str(&item->why, text, err);
}

/* What was said of it, one line. */
static nct_status fail_as_said(nct_item *item, const char *fault, nct_error *err) {
    nct_bytes *said = &item->recipe->said;
    char text[1024];
    snprintf(text, sizeof text, "%s", said->data && said->n ? said->data : "it failed");
    text[strcspn(text, "\n")] = 0;
    said->n = 0;
    return nct_item_fail(item, err, fault, "%s", text);
}

/* ------------------------------------------------------------------ who it is */

static const nct_json *settings_of(const nct_item *item) {
    return item->openai ? nct_json_get(item->json, "body") : item->json;
}

/* cJSON ends a string at an escaped NUL: what followed it would be lost. */
static bool holds_nul(const nct_bytes *text) {
    for (const char *at = text->data; at && (at = strstr(at, "\\u0000")); at += 6) {
        size_t slashes = 0;
        while (at - slashes > text->data && at[-1 - (ptrdiff_t)slashes] == '\\')
            slashes++;
        if (slashes % 2 == 0)
            return true;
    }
    return false;
}

static nct_status parse(nct_item *item, const nct_batch_record *record, nct_error *err) {
    nct_error why = {0};
    char name[256];
    snprintf(name, sizeof name, "%s, line %llu", record->source, (unsigned long long)record->line);
    if (memchr(item->text.data, 0, item->text.n))
        return nct_item_fail(item, err, "invalid_record", "%s: a NUL byte stands in it", name);
    if (nct_json_parse(name, item->text.data, item->text.n, &item->json, &why) != NCT_OK)
        return why.status == NCT_E_MEMORY ? nct_fail(err, NCT_E_MEMORY, "%s", why.text)
                                          : nct_item_fail(item, err, "invalid_record", "%s", why.text);
    if (!nct_json_is_object(item->json))
        return nct_item_fail(item, err, "invalid_record", "%s: a record is an object", name);
    if (holds_nul(&item->text))
        NCT_TRY(nct_item_fail(item, err, "invalid_record", "%s: a string holds a NUL character", name));
    item->openai =
        nct_json_get(item->json, "custom_id") && nct_json_is_object(nct_json_get(item->json, "body"));
    return NCT_OK;
}

/* What was given as id, or nothing. */
static nct_status own_id(nct_item *item, nct_error *err) {
    const nct_json *id = nct_json_get(item->json, "custom_id");
    if (!id)
        id = nct_json_get(item->json, "id");
    if (nct_json_is_string(id))
        return nct_bytes_add_str(&item->id, nct_json_string(id, ""), err);
    return nct_json_is_number(id) ? nct_json_write(id, false, &item->id, err) : NCT_OK;
}

/* The occurrence number goes behind an id that was there before: a#2. */
static nct_status number_id(nct_item *item, nct_error *err) {
    nct_recipe *r = item->recipe;
    nct_seen *ids = &r->ids;
    if (item->sample) { /* the same record again */
        item->id.n = 0;
        return nct_bytes_add(&item->id, r->last_id.data, r->last_id.n, err);
    }
    uint32_t *times = nct_seen_put(ids, nct_seen_key_of_text(item->id.data, item->id.n), err);
    if (!times)
        return NCT_E_MEMORY;
    uint32_t number = ++*times;
    for (size_t n = item->id.n; number > 1; number++) { /* unless somebody is called a#2 */
        item->id.n = n;
        NCT_TRY(nct_bytes_printf(&item->id, err, "#%u", number));
        times = nct_seen_put(ids, nct_seen_key_of_text(item->id.data, item->id.n), err);
        if (!times)
            return NCT_E_MEMORY;
        if (++*times == 1)
            break;
    }
    r->last_id.n = 0;
    return r->n_samples > 1 ? nct_bytes_add(&r->last_id, item->id.data, item->id.n, err) : NCT_OK;
}

/* A file's text, as item->body. */
static nct_status read_file(nct_item *item, const char *path, nct_error *err) {
    nct_recipe *r = item->recipe;
    if (strcmp(path, "-") == 0)
        return nct_item_fail(item, err, "invalid_record", "stdin is no document of a batch");
    r->said.n = 0;
    if (nct_input_read(&r->quiet, path, &item->body) == NCT_EXIT_OK)
        return NCT_OK;
    return fail_as_said(item, "unreadable", err);
}

nct_status nct_item_open(nct_recipe *r, const nct_batch_record *record, uint64_t index, bool pass,
                         nct_item *item, nct_error *err) {
    uint8_t digest[NCT_SHA256_BYTES];
    *item = (nct_item){.recipe = r,
                       .index = index,
                       .sample = r->sample,
                       .is_file = record->kind == NCT_RECORD_FILE,
                       .attempts = 1};
    NCT_TRY(nct_bytes_add(&item->text, record->text.data ? record->text.data : "", record->text.n, err));
    if (record->fault)
        NCT_TRY(nct_item_fail(item, err, "invalid_record", "%s, line %llu: %s", record->source,
                              (unsigned long long)record->line, record->fault));
    else if (record->kind == NCT_RECORD_JSON)
        NCT_TRY(parse(item, record, err));
    else if (record->kind == NCT_RECORD_FILE && !pass)
        NCT_TRY(read_file(item, item->text.data, err));
    const char *path = nct_json_string(nct_json_get(item->json, "file"), NULL);
    if (path && !item->openai && !item->fault && !pass)
        NCT_TRY(read_file(item, path, err));
    nct_sha256 sha;
    nct_sha256_init(&sha);
    if (!item->is_file)
        nct_sha256_add(&sha, item->text.data, item->text.n);
    nct_sha256_add(&sha, item->body.data, item->body.n);
    nct_sha256_end(&sha, digest);
    nct_sha256_hex(digest, sizeof digest, item->input_sha);
    if (item->is_file)
        NCT_TRY(nct_bytes_add(&item->id, item->text.data, item->text.n, err));
    else
        NCT_TRY(own_id(item, err));
    if (item->id.n == 0 && path)
        NCT_TRY(nct_bytes_add_str(&item->id, path, err));
    if (item->id.n == 0)
        NCT_TRY(nct_bytes_printf(&item->id, err, "%.16s", item->input_sha));
    NCT_TRY(number_id(item, err));
    nct_bytes all = {0};
    nct_status status = nct_bytes_printf(&all, err, "%s|%s|", item->input_sha, r->params_sha);
    if (status == NCT_OK)
        status = nct_bytes_add(&all, item->id.data, item->id.n, err);
    if (status == NCT_OK && item->sample)
        status = nct_bytes_printf(&all, err, "|%u", item->sample);
    if (status == NCT_OK)
        item->key = nct_seen_key_of_text(all.data, all.n);
    nct_bytes_reset(&all);
    return status;
}

void nct_item_close(nct_item *item) {
    nct_answering_close(item->answering);
    nct_logprobs_close(&item->logprobs);
    nct_sources_close(&item->sources);
    nct_free(item->found);
    nct_answer_close(&item->answer);
    nct_prompt_close(&item->prompt);
    nct_json_close(item->json);
    nct_bytes_reset(&item->id);
    nct_bytes_reset(&item->text);
    nct_bytes_reset(&item->body);
    nct_bytes_reset(&item->tools);
    nct_bytes_reset(&item->why);
    nct_matcher_close(item->options.matcher);
    nct_constraint_close(item->constraint);
    nct_free(item->ids);
    nct_free(item->stops.item);
    *item = (nct_item){0};
}

/* ------------------------------------------------------------------ its own settings */

static nct_status take_real(nct_item *item, const char *key, double low, double high, double *value,
                            nct_error *err) {
    const nct_json *json = nct_json_get(settings_of(item), key);
    double x = nct_json_number(json, NAN);
    if (!json)
        return NCT_OK;
    if (!(x >= low && x <= high))
        return nct_item_fail(item, err, "invalid_record", "%s is no number from %g to %g", key, low, high);
    *value = x;
    return NCT_OK;
}

static nct_status take_count(nct_item *item, const char *key, int64_t low, int64_t high, int64_t *value,
                             nct_error *err) {
    const nct_json *json = nct_json_get(settings_of(item), key);
    int64_t x = nct_json_int(json, INT64_MIN);
    if (!json)
        return NCT_OK;
    if (x < low || x > high)
        return nct_item_fail(item, err, "invalid_record", "%s is no whole number from %lld to %lld", key,
                             (long long)low, (long long)high);
    *value = x;
    return NCT_OK;
}

static nct_status add_stop(nct_item *item, const char *text, nct_error *err) {
    if (!*text)
        return nct_item_fail(item, err, "invalid_record", "a stop string is empty");
    return nct_list_add(&item->stops, text)
               ? NCT_OK
               : nct_fail(err, NCT_E_MEMORY, "memory for stop strings was refused");
}

static nct_status take_stops(nct_item *item, nct_error *err) {
    const nct_json *stop = nct_json_get(settings_of(item), "stop");
    const nct_list *given = &item->recipe->cli->args.stops;
    for (size_t i = 0; i < given->n; i++)
        NCT_TRY(add_stop(item, given->item[i], err));
    if (nct_json_is_string(stop))
        return add_stop(item, nct_json_string(stop, ""), err);
    for (const nct_json *s = nct_json_first(stop); s; s = nct_json_next(s))
        NCT_TRY(add_stop(item, nct_json_string(s, ""), err));
    return stop && !nct_json_is_array(stop)
               ? nct_item_fail(item, err, "invalid_record", "stop is no text and no list of texts")
               : NCT_OK;
}

/* What this build cannot do must not be passed over. */
static nct_status refuse_others(nct_item *item, nct_error *err) {
    const nct_json *s = settings_of(item);
    const char *url = nct_json_string(nct_json_get(item->json, "url"), "/v1/chat/completions"),
               *method = nct_json_string(nct_json_get(item->json, "method"), "POST");
    if (item->openai && (strcmp(url, "/v1/chat/completions") != 0 || strcmp(method, "POST") != 0))
        return nct_item_fail(item, err, "unsupported",
                             "%.20s %.80s: only POST /v1/chat/completions is answered", method, url);
    if (nct_json_int(nct_json_get(s, "n"), 1) != 1)
        return nct_item_fail(item, err, "unsupported", "n: more answers are --samples N of the command");
    return NCT_OK;
}

/* --logprobs, or OpenAI's "logprobs" and "top_logprobs". */
static nct_status take_logprobs(nct_item *item, nct_error *err) {
    int64_t asked = item->recipe->cli->args.logprobs, n = asked == NCT_UNSET ? 0 : asked;
    size_t n_vocab = (size_t)item->recipe->info.n_vocab;
    item->wants_logprobs =
        asked != NCT_UNSET ||
        (item->openai && nct_json_bool(nct_json_get(settings_of(item), "logprobs"), false));
    if (item->openai)
        NCT_TRY(take_count(item, "top_logprobs", 0, 100, &n, err));
    item->logprobs.n_top = (size_t)n < n_vocab ? (size_t)n : n_vocab;
    return NCT_OK;
}

/* "schema", or OpenAI's "response_format": a constraint of the record's own. It knows the biases of all. */
static nct_status take_constraint(nct_item *item, nct_error *err) {
    const nct_json *s = settings_of(item), *schema = nct_json_get(s, "schema"),
                   *form = nct_json_get(s, "response_format");
    const char *type = form ? nct_json_string(nct_json_get(form, "type"), "") : "text";
    bool object = strcmp(type, "json_object") == 0;
    nct_constraint_source source = {.kind = object ? NCT_CONSTRAINT_JSON : NCT_CONSTRAINT_SCHEMA,
                                    .name = schema ? "schema" : "response_format",
                                    .text = "",
                                    .sampling = &item->recipe->sampling};
    if (!schema && strcmp(type, "json_schema") == 0 &&
        !(schema = nct_json_get(nct_json_get(form, "json_schema"), "schema")))
        return nct_item_fail(item, err, "invalid_record", "response_format: json_schema has no schema");
    if (!schema && !object)
        return strcmp(type, "text") == 0
                   ? NCT_OK
                   : nct_item_fail(item, err, "unsupported", "response_format: '%.40s' is unknown", type);
    nct_bytes text = {0};
    nct_error why = {0};
    nct_status status = !schema ? NCT_OK
                        : nct_json_is_string(schema)
                            ? nct_bytes_add_str(&text, nct_json_string(schema, ""), &why)
                            : nct_json_write(schema, false, &text, &why);
    source.text = text.data ? text.data : "";
    source.n_bytes = text.n;
    if (status == NCT_OK)
        status = nct_constraint_open(item->recipe->engine, &source, &item->constraint, &why);
    nct_bytes_reset(&text);
    if (status == NCT_E_MEMORY)
        return nct_fail(err, status, "%s", why.text);
    return status == NCT_OK ? NCT_OK : nct_item_fail(item, err, "invalid_record", "%s", why.text);
}

static nct_status take_settings(nct_item *item, nct_error *err) {
    nct_sampling *s = &item->options.sampling;
    int64_t n = (int64_t)item->options.max_tokens, seed = (int64_t)s->seed, top_k = s->top_k;
    NCT_TRY(refuse_others(item, err));
    NCT_TRY(take_count(item, "max_tokens", 1, 1000000000, &n, err));
    NCT_TRY(take_count(item, "max_completion_tokens", 1, 1000000000, &n, err));
    NCT_TRY(take_real(item, "temperature", 0, 100, &s->temperature, err));
    NCT_TRY(take_real(item, "top_p", 1e-9, 1, &s->top_p, err));
    NCT_TRY(take_real(item, "min_p", 0, 1, &s->min_p, err));
    NCT_TRY(take_count(item, "top_k", 0, 1000000, &top_k, err));
    NCT_TRY(take_count(item, "seed", 0, INT64_MAX, &seed, err));
    NCT_TRY(take_real(item, "presence_penalty", -1e3, 1e3, &s->presence_penalty, err));
    NCT_TRY(take_real(item, "frequency_penalty", -1e3, 1e3, &s->frequency_penalty, err));
    item->options.max_tokens = (size_t)n;
    s->seed = (uint64_t)seed;
    s->top_k = (int)top_k;
    NCT_TRY(take_constraint(item, err));
    NCT_TRY(take_logprobs(item, err));
    NCT_TRY(take_stops(item, err));
    if (item->stops.n && (item->constraint || item->recipe->constraint))
        return nct_item_fail(item, err, "invalid_record",
                             "a stop string and a constraint: the constraint says where "
                             "the answer ends");
    return NCT_OK;
}

/* ------------------------------------------------------------------ a conversation */

/* The content of a message: a text, or a list of parts that are texts. */
static nct_status take_content(nct_item *item, const nct_json *message, nct_bytes *out, nct_error *err) {
    const nct_json *content = nct_json_get(message, "content");
    if (nct_json_is_string(content))
        return nct_bytes_add_str(out, nct_json_string(content, ""), err);
    if (content && !nct_json_is_array(content))
        return nct_item_fail(item, err, "invalid_record", "the content of a message is no text");
    for (const nct_json *part = nct_json_first(content); part; part = nct_json_next(part)) {
        const char *text = nct_json_string(nct_json_get(part, "text"), NULL);
        if (!text || strcmp(nct_json_string(nct_json_get(part, "type"), ""), "text") != 0)
            return nct_item_fail(item, err, "unsupported", "a message holds something that is no text");
        NCT_TRY(nct_bytes_add_str(out, text, err));
    }
    return NCT_OK;
}

static bool knows_role(const char *role) {
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(role, roles[i]) == 0)
            return true;
    return false;
}

/* A message is a source of the prompt by its place in the record. */
static nct_status add_source(nct_item *item, const nct_bytes *content, size_t number, nct_error *err) {
    char name[32];
    snprintf(name, sizeof name, "messages[%zu]", number);
    return content->n ? nct_prompt_add(&item->prompt, name, content, false, err) : NCT_OK;
}

struct conversation {
    nct_message *message;
    nct_bytes *text; /* [2 n]: content and calls of each */
    size_t n;
};

static nct_status list_messages(nct_item *item, const nct_json *messages, struct conversation *c,
                                nct_error *err) {
    const nct_bytes *system = &item->recipe->talk.system;
    const char *first = nct_json_string(nct_json_get(nct_json_first(messages), "role"), "");
    if (system->n && strcmp(first, "system") != 0)
        c->message[c->n++] = (nct_message){.role = "system", .content = system->data, .n_content = system->n};
    size_t number = 0;
    for (const nct_json *m = nct_json_first(messages); m && !item->fault; m = nct_json_next(m)) {
        const char *role = nct_json_string(nct_json_get(m, "role"), "");
        nct_bytes *content = &c->text[2 * c->n], *calls = content + 1;
        if (!knows_role(role))
            return nct_item_fail(item, err, "invalid_record",
                                 "the role of a message is '%.40s': expected system, user, assistant or tool",
                                 role);
        NCT_TRY(take_content(item, m, content, err));
        if (item->recipe->cli->args.sources)
            NCT_TRY(add_source(item, content, number++, err));
        if (nct_json_is_array(nct_json_get(m, "tool_calls")))
            NCT_TRY(nct_json_write(nct_json_get(m, "tool_calls"), false, calls, err));
        c->message[c->n++] =
            (nct_message){.role = role,
                          .content = content->data ? content->data : "",
                          .n_content = content->n,
                          .reasoning = nct_json_string(nct_json_get(m, "reasoning_content"), NULL),
                          .tool_calls = calls->data};
    }
    return NCT_OK;
}

static nct_status encode_messages(nct_item *item, const nct_json *messages, nct_error *err) {
    nct_recipe *r = item->recipe;
    size_t n = nct_json_size(messages);
    nct_chat_options options = r->talk.options;
    struct conversation c = {0};
    void *p = NULL;
    nct_error why = {0};
    if (n == 0)
        return nct_item_fail(item, err, "invalid_record", "messages is no list of messages");
    if (r->plain)
        return nct_item_fail(item, err, "unsupported", "messages need a chat template, and %s",
                             r->cli->args.raw ? "--raw uses none" : "the model has none");
    if (r->cli->args.template || r->cli->args.assistant)
        return nct_item_fail(item, err, "unsupported", "--%s is for prompts, and the record has messages",
                             r->cli->args.template ? "template" : "assistant");
    if (nct_json_is_array(nct_json_get(settings_of(item), "tools"))) {
        NCT_TRY(nct_json_write(nct_json_get(settings_of(item), "tools"), false, &item->tools, err));
        options.tools = item->options.tools = item->tools.data;
    }
    NCT_TRY(nct_alloc(&p, n + 1, sizeof *c.message, err));
    c.message = p;
    nct_status status = nct_alloc(&p, 2 * (n + 1), sizeof *c.text, err);
    if (status == NCT_OK) {
        c.text = p;
        status = list_messages(item, messages, &c, err);
        if (status == NCT_OK && !item->fault &&
            nct_chat_encode(r->engine, c.message, c.n, &options, &item->ids, &item->n_ids, &why) != NCT_OK)
            status = nct_item_fail(item, err, "invalid_record", "%s", why.text);
        for (size_t i = 0; i < 2 * (n + 1); i++)
            nct_bytes_reset(&c.text[i]);
    }
    nct_free(c.text);
    nct_free(c.message);
    if (status == NCT_OK && !item->fault)
        status = nct_ends_thinking(r->engine, item->ids, item->n_ids, &item->options.in_thinking, err);
    return status;
}

/* ------------------------------------------------------------------ content and an instruction */

static nct_status encode_prompt(void *context, size_t *n_ids, nct_error *err) {
    nct_item *item = context;
    nct_talk *talk = &item->recipe->talk;
    nct_talk_cut(talk, 0);
    nct_free(item->ids);
    item->ids = NULL;
    NCT_TRY(
        nct_talk_say(talk, item->prompt.text.data ? item->prompt.text.data : "", item->prompt.text.n, err));
    const char *prefix = item->recipe->cli->args.assistant ? item->recipe->prefix.data : NULL;
    NCT_TRY(nct_talk_prompt(talk, prefix, &item->ids, &item->n_ids, &item->options.in_thinking, err));
    nct_talk_cut(talk, 0);
    *n_ids = item->n_ids;
    return NCT_OK;
}

static nct_status add_text(nct_item *item, const char *name, const char *text, size_t n, bool instruction,
                           nct_error *err) {
    nct_recipe *r = item->recipe;
    nct_bytes copy = {0};
    nct_status status = n ? nct_bytes_add(&copy, text, n, err) : NCT_OK;
    r->said.n = 0;
    if (status == NCT_OK && n && nct_input_clean(&r->quiet, name, &copy) != NCT_EXIT_OK)
        status = fail_as_said(item, "invalid_record", err);
    else if (status == NCT_OK && copy.n)
        status = nct_prompt_add(&item->prompt, name, &copy, instruction, err);
    nct_bytes_reset(&copy);
    return status;
}

/* What a record holds in a key that must be a text. */
static nct_status text_of(nct_item *item, const char *key, const char **text, nct_error *err) {
    const nct_json *json = nct_json_get(item->json, key);
    *text = nct_json_string(json, NULL);
    return json && !*text ? nct_item_fail(item, err, "invalid_record", "%.40s is no text", key) : NCT_OK;
}

/* The content first, what is to be done with it last, or as --order says. */
static nct_status build_prompt(nct_item *item, nct_error *err) {
    nct_recipe *r = item->recipe;
    const nct_args *a = &r->cli->args;
    const char *ask = NULL, *text = NULL;
    if (item->json) {
        NCT_TRY(text_of(item, "prompt", &ask, err));
        NCT_TRY(text_of(item, a->field ? a->field : "text", &text, err));
    } else if (!item->is_file) {
        text = item->text.data;
    }
    if (!ask)
        ask = r->instruction.data;
    if (!text && !item->body.n && !ask)
        return nct_item_fail(item, err, "invalid_record", "it has no prompt, no messages and no %s",
                             a->field ? a->field : "text");
    if (!text && item->json && a->field)
        return nct_item_fail(item, err, "invalid_record", "it has no %s", a->field);
    if (!text && !item->body.n && item->json && !nct_json_get(item->json, "prompt") &&
        !nct_json_get(item->json, "file"))
        return nct_item_fail(item, err, "invalid_record",
                             "it has no prompt, no messages, no text and no file");
    bool first = a->order == 1;
    if (ask && first)
        NCT_TRY(add_text(item, "the prompt", ask, strlen(ask), true, err));
    if (item->body.n)
        NCT_TRY(add_text(item, item->is_file ? item->text.data : "file", item->body.data, item->body.n, false,
                         err));
    if (text)
        NCT_TRY(add_text(item, "text", text, strlen(text), false, err));
    if (ask && !first)
        NCT_TRY(add_text(item, "the prompt", ask, strlen(ask), true, err));
    nct_prompt_end(&item->prompt);
    r->said.n = 0;
    if (!item->fault && r->template.n &&
        nct_template_fill(&r->quiet, &r->template, item->is_file ? item->text.data : item->id.data,
                          &item->prompt) != NCT_EXIT_OK)
        return fail_as_said(item, "invalid_record", err);
    return NCT_OK;
}

nct_status nct_item_prepare(nct_item *item, int (*limit_of)(void *context, int n_expected), void *context,
                            nct_error *err) {
    nct_recipe *r = item->recipe;
    const nct_json *messages = nct_json_get(settings_of(item), "messages");
    item->options = (nct_answer_options){
        .sampling = r->sampling,
        .max_tokens = r->max_tokens,
        .sample = item->sample,
        .ignore_eos = r->cli->args.ignore_eos,
        .patient = true,
        .continuation = r->plain || r->cli->args.assistant,
        .prefix = r->cli->args.assistant ? r->prefix.data : NULL,
        .has_budget = r->cli->args.think_budget != NCT_UNSET,
        .budget = r->cli->args.think_budget != NCT_UNSET ? (size_t)r->cli->args.think_budget : 0,
        .find_thinking = !r->plain,
        .tools = r->talk.options.tools,
        .stops = &item->stops};
    if (!item->fault)
        NCT_TRY(take_settings(item, err));
    if (!item->fault && messages)
        NCT_TRY(encode_messages(item, messages, err));
    else if (!item->fault && item->openai)
        NCT_TRY(nct_item_fail(item, err, "invalid_record", "the body has no messages"));
    else if (!item->fault)
        NCT_TRY(build_prompt(item, err));
    if (!item->fault && !messages) {
        size_t n;
        NCT_TRY(encode_prompt(item, &n, err));
    }
    if (item->fault)
        return NCT_OK;
    if (item->n_ids == 0)
        return nct_item_fail(item, err, "invalid_record", "the prompt is empty");
    size_t expected = item->n_ids + item->options.max_tokens,
           limit = (size_t)limit_of(context, expected < INT32_MAX ? (int)expected : INT32_MAX);
    nct_fit fit = {.cli = &r->quiet,
                   .engine = r->engine,
                   .prompt = &item->prompt,
                   .n_ids = item->n_ids,
                   .limit = limit,
                   .encode = encode_prompt,
                   .context = item};
    r->said.n = 0;
    if (!messages && nct_overflow_fit(&fit, &item->n_dropped) != NCT_EXIT_OK)
        return fail_as_said(item, "failure", err);
    if (item->n_ids > limit) {
        item->n_tokens = item->n_ids;
        NCT_TRY(nct_item_fail(item, err, "context_overflow", "input is %zu tokens; the context holds %zu",
                              item->n_ids, limit));
    }
    return NCT_OK;
}
