/** What the kernel tests share: the rungs to test, made-up numbers, a plain packer written from the
 *  layout's description (not from the packer), and outputs between guard values. */
#ifndef NCT_TEST_KERNEL_MADE_H
#define NCT_TEST_KERNEL_MADE_H

#include <math.h>

#include "base/num.h"
#include "kernel/kernel.h"
#include "support/support.h"

/* ------------------------------------------------------------------ rungs */

/** Calls fn(ref, rung) for the rung of NOCTULE_ISA, or for every rung this processor has. */
static inline void each_rung(void (*fn)(const nct_kernels *ref, const nct_kernels *rung)) {
    nct_kernels ref, rung;
    assert_int_equal(nct_kernels_pick("ref", &ref, NULL), NCT_OK);
    for (size_t i = 0; nct_kernels_rung(i); i++) {
        const char *name = nct_kernels_rung(i);
        if (nct_test_isa() && strcmp(nct_test_isa(), name) != 0)
            continue;
        nct_status status = nct_kernels_pick(name, &rung, NULL);
        if (status == NCT_E_UNSUPPORTED)
            print_message("%s: this processor lacks it\n", name);
        else {
            assert_int_equal(status, NCT_OK);
            fn(&ref, &rung);
        }
    }
}

#if defined(__x86_64__)
void nct_avx512bf16_attend(nct_kernels *k);
#endif

/** The same, and once more for what the highest rung can do but leaves to others on this processor: attention by pairs
 *  of bfloat16. */
static inline void each_way_to_attend(void (*fn)(const nct_kernels *ref, const nct_kernels *rung)) {
    each_rung(fn);
#if defined(__x86_64__)
    nct_kernels ref, rung;
    if ((nct_test_isa() && strcmp(nct_test_isa(), "avx512bf16") != 0) ||
        nct_kernels_pick("avx512bf16", &rung, NULL) != NCT_OK)
        return;
    assert_int_equal(nct_kernels_pick("ref", &ref, NULL), NCT_OK);
    nct_avx512bf16_attend(&rung);
    rung.isa = "avx512bf16, pairs";
    fn(&ref, &rung);
#endif
}

/* ------------------------------------------------------------------ numbers */

static uint64_t made_state = 1;

static inline uint32_t made_next(void) {
    made_state = made_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(made_state >> 32);
}
static inline float made_uniform(void) { return (float)(made_next() >> 8) * 0x1p-23f - 1; }
static inline float made_normal(void) { return made_uniform() + made_uniform() + made_uniform() + made_uniform(); }

/** Exactly n items, so that a sanitizer sees one read too many. Freed with free. */
static inline void *made_room(size_t n, size_t item_bytes) {
    size_t bytes = n * item_bytes;
    void *p = NULL;
    if (bytes > (size_t)1 << 32 || posix_memalign(&p, 64, bytes > 0 ? bytes : 1) != 0)
        abort();
    memset(p, 0, bytes);
    return p;
}
static inline float *made_floats(size_t n) {
    float *x = made_room(n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = made_normal();
    return x;
}

/* ------------------------------------------------------------------ guards */

#define MADE_GUARD 0x7fc0beefu /* a NaN nobody computes */
static inline void guard(float *y, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] = nct_f32_from_bits(MADE_GUARD);
}
static inline bool guarded(float v) { return nct_bits_from_f32(v) == MADE_GUARD; }

/** y has rows of y_stride values, of which columns [from, to) may have been written, and must have been. */
static inline void assert_written(const char *what, const float *y, size_t n_rows, size_t y_stride, size_t from, size_t to) {
    for (size_t t = 0; t < n_rows; t++)
        for (size_t o = 0; o < y_stride; o++)
            if (guarded(y[t * y_stride + o]) != (o < from || o >= to))
                fail_msg("%s: row %zu, output %zu %s", what, t, o, o < from || o >= to ? "was written" : "was left out");
}

/* ------------------------------------------------------------------ matrices */

typedef struct made_matrix {
    nct_panels w;
    uint8_t *code;      /* [n_rows][n_cols], codes */
    float *value;       /* [n_rows][n_cols], the weights' exact values, or scale * (code - bias) + min */
    float *scale, *min; /* [n_rows][n_groups] */
} made_matrix;

typedef struct made_shape {
    nct_panel_kind kind;
    size_t n_rows, n_cols, group;
    int bias;
    bool has_min, scale_f32;
    int code; /* every code is this one; negative: random */
} made_shape;

static inline size_t made_up64(size_t n) { return (n + 63) / 64 * 64; }

static inline void made_pack_floats(made_matrix *m) {
    nct_panels *w = &m->w;
    size_t value_bytes = w->kind == NCT_PANEL_F32 ? 4 : 2;
    w->panel_bytes = made_up64(w->n_cols * NCT_PANEL * value_bytes);
    w->data = made_room(w->n_panels, w->panel_bytes);
    for (size_t r = 0; r < w->n_rows; r++)
        for (size_t k = 0; k < w->n_cols; k++) {
            float *v = m->value + r * w->n_cols + k;
            uint8_t *to = w->data + r / NCT_PANEL * w->panel_bytes + (k * NCT_PANEL + r % NCT_PANEL) * value_bytes;
            uint16_t half = w->kind == NCT_PANEL_F16 ? nct_f32_to_f16(*v) : nct_f32_to_bf16(*v);
            if (w->kind == NCT_PANEL_F32)
                memcpy(to, v, 4);
            else
                memcpy(to, &half, 2);
            if (w->kind == NCT_PANEL_F16)
                *v = nct_f16_to_f32(half);
            if (w->kind == NCT_PANEL_BF16)
                *v = nct_bf16_to_f32(half);
        }
}

static inline void made_pack_codes(made_matrix *m, const made_shape *s) {
    nct_panels *w = &m->w;
    w->group = s->group;
    w->n_groups = (s->n_cols + s->group - 1) / s->group;
    w->bias = s->bias;
    w->has_min = s->has_min;
    const size_t bits = w->kind == NCT_PANEL_CODES2 ? 2 : w->kind == NCT_PANEL_CODES4 ? 4 : 8, unit = 32 / bits;
    w->scale_f32 = s->scale_f32;
    for (size_t g = 0; g < w->n_groups; g++)
        w->n_cols_padded += nct_group_padded(w, g);
    w->scale_off = made_up64(w->n_cols_padded * NCT_PANEL * bits / 8);
    w->min_off = made_up64(w->scale_off + w->n_groups * NCT_PANEL * (w->scale_f32 ? 4 : 2));
    w->panel_bytes = made_up64(w->min_off + (w->has_min ? w->n_groups * NCT_PANEL * 4 : 0));
    w->data = made_room(w->n_panels, w->panel_bytes);
    m->code = made_room(w->n_rows * w->n_cols, 1);
    m->scale = made_room(w->n_rows * w->n_groups, sizeof(float));
    m->min = made_room(w->n_rows * w->n_groups, sizeof(float));

    for (size_t r = 0; r < w->n_panels * NCT_PANEL; r++) {
        uint8_t *panel = w->data + r / NCT_PANEL * w->panel_bytes;
        size_t o = r % NCT_PANEL;
        bool real = r < w->n_rows;
        for (size_t g = 0; g < w->n_groups; g++) {
            float scale = made_uniform() * 0.02f, min = w->has_min ? made_uniform() * 0.1f : 0;
            uint16_t half = nct_f32_to_f16(scale);
            if (!w->scale_f32)
                scale = nct_f16_to_f32(half);
            if (!real)
                scale = min = 0, half = 0;
            if (w->scale_f32)
                memcpy(panel + w->scale_off + (g * NCT_PANEL + o) * 4, &scale, 4);
            else
                memcpy(panel + w->scale_off + (g * NCT_PANEL + o) * 2, &half, 2);
            if (w->has_min)
                memcpy(panel + w->min_off + (g * NCT_PANEL + o) * 4, &min, 4);
            if (real) {
                m->scale[r * w->n_groups + g] = scale;
                m->min[r * w->n_groups + g] = min;
            }
            for (size_t i = 0; i < nct_group_padded(w, g); i++) {
                size_t column = nct_group_start(w, g) + i, k = g * w->group + i;
                uint8_t code = (uint8_t)w->bias;
                if (real && i < nct_group_size(w, g)) {
                    uint32_t top = (1u << bits) - 1;
                    code = (uint8_t)(s->code >= 0 ? (uint32_t)s->code : made_next() % (top + 1));
                    m->code[r * w->n_cols + k] = code;
                    m->value[r * w->n_cols + k] = scale * (float)(code - w->bias) + min;
                }
                panel[column / unit * 64 + 4 * o + column % 4] |= (uint8_t)(code << bits * (column % unit / 4));
            }
        }
    }
}

static inline void made_matrix_open(made_matrix *m, const made_shape *s) {
    made_state = s->n_rows * 1000003 + s->n_cols * 101 + s->group;
    *m = (made_matrix){.w = {.kind = s->kind, .n_rows = s->n_rows, .n_cols = s->n_cols}};
    m->w.n_panels = (s->n_rows + NCT_PANEL - 1) / NCT_PANEL;
    m->value = made_floats(s->n_rows * s->n_cols);
    if (nct_is_coded(s->kind))
        made_pack_codes(m, s);
    else
        made_pack_floats(m);
}

static inline void made_matrix_close(made_matrix *m) {
    free(m->w.data);
    free(m->code);
    free(m->value);
    free(m->scale);
    free(m->min);
}

static inline void made_qrows_open(nct_qrows *q, const nct_panels *w, size_t n_rows) {
    q->n_groups = w->n_groups;
    q->q_stride = made_up64(w->n_cols_padded);
    q->q = made_room(n_rows, q->q_stride);
    q->scale = made_room(n_rows * q->n_groups, sizeof *q->scale);
    q->sum = made_room(n_rows * q->n_groups, sizeof *q->sum);
    memset(q->q, 0x55, n_rows * q->q_stride);
}

static inline void made_qrows_close(nct_qrows *q) {
    free(q->q);
    free(q->scale);
    free(q->sum);
}

#endif
