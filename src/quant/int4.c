#include "quant/int4.h"

#include <stdio.h>

#include "base/mem.h"

/* True if the part holds exactly n * m / per items of item_bytes. */
static bool holds(const nct_part *part, size_t n, size_t m, size_t per, size_t item_bytes) {
    size_t count;
    return nct_mul_size(n, m, &count) && count % per == 0 && nct_mul_size(count / per, item_bytes, &count) &&
           part->data && part->n_bytes == count;
}

nct_status nct_int4_describe(const nct_stored *s, const char *method, nct_unpacked *u, nct_error *err) {
    if (s->n_rows == 0 || s->n_cols == 0 || s->first_row > s->n_rows_file ||
        s->n_rows > s->n_rows_file - s->first_row)
        return nct_fail(err, NCT_E_FORMAT, "'%s': %zu rows from %zu on, of a matrix of %zu x %zu", s->name,
                        s->n_rows, s->first_row, s->n_rows_file, s->n_cols);
    if (s->n_cols % 8 || s->n_rows_file % 8)
        return nct_fail(err, NCT_E_FORMAT, "'%s': %zu x %zu is no shape for %s, which packs 8 codes a word",
                        s->name, s->n_rows_file, s->n_cols, method);
    if (s->group == 0 || s->group > s->n_cols || (s->group < s->n_cols && s->group % 16))
        return nct_fail(err, NCT_E_UNSUPPORTED,
                        "'%s': groups of %zu columns, expected a multiple of 16 or all %zu", s->name,
                        s->group, s->n_cols);
    if (s->type != NCT_TYPE_F32 && s->type != NCT_TYPE_F16 && s->type != NCT_TYPE_BF16)
        return nct_fail(err, NCT_E_UNSUPPORTED,
                        "'%s': scales are of number type %u, expected F16, BF16 or F32", s->name,
                        (unsigned)s->type);
    size_t n_groups = nct_int4_groups(s);
    if (!holds(&s->part[NCT_PART_QWEIGHT], s->n_rows_file, s->n_cols, 2, 1))
        return nct_fail(err, NCT_E_FORMAT, "'%s': %zu bytes of codes do not make %zu x %zu", s->name,
                        s->part[NCT_PART_QWEIGHT].n_bytes, s->n_rows_file, s->n_cols);
    if (!holds(&s->part[NCT_PART_SCALES], s->n_rows_file, n_groups, 1, s->type == NCT_TYPE_F32 ? 4 : 2))
        return nct_fail(err, NCT_E_FORMAT, "'%s': %zu bytes of scales, expected %zu groups of %zu rows",
                        s->name, s->part[NCT_PART_SCALES].n_bytes, n_groups, s->n_rows_file);
    if (!s->symmetric && !holds(&s->part[NCT_PART_QZEROS], s->n_rows_file, n_groups, 2, 1))
        return nct_fail(err, NCT_E_FORMAT, "'%s': %zu bytes of zero points, expected %zu groups of %zu rows",
                        s->name, s->part[NCT_PART_QZEROS].n_bytes, n_groups, s->n_rows_file);
    *u = (nct_unpacked){
        .form = NCT_FORM_CODES4, .group = s->group, .bias = s->symmetric ? 8 : 0, .has_min = !s->symmetric};
    if (s->group == s->n_cols)
        snprintf(u->label, sizeof u->label, "%s int4 row", method);
    else
        snprintf(u->label, sizeof u->label, "%s int4 g%zu", method, s->group);
    return NCT_OK;
}

/* Whether all zero points are the middle code, by their words. */
static bool all_words(const nct_part *part, uint32_t word) {
    for (size_t i = 0; i + 4 <= part->n_bytes; i += 4)
        if (nct_le32(part->data + i) != word)
            return false;
    return part->n_bytes > 0;
}

static nct_status settle_zeros(nct_stored *s, bool sym_stated, nct_error *err) {
    const nct_part *zeros = &s->part[NCT_PART_QZEROS];
    s->symmetric = zeros->data ? all_words(zeros, s->zero_offset ? 0x77777777u : 0x88888888u) : sym_stated;
    /* Symmetric files of either convention are met under the other's name. */
    if (!s->symmetric && sym_stated && zeros->data)
        s->symmetric = all_words(zeros, s->zero_offset ? 0x88888888u : 0x77777777u);
    if (s->symmetric)
        return NCT_OK;
    if (!zeros->data)
        return nct_fail(err, NCT_E_FORMAT, "'%s': no qzeros, and nothing says that it is symmetric", s->name);
    if (sym_stated)
        return nct_fail(err, NCT_E_FORMAT, "'%s': said to be symmetric, but its zero points are not all 8",
                        s->name);
    return NCT_OK;
}

/* Counting sort of columns by group. count [n_groups + 1] is where the next column of each group goes. */
static nct_status sort_columns(nct_stored *s, size_t *count, int32_t *perm, nct_error *err) {
    const uint8_t *g_idx = s->part[NCT_PART_G_IDX].data;
    size_t n_groups = nct_int4_groups(s);
    for (size_t k = 0; k < s->n_cols; k++) {
        uint32_t g = nct_le32(g_idx + 4 * k);
        if (g >= n_groups)
            return nct_fail(err, NCT_E_FORMAT, "'%s': g_idx of column %zu is %d, expected 0 to %zu", s->name,
                            k, (int)(int32_t)g, n_groups - 1);
        count[g + 1]++;
    }
    for (size_t g = 0; g < n_groups; g++) {
        size_t expected = g + 1 < n_groups ? s->group : s->n_cols - g * s->group;
        if (count[g + 1] != expected)
            return nct_fail(err, NCT_E_UNSUPPORTED, "'%s': group %zu has %zu columns, expected %zu", s->name,
                            g, count[g + 1], expected);
        count[g + 1] += count[g];
    }
    for (size_t k = 0; k < s->n_cols; k++)
        perm[count[nct_le32(g_idx + 4 * k)]++] = (int32_t)k;
    return NCT_OK;
}

static nct_status settle_order(nct_stored *s, nct_error *err) {
    const nct_part *g_idx = &s->part[NCT_PART_G_IDX];
    if (!g_idx->data)
        return NCT_OK;
    if (!holds(g_idx, s->n_cols, 1, 1, 4) || s->n_cols > INT32_MAX)
        return nct_fail(err, NCT_E_FORMAT, "'%s': g_idx has %zu bytes, expected 4 for each of %zu columns",
                        s->name, g_idx->n_bytes, s->n_cols);
    size_t k = 0;
    while (k < s->n_cols && nct_le32(g_idx->data + 4 * k) == k / s->group)
        k++;
    if (k == s->n_cols)
        return NCT_OK; /* in order: nothing to permute */
    void *count = NULL, *perm = NULL;
    NCT_TRY(nct_alloc(&count, nct_int4_groups(s) + 1, sizeof(size_t), err));
    nct_status status = nct_alloc(&perm, s->n_cols, sizeof(int32_t), err);
    if (status == NCT_OK)
        status = sort_columns(s, count, perm, err);
    nct_free(count);
    if (status == NCT_OK)
        s->perm = perm;
    else
        nct_free(perm);
    return status;
}

nct_status nct_int4_settle(nct_stored *s, bool sym_stated, nct_error *err) {
    if (s->group == 0)
        return nct_fail(err, NCT_E_FORMAT, "'%s': groups of no columns", s->name);
    NCT_TRY(settle_zeros(s, sym_stated, err));
    return settle_order(s, err);
}
