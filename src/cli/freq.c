/* Counts tokens over a corpus and ranks them for the head of a draft (FR-Spec). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "cli/corpus.h"
#include "cli/open.h"
#include "cli/output.h"
#include "engine/engine.h"
#include "format/config.h"
#include "spec/frspec.h"

enum { MAX_FIRST = 64 };

typedef struct freq {
    const nct_cli *cli;
    nct_engine *engine;     /* of a model in one file; of a directory only the tokenizer is read */
    nct_vocab *own;         /* that tokenizer */
    const nct_vocab *vocab; /* one of the two */
    size_t n_vocab;
    int32_t first[MAX_FIRST]; /* what lists begin with */
    size_t n_first;
    uint64_t *count; /* [threads][n_pieces]; summed into the first row */
    int n_threads;
    struct {
        uint64_t n_documents, n_bytes;
    } piece[NCT_CORPUS_PIECES];
    uint64_t n_documents, n_bytes, n_tokens; /* bytes of text, not of the JSON around it */
    size_t n_seen;
} freq;

/* ------------------------------------------------------------------ the tokenizer */

static void add_first(freq *f, int64_t id) {
    if (f->n_first < MAX_FIRST && id >= 0 && id < f->vocab->n_pieces)
        f->first[f->n_first++] = (int32_t)id;
}

/* The marks of reasoning, which some vocabularies spell in several pieces. */
static nct_status add_thinking(freq *f, nct_error *err) {
    static const char *const marks[] = {"<think>\n", "\n</think>\n\n"};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        int32_t *ids = NULL;
        size_t n = 0;
        NCT_TRY(nct_bpe_encode(f->vocab, marks[i], strlen(marks[i]), true, false, &ids, &n, err));
        for (size_t k = 0; k < n; k++)
            add_first(f, ids[k]);
        nct_free(ids);
    }
    return NCT_OK;
}

static nct_status open_directory(freq *f, const char *path, nct_error *err) {
    nct_file_config config;
    NCT_TRY(nct_vocab_open_directory(path, &f->own, err));
    f->vocab = f->own;
    NCT_TRY(nct_file_config_read(path, &config, err));
    f->n_vocab = (size_t)config.raw.vocab_size;
    for (size_t i = 0; i < config.raw.n_eos; i++)
        add_first(f, config.raw.eos[i]);
    for (size_t i = 0; i < f->vocab->n_eos; i++)
        add_first(f, f->vocab->eos[i]);
    const char *warning;
    const nct_chat_template *chat = nct_chat_template_find(config.chat_template, f->vocab, &warning);
    nct_file_config_close(&config);
    return chat && chat->thinks ? add_thinking(f, err) : NCT_OK;
}

static nct_status open_file(freq *f, const char *path, nct_error *err) {
    nct_engine_options options = {.text_only = true, .n_threads = 1};
    NCT_TRY(nct_engine_open(path, &options, &f->engine, err));
    f->vocab = f->engine->vocab;
    f->n_vocab = (size_t)f->engine->model.config.n_vocab;
    for (size_t i = 0; i < f->engine->n_eos; i++)
        add_first(f, f->engine->eos[i]);
    return f->engine->chat && f->engine->chat->thinks ? add_thinking(f, err) : NCT_OK;
}

static int open_tokenizer(freq *f) {
    char *path = NULL;
    nct_error err;
    int code = nct_find_model(f->cli, &path);
    if (code != NCT_EXIT_OK)
        return code;
    nct_status status = nct_is_directory(path) ? open_directory(f, path, &err) : open_file(f, path, &err);
    nct_free(path);
    return status == NCT_OK ? NCT_EXIT_OK : nct_say_status(f->cli, &err);
}

/* ------------------------------------------------------------------ counting */

static nct_status count_text(freq *f, const char *text, size_t n, bool begins, size_t index, int worker,
                             nct_error *err) {
    int32_t *ids = NULL;
    size_t n_ids = 0;
    uint64_t *count = f->count + (size_t)worker * (size_t)f->vocab->n_pieces;
    NCT_TRY(nct_bpe_encode_part(f->vocab, text, n, begins, &ids, &n_ids, err));
    for (size_t i = 0; i < n_ids; i++)
        count[ids[i]]++;
    nct_free(ids);
    f->piece[index].n_documents += begins;
    f->piece[index].n_bytes += n;
    return NCT_OK;
}

static nct_status count_lines(freq *f, const nct_corpus_piece *piece, size_t index, int worker,
                              nct_error *err) {
    const char *line;
    uint64_t number = piece->line;
    for (size_t at = 0, n; nct_corpus_line(piece, &at, &line, &n); number++) {
        nct_json *json = NULL;
        const char *text;
        if (strspn(line, " \t\r") >= n) /* the batch ends in a NUL */
            continue;
        NCT_TRY(nct_corpus_field(f->cli, piece, number, line, n, &json, &text, err));
        nct_status status = count_text(f, text, strlen(text), true, index, worker, err);
        nct_json_close(json);
        NCT_TRY(status);
    }
    return NCT_OK;
}

static bool count_piece(void *context, const nct_corpus_piece *piece, size_t index, int worker,
                        nct_error *err) {
    freq *f = context;
    f->piece[index].n_documents = f->piece[index].n_bytes = 0;
    if (piece->json)
        return count_lines(f, piece, index, worker, err) == NCT_OK;
    return count_text(f, piece->text, piece->n, piece->begins, index, worker, err) == NCT_OK;
}

static int add_pieces(void *context, size_t n) {
    freq *f = context;
    for (size_t i = 0; i < n; i++) {
        f->n_documents += f->piece[i].n_documents;
        f->n_bytes += f->piece[i].n_bytes;
    }
    return NCT_EXIT_OK;
}

static int count(freq *f) {
    static const char *const standard[] = {"-"};
    const nct_list *words = &f->cli->args.words;
    nct_pool *pool = NULL;
    nct_error err;
    void *p = NULL;
    f->n_threads = nct_corpus_threads(f->cli);
    size_t n_pieces = (size_t)f->vocab->n_pieces;
    if (nct_alloc(&p, (size_t)f->n_threads * n_pieces, sizeof *f->count, &err) != NCT_OK ||
        nct_pool_open(f->n_threads, &pool, &err) != NCT_OK) {
        nct_free(p);
        return nct_say_status(f->cli, &err);
    }
    f->count = p;
    nct_corpus corpus = {.cli = f->cli,
                         .paths = words->n ? words->item : standard,
                         .n_paths = words->n ? words->n : 1,
                         .vocab = f->vocab,
                         .what = "counting",
                         .context = f,
                         .work = count_piece,
                         .done = add_pieces};
    int code = nct_corpus_run(&corpus, pool);
    nct_pool_close(pool);
    for (size_t i = 0; i < n_pieces; i++) {
        for (int t = 1; t < f->n_threads; t++)
            f->count[i] += f->count[(size_t)t * n_pieces + i];
        f->n_tokens += f->count[i];
        f->n_seen += f->count[i] > 0;
    }
    if (code > 128)
        return nct_say_error(f->cli, code, "ended early, so no list was written");
    if (code == NCT_EXIT_OK && f->n_tokens == 0)
        return nct_say_error(f->cli, NCT_EXIT_USAGE, "the corpus is empty, so there is nothing to rank");
    return code;
}

/* ------------------------------------------------------------------ results */

static nct_status write_raw(const int32_t *ids, size_t n, nct_bytes *out, nct_error *err) {
    for (size_t i = 0; i < n; i++) {
        uint8_t b[] = {(uint8_t)ids[i], (uint8_t)(ids[i] >> 8), (uint8_t)(ids[i] >> 16),
                       (uint8_t)(ids[i] >> 24)};
        NCT_TRY(nct_bytes_add(out, b, sizeof b, err));
    }
    return NCT_OK;
}

static int write_list(const freq *f, const char *path, const int32_t *ids, size_t n) {
    nct_bytes text = {0};
    nct_error err;
    nct_output out;
    nct_status status = nct_ends_with(path, ".pt")    ? nct_frspec_write_torch(ids, n, &text, &err)
                        : nct_ends_with(path, ".u32") ? write_raw(ids, n, &text, &err)
                                                  : nct_frspec_write_text(ids, n, &text, &err);
    int code = status == NCT_OK ? nct_output_open(f->cli, path, &out) : nct_say_status(f->cli, &err);
    if (code == NCT_EXIT_OK) {
        nct_output_write(&out, text.data, text.n);
        code = nct_output_close(&out, code);
    }
    nct_bytes_reset(&text);
    return code;
}

/* The share of all tokens seen that the first `size` entries make up. */
static double coverage(const freq *f, const int32_t *ids, size_t size) {
    uint64_t covered = 0;
    for (size_t i = 0; i < size; i++)
        covered += f->count[ids[i]];
    return (double)covered / (double)f->n_tokens;
}

/* Sizes that a table of coverage tells of, ascending: round ones, parts of a small vocabulary, and all of the list. */
static size_t pick_sizes(const freq *f, size_t n, size_t sizes[4]) {
    static const size_t round[] = {8192, 16384, 32768};
    size_t n_sizes = 0;
    for (size_t i = 0; i < 3; i++) {
        size_t size = f->n_vocab > 2 * round[2] ? round[i] : f->n_vocab >> (3 - i);
        if (size > 0 && size < n)
            sizes[n_sizes++] = size;
    }
    sizes[n_sizes++] = n;
    return n_sizes;
}

static void print_json(const freq *f, nct_output *out, const int32_t *ids, size_t n) {
    size_t sizes[4], n_sizes = pick_sizes(f, n, sizes);
    nct_output_print(out,
                     "{\"tokens\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"documents\":%" PRIu64
                     ",\"seen\":%zu,\"vocab\":%zu,\"entries\":%zu,\"coverage\":[",
                     f->n_tokens, f->n_bytes, f->n_documents, f->n_seen, f->n_vocab, n);
    for (size_t i = 0; i < n_sizes; i++)
        nct_output_print(out, "%s{\"entries\":%zu,\"share\":%.6f}", i ? "," : "", sizes[i],
                         coverage(f, ids, sizes[i]));
    nct_output_print(out, "]}\n");
}

static void print_table(const freq *f, nct_output *out, const int32_t *ids, size_t n) {
    size_t sizes[4], n_sizes = pick_sizes(f, n, sizes);
    nct_output_print(out, "%s tokens in %s, %.2f bytes a token; %s of %s tokens seen\n\n", NCT_N(f->n_tokens),
                     NCT_BYTES(f->n_bytes), (double)f->n_bytes / (double)f->n_tokens, NCT_N(f->n_seen),
                     NCT_N(f->n_vocab));
    nct_output_print(out, "%10s  %13s  %14s\n", "entries", "of vocabulary", "cover");
    for (size_t i = 0; i < n_sizes; i++)
        nct_output_print(out, "%10s  %11.1f %%  %12.2f %%\n", NCT_N(sizes[i]),
                         100.0 * (double)sizes[i] / (double)f->n_vocab, 100 * coverage(f, ids, sizes[i]));
}

/* The list that was named, or one made of the counts; freed by the caller. */
static int take_list(const freq *f, int32_t **ids, size_t *n) {
    const nct_args *a = &f->cli->args;
    nct_frspec_counts counts = {.vocab = f->vocab,
                                .n_vocab = f->n_vocab,
                                .count = f->count,
                                .first = f->first,
                                .n_first = f->n_first,
                                .size = a->list_size == NCT_UNSET ? 0 : (size_t)a->list_size};
    size_t n_vocab = (size_t)f->vocab->n_pieces < f->n_vocab ? (size_t)f->vocab->n_pieces : f->n_vocab;
    nct_error err;
    nct_status status =
        a->list ? nct_frspec_open(a->list, n_vocab, ids, n, &err) : nct_frspec_rank(&counts, ids, n, &err);
    if (status != NCT_OK)
        return nct_say_status(f->cli, &err);
    if (counts.size > *n)
        nct_say_note(f->cli, "the list has %s entries: the corpus shows no more", NCT_N(*n));
    return NCT_EXIT_OK;
}

static int report(const freq *f, const int32_t *ids, size_t n) {
    const nct_args *a = &f->cli->args;
    nct_output out;
    int code = nct_output_open(f->cli, NULL, &out);
    if (code != NCT_EXIT_OK)
        return code;
    if (a->format == NCT_FORMAT_JSON || a->format == NCT_FORMAT_JSONL)
        print_json(f, &out, ids, n);
    else
        print_table(f, &out, ids, n);
    return nct_output_close(&out, code);
}

static int write_results(const freq *f) {
    const nct_args *a = &f->cli->args;
    int32_t *ids = NULL;
    size_t n = 0;
    int code = take_list(f, &ids, &n);
    for (size_t i = 0; i < a->outputs.n && code == NCT_EXIT_OK; i++)
        code = write_list(f, a->outputs.item[i], ids, n);
    if (code == NCT_EXIT_OK)
        code = report(f, ids, n);
    nct_free(ids);
    return code;
}

static int check(const nct_cli *cli) {
    const nct_args *a = &cli->args;
    if (a->list && (a->outputs.n || a->list_size != NCT_UNSET))
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "--list measures a list, -o and --size make one\ntry: one of them");
    if (a->outputs.n == 0 && !a->list)
        return nct_say_error(
            cli, NCT_EXIT_USAGE,
            "freq needs the name of a list to write\ntry: noctule freq %s -o freq.pt -o freq.txt",
            a->words.n ? a->words.item[0] : "CORPUS...");
    for (size_t i = 0; i < a->outputs.n; i++)
        if (strcmp(a->outputs.item[i], "-") == 0)
            return nct_say_error(cli, NCT_EXIT_USAGE, "stdout is for what the list covers\ntry: -o FILE");
    if (a->words.n == 0 && cli->term.in_tty)
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "no corpus\ntry: noctule freq CORPUS... -o FILE\n"
                             "     noctule freq -o FILE < CORPUS");
    return NCT_EXIT_OK;
}

int nct_freq_main(nct_cli *cli) {
    freq f = {.cli = cli};
    int code = check(cli);
    if (code == NCT_EXIT_OK)
        code = open_tokenizer(&f);
    if (code == NCT_EXIT_OK)
        code = count(&f);
    if (code == NCT_EXIT_OK)
        code = write_results(&f);
    nct_free(f.count);
    nct_engine_close(f.engine);
    nct_vocab_close(f.own);
    return code;
}
