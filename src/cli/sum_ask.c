/* One question of a summary, and the keeping of its answer: $XDG_CACHE_HOME/noctule/sum/HASH, named by all that decides
 * the text: the model, the prompt's tokens, sampling and limit. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/map.h"
#include "base/sha256.h"
#include "cli/places.h"
#include "cli/sessions.h"
#include "cli/sum.h"

/* ------------------------------------------------------------------ what was said before */

static bool answers_folder(char *buf, size_t n_buf) {
    return nct_place_path(NCT_PLACE_CACHE, "sum", buf, n_buf);
}

static bool answer_path(const nct_sum *s, const int32_t *ids, size_t n_ids, char *buf, size_t n_buf) {
    const nct_sampling *p = &s->sampling;
    char folder[PATH_MAX], name[2 * NCT_SHA256_BYTES + 1];
    uint8_t digest[NCT_SHA256_BYTES];
    nct_report report;
    nct_bytes key = {0};
    nct_session_report(s->session, &report);
    bool made =
        nct_bytes_printf(&key, NULL, "1|%s|%s|%llu|%d|%s|%s|%s|%d|%zu|%.17g|%d|%.17g|%.17g|%.17g|%d|%.17g|%.17g|%llu|",
                         s->info.path, s->info.weights, (unsigned long long)s->info.n_parameters, s->info.n_vocab,
                         s->info.isa, report.keys, report.values, report.chooses_from, s->max_tokens, p->temperature,
                         p->top_k, p->top_p, p->min_p, p->repeat_penalty, p->repeat_last_n, p->presence_penalty,
                         p->frequency_penalty, (unsigned long long)p->seed) == NCT_OK &&
        nct_bytes_add(&key, ids, n_ids * sizeof *ids, NULL) == NCT_OK;
    if (made)
        made = nct_bytes_printf(&key, NULL, "|%lld|%d", (long long)s->cli->args.think_budget,
                                s->cli->args.ignore_eos) == NCT_OK;
    for (size_t i = 0; made && i < s->cli->args.stops.n; i++)
        made = nct_bytes_add_str(&key, s->cli->args.stops.item[i], NULL) == NCT_OK;
    for (size_t i = 0; made && i < s->cli->args.biases.n; i++)
        made = nct_bytes_add_str(&key, s->cli->args.biases.item[i], NULL) == NCT_OK;
    for (size_t i = 0; made && i < s->cli->args.knobs.n; i++)
        made = nct_bytes_add_str(&key, s->cli->args.knobs.item[i], NULL) == NCT_OK;
    if (made)
        nct_sha256_of(key.data, key.n, digest);
    nct_bytes_reset(&key);
    nct_sha256_hex(digest, sizeof digest, name);
    return made && answers_folder(folder, sizeof folder) && nct_path_join(buf, n_buf, folder, name);
}

/* A file ends in a newline that was written last: one without is torn, and as if it were not there. */
static bool load(const char *path, nct_bytes *text) {
    nct_map map = {0};
    if (nct_map_open(path, &map, NULL) != NCT_OK)
        return false;
    text->n = 0;
    bool good = map.n_bytes && map.data[map.n_bytes - 1] == '\n' &&
                nct_bytes_add(text, map.data, map.n_bytes - 1, NULL) == NCT_OK;
    nct_map_close(&map);
    return good;
}

static void store(const nct_sum *s, const char *path, const nct_bytes *text) {
    char part[PATH_MAX];
    if (s->cli->args.cache > 0 || snprintf(part, sizeof part, "%s.%ld", path, (long)getpid()) >= (int)sizeof part ||
        !nct_make_folders(path, false))
        return;
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    bool good =
        write(fd, text->data ? text->data : "", text->n) == (ssize_t)text->n && write(fd, "\n", 1) == 1;
    good = fsync(fd) == 0 && good;
    if (close(fd) != 0 || !good || rename(part, path) != 0)
        unlink(part); /* it is asked again then */
}

/* Beside an answer: which blocks were chosen while it was written. One that was kept without is asked for again. */
static bool sources_path(const char *path, char *buf, size_t n_buf) {
    return snprintf(buf, n_buf, "%s.sources", path) < (int)n_buf;
}

static bool load_sources(const char *path, nct_sources *sources) {
    char beside[PATH_MAX];
    nct_bytes text = {0};
    bool good = sources_path(path, beside, sizeof beside) && load(beside, &text) &&
                nct_sources_load(text.data, sources);
    nct_bytes_reset(&text);
    return good;
}

static void store_sources(const nct_sum *s, const char *path) {
    char beside[PATH_MAX];
    nct_bytes text = {0};
    if (sources_path(path, beside, sizeof beside) && nct_sources_save(&s->sources, &text, NULL) == NCT_OK)
        store(s, beside, &text);
    nct_bytes_reset(&text);
}

bool nct_sum_forget(void) {
    char folder[PATH_MAX], path[PATH_MAX];
    DIR *dir = answers_folder(folder, sizeof folder) ? opendir(folder) : NULL;
    bool good = true;
    if (!dir)
        return true;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.' && nct_path_join(path, sizeof path, folder, entry->d_name))
            good = unlink(path) == 0 && good;
    closedir(dir);
    return rmdir(folder) == 0 && good;
}

/* ------------------------------------------------------------------ asking */

static nct_status make_prompt(nct_sum *s, const char *content, size_t n, const char *instruction, int32_t **ids,
                              size_t *n_ids, bool *thinking, nct_error *err) {
    nct_bytes text = {0};
    nct_status status = nct_bytes_add(&text, content, n, err);
    if (status == NCT_OK)
        status = nct_bytes_printf(&text, err, "%s%s", n && content[n - 1] == '\n' ? "\n" : "\n\n", instruction);
    nct_talk_cut(&s->talk, 0);
    if (status == NCT_OK)
        status = nct_talk_say(&s->talk, text.data, text.n, err);
    if (status == NCT_OK)
        status = nct_talk_prompt(&s->talk, NULL, ids, n_ids, thinking, err);
    nct_bytes_reset(&text);
    return status;
}

int nct_sum_count(nct_sum *s, const char *content, size_t n, const char *instruction, size_t *n_ids) {
    int32_t *ids = NULL;
    bool thinking;
    nct_error err = {0};
    if (make_prompt(s, content, n, instruction, &ids, n_ids, &thinking, &err) == NCT_OK)
        nct_free(ids);
    return nct_say_status(s->cli, &err);
}

static bool drop_piece(void *sum, bool thinking, const char *text, size_t n) {
    (void)thinking, (void)text, (void)n;
    nct_meter_end(&((nct_sum *)sum)->show.meter);
    return true;
}

static void show_progress(void *sum, int done, int total) {
    nct_show_progress(&((nct_sum *)sum)->show, done, total);
}

static bool show_piece(void *sum, bool thinking, const char *text, size_t n) {
    return nct_show_piece(&((nct_sum *)sum)->show, thinking, text, n);
}

static int generate(nct_sum *s, const nct_question *q, const int32_t *ids, size_t n_ids, bool in_thinking,
                    bool stream, nct_bytes *answer, bool *whole) {
    const nct_args *a = &s->cli->args;
    nct_error err = {0};
    nct_answer made;
    nct_answer_options options = {.sampling = s->sampling,
                                  .max_tokens = s->max_tokens,
                                  .find_thinking = !s->talk.plain,
                                  .in_thinking = in_thinking,
                                  .has_budget = a->think_budget != NCT_UNSET,
                                  .budget = a->think_budget != NCT_UNSET ? (size_t)a->think_budget : 0,
                                  .ignore_eos = a->ignore_eos,
                                  .continuation = s->talk.plain,
                                  .stops = &a->stops,
                                  .emit = stream ? show_piece : drop_piece,
                                  .progress = show_progress,
                                  .context = s,
                                  .on_choice = q->n_texts ? nct_sources_count : NULL,
                                  .choice_context = &s->sources};
    if (q->n_texts)
        nct_sources_clear(&s->sources);
    nct_meter_begin(s->cli, s->label, &s->show.meter);
    nct_status status = nct_answer_make(s->engine, s->session, ids, n_ids, &options, &made, &err);
    nct_meter_end(&s->show.meter);
    int code = status == NCT_OK ? NCT_EXIT_OK : nct_say_status(s->cli, &err);
    *whole = status == NCT_OK && (made.finish == NCT_FINISH_STOP || made.finish == NCT_FINISH_LENGTH);
    if (code == NCT_EXIT_OK && made.finish == NCT_FINISH_INTERRUPTED)
        code = 128 + (int)*nct_signals_flag();
    else if (code == NCT_EXIT_OK && made.finish == NCT_FINISH_TIMEOUT)
        code = NCT_EXIT_FAILURE;
    else if (code == NCT_EXIT_OK && made.finish == NCT_FINISH_CLOSED)
        code = NCT_EXIT_PIPE;
    s->n_prompt += made.n_prompt;
    s->n_cached += made.n_cached;
    s->n_completion += made.n_ids;
    answer->n = 0;
    size_t n = made.text.n, skip = 0;
    while (n && isspace((unsigned char)made.text.data[n - 1]))
        n--;
    while (skip < n && isspace((unsigned char)made.text.data[skip]))
        skip++;
    if (nct_bytes_add(answer, made.text.data ? made.text.data + skip : "", n - skip, &err) != NCT_OK)
        code = nct_say_status(s->cli, &err);
    nct_answer_close(&made);
    nct_show_end(&s->show);
    return code;
}

/* What the answer rests on: the counts at hand as lines. */
static nct_status find_sources(nct_sum *s, nct_question *q, const int32_t *ids, size_t n_ids,
                               nct_error *err) {
    enum { MOST = 5 };
    q->n_choices = nct_sources_total(&s->sources);
    return nct_sources_find(&s->sources, s->engine, ids, n_ids, q->texts, q->n_texts, MOST, &q->found,
                            &q->n_found, err);
}

void nct_question_close(nct_question *q) {
    nct_bytes_reset(&q->instruction);
    nct_bytes_reset(&q->answer);
    nct_free(q->texts);
    nct_free(q->found);
    *q = (nct_question){0};
}

int nct_sum_ask(nct_sum *s, nct_question *q) {
    int32_t *ids = NULL;
    size_t n_ids = 0;
    bool thinking = false, whole = false;
    char path[PATH_MAX] = "";
    nct_error err = {0};
    nct_bytes *answer = &q->answer;
    if (*nct_signals_flag())
        return *nct_signals_flag() == SIGALRM ? NCT_EXIT_FAILURE : 128 + (int)*nct_signals_flag();
    if (make_prompt(s, q->content, q->n_content, q->instruction.data, &ids, &n_ids, &thinking, &err) !=
        NCT_OK)
        return nct_say_status(s->cli, &err);
    if (!answer_path(s, ids, n_ids, path, sizeof path))
        *path = 0;
    s->n_asked++;
    int code = NCT_EXIT_OK;
    if (*path && s->cli->args.cache != 1 && load(path, answer) &&
        (!q->n_texts || load_sources(path, &s->sources))) {
        s->n_kept++;
        if (q->show)
            nct_output_write(&s->show.output, answer->data, answer->n);
    } else {
        bool stream = q->show && s->show.output.tty; /* elsewhere the same bytes whether it was kept or not */
        code = generate(s, q, ids, n_ids, thinking, stream, answer, &whole);
        if (code == NCT_EXIT_OK && whole && *path) {
            if (q->n_texts)
                store_sources(s, path);
            store(s, path, answer);
        }
        if (q->show && !stream && (code == NCT_EXIT_OK || code >= NCT_EXIT_INTERRUPT))
            nct_output_write(&s->show.output, answer->data ? answer->data : "", answer->n);
    }
    if (code == NCT_EXIT_OK && q->n_texts && find_sources(s, q, ids, n_ids, &err) != NCT_OK)
        code = nct_say_status(s->cli, &err);
    nct_free(ids);
    return code;
}
