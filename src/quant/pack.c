#include "quant/pack.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "base/num.h"
#include "base/pages.h"

static size_t gcd(size_t a, size_t b) {
    while (b) {
        size_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

/* The group the kernels use for a stored group: itself if small enough, else a part of it. */
static size_t kernel_group(size_t group, size_t n_cols) {
    if (group <= NCT_GROUP_MAX)
        return group;
    return group >= n_cols ? NCT_GROUP_MAX : gcd(group, NCT_GROUP_MAX);
}

bool nct_panels_shape(nct_panels *p) {
    size_t bytes;
    if (p->n_rows == 0 || p->n_cols == 0 || p->n_rows > INT32_MAX || p->n_cols > INT32_MAX)
        return false;
    p->n_panels = (p->n_rows + NCT_PANEL - 1) / NCT_PANEL;
    if (!nct_is_coded(p->kind)) {
        if (!nct_mul_size(p->n_cols, NCT_PANEL * (p->kind == NCT_PANEL_F32 ? 4 : 2), &bytes))
            return false;
        p->panel_bytes = nct_pad64(bytes);
        return nct_mul_size(p->panel_bytes, p->n_panels, &bytes);
    }
    if (p->group == 0 || p->group > NCT_GROUP_MAX)
        return false;
    p->n_groups = (p->n_cols + p->group - 1) / p->group;
    p->n_cols_padded = nct_group_start(p, p->n_groups - 1) + nct_group_padded(p, p->n_groups - 1);
    p->scale_off = p->n_cols_padded * NCT_PANEL / 8 * (size_t)nct_code_bits(p->kind);
    p->min_off = p->scale_off + nct_pad64(p->n_groups * NCT_PANEL * (p->scale_f32 ? 4 : 2));
    p->panel_bytes = p->min_off + (p->has_min ? nct_pad64(p->n_groups * NCT_PANEL * 4) : 0);
    return nct_mul_size(p->panel_bytes, p->n_panels, &bytes);
}

/* What the panels of a stored matrix are like, with scales in float16 for now. */
static bool shape(nct_panels *p, const nct_stored *stored, const nct_unpacked *u) {
    *p = (nct_panels){.n_rows = stored->n_rows, .n_cols = stored->n_cols};
    switch (u->form) {
    case NCT_FORM_F32: p->kind = NCT_PANEL_F32; break;
    case NCT_FORM_F16: p->kind = NCT_PANEL_F16; break;
    case NCT_FORM_BF16: p->kind = NCT_PANEL_BF16; break;
    case NCT_FORM_CODES4: p->kind = NCT_PANEL_CODES4; break;
    case NCT_FORM_CODES8: p->kind = NCT_PANEL_CODES8; break;
    case NCT_FORM_CODES2: p->kind = NCT_PANEL_CODES2; break;
    }
    if (nct_is_coded(p->kind)) {
        p->group = kernel_group(u->group, p->n_cols);
        p->bias = u->bias;
        p->has_min = u->has_min;
    }
    return nct_panels_shape(p);
}

struct packing {
    const nct_stored *stored;
    const nct_unpacked *unpacked;
    nct_panels *panels;
    uint8_t *scratch; /* one slice per worker */
    size_t scratch_bytes, code_bytes, group_bytes;
    atomic_bool inexact; /* a scale was met that float16 cannot hold */
};

static void pack_floats(struct packing *k, size_t panel, size_t n_rows, const float *value) {
    nct_panels *p = k->panels;
    uint8_t *data = p->data + panel * p->panel_bytes;
    float *wide = (float *)(void *)data;
    uint16_t *half = (uint16_t *)(void *)data;
    for (size_t c = 0; c < p->n_cols; c++) /* the panel in its own order, the rows as sixteen streams */
        for (size_t o = 0; o < n_rows; o++) {
            float v = value[o * p->n_cols + c];
            if (p->kind == NCT_PANEL_F32)
                wide[c * NCT_PANEL + o] = v;
            else
                half[c * NCT_PANEL + o] = p->kind == NCT_PANEL_F16 ? nct_f32_to_f16(v) : nct_f32_to_bf16(v);
        }
}

/* Codes of one output, `n` columns from padded column `start` on; columns past n are padding. */
static void pack_group(const nct_panels *p, uint8_t *data, size_t o, size_t start, const uint8_t *code, size_t n) {
    const size_t bits = (size_t)nct_code_bits(p->kind), unit = 32 / bits, padded = nct_group_pad(p, n);
    uint8_t *to = data + start / unit * 64 + 4 * o;
    for (size_t i = 0; i < padded; i += unit, to += 64)
        for (size_t j = 0; j < 4; j++) {
            unsigned byte = 0;
            for (size_t c = j, shift = 0; c < unit; c += 4, shift += bits)
                byte |= (i + c < n ? (unsigned)code[i + c] : (unsigned)p->bias) << shift;
            to[j] = (uint8_t)byte;
        }
}

static void pack_codes(struct packing *k, size_t panel, size_t n_rows, const uint8_t *code, const float *scale,
                       const float *min) {
    nct_panels *p = k->panels;
    uint8_t *data = p->data + panel * p->panel_bytes;
    size_t n_stored = nct_unpacked_groups(k->unpacked, p->n_cols);
    for (size_t o = 0; o < n_rows; o++)
        for (size_t g = 0; g < p->n_groups; g++) {
            size_t start = nct_group_start(p, g), n = nct_group_size(p, g);
            pack_group(p, data, o, start, code + o * p->n_cols + g * p->group, n);
            size_t at = g * NCT_PANEL + o, from = o * n_stored + g * p->group / k->unpacked->group;
            if (p->scale_f32) {
                ((float *)(void *)(data + p->scale_off))[at] = scale[from];
            } else {
                uint16_t h = nct_f32_to_f16(scale[from]);
                if (nct_f16_to_f32(h) != scale[from])
                    atomic_store_explicit(&k->inexact, true, memory_order_relaxed);
                ((uint16_t *)(void *)(data + p->scale_off))[at] = h;
            }
            if (p->has_min)
                ((float *)(void *)(data + p->min_off))[at] = min[from];
        }
}

static void pack_panel(void *context, int task, int worker) {
    struct packing *k = context;
    if (!k->panels->scale_f32 && atomic_load_explicit(&k->inexact, memory_order_relaxed))
        return;
    nct_panels *p = k->panels;
    size_t first = (size_t)task * NCT_PANEL, n = p->n_rows - first < NCT_PANEL ? p->n_rows - first : NCT_PANEL;
    uint8_t *scratch = k->scratch + (size_t)worker * k->scratch_bytes;
    if (!nct_is_coded(p->kind)) {
        float *value = (float *)(void *)scratch;
        k->stored->codec->rows(k->stored, first, n, value, NULL, NULL, NULL);
        pack_floats(k, (size_t)task, n, value);
        return;
    }
    float *scale = (float *)(void *)(scratch + k->code_bytes), *min = (float *)(void *)(scratch + k->code_bytes + k->group_bytes);
    k->stored->codec->rows(k->stored, first, n, NULL, scratch, scale, min);
    pack_codes(k, (size_t)task, n, scratch, scale, min);
}

nct_status nct_pack(const nct_stored *stored, nct_pool *pool, nct_panels *panels, nct_unpacked *unpacked, nct_error *err) {
    nct_unpacked u;
    nct_panels p;
    NCT_TRY(stored->codec->describe(stored, &u, err));
    if (!shape(&p, stored, &u))
        return nct_fail(err, NCT_E_FORMAT, "'%s': a matrix of %zu x %zu cannot be held", stored->name, stored->n_rows,
                        stored->n_cols);
    struct packing k = {.stored = stored, .unpacked = &u, .panels = &p};
    if (!nct_is_coded(p.kind)) {
        k.scratch_bytes = nct_pad64(p.n_cols * NCT_PANEL * sizeof(float));
    } else {
        k.code_bytes = nct_pad64(p.n_cols * NCT_PANEL);
        k.group_bytes = nct_pad64(nct_unpacked_groups(&u, p.n_cols) * NCT_PANEL * sizeof(float));
        k.scratch_bytes = k.code_bytes + 2 * k.group_bytes;
    }
    void *block = NULL;
    NCT_TRY(nct_alloc(&block, (size_t)nct_pool_size(pool), k.scratch_bytes, err));
    k.scratch = block;
    for (int attempt = 0; attempt < 2; attempt++) {
        void *data = NULL;
        nct_status status = nct_pool_memory(pool, p.n_panels, p.panel_bytes, &data, err);
        if (status != NCT_OK) {
            nct_free(k.scratch);
            return status;
        }
        p.data = data;
        nct_pool_run(pool, (int)p.n_panels, pack_panel, &k);
        if (!atomic_load(&k.inexact) || p.scale_f32)
            break;
        nct_panels_close(&p); /* some scale needs float32: all of them get it */
        p.scale_f32 = true;
        bool held = nct_panels_shape(&p);
        assert(held); /* the scales are a small part of what there was room for */
        (void)held;
    }
    nct_free(k.scratch);
    *panels = p;
    *unpacked = u;
    return NCT_OK;
}

void nct_panels_close(nct_panels *panels) {
    nct_pages_close(panels->data, nct_panels_bytes(panels));
    panels->data = NULL;
}

unsigned nct_panels_code(const nct_panels *p, size_t row, size_t column) {
    const uint8_t *data = p->data + row / NCT_PANEL * p->panel_bytes;
    size_t i = nct_group_start(p, column / p->group) + column % p->group;
    return nct_code(nct_code_bits(p->kind), data, row % NCT_PANEL, i);
}

float nct_panels_scale(const nct_panels *p, size_t row, size_t group) {
    const void *scale = p->data + row / NCT_PANEL * p->panel_bytes + p->scale_off;
    size_t at = group * NCT_PANEL + row % NCT_PANEL;
    return p->scale_f32 ? ((const float *)scale)[at] : nct_f16_to_f32(((const uint16_t *)scale)[at]);
}

float nct_panels_min(const nct_panels *p, size_t row, size_t group) {
    if (!p->has_min)
        return 0;
    const void *min = p->data + row / NCT_PANEL * p->panel_bytes + p->min_off;
    return ((const float *)min)[group * NCT_PANEL + row % NCT_PANEL];
}

/* One group's part of a row; value [n]. */
static inline void group_row(const nct_panels *p, int bits, size_t row, size_t g, float *value) {
    const uint8_t *data = p->data + row / NCT_PANEL * p->panel_bytes;
    size_t start = nct_group_start(p, g), n = nct_group_size(p, g);
    float scale = nct_panels_scale(p, row, g), min = nct_panels_min(p, row, g);
    for (size_t c = 0; c < n; c++) {
        value[c] = scale * (float)((int)nct_code(bits, data, row % NCT_PANEL, start + c) - p->bias);
        if (p->has_min)
            value[c] += min;
    }
}

void nct_panels_row(const nct_panels *p, size_t row, float *value) {
    if (nct_is_coded(p->kind)) {
        for (size_t g = 0; g < p->n_groups; g++)
            switch (p->kind) {
            case NCT_PANEL_CODES2: group_row(p, 2, row, g, value + g * p->group); break;
            case NCT_PANEL_CODES4: group_row(p, 4, row, g, value + g * p->group); break;
            default: group_row(p, 8, row, g, value + g * p->group);
            }
        return;
    }
    const void *data = p->data + row / NCT_PANEL * p->panel_bytes;
    for (size_t c = 0, at = row % NCT_PANEL; c < p->n_cols; c++, at += NCT_PANEL)
        value[c] = p->kind == NCT_PANEL_F32   ? ((const float *)data)[at]
                   : p->kind == NCT_PANEL_F16 ? nct_f16_to_f32(((const uint16_t *)data)[at])
                                              : nct_bf16_to_f32(((const uint16_t *)data)[at]);
}
