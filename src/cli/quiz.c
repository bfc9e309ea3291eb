#include "cli/quiz.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/sha256.h"
#include "cli/open.h"

enum { MAX_TOKENS = 100 };

int nct_quiz_open(const nct_cli *cli, nct_quiz *q) {
    *q = (nct_quiz){.cli = cli, .max_tokens = MAX_TOKENS};
    if (cli->args.max_tokens != NCT_UNSET)
        q->max_tokens = (size_t)cli->args.max_tokens;
    int code = nct_open_model(cli, false, &q->engine, &q->info);
    if (code == NCT_EXIT_OK)
        code = nct_talk_open(cli, q->engine, !nct_engine_has_template(q->engine), &q->talk);
    return code;
}

int nct_quiz_start(nct_quiz *q, size_t n_expected) {
    nct_session_close(q->session);
    q->session = NULL;
    return nct_open_session(q->cli, q->engine, n_expected, &q->session);
}

void nct_quiz_close(nct_quiz *q) {
    nct_talk_close(&q->talk);
    nct_session_close(q->session);
    nct_engine_close(q->engine);
}

nct_status nct_quiz_encode(nct_quiz *q, const char *text, size_t n, int32_t **ids, size_t *n_ids,
                           nct_error *err) {
    bool thinking;
    nct_talk_cut(&q->talk, 0);
    NCT_TRY(nct_talk_say(&q->talk, text, n, err));
    return nct_talk_prompt(&q->talk, NULL, ids, n_ids, &thinking, err);
}

static void add(nct_sha256 *sha, const char *text) { nct_sha256_add(sha, text, strlen(text) + 1); }

void nct_quiz_key(const nct_quiz *q, const char *text, size_t n, char key[NCT_QUIZ_KEY]) {
    const nct_args *a = &q->cli->args;
    nct_sha256 sha;
    uint8_t digest[NCT_SHA256_BYTES];
    char numbers[200];
    nct_sha256_init(&sha);
    add(&sha, q->info.name);
    add(&sha, q->info.weights);
    add(&sha, q->info.template_name);
    snprintf(numbers, sizeof numbers, "%llu %d %d %zu %d %d %lld %lld %lld",
             (unsigned long long)q->info.n_parameters, q->info.n_layers, nct_session_is_long(q->session),
             q->max_tokens, a->sparse == NCT_UNSET ? 0 : (int)a->sparse,
             a->think == NCT_UNSET ? 0 : (int)a->think, (long long)a->kv, (long long)a->keys,
             (long long)a->values);
    add(&sha, numbers);
    for (size_t i = 0; i < a->knobs.n; i++)
        if (strncmp(a->knobs.item[i], "prefill.chunk", 13) != 0) /* changes no answer */
            add(&sha, a->knobs.item[i]);
    nct_sha256_add(&sha, text, n);
    nct_sha256_end(&sha, digest);
    nct_sha256_hex(digest, 8, key);
}

int nct_quiz_ask(nct_quiz *q, const int32_t *ids, size_t n_ids, nct_answer *answer) {
    nct_error err = {0};
    nct_answer_options options = {.max_tokens = q->max_tokens,
                                  .continuation = q->talk.plain,
                                  .find_thinking = !q->talk.plain,
                                  .progress = q->progress,
                                  .context = q->context};
    nct_engine_sampling(q->engine, &options.sampling);
    options.sampling.temperature = 0;
    options.sampling.repeat_penalty = 1; /* the numbers to repeat stand in the prompt */
    nct_status status = nct_answer_make(q->engine, q->session, ids, n_ids, &options, answer, &err);
    if (status != NCT_OK)
        return nct_say_status(q->cli, &err);
    q->n_prefill += answer->n_prefill;
    if (answer->finish == NCT_FINISH_INTERRUPTED)
        return 128 + (int)*nct_signals_flag();
    q->n_computed++;
    return NCT_EXIT_OK;
}

bool nct_quiz_has_number(const char *text, uint64_t number, bool last) {
    bool same = false;
    while (*text) {
        if (!isdigit((unsigned char)*text)) {
            text++;
            continue;
        }
        uint64_t value = 0;
        bool fits = true;
        for (; isdigit((unsigned char)*text); text++) {
            uint64_t digit = (uint64_t)(*text - '0');
            fits = fits && value <= (UINT64_MAX - digit) / 10;
            value = value * 10 + digit;
        }
        same = fits && value == number;
        if (same && !last)
            return true;
    }
    return same;
}

int nct_quiz_check_min(const nct_quiz *q, double percent, int code) {
    double least = q->cli->args.min_percent;
    if (code != NCT_EXIT_OK || isnan(least) || percent >= least)
        return code;
    return nct_say_error(q->cli, NCT_EXIT_CHECK, "%.1f %% is below --min %g", percent, least);
}
