/* A bundle, opened as the engine opens it: configuration, tokenizer, matrices with a product each, references.
 *
 * Two forms of input. One that begins as a bundle does is a bundle, whose checksums are made to fit. Any
 * other is a bundle without the air: records of a table entry (the first 104 bytes, where offset and size are
 * what is added to the true ones), a u32 of bytes, and the bytes; the file is laid out here.
 */
#include <stdlib.h>

#include "format/nct.h"
#include "quant/linear.h"
#include "text/bpe.h"
#include "text/stream.h"
#include "text/vocab_tables.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    HEADER = 4096,
    ENTRY = 144,
    RECORD = 104,
    MAX_RECORDS = 64,
    MAX_FILE = 1 << 21,
    MAX_VALUES = 1 << 15,
    ROWS = 3
};

static volatile uint8_t seen;
static nct_pool *pool;
static nct_kernels kernels;

/* ------------------------------------------------------------------ laying out */

static void put32(uint8_t *p, uint32_t x) {
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(x >> 8 * i);
}
static void put64(uint8_t *p, uint64_t x) {
    put32(p, (uint32_t)x);
    put32(p + 4, (uint32_t)(x >> 32));
}

static uint8_t *room(size_t n) {
    void *p = NULL;
    if (posix_memalign(&p, 64, n ? n : 1) != 0)
        abort();
    return p;
}

static void fix_sums(uint8_t *file, size_t n) {
    if (n < HEADER)
        return;
    uint64_t table = nct_le64(file + 32), bytes = (uint64_t)nct_le32(file + 20) * ENTRY;
    if (table <= n && bytes <= n - table)
        nct_sha256_of(file + table, (size_t)bytes, file + 40);
    nct_sha256_of(file, HEADER - NCT_SHA256_BYTES, file + HEADER - NCT_SHA256_BYTES);
}

static uint8_t *lay_out(const uint8_t *data, size_t size, size_t *n_file) {
    static const uint8_t head[] = {0x89, 'N', 'C', 'T', '\r', '\n', 0x1a, '\n', 1, 0, 0, 0, 4, 3, 2, 1,
                                   NCT_BUNDLE_LAYOUT};
    uint8_t table[MAX_RECORDS * ENTRY] = {0};
    static uint8_t file[MAX_FILE]; /* zero beyond what the last input wrote */
    static size_t written;
    size_t at = HEADER, n = 0;
    memset(file, 0, written);
    memcpy(file, head, sizeof head);
    for (; size >= RECORD + 4 && n < MAX_RECORDS; n++) {
        size_t n_data = nct_le32(data + RECORD);
        uint8_t *e = table + n * ENTRY;
        n_data = n_data < size - RECORD - 4 ? n_data : size - RECORD - 4;
        if (n_data > MAX_FILE - at - sizeof table - 4096)
            break;
        memcpy(e, data, RECORD);
        put64(e + 16, nct_le64(e + 16) + at);
        put64(e + 24, nct_le64(e + 24) + n_data);
        memcpy(file + at, data + RECORD + 4, n_data);
        at = (at + n_data + 4095) / 4096 * 4096;
        data += RECORD + 4 + n_data;
        size -= RECORD + 4 + n_data;
    }
    memcpy(file + at, table, n * ENTRY);
    *n_file = at + n * ENTRY;
    put32(file + 20, (uint32_t)n);
    put64(file + 24, *n_file);
    put64(file + 32, at);
    written = *n_file;
    uint8_t *exact = room(*n_file); /* so that a sanitizer sees the first byte read past the end */
    memcpy(exact, file, *n_file);
    return exact;
}

/* ------------------------------------------------------------------ using */

static void multiply(const nct_linear *l) {
    size_t n_rows = l->panels.n_rows, n_cols = l->panels.n_cols;
    float *x = calloc(ROWS * n_cols, sizeof *x), *y = calloc(ROWS * n_rows, sizeof *y);
    nct_arena arena;
    if (!x || !y || nct_arena_open(&arena, nct_linear_scratch_bytes(l, ROWS), NULL) != NCT_OK)
        abort();
    for (size_t i = 0; i < ROWS * n_cols; i++)
        x[i] = (float)(i % 7) - 3;
    for (int exact = 0; exact < 2; exact++) {
        nct_exec exec = {.kernels = &kernels, .pool = pool, .scratch = &arena, .exact = exact};
        nct_linear_run(&exec, &(nct_linear_job){l, x, n_cols, y, n_rows, NULL}, 1, ROWS);
        seen ^= y[ROWS * n_rows - 1] > 0;
    }
    nct_arena_close(&arena);
    free(x);
    free(y);
}

static void use_matrix(const nct_bundle *b, const nct_section *s) {
    nct_stored stored = {0};
    nct_unpacked u;
    nct_linear l = {0};
    if (nct_bundle_matrix(b, (nct_role)s->role, (int)s->layer, s->n_rows, s->n_cols, &stored, NULL) != NCT_OK)
        return;
    bool small = s->n_rows * s->n_cols <= MAX_VALUES && s->n_rows > 0 && s->n_cols > 0;
    if (small && stored.codec->describe(&stored, &u, NULL) == NCT_OK) {
        float *value = calloc(s->n_cols, sizeof *value);
        uint8_t *scratch = room(nct_dequantize_scratch_bytes(&stored));
        for (size_t row = 0; row < s->n_rows; row++) {
            nct_dequantize_row(&stored, &u, row, value, scratch);
            seen ^= value[s->n_cols - 1] > 0;
        }
        free(value);
        free(scratch);
        if (s->kind == NCT_SECTION_PANELS && nct_linear_open(&stored, pool, &l, NULL) == NCT_OK) {
            multiply(&l);
            nct_linear_close(&l);
        }
    }
    nct_stored_close(&stored);
}

static void use_vocab(const nct_section *s) {
    static const char text[] =
        "<s> the  end\xe4\xb8\xad\xff of<|im_end|> aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    nct_vocab *v = NULL;
    if (nct_vocab_read_tables("vocab", s->data, s->n_bytes, &v, NULL) != NCT_OK)
        return;
    for (int special = 0; special < 2; special++) {
        int32_t *ids = NULL;
        char *back = NULL;
        size_t n = 0, n_bytes;
        if (nct_bpe_encode(v, text, sizeof text - 1, special, true, &ids, &n, NULL) == NCT_OK &&
            nct_text_decode(v, ids, n, special, &back, &n_bytes, NULL) == NCT_OK)
            seen ^= (uint8_t)n_bytes;
        nct_free(ids);
        nct_free(back);
    }
    for (int32_t id = -2; id < v->n_pieces + 2; id++) {
        char *piece = NULL;
        size_t n_bytes;
        if (nct_text_decode(v, &id, 1, true, &piece, &n_bytes, NULL) == NCT_OK)
            nct_free(piece);
    }
    nct_vocab_close(v);
}

static void use(const nct_bundle *b) {
    nct_file_config config = {0};
    nct_reference r;
    char *made = NULL;
    if (nct_bundle_config(b, &config, NULL) == NCT_OK)
        nct_file_config_close(&config);
    if (nct_bundle_made(b, &made, NULL) == NCT_OK)
        nct_free(made);
    for (int of = NCT_REFERENCE_SOURCE; of <= NCT_REFERENCE_SELF; of++)
        if (nct_bundle_reference(b, (nct_reference_of)of, &r) && r.n_vocab)
            seen ^= r.logits[r.n_vocab - 1] > 0;
    const nct_section *s;
    for (size_t i = 0; (s = nct_bundle_section(b, i)); i++) {
        if (s->kind == NCT_SECTION_PANELS || s->kind == NCT_SECTION_NORM)
            use_matrix(b, s);
        if (s->kind == NCT_SECTION_VOCAB)
            use_vocab(s);
    }
    nct_tensor_info info;
    for (size_t i = 0; nct_bundle_tensor(b, i, &info); i++)
        seen ^= (uint8_t)info.name[0];
    nct_bundle_verify(b, pool, NULL, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    nct_bundle *b = NULL;
    size_t n = size;
    uint8_t *file;
    if (!pool && (nct_pool_open(1, &pool, NULL) != NCT_OK ||
                  nct_kernels_pick(getenv("NOCTULE_ISA"), &kernels, NULL) != NCT_OK))
        abort();
    if (nct_bundle_probe(data, size)) {
        file = room(size);
        memcpy(file, data, size);
        fix_sums(file, n);
    } else {
        file = lay_out(data, size, &n);
        fix_sums(file, n);
    }
    if (nct_bundle_parse("fuzz.nct", file, n, &b, NULL) == NCT_OK) {
        use(b);
        nct_bundle_close(b);
    }
    free(file);
    return 0;
}
