#include "cli/talk.h"

#include <string.h>

#include "cli/input.h"

int nct_talk_open(const nct_cli *cli, const nct_engine *engine, bool plain, nct_talk *t) {
    const nct_args *a = &cli->args;
    nct_model_info info;
    nct_engine_info(engine, &info);
    *t = (nct_talk){.engine = engine, .plain = plain};
    if (plain && (a->system || a->tools))
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "%s needs a chat template, and %s\ntry: without %s, or with it in the prompt",
                             a->system ? "--system" : "--tools",
                             a->raw || a->ids ? "this run uses none" : "the model has none",
                             a->system ? "--system" : "--tools");
    if (a->think == NCT_THINK_ON && !info.thinks)
        nct_say_warning(cli, "the template of %s has no switch for thinking, so --think on changes nothing", info.name);
    int code = a->system ? nct_input_option(cli, a->system, "--system", &t->system) : NCT_EXIT_OK;
    if (code == NCT_EXIT_OK && a->tools)
        code = nct_input_option(cli, a->tools, "--tools", &t->tools);
    t->options = (nct_chat_options){.think = a->think == NCT_UNSET ? NCT_THINK_AUTO : (nct_think)a->think,
                                    .tools = t->tools.data,
                                    .parse_special = a->parse_special};
    return code;
}

void nct_turn_close(nct_turn *turn) {
    nct_bytes_reset(&turn->content);
    nct_bytes_reset(&turn->reasoning);
    nct_free(turn->calls);
    nct_free(turn->ids);
    nct_free(turn->fed);
    *turn = (nct_turn){0};
}

void nct_talk_cut(nct_talk *t, size_t n) {
    while (t->n_turns > n)
        nct_turn_close(&t->turn[--t->n_turns]);
}

void nct_talk_forget(nct_talk *t, size_t n) {
    for (size_t i = 0; i < n && i < t->n_turns; i++)
        nct_turn_close(&t->turn[i]);
    n = n < t->n_turns ? n : t->n_turns;
    t->n_turns -= n;
    memmove(t->turn, t->turn + n, t->n_turns * sizeof *t->turn);
    for (size_t i = 0; i < t->n_turns; i++) {
        t->turn[i].verbatim = false;
        nct_free(t->turn[i].fed); /* what they stood behind is gone */
        t->turn[i].fed = NULL;
        t->turn[i].n_fed = t->turn[i].at = 0;
    }
}

void nct_talk_close(nct_talk *t) {
    nct_talk_cut(t, 0);
    nct_free(t->turn);
    nct_free(t->rendered);
    nct_bytes_reset(&t->system);
    nct_bytes_reset(&t->tools);
    *t = (nct_talk){0};
}

static nct_status add_turn(nct_talk *t, const char *role, const char *text, size_t n, nct_turn **turn,
                           nct_error *err) {
    void *p = t->turn;
    NCT_TRY(nct_grow(&p, &t->turns_capacity, t->n_turns + 1, sizeof *t->turn, err));
    t->turn = p;
    nct_turn *added = &t->turn[t->n_turns];
    *added = (nct_turn){.role = role};
    NCT_TRY(nct_bytes_add(&added->content, text, n, err));
    t->n_turns++;
    *turn = added;
    return NCT_OK;
}

nct_status nct_talk_say(nct_talk *t, const char *text, size_t n, nct_error *err) {
    nct_turn *turn = NULL;
    NCT_TRY(add_turn(t, "user", text, n, &turn, err));
    if (!t->plain)
        return NCT_OK;
    nct_status status = nct_encode(t->engine, text, n, t->options.parse_special, t->n_turns == 1, &turn->ids,
                                   &turn->n_ids, err);
    if (status != NCT_OK)
        nct_talk_cut(t, t->n_turns - 1);
    return status;
}

nct_status nct_talk_tell(nct_talk *t, const char *text, size_t n, nct_error *err) {
    nct_turn *turn = NULL;
    return add_turn(t, "tool", text, n, &turn, err);
}

/* ------------------------------------------------------------------ rendering */

/* The turns as messages, `extra` behind them if it is not NULL. *messages is freed with nct_free. */
static nct_status list_messages(const nct_talk *t, const nct_message *extra, nct_message **messages,
                                size_t *n, nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, t->n_turns + 2, sizeof(nct_message), err));
    nct_message *m = p;
    *n = 0;
    if (t->system.n)
        m[(*n)++] = (nct_message){.role = "system", .content = t->system.data, .n_content = t->system.n};
    for (size_t i = 0; i < t->n_turns; i++)
        m[(*n)++] = (nct_message){.role = t->turn[i].role,
                                  .content = t->turn[i].content.data,
                                  .n_content = t->turn[i].content.n,
                                  .reasoning = t->turn[i].reasoning.data,
                                  .tool_calls = t->turn[i].calls};
    if (extra)
        m[(*n)++] = *extra;
    *messages = m;
    return NCT_OK;
}

static nct_status encode(const nct_talk *t, const nct_message *extra, bool open, nct_think think,
                         int32_t **ids, size_t *n_ids, nct_error *err) {
    nct_message *messages = NULL;
    size_t n;
    NCT_TRY(list_messages(t, extra, &messages, &n, err));
    nct_chat_options options = t->options;
    options.no_generation_prompt = !open;
    options.think = think;
    nct_status status = nct_chat_encode(t->engine, messages, n, &options, ids, n_ids, err);
    nct_free(messages);
    return status;
}

/* Index of the last token that ends a turn; n if there is none. */
static size_t last_end(const nct_talk *t, const int32_t *ids, size_t n) {
    for (size_t i = n; i-- > 0;)
        if (nct_is_eos(t->engine, ids[i]))
            return i;
    return n;
}

static size_t common(const int32_t *a, size_t n, const int32_t *b, size_t m) {
    size_t i = 0;
    while (i < n && i < m && a[i] == b[i])
        i++;
    return i;
}

/* The rendering has changed: turns whose end lies behind the change lose their place in it. */
static void take_rendering(nct_talk *t, int32_t *ids, size_t n) {
    size_t same = common(t->rendered, t->n_rendered, ids, n);
    for (size_t i = 0; i < t->n_turns; i++)
        if (t->turn[i].verbatim && t->turn[i].end >= same)
            t->turn[i].verbatim = false;
    nct_free(t->rendered);
    t->rendered = ids;
    t->n_rendered = n;
}

/* The rendering with the generated ids in their places. */
static nct_status splice(const nct_talk *t, int32_t **ids, size_t *n_ids, nct_error *err) {
    size_t total = t->n_rendered;
    for (size_t i = 0; i < t->n_turns; i++)
        total += t->turn[i].n_ids;
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, total, sizeof(int32_t), err));
    int32_t *out = p;
    size_t n = 0, at = 0;
    for (size_t i = 0; i <= t->n_turns; i++) {
        const nct_turn *turn = i < t->n_turns ? &t->turn[i] : NULL;
        if (turn && !turn->verbatim)
            continue;
        size_t end = turn ? turn->begin : t->n_rendered;
        memcpy(out + n, t->rendered + at, (end - at) * sizeof *out);
        n += end - at;
        if (turn) {
            memcpy(out + n, turn->ids, turn->n_ids * sizeof *out);
            n += turn->n_ids;
            at = turn->end;
        }
    }
    *ids = out;
    *n_ids = n;
    return NCT_OK;
}

static nct_status plain_prompt(const nct_talk *t, int32_t **ids, size_t *n_ids, nct_error *err) {
    size_t n = 0;
    for (size_t i = 0; i < t->n_turns; i++)
        n += t->turn[i].n_ids;
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, n, sizeof(int32_t), err));
    *ids = p;
    *n_ids = 0;
    for (size_t i = 0; i < t->n_turns; i++) {
        const nct_turn *turn = &t->turn[i];
        if (turn->n_ids)
            memcpy(*ids + *n_ids, turn->ids, turn->n_ids * sizeof(int32_t));
        *n_ids += turn->n_ids;
    }
    return NCT_OK;
}

/* The only turn and the beginning of the answer are one text. */
static nct_status plain_prompt_with_prefix(const nct_talk *t, const char *prefix, int32_t **ids,
                                           size_t *n_ids, nct_error *err) {
    nct_bytes text = {0};
    nct_status status =
        t->n_turns ? nct_bytes_add(&text, t->turn[0].content.data, t->turn[0].content.n, err) : NCT_OK;
    if (status == NCT_OK)
        status = nct_bytes_add_str(&text, prefix, err);
    if (status == NCT_OK)
        status = nct_encode(t->engine, text.data, text.n, t->options.parse_special, true, ids, n_ids, err);
    nct_bytes_reset(&text);
    return status;
}

/* What the template puts between the opening of the assistant's turn and the answer: an empty thinking
 * block, for one. *text is freed with nct_free. */
static nct_status read_opening(const nct_talk *t, char **text, size_t *n, nct_error *err) {
    int32_t *with = NULL, *without = NULL;
    size_t n_with, n_without;
    nct_status status = encode(t, NULL, true, t->options.think, &with, &n_with, err);
    if (status == NCT_OK)
        status = encode(t, NULL, true, NCT_THINK_AUTO, &without, &n_without, err);
    if (status == NCT_OK) {
        size_t same = common(with, n_with, without, n_without);
        status = nct_decode(t->engine, with + same, n_with - same, true, text, n, err);
    }
    nct_free(with);
    nct_free(without);
    return status;
}

/* With the beginning of the answer: an assistant's turn, rendered and left open. */
static nct_status prompt_with_prefix(const nct_talk *t, const char *prefix, int32_t **ids, size_t *n_ids,
                                     nct_error *err) {
    char *opening = NULL;
    size_t n_opening;
    nct_bytes content = {0};
    NCT_TRY(read_opening(t, &opening, &n_opening, err));
    nct_status status = nct_bytes_add(&content, opening, n_opening, err);
    nct_free(opening);
    if (status == NCT_OK)
        status = nct_bytes_add_str(&content, prefix, err);
    nct_message extra = {.role = "assistant", .content = content.data, .n_content = content.n};
    if (status == NCT_OK)
        status = encode(t, &extra, false, t->options.think, ids, n_ids, err);
    if (status == NCT_OK)
        *n_ids = last_end(t, *ids, *n_ids);
    nct_bytes_reset(&content);
    return status;
}

/* The last tokens as text say whether a thinking block stands open. */
nct_status nct_ends_thinking(const nct_engine *engine, const int32_t *ids, size_t n_ids, bool *in_thinking,
                             nct_error *err) {
    static const char tag[] = "<think>";
    enum { TAIL = 16 };
    size_t n = n_ids < TAIL ? n_ids : TAIL, n_text;
    char *text = NULL;
    NCT_TRY(nct_decode(engine, ids + n_ids - n, n, true, &text, &n_text, err));
    while (n_text && text[n_text - 1] == '\n')
        n_text--;
    *in_thinking =
        n_text >= sizeof tag - 1 && memcmp(text + n_text - (sizeof tag - 1), tag, sizeof tag - 1) == 0;
    nct_free(text);
    return NCT_OK;
}

nct_status nct_talk_prompt(nct_talk *t, const char *prefix, int32_t **ids, size_t *n_ids, bool *in_thinking,
                           nct_error *err) {
    *in_thinking = false;
    if (t->plain)
        return prefix ? plain_prompt_with_prefix(t, prefix, ids, n_ids, err)
                      : plain_prompt(t, ids, n_ids, err);
    if (prefix)
        return prompt_with_prefix(t, prefix, ids, n_ids, err);
    int32_t *rendered = NULL, *bare = NULL;
    size_t n_rendered, n_bare;
    NCT_TRY(encode(t, NULL, true, t->options.think, &rendered, &n_rendered, err));
    take_rendering(t, rendered, n_rendered);
    t->answer_begin = n_rendered;
    if (t->options.think !=
        NCT_THINK_AUTO) { /* what such a prompt adds is not in the turn as rendered later */
        NCT_TRY(encode(t, NULL, true, NCT_THINK_AUTO, &bare, &n_bare, err));
        t->answer_begin = common(bare, n_bare, rendered, n_rendered);
        nct_free(bare);
    }
    NCT_TRY(splice(t, ids, n_ids, err));
    return nct_ends_thinking(t->engine, rendered, n_rendered, in_thinking, err);
}

/* How many of the generated ids make up the text: not the end token, not what a stop string cut off. */
static nct_status count_kept(const nct_talk *t, const nct_answer *a, size_t *n, nct_error *err) {
    *n = a->n_ids;
    if (!a->stop) {
        if (*n && a->finish == NCT_FINISH_STOP && nct_is_eos(t->engine, a->ids[*n - 1]))
            --*n;
        return NCT_OK;
    }
    nct_text_stream *stream = NULL;
    NCT_TRY(nct_text_stream_open(t->engine, t->plain, &stream, err));
    size_t shown = 0, bytes;
    for (size_t i = 0; i < a->n_ids; i++) {
        nct_text_stream_push(stream, a->ids[i], &bytes);
        shown += bytes;
        if (shown > a->text.n) {
            *n = i;
            break;
        }
    }
    nct_text_stream_close(stream);
    return NCT_OK;
}

nct_status nct_talk_answered(nct_talk *t, const nct_answer *answer, nct_error *err) {
    size_t n;
    NCT_TRY(count_kept(t, answer, &n, err));
    nct_turn *turn = NULL;
    const char *text = answer->calls ? answer->content : answer->text.data ? answer->text.data : "";
    NCT_TRY(add_turn(t, "assistant", text, answer->calls ? strlen(text) : answer->text.n, &turn, err));
    if (answer->calls)
        NCT_TRY(nct_copy_string(&turn->calls, answer->calls, strlen(answer->calls), err));
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, n, sizeof(int32_t), err));
    turn->ids = p;
    turn->n_ids = n;
    if (n)
        memcpy(turn->ids, answer->ids, n * sizeof(int32_t));
    if (answer->has_thinking)
        NCT_TRY(nct_bytes_add(&turn->reasoning, answer->thinking.data ? answer->thinking.data : "",
                              answer->thinking.n, err));
    if (t->plain)
        return NCT_OK;
    int32_t *rendered = NULL;
    size_t n_rendered;
    NCT_TRY(encode(t, NULL, false, t->options.think, &rendered, &n_rendered, err));
    size_t end = last_end(t, rendered, n_rendered);
    bool same_start = common(rendered, n_rendered, t->rendered, t->n_rendered) >= t->answer_begin;
    take_rendering(t, rendered, n_rendered);
    turn->begin = t->answer_begin;
    turn->end = end;
    turn->verbatim =
        same_start && end < n_rendered && end >= turn->begin && !answer->has_thinking && !answer->stop;
    return NCT_OK;
}

/* ------------------------------------------------------------------ what was held */

static nct_status copy_ids(int32_t **copy, const int32_t *ids, size_t n, nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, n, sizeof *ids, err));
    if (n)
        memcpy(p, ids, n * sizeof *ids);
    *copy = p;
    return NCT_OK;
}

nct_status nct_talk_held(const nct_talk *t, size_t n_turns, int32_t **ids, size_t *n_ids, nct_error *err) {
    size_t most = 0, n = 0;
    for (size_t i = 0; i < n_turns; i++)
        most += t->turn[i].n_ids + t->turn[i].n_fed;
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, most, sizeof **ids, err));
    int32_t *out = p;
    for (size_t i = 0; i < n_turns; i++) {
        const nct_turn *turn = &t->turn[i];
        bool said = strcmp(turn->role, "assistant") == 0;
        const int32_t *more = said ? turn->ids : turn->fed;
        size_t n_more = said ? turn->n_ids : turn->n_fed;
        if (!said && turn->at < n)
            n = turn->at;
        if (n_more)
            memcpy(out + n, more, n_more * sizeof *out);
        n += n_more;
    }
    *ids = out;
    *n_ids = n;
    return NCT_OK;
}

nct_status nct_talk_fed(nct_talk *t, const int32_t *ids, size_t n_ids, nct_error *err) {
    int32_t *held = NULL, *fed = NULL;
    size_t n_held, at;
    nct_turn *turn = &t->turn[t->n_turns - 1];
    NCT_TRY(nct_talk_held(t, t->n_turns - 1, &held, &n_held, err));
    at = common(held, n_held, ids, n_ids);
    nct_free(held);
    NCT_TRY(copy_ids(&fed, ids + at, n_ids - at, err));
    nct_free(turn->fed);
    turn->fed = fed;
    turn->n_fed = n_ids - at;
    turn->at = at;
    return NCT_OK;
}

nct_status nct_talk_add_copy(nct_talk *t, const nct_turn *from, nct_error *err) {
    nct_turn *turn = NULL;
    NCT_TRY(add_turn(t, from->role, from->content.data ? from->content.data : "", from->content.n, &turn, err));
    if (from->reasoning.data)
        NCT_TRY(nct_bytes_add(&turn->reasoning, from->reasoning.data, from->reasoning.n, err));
    if (from->calls)
        NCT_TRY(nct_copy_string(&turn->calls, from->calls, strlen(from->calls), err));
    if (from->ids) {
        NCT_TRY(copy_ids(&turn->ids, from->ids, from->n_ids, err));
        turn->n_ids = from->n_ids;
    }
    if (from->fed) {
        NCT_TRY(copy_ids(&turn->fed, from->fed, from->n_fed, err));
        turn->n_fed = from->n_fed;
    }
    turn->at = from->at;
    turn->typed = from->typed;
    turn->begin = from->begin;
    turn->end = from->end;
    turn->verbatim = from->verbatim;
    return NCT_OK;
}

nct_status nct_talk_settle(nct_talk *t, nct_error *err) {
    if (t->plain) {
        for (size_t i = 0; i < t->n_turns; i++) {
            nct_turn *turn = &t->turn[i];
            if (!turn->ids)
                NCT_TRY(nct_encode(t->engine, turn->content.data ? turn->content.data : "", turn->content.n,
                                   t->options.parse_special, i == 0, &turn->ids, &turn->n_ids, err));
        }
        return NCT_OK;
    }
    int32_t *rendered = NULL;
    size_t n_rendered, before = 0;
    NCT_TRY(encode(t, NULL, false, t->options.think, &rendered, &n_rendered, err));
    nct_free(t->rendered);
    t->rendered = rendered;
    t->n_rendered = n_rendered;
    for (size_t i = 0; i < t->n_turns; i++) {
        nct_turn *turn = &t->turn[i];
        turn->verbatim = turn->verbatim && turn->ids && turn->begin >= before && turn->begin <= turn->end &&
                         turn->end < n_rendered && nct_is_eos(t->engine, rendered[turn->end]);
        if (turn->verbatim)
            before = turn->end;
    }
    return NCT_OK;
}

bool nct_talk_take_back(nct_talk *t, nct_turn *turn) {
    if (t->n_turns == 0 || strcmp(t->turn[t->n_turns - 1].role, "assistant") != 0)
        return false;
    *turn = t->turn[--t->n_turns];
    return true;
}
