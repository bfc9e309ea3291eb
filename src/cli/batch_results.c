#include "cli/batch_results.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"

/* ------------------------------------------------------------------ names of files */

static const char *base_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* .NAME.noctule-journal, beside the file, or of a pattern in the folder that all its files have above them. */
static nct_status journal_path(const char *output, nct_bytes *path, nct_error *err) {
    const char *hole = strchr(output, '{'), *end = hole ? hole : output + strlen(output);
    while (end > output && end[-1] != '/')
        end--;
    return nct_bytes_printf(path, err, "%.*s.%s.noctule-journal", (int)(end - output), output,
                            base_of(output));
}

/* A name that cannot lead anywhere else. */
static nct_status add_safe(nct_bytes *path, const char *text, nct_error *err) {
    for (size_t i = 0; text[i] && i < 200; i++) {
        bool safe =
            text[i] != '/' && (unsigned char)text[i] >= ' ' && text[i] != 127 && !(i == 0 && text[i] == '.');
        NCT_TRY(nct_bytes_add(path, safe ? &text[i] : "_", 1, err));
    }
    return NCT_OK;
}

static nct_status add_hole(const nct_item *item, const char *hole, size_t n, nct_bytes *path,
                           nct_error *err) {
    const char *file =
        item->is_file ? item->text.data : nct_json_string(nct_json_get(item->json, "file"), NULL);
    const char *name = file ? base_of(file) : NULL, *dot = name ? strrchr(name, '.') : NULL;
    if (dot == name)
        dot = NULL; /* .profile has no ending */
    if (n == 6 && memcmp(hole, "sample", n) == 0)
        return nct_bytes_printf(path, err, "%u", item->sample);
    if (n == 5 && memcmp(hole, "index", n) == 0)
        return nct_bytes_printf(path, err, "%llu", (unsigned long long)item->index);
    if (n == 3 && memcmp(hole, "dir", n) == 0)
        return file && name != file
                   ? nct_bytes_add(path, file, name - file == 1 ? 1 : (size_t)(name - file) - 1, err)
                   : nct_bytes_add_str(path, ".", err);
    if (n == 3 && memcmp(hole, "ext", n) == 0)
        return nct_bytes_add_str(path, dot ? dot + 1 : "", err);
    if (!file || (n == 2 && memcmp(hole, "id", n) == 0))
        return add_safe(path, item->id.data, err);
    return nct_bytes_add(
        path, name, n == 4 && memcmp(hole, "stem", n) == 0 && dot ? (size_t)(dot - name) : strlen(name), err);
}

static bool is_hole(const char *hole, size_t n) {
    static const char *const holes[] = {"dir", "stem", "name", "ext", "id", "index", "sample"};
    for (size_t i = 0; i < sizeof holes / sizeof *holes; i++)
        if (strlen(holes[i]) == n && memcmp(holes[i], hole, n) == 0)
            return true;
    return false;
}

static int check_pattern(const nct_cli *cli) {
    for (const char *at = strchr(cli->args.output, '{'); at; at = strchr(at + 1, '{')) {
        const char *end = strchr(at, '}');
        if (!end || !is_hole(at + 1, (size_t)(end - at) - 1))
            return nct_say_error(
                cli, NCT_EXIT_USAGE,
                "-o %s: expected {dir} {stem} {name} {ext} {id} {index} or {sample}, got '%.20s'",
                cli->args.output, at);
    }
    if (cli->args.samples > 1 && !strstr(cli->args.output, "{sample}"))
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "-o %s: %s answers to a record are as many files\ntry: {sample} in their name",
                             cli->args.output, NCT_N((uint64_t)cli->args.samples));
    return NCT_EXIT_OK;
}

static nct_status make_path(const nct_results *r, const nct_item *item, nct_bytes *path, nct_error *err) {
    const char *at = r->cli->args.output;
    while (*at) {
        const char *hole = strchr(at, '{');
        NCT_TRY(nct_bytes_add(path, at, hole ? (size_t)(hole - at) : strlen(at), err));
        if (!hole)
            return NCT_OK;
        const char *end = strchr(hole, '}');
        NCT_TRY(add_hole(item, hole + 1, (size_t)(end - hole) - 1, path, err));
        at = end + 1;
    }
    return NCT_OK;
}

/* ------------------------------------------------------------------ opening */

static nct_status add_place(nct_results *r, const char *id, uint32_t sample, uint64_t index, uint64_t off,
                            size_t n, nct_error *err) {
    nct_bytes name = {0};
    void *p = r->place;
    NCT_TRY(nct_grow(&p, &r->places_capacity, r->n_places + 1, sizeof *r->place, err));
    r->place = p;
    NCT_TRY(sample ? nct_bytes_printf(&name, err, "%s\n%u", id, sample) : nct_bytes_add_str(&name, id, err));
    uint32_t *newest = nct_seen_put(&r->ids, nct_seen_key_of_text(name.data, name.n), err);
    nct_bytes_reset(&name);
    if (!newest)
        return NCT_E_MEMORY;
    if (*newest)
        r->place[*newest - 1].replaced = true;
    r->place[r->n_places++] =
        (struct nct_result_place){.index = index, .sample = sample, .off = off, .n_bytes = n};
    *newest = (uint32_t)r->n_places;
    return NCT_OK;
}

static int take_old(void *context, const nct_json *record, uint64_t off, size_t n) {
    nct_results *r = context;
    nct_old_record old;
    nct_error err = {0};
    if (!nct_item_read(record, &old))
        return nct_say_error(r->cli, NCT_EXIT_FAILURE,
                             "%s holds something else than results of a batch\ntry: another -o",
                             r->journal.path);
    if (!r->has_seed && old.has_seed) {
        r->seed = old.seed;
        r->has_seed = true;
    }
    uint32_t *value = nct_seen_put(&r->done, old.key, &err);
    if (!value)
        return nct_say_status(r->cli, &err);
    *value = old.attempts * 2 + !old.failed;
    if (r->beside && !r->pattern && add_place(r, old.id, old.sample, old.index, off, n, &err) != NCT_OK)
        return nct_say_status(r->cli, &err);
    return NCT_EXIT_OK;
}

static bool is_there(const char *path, bool not_empty) {
    struct stat st;
    return stat(path, &st) == 0 && (!not_empty || st.st_size > 0);
}

static int refuse_existing(const nct_cli *cli, const char *path) {
    const char *from = cli->args.words.n ? cli->args.words.item[0] : "...";
    return nct_say_error(cli, NCT_EXIT_USAGE,
                         "%s is there already\ntry: noctule batch %s -o %s --resume       (goes on with it)\n"
                         "     noctule batch %s -o %s --overwrite    (begins anew)",
                         path, from, cli->args.output, from, cli->args.output);
}

/* A journal that begins with what a finished output holds; whole or not there. */
static int copy_records(const nct_cli *cli, const char *from, const char *to) {
    nct_output out;
    nct_error err = {0};
    nct_map map;
    if (nct_map_open(from, &map, &err) != NCT_OK)
        return nct_say_status(cli, &err);
    int code = nct_output_open(cli, to, &out);
    if (code == NCT_EXIT_OK) {
        nct_output_write(&out, map.data, map.n_bytes);
        nct_output_flush(&out);
        fsync(out.fd);
        code = nct_output_close(&out, code);
    }
    nct_map_close(&map);
    return code;
}

static int open_file(nct_results *r) {
    const nct_cli *cli = r->cli;
    const nct_args *a = &cli->args;
    nct_bytes path = {0};
    nct_error err = {0};
    if (journal_path(a->output, &path, &err) != NCT_OK) {
        nct_bytes_reset(&path);
        return nct_say_status(cli, &err);
    }
    bool file = !r->pattern && is_there(a->output, true), journal = is_there(path.data, true);
    int code = NCT_EXIT_OK;
    if ((file || journal) && !a->resume && !a->overwrite)
        code = refuse_existing(cli, file ? a->output : path.data);
    r->beside = r->pattern || a->ordered || (a->retry_failed && file) || journal;
    if (code == NCT_EXIT_OK && a->overwrite && journal && !r->pattern && !a->ordered) {
        unlink(path.data);
        r->beside = false;
    }
    if (code == NCT_EXIT_OK && r->beside && file && !journal && a->resume)
        code = copy_records(cli, a->output, path.data);
    if (code == NCT_EXIT_OK)
        code = nct_journal_open_each(cli, r->beside ? path.data : a->output, !a->resume, take_old, r,
                                     &r->journal);
    nct_bytes_reset(&path);
    return code;
}

int nct_results_open(const nct_cli *cli, nct_results *r) {
    const nct_args *a = &cli->args;
    *r = (nct_results){.cli = cli, .journal.fd = -1, .to_stdout = !a->output || strcmp(a->output, "-") == 0};
    r->pattern = !r->to_stdout && strchr(a->output, '{');
    struct stat st;
    if (a->resume && a->overwrite)
        return nct_say_error(cli, NCT_EXIT_USAGE, "--resume and --overwrite exclude each other");
    if (r->to_stdout && (a->resume || a->overwrite || a->retry_failed))
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "--resume, --overwrite and --retry-failed are about an output\ntry: -o FILE");
    if (a->retry_failed && !a->resume)
        return nct_say_error(cli, NCT_EXIT_USAGE, "--retry-failed goes with --resume");
    if (r->pattern && a->ordered)
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "--ordered is about records in one output; -o %s makes a file for each",
                             a->output);
    if (!r->pattern && a->format == NCT_FORMAT_TEXT)
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "results of a batch are records\ntry: --format jsonl\n     -o "
                             "'{dir}/{stem}.txt'    (a text for each)");
    if (a->dry_run && !a->resume) { /* nothing is written, nothing is there */
        r->to_stdout = false;
        return r->pattern ? check_pattern(cli) : NCT_EXIT_OK;
    }
    if (r->to_stdout) {
        void *p = NULL;
        nct_error err = {0};
        if (a->ordered && nct_alloc(&p, NCT_RESULTS_AHEAD, sizeof *r->held, &err) != NCT_OK)
            return nct_say_status(cli, &err);
        r->held = p;
        return nct_output_open(cli, NULL, &r->out);
    }
    if (!r->pattern && stat(a->output, &st) == 0 && !S_ISREG(st.st_mode))
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "-o %s is no file, so nothing could go on from it\ntry: > %s", a->output,
                             a->output);
    int code = r->pattern ? check_pattern(cli) : NCT_EXIT_OK;
    return code == NCT_EXIT_OK ? open_file(r) : code;
}

/* ------------------------------------------------------------------ files of a pattern */

/* The text, or the record with --format json, as a file of its own. */
static int write_file(nct_results *r, const char *path, const char *text, size_t n) {
    nct_output out;
    int code = nct_output_open(r->cli, path, &out);
    if (code != NCT_EXIT_OK)
        return code;
    nct_output_write(&out, text, n);
    if (out.last != '\n')
        nct_output_write(&out, "\n", 1);
    return nct_output_close(&out, code);
}

static bool writes_records(const nct_results *r) {
    return r->cli->args.format == NCT_FORMAT_JSON || r->cli->args.format == NCT_FORMAT_JSONL;
}

struct finding {
    nct_results *r;
    nct_seen_key key;
    const char *path;
    bool found;
};

static int restore(void *context, const nct_json *record, uint64_t off, size_t n) {
    struct finding *f = context;
    nct_old_record old;
    if (f->found || !nct_item_read(record, &old) || old.failed ||
        memcmp(&old.key, &f->key, sizeof f->key) != 0)
        return NCT_EXIT_OK;
    f->found = true;
    if (writes_records(f->r)) {
        nct_bytes text = {0};
        int code = nct_journal_read(&f->r->journal, off, n, &text);
        if (code == NCT_EXIT_OK)
            code = write_file(f->r, f->path, text.data, text.n);
        nct_bytes_reset(&text);
        return code;
    }
    const nct_json *message = nct_json_get(
        nct_json_first(nct_json_get(nct_json_get(nct_json_get(record, "response"), "body"), "choices")),
        "message");
    const char *text =
        nct_json_string(message ? nct_json_get(message, "content") : nct_json_get(record, "text"), "");
    return write_file(f->r, f->path, text, strlen(text));
}

/* A kill came between the record and its file. */
static int restore_file(nct_results *r, const nct_item *item, const char *path) {
    struct finding f = {.r = r, .key = item->key, .path = path};
    return nct_journal_each(&r->journal, restore, &f);
}

/* Whether a file that nobody kept a record of can be taken for this item's: it is no older than what it was made of. */
static bool is_newer(const nct_item *item, const char *path) {
    struct stat out, in;
    if (!item->is_file || stat(path, &out) != 0 || stat(item->text.data, &in) != 0)
        return false;
    return out.st_mtim.tv_sec > in.st_mtim.tv_sec ||
           (out.st_mtim.tv_sec == in.st_mtim.tv_sec && out.st_mtim.tv_nsec >= in.st_mtim.tv_nsec);
}

static nct_due due_file(nct_results *r, nct_item *item, uint32_t before, const char *path, bool look) {
    const nct_args *a = &r->cli->args;
    bool there = is_there(path, false);
    if (before % 2) {
        if (!there && !look && restore_file(r, item, path) != NCT_EXIT_OK)
            return NCT_DUE_REFUSED;
        return NCT_DUE_NOT;
    }
    if (there && !a->resume && !a->overwrite) {
        refuse_existing(r->cli, path);
        return NCT_DUE_REFUSED;
    }
    if (there && a->resume && !before && is_newer(item, path))
        return NCT_DUE_NOT;
    if (before && !a->retry_failed)
        return NCT_DUE_FAILED;
    nct_error err = {0};
    uint32_t *taken = look ? NULL : nct_seen_put(&r->paths, nct_seen_key_of_text(path, strlen(path)), &err);
    if (look)
        return NCT_DUE;
    if (!taken) {
        nct_say_status(r->cli, &err);
        return NCT_DUE_REFUSED;
    }
    if (*taken)
        nct_item_fail(item, NULL, "output_taken", "%s is the output of another record", path);
    *taken = 1;
    return NCT_DUE;
}

nct_due nct_results_due(nct_results *r, nct_item *item, bool look) {
    uint32_t before = nct_seen_find(&r->done, item->key);
    nct_bytes path = {0};
    nct_error err = {0};
    nct_due due = before == 0                 ? NCT_DUE
                  : before % 2                ? NCT_DUE_NOT
                  : r->cli->args.retry_failed ? NCT_DUE
                                              : NCT_DUE_FAILED;
    if (r->pattern && make_path(r, item, &path, &err) != NCT_OK) {
        nct_say_status(r->cli, &err);
        due = NCT_DUE_REFUSED;
    } else if (r->pattern) {
        due = due_file(r, item, before, path.data, look);
    }
    nct_bytes_reset(&path);
    item->attempts = before / 2 + 1;
    return due;
}

/* ------------------------------------------------------------------ adding */

static int add_to_stdout(nct_results *r, nct_bytes *line, uint64_t order) {
    nct_error err = {0};
    if (nct_bytes_add_str(line, "\n", &err) != NCT_OK)
        return nct_say_status(r->cli, &err);
    if (!r->held) {
        nct_output_write(&r->out, line->data, line->n);
    } else {
        struct nct_result_held *h = &r->held[order % NCT_RESULTS_AHEAD];
        *h = (struct nct_result_held){.line = line->data, .n = line->n};
        *line = (nct_bytes){0};
        while ((h = &r->held[r->next % NCT_RESULTS_AHEAD])->line) {
            nct_output_write(&r->out, h->line, h->n);
            nct_free(h->line);
            *h = (struct nct_result_held){0};
            r->next++;
        }
    }
    nct_output_flush(&r->out);
    if (r->out.failure == EPIPE)
        return NCT_EXIT_PIPE;
    return r->out.failure ? NCT_EXIT_FAILURE : NCT_EXIT_OK; /* closing says why */
}

static int add_file(nct_results *r, const nct_item *item, const nct_bytes *record) {
    nct_bytes path = {0};
    nct_error err = {0};
    if (item->fault)
        return NCT_EXIT_OK;
    int code = make_path(r, item, &path, &err) == NCT_OK ? NCT_EXIT_OK : nct_say_status(r->cli, &err);
    const nct_bytes *text = writes_records(r) ? record : &item->answer.text;
    if (code == NCT_EXIT_OK)
        code = write_file(r, path.data, text->data ? text->data : "", text->n);
    nct_bytes_reset(&path);
    return code;
}

int nct_results_add(nct_results *r, const nct_item *item, uint64_t order) {
    nct_bytes line = {0};
    nct_error err = {0};
    int code = nct_item_write(item, &line, &err) == NCT_OK ? NCT_EXIT_OK : nct_say_status(r->cli, &err);
    if (code == NCT_EXIT_OK && r->to_stdout) {
        code = add_to_stdout(r, &line, order);
    } else if (code == NCT_EXIT_OK) {
        size_t n = line.n;
        uint64_t off = r->journal.n_bytes;
        code = nct_journal_add(&r->journal, &line);
        if (code == NCT_EXIT_OK && r->pattern) {
            code = add_file(r, item, &line);
        } else if (code == NCT_EXIT_OK && r->beside &&
                   add_place(r, item->id.data, item->sample, item->index, off, n, &err) != NCT_OK) {
            code = nct_say_status(r->cli, &err);
        }
    }
    nct_bytes_reset(&line);
    return code;
}

bool nct_results_full(const nct_results *r, uint64_t order) {
    return r->held && order - r->next >= NCT_RESULTS_AHEAD;
}

/* ------------------------------------------------------------------ closing */

static int by_index(const void *a, const void *b) {
    const struct nct_result_place *x = a, *y = b;
    return x->index != y->index ? (x->index > y->index) - (x->index < y->index)
                                : (x->sample > y->sample) - (x->sample < y->sample);
}

/* Makes the file out of the journal: the newest record of each id. */
static int render(nct_results *r) {
    nct_output out;
    nct_bytes line = {0};
    int code = nct_output_open(r->cli, r->cli->args.output, &out);
    if (code != NCT_EXIT_OK)
        return code;
    if (r->cli->args.ordered && r->n_places)
        qsort(r->place, r->n_places, sizeof *r->place, by_index);
    for (size_t i = 0; i < r->n_places && code == NCT_EXIT_OK; i++) {
        if (r->place[i].replaced)
            continue;
        code = nct_journal_read(&r->journal, r->place[i].off, r->place[i].n_bytes, &line);
        nct_output_write(&out, line.data ? line.data : "", line.n);
        nct_output_write(&out, "\n", 1);
    }
    nct_bytes_reset(&line);
    nct_output_flush(&out);
    fsync(out.fd);
    return nct_output_close(&out, code);
}

int nct_results_close(nct_results *r, int code, bool complete) {
    if (r->to_stdout && r->cli)
        code = nct_output_close(&r->out, code);
    for (size_t i = 0; r->held && i < NCT_RESULTS_AHEAD; i++)
        nct_free(r->held[i].line);
    if (r->beside && !r->pattern && complete) {
        int rendered = render(r);
        complete = rendered == NCT_EXIT_OK;
        code = complete ? code : rendered;
    }
    nct_journal_close(&r->journal, r->beside && complete);
    nct_seen_close(&r->done);
    nct_seen_close(&r->paths);
    nct_seen_close(&r->ids);
    nct_free(r->place);
    nct_free(r->held);
    return code;
}
