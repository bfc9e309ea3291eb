/* Many prompts, several at a time: records come in, sequences are decoded together, results go out as they come. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "cli/batch_progress.h"
#include "cli/batch_results.h"
#include "cli/open.h"
#include "cli/speed.h"

enum {
    AHEAD = 32,         /* records that are looked at for what they have in common with others .. */
    WORTH_SHARING = 64, /* .. if it is so many tokens .. */
    PATIENCE = 64,      /* .. and so many others may go before one */
};
#define AHEAD_BYTES ((size_t)8 << 20) /* of their texts and tokens */

typedef struct batch batch;

/* A record that was read and prepared. */
typedef struct waiting {
    nct_item item;
    uint64_t order;  /* items due before it */
    uint32_t passed; /* others that went before it since */
} waiting;

typedef struct job {
    batch *b;
    nct_item item;
    uint64_t order, bytes; /* items due before it; what its cache may take */
    bool active, over;
} job;

struct batch {
    const nct_cli *cli;
    nct_recipe recipe;
    nct_source *source;
    nct_batch_record record;
    nct_results results;
    nct_batcher *batcher;
    job job[NCT_BATCHER_MAX];
    size_t width;
    uint64_t room;         /* bytes of all caches in memory */
    char folder[PATH_MAX]; /* of those in files */
    bool said_files;
    /* which records */
    int64_t shard, n_shards;
    uint64_t n_records;  /* of the input, read */
    uint64_t n_of_shard; /* of them, of this shard */
    uint64_t n_chosen;   /* of these, wanted */
    uint64_t n_total,
        n_wanted; /* with --sample: records of this shard that there are, and how many of them */
    /* how it goes */
    waiting ahead[AHEAD]; /* [n_ahead], in the order of the input */
    size_t n_ahead, most_ahead;
    bool holds_record; /* with --samples: the record that was read last has answers left .. */
    bool record_wanted;
    bool ended, stopping, said_stopping, complete, late;
    uint64_t n_due, n_skipped,
        n_failed_before; /* items to be done so far; those there already, of them failed */
    nct_item longest;    /* with --dry-run, to time the host with */
    nct_batch_state state;
    nct_batch_progress progress;
    uint64_t n_read_before; /* tokens, of prompts of finished items */
    uint64_t began_ns;
    int code;
};

static double seconds_since(uint64_t began) { return (double)(nct_clock_ns() - began) * 1e-9; }

/* ------------------------------------------------------------------ options */

static int take_shard(batch *b) {
    const char *text = b->cli->args.shard, *slash = text ? strchr(text, '/') : NULL;
    char first[24];
    b->n_shards = 1;
    if (!text)
        return NCT_EXIT_OK;
    snprintf(first, sizeof first, "%.*s", slash && slash - text < 20 ? (int)(slash - text) : 0, text);
    if (!slash || !nct_parse_count(slash + 1, 1, 1e9, &b->n_shards) ||
        !nct_parse_count(first, 1, (double)b->n_shards, &b->shard))
        return nct_say_error(b->cli, NCT_EXIT_USAGE, "--shard %s: expected i/n, as 1/4 to 4/4", text);
    return NCT_EXIT_OK;
}

static int check_options(batch *b) {
    const nct_args *a = &b->cli->args;
    nct_knobs knobs;
    int code = nct_take_knobs(b->cli, &knobs);
    if (code == NCT_EXIT_OK && knobs.decide_by_prompt)
        code = nct_say_error(b->cli, NCT_EXIT_USAGE,
                             "-X sparse.decide=prompt: items share what they have in common, so no prompt "
                             "decides as a whole\ntry: noctule run");
    if (code == NCT_EXIT_OK && a->seed > (int64_t)1 << 53)
        code = nct_say_error(b->cli, NCT_EXIT_USAGE, "--seed %lld: records hold numbers up to 2^53",
                             (long long)a->seed);
    if (code == NCT_EXIT_OK)
        code = take_shard(b);
    return code == NCT_EXIT_OK ? nct_take_width(b->cli, &b->width) : code;
}

/* ------------------------------------------------------------------ which records */

static void begin_reading(batch *b) {
    nct_source_rewind(b->source);
    b->holds_record = false;
    nct_seen_close(&b->recipe.ids);
    b->n_records = b->n_of_shard = b->n_chosen = 0;
    b->ended = false;
}

static bool is_of_shard(const batch *b, uint64_t number) {
    return b->n_shards == 1 || number % (uint64_t)b->n_shards == (uint64_t)b->shard % (uint64_t)b->n_shards;
}

/* Whether the record that was read last is one of this call's. Draws as many as are wanted out of as many as there are,
 * each set as likely as any other (Knuth 3.4.2, algorithm S). */
static bool is_wanted(batch *b) {
    const nct_args *a = &b->cli->args;
    uint64_t number = b->n_records, seed = a->seed > 0 ? (uint64_t)a->seed : 1;
    if (!is_of_shard(b, number))
        return false;
    b->n_of_shard++;
    if (a->sample != NCT_UNSET) {
        double left = (double)(b->n_total - (b->n_of_shard - 1)),
               wanted = (double)(b->n_wanted - b->n_chosen);
        if (nct_rng_uniform(seed, 0, number, 0) * left >= wanted)
            return false;
    }
    b->n_chosen++;
    return true;
}

/* The next record, or with --samples the one at hand once more. */
static nct_got next_record(batch *b, bool wait) {
    nct_recipe *r = &b->recipe;
    if (b->holds_record) {
        r->sample++;
    } else {
        nct_got got = b->ended || (b->cli->args.item_limit != NCT_UNSET &&
                                   b->n_chosen >= (uint64_t)b->cli->args.item_limit)
                          ? NCT_GOT_END
                          : nct_source_next(b->source, wait, &b->record);
        if (got != NCT_GOT_RECORD)
            return got;
        r->sample = 0;
        b->n_records++;
        b->record_wanted = is_wanted(b);
    }
    b->holds_record = b->record_wanted && r->sample + 1 < r->n_samples;
    return NCT_GOT_RECORD;
}

/* The next item of this call that is due, or none: *got says why. With `look` nothing is written. */
static nct_got next_item(batch *b, bool wait, bool look, nct_item *item) {
    nct_error err = {0};
    for (;;) {
        nct_got got = next_record(b, wait);
        if (got != NCT_GOT_RECORD) {
            b->ended = got == NCT_GOT_END;
            b->code = got == NCT_GOT_FAILURE   ? NCT_EXIT_FAILURE
                      : got == NCT_GOT_REFUSED ? NCT_EXIT_USAGE
                                               : b->code;
            return got;
        }
        bool wanted = b->record_wanted;
        if (nct_item_open(&b->recipe, &b->record, b->n_records - 1, !wanted, item, &err) != NCT_OK) {
            b->code = nct_say_status(b->cli, &err);
            return NCT_GOT_FAILURE;
        }
        nct_due due = wanted ? nct_results_due(&b->results, item, look) : NCT_DUE_NOT;
        if (due == NCT_DUE)
            return NCT_GOT_RECORD;
        nct_item_close(item);
        if (due == NCT_DUE_REFUSED) {
            b->code = NCT_EXIT_USAGE;
            return NCT_GOT_REFUSED;
        }
        if (wanted && !look) {
            b->n_skipped++;
            b->n_failed_before += due == NCT_DUE_FAILED;
        }
        if (!look)
            wait = false; /* what was passed over may have taken a while: look at signals */
        if (*nct_signals_flag())
            return NCT_GOT_LATER;
    }
}

static int limit_of(void *context, int n_expected) {
    return nct_batcher_limit(((batch *)context)->batcher, n_expected);
}

/* Counts records for --sample. */
static int count_records(batch *b) {
    nct_got got;
    uint64_t number = 0;
    b->n_total = 0;
    while ((got = nct_source_next(b->source, true, &b->record)) == NCT_GOT_RECORD)
        b->n_total += is_of_shard(b, ++number);
    b->n_wanted = (uint64_t)b->cli->args.sample < b->n_total ? (uint64_t)b->cli->args.sample : b->n_total;
    return got == NCT_GOT_END ? NCT_EXIT_OK : got == NCT_GOT_REFUSED ? NCT_EXIT_USAGE : NCT_EXIT_FAILURE;
}

/* What there is to do: items and tokens of their prompts; outputs that stand in the way. */
static int count_items(batch *b) {
    nct_item item = {0};
    nct_error err = {0};
    nct_got got = NCT_GOT_RECORD;
    b->state.open = !nct_source_is_regular(b->source);
    if (b->state.open && b->cli->args.sample != NCT_UNSET)
        return nct_say_error(
            b->cli, NCT_EXIT_USAGE,
            "--sample draws from all records, and a pipe has no end that is known\ntry: a file");
    if (b->state.open && b->cli->args.dry_run)
        return nct_say_error(b->cli, NCT_EXIT_USAGE,
                             "--dry-run counts records, and those of a pipe would be gone then\ntry: a file");
    if (b->state.open)
        return NCT_EXIT_OK;
    int code = b->cli->args.sample != NCT_UNSET ? count_records(b) : NCT_EXIT_OK;
    if (code != NCT_EXIT_OK ||
        (b->progress.form == NCT_PROGRESS_NONE && !b->results.pattern && !b->cli->args.dry_run))
        return code;
    begin_reading(b);
    while (!*nct_signals_flag() && (got = next_item(b, true, true, &item)) == NCT_GOT_RECORD) {
        if ((b->progress.form != NCT_PROGRESS_NONE || b->cli->args.dry_run) &&
            nct_item_prepare(&item, limit_of, b, &err) != NCT_OK) {
            nct_item_close(&item);
            return nct_say_status(b->cli, &err);
        }
        b->state.n_items++;
        b->state.n_prompt += item.fault ? 0 : item.n_ids;
        if (b->cli->args.dry_run && !item.fault && item.n_ids > b->longest.n_ids) {
            nct_item other = b->longest;
            b->longest = item;
            item = other;
        }
        nct_item_close(&item);
    }
    return got == NCT_GOT_FAILURE || got == NCT_GOT_REFUSED ? b->code : NCT_EXIT_OK;
}

/* How long it takes at most, by the speed of one sequence; how much several together gain is not known beforehand. */
static int tell_time(const batch *b, uint64_t mean, nct_output *out) {
    nct_speed speed;
    char whole[32], reading[32];
    size_t answer = b->recipe.max_tokens;
    int code = nct_speed_find(b->cli, b->recipe.engine, b->longest.ids, b->longest.n_ids,
                              (size_t)mean + answer, &speed);
    if (code != NCT_EXIT_OK)
        return code;
    if (speed.unknown) {
        nct_output_print(out, "time     unknown: %s\n", speed.unknown);
        return code;
    }
    double n = (double)b->state.n_items, read_s = n * nct_speed_read(&speed, (size_t)mean),
           write_s = n * nct_speed_write(&speed, (size_t)mean, answer);
    nct_output_print(
        out, "time     %s at most, %s of it reading: one after another, every answer as long as may be%s\n",
        nct_speed_time(read_s + write_s, whole), nct_speed_time(read_s, reading),
        b->width > 1 ? "; several together take less" : "");
    return code;
}

/* --dry-run: what there is to do, on stdout. */
static int tell_plan(const batch *b) {
    nct_output out;
    int code = nct_output_open(b->cli, NULL, &out);
    uint64_t mean = b->state.n_items ? b->state.n_prompt / b->state.n_items : 0,
             each = nct_batcher_cache_bytes(b->batcher, mean + b->recipe.max_tokens);
    if (code != NCT_EXIT_OK)
        return code;
    nct_output_print(&out, "model    %s (%s)\n", b->recipe.info.name, b->recipe.info.weights);
    nct_output_print(&out, "items    %s to do of %s records\n", NCT_N(b->state.n_items), NCT_N(b->n_records));
    nct_output_print(&out, "prompts  %s tokens, %s each\n", NCT_N(b->state.n_prompt), NCT_N(mean));
    nct_output_print(&out, "answers  up to %s tokens each\n", NCT_N(b->recipe.max_tokens));
    nct_output_print(&out, "memory   %s of weights, %s of cache for each of %zu sequences\n",
                     NCT_BYTES(b->recipe.info.weight_bytes), NCT_BYTES(each), b->width);
    if (b->longest.n_ids)
        code = tell_time(b, mean, &out);
    return nct_output_close(&out, code);
}

/* ------------------------------------------------------------------ an item's life */

static bool take(void *context, int32_t id) {
    job *j = context;
    nct_error err = {0};
    bool over = true;
    if (j->item.answer.n_ids == 0)
        j->item.first_ns = nct_clock_ns();
    j->b->state.n_chosen++;
    if (nct_answering_take(j->item.answering, id, &over, &err) != NCT_OK) {
        nct_item_fail(&j->item, NULL, "failure", "%s", err.text);
        over = true;
    }
    return !over;
}

static void seen(void *context, const float *logits, int32_t id) {
    job *j = context;
    nct_error err = {0};
    if (nct_logprobs_add(&j->item.logprobs, logits, (size_t)j->b->recipe.info.n_vocab, id, &err) != NCT_OK)
        nct_item_fail(&j->item, NULL, "failure", "%s", err.text);
}

static void count_choice(void *context, const nct_choice *choice) {
    nct_sources_count(&((job *)context)->item.sources, choice);
}

/* What closes a block of thinking; nobody computed how likely that is. */
static bool follow(void *context, const int32_t **ids, size_t *n) {
    job *j = context;
    nct_error err = {0};
    bool over = false;
    nct_status status = nct_answering_follow(j->item.answering, ids, n, &over, &err);
    for (size_t i = 0; i < *n && status == NCT_OK && j->item.wants_logprobs; i++)
        status = nct_logprobs_add(&j->item.logprobs, NULL, 0, (*ids)[i], &err);
    if (status != NCT_OK)
        nct_item_fail(&j->item, NULL, "failure", "%s", err.text);
    return status == NCT_OK && !over;
}

static void ended(void *context, const nct_error *err) {
    job *j = context;
    j->over = true;
    if (err)
        nct_item_fail(&j->item, NULL,
                      err->status == NCT_E_MEMORY    ? "memory"
                      : err->status == NCT_E_CONTEXT ? "context_overflow"
                      : err->status == NCT_E_IO      ? "failure"
                                                     : "sampling",
                      "%s", err->text);
}

static void say_failure(batch *b, const nct_item *item) {
    if (b->cli->args.quiet)
        return;
    nct_batch_progress_clear(&b->progress);
    fprintf(stderr, "noctule: failed: %.200s: %s\n", item->id.data,
            item->why.data ? item->why.data : item->fault);
}

/* Writes what came of an item and forgets it. */
static void finish_item(batch *b, nct_item *item, uint64_t order) {
    const nct_args *a = &b->cli->args;
    item->ended_ns = nct_clock_ns();
    if (item->timed_out)
        item->answer.finish = NCT_FINISH_TIMEOUT;
    int code = nct_results_add(&b->results, item, order);
    b->state.n_done++;
    b->n_read_before += item->fault ? 0 : item->n_ids;
    if (item->fault) {
        b->state.n_failed++;
        say_failure(b, item);
        if (a->fail_fast || (a->max_errors != NCT_UNSET && b->state.n_failed >= (uint64_t)a->max_errors))
            b->stopping = true;
    }
    if (code != NCT_EXIT_OK) {
        b->code = code;
        b->stopping = true;
    }
    nct_item_close(item);
}

static void finish_job(batch *b, job *j) {
    nct_error err = {0};
    nct_batcher_look(b->batcher, j->item.number, &j->item.state);
    if (!j->item.fault && nct_answering_end(j->item.answering, &err) != NCT_OK)
        nct_item_fail(&j->item, NULL, "failure", "%s", err.text);
    if (b->cli->args.fail_on_length && (j->item.timed_out || j->item.answer.finish == NCT_FINISH_LENGTH))
        nct_item_fail(&j->item, NULL, "length", "the answer was cut %s after %s tokens",
                      j->item.timed_out ? "by --timeout" : "at its limit", NCT_N(j->item.answer.n_ids));
    if (!j->item.fault && j->item.sources.count &&
        nct_sources_find_in(&j->item.sources, b->recipe.engine, j->item.ids, j->item.n_ids, &j->item.prompt,
                            &j->item.found, &j->item.n_found, &err) != NCT_OK)
        nct_item_fail(&j->item, NULL, "failure", "%s", err.text);
    finish_item(b, &j->item, j->order);
    j->active = false;
}

/* Tokens that its cache may come to hold. */
static size_t most_held(const batch *b, const nct_item *item) {
    size_t n = item->n_ids + item->options.max_tokens,
           limit = (size_t)nct_batcher_limit(b->batcher, n < INT32_MAX ? (int)n : INT32_MAX);
    return n < limit ? n : limit;
}

/* Whether the next item's cache fits beside those that are in use. */
static bool fits(batch *b, uint64_t bytes) {
    uint64_t taken = 0;
    nct_batcher_report report;
    for (size_t i = 0; i < b->width; i++)
        taken += b->job[i].active ? b->job[i].bytes : 0;
    if (taken + bytes > b->room)
        return false;
    nct_batcher_count(b->batcher, &report);
    if (report.kv_bytes + bytes > b->room)
        nct_batcher_shed(b->batcher);
    return true;
}

/* Whether a cache that memory does not suffice for may lie in files; whose text lies on the disk then should know, once,
 * terminal or not. */
static bool goes_to_files(batch *b, size_t n_tokens, uint64_t bytes) {
    if (!b->cli->args.kv_dir || !*b->folder)
        return false;
    if (!b->said_files && !b->cli->args.quiet) {
        nct_batch_progress_clear(&b->progress);
        fprintf(stderr,
                "noctule: a cache of %s tokens takes %s, and %s are left for it: such caches are kept in "
                "files in %s\n",
                NCT_N(n_tokens), NCT_BYTES(bytes), NCT_BYTES(b->room), b->folder);
    }
    b->said_files = true;
    return true;
}

/* Takes a record out of those that wait. */
static waiting take_out(batch *b, size_t at) {
    waiting w = b->ahead[at];
    memmove(&b->ahead[at], &b->ahead[at + 1], (--b->n_ahead - at) * sizeof *b->ahead);
    return w;
}

/* Adds the sequence of an item, unless it is over before it begins. What closes thinking that has no budget at all is
 * read like a part of the prompt. */
static nct_status add_sequence(batch *b, job *j, nct_sequence *s, nct_error *err) {
    const int32_t *ids = NULL;
    void *all = NULL;
    size_t n = 0;
    bool over = false;
    NCT_TRY(nct_answering_follow(j->item.answering, &ids, &n, &over, err));
    j->over = over;
    if (over) /* there is no room for that, and nothing to compute */
        return NCT_OK;
    for (size_t i = 0; i < n && j->item.wants_logprobs; i++)
        NCT_TRY(nct_logprobs_add(&j->item.logprobs, NULL, 0, ids[i], err));
    if (n) {
        NCT_TRY(nct_alloc(&all, s->n_ids + n, sizeof *s->ids, err));
        memcpy(all, s->ids, s->n_ids * sizeof *s->ids);
        memcpy((int32_t *)all + s->n_ids, ids, n * sizeof *ids);
        s->ids = all;
        s->n_ids += n;
    }
    nct_status status = nct_batcher_add(b->batcher, s, &j->item.number, err);
    nct_free(all);
    return status;
}

/* Puts an item that waits in a place that is free. False: it has to wait on. */
static bool start_item(batch *b, size_t at) {
    nct_item *item = &b->ahead[at].item;
    nct_error err = {0};
    job *j = NULL;
    for (size_t i = 0; i < b->width && !j; i++)
        j = b->job[i].active ? NULL : &b->job[i];
    size_t held = item->fault ? 0 : most_held(b, item);
    uint64_t bytes = nct_batcher_cache_bytes(b->batcher, held);
    bool in_files = bytes > b->room && goes_to_files(b, held, bytes);
    if (in_files)
        bytes = 0; /* of memory */
    else if (bytes > b->room)
        nct_item_fail(
            item, NULL, "memory",
            "a cache of %s tokens takes %s, and %s are left for it; --kv-dir auto keeps such caches in files",
            NCT_N(held), NCT_BYTES(bytes), NCT_BYTES(b->room));
    else if (!item->fault && !fits(b, bytes))
        return false;
    waiting w = take_out(b, at);
    if (w.item.fault) {
        finish_item(b, &w.item, w.order);
        return true;
    }
    *j = (job){.b = b, .item = w.item, .order = w.order, .bytes = bytes, .active = true};
    j->item.options.stops = &j->item.stops;
    j->item.began_ns = nct_clock_ns();
    size_t expected = j->item.n_ids + j->item.options.max_tokens;
    nct_sequence s = {.ids = j->item.ids,
                      .n_ids = j->item.n_ids,
                      .n_expected = expected < INT32_MAX ? (int)expected : INT32_MAX,
                      .sampling = j->item.options.sampling,
                      .sample = j->item.sample,
                      .in_files = in_files,
                      .take = take,
                      .seen = j->item.wants_logprobs ? seen : NULL,
                      .on_choice = b->cli->args.sources ? count_choice : NULL,
                      .choices_from = (int)j->item.n_ids - 1,
                      .follow = j->item.options.has_budget ? follow : NULL,
                      .ended = ended,
                      .context = j};
    size_t limit = (size_t)nct_batcher_limit(b->batcher, s.n_expected);
    nct_constraint *constraint = j->item.constraint ? j->item.constraint : b->recipe.constraint;
    bool may_think = b->recipe.info.thinks && b->recipe.talk.options.think != NCT_THINK_OFF;
    nct_status status = NCT_OK;
    if (constraint)
        status = nct_answer_constrain(constraint, limit, s.n_ids, may_think, &j->item.options,
                                      &j->item.options.matcher, &err);
    s.matcher = j->item.options.matcher;
    if (status == NCT_OK)
        status = nct_answering_open(b->recipe.engine, j->item.n_ids, limit, &j->item.options, &j->item.answer,
                                    &j->item.answering, &err);
    if (status == NCT_OK && b->cli->args.sources)
        status = nct_sources_open(b->cli, &b->recipe.info, limit, &j->item.sources, &err);
    if (status == NCT_OK)
        status = add_sequence(b, j, &s, &err);
    if (status != NCT_OK) {
        nct_item_fail(&j->item, NULL,
                      status == NCT_E_MEMORY   ? "memory"
                      : status == NCT_E_IO     ? "failure"
                      : status == NCT_E_LENGTH ? "constraint_length"
                                               : "invalid_record",
                      "%s", err.text);
    } else if (j->over && nct_answering_end(j->item.answering, &err) != NCT_OK) {
        nct_item_fail(&j->item, NULL, "failure", "%s", err.text);
    }
    if (status != NCT_OK || j->over) {
        finish_item(b, &j->item, j->order);
        j->active = false;
    }
    return true;
}

/* Reads records ahead, as far as they are there and take little memory. */
static void read_ahead(batch *b) {
    nct_error err = {0};
    size_t bytes = 0;
    for (size_t i = 0; i < b->n_ahead; i++)
        bytes += b->ahead[i].item.text.capacity + b->ahead[i].item.body.capacity +
                 b->ahead[i].item.prompt.text.capacity + b->ahead[i].item.n_ids * sizeof(int32_t);
    while (!b->stopping && b->n_ahead < b->most_ahead && (b->n_ahead == 0 || bytes < AHEAD_BYTES) &&
           !nct_results_full(&b->results, b->n_due) && !*nct_signals_flag()) {
        waiting *w = &b->ahead[b->n_ahead];
        *w = (waiting){0};
        nct_got got = next_item(b, nct_batcher_size(b->batcher) + b->n_ahead == 0, false, &w->item);
        if (got == NCT_GOT_FAILURE || got == NCT_GOT_REFUSED)
            b->stopping = true;
        if (got != NCT_GOT_RECORD)
            return;
        b->n_ahead++;
        w->order = b->n_due++;
        if (nct_item_prepare(&w->item, limit_of, b, &err) != NCT_OK) {
            b->code = nct_say_status(b->cli, &err);
            b->stopping = true;
            return;
        }
        w->item.options.stops = NULL; /* it will move */
        bytes += w->item.text.n + w->item.body.n + w->item.prompt.text.n + w->item.n_ids * sizeof(int32_t);
        b->state.n_items += b->state.open;
        b->state.n_prompt += b->state.open && !w->item.fault ? w->item.n_ids : 0;
    }
}

/* Which of those that wait begins: one that has most in common with what is held, else the first. */
static size_t choose_next(batch *b) {
    size_t best = 0, most = 0;
    for (size_t i = 0; i < b->n_ahead && b->ahead[0].passed < PATIENCE; i++) {
        const nct_item *item = &b->ahead[i].item;
        size_t same = item->fault ? 0 : nct_batcher_common(b->batcher, item->ids, item->n_ids);
        if (same >= WORTH_SHARING && same > most) {
            most = same;
            best = i;
        }
    }
    return best;
}

/* Takes items in while there is room and some are there. */
static void take_in(batch *b) {
    while (!b->stopping && nct_batcher_room(b->batcher) > 0) {
        read_ahead(b);
        size_t n = b->n_ahead, at = n ? choose_next(b) : 0;
        if (n == 0 || b->stopping || !start_item(b, at) || *nct_signals_flag())
            return;
        for (size_t i = 0; i < at; i++)
            b->ahead[i].passed++;
    }
}

/* ------------------------------------------------------------------ the loop */

static void drop_all(batch *b) {
    for (size_t i = 0; i < b->width; i++)
        if (b->job[i].active) {
            nct_batcher_drop(b->batcher, b->job[i].item.number);
            nct_item_close(&b->job[i].item);
            b->job[i].active = false;
        }
    for (size_t i = 0; i < b->n_ahead; i++)
        nct_item_close(&b->ahead[i].item);
}

/* The first Ctrl-C: what was begun is finished. */
static void begin_stopping(batch *b) {
    double most = 0,
           each = b->progress.decode_rate / (nct_batcher_size(b->batcher) ? nct_batcher_size(b->batcher) : 1);
    char time[32];
    b->stopping = true;
    if (b->said_stopping || nct_batcher_size(b->batcher) == 0)
        return;
    b->said_stopping = true;
    for (size_t i = 0; i < b->width; i++)
        if (b->job[i].active) {
            double left = (double)(b->job[i].item.options.max_tokens - b->job[i].item.answer.n_ids);
            most = left > most ? left : most;
        }
    if (b->cli->args.quiet)
        return;
    nct_batch_progress_clear(&b->progress);
    fprintf(stderr, "finishing %d item%s", nct_batcher_size(b->batcher),
            nct_batcher_size(b->batcher) == 1 ? "" : "s");
    if (each > 0)
        fprintf(stderr, " in %s at most", nct_duration(most / each, time));
    fputs(", Ctrl-C again drops them\n", stderr);
}

static void end_late_items(batch *b) {
    double most = b->cli->args.timeout;
    for (size_t i = 0; i < b->width && !isnan(most); i++) {
        job *j = &b->job[i];
        if (!j->active || j->over || seconds_since(j->item.began_ns) < most)
            continue;
        nct_batcher_drop(b->batcher, j->item.number);
        j->item.timed_out = j->over = true;
        if (j->item.answer.n_ids == 0)
            nct_item_fail(&j->item, NULL, "timeout", "--timeout ran out while the prompt was read");
    }
}

static void show(batch *b) {
    uint64_t reading = 0;
    for (size_t i = 0; i < b->width; i++)
        if (b->job[i].active) {
            nct_sequence_state s;
            nct_batcher_look(b->batcher, b->job[i].item.number, &s);
            reading += (uint64_t)s.n_read;
        }
    b->state.n_read = b->n_read_before + reading;
    b->state.n_sequences = nct_batcher_size(b->batcher);
    nct_batch_progress_show(&b->progress, &b->state);
}

static void work(batch *b) {
    nct_error err = {0};
    for (;;) {
        if (*nct_signals_now())
            break;
        if (*nct_signals_flag())
            begin_stopping(b);
        b->late = !isnan(b->cli->args.max_time) && seconds_since(b->began_ns) >= b->cli->args.max_time;
        if (b->late)
            break;
        take_in(b);
        if (nct_batcher_size(b->batcher) == 0 && (b->stopping || (b->ended && !b->n_ahead)))
            break;
        nct_status status = nct_batcher_step(b->batcher, nct_signals_now(), &err);
        if (status == NCT_E_STOPPED)
            break;
        if (status != NCT_OK) {
            b->code = nct_say_status(b->cli, &err);
            break;
        }
        end_late_items(b);
        for (size_t i = 0; i < b->width; i++)
            if (b->job[i].active && b->job[i].over)
                finish_job(b, &b->job[i]);
        nct_journal_sync(&b->results.journal);
        show(b);
    }
    b->complete = b->ended && !b->n_ahead && nct_batcher_size(b->batcher) == 0 && !b->stopping &&
                  !*nct_signals_flag() && b->code == NCT_EXIT_OK;
    nct_batch_progress_clear(&b->progress);
    if (b->late && b->code == NCT_EXIT_OK) {
        nct_say_warning(b->cli, "the time is up; what was begun and not finished is dropped");
        b->code = NCT_EXIT_FAILURE;
    }
    drop_all(b);
}

/* ------------------------------------------------------------------ the end */

/* An argument as a shell wants it. */
static void print_quoted(const char *text) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=,:@%+";
    if (*text && text[strspn(text, plain)] == 0) {
        fputs(text, stderr);
        return;
    }
    fputc('\'', stderr);
    for (; *text; text++)
        if (*text == '\'')
            fputs("'\\''", stderr);
        else
            fputc(*text, stderr);
    fputc('\'', stderr);
}

static void print_command(const batch *b, const char *flags) {
    static const char *const left_out[] = {"--resume", "--overwrite", "--retry-failed"};
    fputs("noctule", stderr);
    for (char **arg = b->cli->argv + 1; *arg; arg++) {
        bool out = false;
        for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
            out = out || strcmp(*arg, left_out[i]) == 0;
        if (!out) {
            fputc(' ', stderr);
            print_quoted(*arg);
        }
    }
    fprintf(stderr, " %s\n", flags);
}

static void print_end(const batch *b) {
    char time[32];
    double seconds = seconds_since(b->began_ns);
    uint64_t failed = b->state.n_failed, ok = b->state.n_done - failed;
    if (b->cli->args.quiet)
        return;
    fprintf(stderr, "%s %s ok, %s failed", b->complete ? "done" : "stopped:", NCT_N(ok), NCT_N(failed));
    if (b->n_skipped)
        fprintf(stderr, ", %s there before", NCT_N(b->n_skipped));
    if (b->n_failed_before)
        fprintf(stderr, " (%s of them failed)", NCT_N(b->n_failed_before));
    if (!b->results.to_stdout)
        fprintf(stderr, " \u2192 %s", b->cli->args.output);
    fprintf(stderr, " \u00b7 %s \u00b7 %.1f t/s", nct_duration(seconds, time),
            seconds > 0 ? (double)b->state.n_chosen / seconds : 0);
    if (b->results.to_stdout || (b->complete && failed + b->n_failed_before == 0)) {
        fputc('\n', stderr);
        return;
    }
    fputs(b->complete ? " \u00b7 retry: " : " \u00b7 go on: ", stderr);
    print_command(b, b->complete ? "--resume --retry-failed" : "--resume");
}

/* --stats: where the tokens came from. */
static void print_stats(const batch *b) {
    nct_batcher_report r;
    nct_batcher_count(b->batcher, &r);
    nct_say_dim(b->cli,
                "%s prompt tokens computed, %s copied, %s from files \u00b7 %s out in %s steps \u00b7 %s "
                "guessed, %s of them right",
                NCT_N(r.n_read), NCT_N(r.n_copied), NCT_N(r.n_taken), NCT_N(b->state.n_chosen),
                NCT_N(r.n_steps), NCT_N(r.n_guessed), NCT_N(r.n_accepted));
}

static int exit_code(const batch *b) {
    if (*nct_signals_flag())
        return 128 + (int)*nct_signals_flag();
    if (b->code != NCT_EXIT_OK)
        return b->code;
    return b->state.n_failed + b->n_failed_before ? NCT_EXIT_ITEMS : NCT_EXIT_OK;
}

static int open_batcher(batch *b) {
    /* of auto; fits() bounds it by memory */
    nct_batcher_options o = {.n_sequences = b->width ? (int)b->width : NCT_WIDTH,
                             .apart = b->cli->args.share == 1};
    int code = nct_open_batcher(b->cli, b->recipe.engine, b->folder, sizeof b->folder, &o, &b->batcher);
    if (code != NCT_EXIT_OK)
        return code;
    nct_engine_info(b->recipe.engine, &b->recipe.info); /* beside a draft */
    b->most_ahead = o.apart ? 1 : AHEAD;
    b->room = nct_cache_room(b->cli, &b->recipe.info);
    b->width = (size_t)o.n_sequences;
    return code;
}

static int prepare(batch *b) {
    int code = check_options(b);
    if (code == NCT_EXIT_OK)
        code = nct_source_open(b->cli, &b->source);
    if (code == NCT_EXIT_OK)
        code = nct_results_open(b->cli, &b->results);
    if (code == NCT_EXIT_OK && b->cli->args.sources && b->results.pattern &&
        (b->cli->args.format == NCT_UNSET || b->cli->args.format == NCT_FORMAT_TEXT))
        code = nct_say_error(b->cli, NCT_EXIT_USAGE,
                             "--sources is a field of records, and -o %s writes texts\ntry: --format json",
                             b->cli->args.output);
    if (code == NCT_EXIT_OK)
        code = nct_recipe_open(b->cli, &b->recipe);
    if (code != NCT_EXIT_OK)
        return code;
    bool asked = b->cli->args.seed != NCT_UNSET && b->cli->args.seed != -1;
    code = nct_recipe_seal(&b->recipe,
                           !asked && b->results.has_seed ? b->results.seed : b->recipe.sampling.seed);
    if (code == NCT_EXIT_OK)
        code = open_batcher(b);
    nct_batch_progress_begin(b->cli, &b->progress);
    nct_signals_catch();
    nct_signals_finish_first(true);
    if (code == NCT_EXIT_OK)
        code = count_items(b);
    if (code == NCT_EXIT_OK && !b->state.open && !b->cli->args.dry_run)
        begin_reading(b);
    return code;
}

int nct_batch_main(nct_cli *cli) {
    void *p = NULL;
    nct_error err = {0};
    if (nct_alloc(&p, 1, sizeof(batch), &err) != NCT_OK)
        return nct_say_status(cli, &err);
    batch *b = p;
    *b = (batch){.cli = cli, .results.journal.fd = -1, .began_ns = nct_clock_ns()};
    int code = prepare(b);
    if (code == NCT_EXIT_OK && cli->args.dry_run) {
        code = nct_results_close(&b->results, tell_plan(b), false);
    } else if (code == NCT_EXIT_OK) {
        b->began_ns = nct_clock_ns();
        work(b);
        code = exit_code(b);
        int closed = nct_results_close(&b->results, code, b->complete);
        code = *nct_signals_flag() ? code : closed;
        if (code != NCT_EXIT_PIPE)
            print_end(b);
        if (cli->args.stats)
            print_stats(b);
    } else {
        code = *nct_signals_flag() ? 128 + (int)*nct_signals_flag() : code;
        nct_results_close(&b->results, code, false);
    }
    for (size_t i = 0; i < b->width; i++)
        nct_item_close(&b->job[i].item);
    nct_item_close(&b->longest);
    nct_batcher_close(b->batcher);
    nct_source_close(b->source);
    nct_bytes_reset(&b->record.text);
    nct_recipe_close(&b->recipe);
    nct_free(b);
    return code;
}
