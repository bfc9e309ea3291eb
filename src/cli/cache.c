/* What is kept of prompts that were read: statistics, a list, and getting rid of it. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/open.h"
#include "cli/output.h"
#include "cli/sum.h"
#include "store/folder.h"

enum { NAME_AT = 17, NAME_SHOWN = 12, JOURNAL_BYTES = 2 << 20 };

/* ------------------------------------------------------------------ the folder */

typedef struct file {
    nct_entry entry;
    uint32_t n_tokens;
    bool whole, first; /* its record could be read; no page comes before it */
    size_t before;     /* index of the page before it, SIZE_MAX: none, or gone */
    bool followed;     /* some page comes after it */
} file;

typedef struct pages {
    const nct_cli *cli;
    char path[PATH_MAX];
    nct_folder folder;
    file *file;
    size_t n;
    uint64_t n_bytes;
} pages;

static void close_pages(pages *p) {
    nct_folder_close(&p->folder);
    nct_free(p->file);
}

static void read_record(const pages *p, file *f) {
    uint8_t bytes[NCT_RECORD_BYTES];
    nct_record record;
    int fd = nct_folder_read(&p->folder, f->entry.name);
    if (fd < 0)
        return;
    off_t size = lseek(fd, 0, SEEK_END);
    if (size >= NCT_RECORD_BYTES &&
        pread(fd, bytes, sizeof bytes, size - NCT_RECORD_BYTES) == (ssize_t)sizeof bytes &&
        nct_record_read(bytes, (uint64_t)size, &record, NULL) == NCT_OK) {
        f->n_tokens = record.n_tokens;
        f->whole = true;
        f->first = nct_link_equal(&record.before, &record.identity);
    }
    close(fd);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const file *)a)->entry.name + NAME_AT, ((const file *)b)->entry.name + NAME_AT);
}

/* The page whose name begins with these 16 digits. */
static size_t find_before(const pages *p, const char *digits) {
    size_t low = 0, high = p->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strncmp(p->file[middle].entry.name + NAME_AT, digits, NAME_AT - 1) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < p->n && strncmp(p->file[low].entry.name + NAME_AT, digits, NAME_AT - 1) == 0 ? low
                                                                                              : SIZE_MAX;
}

/* Opens the folder and reads what is in it; a folder that is not there is an empty one. */
static int open_pages(const nct_cli *cli, pages *p) {
    *p = (pages){.cli = cli};
    nct_error err = {0};
    nct_entry *entry = NULL;
    size_t n = 0;
    void *files = NULL;
    if (!nct_pages_folder(cli, p->path, sizeof p->path))
        return nct_say_error(cli, NCT_EXIT_FAILURE,
                             "neither XDG_CACHE_HOME nor HOME says where the cache is");
    if (access(p->path, F_OK) != 0)
        return NCT_EXIT_OK;
    nct_status status = nct_folder_open(p->path, false, &p->folder, &err);
    if (status == NCT_OK)
        status = nct_folder_list(&p->folder, &entry, &n, &err);
    if (status == NCT_OK)
        status = nct_alloc(&files, n, sizeof *p->file, &err);
    if (status != NCT_OK) {
        nct_free(entry);
        return nct_say_status(cli, &err);
    }
    p->file = files;
    for (size_t i = 0; i < n; i++) {
        p->n_bytes += entry[i].n_bytes;
        if (entry[i].kind == NCT_ENTRY_PAGE)
            p->file[p->n++] = (file){.entry = entry[i], .before = SIZE_MAX};
    }
    nct_free(entry);
    if (p->n)
        qsort(p->file, p->n, sizeof *p->file, by_name);
    for (size_t i = 0; i < p->n; i++) {
        read_record(p, &p->file[i]);
        if (!p->file[i].first)
            p->file[i].before = find_before(p, p->file[i].entry.name);
        if (p->file[i].before != SIZE_MAX)
            p->file[p->file[i].before].followed = true;
    }
    return NCT_EXIT_OK;
}

static bool as_json(const nct_cli *cli) {
    return cli->args.format == NCT_FORMAT_JSON || cli->args.format == NCT_FORMAT_JSONL;
}

/* ------------------------------------------------------------------ cache stat */

typedef struct tally {
    uint64_t taken, computed, wrote_today;
    double saved_s;
} tally;

static void add_line(tally *t, const char *line, time_t today) {
    long long when;
    unsigned long long taken, computed, wrote;
    double saved;
    if (sscanf(line, "%lld taken %llu computed %llu wrote %llu saved %lf", &when, &taken, &computed, &wrote,
               &saved) != 5)
        return;
    t->taken += taken;
    t->computed += computed;
    t->saved_s += saved;
    if (when >= (long long)today)
        t->wrote_today += wrote;
}

static tally read_journal(const pages *p) {
    tally t = {0};
    time_t now = time(NULL);
    struct tm day;
    localtime_r(&now, &day);
    day.tm_hour = day.tm_min = day.tm_sec = 0;
    time_t today = mktime(&day);
    int fd = p->folder.path ? nct_folder_read(&p->folder, "journal") : -1;
    FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
    char line[256];
    while (f && fgets(line, sizeof line, f))
        add_line(&t, line, today);
    if (f)
        fclose(f);
    else if (fd >= 0)
        close(fd);
    return t;
}

int nct_cache_stat_main(nct_cli *cli) {
    pages p;
    nct_knobs knobs;
    nct_output out;
    int code = nct_take_knobs(cli, &knobs);
    if (code == NCT_EXIT_OK)
        code = open_pages(cli, &p);
    else
        return code;
    if (code == NCT_EXIT_OK && (code = nct_output_open(cli, NULL, &out)) == NCT_EXIT_OK) {
        tally t = read_journal(&p);
        size_t texts = 0;
        for (size_t i = 0; i < p.n; i++)
            texts += !p.file[i].followed;
        double asked = (double)(t.taken + t.computed), share = asked > 0 ? (double)t.taken / asked : 0;
        uint64_t most = knobs.cache_max ? (uint64_t)knobs.cache_max
                        : p.folder.path ? nct_folder_default_max(&p.folder, p.n_bytes)
                                        : 0;
        if (as_json(cli)) {
            nct_bytes path = {0};
            nct_json_write_string(&path, p.path, strlen(p.path), NULL);
            nct_output_print(&out,
                             "{\"folder\":%s,\"texts\":%zu,\"pages\":%zu,\"bytes\":%llu,\"max_bytes\":%llu,"
                             "\"hit_rate\":%.4f,"
                             "\"written_today_bytes\":%llu,\"saved_s\":%.1f}\n",
                             path.data ? path.data : "\"\"", texts, p.n, (unsigned long long)p.n_bytes,
                             (unsigned long long)most, share, (unsigned long long)t.wrote_today, t.saved_s);
            nct_bytes_reset(&path);
        } else {
            nct_output_print(&out, "folder    %s\n", p.path);
            nct_output_print(&out, "kept      %s text%s, %s pages, %s", NCT_N(texts), texts == 1 ? "" : "s",
                             NCT_N(p.n), NCT_BYTES(p.n_bytes));
            if (most && (!cli->args.kv_dir || strcmp(cli->args.kv_dir, "auto") == 0))
                nct_output_print(&out, " of %s", NCT_BYTES(most));
            nct_output_print(&out,
                             "\ntaken     %s tokens, %.0f %% of those of prompts that were long enough\n",
                             NCT_N(t.taken), 100 * share);
            nct_output_print(&out, "saved     %.1f minutes\n", t.saved_s / 60);
            nct_output_print(&out, "written   %s today\n", NCT_BYTES(t.wrote_today));
        }
        code = nct_output_close(&out, code);
    }
    close_pages(&p);
    return code;
}

/* ------------------------------------------------------------------ cache list */

typedef struct text {
    const char *name;
    uint64_t n_tokens, n_bytes;
    int64_t used_ns;
    size_t n_pages;
    bool complete;
} text;

/* A text is a page that none follows, and those before it. */
static text measure_text(const pages *p, size_t last) {
    text t = {
        .name = p->file[last].entry.name + NAME_AT, .used_ns = p->file[last].entry.used_ns, .complete = true};
    for (size_t i = last; i != SIZE_MAX && t.n_pages <= p->n; i = p->file[i].before) {
        t.n_tokens += p->file[i].n_tokens;
        t.n_bytes += p->file[i].entry.n_bytes;
        t.n_pages++;
        t.complete = p->file[i].whole && (p->file[i].first || p->file[i].before != SIZE_MAX) && t.complete;
    }
    return t;
}

static int newest_first(const void *a, const void *b) {
    const text *x = a, *y = b;
    return (y->used_ns > x->used_ns) - (y->used_ns < x->used_ns);
}

static void print_text(nct_output *out, const text *t, bool json) {
    time_t when = (time_t)(t->used_ns / 1000000000);
    struct tm day;
    char date[32];
    localtime_r(&when, &day);
    strftime(date, sizeof date, json ? "%Y-%m-%dT%H:%M:%S%z" : "%Y-%m-%d %H:%M", &day);
    if (json)
        nct_output_print(out,
                         "{\"name\":\"%.*s\",\"tokens\":%llu,\"bytes\":%llu,\"pages\":%zu,\"used\":\"%s\","
                         "\"complete\":%s}",
                         NAME_SHOWN, t->name, (unsigned long long)t->n_tokens, (unsigned long long)t->n_bytes,
                         t->n_pages, date, t->complete ? "true" : "false");
    else
        nct_output_print(out, "%.*s %10s %10s  %s%s\n", NAME_SHOWN, t->name, NCT_N(t->n_tokens),
                         NCT_BYTES(t->n_bytes), date, t->complete ? "" : "  (its beginning is gone)");
}

int nct_cache_list_main(nct_cli *cli) {
    pages p;
    nct_output out;
    void *list = NULL;
    nct_error err = {0};
    size_t n = 0;
    int code = open_pages(cli, &p);
    if (code == NCT_EXIT_OK && nct_alloc(&list, p.n, sizeof(text), &err) != NCT_OK)
        code = nct_say_status(cli, &err);
    text *t = list;
    for (size_t i = 0; code == NCT_EXIT_OK && i < p.n; i++)
        if (!p.file[i].followed)
            t[n++] = measure_text(&p, i);
    if (n)
        qsort(t, n, sizeof *t, newest_first);
    if (code == NCT_EXIT_OK && (code = nct_output_open(cli, NULL, &out)) == NCT_EXIT_OK) {
        bool json = cli->args.format == NCT_FORMAT_JSON;
        if (!as_json(cli) && n)
            nct_output_print(&out, "%-*s %10s %10s  %s\n", NAME_SHOWN, "name", "tokens", "size", "used");
        if (json)
            nct_output_write(&out, "[", 1);
        for (size_t i = 0; i < n; i++) {
            print_text(&out, &t[i], as_json(cli));
            if (as_json(cli))
                nct_output_print(&out, "%s", !json ? "\n" : i + 1 < n ? ",\n" : "");
        }
        if (json)
            nct_output_write(&out, "]\n", 2);
        code = nct_output_close(&out, code);
    }
    nct_free(list);
    close_pages(&p);
    return code;
}

/* ------------------------------------------------------------------ cache prune, cache rm */

int nct_cache_prune_main(nct_cli *cli) {
    pages p;
    nct_knobs knobs;
    int code = nct_take_knobs(cli, &knobs);
    if (code != NCT_EXIT_OK)
        return code;
    code = open_pages(cli, &p);
    if (code == NCT_EXIT_OK && p.folder.path) {
        uint64_t left = 0,
                 most = knobs.cache_max ? (uint64_t)knobs.cache_max : nct_folder_default_max(&p.folder, p.n_bytes);
        nct_folder_sweep(&p.folder);
        nct_folder_make_room(&p.folder, 0, most, INT64_MAX, &left);
        nct_say_note(cli, "%s kept, %s removed", NCT_BYTES(left),
                     NCT_BYTES(p.n_bytes > left ? p.n_bytes - left : 0));
    }
    close_pages(&p);
    return code;
}

/* Removes the text that ends in page `last`: that page, and those before it which nothing else needs. */
static void remove_text(pages *p, size_t last) {
    for (size_t i = last; i != SIZE_MAX;) {
        size_t before = p->file[i].before;
        nct_folder_remove(&p->folder, p->file[i].entry.name);
        p->file[i].whole = false;
        p->file[i].before = SIZE_MAX;
        bool needed = false;
        for (size_t j = 0; j < p->n && before != SIZE_MAX; j++)
            needed = needed || p->file[j].before == before;
        i = needed ? SIZE_MAX : before;
    }
}

static int remove_named(pages *p, const char *name) {
    size_t found = SIZE_MAX, n = 0, length = strlen(name);
    for (size_t i = 0; i < p->n && length; i++)
        if (!p->file[i].followed && strncmp(p->file[i].entry.name + NAME_AT, name, length) == 0) {
            found = i;
            n++;
        }
    if (n == 1) {
        remove_text(p, found);
        return NCT_EXIT_OK;
    }
    return nct_say_error(p->cli, NCT_EXIT_USAGE, "%s '%.80s'\ntry: noctule cache list",
                         n ? "several texts are named" : "no text is named", name);
}

int nct_cache_rm_main(nct_cli *cli) {
    const nct_args *a = &cli->args;
    pages p;
    nct_error err = {0};
    uint64_t removed = 0;
    if (a->all == (a->words.n > 0))
        return nct_say_error(cli, NCT_EXIT_USAGE, "cache rm wants names, or --all\ntry: noctule cache list");
    int code = open_pages(cli, &p);
    for (size_t i = 0; i < a->words.n && code == NCT_EXIT_OK; i++)
        code = remove_named(&p, a->words.item[i]);
    if (code == NCT_EXIT_OK && a->all && p.folder.path) {
        if (nct_folder_clear(&p.folder, &removed, &err) != NCT_OK)
            code = nct_say_status(cli, &err);
        else
            nct_say_note(cli, "%s removed", NCT_BYTES(removed));
    }
    if (code == NCT_EXIT_OK && a->all && !nct_sum_forget())
        code = nct_say_error(cli, NCT_EXIT_FAILURE, "what noctule sum kept cannot be removed");
    close_pages(&p);
    return code;
}
