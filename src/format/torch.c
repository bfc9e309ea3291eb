#include "format/torch.h"

#include <string.h>

/* A list of a million tokens needs 5 MiB. */
#define MAX_PICKLE_BYTES ((size_t)16 << 20)

/* A stretch of a file. */
typedef struct slice {
    const uint8_t *data;
    size_t n;
} slice;

static bool slice_is(slice s, const char *text) {
    return s.n == strlen(text) && memcmp(s.data, text, s.n) == 0;
}

/* ------------------------------------------------------------------ zip */

typedef struct zip {
    const char *name; /* of the file, for messages */
    slice file;
    size_t directory, n_entries; /* offset of the central directory */
    size_t end;                  /* where it must end */
} zip;

typedef struct entry {
    slice name;
    uint64_t n_bytes, stored_bytes, local; /* local: offset of its own header */
    int method;
    bool locked;
} entry;

static nct_status torn(const char *name, const char *what, nct_error *err) {
    return nct_fail(err, NCT_E_FORMAT, "%s: damaged zip file: %s", name, what);
}

/* Where a 64-bit end record is announced, it replaces what the plain one says. */
static nct_status read_end64(zip *z, size_t at, uint64_t *n, uint64_t *size, uint64_t *off, nct_error *err) {
    const uint8_t *f = z->file.data;
    if (at < 20 || nct_le32(f + at - 20) != 0x07064b50)
        return torn(z->name, "its 64-bit end record is missing", err);
    uint64_t end = nct_le64(f + at - 20 + 8);
    if (end > at - 20 || at - 20 - end < 56 || nct_le32(f + end) != 0x06064b50)
        return torn(z->name, "its 64-bit end record is missing", err);
    *n = nct_le64(f + end + 32);
    *size = nct_le64(f + end + 40);
    *off = nct_le64(f + end + 48);
    return NCT_OK;
}

static nct_status zip_open(const char *name, slice file, zip *z, nct_error *err) {
    *z = (zip){.name = name, .file = file};
    const uint8_t *f = file.data;
    size_t at = file.n, reach = 0;
    for (bool found = false; !found; reach++) { /* a comment of up to 65,535 bytes may follow */
        if (reach > 65535 || reach + 22 > file.n)
            return torn(name, "its end record is missing", err);
        at = file.n - 22 - reach;
        found = nct_le32(f + at) == 0x06054b50 && nct_le16(f + at + 20) == reach;
    }
    uint64_t n = nct_le16(f + at + 10), size = nct_le32(f + at + 12), off = nct_le32(f + at + 16);
    if (n == 0xffff || size == 0xffffffff || off == 0xffffffff)
        NCT_TRY(read_end64(z, at, &n, &size, &off, err));
    if (off > at || size > at - off || n > size / 46)
        return torn(name, "its directory does not lie in it", err);
    z->directory = (size_t)off;
    z->end = (size_t)(off + size);
    z->n_entries = (size_t)n;
    return NCT_OK;
}

/* Sizes that do not fit 32 bits stand in an extra field, those that do are left out of it. */
static bool read_extra64(entry *e, const uint8_t *extra, size_t n) {
    bool wants = e->n_bytes == 0xffffffff || e->stored_bytes == 0xffffffff || e->local == 0xffffffff;
    for (size_t i = 0; wants && i + 4 <= n;) {
        size_t length = nct_le16(extra + i + 2);
        if (length > n - i - 4)
            return false;
        const uint8_t *p = extra + i + 4;
        if (nct_le16(extra + i) == 1) {
            uint64_t *fields[] = {&e->n_bytes, &e->stored_bytes, &e->local};
            for (size_t k = 0; k < 3; k++) {
                if (*fields[k] != 0xffffffff)
                    continue;
                if (length < 8)
                    return false;
                *fields[k] = nct_le64(p);
                p += 8;
                length -= 8;
            }
            return true;
        }
        i += 4 + length;
    }
    return !wants;
}

/* The entry at *at of the directory, and where the next one begins. */
static nct_status zip_entry(const zip *z, size_t *at, entry *e, nct_error *err) {
    const uint8_t *h = z->file.data + *at;
    size_t left = z->end - *at;
    if (left < 46 || nct_le32(h) != 0x02014b50)
        return torn(z->name, "an entry of its directory has no header", err);
    size_t n_name = nct_le16(h + 28), n_extra = nct_le16(h + 30), n_comment = nct_le16(h + 32);
    if (left - 46 < n_name + n_extra + n_comment)
        return torn(z->name, "an entry runs past its directory", err);
    *e = (entry){.name = {h + 46, n_name},
                 .method = nct_le16(h + 10),
                 .locked = nct_le16(h + 8) & 1,
                 .stored_bytes = nct_le32(h + 20),
                 .n_bytes = nct_le32(h + 24),
                 .local = nct_le32(h + 42)};
    if (!read_extra64(e, h + 46 + n_name, n_extra))
        return torn(z->name, "a 64-bit size is missing", err);
    *at += 46 + n_name + n_extra + n_comment;
    return NCT_OK;
}

/* The bytes of an entry, which has to be stored as it is. */
static nct_status zip_bytes(const zip *z, const entry *e, slice *bytes, nct_error *err) {
    if (e->method != 0 || e->locked)
        return nct_fail(err, NCT_E_UNSUPPORTED, "%s: '%.*s' is %s; torch.save stores entries as they are",
                        z->name, (int)(e->name.n < 80 ? e->name.n : 80), (const char *)e->name.data,
                        e->locked ? "encrypted" : "compressed");
    if (e->n_bytes != e->stored_bytes)
        return torn(z->name, "an entry has two sizes", err);
    if (z->directory < 30 || e->local > z->directory - 30 || nct_le32(z->file.data + e->local) != 0x04034b50)
        return torn(z->name, "an entry has no header of its own", err);
    const uint8_t *h = z->file.data + e->local;
    size_t begin = (size_t)e->local + 30 + nct_le16(h + 26) + nct_le16(h + 28);
    if (begin > z->directory || e->n_bytes > z->directory - begin)
        return torn(z->name, "an entry runs past its directory", err);
    *bytes = (slice){z->file.data + begin, (size_t)e->n_bytes};
    return NCT_OK;
}

/* The one entry whose name is folder + rest; with folder NULL, whose name is `rest` or ends in "/rest". *found false:
   there is none. */
static nct_status zip_find(const zip *z, const slice *folder, slice rest, entry *found_entry, bool *found,
                           nct_error *err) {
    size_t at = z->directory;
    *found = false;
    for (size_t i = 0; i < z->n_entries; i++) {
        entry e = {0};
        NCT_TRY(zip_entry(z, &at, &e, err));
        if (e.name.n < rest.n || memcmp(e.name.data + e.name.n - rest.n, rest.data, rest.n) != 0)
            continue;
        size_t front = e.name.n - rest.n;
        if (folder ? front != folder->n || memcmp(e.name.data, folder->data, front) != 0
                   : front && e.name.data[front - 1] != '/')
            continue;
        if (*found)
            return torn(z->name, "two entries have the same name", err);
        *found_entry = e;
        *found = true;
    }
    return NCT_OK;
}

/* ------------------------------------------------------------------ pickle */

typedef enum kind {
    KIND_MARK,
    KIND_NONE,
    KIND_BOOL,
    KIND_INT,
    KIND_FLOAT,
    KIND_STRING,
    KIND_LIST, /* there is one, whose ids are in the machine */
    KIND_TUPLE,
    KIND_DICT, /* of which nothing is kept */
    KIND_SYMBOL,
    KIND_STORAGE,
    KIND_TENSOR, /* there is one, in the machine */
} kind;

static const struct {
    const char *module, *name;
    int item_bytes; /* of a storage of whole numbers that ids may stand in, 0 */
    bool storage;
} symbols[] = {
    {"collections", "OrderedDict", 0, false},
    {"torch._utils", "_rebuild_tensor_v2", 0, false},
    {"torch._utils", "_rebuild_parameter", 0, false},
    {"torch", "LongStorage", 8, true},
    {"torch", "IntStorage", 4, true},
    {"torch", "FloatStorage", 0, true},
    {"torch", "HalfStorage", 0, true},
    {"torch", "BFloat16Storage", 0, true},
    {"torch", "ShortStorage", 0, true},
    {"torch", "CharStorage", 0, true},
    {"torch", "ByteStorage", 0, true},
    {"torch", "BoolStorage", 0, true},
    {"torch", "DoubleStorage", 0, true},
};
enum { ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, N_SYMBOLS = sizeof symbols / sizeof *symbols };

typedef struct value {
    kind kind;
    int symbol;   /* of a symbol; of a storage, its type */
    int64_t i;    /* an int; of a storage, its number of items */
    size_t at, n; /* a string or a storage's key: bytes of the pickle; a tuple: items of the pool */
} value;

typedef struct machine {
    const char *name;
    slice code;
    size_t pc, op; /* op: where the operation at hand began */
    value *stack, *pool, *memo;
    size_t n_stack, stack_capacity, n_pool, pool_capacity, n_memo, memo_capacity;
    bool has_list, has_tensor;
    nct_ints ids;  /* of the list */
    value storage; /* of the tensor */
    size_t first, n_items;
    nct_error *err;
} machine;

/* Of a pickle that breaks the rules of pickles. */
static nct_status broken(const machine *m, const char *what) {
    return nct_fail(m->err, NCT_E_FORMAT, "%s: damaged pickle: %s at byte %zu", m->name, what, m->op);
}

/* Of one that means something else. */
static nct_status foreign(const machine *m, const char *what) {
    return nct_fail(m->err, NCT_E_UNSUPPORTED, "%s: the pickle holds %s at byte %zu, not just a list of ids",
                    m->name, what, m->op);
}

static nct_status put(machine *m, value v) {
    void *p = m->stack;
    NCT_TRY(nct_grow(&p, &m->stack_capacity, m->n_stack + 1, sizeof *m->stack, m->err));
    m->stack = p;
    m->stack[m->n_stack++] = v;
    return NCT_OK;
}

static nct_status take(machine *m, value *v) {
    if (m->n_stack == 0 || m->stack[m->n_stack - 1].kind == KIND_MARK)
        return broken(m, "nothing to take");
    *v = m->stack[--m->n_stack];
    return NCT_OK;
}

static nct_status fetch(machine *m, size_t n, const uint8_t **p) {
    if (m->code.n - m->pc < n)
        return broken(m, "it ends in an operation");
    *p = m->code.data + m->pc;
    m->pc += n;
    return NCT_OK;
}

/* The items above the last mark, which is taken away with them: they stay readable until the next put. */
static nct_status take_to_mark(machine *m, size_t *first, size_t *n) {
    size_t at = m->n_stack;
    while (at && m->stack[at - 1].kind != KIND_MARK)
        at--;
    if (at == 0)
        return broken(m, "a mark is missing");
    *first = at;
    *n = m->n_stack - at;
    m->n_stack = at - 1;
    return NCT_OK;
}

static int64_t signed32(uint32_t u) { return (int64_t)u - (u >> 31 ? (int64_t)1 << 32 : 0); }

static int64_t signed64(uint64_t u) {
    int64_t i;
    memcpy(&i, &u, sizeof i);
    return i;
}

static nct_status put_int(machine *m, int64_t i) { return put(m, (value){.kind = KIND_INT, .i = i}); }

/* A whole number of n little-endian bytes with a sign. */
static nct_status put_long(machine *m) {
    const uint8_t *p = NULL;
    NCT_TRY(fetch(m, 1, &p));
    size_t n = *p;
    NCT_TRY(fetch(m, n, &p));
    if (n > 8)
        return foreign(m, "a number of more than 64 bits");
    uint64_t u = n && p[n - 1] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = n; i-- > 0;)
        u = u << 8 | p[i];
    return put_int(m, signed64(u));
}

static nct_status put_tuple(machine *m, size_t first, size_t n) {
    void *p = m->pool;
    NCT_TRY(nct_grow(&p, &m->pool_capacity, m->n_pool + n, sizeof *m->pool, m->err));
    m->pool = p;
    if (n)
        memcpy(m->pool + m->n_pool, m->stack + first, n * sizeof *m->pool);
    value v = {.kind = KIND_TUPLE, .at = m->n_pool, .n = n};
    m->n_pool += n;
    return put(m, v);
}

static nct_status put_short_tuple(machine *m, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (m->n_stack < n || m->stack[m->n_stack - 1 - i].kind == KIND_MARK)
            return broken(m, "too few items for a tuple");
    m->n_stack -= n;
    return put_tuple(m, m->n_stack, n);
}

static nct_status put_string(machine *m) {
    const uint8_t *p = NULL;
    NCT_TRY(fetch(m, 4, &p));
    size_t n = nct_le32(p);
    NCT_TRY(fetch(m, n, &p));
    return put(m, (value){.kind = KIND_STRING, .at = m->pc - n, .n = n});
}

static nct_status take_line(machine *m, slice *line) {
    const uint8_t *begin = m->code.data + m->pc, *end = memchr(begin, '\n', m->code.n - m->pc);
    if (!end)
        return broken(m, "it ends in a name");
    *line = (slice){begin, (size_t)(end - begin)};
    m->pc += line->n + 1;
    return NCT_OK;
}

static nct_status put_symbol(machine *m) {
    slice module = {0}, name = {0};
    NCT_TRY(take_line(m, &module));
    NCT_TRY(take_line(m, &name));
    for (int i = 0; i < N_SYMBOLS; i++)
        if (slice_is(module, symbols[i].module) && slice_is(name, symbols[i].name))
            return put(m, (value){.kind = KIND_SYMBOL, .symbol = i});
    char text[96];
    size_t n = 0;
    for (size_t i = 0; i < module.n + 1 + name.n && n + 1 < sizeof text; i++) {
        uint8_t c = i < module.n ? module.data[i] : i == module.n ? '.' : name.data[i - module.n - 1];
        text[n++] = c > ' ' && c < 127 ? (char)c : '?';
    }
    text[n] = 0;
    return nct_fail(m->err, NCT_E_UNSUPPORTED, "%s: the pickle wants to use %s, which no list of ids needs",
                    m->name, text);
}

static nct_status memo_put(machine *m, size_t at) {
    if (m->n_stack == 0 || m->stack[m->n_stack - 1].kind == KIND_MARK)
        return broken(m, "nothing to remember");
    if (at > m->n_memo) /* picklers number from 0 on */
        return broken(m, "a number out of turn for what is remembered");
    if (at == m->n_memo) {
        void *p = m->memo;
        NCT_TRY(nct_grow(&p, &m->memo_capacity, at + 1, sizeof *m->memo, m->err));
        m->memo = p;
        m->n_memo++;
    }
    m->memo[at] = m->stack[m->n_stack - 1];
    return NCT_OK;
}

static nct_status memo_get(machine *m, size_t at) {
    if (at >= m->n_memo)
        return broken(m, "something that was never remembered");
    return put(m, m->memo[at]);
}

static nct_status append_id(machine *m, const value *v) {
    if (v->kind != KIND_INT)
        return foreign(m, "a list of something else than whole numbers");
    return nct_ints_add(&m->ids, v->i, m->err);
}

static nct_status append(machine *m, bool to_mark) {
    value v = {0};
    size_t first = 0, n = 1;
    if (to_mark)
        NCT_TRY(take_to_mark(m, &first, &n));
    else
        NCT_TRY(take(m, &v));
    if (m->n_stack == 0 || m->stack[m->n_stack - 1].kind != KIND_LIST)
        return broken(m, "an item without a list");
    for (size_t i = 0; i < n; i++)
        NCT_TRY(append_id(m, to_mark ? &m->stack[first + i] : &v));
    return NCT_OK;
}

static nct_status set_items(machine *m, bool to_mark) {
    value v = {0};
    size_t first = 0, n = 2;
    if (to_mark) {
        NCT_TRY(take_to_mark(m, &first, &n));
    } else {
        NCT_TRY(take(m, &v));
        NCT_TRY(take(m, &v));
    }
    if (n % 2 || m->n_stack == 0 || m->stack[m->n_stack - 1].kind != KIND_DICT)
        return broken(m, "items without a dictionary");
    return NCT_OK;
}

/* A tuple ("storage", type, key, device, number of items) as what it stands for. */
static nct_status put_storage(machine *m) {
    value v = {0};
    NCT_TRY(take(m, &v));
    const value *t = m->pool + v.at;
    if (v.kind != KIND_TUPLE || v.n != 5 || t[0].kind != KIND_STRING ||
        !slice_is((slice){m->code.data + t[0].at, t[0].n}, "storage") || t[1].kind != KIND_SYMBOL ||
        !symbols[t[1].symbol].storage || t[2].kind != KIND_STRING || t[3].kind != KIND_STRING ||
        t[4].kind != KIND_INT || t[4].i < 0)
        return foreign(m, "a reference to something else than a tensor's numbers");
    return put(m,
               (value){.kind = KIND_STORAGE, .symbol = t[1].symbol, .i = t[4].i, .at = t[2].at, .n = t[2].n});
}

/* (storage, offset, sizes, strides, requires_grad, hooks) */
static nct_status put_tensor(machine *m, const value *t, size_t n) {
    if (m->has_tensor)
        return foreign(m, "a second tensor");
    if (n != 6 || t[0].kind != KIND_STORAGE || t[1].kind != KIND_INT || t[2].kind != KIND_TUPLE ||
        t[3].kind != KIND_TUPLE || t[4].kind != KIND_BOOL || t[5].kind != KIND_DICT)
        return broken(m, "a tensor without its parts");
    const value *size = m->pool + t[2].at, *stride = m->pool + t[3].at;
    if (t[2].n != 1 || t[3].n != 1 || size->kind != KIND_INT || stride->kind != KIND_INT || stride->i != 1)
        return foreign(m, "a tensor that is no row of numbers one behind the other");
    if (t[1].i < 0 || size->i < 0 || t[1].i > t[0].i || size->i > t[0].i - t[1].i)
        return broken(m, "a tensor that runs past its numbers");
    if (symbols[t[0].symbol].item_bytes == 0)
        return foreign(m, "a tensor of something else than int64 or int32");
    m->has_tensor = true;
    m->storage = t[0];
    m->first = (size_t)t[1].i;
    m->n_items = (size_t)size->i;
    return put(m, (value){.kind = KIND_TENSOR});
}

static nct_status call(machine *m) {
    value arguments = {0}, symbol = {0};
    NCT_TRY(take(m, &arguments));
    NCT_TRY(take(m, &symbol));
    if (symbol.kind != KIND_SYMBOL || arguments.kind != KIND_TUPLE)
        return broken(m, "a call of nothing");
    const value *t = m->pool + arguments.at;
    if (symbol.symbol == ORDERED_DICT && arguments.n == 0)
        return put(m, (value){.kind = KIND_DICT});
    if (symbol.symbol == REBUILD_TENSOR)
        return put_tensor(m, t, arguments.n);
    if (symbol.symbol == REBUILD_PARAMETER && arguments.n == 3 && t[0].kind == KIND_TENSOR)
        return put(m, t[0]);
    return foreign(m, "a call that no list needs");
}

static nct_status put_list(machine *m) {
    if (m->has_list)
        return foreign(m, "a second list");
    m->has_list = true;
    return put(m, (value){.kind = KIND_LIST});
}

static nct_status unknown(const machine *m, uint8_t op) {
    bool newer = op >= 0x8c && op <= 0x98; /* of protocols 4 and 5 */
    return nct_fail(m->err, NCT_E_UNSUPPORTED,
                    "%s: operation 0x%02x at byte %zu of the pickle is none that a list of ids may hold%s",
                    m->name, op, m->op, newer ? " (of protocol 2, it would be read)" : "");
}

static nct_status step(machine *m, uint8_t op) {
    const uint8_t *p = NULL;
    size_t first = 0, n = 0;
    value v = {0};
    switch (op) {
    case 0x80:
        return fetch(m, 1, &p);
    case ']':
        return put_list(m);
    case '}':
        return put(m, (value){.kind = KIND_DICT});
    case ')':
        return put_tuple(m, 0, 0);
    case '(':
        return put(m, (value){.kind = KIND_MARK});
    case 'K':
        NCT_TRY(fetch(m, 1, &p));
        return put_int(m, *p);
    case 'M':
        NCT_TRY(fetch(m, 2, &p));
        return put_int(m, nct_le16(p));
    case 'J':
        NCT_TRY(fetch(m, 4, &p));
        return put_int(m, signed32(nct_le32(p)));
    case 0x8a:
        return put_long(m);
    case 'G':
        NCT_TRY(fetch(m, 8, &p));
        return put(m, (value){.kind = KIND_FLOAT});
    case 'X':
        return put_string(m);
    case 'N':
        return put(m, (value){.kind = KIND_NONE});
    case 0x88:
    case 0x89:
        return put(m, (value){.kind = KIND_BOOL});
    case 'q':
        NCT_TRY(fetch(m, 1, &p));
        return memo_put(m, *p);
    case 'r':
        NCT_TRY(fetch(m, 4, &p));
        return memo_put(m, nct_le32(p));
    case 'h':
        NCT_TRY(fetch(m, 1, &p));
        return memo_get(m, *p);
    case 'j':
        NCT_TRY(fetch(m, 4, &p));
        return memo_get(m, nct_le32(p));
    case 'c':
        return put_symbol(m);
    case 't':
        NCT_TRY(take_to_mark(m, &first, &n));
        return put_tuple(m, first, n);
    case 0x85:
    case 0x86:
    case 0x87:
        return put_short_tuple(m, (size_t)op - 0x84);
    case 'a':
        return append(m, false);
    case 'e':
        return append(m, true);
    case 's':
        return set_items(m, false);
    case 'u':
        return set_items(m, true);
    case 'Q':
        return put_storage(m);
    case 'R':
        return call(m);
    case 'b':
        return take(m, &v); /* the state of an OrderedDict */
    default:
        return unknown(m, op);
    }
}

static nct_status run(machine *m, value *result) {
    if (m->code.n > MAX_PICKLE_BYTES)
        return nct_fail(m->err, NCT_E_UNSUPPORTED,
                        "%s: a pickle of %zu bytes is no list of token ids; they have at most %zu", m->name,
                        m->code.n, MAX_PICKLE_BYTES);
    for (;;) {
        const uint8_t *p = NULL;
        m->op = m->pc;
        NCT_TRY(fetch(m, 1, &p));
        if (*p == '.')
            break;
        NCT_TRY(step(m, *p));
    }
    NCT_TRY(take(m, result));
    if (m->n_stack)
        return broken(m, "something left over");
    if (m->pc != m->code.n)
        return broken(m, "bytes behind its end");
    return NCT_OK;
}

static void machine_close(machine *m) {
    nct_free(m->stack);
    nct_free(m->pool);
    nct_free(m->memo);
    nct_free(m->ids.item);
}

/* ------------------------------------------------------------------ what a file is */

static nct_status read_tensor(const machine *m, const zip *z, slice folder, nct_ints *ids, nct_error *err) {
    nct_bytes name = {0};
    entry e = {0};
    bool found = false;
    slice bytes = {0};
    nct_status status = nct_bytes_add_str(&name, "data/", err);
    if (status == NCT_OK)
        status = nct_bytes_add(&name, m->code.data + m->storage.at, m->storage.n, err);
    if (status == NCT_OK)
        status = zip_find(z, &folder, (slice){(const uint8_t *)name.data, name.n}, &e, &found, err);
    nct_bytes_reset(&name);
    NCT_TRY(status);
    if (!found)
        return torn(z->name, "the numbers of its tensor are missing", err);
    NCT_TRY(zip_bytes(z, &e, &bytes, err));
    size_t item = (size_t)symbols[m->storage.symbol].item_bytes;
    if ((uint64_t)m->storage.i > bytes.n / item)
        return nct_fail(err, NCT_E_FORMAT, "%s: its tensor has %lld numbers, and the file holds %zu", z->name,
                        (long long)m->storage.i, bytes.n / item);
    for (size_t i = 0; i < m->n_items; i++) {
        const uint8_t *p = bytes.data + (m->first + i) * item;
        NCT_TRY(nct_ints_add(ids, item == 8 ? signed64(nct_le64(p)) : signed32(nct_le32(p)), err));
    }
    return NCT_OK;
}

/* Runs a pickle and hands over its ids. z NULL: it stands alone. */
static nct_status read_pickle(const char *name, slice code, const zip *z, slice folder, nct_ints *ids,
                              nct_error *err) {
    machine m = {.name = name, .code = code, .err = err};
    value result = {0};
    nct_status status = run(&m, &result);
    if (status == NCT_OK && result.kind == KIND_LIST) {
        *ids = m.ids;
        m.ids = (nct_ints){0};
    } else if (status == NCT_OK && result.kind == KIND_TENSOR && z) {
        status = read_tensor(&m, z, folder, ids, err);
    } else if (status == NCT_OK) {
        status = nct_fail(err, NCT_E_UNSUPPORTED, "%s: the pickle is %s, not a list of ids", name,
                          result.kind == KIND_TENSOR ? "a tensor without its numbers" : "something else");
    }
    machine_close(&m);
    return status;
}

static nct_status read_zip(const char *name, slice file, nct_ints *ids, nct_error *err) {
    zip z;
    entry e = {0};
    bool found;
    slice code = {0}, order = {0}, pickle = {(const uint8_t *)"data.pkl", 8};
    NCT_TRY(zip_open(name, file, &z, err));
    NCT_TRY(zip_find(&z, NULL, pickle, &e, &found, err));
    if (!found)
        return nct_fail(err, NCT_E_UNSUPPORTED, "%s: a zip file without data.pkl is none of torch.save's",
                        name);
    NCT_TRY(zip_bytes(&z, &e, &code, err));
    slice folder = {e.name.data, e.name.n - pickle.n};
    NCT_TRY(zip_find(&z, &folder, (slice){(const uint8_t *)"byteorder", 9}, &e, &found, err));
    if (found) {
        NCT_TRY(zip_bytes(&z, &e, &order, err));
        if (!slice_is(order, "little"))
            return nct_fail(err, NCT_E_UNSUPPORTED, "%s: its numbers are not little-endian", name);
    }
    return read_pickle(name, code, &z, folder, ids, err);
}

/* Files from before torch 1.6 begin with this number as a pickle. */
static const uint8_t old_torch[] = {0x80, 2,    0x8a, 10,   0x6c, 0xfc, 0x9c,
                                    0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

bool nct_torch_probe(const void *data, size_t n) {
    const uint8_t *b = data;
    return (n >= 4 && nct_le32(b) == 0x04034b50) || (n >= 3 && b[0] == 0x80 && b[1] <= 5 && b[2] >= 0x10);
}

static nct_status read_any(const char *name, slice file, nct_ints *ints, nct_error *err) {
    slice nowhere = {NULL, 0};
    if (file.n >= sizeof old_torch && memcmp(file.data, old_torch, sizeof old_torch) == 0)
        return nct_fail(err, NCT_E_UNSUPPORTED,
                        "%s: torch.save's form from before version 1.6; load it and save it again", name);
    if (file.n && file.data[0] == 0x80)
        return read_pickle(name, file, NULL, nowhere, ints, err);
    return read_zip(name, file, ints, err);
}

nct_status nct_torch_read_ints(const char *name, const void *data, size_t n_bytes, nct_ints *ints,
                               nct_error *err) {
    nct_ints l = {0};
    nct_status status = read_any(name, (slice){data, n_bytes}, &l, err);
    if (status == NCT_OK)
        *ints = l;
    else
        nct_free(l.item);
    return status;
}
