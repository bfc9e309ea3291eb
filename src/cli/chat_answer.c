/* The answers of a chat: how they are made, shown, taken into the conversation and gone on with. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/chat.h"
#include "cli/constrain.h"
#include "cli/open.h"

enum { PLAIN_TOKENS = 256 };

/* ------------------------------------------------------------------ how an answer ends */

static void print_stats(const nct_chat *c, const nct_answer *a) {
    if (c->cli->args.quiet || (!c->cli->term.err_tty && !c->cli->args.stats))
        return;
    nct_bytes line = {0}, spec = {0};
    char context[80];
    nct_bytes_printf(&line, NULL, "  (");
    if (a->n_cached)
        nct_bytes_printf(&line, NULL, "%s cached · ", NCT_N(a->n_cached));
    nct_bytes_printf(&line, NULL, "%s in · %s out", NCT_N(a->n_prompt - a->n_cached), NCT_N(a->n_ids));
    if (a->n_decode)
        nct_bytes_printf(&line, NULL, " · %.1f t/s", nct_rate(a->n_decode, a->decode_s));
    nct_spec_line(a, &spec);
    snprintf(context, sizeof context, " · context %s/%s)", NCT_N((uint64_t)nct_session_length(c->session)),
             NCT_N((uint64_t)nct_session_limit(c->session)));
    /* a narrow terminal has no room for everything; a dot is two bytes and a column */
    if (line.n + spec.n + strlen(context) <= (size_t)nct_term_width() + 5)
        nct_bytes_add(&line, spec.data, spec.n, NULL);
    nct_bytes_add_str(&line, context, NULL);
    if (line.data)
        nct_say_dim(c->cli, "%s", line.data);
    nct_bytes_reset(&line);
    nct_bytes_reset(&spec);
}

/* What the model asks for, and how to answer it. */
static void print_calls(const nct_chat *c, const nct_answer *a) {
    nct_json *calls = NULL;
    if (nct_json_parse("calls", a->calls, strlen(a->calls), &calls, NULL) != NCT_OK)
        return;
    for (const nct_json *call = nct_json_first(calls); call; call = nct_json_next(call)) {
        const nct_json *function = nct_json_get(call, "function");
        nct_say_note(c->cli, "tool call: %s %s    (/tool RESULT answers it)",
                     nct_json_string(nct_json_get(function, "name"), ""),
                     nct_json_string(nct_json_get(function, "arguments"), ""));
    }
    nct_json_close(calls);
}

/* Ends the line that the answer stands on, and says why it is no longer. */
static void print_end(nct_chat *c, const nct_answer *a) {
    nct_show_end(&c->show);
    const char *mark = a->finish == NCT_FINISH_INTERRUPTED ? "[stopped]"
                       : a->finish == NCT_FINISH_TIMEOUT   ? "[time is up]"
                                                           : NULL;
    size_t n_read = a->n_cached + a->n_prefill;
    char reading[128];
    if (mark && a->n_ids == 0 && n_read < a->n_prompt) { /* while the prompt was read */
        snprintf(reading, sizeof reading, "[%s: %s of %s tokens are read; the same turn goes on from there]",
                 a->finish == NCT_FINISH_TIMEOUT ? "time is up" : "stopped", NCT_N(n_read),
                 NCT_N(a->n_prompt));
        mark = reading;
    }
    if (a->finish == NCT_FINISH_LENGTH)
        mark = nct_session_length(c->session) >= nct_session_limit(c->session)
                   ? "[the context is full: /clear or /undo]"
                   : "[cut at -n]";
    if (c->show.output.tty && mark)
        nct_output_print(&c->show.output, c->cli->term.out_color ? "%s\033[2m%s\033[0m" : "%s%s",
                         a->text.n && a->text.data[a->text.n - 1] != '\n' ? " " : "", mark);
    if (c->show.output.last != '\n')
        nct_output_write(&c->show.output, "\n", 1);
    nct_output_flush(&c->show.output);
    if (!c->show.output.tty && mark)
        nct_say_note(c->cli, "%s", mark);
}

/* A turn that does not fit: the line of exit 4, and the conversation stays as it was. */
static int say_overflow(const nct_chat *c, size_t n_ids) {
    size_t limit = (size_t)nct_session_limit(c->session), most = (size_t)c->info.long_positions;
    char longer[128] = "";
    if (limit < most && n_ids <= most)
        snprintf(longer, sizeof longer, "\n     noctule chat --rope long ...    (a new chat, which holds %s)",
                 NCT_N(most));
    return nct_say_error(c->cli, NCT_EXIT_CONTEXT,
                         "the conversation would be %s tokens; the context holds %s\n"
                         "try: /undo\n     /clear%s",
                         NCT_N(n_ids), NCT_N(limit), longer);
}

size_t nct_chat_max_tokens(const nct_chat *c) {
    int64_t asked = c->cli->args.max_tokens;
    return asked != NCT_UNSET ? (size_t)asked : c->talk.plain ? PLAIN_TOKENS : 0;
}

/* ------------------------------------------------------------------ an answer */

/* How an answer is made; false if that cannot be. */
static bool take_options(nct_chat *c, nct_answer_options *options) {
    const nct_args *a = &c->cli->args;
    *options = (nct_answer_options){.sampling = c->sampling,
                                    .continuation = c->talk.plain,
                                    .find_thinking = !c->talk.plain,
                                    .has_budget = a->think_budget != NCT_UNSET,
                                    .budget = a->think_budget != NCT_UNSET ? (size_t)a->think_budget : 0,
                                    .tools = c->talk.options.tools,
                                    .ignore_eos = a->ignore_eos,
                                    .stops = &a->stops,
                                    .emit = nct_show_piece,
                                    .progress = nct_show_progress,
                                    .context = &c->show};
    options->sampling.seed += c->retries;
    options->max_tokens = nct_chat_max_tokens(c);
    c->n_prompt = 0;
    c->has_sources = false;
    if (!a->sources)
        return true;
    if (nct_chat_open_sources(c) != NCT_EXIT_OK)
        return false;
    options->on_choice = nct_sources_count;
    options->choice_context = &c->sources;
    return true;
}

/* The matcher of an answer to so many tokens; after a failure, which is said, false. */
static bool constrain(nct_chat *c, size_t n_ids, nct_answer_options *options) {
    nct_error err = {0};
    bool may_think = c->info.thinks && c->talk.options.think != NCT_THINK_OFF;
    if (!c->constraint)
        return true;
    c->code = nct_constraint_check(c->cli); /* /set may have brought a stop string */
    if (c->code == NCT_EXIT_OK &&
        nct_answer_constrain(c->constraint, (size_t)nct_session_limit(c->session), n_ids, may_think, options, &options->matcher, &err) != NCT_OK)
        c->code = nct_say_status(c->cli, &err);
    return c->code == NCT_EXIT_OK;
}

void nct_chat_begin_reading(nct_chat *c) {
    if (c->editor) /* what is typed now is for the next line, and shown there */
        nct_keys_open(&c->cli->term, &c->show.keys);
    c->show.keeps_keys = c->show.keys.open;
    nct_meter_begin(c->cli, "reading", &c->show.meter);
}

void nct_chat_end_reading(nct_chat *c) {
    nct_meter_end(&c->show.meter);
    c->show.keeps_keys = false;
    nct_keys_close(&c->show.keys);
}

/* Feeds the ids and shows what comes, with what there is to say about it. The caller closes *made in any case. */
static nct_status make(nct_chat *c, const int32_t *ids, size_t n_ids, const nct_answer_options *options,
                       nct_answer *made, nct_error *err) {
    const nct_args *a = &c->cli->args;
    *made = (nct_answer){0};
    if (n_ids > (size_t)nct_session_limit(c->session))
        c->code = say_overflow(c, n_ids);
    else
        c->code = nct_check_room(c->cli, c->engine, c->session, n_ids + nct_answer_reserve(c->cli));
    if (c->code != NCT_EXIT_OK)
        return NCT_OK; /* said */
    c->show.answer = made;
    nct_signals_alarm(isnan(a->timeout) ? 0 : a->timeout);
    nct_chat_begin_reading(c);
    nct_status status = nct_answer_make(c->engine, c->session, ids, n_ids, options, made, err);
    nct_chat_end_reading(c);
    nct_signals_alarm(0);
    c->show.answer = NULL;
    if (status != NCT_OK)
        return status;
    print_end(c, made);
    if (made->calls)
        print_calls(c, made);
    if (made->n_ids)
        print_stats(c, made);
    if (made->finish == NCT_FINISH_INTERRUPTED)
        c->interrupted_ns = nct_clock_ns();
    return NCT_OK;
}

/* An answer is in the conversation now. */
static void answered(nct_chat *c, size_t n_prompt) {
    c->n_prompt = n_prompt;
    c->has_sources = c->cli->args.sources;
    nct_chat_save(c);
    if (c->has_sources)
        nct_chat_sources(c, NCT_CHAT_SOURCES);
}

bool nct_chat_answer(nct_chat *c) {
    int32_t *ids = NULL;
    size_t n_ids = 0;
    nct_error err = {0};
    nct_answer made = {0};
    nct_answer_options options;
    if (!take_options(c, &options))
        return false;
    nct_status status = nct_talk_prompt(&c->talk, NULL, &ids, &n_ids, &options.in_thinking, &err);
    if (status == NCT_OK && n_ids <= (size_t)nct_session_limit(c->session) && !constrain(c, n_ids, &options)) {
        nct_free(ids);
        return false;
    }
    if (status == NCT_OK)
        status = make(c, ids, n_ids, &options, &made, &err);
    nct_matcher_close(options.matcher);
    bool taken = status == NCT_OK && made.n_ids > 0;
    if (taken && ((status = nct_talk_fed(&c->talk, ids, n_ids, &err)) != NCT_OK ||
                  (status = nct_talk_answered(&c->talk, &made, &err)) != NCT_OK))
        taken = false;
    if (status != NCT_OK)
        c->code = nct_say_status(c->cli, &err);
    if (taken)
        answered(c, n_ids);
    nct_answer_close(&made);
    nct_free(ids);
    return taken;
}

/* Whether the ids of an answer leave a thinking block open. */
static nct_status still_thinking(const nct_chat *c, const nct_turn *turn, bool *in_thinking, nct_error *err) {
    char *text = NULL;
    size_t n;
    if (turn->content.n)
        *in_thinking = false;
    else if (turn->reasoning.data)
        *in_thinking = true;
    if (!*in_thinking)
        return NCT_OK;
    NCT_TRY(nct_decode(c->engine, turn->ids, turn->n_ids, true, &text, &n, err));
    *in_thinking = !strstr(text, "</think>");
    nct_free(text);
    return NCT_OK;
}

/* What there was and what came, as one answer, which replaces the turn that was taken back. */
static nct_status join(nct_chat *c, const nct_turn *last, const int32_t *ids, nct_answer *made, nct_error *err) {
    nct_answer whole = {.finish = made->finish, .stop = made->stop};
    nct_status status = nct_bytes_add(&whole.text, last->content.data ? last->content.data : "", last->content.n, err);
    if (status == NCT_OK && made->text.n)
        status = nct_bytes_add(&whole.text, made->text.data, made->text.n, err);
    whole.has_thinking = last->reasoning.data || made->has_thinking;
    if (status == NCT_OK && last->reasoning.n)
        status = nct_bytes_add(&whole.thinking, last->reasoning.data, last->reasoning.n, err);
    if (status == NCT_OK && made->thinking.n)
        status = nct_bytes_add(&whole.thinking, made->thinking.data, made->thinking.n, err);
    void *p = NULL;
    if (status == NCT_OK)
        status = nct_alloc(&p, last->n_ids + made->n_ids, sizeof *ids, err);
    if (status == NCT_OK) {
        whole.ids = p;
        whole.n_ids = last->n_ids + made->n_ids;
        if (last->n_ids)
            memcpy(whole.ids, last->ids, last->n_ids * sizeof *ids);
        if (made->n_ids)
            memcpy(whole.ids + last->n_ids, made->ids, made->n_ids * sizeof *ids);
        status = nct_talk_answered(&c->talk, &whole, err);
    }
    nct_answer_close(&whole);
    return status;
}

void nct_chat_go_on(nct_chat *c) {
    int32_t *ids = NULL;
    size_t n_ids = 0, n_prompt = 0;
    nct_error err = {0};
    nct_answer made = {0};
    nct_answer_options options;
    nct_turn last;
    void *all = NULL;
    if (c->constraint) {
        nct_say_dim(c->cli, "  an answer under a constraint is whole");
        return;
    }
    if (!take_options(c, &options) || !nct_talk_take_back(&c->talk, &last))
        return;
    nct_status status = nct_talk_prompt(&c->talk, NULL, &ids, &n_prompt, &options.in_thinking, &err);
    if (status == NCT_OK)
        status = still_thinking(c, &last, &options.in_thinking, &err);
    if (status == NCT_OK)
        status = nct_alloc(&all, n_prompt + last.n_ids, sizeof *ids, &err);
    if (status == NCT_OK) {
        n_ids = n_prompt + last.n_ids;
        memcpy(all, ids, n_prompt * sizeof *ids);
        if (last.n_ids)
            memcpy((int32_t *)all + n_prompt, last.ids, last.n_ids * sizeof *ids);
        options.find_thinking = false;
        options.continuation = c->talk.plain || last.content.n > 0;
        status = make(c, all, n_ids, &options, &made, &err);
    }
    bool more = status == NCT_OK && made.n_ids > 0;
    if (more)
        status = join(c, &last, ids, &made, &err);
    else
        nct_talk_add_copy(&c->talk, &last, NULL);
    if (status != NCT_OK)
        c->code = nct_say_status(c->cli, &err);
    if (more && status == NCT_OK)
        answered(c, n_prompt);
    nct_answer_close(&made);
    nct_turn_close(&last);
    nct_free(all);
    nct_free(ids);
}
