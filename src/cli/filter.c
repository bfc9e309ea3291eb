/* Scores documents with a fastText classifier and passes the good ones on. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "cli/corpus.h"
#include "cli/output.h"
#include "text/fasttext.h"
#include "text/fold.h"

enum { ULTRAFINEWEB = 1 }; /* of --preprocess */

typedef struct filter {
    const nct_cli *cli;
    nct_fasttext *model;
    nct_vocab *vocab; /* documents are folded, and segmented by it; NULL: they are not */
    size_t label;
    double min_score;
    nct_fasttext_scratch *scratch; /* [threads] */
    struct {
        nct_bytes out; /* documents that pass */
        uint64_t n, n_passed;
    } piece[NCT_CORPUS_PIECES];
    nct_output out;
    uint64_t n, n_passed;
} filter;

/* ------------------------------------------------------------------ documents */

/* An object's members but its old score, and the new one. */
static nct_status write_members(const nct_json *json, float score, nct_bytes *out, nct_error *err) {
    NCT_TRY(nct_bytes_add(out, "{", 1, err));
    for (const nct_json *item = nct_json_first(json); item; item = nct_json_next(item)) {
        const char *key = nct_json_key(item);
        if (strcmp(key, "score") == 0)
            continue;
        NCT_TRY(nct_json_write_string(out, key, strlen(key), err));
        NCT_TRY(nct_bytes_add(out, ":", 1, err));
        NCT_TRY(nct_json_write(item, false, out, err));
        NCT_TRY(nct_bytes_add(out, ",", 1, err));
    }
    return nct_bytes_printf(out, err, "\"score\":%.6g}\n", (double)score);
}

/* The line as it came, with the score as its last member. */
static nct_status write_json(const nct_json *json, const char *line, size_t n, float score, nct_bytes *out,
                             nct_error *err) {
    bool has_score = false;
    for (const nct_json *item = nct_json_first(json); item; item = nct_json_next(item))
        has_score = has_score || strcmp(nct_json_key(item), "score") == 0;
    if (has_score)
        return write_members(json, score, out, err);
    while (n > 0 && line[n - 1] != '}') /* it was parsed, so it is there */
        n--;
    NCT_TRY(nct_bytes_add(out, line, n - 1, err));
    return nct_bytes_printf(out, err, ",\"score\":%.6g}\n", (double)score);
}

static nct_status write_text(const char *line, size_t n, float score, nct_bytes *out, nct_error *err) {
    NCT_TRY(nct_bytes_add_str(out, "{\"text\":", err));
    NCT_TRY(nct_json_write_string(out, line, n && line[n - 1] == '\r' ? n - 1 : n, err));
    return nct_bytes_printf(out, err, ",\"score\":%.6g}\n", (double)score);
}

static nct_status write_line(const char *line, size_t n, nct_bytes *out, nct_error *err) {
    NCT_TRY(nct_bytes_add(out, line, n, err));
    return nct_bytes_add(out, "\n", 1, err);
}

static nct_status pass(const filter *f, const nct_json *json, const char *line, size_t n, float score,
                       nct_bytes *out, nct_error *err) {
    if (!f->cli->args.score)
        return write_line(line, n, out, err);
    return json ? write_json(json, line, n, score, out, err) : write_text(line, n, score, out, err);
}

static nct_status judge(filter *f, const nct_json *json, const char *text, size_t n_text, const char *line,
                        size_t n_line, size_t index, int worker, nct_error *err) {
    float score = 0;
    nct_bytes folded = {0};
    nct_status status = f->vocab ? nct_fold_add(f->vocab, text, n_text, &folded, err) : NCT_OK;
    if (status == NCT_OK && f->vocab) {
        text = folded.data ? folded.data : "";
        n_text = folded.n;
    }
    if (status == NCT_OK)
        status = nct_fasttext_score(f->model, f->label, text, n_text, &f->scratch[worker], &score, err);
    nct_bytes_reset(&folded);
    NCT_TRY(status);
    f->piece[index].n++;
    if (!(score >= f->min_score)) /* a damaged model may say what is no number */
        return NCT_OK;
    f->piece[index].n_passed++;
    return pass(f, json, line, n_line, score, &f->piece[index].out, err);
}

static nct_status judge_lines(filter *f, const nct_corpus_piece *piece, size_t index, int worker,
                              nct_error *err) {
    const char *line;
    uint64_t number = piece->line;
    for (size_t at = 0, n; nct_corpus_line(piece, &at, &line, &n); number++) {
        if (strspn(line, " \t\r") >= n)
            continue;
        nct_json *json = NULL;
        const char *text = line;
        if (piece->json)
            NCT_TRY(nct_corpus_field(f->cli, piece, number, line, n, &json, &text, err));
        nct_status status = judge(f, json, text, json ? strlen(text) : n, line, n, index, worker, err);
        nct_json_close(json);
        NCT_TRY(status);
    }
    return NCT_OK;
}

static bool judge_piece(void *context, const nct_corpus_piece *piece, size_t index, int worker,
                        nct_error *err) {
    filter *f = context;
    f->piece[index].out.n = 0;
    f->piece[index].n = f->piece[index].n_passed = 0;
    return judge_lines(f, piece, index, worker, err) == NCT_OK;
}

static int write_pieces(void *context, size_t n) {
    filter *f = context;
    for (size_t i = 0; i < n; i++) {
        f->n += f->piece[i].n;
        f->n_passed += f->piece[i].n_passed;
        if (!nct_output_write(&f->out, f->piece[i].out.data, f->piece[i].out.n))
            return NCT_EXIT_FAILURE; /* closing the output says why */
    }
    return NCT_EXIT_OK;
}

/* ------------------------------------------------------------------ the command */

static int say_labels(const filter *f, const char *complaint) {
    enum { SHOWN = 20 };
    nct_bytes list = {0};
    size_t n = nct_fasttext_n_labels(f->model);
    for (size_t i = 0; i < n && i < SHOWN; i++)
        nct_bytes_printf(&list, NULL, "%s%s", i ? ", " : "", nct_fasttext_label(f->model, i));
    if (n > SHOWN)
        nct_bytes_printf(&list, NULL, ", and %zu more", n - SHOWN);
    int code = nct_say_error(f->cli, NCT_EXIT_USAGE, "%s\nit has: %s", complaint, list.data ? list.data : "");
    nct_bytes_reset(&list);
    return code;
}

static int open_model(filter *f) {
    const nct_args *a = &f->cli->args;
    nct_error err;
    char complaint[256];
    if (nct_fasttext_open(a->classifier, &f->model, &err) != NCT_OK)
        return nct_say_status(f->cli, &err);
    if (!a->label) {
        snprintf(complaint, sizeof complaint, "filter needs --label, one of %.150s", a->classifier);
        return say_labels(f, complaint);
    }
    int32_t label = nct_fasttext_find(f->model, a->label);
    if (label < 0) {
        snprintf(complaint, sizeof complaint, "%.150s has no label '%.60s'", a->classifier, a->label);
        return say_labels(f, complaint);
    }
    f->label = (size_t)label;
    return NCT_EXIT_OK;
}

static nct_status open_tokenizer(const char *path, nct_vocab **vocab, nct_error *err) {
    bool json = nct_ends_with(path, ".json");
    if (nct_is_directory(path))
        return nct_vocab_open_directory(path, vocab, err);
    if (!json && !nct_ends_with(path, ".model")) {
        nct_checkpoint *checkpoint = NULL;
        NCT_TRY(nct_checkpoint_open(path, &checkpoint, err));
        nct_status status = nct_vocab_open(checkpoint, vocab, err);
        nct_checkpoint_close(checkpoint);
        return status;
    }
    nct_map map;
    NCT_TRY(nct_map_open(path, &map, err));
    nct_vocab_source source = {.main = {path, map.data, map.n_bytes}};
    nct_status status =
        json ? nct_vocab_read_json(&source, vocab, err) : nct_vocab_read_model(&source, vocab, err);
    nct_map_close(&map);
    return status;
}

static int open_preprocessing(filter *f) {
    const nct_args *a = &f->cli->args;
    nct_error err = {0};
    if (a->preprocess == ULTRAFINEWEB)
        open_tokenizer(a->tokenizer, &f->vocab, &err);
    return nct_say_status(f->cli, &err);
}

static int run(filter *f, int n_threads) {
    static const char *const standard[] = {"-"};
    const nct_list *words = &f->cli->args.words;
    nct_pool *pool = NULL;
    nct_error err;
    void *p = NULL;
    if (nct_alloc(&p, (size_t)n_threads, sizeof *f->scratch, &err) != NCT_OK)
        return nct_say_status(f->cli, &err);
    f->scratch = p;
    if (nct_pool_open(n_threads, &pool, &err) != NCT_OK)
        return nct_say_status(f->cli, &err);
    nct_corpus corpus = {.cli = f->cli,
                         .paths = words->n ? words->item : standard,
                         .n_paths = words->n ? words->n : 1,
                         .what = "filtering",
                         .context = f,
                         .work = judge_piece,
                         .done = write_pieces};
    int code = nct_output_open(f->cli, f->cli->args.output, &f->out);
    if (code == NCT_EXIT_OK) {
        code = nct_corpus_run(&corpus, pool);
        if (code == NCT_EXIT_OK || code > 128)
            nct_say_note(f->cli, "%s of %s documents passed", NCT_N(f->n_passed), NCT_N(f->n));
        code = nct_output_close(&f->out, code);
    }
    nct_pool_close(pool);
    return code;
}

static int check(const nct_cli *cli) {
    const nct_args *a = &cli->args;
    if (!a->classifier)
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "filter needs a classifier\n"
                             "try: noctule filter --classifier FILE --label L --min-score X < DOCUMENTS");
    if (isnan(a->min_score) && !a->score)
        return nct_say_error(
            cli, NCT_EXIT_USAGE,
            "which documents are good enough?\ntry: --min-score 0.5\n     --score    (all of them, "
            "with their scores)");
    if (a->preprocess == ULTRAFINEWEB && !a->tokenizer)
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "--preprocess ultrafineweb needs the tokenizer that the classifier was trained with\n"
                             "try: --tokenizer tokenizer.json");
    if (a->tokenizer && a->preprocess != ULTRAFINEWEB)
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "--tokenizer is for --preprocess ultrafineweb, which was not asked for");
    if (a->words.n == 0 && cli->term.in_tty)
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "no documents\ntry: noctule filter ... FILE\n"
                             "     noctule filter ... < FILE");
    return NCT_EXIT_OK;
}

int nct_filter_main(nct_cli *cli) {
    filter f = {.cli = cli, .min_score = isnan(cli->args.min_score) ? 0 : cli->args.min_score};
    int n_threads = 0, code = check(cli);
    if (code == NCT_EXIT_OK)
        code = open_model(&f);
    if (code == NCT_EXIT_OK)
        code = open_preprocessing(&f);
    if (code == NCT_EXIT_OK) {
        n_threads = nct_corpus_threads(cli);
        code = run(&f, n_threads);
    }
    for (int i = 0; f.scratch && i < n_threads; i++)
        nct_fasttext_scratch_reset(&f.scratch[i]);
    nct_free(f.scratch);
    for (size_t i = 0; i < NCT_CORPUS_PIECES; i++)
        nct_bytes_reset(&f.piece[i].out);
    nct_vocab_close(f.vocab);
    nct_fasttext_close(f.model);
    return code;
}
