#define _GNU_SOURCE
#include "store/store.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/checksum.h"
#include "base/pages.h"

enum {
    AT_ONCE = 64,       /* files opened together */
    WORTH_TAKING = 16,  /* tokens that a part of a page must add */
    WORTH_KEEPING = 64, /* tokens of an unfinished page that no file holds yet */
    TOKENS_ASKING = 2,  /* for which blocks are asked for after something was read from the disk */
};
#define DISK_BYTES_S 5e8 /* what is computed faster than it is written is not kept */

typedef enum page_state {
    MEMORY, /* nobody's file */
    OWN,    /* mapped from a temporary file, written to */
    WHOLE,  /* mapped from a file with a name, which is not written to */
} page_state;

typedef struct page {
    page_state state;
    bool kept;      /* in memory: no use in trying to keep it (again) */
    int fd;         /* OWN: -1 once it is without a name for good */
    double seconds; /* that computing it took */
    char temp[NCT_FOLDER_NAME];
} page;

struct nct_store {
    nct_store_options o;
    char *path;
    nct_cache *cache;
    nct_pool *pool;
    nct_folder folder;
    page *page;     /* [cache->n_pages] */
    nct_link *link; /* [cache->n_pages + 1]: before each page */
    size_t n_links; /* that are known */
    bool distrust;  /* a file was damaged: what lies there of this text is written anew */
    bool given_up;  /* the disk refused */
    double seconds; /* of computing prompts */
    uint64_t n_computed;
    uint64_t folder_bytes, max_bytes; /* once something is kept */
    bool measured;
    int64_t opened_ns;
    uint64_t n_reads; /* as the system counts them, when last looked at .. */
    size_t asking;    /* .. and for how many layers more blocks are asked for */
    nct_store_counts counts;
};

static int64_t wall_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void tell(const nct_store *s, nct_notice notice, const char *text) {
    if (s->o.notice)
        s->o.notice(s->o.context, notice, text);
}

static uint8_t *page_data(const nct_store *s, size_t p) { return s->cache->pages + p * s->cache->page_bytes; }

/* ------------------------------------------------------------------ the folder */

/* Opens the folder if it is there, or makes it. False if it is not. */
static bool open_folder(nct_store *s, bool make, nct_error *err) {
    if (nct_folder_is_open(&s->folder))
        return true;
    if (nct_folder_open(s->path, make, &s->folder, err) != NCT_OK)
        return false;
    if (s->o.write)
        nct_folder_sweep(&s->folder);
    return true;
}

/* In memory the disk's refusal costs nothing but the file. */
static void give_up(nct_store *s, const nct_error *err) {
    char text[sizeof err->text + 64];
    s->given_up = true;
    snprintf(text, sizeof text, "%s; going on without", err->text);
    tell(s, NCT_NOTICE_WARNING, text);
}

/* ------------------------------------------------------------------ names */

/* The link before page p of these tokens; those before it are full. */
static const nct_link *link_before(nct_store *s, size_t p, const int32_t *ids) {
    for (; s->n_links <= p; s->n_links++)
        s->link[s->n_links] =
            nct_link_next(&s->link[s->n_links - 1], ids + (s->n_links - 1) * NCT_PAGE, NCT_PAGE);
    return &s->link[p];
}

static void forget_links(nct_store *s, size_t length) {
    if (s->n_links > length / NCT_PAGE + 1)
        s->n_links = length / NCT_PAGE + 1;
}

/* ------------------------------------------------------------------ checksums */

struct summing {
    const nct_store *s;
    size_t p, n;
    uint64_t sum[NCT_CACHE_SECTIONS];
};

static uint64_t section_sum(const nct_cache *c, const uint8_t *data, size_t section, size_t n) {
    nct_cache_section part = nct_cache_section_of(c, section, n);
    uint64_t sum = 0;
    for (size_t i = 0; i < part.n_pieces; i++)
        sum = nct_checksum(data + part.off + i * part.piece_bytes, part.used, sum);
    return sum;
}

static void sum_section(void *context, int task, int worker) {
    (void)worker;
    struct summing *k = context;
    k->sum[task] = section_sum(k->s->cache, page_data(k->s, k->p), (size_t)task, k->n);
}

/* What is in memory of page p, of which n positions are held. */
static nct_record describe(nct_store *s, size_t p, size_t n, const int32_t *ids) {
    const nct_cache *c = s->cache;
    nct_record r = {.n_positions = NCT_PAGE,
                    .n_tokens = (uint32_t)n,
                    .payload_bytes = c->page_bytes,
                    .ids_checksum = nct_ids_checksum(ids + p * NCT_PAGE, n),
                    .seconds = s->page[p].seconds,
                    .identity = s->o.identity,
                    .before = *link_before(s, p, ids)};
    r.name = nct_link_next(&r.before, ids + p * NCT_PAGE, n);
    struct summing k = {.s = s, .p = p, .n = n};
    nct_pool_run(s->pool, NCT_CACHE_SECTIONS, sum_section, &k);
    for (size_t i = 0; i < NCT_CACHE_SECTIONS; i++) {
        nct_cache_section part = nct_cache_section_of(c, i, n);
        r.section_bytes[i] = part.n_pieces * part.piece_bytes;
        r.checksum[i] = part.n_pieces ? k.sum[i] : 0;
    }
    return r;
}

/* ------------------------------------------------------------------ reading */

static bool read_at(int fd, void *data, size_t n, uint64_t off) {
    for (uint8_t *at = data; n;) {
        ssize_t got = pread(fd, at, n, (off_t)off);
        if (got <= 0 && !(got < 0 && errno == EINTR))
            return false;
        if (got > 0) {
            at += got;
            off += (uint64_t)got;
            n -= (size_t)got;
        }
    }
    return true;
}

/* A file that is not what it should be: said, and out of the way. */
static void refuse(nct_store *s, const char *name, const char *why) {
    char text[1024];
    snprintf(text, sizeof text, "%.512s/%s: damaged, and not used: %.160s", s->path, name, why);
    tell(s, NCT_NOTICE_WARNING, text);
    s->distrust = true;
    if (s->o.write)
        nct_folder_remove(&s->folder, name);
}

/* A file that is a candidate for page p. */
struct found {
    int fd;
    nct_record record;
    char name[NCT_FOLDER_NAME];
};

/* Reads the record, and the ids [record.n_tokens]. False if it is damaged (told), foreign (not told) or gone; f->fd is
 * open only if true. */
static bool open_file(nct_store *s, const nct_link *before, struct found *f, int32_t ids[NCT_PAGE]) {
    uint8_t bytes[NCT_RECORD_BYTES];
    struct stat st;
    nct_error err;
    f->fd = nct_folder_read(&s->folder, f->name);
    if (f->fd < 0)
        return false;
    const char *damage = NULL;
    bool good = false;
    nct_status status = NCT_OK;
    if (fstat(f->fd, &st) != 0 || st.st_size < NCT_RECORD_BYTES ||
        !read_at(f->fd, bytes, sizeof bytes, (uint64_t)st.st_size - NCT_RECORD_BYTES))
        damage = "it is too short";
    else if ((status = nct_record_read(bytes, (uint64_t)st.st_size, &f->record, &err)) == NCT_E_FORMAT)
        damage = err.text;
    if (!damage && status == NCT_OK) {
        const nct_record *r = &f->record;
        good = nct_link_equal(&r->identity, &s->o.identity) && nct_link_equal(&r->before, before) &&
               r->n_positions == NCT_PAGE && r->payload_bytes == s->cache->page_bytes;
        for (size_t i = 0; i < NCT_CACHE_SECTIONS && good; i++) {
            nct_cache_section part = nct_cache_section_of(s->cache, i, r->n_tokens);
            good = r->section_bytes[i] == part.n_pieces * part.piece_bytes;
        }
        if (good) {
            if (!read_at(f->fd, ids, r->n_tokens * sizeof *ids, nct_record_ids_off(r)) ||
                nct_ids_checksum(ids, r->n_tokens) != r->ids_checksum)
                damage = "its tokens are not those that were written";
            else {
                nct_link name = nct_link_next(before, ids, r->n_tokens);
                good = nct_link_equal(&name, &r->name);
            }
        }
    }
    if (damage)
        refuse(s, f->name, damage);
    if (damage || !good) {
        close(f->fd);
        f->fd = -1;
        return false;
    }
    return true;
}

struct loading {
    const nct_store *s;
    size_t first; /* page of found[0] */
    bool mapped;  /* what the sums are taken of lies in place already */
    struct found *found;
    bool *sound; /* [pages][sections] */
};

/* Reads a section of a page to its place, unless it is mapped, and compares its checksum. */
static void load_section(void *context, int task, int worker) {
    (void)worker;
    struct loading *k = context;
    const nct_cache *c = k->s->cache;
    size_t i = (size_t)task / NCT_CACHE_SECTIONS, section = (size_t)task % NCT_CACHE_SECTIONS;
    const struct found *f = &k->found[i];
    nct_cache_section part = nct_cache_section_of(c, section, f->record.n_tokens);
    uint8_t *data = page_data(k->s, k->first + i) + part.off;
    uint64_t sum = 0;
    bool good = true;
    for (size_t piece = 0; piece < part.n_pieces && good; piece++) {
        size_t off = piece * part.piece_bytes;
        if (!k->mapped)
            good = read_at(f->fd, data + off, part.used, part.off + off);
        if (good)
            sum = nct_checksum(data + off, part.used, sum);
    }
    k->sound[task] = good && sum == f->record.checksum[section];
}

/* Pages that are sound, of n that were put in order. */
static size_t load(nct_store *s, size_t first, struct found *found, size_t n, bool mapped) {
    bool sound[AT_ONCE * NCT_CACHE_SECTIONS];
    struct loading k = {s, first, mapped, found, sound};
    nct_pool_run(s->pool, (int)(n * NCT_CACHE_SECTIONS), load_section, &k);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < NCT_CACHE_SECTIONS; j++)
            if (!sound[i * NCT_CACHE_SECTIONS + j])
                return i;
    return n;
}

/* A page that was taken is of use. */
static void touch(int fd) {
    int64_t ns = wall_ns(); /* the system's own stamp is coarser, and may lie before opened_ns */
    struct timespec when = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    futimens(fd, (struct timespec[2]){when, when});
}

/* ------------------------------------------------------------------ writing */

static bool write_at(int fd, const void *data, size_t n, uint64_t off) {
    for (const uint8_t *at = data; n;) {
        ssize_t put = pwrite(fd, at, n, (off_t)off);
        if (put <= 0 && !(put < 0 && errno == EINTR))
            return false;
        if (put > 0) {
            at += put;
            off += (uint64_t)put;
            n -= (size_t)put;
        }
    }
    return true;
}

/* The first n positions of page p as the payload of a file. */
static bool write_payload(const nct_store *s, int fd, size_t p, size_t n) {
    const uint8_t *data = page_data(s, p);
    for (size_t i = 0; i < NCT_CACHE_SECTIONS; i++) {
        nct_cache_section part = nct_cache_section_of(s->cache, i, n);
        bool all = part.used == part.piece_bytes;
        size_t pieces = all ? 1 : part.n_pieces, bytes = all ? part.n_pieces * part.piece_bytes : part.used;
        for (size_t j = 0; j < pieces; j++) {
            size_t off = part.off + j * part.piece_bytes;
            if (!write_at(fd, data + off, bytes, off))
                return false;
        }
    }
    return true;
}

/* What stands behind the payload of page p: its ids, and the record that vouches for all. */
static bool write_record(int fd, size_t p, const nct_record *r, const int32_t *ids) {
    uint8_t bytes[NCT_RECORD_BYTES];
    nct_record_write(r, bytes);
    return write_at(fd, ids + p * NCT_PAGE, r->n_tokens * sizeof *ids, nct_record_ids_off(r)) &&
           write_at(fd, bytes, sizeof bytes, nct_record_off(r));
}

static nct_status cannot_write(const nct_store *s, nct_error *err) {
    return nct_fail(err, NCT_E_IO, "%s: a page of the cache cannot be written: %s", s->path, strerror(errno));
}

/* ------------------------------------------------------------------ mapped pages */

static void drop_own(nct_store *s, size_t p) {
    page *at = &s->page[p];
    if (at->state == OWN && at->fd >= 0) {
        nct_folder_remove(&s->folder, at->temp);
        close(at->fd);
    }
    at->fd = -1;
}

/* A new file in the place of page p, with the first n positions of what is there. */
static nct_status make_own(nct_store *s, size_t p, size_t n, nct_error *err) {
    const nct_cache *c = s->cache;
    char temp[NCT_FOLDER_NAME];
    int fd;
    nct_record shape = {.n_positions = NCT_PAGE, .payload_bytes = c->page_bytes};
    if (!open_folder(s, true, err))
        return NCT_E_IO;
    NCT_TRY(nct_folder_temp(&s->folder, nct_record_file_bytes(&shape), true, temp, &fd, err));
    nct_status status = NCT_OK;
    if (n && !write_payload(s, fd, p, n))
        status = cannot_write(s, err);
    if (status == NCT_OK)
        status = nct_pages_map(c->pages, p * c->page_bytes, c->page_bytes, fd, true, err);
    if (status != NCT_OK || !s->o.write)
        nct_folder_remove(&s->folder, temp);
    if (status != NCT_OK) {
        close(fd);
        return status;
    }
    page *at = &s->page[p];
    at->state = OWN;
    at->fd = fd;
    at->seconds = 0;
    memcpy(at->temp, temp, sizeof temp);
    return NCT_OK;
}

static nct_status provide(void *context, size_t p, nct_error *err) { return make_own(context, p, 0, err); }

/* Asking for what is in memory already costs a call to the system for every block, looking whether it is there as much.
 * But whoever has nothing read for some tokens has all in memory. */
static bool away(void *context) {
    nct_store *s = context;
    uint64_t n_reads = nct_pages_reads();
    if (n_reads != s->n_reads)
        s->asking = TOKENS_ASKING * s->cache->n_layers;
    s->n_reads = n_reads;
    s->asking -= s->asking > 0;
    return s->asking > 0;
}

/* What of a file is written: the rest of an unfinished page is a hole. */
static uint64_t count_written(const nct_store *s, const nct_record *r) {
    uint64_t n = nct_record_file_bytes(r) - r->payload_bytes;
    for (size_t i = 0; i < NCT_CACHE_SECTIONS; i++) {
        nct_cache_section part = nct_cache_section_of(s->cache, i, r->n_tokens);
        n += part.n_pieces * part.used;
    }
    return n;
}

/* A full page goes to the disk, takes its name, and is only read from now on. */
static nct_status finish_own(nct_store *s, size_t p, size_t n, const int32_t *ids, nct_error *err) {
    page *at = &s->page[p];
    const nct_cache *c = s->cache;
    nct_status status = NCT_OK;
    if (!s->o.write) {
        if (fdatasync(at->fd) != 0)
            status = cannot_write(s, err);
    } else {
        nct_record r = describe(s, p, n, ids);
        char name[NCT_FOLDER_NAME];
        nct_folder_page_name(&r.before, &r.name, name);
        if (!write_record(at->fd, p, &r, ids))
            status = cannot_write(s, err);
        else
            status = nct_folder_publish(&s->folder, at->fd, at->temp, name, err);
        if (status == NCT_OK && n == NCT_PAGE)
            status = nct_pages_map(c->pages, p * c->page_bytes, c->page_bytes, at->fd, false, err);
        if (status != NCT_OK)
            return status;
        s->counts.written_bytes += count_written(s, &r);
        at->state = WHOLE;
    }
    if (status == NCT_OK) {
        /* not before: while it fills the system may as well make it of large pages */
        nct_pages_scattered(c->pages, p * c->page_bytes, c->page_bytes);
        close(at->fd);
        at->fd = -1;
    }
    return status;
}

nct_status nct_store_prepare(nct_store *s, size_t first, size_t n, nct_error *err) {
    for (size_t p = first / NCT_PAGE; s->o.mapped && p * NCT_PAGE < first + n && p < s->cache->n_committed;
         p++)
        if (s->page[p].state == WHOLE) {
            double seconds = s->page[p].seconds;
            NCT_TRY(make_own(s, p, first > p * NCT_PAGE ? first - p * NCT_PAGE : 0, err));
            s->page[p].seconds = first > p * NCT_PAGE ? seconds : 0;
        }
    return NCT_OK;
}

/* ------------------------------------------------------------------ taking */

/* Files for pages from `first` on, one after another, at most `most`. */
static size_t find_pages(nct_store *s, size_t first, size_t most, const int32_t *ids, struct found *found) {
    int32_t held[NCT_PAGE];
    size_t n = 0;
    for (; n < most; n++) {
        const nct_link before = *link_before(s, first + n, ids), *after = link_before(s, first + n + 1, ids);
        nct_folder_page_name(&before, after, found[n].name);
        if (!open_file(s, &before, &found[n], held))
            break;
        if (found[n].record.n_tokens != NCT_PAGE || memcmp(held, ids + (first + n) * NCT_PAGE, sizeof held) !=
                                                        0) { /* under a name that is not its own */
            close(found[n].fd);
            break;
        }
    }
    return n;
}

/* Puts the files in the places of their pages. *n: how many could be. */
static nct_status map_pages(nct_store *s, size_t first, struct found *found, size_t *n, nct_error *err) {
    nct_cache *c = s->cache;
    for (size_t i = 0; i < *n; i++) {
        size_t p = first + i;
        nct_status status =
            nct_pages_map(c->pages, p * c->page_bytes, c->page_bytes, found[i].fd, false, err);
        if (status != NCT_OK) {
            *n = i;
            return i ? NCT_OK : status;
        }
        drop_own(s, p);
        s->page[p].state = WHOLE;
        if (c->n_committed <= p)
            c->n_committed = p + 1;
    }
    return NCT_OK;
}

/* A page that turned out damaged after it was mapped. */
static void unmap_page(nct_store *s, size_t p) {
    nct_cache *c = s->cache;
    nct_pages_unmap(c->pages, p * c->page_bytes, c->page_bytes);
    s->page[p] = (page){.fd = -1};
    if (c->n_committed > p)
        c->n_committed = p;
}

static void count_taken(nct_store *s, size_t n, const nct_record *r) {
    s->counts.n_taken += n;
    s->counts.saved_s += r->seconds * (double)n / r->n_tokens;
}

/* Whole pages from `first` on. *taken: how many. */
static nct_status take_pages(nct_store *s, size_t first, size_t most, const int32_t *ids, size_t *taken,
                             nct_error *err) {
    struct found found[AT_ONCE];
    nct_cache *c = s->cache;
    nct_status status = NCT_OK;
    size_t done = 0;
    for (bool more = true; more && done < most && status == NCT_OK;) {
        size_t want = most - done < AT_ONCE ? most - done : AT_ONCE, p = first + done;
        size_t n = find_pages(s, p, want, ids, found), open = n, good = 0;
        more = n == want;
        if (n)
            status =
                s->o.mapped ? map_pages(s, p, found, &n, err) : nct_cache_reserve(c, (p + n) * NCT_PAGE, err);
        if (n && status == NCT_OK && !s->o.mapped)
            nct_pages_expect(c->pages, p * c->page_bytes, n * c->page_bytes);
        if (n && status == NCT_OK)
            good = load(s, p, found, n, s->o.mapped);
        if (s->o.mapped) /* but for that, which reads all of them */
            nct_pages_scattered(c->pages, p * c->page_bytes, good * c->page_bytes);
        for (size_t i = 0; i < open; i++) {
            if (i < good) {
                touch(found[i].fd);
                s->page[p + i].kept = true;
                s->page[p + i].seconds = found[i].record.seconds;
                size_t held = c->length > (p + i) * NCT_PAGE ? c->length - (p + i) * NCT_PAGE : 0;
                count_taken(s, NCT_PAGE - held, &found[i].record);
            }
            close(found[i].fd);
        }
        if (status == NCT_OK && good < n) {
            more = false;
            refuse(s, found[good].name, "its contents are not those that were written");
            for (size_t i = n; i-- > good;) {
                if (s->o.mapped)
                    unmap_page(s, p + i);
                else
                    memset(page_data(s, p + i), 0, c->page_bytes); /* lanes nobody sees hold finite values */
                if (c->length > (p + i) * NCT_PAGE)                /* what was there was read over */
                    c->length = (p + i) * NCT_PAGE;
            }
        }
        done += good;
    }
    *taken = done;
    return status;
}

static size_t agreeing(const int32_t *a, const int32_t *b, size_t n) {
    size_t same = 0;
    while (same < n && a[same] == b[same])
        same++;
    return same;
}

/* How many of ids [n] the file that agrees with most of them after `before` holds; best->fd is open if there is one.
 * tidy: files that hold nothing but a beginning of ids are removed. */
static size_t find_part(nct_store *s, const nct_link *before, const int32_t *ids, size_t n,
                        struct found *best, bool tidy) {
    nct_entry *entry = NULL;
    size_t n_entries = 0, most = 0;
    int32_t held[NCT_PAGE];
    best->fd = -1;
    if (nct_folder_list(&s->folder, &entry, &n_entries, NULL) != NCT_OK)
        return 0;
    for (size_t i = 0; i < n_entries; i++) {
        struct found f;
        if (entry[i].kind != NCT_ENTRY_PAGE || !nct_folder_follows(entry[i].name, before))
            continue;
        memcpy(f.name, entry[i].name, sizeof f.name);
        if (!open_file(s, before, &f, held))
            continue;
        size_t same = agreeing(held, ids, f.record.n_tokens < n ? f.record.n_tokens : n);
        if (tidy && same == f.record.n_tokens && same < n)
            nct_folder_remove(&s->folder, f.name);
        if (same > most) {
            if (best->fd >= 0)
                close(best->fd);
            *best = f;
            most = same;
        } else {
            close(f.fd);
        }
    }
    nct_free(entry);
    return most;
}

/* The beginning of page p from a file that agrees with it, if that adds to what is held. */
static nct_status take_part(nct_store *s, const int32_t *ids, size_t n, nct_error *err) {
    nct_cache *c = s->cache;
    size_t p = c->length / NCT_PAGE, first = p * NCT_PAGE, held = c->length - first;
    size_t want = n - first < NCT_PAGE ? n - first : NCT_PAGE;
    struct found f;
    if (want < held + WORTH_TAKING)
        return NCT_OK;
    size_t same = find_part(s, link_before(s, p, ids), ids + first, want, &f, false);
    if (same < held + WORTH_TAKING) {
        if (f.fd >= 0)
            close(f.fd);
        return NCT_OK;
    }
    nct_status status = nct_store_prepare(s, c->length, 1, err);
    if (status == NCT_OK)
        status = nct_cache_reserve(c, first + same, err);
    if (status == NCT_OK) {
        if (load(s, p, &f, 1, false) == 1) {
            c->length = first + same;
            s->page[p].seconds = f.record.seconds * (double)same / f.record.n_tokens;
            s->page[p].kept = false;
            count_taken(s, same - held, &f.record);
            touch(f.fd);
        } else {
            c->length = first; /* what was there was read over */
            memset(page_data(s, p), 0, c->page_bytes);
            refuse(s, f.name, "its contents are not those that were written");
        }
    }
    close(f.fd);
    return status;
}

nct_status nct_store_take(nct_store *s, const int32_t *ids, size_t n, size_t most, nct_error *err) {
    nct_cache *c = s->cache;
    size_t first = c->length / NCT_PAGE, pages = n / NCT_PAGE, taken = 0;
    if (!s->o.read || n <= c->length || !open_folder(s, false, NULL))
        return NCT_OK;
    forget_links(s, c->length);
    if (pages > first)
        NCT_TRY(take_pages(s, first, pages - first, ids, &taken, err));
    if (taken)
        c->length = (first + taken) * NCT_PAGE;
    forget_links(s, c->length);
    if (c->length < n)
        NCT_TRY(take_part(s, ids, n, err));
    if (c->length > most)
        c->length = most;
    forget_links(s, c->length);
    return NCT_OK;
}

/* ------------------------------------------------------------------ keeping */

/* Room for another file, by removing what was used least. */
static bool make_room(nct_store *s, uint64_t bytes) {
    if (!s->measured) {
        uint64_t all = 0;
        nct_folder_make_room(&s->folder, 0, UINT64_MAX, 0, &all);
        s->max_bytes = s->o.max_bytes ? s->o.max_bytes : nct_folder_default_max(&s->folder, all);
        s->folder_bytes = all;
        s->measured = true;
    }
    if (s->folder_bytes + bytes <= s->max_bytes)
        return true;
    return nct_folder_make_room(&s->folder, bytes, s->max_bytes, s->opened_ns, &s->folder_bytes);
}

static bool begin_keeping(nct_store *s, nct_error *err) {
    if (!open_folder(s, true, err))
        return false;
    if (s->folder.made) {
        s->folder.made = false;
        tell(s, NCT_NOTICE_FIRST, s->path);
    }
    return true;
}

/* Writes n positions of page p to a file and gives it its name. */
static nct_status write_page(nct_store *s, size_t p, const nct_record *r, const char *name,
                             const int32_t *ids, nct_error *err) {
    char temp[NCT_FOLDER_NAME];
    int fd;
    NCT_TRY(nct_folder_temp(&s->folder, nct_record_file_bytes(r), false, temp, &fd, err));
    nct_status status = NCT_OK;
    if (!write_payload(s, fd, p, r->n_tokens) || !write_record(fd, p, r, ids))
        status = cannot_write(s, err);
    touch(fd);
    if (status == NCT_OK)
        status = nct_folder_publish(&s->folder, fd, temp, name, err);
    if (status != NCT_OK)
        nct_folder_remove(&s->folder, temp);
    close(fd);
    return status;
}

/* Keeps n positions of page p, unless a file of that name is there or computing them again is as quick as reading. */
static void keep_page(nct_store *s, size_t p, size_t n, const int32_t *ids) {
    nct_error err = {0};
    char name[NCT_FOLDER_NAME];
    const nct_link before = *link_before(s, p, ids), after = nct_link_next(&before, ids + p * NCT_PAGE, n);
    s->page[p].kept = n == NCT_PAGE;
    if (s->o.min_seconds > 0 && s->page[p].seconds < (double)s->cache->page_bytes / DISK_BYTES_S)
        return;
    if (!begin_keeping(s, &err)) {
        give_up(s, &err);
        return;
    }
    nct_folder_page_name(&before, &after, name);
    int there = s->distrust ? -1 : nct_folder_read(&s->folder, name);
    if (there >= 0) {
        touch(there);
        close(there);
        return;
    }
    nct_record r = describe(s, p, n, ids);
    uint64_t bytes = nct_record_file_bytes(&r);
    if (!make_room(s, bytes))
        return;
    if (write_page(s, p, &r, name, ids, &err) != NCT_OK) {
        give_up(s, &err);
        return;
    }
    s->folder_bytes += bytes;
    s->counts.written_bytes += count_written(s, &r);
}

static bool has_paid(const nct_store *s) {
    return s->o.write && !s->o.mapped && !s->given_up && s->seconds >= s->o.min_seconds &&
           s->cache->length >= s->o.min_tokens;
}

static void keep_pages(nct_store *s, size_t n, const int32_t *ids) {
    for (size_t p = 0; p < n / NCT_PAGE && !s->given_up; p++)
        if (!s->page[p].kept)
            keep_page(s, p, NCT_PAGE, ids);
}

/* True if no file holds nearly as much of an unfinished page. */
static bool is_news(nct_store *s, size_t p, size_t n, const int32_t *ids) {
    struct found f;
    if (n < WORTH_TAKING)
        return false;
    if (s->distrust || !open_folder(s, false, NULL))
        return true;
    size_t same = find_part(s, link_before(s, p, ids), ids + p * NCT_PAGE, n, &f, false);
    if (f.fd >= 0)
        close(f.fd);
    return same == 0 || n - same >= (n / 8 > WORTH_KEEPING ? n / 8 : WORTH_KEEPING);
}

/* Files that hold nothing but a beginning of what is kept now. */
static void tidy(nct_store *s, size_t p, size_t n, const int32_t *ids) {
    struct found f;
    find_part(s, link_before(s, p, ids), ids + p * NCT_PAGE, n, &f, true);
    if (f.fd >= 0)
        close(f.fd);
}

void nct_store_keep(nct_store *s, const int32_t *ids, size_t n) {
    size_t p = n / NCT_PAGE, rest = n % NCT_PAGE;
    assert(n <= s->cache->length);
    if (!has_paid(s))
        return;
    keep_pages(s, n, ids);
    if (!rest || s->given_up || s->page[p].kept || !is_news(s, p, rest, ids))
        return;
    keep_page(s, p, rest, ids);
    if (!s->given_up)
        tidy(s, p, rest, ids);
}

nct_status nct_store_grown(nct_store *s, const int32_t *ids, size_t n, double seconds, bool prompt,
                           nct_error *err) {
    const nct_cache *c = s->cache;
    size_t first = c->length - n;
    for (size_t p = first / NCT_PAGE; p * NCT_PAGE < c->length; p++) {
        size_t from = p * NCT_PAGE > first ? p * NCT_PAGE : first, to = (p + 1) * NCT_PAGE;
        to = to < c->length ? to : c->length;
        s->page[p].seconds += seconds * (double)(to - from) / (double)n;
        if (!s->o.mapped)
            s->page[p].kept = false;
    }
    if (prompt) {
        s->seconds += seconds;
        s->n_computed += n;
    }
    if (s->o.mapped) {
        for (size_t p = first / NCT_PAGE; (p + 1) * NCT_PAGE <= c->length; p++)
            if (s->page[p].state == OWN && s->page[p].fd >= 0)
                NCT_TRY(finish_own(s, p, NCT_PAGE, ids, err));
    } else if (prompt && !s->o.when_asked && has_paid(s)) {
        keep_pages(s, c->length, ids);
    }
    return NCT_OK;
}

void nct_store_cut(nct_store *s) {
    size_t length = s->cache->length;
    forget_links(s, length);
    for (size_t p = length / NCT_PAGE; p < s->cache->n_committed; p++) {
        size_t held = length > p * NCT_PAGE ? length - p * NCT_PAGE : 0;
        s->page[p].seconds *= (double)held / NCT_PAGE; /* about */
        s->page[p].kept = false;
    }
}

void nct_store_begin(nct_store *s) { s->seconds = 0; }

void nct_store_count(const nct_store *s, nct_store_counts *counts) {
    *counts = s->counts;
    for (size_t p = 0; p < s->cache->n_committed; p++)
        counts->mapped_bytes += s->page[p].state == MEMORY ? 0 : s->cache->page_bytes;
    if (counts->mapped_bytes)
        counts->dirty_bytes = nct_pages_dirty(s->cache->pages, nct_cache_bytes(s->cache));
}

/* ------------------------------------------------------------------ opening */

nct_status nct_store_open(const nct_store_options *o, nct_cache *cache, nct_pool *pool, nct_store **store,
                          nct_error *err) {
    void *p = NULL;
    assert(cache->length == 0 && cache->n_committed == 0);
    NCT_TRY(nct_alloc(&p, 1, sizeof(nct_store), err));
    nct_store *s = p;
    *s = (nct_store){.o = *o, .cache = cache, .pool = pool, .n_links = 1, .opened_ns = wall_ns()};
    nct_status status = nct_copy_string(&s->path, o->folder, strlen(o->folder), err);
    if (status == NCT_OK && (status = nct_alloc(&p, cache->n_pages, sizeof *s->page, err)) == NCT_OK)
        s->page = p;
    if (status == NCT_OK && (status = nct_alloc(&p, cache->n_pages + 1, sizeof *s->link, err)) == NCT_OK) {
        s->link = p;
        s->link[0] = o->identity;
    }
    if (status == NCT_OK && o->mapped && !open_folder(s, true, err))
        status = NCT_E_IO;
    if (status != NCT_OK) {
        nct_store_close(s, NULL);
        return status;
    }
    for (size_t i = 0; i < cache->n_pages; i++)
        s->page[i].fd = -1;
    if (o->mapped)
        cache->backing = (nct_cache_backing){provide, away, s};
    *store = s;
    return NCT_OK;
}

/* The end of what is held, where it is no full page. */
static void finish_tail(nct_store *s, const int32_t *ids) {
    nct_error err = {0};
    size_t p = s->cache->length / NCT_PAGE, n = s->cache->length % NCT_PAGE;
    if (!n || s->page[p].state != OWN || s->page[p].fd < 0 || !is_news(s, p, n, ids))
        return;
    if (finish_own(s, p, n, ids, &err) != NCT_OK)
        tell(s, NCT_NOTICE_WARNING, err.text);
    else
        tidy(s, p, n, ids);
}

static void note(const nct_store *s) {
    char line[160];
    if (!nct_folder_is_open(&s->folder) || !s->o.write ||
        (!s->counts.n_taken && !s->counts.written_bytes && s->n_computed < s->o.min_tokens))
        return;
    snprintf(line, sizeof line, "%lld taken %llu computed %llu wrote %llu saved %.1f\n",
             (long long)(wall_ns() / 1000000000), (unsigned long long)s->counts.n_taken,
             (unsigned long long)s->n_computed, (unsigned long long)s->counts.written_bytes,
             s->counts.saved_s);
    nct_folder_note(&s->folder, line);
}

void nct_store_close(nct_store *s, const int32_t *ids) {
    if (!s)
        return;
    if (s->o.mapped && s->o.write && ids && s->page)
        finish_tail(s, ids);
    for (size_t i = 0; s->link && s->page && i < s->cache->n_pages; i++)
        drop_own(s, i);
    note(s);
    if (s->o.mapped)
        s->cache->backing = (nct_cache_backing){0};
    nct_folder_close(&s->folder);
    nct_free(s->page);
    nct_free(s->link);
    nct_free(s->path);
    nct_free(s);
}
