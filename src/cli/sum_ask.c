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

#include "base/clock.h"
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

static void store_sources(const nct_sum *s, const char *path, const nct_sources *sources) {
    char beside[PATH_MAX];
    nct_bytes text = {0};
    if (sources_path(path, beside, sizeof beside) && nct_sources_save(sources, &text, NULL) == NCT_OK)
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

static nct_answer_options answer_options(nct_sum *s, bool in_thinking) {
    const nct_args *a = &s->cli->args;
    return (nct_answer_options){.sampling = s->sampling,
                                .max_tokens = s->max_tokens,
                                .find_thinking = !s->talk.plain,
                                .in_thinking = in_thinking,
                                .has_budget = a->think_budget != NCT_UNSET,
                                .budget = a->think_budget != NCT_UNSET ? (size_t)a->think_budget : 0,
                                .ignore_eos = a->ignore_eos,
                                .continuation = s->talk.plain,
                                .stops = &a->stops};
}

/* A question on its way: its prompt, and where its answer is kept. */
typedef struct asking {
    int32_t *ids;
    size_t n_ids;
    bool thinking;       /* the prompt ends in an open block of it */
    char path[PATH_MAX]; /* "": nowhere */
} asking;

static int begin(nct_sum *s, const nct_question *q, asking *k) {
    nct_error err = {0};
    if (make_prompt(s, q->content, q->n_content, q->instruction.data, &k->ids, &k->n_ids, &k->thinking,
                    &err) != NCT_OK)
        return nct_say_status(s->cli, &err);
    if (!answer_path(s, k->ids, k->n_ids, k->path, sizeof k->path))
        *k->path = 0;
    return NCT_EXIT_OK;
}

/* What the answer rests on: counts as lines. */
static int find_sources(nct_sum *s, nct_question *q, const asking *k, const nct_sources *sources) {
    enum { MOST = 5 };
    nct_error err = {0};
    if (!q->n_texts)
        return NCT_EXIT_OK;
    q->n_choices = nct_sources_total(sources);
    nct_sources_find(sources, s->engine, k->ids, k->n_ids, q->texts, q->n_texts, MOST, &q->found, &q->n_found,
                     &err);
    return nct_say_status(s->cli, &err);
}

/* The answer that was kept, if there is one: *found. */
static int find_kept(nct_sum *s, nct_question *q, const asking *k, bool *found) {
    *found = *k->path && s->cli->args.cache != 1 && load(k->path, &q->answer) &&
             (!q->n_texts || load_sources(k->path, &s->sources));
    if (!*found)
        return NCT_EXIT_OK;
    s->n_asked++;
    s->n_kept++;
    return find_sources(s, q, k, &s->sources);
}

/* What the end of an answer means to the command. */
static int exit_code(nct_finish finish) {
    if (finish == NCT_FINISH_INTERRUPTED)
        return 128 + (int)*nct_signals_flag();
    return finish == NCT_FINISH_TIMEOUT  ? NCT_EXIT_FAILURE
           : finish == NCT_FINISH_CLOSED ? NCT_EXIT_PIPE
                                         : NCT_EXIT_OK;
}

/* Takes over what was made: the text without the space around it; keeps it where it is whole. */
static int take_answer(nct_sum *s, nct_question *q, const asking *k, const nct_answer *made,
                       const nct_sources *sources) {
    nct_error err = {0};
    size_t n = made->text.n, skip = 0;
    while (n && isspace((unsigned char)made->text.data[n - 1]))
        n--;
    while (skip < n && isspace((unsigned char)made->text.data[skip]))
        skip++;
    s->n_prompt += made->n_prompt;
    s->n_cached += made->n_cached;
    s->n_completion += made->n_ids;
    q->answer.n = 0;
    if (nct_bytes_add(&q->answer, made->text.data ? made->text.data + skip : "", n - skip, &err) != NCT_OK)
        return nct_say_status(s->cli, &err);
    int code = exit_code(made->finish);
    if (code != NCT_EXIT_OK)
        return code;
    if (*k->path && q->n_texts)
        store_sources(s, k->path, sources);
    if (*k->path)
        store(s, k->path, &q->answer);
    s->n_asked++;
    return find_sources(s, q, k, sources);
}

/* ------------------------------------------------------------------ one by one */

static int generate(nct_sum *s, nct_question *q, const asking *k, bool stream) {
    nct_error err = {0};
    nct_answer made;
    nct_answer_options options = answer_options(s, k->thinking);
    options.emit = stream ? show_piece : drop_piece;
    options.progress = show_progress;
    options.context = s;
    options.on_choice = q->n_texts ? nct_sources_count : NULL;
    options.choice_context = &s->sources;
    if (q->n_texts)
        nct_sources_clear(&s->sources);
    nct_meter_begin(s->cli, s->label, &s->show.meter);
    nct_status status = nct_answer_make(s->engine, s->session, k->ids, k->n_ids, &options, &made, &err);
    nct_meter_end(&s->show.meter);
    int code = status == NCT_OK ? take_answer(s, q, k, &made, &s->sources) : nct_say_status(s->cli, &err);
    nct_answer_close(&made);
    nct_show_end(&s->show);
    return code;
}

void nct_question_close(nct_question *q) {
    nct_bytes_reset(&q->instruction);
    nct_bytes_reset(&q->answer);
    nct_free(q->texts);
    nct_free(q->found);
    *q = (nct_question){0};
}

/* A signal that came, as an exit code; 0: none. */
static int signalled(void) {
    int number = (int)*nct_signals_flag();
    return number == SIGALRM ? NCT_EXIT_FAILURE : number ? 128 + number : NCT_EXIT_OK;
}

int nct_sum_ask(nct_sum *s, nct_question *q) {
    asking k = {0};
    bool kept = false,
         stream = q->show && s->show.output.tty; /* elsewhere the same bytes whether it was kept or not */
    int code = signalled();
    if (code == NCT_EXIT_OK)
        code = begin(s, q, &k);
    if (code == NCT_EXIT_OK)
        code = find_kept(s, q, &k, &kept);
    if (code == NCT_EXIT_OK && !kept)
        code = generate(s, q, &k, stream);
    if (q->show && (kept || !stream) && (code == NCT_EXIT_OK || code >= NCT_EXIT_INTERRUPT))
        nct_output_write(&s->show.output, q->answer.data ? q->answer.data : "", q->answer.n);
    nct_free(k.ids);
    return code;
}

/* ------------------------------------------------------------------ together */

/* One of the questions that are being answered. */
typedef struct seat {
    nct_question *q; /* NULL: nobody sits there */
    asking k;
    int number;  /* of the sequence .. */
    bool seated; /* .. if it came to one */
    nct_answer_options options;
    nct_answer made;
    nct_answering *answering;
    nct_sources sources;
    bool over;
    nct_error err; /* its failure */
} seat;

typedef struct table {
    nct_sum *s;
    seat *seat; /* [s->width] */
    /* tokens, for the progress */
    size_t n_done, n_answered; /* questions that were answered here, tokens of their answers .. */
    uint64_t n_read, n_left;   /* .. and of their prompts; of prompts of which nothing was read */
} table;

static bool take(void *context, int32_t id) {
    seat *at = context;
    bool over = true;
    nct_answering_take(at->answering, id, &over, &at->err);
    return !over;
}

static bool follow(void *context, const int32_t **ids, size_t *n) {
    seat *at = context;
    bool over = true;
    nct_answering_follow(at->answering, ids, n, &over, &at->err);
    return !over;
}

static void count_choice(void *context, const nct_choice *choice) {
    nct_sources_count(&((seat *)context)->sources, choice);
}

static void ended(void *context, const nct_error *err) {
    seat *at = context;
    at->over = true;
    if (err)
        at->err = *err;
}

static void leave(seat *at) {
    nct_answering_close(at->answering);
    nct_answer_close(&at->made);
    nct_sources_close(&at->sources);
    nct_free(at->k.ids);
    *at = (seat){0};
}

/* A block of thinking that has no budget at all is closed before anything is computed: like a part of the prompt. */
static nct_status close_thinking(seat *at, nct_error *err) {
    const int32_t *ids = NULL;
    size_t n = 0;
    void *all = at->k.ids;
    size_t capacity = at->k.n_ids;
    NCT_TRY(nct_answering_follow(at->answering, &ids, &n, &at->over, err));
    if (!n)
        return NCT_OK;
    NCT_TRY(nct_grow(&all, &capacity, at->k.n_ids + n, sizeof *ids, err));
    at->k.ids = all;
    memcpy(at->k.ids + at->k.n_ids, ids, n * sizeof *ids);
    at->k.n_ids += n;
    return NCT_OK;
}

/* Gives a question whose prompt is at hand a seat. */
static int sit_down(table *t, seat *at, nct_question *q) {
    nct_sum *s = t->s;
    nct_error err = {0};
    int n_expected = (int)s->n_expected;
    size_t limit = (size_t)nct_batcher_limit(s->batcher, n_expected);
    at->q = q;
    at->options = answer_options(s, at->k.thinking);
    t->n_left -= at->k.n_ids;
    nct_status status =
        nct_answering_open(s->engine, at->k.n_ids, limit, &at->options, &at->made, &at->answering, &err);
    if (status == NCT_OK)
        status = close_thinking(at, &err);
    if (status == NCT_OK && q->n_texts)
        status = nct_sources_open(s->cli, &s->info, limit, &at->sources, &err);
    nct_sequence sequence = {.ids = at->k.ids,
                             .n_ids = at->k.n_ids,
                             .n_expected = n_expected, /* the session's table of positions, for all of them */
                             .sampling = s->sampling,
                             .take = take,
                             .follow = at->options.has_budget ? follow : NULL,
                             .on_choice = q->n_texts ? count_choice : NULL,
                             .choices_from = (int)at->k.n_ids - 1,
                             .ended = ended,
                             .context = at};
    if (status == NCT_OK && !at->over)
        at->seated = nct_batcher_add(s->batcher, &sequence, &at->number, &err) == NCT_OK;
    return nct_say_status(s->cli, &err);
}

/* Takes over the answer of a seat, which is free then. */
static int stand_up(table *t, seat *at) {
    nct_sum *s = t->s;
    nct_sequence_state state = {0};
    if (at->seated)
        nct_batcher_look(s->batcher, at->number, &state);
    if (at->err.status == NCT_OK)
        nct_answering_end(at->answering, &at->err);
    at->made.n_cached = (size_t)state.n_copied;
    t->n_done++;
    t->n_read += at->k.n_ids;
    t->n_answered += at->made.n_ids;
    int code = at->err.status == NCT_OK ? take_answer(s, at->q, &at->k, &at->made, &at->sources)
                                        : nct_say_status(s->cli, &at->err);
    leave(at);
    return code;
}

/* Tokens that were read and written, of those that will be: answers like those before, or as long as they may be. */
static void show_table(table *t, size_t n_all, const char *what) {
    nct_sum *s = t->s;
    uint64_t done = t->n_read + t->n_answered, total = t->n_read + t->n_left;
    for (size_t i = 0; i < s->width; i++) {
        const seat *at = &t->seat[i];
        if (!at->seated)
            continue;
        nct_sequence_state state;
        nct_batcher_look(s->batcher, at->number, &state);
        done += (uint64_t)state.n_read + at->made.n_ids;
        total += at->k.n_ids;
    }
    total += n_all * (t->n_done ? t->n_answered / t->n_done : s->max_tokens);
    snprintf(s->label, sizeof s->label, "%zu of %zu %ss, %d at once", t->n_done, n_all, what,
             nct_batcher_size(s->batcher));
    nct_meter_show(&s->show.meter, done, total > done ? total : done + 1);
}

/* Steps until nobody sits at the table and nobody waits. */
static int serve(table *t, nct_question **question, size_t n, const char *what) {
    nct_sum *s = t->s;
    nct_error err = {0};
    int code = NCT_EXIT_OK;
    for (size_t next = 0; (code = signalled()) == NCT_EXIT_OK;) {
        for (size_t i = 0; i < s->width && next < n && code == NCT_EXIT_OK; i++)
            if (!t->seat[i].q && (code = begin(s, question[next], &t->seat[i].k)) == NCT_EXIT_OK)
                code = sit_down(t, &t->seat[i], question[next++]);
        size_t n_sitting = (size_t)nct_batcher_size(s->batcher);
        if (code != NCT_EXIT_OK)
            break;
        s->n_together = n_sitting > s->n_together ? n_sitting : s->n_together;
        nct_status status = nct_batcher_step(s->batcher, nct_signals_flag(), &err);
        if (status == NCT_E_STOPPED)
            continue;
        code = nct_say_status(s->cli, &err);
        for (size_t i = 0; i < s->width; i++)
            if (t->seat[i].q && t->seat[i].over) {
                int taken = stand_up(t, &t->seat[i]);
                code = code == NCT_EXIT_OK ? taken : code;
            }
        if (code != NCT_EXIT_OK || t->n_done == n)
            break;
        show_table(t, n, what);
    }
    return code;
}

static int open_batcher(nct_sum *s) {
    char folder[PATH_MAX];
    nct_batcher_options o = {.n_sequences = (int)s->width, .keep_prompts = true};
    return s->batcher ? NCT_EXIT_OK
                      : nct_open_batcher(s->cli, s->engine, folder, sizeof folder, &o, &s->batcher);
}

/* Of questions [*n] those that were answered before are taken out. */
static int take_kept(table *t, nct_question **question, size_t *n) {
    size_t n_open = 0;
    int code = NCT_EXIT_OK;
    for (size_t i = 0; i < *n && code == NCT_EXIT_OK; i++) {
        asking k = {0};
        bool kept = false;
        code = begin(t->s, question[i], &k);
        if (code == NCT_EXIT_OK)
            code = find_kept(t->s, question[i], &k, &kept);
        if (!kept) {
            question[n_open++] = question[i];
            t->n_left += k.n_ids;
        }
        nct_free(k.ids);
    }
    *n = n_open;
    return code;
}

/* Answers questions, at least two, of which none was answered before. */
static int ask_together(table *t, nct_question **question, size_t n, const char *what) {
    nct_sum *s = t->s;
    void *seats = NULL;
    nct_error err = {0};
    nct_batcher_report before = {0}, after = {0};
    int code = open_batcher(s);
    if (code != NCT_EXIT_OK)
        return code;
    if (nct_alloc(&seats, s->width, sizeof(seat), &err) != NCT_OK)
        return nct_say_status(s->cli, &err);
    t->seat = seats;
    nct_batcher_count(s->batcher, &before);
    nct_meter_begin(s->cli, s->label, &s->show.meter);
    code = serve(t, question, n, what);
    nct_meter_end(&s->show.meter);
    nct_batcher_count(s->batcher, &after);
    s->n_steps += after.n_steps - before.n_steps;
    for (size_t i = 0; i < s->width; i++) {
        if (t->seat[i].seated && !t->seat[i].over)
            nct_batcher_drop(s->batcher, t->seat[i].number);
        leave(&t->seat[i]);
    }
    nct_free(seats);
    nct_batcher_shed(s->batcher); /* what follows may need the memory */
    return code;
}

int nct_sum_ask_all(nct_sum *s, nct_question **question, size_t n, const char *what) {
    table t = {.s = s};
    int code = NCT_EXIT_OK;
    size_t n_open = n;
    if (s->width > 1 && n > 1)
        code = take_kept(&t, question, &n_open);
    if (code == NCT_EXIT_OK && s->width > 1 && n_open > 1)
        return ask_together(&t, question, n_open, what);
    for (size_t i = 0; i < n_open && code == NCT_EXIT_OK; i++) {
        snprintf(s->label, sizeof s->label, "%s %zu of %zu", what, i + 1, n_open);
        code = nct_sum_ask(s, question[i]);
    }
    return code;
}

/* ------------------------------------------------------------------ how fast that is */

static bool count_token(void *n_tokens, int32_t id) {
    (void)id;
    ++*(size_t *)n_tokens;
    return true;
}

static void leave_unsaid(void *n_tokens, const nct_error *err) { (void)n_tokens, (void)err; }

int nct_sum_measure(nct_sum *s, const int32_t *ids, size_t n_ids, double *rate) {
    enum { STEPS = 8 };
    size_t n_tokens = 0, n_before = 0;
    int number;
    uint64_t began = 0;
    nct_error err = {0};
    nct_sequence sequence = {.ids = ids,
                             .n_ids = n_ids,
                             .n_expected = (int)s->n_expected,
                             .sampling = s->sampling,
                             .take = count_token,
                             .ended = leave_unsaid,
                             .context = &n_tokens};
    int code = open_batcher(s);
    if (code != NCT_EXIT_OK)
        return code;
    for (size_t i = 0; i < s->width && err.status == NCT_OK; i++)
        nct_batcher_add(s->batcher, &sequence, &number, &err);
    size_t n_sitting = s->width; /* until the context of one is full */
    for (int n = 0; n < STEPS && err.status == NCT_OK && n_sitting == s->width; n += began != 0) {
        size_t before = n_tokens;
        nct_batcher_step(s->batcher, NULL, &err);
        n_sitting = (size_t)nct_batcher_size(s->batcher);
        if (!began && n_tokens - before == s->width) { /* all of them write */
            began = nct_clock_ns();
            n_before = n_tokens;
        }
    }
    *rate = began ? nct_rate(n_tokens - n_before, (double)(nct_clock_ns() - began) * 1e-9) : 0;
    nct_batcher_close(s->batcher);
    s->batcher = NULL;
    return nct_say_status(s->cli, &err);
}
