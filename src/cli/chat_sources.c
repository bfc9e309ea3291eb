/* Which lines the last answer of a chat looked at. */
#include <stdio.h>
#include <string.h>

#include "cli/chat.h"

enum { NAME = 32 };

int nct_chat_open_sources(nct_chat *c) {
    nct_error err = {0};
    if (c->sources.count)
        nct_sources_clear(&c->sources);
    else
        nct_sources_open(c->cli, &c->info, (size_t)nct_session_limit(c->session), &c->sources, &err);
    return c->code = nct_say_status(c->cli, &err);
}

static void count_choice(void *chat, const nct_choice *choice) {
    nct_sources_count(&((nct_chat *)chat)->sources, choice);
}

static void show_progress(void *chat, int done, int total) {
    nct_show_progress(&((nct_chat *)chat)->show, done, total);
}

/* Reads the answer once more, as one prompt: its rows choose what they chose. */
static int count_again(nct_chat *c) {
    size_t first = c->n_prompt - 1, n = (size_t)nct_session_length(c->session) - first;
    void *ids = NULL;
    nct_error err = {0};
    nct_feed_options feed = {
        .stop = nct_signals_flag(), .progress = show_progress, .on_choice = count_choice, .context = c};
    if (nct_chat_open_sources(c) != NCT_EXIT_OK)
        return c->code;
    nct_status status = nct_alloc(&ids, n, sizeof(int32_t), &err);
    if (status == NCT_OK) {
        memcpy(ids, nct_session_tokens(c->session) + first, n * sizeof(int32_t));
        status = nct_session_rewind(c->session, (int)first, &err);
    }
    nct_meter_begin(c->cli, "looking", &c->show.meter);
    if (status == NCT_OK)
        status = nct_session_feed(c->session, ids, n, &feed, &err);
    nct_meter_end(&c->show.meter);
    nct_free(ids);
    c->has_sources = status == NCT_OK;
    if (!c->has_sources) /* what the session holds of the answer is incomplete */
        c->n_prompt = 0;
    return status == NCT_E_STOPPED ? NCT_EXIT_INTERRUPT : nct_say_status(c->cli, &err);
}

/* What the user's turns hold: the files, and what was typed. *texts is freed with nct_free, names by the caller's
 * buffer. */
static nct_status list_texts(const nct_chat *c, nct_source_text **texts, char (*names)[NAME], size_t *n,
                             nct_error *err) {
    const nct_bytes *files = &c->files.text;
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, c->files.n_parts + c->talk.n_turns, sizeof **texts, err));
    *texts = p;
    *n = 0;
    for (size_t i = 0; i < c->talk.n_turns; i++) {
        const nct_bytes *said = &c->talk.turn[i].content;
        size_t typed = 0;
        if (strcmp(c->talk.turn[i].role, "user") != 0)
            continue;
        if (i == c->files_turn && files->n && said->n >= files->n && memcmp(said->data, files->data, files->n) == 0) {
            for (size_t k = 0; k < c->files.n_parts; k++)
                (*texts)[(*n)++] = nct_source_text_of(&c->files.part[k], files);
            typed = files->n;
        }
        while (typed < said->n && said->data[typed] == '\n')
            typed++;
        snprintf(names[i], NAME, "turn %zu", i / 2 + 1);
        (*texts)[(*n)++] = (nct_source_text){
            .name = names[i], .text = said->data ? said->data + typed : "", .n = said->n - typed};
    }
    return NCT_OK;
}

static nct_status print_sources(const nct_chat *c, size_t n_most, nct_error *err) {
    nct_source_text *texts = NULL;
    nct_source *found = NULL;
    void *names = NULL;
    size_t n_texts = 0, n_found = 0;
    nct_report report;
    nct_status status = nct_alloc(&names, c->talk.n_turns, NAME, err);
    if (status == NCT_OK)
        status = list_texts(c, &texts, names, &n_texts, err);
    if (status == NCT_OK)
        status = nct_sources_find(&c->sources, c->engine, nct_session_tokens(c->session), c->n_prompt, texts,
                                  n_texts, n_most, &found, &n_found, err);
    nct_session_report(c->session, &report);
    if (status == NCT_OK)
        nct_sources_print(c->cli, found, n_found, nct_sources_any(&c->sources), report.chooses_from);
    nct_free(texts);
    nct_free(names);
    nct_free(found);
    return status;
}

void nct_chat_sources(nct_chat *c, size_t n) {
    nct_error err = {0};
    if (c->n_prompt == 0) {
        nct_say_dim(c->cli, "  no answer to tell sources of");
        return;
    }
    if (!c->has_sources && count_again(c) != NCT_EXIT_OK)
        return;
    if (print_sources(c, n, &err) != NCT_OK)
        c->code = nct_say_status(c->cli, &err);
}
