/** Panels that were made earlier and lie in a bundle. The engine uses them where they lie; unpacking serves
 *  whoever wants the numbers: `info`, another conversion. */
#include <assert.h>
#include <string.h>

#include "quant/pack.h"

/* Whether the panels are what nct_pack would have made of their kind and shape. */
static bool is_sound(const nct_panels *p) {
    nct_panels expected = *p;
    bool coded = nct_is_coded(p->kind);
    if (p->kind > NCT_PANEL_CODES2 || !nct_panels_shape(&expected) || p->n_panels != expected.n_panels ||
        p->panel_bytes != expected.panel_bytes || (uintptr_t)p->data % 64)
        return false;
    if (!coded)
        return !p->has_min && !p->scale_f32 && p->bias == 0 && p->group == 0;
    if (p->n_groups != expected.n_groups || p->n_cols_padded != expected.n_cols_padded ||
        p->scale_off != expected.scale_off || p->min_off != expected.min_off ||
        (p->n_groups > 1 && p->group % 16))
        return false;
    int highest = 1 << (nct_code_bits(p->kind) - 1);
    return p->has_min ? p->bias == 0 : p->bias >= 0 && p->bias <= highest;
}

static nct_status describe(const nct_stored *s, nct_unpacked *u, nct_error *err) {
    static const nct_weight_form form[] = {NCT_FORM_F32, NCT_FORM_F16, NCT_FORM_BF16, NCT_FORM_CODES4,
                                           NCT_FORM_CODES8, NCT_FORM_CODES2};
    const nct_ready_panels *ready = s->more;
    const nct_panels *p = &ready->panels;
    if (!is_sound(p))
        return nct_fail(err, NCT_E_FORMAT, "'%s': %zu panels of %zu bytes are no packed %zu x %zu matrix",
                        s->name, p->n_panels, p->panel_bytes, p->n_rows, p->n_cols);
    if (p->n_rows != s->n_rows || p->n_cols != s->n_cols || s->first_row != 0 || s->pair_head_dim != 0)
        return nct_fail(err, NCT_E_FORMAT, "'%s': panels of %zu x %zu, expected %zu x %zu", s->name,
                        p->n_rows, p->n_cols, s->n_rows, s->n_cols);
    if (s->part[0].data != p->data || s->part[0].n_bytes != nct_panels_bytes(p))
        return nct_fail(err, NCT_E_FORMAT, "'%s': %zu bytes of panels, expected %zu", s->name,
                        s->part[0].n_bytes, nct_panels_bytes(p));
    *u = (nct_unpacked){.form = form[p->kind], .group = p->group, .bias = p->bias, .has_min = p->has_min};
    memcpy(u->label, ready->label, sizeof u->label);
    return NCT_OK;
}

static void rows(const nct_stored *s, size_t first_row, size_t n_rows, float *value, uint8_t *code,
                 float *scale, float *min) {
    const nct_panels *p = &((const nct_ready_panels *)s->more)->panels;
    assert(first_row + n_rows <= p->n_rows);
    for (size_t r = 0; r < n_rows; r++) {
        size_t row = first_row + r;
        if (value)
            nct_panels_row(p, row, value + r * p->n_cols);
        for (size_t c = 0; code && c < p->n_cols; c++)
            code[r * p->n_cols + c] = (uint8_t)nct_panels_code(p, row, c);
        for (size_t g = 0; scale && g < p->n_groups; g++)
            scale[r * p->n_groups + g] = nct_panels_scale(p, row, g);
        for (size_t g = 0; min && g < p->n_groups; g++)
            min[r * p->n_groups + g] = nct_panels_min(p, row, g);
    }
}

const nct_codec nct_codec_panels = {"panels", describe, rows};
