#include "cli/corpus.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/json.h"
#include "base/map.h"
#include "cli/input.h"

enum {
    PIECE_BYTES = 1 << 18,
    BLOCK_BYTES = 1 << 20,
    SNIFF_BYTES = 8,            /* of a source, before it is known what it is */
    WHOLE_MAX_BYTES = 16 << 20, /* a text without a place to cut it is cut somewhere */
    LINE_MAX_BYTES = 256 << 20,
};

/* What was read and cut into pieces. */
typedef struct batch {
    nct_bytes text;
    size_t n;
    struct {
        size_t begin, end;
        const char *name;
        bool json, begins;
    } piece[NCT_CORPUS_PIECES];
    bool failed[NCT_CORPUS_PIECES];
    nct_error err[NCT_CORPUS_PIECES];
    uint64_t line[NCT_CORPUS_PIECES];
} batch;

typedef struct reader {
    nct_corpus *corpus;
    nct_pool *pool;
    size_t next_path;
    const char *name; /* of the source at hand; NULL: none is open */
    int fd;
    bool json, begins, sniffed;
    uint64_t offset; /* read of this source */
    nct_bytes rest;  /* read, but not in a piece yet */
    size_t scanned;  /* of the piece at hand, where no cut was found */
    bool ended;      /* nothing is left to read */
    int code;        /* of a reading that failed */
    batch batches[2], *now, *next;
    uint64_t line; /* of the source, behind the batches that are done */
    nct_meter meter;
    uint64_t total; /* bytes of all paths; 0: unknown */
} reader;

/* ------------------------------------------------------------------ sources */

static bool is_stdin(const char *path) { return strcmp(path, "-") == 0; }

static int open_source(reader *r) {
    const char *path = r->corpus->paths[r->next_path++];
    const nct_cli *cli = r->corpus->cli;
    r->fd = is_stdin(path) ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (r->fd < 0 || nct_is_directory(path)) {
        if (r->fd > STDERR_FILENO)
            close(r->fd);
        return nct_say_error(cli, NCT_EXIT_FAILURE, "%s cannot be read: %s", path,
                             strerror(r->fd < 0 ? errno : EISDIR));
    }
    r->name = is_stdin(path) ? "stdin" : path;
    r->json = cli->args.field || nct_ends_with(path, ".jsonl");
    r->begins = true;
    r->sniffed = false;
    r->offset = 0;
    return NCT_EXIT_OK;
}

static void close_source(reader *r) {
    if (r->name && r->fd != STDIN_FILENO)
        close(r->fd);
    r->name = NULL;
}

static int refuse_nul(const reader *r, const char *s, size_t n, uint64_t offset) {
    const char *nul = memchr(s, 0, n);
    if (!nul)
        return NCT_EXIT_OK;
    return nct_say_error(r->corpus->cli, NCT_EXIT_USAGE, "%s is no text: a NUL byte stands at offset %llu",
                         r->name, (unsigned long long)(offset + (uint64_t)(nul - s)));
}

/* Looks at the beginning of a source, from text[at] on; a byte-order mark is skipped. */
static int sniff(reader *r, const nct_bytes *text, size_t *at) {
    const nct_cli *cli = r->corpus->cli;
    const char *s = text->data + *at;
    size_t n = text->n - *at;
    r->sniffed = true;
    int code = nct_input_refuse_packed(cli, r->name, s, n);
    if (code != NCT_EXIT_OK)
        return code;
    if (n >= 2 && (memcmp(s, "\xff\xfe", 2) == 0 || memcmp(s, "\xfe\xff", 2) == 0))
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "%s is UTF-16\ntry: iconv -f UTF-16 -t UTF-8 %s | noctule %s ...", r->name,
                             r->fd == STDIN_FILENO ? "FILE" : r->name, cli->command->name);
    size_t mark = n >= 3 && memcmp(s, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    *at += mark;
    if (n - mark >= 2 && memcmp(s + mark, "{\"", 2) == 0)
        r->json = true;
    return refuse_nul(r, s, n, 0);
}

/* ------------------------------------------------------------------ cutting */

static bool by_lines(const reader *r) { return r->json || !r->corpus->vocab; }

static void add_piece(reader *r, batch *b, size_t begin, size_t end) {
    if (end > begin) {
        b->piece[b->n].begin = begin;
        b->piece[b->n].end = end;
        b->piece[b->n].name = r->name;
        b->piece[b->n].json = r->json;
        b->piece[b->n].begins = r->begins;
        b->n++;
        r->begins = false;
    }
    r->scanned = 0;
}

/* Where the piece that begins at `begin` may end: behind at least PIECE_BYTES; 0 if that is not in sight. */
static size_t find_end(reader *r, const nct_bytes *text, size_t begin) {
    size_t from = begin + (r->scanned > PIECE_BYTES ? r->scanned : PIECE_BYTES);
    if (from >= text->n)
        return 0;
    if (by_lines(r)) {
        const char *newline = memchr(text->data + from - 1, '\n', text->n - from + 1);
        if (newline)
            return (size_t)(newline - text->data) + 1;
        r->scanned = text->n - begin;
        return 0;
    }
    size_t end = nct_bpe_cut(r->corpus->vocab, text->data + begin, text->n - begin, from - begin);
    if (end)
        return begin + end;
    if (text->n - begin < WHOLE_MAX_BYTES) {
        r->scanned = text->n - begin - 4; /* its last character may have been torn */
        return 0;
    }
    for (end = begin + WHOLE_MAX_BYTES - 4; ((uint8_t)text->data[end] & 0xc0) == 0x80 && end < text->n - 1;)
        end++;
    return end;
}

/* Cuts off what can be; *begin is where the piece at hand begins. */
static int cut(reader *r, batch *b, size_t *begin) {
    for (size_t end; b->n < NCT_CORPUS_PIECES - 1 && (end = find_end(r, &b->text, *begin)); *begin = end)
        add_piece(r, b, *begin, end);
    if (by_lines(r) && b->text.n - *begin > LINE_MAX_BYTES)
        return nct_say_error(r->corpus->cli, NCT_EXIT_FAILURE, "%s has a line of more than %s", r->name,
                             NCT_BYTES(LINE_MAX_BYTES));
    return NCT_EXIT_OK;
}

/* Ends a piece at the last line that is there: of a pipe that has nothing more just now, where lines are documents. */
static int cut_waiting(reader *r, batch *b, size_t *begin) {
    size_t end = b->text.n;
    while (end > *begin && b->text.data[end - 1] != '\n')
        end--;
    if (r->corpus->vocab || end == *begin || b->n >= NCT_CORPUS_PIECES - 1)
        return NCT_EXIT_OK;
    int code = r->sniffed ? NCT_EXIT_OK : sniff(r, &b->text, begin);
    if (code == NCT_EXIT_OK) {
        add_piece(r, b, *begin, end);
        *begin = end;
    }
    return code;
}

/* ------------------------------------------------------------------ reading */

/* Bytes that were read, 0 at the end, -1 after a failure or a signal, with r->code. */
static ssize_t read_block(reader *r, nct_bytes *text) {
    const nct_cli *cli = r->corpus->cli;
    char block[1 << 16];
    for (;;) {
        ssize_t n = read(r->fd, block, sizeof block);
        nct_error err;
        if (n > 0 && r->sniffed && (r->code = refuse_nul(r, block, (size_t)n, r->offset)) != NCT_EXIT_OK)
            return -1;
        if (n > 0 && nct_bytes_add(text, block, (size_t)n, &err) != NCT_OK) {
            r->code = nct_say_status(cli, &err);
            return -1;
        }
        if (n >= 0) {
            r->offset += (uint64_t)n;
            r->corpus->n_bytes += (uint64_t)n;
            return n;
        }
        if (*nct_signals_flag()) {
            r->code = 128 + (int)*nct_signals_flag();
            return -1;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            struct pollfd in = {.fd = r->fd, .events = POLLIN};
            poll(&in, 1, -1);
        } else if (errno != EINTR) {
            r->code = nct_say_error(cli, NCT_EXIT_FAILURE, "%s cannot be read: %s", r->name, strerror(errno));
            return -1;
        }
    }
}

static bool would_wait(const reader *r) {
    struct pollfd in = {.fd = r->fd, .events = POLLIN};
    return poll(&in, 1, 0) == 0;
}

/* Reads on until the batch is full. wait: until there is something to work on; else only what is there already. */
static int fill(reader *r, batch *b, bool wait) {
    size_t begin = 0;
    nct_error err;
    b->n = 0;
    b->text.n = 0;
    if (r->rest.n && nct_bytes_add(&b->text, r->rest.data, r->rest.n, &err) != NCT_OK)
        return nct_say_status(r->corpus->cli, &err);
    r->rest.n = 0;
    while (b->text.n - begin < LINE_MAX_BYTES + (size_t)BLOCK_BYTES && b->n < NCT_CORPUS_PIECES / 2) {
        if (!r->name) {
            if (r->next_path == r->corpus->n_paths) {
                r->ended = true;
                break;
            }
            r->code = open_source(r);
            if (r->code != NCT_EXIT_OK)
                return r->code;
        }
        if (would_wait(r)) {
            if ((r->code = cut_waiting(r, b, &begin)) != NCT_EXIT_OK)
                return r->code;
            if (!wait || b->n)
                break;
        }
        ssize_t n = read_block(r, &b->text);
        if (n < 0)
            return r->code;
        bool ready = r->sniffed || n == 0 || b->text.n - begin >= SNIFF_BYTES;
        if (!r->sniffed && ready && b->text.n > begin &&
            (r->code = sniff(r, &b->text, &begin)) != NCT_EXIT_OK)
            return r->code;
        if (ready && (r->code = cut(r, b, &begin)) != NCT_EXIT_OK)
            return r->code;
        if (n == 0 && b->n < NCT_CORPUS_PIECES - 1) {
            add_piece(r, b, begin, b->text.n);
            begin = b->text.n;
            close_source(r);
        }
    }
    if (b->text.n > begin && nct_bytes_add(&r->rest, b->text.data + begin, b->text.n - begin, &err) != NCT_OK)
        return nct_say_status(r->corpus->cli, &err);
    return NCT_EXIT_OK;
}

/* ------------------------------------------------------------------ working */

static uint64_t count_lines(const char *s, size_t n) {
    uint64_t lines = 0;
    for (const char *end = s + n; s < end && (s = memchr(s, '\n', (size_t)(end - s))); s++)
        lines++;
    return lines;
}

static void number_lines(reader *r, batch *b) {
    for (size_t i = 0; i < b->n; i++) {
        if (b->piece[i].begins)
            r->line = 1;
        b->line[i] = r->line;
        r->line += count_lines(b->text.data + b->piece[i].begin, b->piece[i].end - b->piece[i].begin);
    }
}

/* The first task reads the next batch, the others work on the pieces of this one. */
static void task(void *context, int number, int worker) {
    reader *r = context;
    batch *b = r->now;
    if (number == 0) {
        r->code = fill(r, r->next, false);
        return;
    }
    size_t i = (size_t)number - 1;
    nct_corpus_piece piece = {.name = b->piece[i].name,
                              .text = b->text.data + b->piece[i].begin,
                              .n = b->piece[i].end - b->piece[i].begin,
                              .line = b->line[i],
                              .json = b->piece[i].json,
                              .begins = b->piece[i].begins};
    b->failed[i] = !r->corpus->work(r->corpus->context, &piece, i, worker, &b->err[i]);
}

/* What is wrong with a document is a matter of the input, not of a model. */
static int say_failure(const reader *r, const nct_error *err) {
    if (err->status == NCT_E_FORMAT)
        return nct_say_error(r->corpus->cli, NCT_EXIT_FAILURE, "%s", err->text);
    return nct_say_status(r->corpus->cli, err);
}

static int finish_batch(reader *r) {
    const batch *b = r->now;
    size_t n = 0;
    while (n < b->n && !b->failed[n])
        n++;
    int code = r->corpus->done ? r->corpus->done(r->corpus->context, n) : NCT_EXIT_OK;
    if (code == NCT_EXIT_OK && n < b->n)
        code = say_failure(r, &b->err[n]);
    return code;
}

static int run(reader *r) {
    const volatile sig_atomic_t *signal = nct_signals_flag();
    int code = fill(r, r->now, true);
    while (code == NCT_EXIT_OK && (r->now->n || !r->ended)) {
        number_lines(r, r->now);
        r->next->n = 0;
        nct_pool_run(r->pool, (int)r->now->n + 1, task, r);
        nct_meter_show(&r->meter, r->corpus->n_bytes, r->total);
        int reading = r->code;
        code = finish_batch(r);
        if (code == NCT_EXIT_OK)
            code = *signal ? 128 + (int)*signal : reading;
        batch *swap = r->now;
        r->now = r->next;
        r->next = swap;
        if (code == NCT_EXIT_OK && r->now->n == 0 && !r->ended)
            code = fill(r, r->now, true);
    }
    return code;
}

static uint64_t total_bytes(const nct_corpus *c) {
    uint64_t total = 0;
    for (size_t i = 0; i < c->n_paths; i++) {
        struct stat what;
        int got = is_stdin(c->paths[i]) ? fstat(STDIN_FILENO, &what) : stat(c->paths[i], &what);
        if (got != 0 || !S_ISREG(what.st_mode))
            return 0;
        total += (uint64_t)what.st_size;
    }
    return total;
}

int nct_corpus_run(nct_corpus *corpus, nct_pool *pool) {
    void *p = NULL;
    nct_error err;
    if (nct_alloc(&p, 1, sizeof(reader), &err) != NCT_OK)
        return nct_say_status(corpus->cli, &err);
    reader *r = p;
    r->corpus = corpus;
    r->pool = pool;
    r->now = &r->batches[0];
    r->next = &r->batches[1];
    r->total = total_bytes(corpus);
    nct_meter_begin(corpus->cli, corpus->what, &r->meter);
    r->meter.bytes = true;
    nct_signals_catch();
    int code = run(r);
    nct_meter_end(&r->meter);
    close_source(r);
    nct_bytes_reset(&r->rest);
    nct_bytes_reset(&r->batches[0].text);
    nct_bytes_reset(&r->batches[1].text);
    nct_free(r);
    return code;
}

int nct_corpus_threads(const nct_cli *cli) {
    int usable = nct_cpu_usable(), asked = cli->args.threads == NCT_UNSET ? usable : (int)cli->args.threads;
    if (asked <= usable || cli->args.force_threads)
        return asked;
    nct_say_warning(cli, "%d threads asked for, %d may be used; so many are", asked, usable);
    return usable;
}

/* ------------------------------------------------------------------ lines */

bool nct_corpus_line(const nct_corpus_piece *piece, size_t *at, const char **line, size_t *n) {
    if (*at >= piece->n)
        return false;
    *line = piece->text + *at;
    const char *newline = memchr(*line, '\n', piece->n - *at);
    *n = newline ? (size_t)(newline - *line) : piece->n - *at;
    *at += *n + 1;
    return true;
}

nct_status nct_corpus_field(const nct_cli *cli, const nct_corpus_piece *piece, uint64_t number,
                            const char *line, size_t n, nct_json **json, const char **text, nct_error *err) {
    const char *field = cli->args.field ? cli->args.field : "text";
    nct_json *j = NULL;
    nct_error inner;
    if (nct_json_parse(piece->name, line, n, &j, &inner) != NCT_OK)
        return inner.status == NCT_E_FORMAT ? nct_fail(err, NCT_E_FORMAT, "%s: line %llu is no JSON object",
                                                       piece->name, (unsigned long long)number)
                                            : nct_fail(err, inner.status, "%s", inner.text);
    *text = nct_json_string(nct_json_get(j, field), NULL);
    if (!*text) {
        nct_json_close(j);
        return nct_fail(err, NCT_E_FORMAT, "%s: line %llu has no text in its field '%.60s'", piece->name,
                        (unsigned long long)number, field);
    }
    *json = j;
    return NCT_OK;
}
