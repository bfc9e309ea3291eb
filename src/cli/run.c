/* One answer to stdout. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/room.h"
#include "base/utf8.h"
#include "base/clock.h"
#include "cli/constrain.h"
#include "cli/events.h"
#include "cli/input.h"
#include "cli/logprobs.h"
#include "cli/open.h"
#include "cli/overflow.h"
#include "cli/result.h"
#include "cli/sessions.h"
#include "cli/show.h"
#include "cli/sources.h"
#include "cli/speed.h"
#include "cli/talk.h"
#include "text/fence.h"

enum { PLAIN_TOKENS = 256 }; /* a text that is continued has no end of its own */

typedef struct run {
    const nct_cli *cli;
    nct_engine *engine;
    nct_model_info info;
    nct_session *session;
    nct_prompt prompt;
    nct_talk talk;
    nct_kept kept;   /* of --session */
    size_t n_before; /* turns that it held */
    bool plain;
    nct_bytes prefix;        /* --assistant */
    int32_t *ids;            /* the whole prompt */
    size_t n_ids, n_dropped; /* dropped: by --overflow */
    nct_sampling sampling;
    void *bias;
    nct_constraint *constraint; /* --schema and its like, or NULL */
    nct_answer_options options;
    nct_answer answer;
    nct_sources sources; /* with --sources */
    int dense_len; /* of -X sparse.dense_len; 0: the model's */
    nct_source *found;
    size_t n_found;
    nct_show show;
    nct_events events; /* with --format events */
    nct_logprobs logprobs;
    size_t n_samples;
    uint64_t began_ns;
    char error_text[NCT_ERROR_TEXT];
} run;

static bool as_json(const run *r) {
    return r->cli->args.format == NCT_FORMAT_JSON || r->cli->args.format == NCT_FORMAT_JSONL;
}

static bool as_events(const run *r) { return r->cli->args.format == NCT_FORMAT_EVENTS; }

/* ------------------------------------------------------------------ the prompt's ids */

static size_t count_tokens(const run *r, const char *text, size_t n) {
    int32_t *ids = NULL;
    size_t n_ids = 0;
    if (nct_encode(r->engine, text, n, r->cli->args.parse_special, false, &ids, &n_ids, NULL) != NCT_OK)
        return 0;
    nct_free(ids);
    return n_ids;
}

static size_t count_part(const run *r, const nct_prompt_part *part) {
    size_t end = part->end < r->prompt.text.n ? part->end : r->prompt.text.n;
    return part->begin < end ? count_tokens(r, r->prompt.text.data + part->begin, end - part->begin) : 0;
}

/* Exit 4: both numbers, the largest part, and a command that takes less of it. */
static int refuse_overflow(const run *r) {
    size_t limit = (size_t)nct_session_limit(r->session), most = 0;
    const nct_prompt_part *largest = NULL;
    for (size_t i = 0; i < r->prompt.n_parts; i++) {
        size_t n = count_part(r, &r->prompt.part[i]);
        if (n > most) {
            most = n;
            largest = &r->prompt.part[i];
        }
    }
    nct_bytes text = {0};
    bool is_long = nct_session_is_long(r->session);
    size_t window = (size_t)(is_long ? r->info.long_positions : r->info.max_positions);
    nct_bytes_printf(&text, NULL, "input is %s tokens; ", NCT_N(r->n_ids));
    if (limit < window)
        nct_bytes_printf(&text, NULL, "-c allows %s, and ", NCT_N(limit));
    nct_bytes_printf(&text, NULL, "%s holds %s%s", r->info.name, NCT_N(window),
                     is_long ? " with its long RoPE list" : "");
    if (largest)
        nct_bytes_printf(&text, NULL, "\nlargest part: %s (%s tokens)", largest->name, NCT_N(most));
    size_t rest = r->n_ids > most ? r->n_ids - most : 0, reserve = nct_answer_reserve(r->cli);
    size_t kept = limit - (reserve < limit / 2 ? reserve : limit / 2);
    const char *try = "try:", *more = "    ";
    if (limit < window && r->n_ids <= window) {
        nct_bytes_printf(&text, NULL, "\n%s noctule run -c auto ...               (holds %s)", try, NCT_N(window));
        try = more;
    } else if (r->n_ids <= (size_t)r->info.long_positions) {
        nct_bytes_printf(&text, NULL, "\n%s noctule run --rope long ...          (holds %s)", try,
                         NCT_N((uint64_t)r->info.long_positions));
        try = more;
    }
    if (largest && !largest->instruction && strcmp(largest->name, "stdin") != 0) {
        nct_bytes_printf(&text, NULL, "\n%s noctule sum %s    (summarises in sections)", try, largest->name);
        try = more;
    }
    if (largest && !largest->instruction && limit > 2 * rest)
        nct_bytes_printf(&text, NULL,
                         "\n%s noctule run --overflow middle ...    (drops about %s tokens from the middle, reported)",
                         try, NCT_N(r->n_ids - kept));
    int code = nct_say_error(r->cli, NCT_EXIT_CONTEXT, "%s",
                             text.data ? text.data : "the input does not fit the context");
    nct_bytes_reset(&text);
    return code;
}

static int check_ids(const run *r) {
    for (size_t i = 0; i < r->n_ids; i++)
        if (r->ids[i] >= r->info.n_vocab)
            return nct_say_error(r->cli, NCT_EXIT_USAGE,
                                 "--ids: %d at item %zu is outside the vocabulary of %d", r->ids[i], i,
                                 r->info.n_vocab);
    return NCT_EXIT_OK;
}

/* A library error while the prompt becomes ids: an argument that is wrong was an option's. */
static int say_prompt_error(const run *r, const nct_error *err) {
    if (err->status == NCT_E_ARGUMENT)
        return nct_say_error(r->cli, NCT_EXIT_USAGE, "%s", err->text);
    return nct_say_status(r->cli, err);
}

/* The ids of the text as it now is. */
static nct_status encode_text(void *context, size_t *n_ids, nct_error *err) {
    run *r = context;
    const char *prefix = r->cli->args.assistant ? r->prefix.data : NULL;
    nct_talk_cut(&r->talk, r->n_before);
    nct_free(r->ids);
    r->ids = NULL;
    NCT_TRY(nct_talk_say(&r->talk, r->prompt.text.data ? r->prompt.text.data : "", r->prompt.text.n, err));
    for (size_t i = 0; i < r->prompt.n_parts; i++)
        if (r->prompt.part[i].instruction)
            r->talk.turn[r->talk.n_turns - 1].typed = r->prompt.part[i].begin;
    NCT_TRY(nct_talk_prompt(&r->talk, prefix, &r->ids, &r->n_ids, &r->options.in_thinking, err));
    *n_ids = r->n_ids;
    return NCT_OK;
}

static int encode_prompt(run *r) {
    const nct_args *a = &r->cli->args;
    nct_error err = {0};
    r->plain = a->raw || r->prompt.has_ids || !nct_engine_has_template(r->engine);
    int code = nct_talk_open(r->cli, r->engine, r->plain, &r->talk);
    if (code == NCT_EXIT_OK && a->assistant) {
        if (r->prompt.has_ids)
            return nct_say_error(r->cli, NCT_EXIT_USAGE,
                                 "--ids is the whole prompt; --assistant was given too");
        code = nct_input_option(r->cli, a->assistant, "--assistant", &r->prefix);
    }
    if (code == NCT_EXIT_OK && r->kept.there)
        code = nct_kept_load(&r->kept, &r->info, &r->talk);
    r->n_before = r->talk.n_turns;
    if (code != NCT_EXIT_OK)
        return code;
    if (r->prompt.has_ids) {
        r->ids = r->prompt.ids;
        r->n_ids = r->prompt.n_ids;
        r->prompt.ids = NULL;
        code = check_ids(r);
    } else if (encode_text(r, &r->n_ids, &err) != NCT_OK) {
        code = say_prompt_error(r, &err);
    }
    if (code == NCT_EXIT_OK && r->n_ids == 0)
        code = nct_say_error(r->cli, NCT_EXIT_USAGE,
                             "the prompt is empty, and %s has no token that begins a text", r->info.name);
    return code;
}

/* The prompt fits the session, or is made to, or is refused. */
static int fit_prompt(run *r) {
    nct_fit fit = {.cli = r->cli,
                   .engine = r->engine,
                   .prompt = &r->prompt,
                   .n_ids = r->n_ids,
                   .limit = (size_t)nct_session_limit(r->session),
                   .encode = encode_text,
                   .context = r};
    int code = r->prompt.has_ids ? NCT_EXIT_OK : nct_overflow_fit(&fit, &r->n_dropped);
    if (code == NCT_EXIT_OK && r->n_ids > fit.limit)
        code = refuse_overflow(r);
    return code;
}

static int check_stops(const nct_cli *cli) {
    for (size_t i = 0; i < cli->args.stops.n; i++)
        if (!nct_utf8_valid(cli->args.stops.item[i], strlen(cli->args.stops.item[i])))
            return nct_say_error(cli, NCT_EXIT_USAGE, "--stop number %zu is not UTF-8", i + 1);
    return NCT_EXIT_OK;
}

static int check_session(const nct_cli *cli) {
    const nct_args *a = &cli->args;
    const char *other = a->ids ? "--ids" : a->assistant ? "--assistant" : a->samples > 1 ? "--samples" : NULL;
    if ((a->session || a->go_on) && other)
        return nct_say_error(cli, NCT_EXIT_USAGE, "%s does not go with %s: a session is told by its turns", other,
                             a->session ? "--session" : "--continue");
    return NCT_EXIT_OK;
}

/* ------------------------------------------------------------------ results */

static void print_stats(const run *r) {
    const nct_answer *a = &r->answer;
    nct_bytes line = {0};
    nct_bytes_printf(&line, NULL, "%s in", NCT_N(a->n_prompt));
    if (a->n_cached)
        nct_bytes_printf(&line, NULL, " (%s cached)", NCT_N(a->n_cached));
    nct_bytes_printf(&line, NULL, " · %s out", NCT_N(a->n_ids));
    if (a->n_prefill)
        nct_bytes_printf(&line, NULL, " · prefill %.*f t/s", nct_rate(a->n_prefill, a->prefill_s) < 100,
                         nct_rate(a->n_prefill, a->prefill_s));
    if (a->n_decode)
        nct_bytes_printf(&line, NULL, " · %.1f t/s", nct_rate(a->n_decode, a->decode_s));
    nct_spec_line(a, &line);
    nct_report report;
    nct_session_report(r->session, &report);
    if (report.kv_mapped_bytes)
        nct_bytes_printf(&line, NULL, " · cache %s in files, %s of it in memory, %s not written yet",
                         NCT_BYTES(report.kv_mapped_bytes), NCT_BYTES(report.kv_resident_bytes),
                         NCT_BYTES(report.kv_dirty_bytes));
    if (r->sampling.temperature > 0)
        nct_bytes_printf(&line, NULL, " · seed %llu", (unsigned long long)r->sampling.seed);
    if (r->info.copied_bytes)
        nct_bytes_printf(&line, NULL, " · %s of weights copied", NCT_BYTES(r->info.copied_bytes));
    if (line.data)
        nct_say_dim(r->cli, "%s", line.data);
    nct_bytes_reset(&line);
}

/* "r-" and 26 digits of base 32 as in a ULID: 48 bits of milliseconds, then random ones. */
static void make_id(char buf[29]) {
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t time = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
             random = nct_draw_seed() << 32 | nct_draw_seed();
    buf[0] = 'r';
    buf[1] = '-';
    for (int i = 9; i >= 0; i--, time >>= 5)
        buf[2 + i] = digits[time & 31];
    for (int i = 0; i < 16; i++) {
        if (i == 12)
            random = nct_draw_seed();
        buf[12 + i] = digits[random & 31];
        random >>= 5;
    }
    buf[28] = 0;
}

static nct_status add_json_text(nct_bytes *out, const nct_bytes *text, nct_error *err) {
    return nct_json_write_string(out, text->data ? text->data : "", text->n, err);
}

/* What the blocks that were chosen hold. */
static nct_status write_sparse(const run *r, const nct_report *report, nct_bytes *out, nct_error *err) {
    bool active = report->chooses_from >= 0 && nct_session_length(r->session) > report->chooses_from;
    NCT_TRY(nct_bytes_add_str(out, ",", err));
    NCT_TRY(nct_result_write_sparse(&r->info, active, r->dense_len, out, err));
    if (!r->sources.count)
        return NCT_OK;
    NCT_TRY(nct_bytes_add_str(out, ",", err));
    return nct_sources_write_json(r->found, r->n_found, out, err);
}

static nct_status write_json(const run *r, nct_bytes *out, nct_error *err) {
    const nct_answer *a = &r->answer;
    const nct_sampling *s = &r->sampling;
    char id[29], digest[NCT_DIGEST_HEX];
    make_id(id);
    bool cut = a->finish != NCT_FINISH_STOP || r->n_dropped;
    NCT_TRY(nct_bytes_printf(out, err, "{\"id\":\"%s\",\"text\":", id));
    if (a->calls)
        NCT_TRY(nct_json_write_string(out, a->content, strlen(a->content), err));
    else
        NCT_TRY(add_json_text(out, &a->text, err));
    if (a->calls)
        NCT_TRY(nct_bytes_printf(out, err, ",\"tool_calls\":%s", a->calls));
    NCT_TRY(nct_bytes_add_str(out, ",\"thinking\":", err));
    NCT_TRY(a->has_thinking ? add_json_text(out, &a->thinking, err) : nct_bytes_add_str(out, "null", err));
    NCT_TRY(nct_bytes_printf(out, err, ",\"finish_reason\":\"%s\",\"truncated\":%s,", nct_answer_reason(a),
                             cut ? "true" : "false"));
    NCT_TRY(nct_result_digest(r->engine, &r->info, digest, err));
    NCT_TRY(nct_result_write_model(&r->info, digest, out, err));
    NCT_TRY(nct_bytes_printf(
        out, err,
        ",\"usage\":{\"prompt\":%zu,\"dropped\":%zu,\"cached\":%zu,\"completion\":%zu,\"thinking\":%zu}",
        a->n_prompt, r->n_dropped, a->n_cached, a->n_ids, a->n_thinking));
    nct_report report;
    nct_session_report(r->session, &report);
    NCT_TRY(nct_bytes_printf(
        out, err, ",\"timings\":{\"load_ms\":%.1f,\"ttft_ms\":%.1f,\"prefill_tps\":%.1f,\"decode_tps\":%.1f}",
        report.load_s * 1e3, a->first_s * 1e3, nct_rate(a->n_prefill, a->prefill_s),
        nct_rate(a->n_decode, a->decode_s)));
    NCT_TRY(nct_bytes_add_str(out, ",", err));
    NCT_TRY(nct_result_write_spec(a->n_rounds, a->n_guessed, a->n_accepted, a->gain, out, err));
    NCT_TRY(nct_bytes_printf(out, err, ",\"weight_bytes\":%llu,\"cache_bytes\":%llu}",
                             (unsigned long long)r->info.draft_bytes, (unsigned long long)report.draft_bytes));
    NCT_TRY(
        nct_bytes_printf(out, err, ",\"rope\":\"%s\"", nct_session_is_long(r->session) ? "long" : "native"));
    NCT_TRY(nct_bytes_printf(
        out, err,
        ",\"cache\":{\"bytes\":%llu,\"mapped_bytes\":%llu,\"resident_bytes\":%llu,\"dirty_bytes\":%llu,"
        "\"written_bytes\":%llu}",
        (unsigned long long)report.kv_bytes, (unsigned long long)report.kv_mapped_bytes,
        (unsigned long long)report.kv_resident_bytes, (unsigned long long)report.kv_dirty_bytes,
        (unsigned long long)report.kv_written_bytes));
    nct_use use;
    nct_use_find(&use);
    NCT_TRY(nct_bytes_printf(out, err, ",\"memory\":{\"anonymous_bytes\":%llu,\"mapped_bytes\":%llu}",
                             (unsigned long long)use.anonymous_bytes, (unsigned long long)use.mapped_bytes));
    NCT_TRY(write_sparse(r, &report, out, err));
    NCT_TRY(nct_bytes_printf(
        out, err,
        ",\"sampling\":{\"seed\":%llu,\"temp\":%g,\"top_p\":%g,\"top_k\":%d,\"min_p\":%g,"
        "\"repeat_penalty\":%g}",
        (unsigned long long)s->seed, s->temperature, s->top_p, s->top_k, s->min_p, s->repeat_penalty));
    NCT_TRY(nct_bytes_add_str(out, ",\"token_ids\":[", err));
    for (size_t i = 0; i < a->n_ids; i++)
        NCT_TRY(nct_bytes_printf(out, err, i ? ",%d" : "%d", a->ids[i]));
    if (r->n_samples > 1)
        NCT_TRY(nct_bytes_printf(out, err, "],\"sample\":%u", r->options.sample));
    else
        NCT_TRY(nct_bytes_add_str(out, "]", err));
    if (r->cli->args.logprobs != NCT_UNSET) {
        NCT_TRY(nct_bytes_add_str(out, ",", err));
        NCT_TRY(nct_logprobs_write_json(r->engine, &r->logprobs, out, err));
    }
    return nct_bytes_add_str(out, "}\n", err);
}

static int print_json(run *r) {
    nct_bytes out = {0};
    nct_error err = {0};
    int code = NCT_EXIT_OK;
    if (write_json(r, &out, &err) != NCT_OK)
        code = nct_say_status(r->cli, &err);
    else if (as_events(r))
        nct_events_object(&r->events, "done", out.data, out.n);
    else
        nct_output_write(&r->show.output, out.data, out.n);
    nct_bytes_reset(&out);
    return code;
}

static void print_start(run *r) {
    nct_bytes out = {0};
    nct_bytes_printf(&out, NULL, "{\"model\":{\"name\":");
    nct_json_write_string(&out, r->info.name, strlen(r->info.name), NULL);
    nct_bytes_printf(&out, NULL, ",\"quant\":\"%s\"},\"prompt\":%zu,\"seed\":%llu}\n", r->info.weights, r->n_ids,
                     (unsigned long long)r->sampling.seed);
    if (out.data)
        nct_events_object(&r->events, "start", out.data, out.n);
    nct_bytes_reset(&out);
}

/* With -x: the first fenced block, or all of it where there is none. */
static void print_extract(run *r) {
    const nct_bytes *text = &r->answer.text;
    size_t begin = 0, end = text->n;
    if (text->n && !nct_fence_block(text->data, text->n, false, &begin, &end))
        nct_say_warning(r->cli, "no fenced block in the answer; all of it is printed");
    if (text->n)
        nct_output_write(&r->show.output, text->data + begin, end - begin);
}

static int find_logprobs(run *r) {
    nct_error err = {0};
    if (r->cli->args.logprobs == NCT_UNSET || r->answer.n_ids == 0 || *nct_signals_flag())
        return NCT_EXIT_OK;
    nct_logprobs_find(r->session, &r->info, r->n_ids, r->answer.ids, r->answer.n_ids, (size_t)r->cli->args.logprobs,
                      &r->logprobs, &err);
    return err.status == NCT_E_STOPPED ? NCT_EXIT_OK : nct_say_status(r->cli, &err);
}

/* With --sources: finds them, and prints them where no JSON will hold them. */
static int show_sources(run *r) {
    if (!r->sources.count || r->answer.n_ids == 0 || (r->cli->args.quiet && !as_json(r) && !as_events(r)))
        return NCT_EXIT_OK;
    nct_error err = {0};
    nct_report report;
    nct_status status = nct_sources_find_in(&r->sources, r->engine, r->ids, r->n_ids, &r->prompt, &r->found,
                                            &r->n_found, &err);
    nct_session_report(r->session, &report);
    if (status == NCT_OK && !as_json(r) && !as_events(r))
        nct_sources_print(r->cli, r->found, r->n_found, nct_sources_any(&r->sources), report.chooses_from);
    return nct_say_status(r->cli, &err);
}

/* What the end of an answer means to a script. */
static int exit_code(const run *r) {
    switch (r->answer.finish) {
    case NCT_FINISH_INTERRUPTED:
        return 128 + (int)*nct_signals_flag();
    case NCT_FINISH_LENGTH:
    case NCT_FINISH_TIMEOUT:
        if (r->cli->args.fail_on_length)
            return NCT_EXIT_LENGTH;
        return NCT_EXIT_OK;
    default:
        return NCT_EXIT_OK;
    }
}

static int finish(run *r) {
    nct_answer *a = &r->answer;
    int code = exit_code(r), found = find_logprobs(r);
    code = code == NCT_EXIT_OK ? found : code;
    nct_show_end(&r->show);
    if (r->cli->args.extract != NCT_UNSET && !as_json(r) && !as_events(r))
        print_extract(r);
    if (as_json(r) || as_events(r)) {
        int printed = show_sources(r);
        printed = printed == NCT_EXIT_OK ? print_json(r) : printed;
        code = code == NCT_EXIT_OK ? printed : code;
    } else if (a->finish != NCT_FINISH_CLOSED && r->show.output.last != '\n' &&
               (a->n_ids || r->show.output.tty)) {
        nct_output_write(&r->show.output, "\n", 1);
    }
    nct_output_flush(&r->show.output);
    if (code == NCT_EXIT_LENGTH)
        nct_say_error(r->cli, code,
                      a->finish == NCT_FINISH_TIMEOUT
                          ? "the answer was cut by --timeout after %s tokens"
                          : "the answer was cut after %s tokens\ntry: a larger -n",
                      NCT_N(a->n_ids));
    else if (a->finish == NCT_FINISH_TIMEOUT && a->n_ids == 0)
        code = nct_say_error(r->cli, NCT_EXIT_FAILURE, "--timeout ran out while the prompt was read");
    if (r->cli->args.stats || (r->cli->term.err_tty && !r->cli->args.quiet && !as_json(r) && !as_events(r)))
        print_stats(r);
    if (!as_json(r) && !as_events(r))
        nct_logprobs_print(r->engine, &r->logprobs);
    if (!as_json(r) && !as_events(r) && show_sources(r) != NCT_EXIT_OK)
        code = code == NCT_EXIT_OK ? NCT_EXIT_FAILURE : code;
    return code;
}

/* The turn and its answer go into the session, unless a signal cut it short. */
static int keep_turn(run *r) {
    const nct_answer *a = &r->answer;
    nct_error err = {0};
    if (!*r->kept.name || a->n_ids == 0 || a->finish == NCT_FINISH_INTERRUPTED || a->finish == NCT_FINISH_CLOSED ||
        r->cli->args.cache == 2)
        return NCT_EXIT_OK;
    if (nct_talk_fed(&r->talk, r->ids, r->n_ids, &err) != NCT_OK ||
        nct_talk_answered(&r->talk, a, &err) != NCT_OK)
        return nct_say_status(r->cli, &err);
    return nct_kept_save(&r->kept, &r->info, &r->talk);
}

static int dry_run(run *r) {
    size_t limit = (size_t)nct_session_limit(r->session), room = limit - r->n_ids;
    size_t answer = r->options.max_tokens && r->options.max_tokens < room ? r->options.max_tokens : room;
    nct_report report;
    nct_session_report(r->session, &report);
    uint64_t cache = report.kv_bytes_per_token * (r->n_ids + answer);
    nct_output *o = &r->show.output;
    nct_speed speed;
    int code = nct_speed_find(r->cli, r->engine, r->ids, r->n_ids, r->n_ids + answer, &speed);
    if (code != NCT_EXIT_OK)
        return code;
    if (as_json(r)) {
        nct_output_print(o,
                         "{\"dry_run\":true,\"prompt\":%zu,\"dropped\":%zu,\"context\":%zu,\"answer\":%zu,"
                         "\"weight_bytes\":%"
                         "llu,\"draft_bytes\":%llu,\"cache_bytes\":%llu,",
                         r->n_ids, r->n_dropped, limit, answer, (unsigned long long)r->info.weight_bytes,
                         (unsigned long long)r->info.draft_bytes, (unsigned long long)cache);
        nct_speed_print_json(&speed, r->n_ids, answer, r->n_samples, o);
        nct_output_print(o, "}\n");
        return NCT_EXIT_OK;
    }
    nct_output_print(o, "model    %s (%s)\n", r->info.name, r->info.weights);
    nct_output_print(o, "prompt   %s tokens of %s\n", NCT_N(r->n_ids), NCT_N(limit));
    for (size_t i = 0; i < r->prompt.n_parts; i++)
        nct_output_print(o, "         %s  %s\n", NCT_N(count_part(r, &r->prompt.part[i])),
                         r->prompt.part[i].name);
    nct_output_print(o, "answer   up to %s tokens\n", NCT_N(answer));
    nct_output_print(o, "memory   %s of weights, ", NCT_BYTES(r->info.weight_bytes));
    if (r->info.draft_bytes)
        nct_output_print(o, "%s of the draft's, ", NCT_BYTES(r->info.draft_bytes));
    nct_output_print(o, "%s of cache when all is used\n", NCT_BYTES(cache));
    nct_speed_print(&speed, r->n_ids, answer, r->n_samples, o);
    return NCT_EXIT_OK;
}

/* ------------------------------------------------------------------ the command */

/* --timeout, or what --max-time has left; 0: none. */
static double time_left(const run *r) {
    const nct_args *a = &r->cli->args;
    double left = isnan(a->timeout) ? 0 : a->timeout;
    if (isnan(a->max_time))
        return left;
    double rest = a->max_time - (double)(nct_clock_ns() - r->began_ns) * 1e-9;
    rest = rest > 1e-6 ? rest : 1e-6;
    return left > 0 && left < rest ? left : rest;
}

static int generate_one(run *r) {
    nct_error err = {0};
    nct_answer_close(&r->answer);
    nct_logprobs_close(&r->logprobs);
    r->show.n_bytes = 0;
    nct_signals_alarm(time_left(r));
    nct_meter_begin(r->cli, "reading", &r->show.meter);
    nct_status status =
        nct_answer_make(r->engine, r->session, r->ids, r->n_ids, &r->options, &r->answer, &err);
    nct_signals_alarm(0);
    nct_meter_end(&r->show.meter);
    if (status != NCT_OK) {
        nct_show_end(&r->show);
        return nct_say_status(r->cli, &err);
    }
    return finish(r);
}

/* The constraint, if there is one, from its beginning. */
static int match(run *r) {
    nct_error err = {0};
    nct_matcher_close(r->options.matcher);
    r->options.matcher = NULL;
    if (!r->constraint)
        return NCT_EXIT_OK;
    bool may_think = r->info.thinks && r->talk.options.think != NCT_THINK_OFF;
    nct_answer_constrain(r->constraint, (size_t)nct_session_limit(r->session), r->n_ids, may_think, &r->options, &r->options.matcher, &err);
    if (err.status == NCT_E_ARGUMENT)
        return nct_say_error(r->cli, NCT_EXIT_USAGE, "--assistant: %s", err.text);
    return nct_say_status(r->cli, &err);
}

static int generate(run *r) {
    int code = NCT_EXIT_OK;
    nct_signals_catch();
    if (as_events(r))
        print_start(r);
    for (size_t i = 0; i < r->n_samples && code == NCT_EXIT_OK && !*nct_signals_flag(); i++) {
        if (i && !as_json(r) && !as_events(r))
            nct_output_write(&r->show.output, "\n", 1); /* an empty line between answers */
        r->options.sample = (uint32_t)i;
        if (i && (code = match(r)) != NCT_EXIT_OK)
            break;
        code = generate_one(r);
        if (*nct_signals_flag() == SIGALRM && isnan(r->cli->args.max_time))
            nct_signals_clear(); /* the time of one answer */
    }
    if (as_events(r) && code != NCT_EXIT_OK)
        nct_events_error(&r->events, code, r->error_text);
    int held = nct_session_length(r->session), most = (int)r->n_ids, kept = keep_turn(r);
    code = code == NCT_EXIT_OK ? kept : code;
    bool whole = *r->kept.name || held < most; /* else the answer is nobody's beginning */
    nct_session_keep(r->session, whole ? held : most);
    nct_keep_learned(r->cli, r->engine, r->session);
    return code;
}

/* What keeps the answer to its constraint; refused here where there is no way to the end. */
static int constrain(run *r) {
    int code = nct_take_constraint(r->cli, r->engine, &r->sampling, &r->constraint);
    if (code != NCT_EXIT_OK || !r->constraint)
        return code;
    return match(r);
}

static int prepare(run *r) {
    const nct_args *a = &r->cli->args;
    int code = nct_open_model(r->cli, false, &r->engine, &r->info);
    if (code == NCT_EXIT_OK)
        code = nct_take_sampling(r->cli, r->engine, &r->sampling, &r->bias);
    if (code == NCT_EXIT_OK)
        code = encode_prompt(r);
    if (code == NCT_EXIT_OK) {
        code = nct_open_session(r->cli, r->engine, r->n_ids + nct_answer_reserve(r->cli), &r->session);
        nct_engine_info(r->engine, &r->info); /* a draft may have come to it */
    }
    if (code == NCT_EXIT_OK)
        code = fit_prompt(r);
    if (code != NCT_EXIT_OK)
        return code;
    r->options.sampling = r->sampling;
    r->options.max_tokens = a->max_tokens != NCT_UNSET ? (size_t)a->max_tokens : r->plain ? PLAIN_TOKENS : 0;
    r->options.ignore_eos = a->ignore_eos;
    r->options.continuation = r->plain || a->assistant; /* else its leading space is not text */
    r->options.find_thinking = !r->plain;
    r->options.has_budget = a->think_budget != NCT_UNSET;
    r->options.budget = r->options.has_budget ? (size_t)a->think_budget : 0;
    r->options.tools = r->talk.options.tools;
    r->show.answer = &r->answer;
    r->options.stops = &a->stops;
    r->options.prefix = a->assistant ? r->prefix.data : NULL;
    if (a->sources) {
        nct_error err = {0};
        if (nct_sources_open(r->cli, &r->info, (size_t)nct_session_limit(r->session), &r->sources, &err) != NCT_OK)
            return nct_say_status(r->cli, &err);
        r->options.on_choice = nct_sources_count;
        r->options.choice_context = &r->sources;
    }
    r->events.output = &r->show.output;
    r->options.emit = as_events(r) ? nct_events_piece : nct_show_piece;
    r->options.progress = as_events(r) ? nct_events_progress : nct_show_progress;
    r->options.context = as_events(r) ? (void *)&r->events : &r->show;
    r->n_samples = a->samples == NCT_UNSET ? 1 : (size_t)a->samples;
    return constrain(r);
}

/* Flags of a single answer make no sense in a chat that nobody asked for by name. */
static int start_chat(nct_cli *cli) {
    const nct_args *a = &cli->args;
    if (a->output || a->assistant || a->dry_run || a->samples != NCT_UNSET || a->logprobs != NCT_UNSET ||
        a->extract != NCT_UNSET || a->fail_on_length || a->order != NCT_UNSET ||
        (a->format != NCT_UNSET && a->format != NCT_FORMAT_TEXT))
        return nct_say_error(
            cli, NCT_EXIT_USAGE,
            "no prompt, and the flags are those of a single answer\ntry: noctule run ... \"...\"");
    return nct_chat_main(cli);
}

static void close_run(run *r) {
    nct_show_close(&r->show);
    nct_answer_close(&r->answer);
    nct_sources_close(&r->sources);
    nct_logprobs_close(&r->logprobs);
    nct_free(r->found);
    nct_talk_close(&r->talk);
    nct_prompt_close(&r->prompt);
    nct_kept_close(&r->kept);
    nct_bytes_reset(&r->prefix);
    nct_free(r->ids);
    nct_free(r->bias);
    nct_matcher_close(r->options.matcher);
    nct_constraint_close(r->constraint);
    nct_session_close(r->session);
    nct_engine_close(r->engine);
}

int nct_run_main(nct_cli *cli) {
    run r = {.cli = cli, .show.cli = cli, .began_ns = nct_clock_ns()};
    r.show.silent = as_json(&r) || cli->args.extract != NCT_UNSET;
    cli->error_text = r.error_text;
    nct_knobs knobs;
    int code = nct_take_knobs(cli, &knobs);
    r.dense_len = (int)knobs.dense_len;
    if (code == NCT_EXIT_OK)
        code = nct_overflow_check(cli);
    if (code == NCT_EXIT_OK)
        code = check_stops(cli);
    if (code == NCT_EXIT_OK)
        code = nct_constraint_check(cli);
    if (code == NCT_EXIT_OK)
        code = check_session(cli);
    if (code == NCT_EXIT_OK)
        code = nct_prompt_read(cli, &r.prompt);
    if (code == NCT_EXIT_OK && !r.prompt.chat)
        code = nct_kept_take(cli, &r.kept);
    if (code == NCT_EXIT_OK && r.prompt.chat) {
        nct_prompt_close(&r.prompt);
        return start_chat(cli);
    }
    if (code == NCT_EXIT_OK)
        code = prepare(&r);
    if (code == NCT_EXIT_OK && (code = nct_output_open(cli, cli->args.output, &r.show.output)) == NCT_EXIT_OK)
        code = nct_output_close(&r.show.output, cli->args.dry_run ? dry_run(&r) : generate(&r));
    close_run(&r);
    cli->error_text = NULL;
    return code;
}

/* ------------------------------------------------------------------ reading ahead */

/* Files as a prompt without an instruction would begin with them. */
static int read_content(run *r) {
    const nct_args *a = &r->cli->args;
    int code = a->files.n ? nct_prompt_add_files(r->cli, &r->prompt, &a->files) : NCT_EXIT_OK;
    if (code == NCT_EXIT_OK && a->words.n)
        code = nct_prompt_add_files(r->cli, &r->prompt, &a->words);
    if (code == NCT_EXIT_OK && r->prompt.text.n == 0 && !a->system)
        return nct_say_error(r->cli, NCT_EXIT_USAGE, "nothing to read\ntry: noctule cache warm handbook.txt");
    return code;
}

static int read_ahead(run *r) {
    nct_error err = {0};
    nct_signals_catch();
    nct_meter_begin(r->cli, "reading", &r->show.meter);
    nct_feed_options feed = {.stop = nct_signals_flag(), .progress = nct_show_progress, .context = &r->show};
    nct_status status = nct_session_take(r->session, r->ids, r->n_ids, &err);
    size_t taken = (size_t)nct_session_length(r->session);
    if (status == NCT_OK)
        status = nct_session_feed(r->session, r->ids + taken, r->n_ids - taken, &feed, &err);
    nct_meter_end(&r->show.meter);
    nct_session_keep(r->session, nct_session_length(r->session));
    if (status == NCT_E_STOPPED)
        return 128 + (int)*nct_signals_flag();
    if (status != NCT_OK)
        return nct_say_status(r->cli, &err);
    nct_output_print(&r->show.output, "%s tokens, %s of them read before\n", NCT_N(r->n_ids), NCT_N(taken));
    return NCT_EXIT_OK;
}

int nct_cache_warm_main(nct_cli *cli) {
    run r = {.cli = cli, .show.cli = cli};
    int code = read_content(&r);
    if (code == NCT_EXIT_OK)
        code = prepare(&r);
    if (code == NCT_EXIT_OK && (code = nct_output_open(cli, NULL, &r.show.output)) == NCT_EXIT_OK)
        code = nct_output_close(&r.show.output, read_ahead(&r));
    close_run(&r);
    return code;
}
