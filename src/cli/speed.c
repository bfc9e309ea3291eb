#include "cli/speed.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/json.h"
#include "base/sha256.h"
#include "cli/batch_progress.h"
#include "cli/host.h"
#include "cli/show.h"

enum {
    SCHEMA = 1,
    SLICE = 128, /* tokens of a prompt that are timed */
    STEPS = 5,   /* single tokens */
    DEEP = 4096, /* tokens behind which that is done again */
    DAYS = 30,   /* that a measurement is believed */
};

/* ------------------------------------------------------------------ measuring */

typedef struct probe {
    nct_session *session;
    int32_t ids[SLICE + STEPS];
    size_t limit; /* tokens that the session may hold */
    const volatile int *stop;
} probe;

static nct_status feed(const probe *p, const int32_t *ids, size_t n, double *seconds, nct_error *err) {
    uint64_t began = nct_clock_ns();
    NCT_TRY(nct_session_feed(p->session, ids, n, &(nct_feed_options){.stop = p->stop}, err));
    *seconds += (double)(nct_clock_ns() - began) * 1e-9;
    return NCT_OK;
}

/* Times what follows `depth` tokens. */
static nct_status time_at(const probe *p, size_t depth, nct_speed_at *at, nct_error *err) {
    nct_speed_at found = {.depth = depth};
    NCT_TRY(nct_session_rewind(p->session, 0, err));
    if (depth)
        NCT_TRY(nct_session_make_up(p->session, (int)depth, 1, err));
    NCT_TRY(feed(p, p->ids, SLICE, &found.read_s, err));
    for (size_t i = 0; i < STEPS; i++)
        NCT_TRY(feed(p, p->ids + SLICE + i, 1, &found.write_s, err));
    found.read_s /= SLICE;
    found.write_s /= STEPS;
    *at = found;
    return NCT_OK;
}

/* The depths: of dense attention the beginning and DEEP or as far as it goes; of chosen blocks, if any will be, as far
 * behind where they begin. */
static size_t deep_of(const probe *p, const nct_speed *s) {
    size_t end = s->chooses_from < p->limit ? s->chooses_from : p->limit, used = SLICE + STEPS;
    return end < 2 * used ? 0 : end - used < DEEP ? end - used : DEEP;
}
static size_t chosen_of(const probe *p, const nct_speed *s, size_t n_tokens) {
    size_t used = SLICE + STEPS;
    if (n_tokens <= s->chooses_from || p->limit <= s->chooses_from + used)
        return 0;
    return p->limit - used < s->chooses_from + DEEP ? p->limit - used : s->chooses_from + DEEP;
}

static nct_status measure(const probe *p, size_t n_tokens, nct_speed *s, nct_error *err) {
    double warm = 0;
    size_t deep = deep_of(p, s), chosen = chosen_of(p, s, n_tokens);
    NCT_TRY(feed(p, p->ids, 1, &warm, err)); /* weights come into memory */
    NCT_TRY(time_at(p, 0, &s->begin, err));
    if (deep)
        NCT_TRY(time_at(p, deep, &s->deep, err));
    if (chosen)
        NCT_TRY(time_at(p, chosen, &s->chosen, err));
    s->when = (int64_t)time(NULL);
    return NCT_OK;
}

/* A session of the model's whole window, whatever -c says: speeds are found again by what they hang on. */
static int open_probe(const nct_cli *cli, nct_engine *engine, const int32_t *ids, size_t n_ids, probe *p) {
    nct_knobs knobs;
    nct_error err = {0};
    int code = nct_take_knobs(cli, &knobs);
    if (code != NCT_EXIT_OK)
        return code;
    nct_session_options o = nct_take_session(cli, &knobs);
    o.kv_folder = NULL;
    o.kv_mapped = o.decide_by_prompt = false;
    if (nct_session_open(engine, &o, &p->session, &err) != NCT_OK)
        return nct_say_status(cli, &err);
    p->limit = (size_t)nct_session_limit(p->session);
    for (size_t i = 0; i < SLICE + STEPS; i++)
        p->ids[i] = ids[i % n_ids];
    return NCT_EXIT_OK;
}

/* ------------------------------------------------------------------ remembering */

/* What a speed hangs on, besides the host. */
static void name_speed(const nct_cli *cli, const nct_engine *engine, const nct_session *session,
                       char buf[32]) {
    nct_model_info m;
    nct_report r;
    nct_bytes key = {0};
    uint8_t digest[NCT_SHA256_BYTES];
    nct_engine_info(engine, &m);
    nct_session_report(session, &r);
    nct_bytes_printf(&key, NULL, "%s|%s|%s|%d|%d|%d|%s|%d|%d|%s|%s|%s|%d", m.name, m.weights, m.head,
                     m.n_layers, m.hidden, m.n_vocab, m.isa, m.n_threads, m.n_threads_batch, m.numa, r.keys,
                     r.values, r.chooses_from);
    for (size_t i = 0; i < cli->args.knobs.n; i++)
        nct_bytes_printf(&key, NULL, "|%s", cli->args.knobs.item[i]);
    nct_sha256_of(key.data ? key.data : "", key.n, digest);
    nct_bytes_reset(&key);
    snprintf(buf, 32, "speed-%02x%02x%02x%02x%02x%02x", digest[0], digest[1], digest[2], digest[3], digest[4],
             digest[5]);
}

static void write_at(const char *name, const nct_speed_at *at, nct_bytes *out) {
    nct_bytes_printf(out, NULL, ",\"%s\":{\"depth\":%zu,\"read_s\":%.9g,\"write_s\":%.9g}", name, at->depth,
                     at->read_s, at->write_s);
}

static void keep(const char *name, const nct_speed *s) {
    nct_cpu cpu;
    nct_bytes text = {0};
    nct_cpu_detect(&cpu);
    nct_bytes_add_str(&text, "{\"cpu\":", NULL);
    nct_json_write_string(&text, cpu.name, strlen(cpu.name), NULL);
    nct_bytes_printf(&text, NULL, ",\"schema\":%d,\"usable\":%d,\"when\":%lld", SCHEMA, nct_cpu_usable(),
                     (long long)s->when);
    write_at("begin", &s->begin, &text);
    write_at("deep", &s->deep, &text);
    write_at("chosen", &s->chosen, &text);
    if (nct_bytes_add_str(&text, "}\n", NULL) == NCT_OK)
        nct_host_store(name, &text); /* where it cannot be, the next one measures again */
    nct_bytes_reset(&text);
}

static bool take_at(const nct_json *json, const char *name, nct_speed_at *at) {
    const nct_json *j = nct_json_get(json, name);
    int64_t depth = nct_json_int(nct_json_get(j, "depth"), -1);
    double read_s = nct_json_number(nct_json_get(j, "read_s"), -1),
           write_s = nct_json_number(nct_json_get(j, "write_s"), -1);
    if (depth < 0 || depth > INT32_MAX || !(read_s >= 0 && read_s < 1e6) || !(write_s >= 0 && write_s < 1e6))
        return false;
    *at = (nct_speed_at){(size_t)depth, read_s, write_s};
    return true;
}

static bool take(const nct_json *json, nct_speed *s) {
    nct_cpu cpu;
    nct_cpu_detect(&cpu);
    int64_t when = nct_json_int(nct_json_get(json, "when"), 0), now = (int64_t)time(NULL);
    if (nct_json_int(nct_json_get(json, "schema"), 0) != SCHEMA ||
        nct_json_int(nct_json_get(json, "usable"), 0) != nct_cpu_usable() ||
        strcmp(nct_json_string(nct_json_get(json, "cpu"), ""), cpu.name) != 0 || when > now ||
        now - when > (int64_t)DAYS * 86400)
        return false;
    s->when = when;
    return take_at(json, "begin", &s->begin) && take_at(json, "deep", &s->deep) &&
           take_at(json, "chosen", &s->chosen) && s->begin.read_s > 0 && s->begin.write_s > 0;
}

/* What an earlier command found, if it is all that is asked for. */
static bool remember(const char *name, size_t deep, size_t chosen, nct_speed *s) {
    nct_bytes text = {0};
    nct_json *json = NULL;
    nct_speed found = *s;
    bool good = nct_host_load(name, &text) &&
                nct_json_parse(name, text.data, text.n, &json, NULL) == NCT_OK && take(json, &found) &&
                found.deep.depth == deep && (!chosen || found.chosen.depth == chosen);
    nct_json_close(json);
    nct_bytes_reset(&text);
    if (good)
        *s = found;
    s->remembered = good;
    return good;
}

static int find(const nct_cli *cli, nct_engine *engine, const probe *p, size_t n_tokens, nct_speed *s) {
    nct_report report;
    nct_model_info info;
    nct_error err = {0};
    char name[32];
    nct_session_report(p->session, &report);
    s->chooses_from = report.chooses_from < 0 ? SIZE_MAX : (size_t)report.chooses_from;
    size_t deep = deep_of(p, s), chosen = chosen_of(p, s, n_tokens), most = deep > chosen ? deep : chosen;
    name_speed(cli, engine, p->session, name);
    if (cli->args.cache != 1 && remember(name, deep, chosen, s))
        return NCT_EXIT_OK;
    nct_engine_info(engine, &info);
    if (p->limit < SLICE + STEPS)
        s->unknown = "the model's window is too short to measure";
    else if (nct_session_cache_bytes(p->session, most + SLICE + STEPS) > nct_cache_room(cli, &info))
        s->unknown = "memory does not suffice to measure";
    if (s->unknown)
        return NCT_EXIT_OK;
    if (measure(p, n_tokens, s, &err) == NCT_E_STOPPED)
        return 128 + (int)*nct_signals_flag();
    if (err.status != NCT_OK)
        return nct_say_status(cli, &err);
    if (cli->args.cache == NCT_UNSET || cli->args.cache == 0)
        keep(name, s);
    return NCT_EXIT_OK;
}

int nct_speed_find(const nct_cli *cli, nct_engine *engine, const int32_t *ids, size_t n_ids, size_t n_tokens,
                   nct_speed *speed) {
    probe p = {.stop = nct_signals_flag()};
    *speed = (nct_speed){0};
    nct_signals_catch();
    int code = open_probe(cli, engine, ids, n_ids, &p);
    if (code == NCT_EXIT_OK)
        code = find(cli, engine, &p, n_tokens, speed);
    nct_session_close(p.session);
    return code;
}

/* ------------------------------------------------------------------ estimating */

/* Seconds of n tokens behind `depth` others; what is attended to grows by one with each, or does not. */
static double estimate(const nct_speed *s, bool write, size_t depth, size_t n) {
    size_t until = s->chosen.depth ? s->chooses_from : SIZE_MAX, n_dense = depth >= until ? 0
                                                                           : n < until - depth
                                                                               ? n
                                                                               : until - depth;
    double begin = write ? s->begin.write_s : s->begin.read_s,
           deep = write ? s->deep.write_s : s->deep.read_s,
           chosen = write ? s->chosen.write_s : s->chosen.read_s, more = 0;
    if (s->deep.depth && deep > begin) /* else it is lost in what varies */
        more = (deep - begin) / (double)s->deep.depth;
    double middle = (double)depth + (double)n_dense / 2;
    return (double)n_dense * (begin + more * middle) + (double)(n - n_dense) * chosen;
}

double nct_speed_read(const nct_speed *s, size_t n) { return estimate(s, false, 0, n); }
double nct_speed_write(const nct_speed *s, size_t depth, size_t n) { return estimate(s, true, depth, n); }

static void write_date(const nct_speed *s, const char *form, char buf[32]) {
    time_t when = (time_t)s->when;
    struct tm day;
    localtime_r(&when, &day);
    strftime(buf, 32, form, &day);
}

const char *nct_speed_time(double seconds, char buf[32]) {
    if (seconds >= 10)
        return nct_duration(seconds, buf);
    if (seconds < 0.1)
        return "under 0.1 s";
    snprintf(buf, 32, "%.1f s", seconds);
    return buf;
}

void nct_speed_print(const nct_speed *s, size_t n_prompt, size_t n_answer, size_t n_samples,
                     nct_output *out) {
    char reading[32], writing[32], date[32];
    if (s->unknown) {
        nct_output_print(out, "time     unknown: %s\n", s->unknown);
        return;
    }
    double read_s = nct_speed_read(s, n_prompt), write_s = nct_speed_write(s, n_prompt, n_answer);
    nct_output_print(out, "time     %s to read the prompt (%.0f t/s), then %.1f t/s: %s at most for %s\n",
                     nct_speed_time(read_s, reading), nct_rate(n_prompt, read_s), nct_rate(n_answer, write_s),
                     nct_speed_time((double)n_samples * write_s, writing),
                     n_samples > 1 ? "the answers" : "the answer");
    write_date(s, "%Y-%m-%d %H:%M", date);
    nct_output_print(
        out, "         by speeds of this host measured %s%s, without guesses and with nothing cached\n",
        s->remembered ? "on " : "now", s->remembered ? date : "");
}

void nct_speed_print_json(const nct_speed *s, size_t n_prompt, size_t n_answer, size_t n_samples,
                          nct_output *out) {
    char date[32];
    if (s->unknown) {
        nct_output_print(out, "\"time\":null,\"time_unknown\":\"%s\"", s->unknown);
        return;
    }
    double read_s = nct_speed_read(s, n_prompt), write_s = nct_speed_write(s, n_prompt, n_answer);
    write_date(s, "%Y-%m-%dT%H:%M:%S%z", date);
    nct_output_print(
        out,
        "\"time\":{\"prefill_s\":%.6g,\"decode_s\":%.6g,\"prefill_tps\":%.6g,\"decode_tps\":%.6g,"
        "\"from\":\"%s\",\"measured\":\"%s\"}",
        read_s, (double)n_samples * write_s, nct_rate(n_prompt, read_s), nct_rate(n_answer, write_s),
        s->remembered ? "remembered" : "measured", date);
}
