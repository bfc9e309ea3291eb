#include "text/fasttext.h"

#include <math.h>
#include <string.h>

#include "base/bytes.h"
#include "base/map.h"
#include "base/num.h"

enum {
    MAGIC = 793712314,
    NEWEST_VERSION = 12,
    MAX_DIM = 1 << 16,
    MAX_NGRAM = 64, /* characters or words; fastText's own are 6 and 5 at most */
    CENTROIDS = 256,
    SUPERVISED = 3,
    NO_PARENT = -1,
    AHEAD = 6, /* rows that are fetched before they are added */
};

typedef enum loss { LOSS_HS = 1, LOSS_NS, LOSS_SOFTMAX, LOSS_OVA } loss;

/* A product quantizer: a row of `dim` is n_parts codes, each the number of a centroid of part_dim values (the last
   part may be shorter). */
typedef struct quantizer {
    size_t dim, n_parts, part_dim, last_dim;
    const uint8_t *centroids; /* [dim * CENTROIDS] little-endian f32 */
} quantizer;

typedef struct matrix {
    size_t n_rows, n_cols;
    const uint8_t *values; /* [n_rows, n_cols] little-endian f32, at any address; NULL: quantised */
    const uint8_t *codes;  /* [n_rows, parts.n_parts] */
    const uint8_t *norms;  /* [n_rows], or NULL */
    quantizer parts, norm;
} matrix;

typedef struct word {
    const char *text; /* in the file, NUL-terminated */
    uint32_t n_bytes, hash;
} word;

typedef struct node { /* of the tree of hierarchical softmax; labels come first, the root last */
    int32_t parent;
    bool right;
    int64_t count;
} node;

struct nct_fasttext {
    nct_map map; /* zeroed where the caller's memory is read */
    const char *name;
    size_t dim, n_words, n_labels;
    int32_t n_gram, shortest, longest; /* of words; of characters */
    uint32_t n_buckets;
    loss loss;
    word *words;    /* [n_words + n_labels] */
    uint32_t *slot; /* [slot_mask + 1] number of a word + 1, 0: empty */
    uint32_t slot_mask;
    int64_t n_kept; /* buckets that pruning has kept; -1: all of them */
    uint64_t *kept; /* [kept_mask + 1] (bucket + 1) << 32 | place, 0: empty */
    uint32_t kept_mask;
    matrix input, output;
    node *tree; /* [2 * n_labels - 1] */
};

/* ------------------------------------------------------------------ reading */

typedef struct cursor {
    const char *name;
    const uint8_t *at, *end;
    nct_error *err;
} cursor;

static nct_status damaged(const cursor *c, const char *what) {
    return nct_fail(c->err, NCT_E_FORMAT, "%s: damaged fastText model: %s", c->name, what);
}

static nct_status take(cursor *c, size_t n, const uint8_t **p, const char *what) {
    if ((size_t)(c->end - c->at) < n)
        return nct_fail(c->err, NCT_E_FORMAT, "%s: damaged fastText model: it ends in %s", c->name, what);
    *p = c->at;
    c->at += n;
    return NCT_OK;
}

static nct_status take_i32(cursor *c, int32_t *value, const char *what) {
    const uint8_t *p = NULL;
    NCT_TRY(take(c, 4, &p, what));
    uint32_t u = nct_le32(p);
    memcpy(value, &u, 4);
    return NCT_OK;
}

static nct_status take_i64(cursor *c, int64_t *value, const char *what) {
    const uint8_t *p = NULL;
    NCT_TRY(take(c, 8, &p, what));
    uint64_t u = nct_le64(p);
    memcpy(value, &u, 8);
    return NCT_OK;
}

static nct_status read_settings(nct_fasttext *m, cursor *c) {
    enum {
        DIM,
        WINDOW,
        EPOCHS,
        MIN_COUNT,
        NEGATIVES,
        N_GRAM,
        LOSS,
        MODEL,
        BUCKET,
        SHORTEST,
        LONGEST,
        RATE,
        N
    };
    int32_t magic = 0, version = 0, v[N] = {0};
    const uint8_t *p;
    static const char head[] = "its settings";
    if (c->end - c->at < 4 || nct_le32(c->at) != MAGIC)
        return nct_fail(c->err, NCT_E_FORMAT, "%s is no fastText model (.bin or .ftz)", c->name);
    NCT_TRY(take_i32(c, &magic, head));
    NCT_TRY(take_i32(c, &version, head));
    if (version < 11 || version > NEWEST_VERSION)
        return nct_fail(c->err, NCT_E_UNSUPPORTED, "%s: fastText format %d; 11 and 12 can be read", c->name,
                        version);
    for (size_t i = 0; i < N; i++)
        NCT_TRY(take_i32(c, &v[i], head));
    NCT_TRY(take(c, 8, &p, head)); /* the sampling threshold */
    if (v[MODEL] != SUPERVISED)
        return nct_fail(c->err, NCT_E_UNSUPPORTED, "%s holds fastText vectors and no classifier", c->name);
    if (v[LOSS] < LOSS_HS || v[LOSS] > LOSS_OVA)
        return nct_fail(c->err, NCT_E_UNSUPPORTED, "%s: fastText loss %d is unknown", c->name, v[LOSS]);
    if (version == 11)
        v[LONGEST] = 0; /* classifiers of that time had no subwords, whatever they say */
    if (v[DIM] < 1 || v[DIM] > MAX_DIM || v[BUCKET] < 0 || v[N_GRAM] > MAX_NGRAM || v[LONGEST] > MAX_NGRAM)
        return damaged(c, "its settings are out of range");
    if (v[BUCKET] == 0 && (v[N_GRAM] > 1 || v[LONGEST] > 0))
        return damaged(c, "n-grams without buckets");
    m->dim = (size_t)v[DIM];
    m->n_gram = v[N_GRAM];
    m->loss = (loss)v[LOSS];
    m->n_buckets = (uint32_t)v[BUCKET];
    m->shortest = v[SHORTEST];
    m->longest = v[LONGEST];
    return NCT_OK;
}

/* FNV-1a as fastText has it: bytes are signed. */
#define HASH_BEGIN 2166136261u
static uint32_t hash_byte(uint32_t h, char c) { return (h ^ (uint32_t)(int32_t)(int8_t)c) * 16777619u; }

static uint32_t hash_text(const char *s, size_t n) {
    uint32_t h = HASH_BEGIN;
    for (size_t i = 0; i < n; i++)
        h = hash_byte(h, s[i]);
    return h;
}

static int32_t find_word(const nct_fasttext *m, const char *s, size_t n, uint32_t hash) {
    for (uint32_t at = hash & m->slot_mask; m->slot[at]; at = (at + 1) & m->slot_mask) {
        const word *w = &m->words[m->slot[at] - 1];
        if (w->hash == hash && w->n_bytes == n && memcmp(w->text, s, n) == 0)
            return (int32_t)(m->slot[at] - 1);
    }
    return -1;
}

/* Slots for n things, at most half of them used. */
static uint32_t slots_for(size_t n) {
    uint32_t slots = 16;
    while (slots < 2 * n)
        slots *= 2;
    return slots;
}

static nct_status read_word(nct_fasttext *m, cursor *c, size_t i, int64_t *count) {
    const uint8_t *end = memchr(c->at, 0, (size_t)(c->end - c->at)), *p = NULL;
    if (!end || end - c->at > INT32_MAX)
        return damaged(c, "it ends in its words");
    word *w = &m->words[i];
    *w = (word){.text = (const char *)c->at, .n_bytes = (uint32_t)(end - c->at)};
    w->hash = hash_text(w->text, w->n_bytes);
    c->at = end + 1;
    NCT_TRY(take_i64(c, count, "its words"));
    NCT_TRY(take(c, 1, &p, "its words"));
    if (*p != (i >= m->n_words))
        return damaged(c, "its labels do not follow its words");
    if (find_word(m, w->text, w->n_bytes, w->hash) >= 0)
        return NCT_OK; /* the first of its kind counts */
    uint32_t at = w->hash & m->slot_mask;
    while (m->slot[at])
        at = (at + 1) & m->slot_mask;
    m->slot[at] = (uint32_t)i + 1;
    return NCT_OK;
}

/* The buckets that a pruned model has kept, and where. */
static nct_status read_kept(nct_fasttext *m, cursor *c) {
    if (m->n_kept <= 0)
        return NCT_OK;
    void *p = NULL;
    uint32_t slots = slots_for((size_t)m->n_kept);
    NCT_TRY(nct_alloc(&p, slots, sizeof *m->kept, c->err));
    m->kept = p;
    m->kept_mask = slots - 1;
    for (int64_t i = 0; i < m->n_kept; i++) {
        int32_t bucket = 0, place = 0;
        NCT_TRY(take_i32(c, &bucket, "its buckets"));
        NCT_TRY(take_i32(c, &place, "its buckets"));
        if (bucket < 0 || place < 0)
            return damaged(c, "a bucket is negative");
        uint64_t key = (uint64_t)bucket + 1;
        uint32_t at = (uint32_t)bucket * 2654435761u & m->kept_mask;
        while (m->kept[at] && m->kept[at] >> 32 != key)
            at = (at + 1) & m->kept_mask;
        if (!m->kept[at])
            m->kept[at] = key << 32 | (uint32_t)place;
    }
    return NCT_OK;
}

static nct_status open_tree(nct_fasttext *m, cursor *c) {
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, 2 * m->n_labels - 1, sizeof *m->tree, c->err));
    m->tree = p;
    return NCT_OK;
}

/* Words, then labels, with how often each was seen; labels' counts go to the leaves of the tree. */
static nct_status read_dictionary(nct_fasttext *m, cursor *c) {
    static const char what[] = "its dictionary";
    int32_t size = 0, n_words = 0, n_labels = 0;
    int64_t n_tokens = 0, n_left = c->end - c->at;
    NCT_TRY(take_i32(c, &size, what));
    NCT_TRY(take_i32(c, &n_words, what));
    NCT_TRY(take_i32(c, &n_labels, what));
    NCT_TRY(take_i64(c, &n_tokens, what));
    NCT_TRY(take_i64(c, &m->n_kept, what));
    if (n_words < 0 || n_labels < 1 || size < 1 || size - n_words != n_labels || size > n_left / 10 ||
        m->n_kept > n_left / 8)
        return damaged(c, "its dictionary does not fit");
    m->n_words = (size_t)n_words;
    m->n_labels = (size_t)n_labels;
    void *words = NULL, *slot = NULL;
    uint32_t slots = slots_for((size_t)size);
    NCT_TRY(nct_alloc(&words, (size_t)size, sizeof *m->words, c->err));
    m->words = words;
    NCT_TRY(nct_alloc(&slot, slots, sizeof *m->slot, c->err));
    m->slot = slot;
    m->slot_mask = slots - 1;
    NCT_TRY(open_tree(m, c));
    for (size_t i = 0; i < (size_t)size; i++) {
        int64_t count = 0;
        NCT_TRY(read_word(m, c, i, &count));
        if (i >= m->n_words)
            m->tree[i - m->n_words].count = count;
    }
    return read_kept(m, c);
}

static nct_status read_quantizer(quantizer *q, size_t dim, cursor *c) {
    static const char what[] = "a quantizer";
    int32_t v[4] = {0};
    for (size_t i = 0; i < 4; i++)
        NCT_TRY(take_i32(c, &v[i], what));
    if (v[0] < 1 || (size_t)v[0] != dim || v[2] < 1 || v[2] > v[0] || v[1] != (v[0] + v[2] - 1) / v[2] ||
        v[3] != v[0] - (v[1] - 1) * v[2])
        return damaged(c, "a quantizer does not fit");
    *q = (quantizer){dim, (size_t)v[1], (size_t)v[2], (size_t)v[3], NULL};
    return take(c, dim * CENTROIDS * sizeof(float), &q->centroids, what);
}

static nct_status read_quantised(matrix *x, cursor *c) {
    static const char what[] = "a quantised matrix";
    const uint8_t *has_norms = NULL;
    int64_t rows = 0, cols = 0;
    int32_t n_codes = 0;
    NCT_TRY(take(c, 1, &has_norms, what));
    NCT_TRY(take_i64(c, &rows, what));
    NCT_TRY(take_i64(c, &cols, what));
    NCT_TRY(take_i32(c, &n_codes, what));
    if (rows < 0 || rows > INT32_MAX || cols < 1 || cols > MAX_DIM || n_codes < 0)
        return damaged(c, "a quantised matrix does not fit");
    x->n_rows = (size_t)rows;
    x->n_cols = (size_t)cols;
    NCT_TRY(take(c, (size_t)n_codes, &x->codes, what));
    NCT_TRY(read_quantizer(&x->parts, x->n_cols, c));
    if ((uint64_t)n_codes != (uint64_t)rows * x->parts.n_parts)
        return damaged(c, "a quantised matrix has too few or too many codes");
    if (!*has_norms)
        return NCT_OK;
    NCT_TRY(take(c, x->n_rows, &x->norms, what));
    return read_quantizer(&x->norm, 1, c);
}

static nct_status read_dense(matrix *x, cursor *c) {
    static const char what[] = "a matrix";
    int64_t rows = 0, cols = 0;
    NCT_TRY(take_i64(c, &rows, what));
    NCT_TRY(take_i64(c, &cols, what));
    if (rows < 0 || rows > INT32_MAX || cols < 1 || cols > MAX_DIM)
        return damaged(c, "a matrix does not fit");
    x->n_rows = (size_t)rows;
    x->n_cols = (size_t)cols;
    return take(c, x->n_rows * x->n_cols * sizeof(float), &x->values, what);
}

static nct_status read_matrices(nct_fasttext *m, cursor *c) {
    const uint8_t *quantised = NULL, *output_quantised = NULL;
    NCT_TRY(take(c, 1, &quantised, "its matrices"));
    if (!*quantised && m->n_kept >= 0)
        return damaged(c, "it was pruned and not quantised");
    NCT_TRY(*quantised ? read_quantised(&m->input, c) : read_dense(&m->input, c));
    NCT_TRY(take(c, 1, &output_quantised, "its matrices"));
    NCT_TRY(*quantised && *output_quantised ? read_quantised(&m->output, c) : read_dense(&m->output, c));
    if (m->input.n_cols != m->dim || m->output.n_cols != m->dim || m->output.n_rows != m->n_labels)
        return damaged(c, "its matrices have other shapes than its settings say");
    if (m->input.n_rows < m->n_words + (m->n_kept < 0 ? m->n_buckets : 0))
        return damaged(c, "its matrix has too few rows");
    for (uint32_t i = 0; m->kept && i <= m->kept_mask; i++)
        if (m->kept[i] && (uint32_t)m->kept[i] >= m->input.n_rows - m->n_words)
            return damaged(c, "a bucket lies outside its matrix");
    return NCT_OK;
}

/* The tree over the labels, from the rarest up; ties and order as fastText has them. Labels come by falling counts. */
static nct_status build_tree(nct_fasttext *m, cursor *c) {
    int32_t n = (int32_t)m->n_labels, leaf = n - 1, inner = n;
    const int64_t unset = 1000000000000000; /* the count of what has no children yet */
    for (int32_t i = 0; i < 2 * n - 1; i++) {
        if (i < n && (m->tree[i].count < 0 || m->tree[i].count >= unset / n))
            return damaged(c, "a label's count is out of range");
        m->tree[i].parent = NO_PARENT;
        m->tree[i].count = i < n ? m->tree[i].count : unset;
    }
    for (int32_t i = n; i < 2 * n - 1; i++) {
        int32_t child[2];
        for (int k = 0; k < 2; k++)
            child[k] = leaf >= 0 && m->tree[leaf].count < m->tree[inner].count ? leaf-- : inner++;
        m->tree[i].count = m->tree[child[0]].count + m->tree[child[1]].count;
        m->tree[child[0]].parent = m->tree[child[1]].parent = i;
        m->tree[child[1]].right = true;
    }
    return NCT_OK;
}

static nct_status read_model(nct_fasttext *m, const void *data, size_t n_bytes, nct_error *err) {
    cursor c = {m->name, data, (const uint8_t *)data + n_bytes, err};
    NCT_TRY(read_settings(m, &c));
    NCT_TRY(read_dictionary(m, &c));
    NCT_TRY(read_matrices(m, &c));
    if (c.at != c.end)
        return damaged(&c, "bytes follow its end");
    return m->loss == LOSS_HS ? build_tree(m, &c) : NCT_OK;
}

nct_status nct_fasttext_read(const char *name, const void *data, size_t n_bytes, nct_fasttext **model,
                             nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, 1, sizeof(nct_fasttext), err));
    nct_fasttext *m = p;
    m->name = name;
    nct_status status = read_model(m, data, n_bytes, err);
    m->name = NULL;
    if (status != NCT_OK)
        nct_fasttext_close(m);
    else
        *model = m;
    return status;
}

nct_status nct_fasttext_open(const char *path, nct_fasttext **model, nct_error *err) {
    nct_map map;
    NCT_TRY(nct_map_open(path, &map, err));
    nct_status status = nct_fasttext_read(path, map.data, map.n_bytes, model, err);
    if (status == NCT_OK)
        (*model)->map = map;
    else
        nct_map_close(&map);
    return status;
}

void nct_fasttext_close(nct_fasttext *m) {
    if (!m)
        return;
    nct_free(m->words);
    nct_free(m->slot);
    nct_free(m->kept);
    nct_free(m->tree);
    nct_map_close(&m->map);
    nct_free(m);
}

/* ------------------------------------------------------------------ labels */

static const char label_prefix[] = "__label__";
enum { PREFIX_BYTES = sizeof label_prefix - 1 };

size_t nct_fasttext_n_labels(const nct_fasttext *m) { return m->n_labels; }
const char *nct_fasttext_label(const nct_fasttext *m, size_t label) {
    return m->words[m->n_words + label].text;
}

int32_t nct_fasttext_find(const nct_fasttext *m, const char *name) {
    for (size_t i = 0; i < m->n_labels; i++) {
        const char *label = nct_fasttext_label(m, i);
        if (strcmp(label, name) == 0 ||
            (strncmp(label, label_prefix, PREFIX_BYTES) == 0 && strcmp(label + PREFIX_BYTES, name) == 0))
            return (int32_t)i;
    }
    return -1;
}

/* ------------------------------------------------------------------ rows of a text */

static const char end_of_text[] = "</s>";
enum { END_BYTES = sizeof end_of_text - 1 };

typedef struct scorer {
    const nct_fasttext *model;
    nct_fasttext_scratch *s;
    nct_error *err;
} scorer;

static nct_status add_i32(int32_t **list, size_t *n, size_t *capacity, int32_t value, nct_error *err) {
    if (*n == *capacity) {
        void *p = *list;
        NCT_TRY(nct_grow(&p, capacity, *n + 1, sizeof **list, err));
        *list = p;
    }
    (*list)[(*n)++] = value;
    return NCT_OK;
}

static nct_status add_row(scorer *c, size_t row) {
    return add_i32(&c->s->row, &c->s->n_rows, &c->s->row_capacity, (int32_t)row, c->err);
}

/* The row of a bucket, if pruning has left it. */
static nct_status add_bucket(scorer *c, uint32_t bucket) {
    const nct_fasttext *m = c->model;
    if (m->n_kept < 0)
        return add_row(c, m->n_words + bucket);
    if (!m->kept)
        return NCT_OK;
    uint64_t key = (uint64_t)bucket + 1;
    uint32_t at = bucket * 2654435761u & m->kept_mask;
    while (m->kept[at] && m->kept[at] >> 32 != key)
        at = (at + 1) & m->kept_mask;
    return m->kept[at] ? add_row(c, m->n_words + (uint32_t)m->kept[at]) : NCT_OK;
}

/* The i-th byte of "<word>". */
static char framed(const char *s, size_t n, size_t i) { return i == 0 ? '<' : i > n ? '>' : s[i - 1]; }

/* Stretches of `shortest` to `longest` characters of the word between < and >, but not < and > themselves. */
static nct_status add_subwords(scorer *c, const char *s, size_t n) {
    const nct_fasttext *m = c->model;
    for (size_t i = 0; i < n + 2; i++) {
        if (((uint8_t)framed(s, n, i) & 0xc0) == 0x80)
            continue;
        uint32_t h = HASH_BEGIN;
        size_t j = i;
        for (int32_t length = 1; j < n + 2 && length <= m->longest; length++) {
            do
                h = hash_byte(h, framed(s, n, j++));
            while (j < n + 2 && ((uint8_t)framed(s, n, j) & 0xc0) == 0x80);
            if (length >= m->shortest && !(length == 1 && (i == 0 || j == n + 2)))
                NCT_TRY(add_bucket(c, h % m->n_buckets));
        }
    }
    return NCT_OK;
}

static nct_status add_word(scorer *c, const char *s, size_t n) {
    const nct_fasttext *m = c->model;
    nct_fasttext_scratch *x = c->s;
    uint32_t hash = hash_text(s, n);
    int32_t id = find_word(m, s, n, hash);
    bool is_label =
        id >= 0 ? (size_t)id >= m->n_words : n >= PREFIX_BYTES && memcmp(s, label_prefix, PREFIX_BYTES) == 0;
    if (is_label)
        return NCT_OK;
    if (id >= 0)
        NCT_TRY(add_row(c, (size_t)id));
    if (m->longest > 0 && !(n == END_BYTES && memcmp(s, end_of_text, n) == 0))
        NCT_TRY(add_subwords(c, s, n));
    int32_t bits;
    memcpy(&bits, &hash, sizeof bits);
    return add_i32(&x->hash, &x->n_hashes, &x->hash_capacity, bits, c->err);
}

static nct_status add_word_ngrams(scorer *c) {
    const nct_fasttext *m = c->model;
    const nct_fasttext_scratch *x = c->s;
    for (size_t i = 0; i < x->n_hashes; i++) {
        uint64_t h = (uint64_t)(int64_t)x->hash[i]; /* with its sign, as fastText has it */
        for (size_t j = i + 1; j < x->n_hashes && j < i + (size_t)m->n_gram; j++) {
            h = h * 116049371 + (uint64_t)(int64_t)x->hash[j];
            NCT_TRY(add_bucket(c, (uint32_t)(h % m->n_buckets)));
        }
    }
    return NCT_OK;
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || c == 0; }

static nct_status find_rows(scorer *c, const char *text, size_t n) {
    c->s->n_rows = c->s->n_hashes = 0;
    bool ended = false;
    for (size_t i = 0; i < n && !ended;) {
        size_t begin = i;
        while (i < n && !is_space(text[i]))
            i++;
        if (i > begin) {
            NCT_TRY(add_word(c, text + begin, i - begin));
            ended = i - begin == END_BYTES && memcmp(text + begin, end_of_text, END_BYTES) == 0;
        } else {
            i++;
        }
    }
    if (!ended)
        NCT_TRY(add_word(c, end_of_text, END_BYTES));
    return c->model->n_gram > 1 ? add_word_ngrams(c) : NCT_OK;
}

/* ------------------------------------------------------------------ arithmetic */

static float load_f32(const uint8_t *p) {
    float f;
    memcpy(&f, p, sizeof f);
    return f;
}

static const uint8_t *centroid(const quantizer *q, size_t part, uint8_t code) {
    size_t first = part * q->part_dim * CENTROIDS, dim = part + 1 == q->n_parts ? q->last_dim : q->part_dim;
    return q->centroids + (first + code * dim) * sizeof(float);
}

static float norm_of(const matrix *x, size_t row) {
    return x->norms ? load_f32(centroid(&x->norm, 0, x->norms[row])) : 1;
}

/* sum += row */
static void add_dense(const uint8_t *restrict row, size_t n, float *restrict sum) {
    for (size_t i = 0; i < n; i++) {
        float f;
        memcpy(&f, row + i * sizeof f, sizeof f);
        sum[i] += f;
    }
}

static void add_quantised(const matrix *x, size_t row, float *sum) {
    const quantizer *q = &x->parts;
    float norm = norm_of(x, row);
    for (size_t part = 0; part < q->n_parts; part++) {
        const uint8_t *c = centroid(q, part, x->codes[row * q->n_parts + part]);
        size_t dim = part + 1 == q->n_parts ? q->last_dim : q->part_dim;
        for (size_t i = 0; i < dim; i++)
            sum[part * q->part_dim + i] += norm * load_f32(c + i * sizeof(float));
    }
}

static float dot(const matrix *x, size_t row, const float *v) {
    float sum = 0;
    if (x->values) {
        const uint8_t *p = x->values + row * x->n_cols * sizeof(float);
        for (size_t i = 0; i < x->n_cols; i++)
            sum += load_f32(p + i * sizeof(float)) * v[i];
        return sum;
    }
    const quantizer *q = &x->parts;
    for (size_t part = 0; part < q->n_parts; part++) {
        const uint8_t *c = centroid(q, part, x->codes[row * q->n_parts + part]);
        size_t dim = part + 1 == q->n_parts ? q->last_dim : q->part_dim;
        for (size_t i = 0; i < dim; i++)
            sum += v[part * q->part_dim + i] * load_f32(c + i * sizeof(float));
    }
    return sum * norm_of(x, row);
}

static void fetch(const matrix *x, size_t row) {
    enum { LINE = 64 };
    const uint8_t *p = x->values + row * x->n_cols * sizeof(float);
    for (size_t i = 0; i < x->n_cols * sizeof(float); i += LINE)
        __builtin_prefetch(p + i);
}

/* The mean of the text's rows. */
static void average(const matrix *x, const nct_fasttext_scratch *s, float *hidden) {
    memset(hidden, 0, x->n_cols * sizeof *hidden);
    for (size_t i = 0; i < s->n_rows; i++) {
        if (!x->values) {
            add_quantised(x, (size_t)s->row[i], hidden);
            continue;
        }
        if (i + AHEAD < s->n_rows)
            fetch(x, (size_t)s->row[i + AHEAD]);
        add_dense(x->values + (size_t)s->row[i] * x->n_cols * sizeof(float), x->n_cols, hidden);
    }
    float scale = (float)(1.0 / (double)s->n_rows);
    for (size_t i = 0; i < x->n_cols; i++)
        hidden[i] *= scale;
}

/* fastText adds this before it takes a logarithm. */
static float safe_log(float x) { return (float)log((double)x + 1e-5); }

static float softmax(const nct_fasttext *m, size_t label, const float *hidden, float *output) {
    float most = 0, sum = 0;
    for (size_t i = 0; i < m->n_labels; i++) {
        output[i] = dot(&m->output, i, hidden);
        most = i == 0 || output[i] > most ? output[i] : most;
    }
    for (size_t i = 0; i < m->n_labels; i++) {
        output[i] = expf(output[i] - most);
        sum += output[i];
    }
    return safe_log(output[label] / sum);
}

/* Looked up as in fastText's table of 512 steps from -8 to 8. */
static float sigmoid(float x) {
    enum { REACH = 8, STEPS = 512 };
    if (!(x >= -REACH))
        return 0;
    if (x > REACH)
        return 1;
    float step = (float)(int32_t)((x + REACH) * STEPS / REACH / 2) * 2 * REACH / STEPS - REACH;
    return (float)(1 / (1 + (double)expf(-step)));
}

/* From the root down, in fastText's order of additions. The way goes where the text's rows were. */
static nct_status score_tree(const scorer *c, size_t label, float *logarithm) {
    const nct_fasttext *m = c->model;
    nct_fasttext_scratch *s = c->s;
    s->n_rows = 0;
    for (int32_t at = (int32_t)label; m->tree[at].parent != NO_PARENT; at = m->tree[at].parent)
        NCT_TRY(add_i32(&s->row, &s->n_rows, &s->row_capacity, at, c->err));
    *logarithm = 0;
    while (s->n_rows > 0) {
        const node *at = &m->tree[s->row[--s->n_rows]];
        float f = dot(&m->output, (size_t)at->parent - m->n_labels, s->hidden);
        f = (float)(1.0 / (double)(1 + expf(-f)));
        *logarithm += safe_log(at->right ? f : (float)(1.0 - (double)f));
    }
    return NCT_OK;
}

static nct_status grow_floats(float **list, size_t *capacity, size_t n, nct_error *err) {
    void *p = *list;
    NCT_TRY(nct_grow(&p, capacity, n, sizeof **list, err));
    *list = p;
    return NCT_OK;
}

nct_status nct_fasttext_score(const nct_fasttext *m, size_t label, const char *text, size_t n,
                              nct_fasttext_scratch *s, float *score, nct_error *err) {
    scorer c = {m, s, err};
    NCT_TRY(grow_floats(&s->hidden, &s->hidden_capacity, m->dim, err));
    NCT_TRY(grow_floats(&s->output, &s->output_capacity, m->n_labels, err));
    NCT_TRY(find_rows(&c, text, n));
    *score = 0;
    if (s->n_rows == 0)
        return NCT_OK;
    average(&m->input, s, s->hidden);
    float logarithm = 0;
    if (m->loss == LOSS_HS)
        NCT_TRY(score_tree(&c, label, &logarithm));
    else if (m->loss == LOSS_SOFTMAX)
        logarithm = softmax(m, label, s->hidden, s->output);
    else
        logarithm = safe_log(sigmoid(dot(&m->output, label, s->hidden)));
    *score = expf(logarithm);
    return NCT_OK;
}

void nct_fasttext_scratch_reset(nct_fasttext_scratch *s) {
    nct_free(s->row);
    nct_free(s->hash);
    nct_free(s->hidden);
    nct_free(s->output);
    *s = (nct_fasttext_scratch){0};
}
