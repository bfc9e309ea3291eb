#include "spec/frspec.h"

#include <stdlib.h>

#include "base/map.h"
#include "format/torch.h"

/* Room for every vocabulary there may be, in any form. */
#define MAX_FILE_BYTES ((size_t)64 << 20)

/* ------------------------------------------------------------------ forms */

/* Decimal numbers between white space and commas, all of it in brackets or not. */
static nct_status read_text(const char *name, const uint8_t *file, size_t n, nct_ints *ids, nct_error *err) {
    size_t line = 1;
    for (size_t i = 0; i < n;) {
        uint8_t c = file[i];
        bool digit = c >= '0' && c <= '9';
        if (!digit && c != ' ' && c != '\t' && c != '\r' && c != '\n' && c != ',' && c != '[' && c != ']')
            return nct_fail(err, NCT_E_FORMAT, "%s: line %zu holds byte 0x%02x, which is part of no id", name,
                            line, c);
        line += c == '\n';
        int64_t id = 0;
        for (; i < n && file[i] >= '0' && file[i] <= '9'; i++)
            id = id > INT32_MAX ? id : id * 10 + (file[i] - '0');
        if (digit)
            NCT_TRY(nct_ints_add(ids, id, err));
        else
            i++;
    }
    return NCT_OK;
}

static nct_status read_raw(const char *name, const uint8_t *file, size_t n, nct_ints *ids, nct_error *err) {
    if (n % 4)
        return nct_fail(err, NCT_E_FORMAT,
                        "%s: neither torch.save's form nor text, and its %zu bytes are no uint32 numbers",
                        name, n);
    for (size_t i = 0; i < n; i += 4)
        NCT_TRY(nct_ints_add(ids, nct_le32(file + i), err));
    return NCT_OK;
}

/* Of the forms only raw files of ids below 2^24 have a NUL as their fourth byte; their third is below 0x10 for every
   vocabulary there may be, where pickles have an operation. */
static nct_status read_form(const char *name, const uint8_t *file, size_t n, nct_ints *ids, nct_error *err) {
    if (n > MAX_FILE_BYTES)
        return nct_fail(err, NCT_E_UNSUPPORTED, "%s: %zu bytes are too many for a list of ids; at most %zu",
                        name, n, MAX_FILE_BYTES);
    if (nct_torch_probe(file, n))
        return nct_torch_read_ints(name, file, n, ids, err);
    size_t head = n < 8 ? n : 8;
    bool text = head == 0 || !memchr(file, 0, head);
    for (size_t i = 0; i < head; i++)
        text = text && file[i] < 127;
    return text ? read_text(name, file, n, ids, err) : read_raw(name, file, n, ids, err);
}

/* Ids in their order, without repeats. */
static nct_status check(const char *name, const nct_ints *l, size_t n_vocab, int32_t **ids, size_t *n,
                        nct_error *err) {
    if (l->n == 0)
        return nct_fail(err, NCT_E_FORMAT, "%s holds no ids", name);
    for (size_t i = 0; i < l->n; i++)
        if (l->item[i] < 0 || (uint64_t)l->item[i] >= n_vocab)
            return nct_fail(err, NCT_E_FORMAT, "%s: entry %zu is %lld, and the vocabulary has %zu tokens",
                            name, i + 1, (long long)l->item[i], n_vocab);
    void *seen = NULL, *out = NULL;
    NCT_TRY(nct_alloc(&seen, n_vocab, 1, err));
    nct_status status = nct_alloc(&out, l->n < n_vocab ? l->n : n_vocab, sizeof **ids, err);
    if (status == NCT_OK) {
        uint8_t *mark = seen;
        *ids = out;
        *n = 0;
        for (size_t i = 0; i < l->n; i++)
            if (!mark[l->item[i]]) {
                mark[l->item[i]] = 1;
                (*ids)[(*n)++] = (int32_t)l->item[i];
            }
    }
    nct_free(seen);
    return status;
}

nct_status nct_frspec_read(const char *name, const void *data, size_t n_bytes, size_t n_vocab, int32_t **ids,
                           size_t *n, nct_error *err) {
    nct_ints l = {0};
    nct_status status = read_form(name, data, n_bytes, &l, err);
    if (status == NCT_OK)
        status = check(name, &l, n_vocab, ids, n, err);
    nct_free(l.item);
    return status;
}

nct_status nct_frspec_open(const char *path, size_t n_vocab, int32_t **ids, size_t *n, nct_error *err) {
    nct_map map;
    NCT_TRY(nct_map_open(path, &map, err));
    nct_status status = nct_frspec_read(path, map.data, map.n_bytes, n_vocab, ids, n, err);
    nct_map_close(&map);
    return status;
}

/* ------------------------------------------------------------------ ranking */

typedef struct ranked {
    uint64_t count;
    int32_t id;
} ranked;

typedef struct ranking {
    const nct_frspec_counts *counts;
    size_t n_vocab; /* ids are below this */
    uint8_t *taken; /* [n_vocab] */
    ranked *seen;   /* [n_seen] */
    int32_t *ids;   /* [n_vocab] */
    size_t n_seen, n;
} ranking;

static int by_count(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void place(ranking *r, int32_t id) {
    if (id < 0 || (size_t)id >= r->n_vocab || r->taken[id])
        return;
    r->taken[id] = 1;
    r->ids[r->n++] = id;
}

static bool only_newlines(const nct_vocab *v, const nct_piece *piece) {
    if (piece->kind == NCT_PIECE_BYTE)
        return piece->byte == '\n';
    const char *s = nct_vocab_text(v, piece);
    for (size_t i = 0; i < piece->n_bytes; i++)
        if (s[i] != '\n' && s[i] != '\r')
            return false;
    return piece->kind == NCT_PIECE_NORMAL && piece->n_bytes > 0;
}

static void place_forced(ranking *r) {
    const nct_vocab *v = r->counts->vocab;
    for (size_t i = 0; i < r->counts->n_first; i++)
        place(r, r->counts->first[i]);
    for (int32_t id = 0; id < v->n_pieces; id++) {
        const nct_piece *piece = nct_vocab_piece(v, id);
        if (piece && nct_piece_is_added(piece) && id != v->unk && id != v->bos)
            place(r, id);
    }
    for (int32_t id = 0; id < v->n_pieces; id++) {
        const nct_piece *piece = nct_vocab_piece(v, id);
        if (piece && only_newlines(v, piece))
            place(r, id);
    }
}

static bool is_byte(const ranking *r, int32_t id) {
    const nct_piece *piece = nct_vocab_piece(r->counts->vocab, id);
    return piece && piece->kind == NCT_PIECE_BYTE;
}

static size_t count_missing_bytes(const ranking *r) {
    size_t n = 0;
    for (int b = 0; b < 256; b++) {
        int32_t id = r->counts->vocab->byte_id[b];
        n += id >= 0 && (size_t)id < r->n_vocab && !r->taken[id];
    }
    return n;
}

/* Those that were seen, by rank, with the byte pieces that are still missing before entry NCT_FRSPEC_BYTES_FROM. */
static void place_seen(ranking *r) {
    size_t missing = count_missing_bytes(r);
    bool holds_bytes = r->n + r->n_seen + missing >= NCT_FRSPEC_BYTES_FROM;
    for (size_t i = 0; i < r->n_seen; i++) {
        if (holds_bytes && r->n + missing == NCT_FRSPEC_BYTES_FROM)
            for (int b = 0; b < 256; b++)
                place(r, r->counts->vocab->byte_id[b]);
        if (is_byte(r, r->seen[i].id) && !r->taken[r->seen[i].id])
            missing--;
        place(r, r->seen[i].id);
    }
}

static nct_status rank(ranking *r, nct_error *err) {
    const nct_vocab *v = r->counts->vocab;
    void *taken = NULL, *seen = NULL, *ids = NULL;
    NCT_TRY(nct_alloc(&taken, r->n_vocab, 1, err));
    r->taken = taken;
    NCT_TRY(nct_alloc(&seen, r->n_vocab, sizeof *r->seen, err));
    r->seen = seen;
    NCT_TRY(nct_alloc(&ids, r->n_vocab, sizeof *r->ids, err));
    r->ids = ids;
    place_forced(r);
    for (int32_t id = 0; (size_t)id < r->n_vocab; id++)
        if (r->counts->count[id] && !r->taken[id] && id != v->unk && id != v->bos)
            r->seen[r->n_seen++] = (ranked){r->counts->count[id], id};
    qsort(r->seen, r->n_seen, sizeof *r->seen, by_count);
    place_seen(r);
    return NCT_OK;
}

nct_status nct_frspec_rank(const nct_frspec_counts *counts, int32_t **ids, size_t *n, nct_error *err) {
    size_t n_pieces = (size_t)counts->vocab->n_pieces;
    ranking r = {.counts = counts, .n_vocab = counts->n_vocab < n_pieces ? counts->n_vocab : n_pieces};
    nct_status status = rank(&r, err);
    nct_free(r.taken);
    nct_free(r.seen);
    if (status != NCT_OK) {
        nct_free(r.ids);
        return status;
    }
    *ids = r.ids;
    *n = counts->size && counts->size < r.n ? counts->size : r.n;
    return NCT_OK;
}

/* ------------------------------------------------------------------ writing */

nct_status nct_frspec_write_text(const int32_t *ids, size_t n, nct_bytes *out, nct_error *err) {
    for (size_t i = 0; i < n; i++)
        NCT_TRY(nct_bytes_printf(out, err, "%d\n", ids[i]));
    return NCT_OK;
}

nct_status nct_frspec_write_torch(const int32_t *ids, size_t n, nct_bytes *out, nct_error *err) {
    return nct_torch_write_ints(ids, n, out, err);
}
