#define _GNU_SOURCE
#include "cli/answer.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

const char *nct_finish_name(nct_finish finish) {
    static const char *const names[] = {"stop", "length", "timeout", "interrupted", "interrupted"};
    return names[finish];
}

/* ------------------------------------------------------------------ filters */

typedef enum where { BEFORE, THINKING, AFTER, TEXT } where;

/* Around thinking: as models have it, and as the template of MiniCPM3 with tools asks for it. */
typedef struct tags {
    const char *open, *close;
} tags;
static const tags all_tags[] = {{"<think>", "</think>"}, {"<|thought_start|>", "<|thought_end|>"}};
enum { N_TAGS = sizeof all_tags / sizeof *all_tags };

typedef struct filter {
    const nct_answer_options *o;
    nct_answer *answer;
    where where;
    const tags *tags; /* of the block at hand */
    nct_bytes held; /* came in, but not yet known to be what */
    bool started;   /* of a thinking block: something but newlines was seen */
    bool stopped;   /* a stop string was found */
    bool closed;    /* emit said so */
} filter;

static nct_status emit(filter *f, bool thinking, const char *text, size_t n, nct_error *err) {
    if (n == 0 || f->closed)
        return NCT_OK;
    NCT_TRY(nct_bytes_add(thinking ? &f->answer->thinking : &f->answer->text, text, n, err));
    f->closed = f->o->emit && !f->o->emit(f->o->context, thinking, text, n);
    return NCT_OK;
}

static void drop_held(filter *f, size_t n) {
    memmove(f->held.data, f->held.data + n, f->held.n - n);
    f->held.n -= n;
}

/* Length of the longest end of the text that is a true beginning of the word. */
static size_t begun(const char *text, size_t n, const char *word) {
    size_t length = strlen(word), most = n < length - 1 ? n : length - 1;
    for (size_t k = most; k > 0; k--)
        if (memcmp(text + n - k, word, k) == 0)
            return k;
    return 0;
}

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

/* Each state takes what it understands of the held text; false: more is needed. */

static bool before(filter *f) {
    size_t space = 0;
    bool may_come = false;
    while (space < f->held.n && is_space(f->held.data[space]))
        space++;
    size_t n = f->held.n - space;
    for (size_t i = 0; i < (f->o->tools ? N_TAGS : 1); i++) {
        size_t length = strlen(all_tags[i].open);
        if (memcmp(f->held.data + space, all_tags[i].open, n < length ? n : length) != 0)
            continue;
        may_come = n < length;
        if (may_come)
            continue;
        drop_held(f, space + length);
        f->where = THINKING;
        f->tags = &all_tags[i];
        f->answer->has_thinking = true;
        return true;
    }
    if (!may_come)
        f->where = TEXT;
    return !may_come;
}

static nct_status thinking(filter *f, bool *again, nct_error *err) {
    while (!f->started && f->held.n && f->held.data[0] == '\n')
        drop_held(f, 1);
    f->started = f->started || f->held.n > 0;
    const char *closing = f->tags->close;
    size_t length = strlen(closing);
    char *end = f->held.n ? memmem(f->held.data, f->held.n, closing, length) : NULL;
    size_t n = end ? (size_t)(end - f->held.data) : f->held.n - begun(f->held.data, f->held.n, closing);
    size_t shown = n;
    while (shown > 0 && f->held.data[shown - 1] == '\n') /* newlines before the tag belong to the tag */
        shown--;
    NCT_TRY(emit(f, true, f->held.data, shown, err));
    drop_held(f, end ? n + length : shown);
    if (end)
        f->where = AFTER;
    *again = end != NULL;
    return NCT_OK;
}

static bool after(filter *f) {
    size_t space = 0;
    while (space < f->held.n && is_space(f->held.data[space]))
        space++;
    drop_held(f, space);
    if (f->held.n == 0)
        return false;
    f->where = TEXT;
    return true;
}

/* The stop string that ends first, the longest of those that end there; *at is where it begins. */
static const char *find_stop(const filter *f, size_t *at) {
    const nct_list *stops = f->o->stops;
    const char *found = NULL;
    size_t end = f->held.n + 1;
    for (size_t i = 0; stops && i < stops->n; i++) {
        size_t n = strlen(stops->item[i]);
        const char *p = f->held.n ? memmem(f->held.data, f->held.n, stops->item[i], n) : NULL;
        size_t e = p ? (size_t)(p - f->held.data) + n : end;
        if (p && (e < end || (e == end && n > strlen(found)))) {
            end = e;
            found = stops->item[i];
        }
    }
    if (found)
        *at = end - strlen(found);
    return found;
}

static nct_status text(filter *f, nct_error *err) {
    size_t at, hold = 0;
    const char *stop = find_stop(f, &at);
    if (stop) {
        f->answer->stop = stop;
        f->stopped = true;
        return emit(f, false, f->held.data, at, err);
    }
    for (size_t i = 0; f->o->stops && i < f->o->stops->n; i++) {
        size_t n = begun(f->held.data, f->held.n, f->o->stops->item[i]);
        hold = n > hold ? n : hold;
    }
    NCT_TRY(emit(f, false, f->held.data, f->held.n - hold, err));
    drop_held(f, f->held.n - hold);
    return NCT_OK;
}

static nct_status push(filter *f, const char *bytes, size_t n, nct_error *err) {
    NCT_TRY(nct_bytes_add(&f->held, bytes, n, err));
    bool again = f->held.n > 0 && !f->stopped;
    while (again) {
        switch (f->where) {
        case BEFORE:
            again = before(f);
            break;
        case THINKING:
            NCT_TRY(thinking(f, &again, err));
            break;
        case AFTER:
            again = after(f);
            break;
        case TEXT:
            NCT_TRY(text(f, err));
            again = false;
            break;
        }
    }
    return NCT_OK;
}

/* What was held back is what it is. */
static nct_status finish(filter *f, nct_error *err) {
    if (f->stopped || f->held.n == 0)
        return NCT_OK;
    if (f->where == THINKING) {
        size_t n = f->held.n;
        while (n > 0 && f->held.data[n - 1] == '\n')
            n--;
        return emit(f, true, f->held.data, n, err);
    }
    return f->where == AFTER ? NCT_OK : emit(f, false, f->held.data, f->held.n, err);
}

/* ------------------------------------------------------------------ the loop */

static nct_status add_id(nct_answer *a, int32_t id, nct_error *err) {
    void *p = a->ids;
    NCT_TRY(nct_grow(&p, &a->ids_capacity, a->n_ids + 1, sizeof *a->ids, err));
    a->ids = p;
    a->ids[a->n_ids++] = id;
    return NCT_OK;
}

static nct_finish finish_of_signal(void) {
    return *nct_signals_flag() == SIGALRM ? NCT_FINISH_TIMEOUT : NCT_FINISH_INTERRUPTED;
}

static double seconds_since(uint64_t began) { return (double)(nct_clock_ns() - began) * 1e-9; }

static void pass_progress(void *options, int done, int total) {
    const nct_answer_options *o = options;
    o->progress(o->context, done, total);
}

static void pass_choice(void *options, const nct_choice *choice) {
    const nct_answer_options *o = options;
    o->on_choice(o->choice_context, choice);
}

/* Leaves the session with exactly the prompt and the logits of its end. */
static nct_status feed_prompt(nct_session *session, const int32_t *prompt, size_t n,
                              const nct_answer_options *o, nct_answer *a, nct_error *err) {
    const int32_t *held = nct_session_tokens(session);
    size_t n_held = (size_t)nct_session_length(session), same = 0;
    while (same < n_held && same < n && held[same] == prompt[same])
        same++;
    if (same == n && !(n_held == n && nct_session_logits(session) && !o->on_choice))
        same--; /* the last token once more, for its logits or its choices */
    if (same < n_held)
        NCT_TRY(nct_session_rewind(session, (int)same, err));
    uint64_t began = nct_clock_ns();
    NCT_TRY(nct_session_take(session, prompt, n, err));
    if (same < n) /* n: all is there, logits too */
        same = (size_t)nct_session_length(session);
    a->n_cached = same;
    nct_feed_options feed = {.stop = nct_signals_flag(),
                             .progress = o->progress ? pass_progress : NULL,
                             .on_choice = o->on_choice ? pass_choice : NULL,
                             .choices_from = (int)n - 1,
                             .context = (void *)(uintptr_t)o};
    nct_status status = nct_session_feed(session, prompt + same, n - same, &feed, err);
    a->prefill_s = seconds_since(began);
    a->n_prefill = (size_t)nct_session_length(session) - same;
    return status;
}

/* What ends the answer at this token, if anything; the token is in the list already. */
static bool is_over(size_t limit, const nct_answer_options *o, const filter *f, nct_answer *a) {
    size_t n_before = a->n_prompt + a->n_ids - 1; /* tokens before this one */
    if (f->closed)
        a->finish = NCT_FINISH_CLOSED;
    else if (f->stopped)
        a->finish = NCT_FINISH_STOP;
    else if (*nct_signals_flag() && !o->patient)
        a->finish = finish_of_signal();
    else if ((o->max_tokens && a->n_ids >= o->max_tokens) || n_before >= limit)
        a->finish = NCT_FINISH_LENGTH;
    else
        return false;
    return true;
}

/* What takes the tokens. */
struct taking {
    const nct_engine *engine;
    size_t limit; /* of the context */
    nct_text_stream *stream;
    filter *f;
    uint64_t began, first; /* the call; the first token */
    bool close;            /* the budget of thinking is used up */
    bool no_room;          /* to close thinking and then complete the constraint: its matcher does so in fewer tokens */
    nct_status status;     /* of what was done with them */
    nct_error *err;
};

static nct_status put_id(struct taking *k, int32_t id) {
    nct_answer *a = k->f->answer;
    NCT_TRY(add_id(a, id, k->err));
    if (a->n_ids == 1) {
        a->first_s = seconds_since(k->began);
        k->first = nct_clock_ns();
    }
    return NCT_OK;
}

static nct_status take_token(struct taking *k, int32_t id, bool *over) {
    filter *f = k->f;
    nct_answer *a = f->answer;
    size_t n;
    *over = true;
    NCT_TRY(put_id(k, id));
    if (nct_is_eos(k->engine, id) && !f->o->ignore_eos) {
        a->finish = NCT_FINISH_STOP;
        return NCT_OK;
    }
    const char *bytes = nct_text_stream_push(k->stream, id, &n);
    NCT_TRY(push(f, bytes, n, k->err));
    a->n_thinking += f->where == THINKING;
    *over = is_over(k->limit, f->o, f, a);
    if (f->o->matcher && nct_matcher_is_done(f->o->matcher) && (!*over || a->finish == NCT_FINISH_LENGTH)) {
        a->finish = NCT_FINISH_STOP;
        *over = true;
    }
    k->close = !*over && f->where == THINKING && f->o->has_budget && a->n_thinking >= f->o->budget && !k->no_room;
    return NCT_OK;
}

static bool take(void *context, int32_t id) {
    struct taking *k = context;
    bool over;
    k->status = take_token(k, id, &over);
    return !over && !k->close;
}

static void pass_generated_choice(void *context, const nct_choice *choice) {
    const struct taking *k = context;
    k->f->o->on_choice(k->f->o->choice_context, choice);
}

/* The ids that close a thinking block. The space that some tokenizers put in front of a text is left out. */
static nct_status closing_ids(const nct_engine *engine, const tags *around, int32_t **ids, size_t *n_ids,
                              nct_error *err) {
    char text[64];
    size_t n_piece = 0;
    int n = snprintf(text, sizeof text, "\n%s\n\n", around->close);
    NCT_TRY(nct_encode(engine, text, (size_t)n, true, false, ids, n_ids, err));
    const char *piece = *n_ids ? nct_token_piece(engine, (*ids)[0], &n_piece) : NULL;
    if (n_piece == 3 && memcmp(piece, "\xe2\x96\x81", 3) == 0)
        memmove(*ids, *ids + 1, --*n_ids * sizeof **ids);
    return NCT_OK;
}

/* Closes the thinking block for the model: the ids that do so become part of the answer. */
static nct_status put_closing(struct taking *k, bool *over) {
    const nct_answer_options *o = k->f->o;
    nct_answer *a = k->f->answer;
    int32_t *ids = NULL;
    size_t n_ids = 0, n, had = a->n_prompt + a->n_ids;
    k->close = false;
    NCT_TRY(closing_ids(k->engine, k->f->tags, &ids, &n_ids, k->err));
    nct_status status = NCT_OK;
    if (o->matcher && !nct_matcher_has_room(o->matcher, ids, n_ids)) {
        k->no_room = true;
        nct_free(ids);
        ids = NULL;
        n_ids = 0;
    }
    *over = had + n_ids > k->limit;
    *over = *over || (o->max_tokens && a->n_ids + n_ids >= o->max_tokens);
    if (*over)
        a->finish = NCT_FINISH_LENGTH;
    for (size_t i = 0; i < n_ids && !*over && status == NCT_OK; i++) {
        status = o->matcher ? nct_matcher_take(o->matcher, ids[i], k->err) : NCT_OK;
        if (status == NCT_OK)
            status = put_id(k, ids[i]);
        const char *bytes = nct_text_stream_push(k->stream, ids[i], &n);
        if (status == NCT_OK)
            status = push(k->f, bytes, n, k->err);
    }
    nct_free(ids);
    return status;
}

/* What closes the block is fed like a prompt, behind the last token, which the session does not hold yet. */
static nct_status close_thinking(struct taking *k, nct_session *session, bool *over) {
    nct_answer *a = k->f->answer;
    size_t held = (size_t)nct_session_length(session);
    NCT_TRY(put_closing(k, over));
    if (*over)
        return NCT_OK;
    nct_feed_options feed = {.stop = nct_signals_flag()};
    size_t first = held - a->n_prompt; /* of the answer's tokens, the first that is not held */
    return nct_session_feed(session, a->ids + first, a->n_ids - first, &feed, k->err);
}

/* Generates until the answer is over or thinking has used its budget. */
static nct_status generate_part(struct taking *k, nct_session *session) {
    const nct_answer_options *o = k->f->o;
    nct_answer *a = k->f->answer;
    nct_rounds rounds = {0};
    nct_generate_options options = {.sampling = &o->sampling,
                                    .n_prompt = (int)a->n_prompt,
                                    .sample = o->sample,
                                    .matcher = o->matcher,
                                    .take = take,
                                    .stop = nct_signals_flag(),
                                    .on_choice = o->on_choice ? pass_generated_choice : NULL,
                                    .context = k,
                                    .rounds = &rounds};
    nct_status status = nct_session_generate(session, &options, k->err);
    if (rounds.n_rounds) /* of parts of an answer, by their passes */
        a->gain += (rounds.gain - a->gain) * (double)rounds.n_rounds / (double)(a->n_rounds + rounds.n_rounds);
    a->n_rounds += (size_t)rounds.n_rounds;
    a->n_guessed += (size_t)rounds.n_guessed;
    a->n_accepted += (size_t)rounds.n_accepted;
    return k->status != NCT_OK ? k->status : status;
}

/* Nothing follows: what was held back is text, and calls are found in it. */
static nct_status end_text(const nct_engine *engine, nct_text_stream *stream, filter *f, nct_error *err) {
    const nct_answer_options *o = f->o;
    nct_answer *a = f->answer;
    size_t n;
    if (!f->stopped) {
        const char *bytes = nct_text_stream_end(stream, &n);
        NCT_TRY(push(f, bytes, n, err));
    }
    NCT_TRY(finish(f, err));
    if (!o->tools || a->text.n == 0)
        return NCT_OK;
    return nct_chat_calls(engine, a->text.data, a->text.n, o->tools, &a->content, &a->calls, err);
}

static nct_status generate(const nct_engine *engine, nct_session *session, const nct_answer_options *o,
                           nct_text_stream *stream, filter *f, uint64_t began, nct_error *err) {
    nct_answer *a = f->answer;
    struct taking k = {.engine = engine,
                       .limit = (size_t)nct_session_limit(session),
                       .stream = stream,
                       .f = f,
                       .began = began,
                       .first = began,
                       .close = f->where == THINKING && o->has_budget && o->budget == 0,
                       .err = err};
    nct_status status = NCT_OK;
    bool over = false;
    while (!over && status == NCT_OK) {
        if (k.close)
            status = close_thinking(&k, session, &over);
        if (!over && status == NCT_OK)
            status = generate_part(&k, session);
        over = over || !k.close;
    }
    if (status == NCT_E_STOPPED) {
        a->finish = finish_of_signal();
        status = NCT_OK;
    }
    NCT_TRY(status);
    a->decode_s = seconds_since(k.first);
    a->n_decode = a->n_ids ? a->n_ids - 1 : 0;
    return end_text(engine, stream, f, err);
}

nct_status nct_answer_constrain(nct_constraint *constraint, size_t limit, size_t n_prompt, bool may_think,
                                const nct_answer_options *o, nct_matcher **matcher, nct_error *err) {
    size_t room = limit < n_prompt ? 0 : limit - n_prompt + 1;
    nct_matcher_options options = {.think = o->in_thinking                     ? NCT_MATCH_THINKING
                                            : o->find_thinking && may_think ? NCT_MATCH_MAY_THINK
                                                                            : NCT_MATCH_ANSWER,
                                   .strip = !o->continuation,
                                   .prefix = o->prefix,
                                   .n_prefix = o->prefix ? strlen(o->prefix) : 0,
                                   .n_max = o->max_tokens && o->max_tokens < room ? o->max_tokens : room};
    return nct_matcher_open(constraint, &options, matcher, err);
}

nct_status nct_answer_make(const nct_engine *engine, nct_session *session, const int32_t *prompt,
                           size_t n_prompt, const nct_answer_options *o, nct_answer *a, nct_error *err) {
    uint64_t began = nct_clock_ns();
    *a = (nct_answer){.n_prompt = n_prompt};
    where begins = o->in_thinking ? THINKING : o->find_thinking ? BEFORE : TEXT;
    filter f = {.o = o, .answer = a, .tags = all_tags, .where = begins};
    a->has_thinking = o->in_thinking;
    if (n_prompt == 0)
        return nct_fail(err, NCT_E_ARGUMENT,
                        "the prompt is empty, and the model has no token that begins a text");
    nct_status status = feed_prompt(session, prompt, n_prompt, o, a, err);
    if (status == NCT_E_STOPPED) {
        a->finish = finish_of_signal();
        return NCT_OK;
    }
    NCT_TRY(status);
    nct_text_stream *stream = NULL;
    NCT_TRY(nct_text_stream_open(engine, o->continuation, &stream, err));
    if (o->prefix)
        status = push(&f, o->prefix, strlen(o->prefix), err);
    if (status == NCT_OK)
        status = generate(engine, session, o, stream, &f, began, err);
    nct_text_stream_close(stream);
    nct_bytes_reset(&f.held);
    return status;
}

struct nct_answering {
    filter f;
    struct taking k;
};

nct_status nct_answering_open(const nct_engine *engine, size_t n_prompt, size_t limit, const nct_answer_options *o,
                              nct_answer *a, nct_answering **answering, nct_error *err) {
    void *p = NULL;
    *a = (nct_answer){.n_prompt = n_prompt, .has_thinking = o->in_thinking};
    NCT_TRY(nct_alloc(&p, 1, sizeof(nct_answering), err));
    nct_answering *k = p;
    k->f = (filter){.o = o, .answer = a, .tags = all_tags, .where = o->in_thinking ? THINKING : o->find_thinking ? BEFORE : TEXT};
    uint64_t now = nct_clock_ns();
    k->k = (struct taking){.engine = engine,
                           .limit = limit,
                           .f = &k->f,
                           .began = now,
                           .first = now,
                           .close = k->f.where == THINKING && o->has_budget && o->budget == 0};
    nct_status status = nct_text_stream_open(engine, o->continuation, &k->k.stream, err);
    if (status == NCT_OK && o->prefix)
        status = push(&k->f, o->prefix, strlen(o->prefix), err);
    if (status != NCT_OK) {
        nct_answering_close(k);
        return status;
    }
    *answering = k;
    return NCT_OK;
}

nct_status nct_answering_take(nct_answering *k, int32_t id, bool *over, nct_error *err) {
    k->k.err = err;
    return take_token(&k->k, id, over);
}

nct_status nct_answering_follow(nct_answering *k, const int32_t **ids, size_t *n_ids, bool *over, nct_error *err) {
    size_t had = k->f.answer->n_ids;
    *over = false;
    *ids = NULL;
    *n_ids = 0;
    k->k.err = err;
    if (!k->k.close)
        return NCT_OK;
    NCT_TRY(put_closing(&k->k, over));
    if (!*over) {
        *n_ids = k->f.answer->n_ids - had;
        *ids = k->f.answer->ids + had;
    }
    return NCT_OK;
}

nct_status nct_answering_end(nct_answering *k, nct_error *err) {
    return end_text(k->k.engine, k->k.stream, &k->f, err);
}

void nct_answering_close(nct_answering *k) {
    if (!k)
        return;
    nct_text_stream_close(k->k.stream);
    nct_bytes_reset(&k->f.held);
    nct_free(k);
}

void nct_answer_close(nct_answer *a) {
    nct_bytes_reset(&a->text);
    nct_bytes_reset(&a->thinking);
    nct_free(a->calls);
    nct_free(a->content);
    nct_free(a->ids);
    *a = (nct_answer){0};
}

void nct_spec_line(const nct_answer *a, nct_bytes *line) {
    if (!a->n_guessed)
        return;
    nct_bytes_printf(line, NULL, " · spec %.1f/step", nct_mean_accept(a));
    if (a->gain > 0)
        nct_bytes_printf(line, NULL, ", %.2fx", a->gain);
}
