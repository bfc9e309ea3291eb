/* Bundles: what is written is read, nothing that lies is believed, and an older file survives what goes wrong. */
#include "support/support.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "base/num.h"
#include "format/nct.h"
#include "quant/linear.h"
#include "quant/quantize.h"

/* ------------------------------------------------------------------ a small bundle */

enum { HIDDEN = 48, FFN = 40, VOCAB = 21 };

static nct_pool *pool;

static int open_pool(void **state) {
    (void)state;
    NCT_ASSERT_OK(nct_pool_open(2, &pool, fault));
    return 0;
}
static int close_pool(void **state) {
    (void)state;
    nct_pool_close(pool);
    return 0;
}

static float values[FFN * HIDDEN];

static nct_stored float_matrix(size_t n_rows, size_t n_cols) {
    for (size_t i = 0; i < FFN * HIDDEN; i++)
        values[i] = (float)((i * 37 + 11) % 101) * 0.03125f - 1.5f;
    return (nct_stored){.codec = &nct_codec_float,
                        .name = "made",
                        .n_rows = n_rows,
                        .n_cols = n_cols,
                        .n_rows_file = n_rows,
                        .type = NCT_TYPE_F32,
                        .part = {{(const uint8_t *)values, n_rows * n_cols * sizeof *values}}};
}

static double short_factor[] = {1, 1.25, 1.0 / 3}, long_factor[] = {1, 2.5e3, 7};

static nct_raw_config config(void) {
    return (nct_raw_config){.architecture = "minicpm",
                            .vocab_size = VOCAB,
                            .hidden_size = HIDDEN,
                            .intermediate_size = FFN,
                            .n_layers = 2,
                            .n_heads = 8,
                            .n_kv_heads = 2,
                            .head_dim = 6,
                            .max_positions = 4096,
                            .rms_norm_eps = 1e-5,
                            .rope_theta = 10000,
                            .scale_emb = 12,
                            .residual_scale = 1.4 / sqrt(2),
                            .logit_divisor = 0.1,
                            .tie_word_embeddings = true,
                            .tie_stated = true,
                            .has_rope_factors = true,
                            .rope_original_max = 2048,
                            .n_rope_factors = 3,
                            .short_factor = short_factor,
                            .long_factor = long_factor,
                            .has_sparse = true,
                            .sparse_kernel_size = 32,
                            .sparse_kernel_stride = 16,
                            .sparse_init_blocks = 1,
                            .sparse_block_size = 64,
                            .sparse_window_size = 2048,
                            .sparse_topk = 64,
                            .sparse_dense_len = 8192,
                            .bos = 1,
                            .n_eos = 2,
                            .eos = {2, 20},
                            .temperature = 0.7,
                            .top_p = NAN,
                            .top_k = 50,
                            .repetition_penalty = NAN,
                            .do_sample = 1,
                            .chat_template = "{{ messages }} \xe4\xb8\xad \"\n"};
}

static nct_status add_matrix(nct_bundle_writer *w, uint32_t role, uint32_t layer, const nct_linear *l,
                             nct_error *err) {
    nct_section s = {.kind = NCT_SECTION_PANELS,
                     .role = role,
                     .layer = layer,
                     .n_rows = l->panels.n_rows,
                     .n_cols = l->panels.n_cols,
                     .ready.panels = l->panels};
    memcpy(s.ready.label, l->label, sizeof l->label);
    return nct_bundle_add(w, &s, l->panels.data, nct_panels_bytes(&l->panels), err);
}

static const float reference_logits[VOCAB] = {1, 2, -3};
static const float norm[HIDDEN] = {0.5f, 2};
static int32_t order[HIDDEN];

/* Two matrices, one with a column order, and one of everything else. */
static nct_status write_bundle(const char *path, nct_error *err) {
    nct_linear embedding = {0}, down = {0};
    nct_rounded rounded = {0};
    nct_bundle_writer *w = NULL;
    nct_stored s = float_matrix(VOCAB, HIDDEN), d = float_matrix(HIDDEN, FFN);
    nct_raw_config raw = config();
    nct_reference reference = {
        .isa = "ref", .n_ids = 3, .id = {1, 5, 20}, .n_vocab = VOCAB, .logits = reference_logits};
    uint64_t n_bytes;
    for (int i = 0; i < FFN; i++)
        order[i] = (i * 7 + 3) % FFN;
    nct_status status = nct_linear_open(&s, pool, &embedding, err);
    if (status == NCT_OK)
        status = nct_round_nearest(&d, NCT_QUANT_INT4, 16, pool, &rounded, err);
    if (status == NCT_OK)
        status = nct_linear_open(&rounded.stored, pool, &down, err);
    if (status == NCT_OK)
        status = nct_bundle_create(path, 1 << 20, &w, err);
    if (status == NCT_OK) {
        status = nct_bundle_add_config(w, &raw, "by \"hand\"", err);
        if (status == NCT_OK)
            status = add_matrix(w, NCT_ROLE_DOWN, 1, &down, err);
        if (status == NCT_OK)
            status = add_matrix(w, NCT_ROLE_EMBEDDING, 0, &embedding, err);
        if (status == NCT_OK)
            status = nct_bundle_add(
                w,
                &(nct_section){
                    .kind = NCT_SECTION_PERM, .role = NCT_ROLE_DOWN, .layer = 1, .n_rows = 1, .n_cols = FFN},
                order, FFN * sizeof *order, err);
        if (status == NCT_OK)
            status = nct_bundle_add(
                w,
                &(nct_section){
                    .kind = NCT_SECTION_NORM, .role = NCT_ROLE_FINAL_NORM, .n_rows = 1, .n_cols = HIDDEN},
                norm, sizeof norm, err);
        if (status == NCT_OK)
            status = nct_bundle_add(w, &(nct_section){.kind = NCT_SECTION_LICENCE}, "free", 4, err);
        if (status == NCT_OK)
            status = nct_bundle_add_reference(w, NCT_REFERENCE_SELF, &reference, err);
        if (status == NCT_OK)
            status = nct_bundle_finish(w, pool, &n_bytes, err);
        else
            nct_bundle_abandon(w);
    }
    nct_linear_close(&embedding);
    nct_linear_close(&down);
    nct_rounded_close(&rounded);
    return status;
}

/* The bundle's bytes, aligned and changeable. Freed with free. */
static uint8_t *made_bytes(size_t *n) {
    const char *dir = nct_test_folder(), *path = nct_test_path("%s/a.nct", dir);
    NCT_ASSERT_OK(write_bundle(path, fault));
    char *text = nct_test_read(path, n);
    void *bytes = NULL;
    assert_int_equal(posix_memalign(&bytes, 64, *n), 0);
    memcpy(bytes, text, *n);
    nct_free(text);
    nct_test_folder_remove(dir);
    return bytes;
}

/* ------------------------------------------------------------------ changing one */

static void put32(uint8_t *p, uint32_t x) {
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(x >> 8 * i);
}
static void put64(uint8_t *p, uint64_t x) {
    put32(p, (uint32_t)x);
    put32(p + 4, (uint32_t)(x >> 32));
}

/* Makes the sums of header and table fit again. */
static void fix_sums(uint8_t *data, size_t n) {
    uint64_t table = nct_le64(data + 32), bytes = (uint64_t)nct_le32(data + 20) * 144;
    if (table <= n && bytes <= n - table)
        nct_sha256_of(data + table, (size_t)bytes, data + 40);
    nct_sha256_of(data, 4064, data + 4064);
}

/* The table entry of the first section of a kind (and role). */
static uint8_t *entry_of(uint8_t *data, uint32_t kind, int role) {
    uint8_t *e = data + nct_le64(data + 32);
    for (uint32_t i = 0; i < nct_le32(data + 20); i++, e += 144)
        if (nct_le32(e) == kind && (role < 0 || nct_le32(e + 4) == (uint32_t)role))
            return e;
    fail_msg("no section of kind %u", kind);
    return NULL;
}

/* ------------------------------------------------------------------ round trip */

static void test_nct__what_is_written_is_read(void **state) {
    (void)state;
    size_t n;
    uint8_t *data = made_bytes(&n);
    nct_bundle *b = NULL;
    nct_file_config read = {0};
    NCT_ASSERT_OK(nct_bundle_parse("a.nct", data, n, &b, fault));
    NCT_ASSERT_OK(nct_bundle_config(b, &read, fault));
    nct_raw_config wrote = config(), *raw = &read.raw;
    assert_string_equal(raw->architecture, wrote.architecture);
    assert_int_equal(raw->vocab_size, wrote.vocab_size);
    assert_int_equal(raw->sparse_dense_len, wrote.sparse_dense_len);
    assert_true(raw->has_sparse && !raw->sparse_use_nope && raw->tie_word_embeddings && raw->tie_stated);
    assert_true(raw->residual_scale == wrote.residual_scale && raw->rms_norm_eps == wrote.rms_norm_eps);
    assert_int_equal(raw->n_rope_factors, 3);
    assert_memory_equal(raw->short_factor, short_factor, sizeof short_factor);
    assert_memory_equal(raw->long_factor, long_factor, sizeof long_factor);
    assert_true(raw->n_eos == 2 && raw->eos[0] == 2 && raw->eos[1] == 20 && raw->bos == 1);
    assert_true(raw->temperature == 0.7 && isnan(raw->top_p) && raw->top_k == 50 &&
                isnan(raw->repetition_penalty));
    assert_int_equal(raw->do_sample, 1);
    assert_string_equal(raw->chat_template, wrote.chat_template);
    char *made = NULL;
    NCT_ASSERT_OK(nct_bundle_made(b, &made, fault));
    assert_string_equal(made, "by \"hand\"");
    nct_free(made);
    nct_file_config_close(&read);

    const nct_section *licence = nct_bundle_find(b, NCT_SECTION_LICENCE, 0, 0);
    assert_memory_equal(licence->data, "free", licence->n_bytes);
    nct_reference r;
    assert_true(nct_bundle_reference(b, NCT_REFERENCE_SELF, &r) &&
                !nct_bundle_reference(b, NCT_REFERENCE_SOURCE, &r));
    assert_true(r.n_ids == 3 && r.id[2] == 20 && r.n_vocab == VOCAB && strcmp(r.isa, "ref") == 0);
    assert_memory_equal(r.logits, reference_logits, sizeof reference_logits);
    nct_bundle_close(b);
    free(data);
}

static void test_nct__panels_are_used_where_they_lie_and_unpack(void **state) {
    (void)state;
    size_t n;
    uint8_t *data = made_bytes(&n);
    nct_bundle *b = NULL;
    nct_stored stored = {0};
    nct_unpacked u;
    nct_linear l = {0}, again = {0};
    float row[HIDDEN], value[HIDDEN], scratch[HIDDEN], norm_row[HIDDEN];
    NCT_ASSERT_OK(nct_bundle_parse("a.nct", data, n, &b, fault));
    nct_stored source = float_matrix(HIDDEN, FFN);
    nct_rounded rounded = {0};
    NCT_ASSERT_OK(nct_round_nearest(&source, NCT_QUANT_INT4, 16, pool, &rounded, fault));

    NCT_ASSERT_OK(nct_bundle_matrix(b, NCT_ROLE_DOWN, 1, HIDDEN, FFN, &stored, fault));
    NCT_ASSERT_OK(nct_linear_open(&stored, pool, &l, fault));
    assert_true(l.panels.data >= data && l.panels.data < data + n && l.borrowed);
    assert_string_equal(l.label, "int4 g16");
    NCT_ASSERT_OK(stored.codec->describe(&stored, &u, fault));
    void *room = malloc(nct_dequantize_scratch_bytes(&stored) + 64);
    void *aligned = (void *)(((uintptr_t)room + 63) / 64 * 64);
    for (size_t i = 0; i < HIDDEN; i++) {
        nct_linear_row(&l, i, row, scratch);
        nct_dequantize_row(&stored, &u, i, value, aligned);
        for (size_t j = 0; j < FFN; j++) {
            float w = rounded.scale[i * rounded.n_groups + j / 16] * (float)(rounded.code[i * FFN + j] - 8);
            assert_true(row[order[j]] == w && value[order[j]] == w);
        }
    }
    /* what is read can be packed anew, to the same bytes */
    nct_stored copy = stored;
    nct_codec other = *stored.codec;
    copy.codec = &other;
    NCT_ASSERT_OK(nct_linear_open(&copy, pool, &again, fault));
    assert_false(again.borrowed);
    assert_memory_equal(again.panels.data, l.panels.data, nct_panels_bytes(&l.panels));
    nct_linear_close(&again);
    nct_linear_close(&l);
    nct_stored_close(&stored);

    NCT_ASSERT_OK(nct_bundle_matrix(b, NCT_ROLE_EMBEDDING, 0, VOCAB, HIDDEN, &stored, fault));
    NCT_ASSERT_OK(stored.codec->describe(&stored, &u, fault));
    assert_string_equal(u.label, "f32");
    nct_dequantize_row(&stored, &u, 20, value, aligned);
    assert_memory_equal(value, values + 20 * HIDDEN, sizeof value);
    nct_stored_close(&stored);
    NCT_ASSERT_OK(nct_bundle_matrix(b, NCT_ROLE_FINAL_NORM, 0, 1, HIDDEN, &stored, fault));
    NCT_ASSERT_OK(stored.codec->describe(&stored, &u, fault));
    stored.codec->rows(&stored, 0, 1, norm_row, NULL, NULL, NULL);
    assert_memory_equal(norm_row, norm, sizeof norm);
    nct_stored_close(&stored);

    nct_error err;
    assert_int_equal(nct_bundle_matrix(b, NCT_ROLE_DOWN, 1, HIDDEN, FFN + 1, &stored, &err), NCT_E_FORMAT);
    assert_int_equal(nct_bundle_matrix(b, NCT_ROLE_DOWN, 0, HIDDEN, FFN, &stored, &err), NCT_E_FORMAT);
    assert_non_null(strstr(err.text, "model.layers.0.mlp.down_proj"));
    assert_true(nct_bundle_has(b, NCT_ROLE_DOWN, 1) && !nct_bundle_has(b, NCT_ROLE_HEAD, 0));
    nct_tensor_info info;
    assert_true(nct_bundle_tensor(b, 2, &info) && !nct_bundle_tensor(b, 3, &info));
    free(room);
    nct_rounded_close(&rounded);
    nct_bundle_close(b);
    free(data);
}

/* ------------------------------------------------------------------ lies */

static void not_a_perm(uint8_t *d) { put32(d + nct_le64(entry_of(d, NCT_SECTION_PERM, -1) + 16), FFN); }
static void perm_twice(uint8_t *d) {
    put32(d + nct_le64(entry_of(d, NCT_SECTION_PERM, -1) + 16), (uint32_t)order[1]);
}
static void perm_short(uint8_t *d) {
    uint8_t *e = entry_of(d, NCT_SECTION_PERM, -1);
    put64(e + 24, 4 * (FFN - 1));
    put64(e + 40, FFN - 1);
}
static void wrong_magic(uint8_t *d) { d[0] = 'X'; }
static void other_version(uint8_t *d) { put32(d + 8, 2); }
static void other_layout(uint8_t *d) { put32(d + 16, 77); }
static void big_endian(uint8_t *d) { put32(d + 12, 0x04030201); }
static void wrong_size(uint8_t *d) { put64(d + 24, nct_le64(d + 24) + 1); }
static void many_sections(uint8_t *d) { put32(d + 20, UINT32_MAX); }
static void table_outside(uint8_t *d) { put64(d + 32, UINT64_MAX - 100); }
static void table_in_header(uint8_t *d) { put64(d + 32, 144); }
static void section_in_header(uint8_t *d) { put64(entry_of(d, NCT_SECTION_PANELS, -1) + 16, 0); }
static void section_outside(uint8_t *d) {
    put64(entry_of(d, NCT_SECTION_PANELS, -1) + 16, (uint64_t)1 << 40);
}
static void section_at_the_end_of_time(uint8_t *d) {
    put64(entry_of(d, NCT_SECTION_PANELS, -1) + 16, UINT64_MAX - 4095);
}
static void section_off_border(uint8_t *d) {
    uint8_t *e = entry_of(d, NCT_SECTION_PANELS, -1);
    put64(e + 16, nct_le64(e + 16) + 64);
}
static void section_too_long(uint8_t *d) { put64(entry_of(d, NCT_SECTION_NORM, -1) + 24, UINT64_MAX); }
static void sections_overlap(uint8_t *d) {
    put64(entry_of(d, NCT_SECTION_LICENCE, -1) + 16, nct_le64(entry_of(d, NCT_SECTION_CONFIG, -1) + 16));
}
static void sections_twice(uint8_t *d) {
    put32(entry_of(d, NCT_SECTION_PANELS, NCT_ROLE_DOWN) + 8, 0);
    put32(entry_of(d, NCT_SECTION_PANELS, NCT_ROLE_DOWN) + 4, 0);
}
static void unknown_role(uint8_t *d) { put32(entry_of(d, NCT_SECTION_PANELS, NCT_ROLE_DOWN) + 4, 99); }
static void matrix_as_norm(uint8_t *d) { put32(entry_of(d, NCT_SECTION_NORM, -1) + 4, NCT_ROLE_HEAD); }
static void many_rows(uint8_t *d) { put64(entry_of(d, NCT_SECTION_PANELS, -1) + 32, VOCAB + 100); }
static void huge_rows(uint8_t *d) { put64(entry_of(d, NCT_SECTION_PANELS, -1) + 32, UINT64_MAX); }
static void huge_both(uint8_t *d) {
    put64(entry_of(d, NCT_SECTION_PANELS, -1) + 32, INT32_MAX);
    put64(entry_of(d, NCT_SECTION_PANELS, -1) + 40, INT32_MAX);
}
static void other_kind(uint8_t *d) { put32(entry_of(d, NCT_SECTION_PANELS, -1) + 12, NCT_PANEL_F16); }
static void unknown_panels(uint8_t *d) { put32(entry_of(d, NCT_SECTION_PANELS, -1) + 12, 9); }
static void other_group(uint8_t *d) { put32(entry_of(d, NCT_SECTION_PANELS, NCT_ROLE_DOWN) + 48, 8); }
static void zero_group(uint8_t *d) { put32(entry_of(d, NCT_SECTION_PANELS, NCT_ROLE_DOWN) + 48, 0); }
static void huge_group(uint8_t *d) { put32(entry_of(d, NCT_SECTION_PANELS, NCT_ROLE_DOWN) + 48, UINT32_MAX); }
static void wrong_bias(uint8_t *d) { put32(entry_of(d, NCT_SECTION_PANELS, NCT_ROLE_DOWN) + 52, 100); }
static void negative_bias(uint8_t *d) {
    put32(entry_of(d, NCT_SECTION_PANELS, NCT_ROLE_DOWN) + 52, UINT32_MAX);
}
static void unknown_flags(uint8_t *d) { put32(entry_of(d, NCT_SECTION_PANELS, NCT_ROLE_DOWN) + 56, 4); }
static void wide_scales(uint8_t *d) { put32(entry_of(d, NCT_SECTION_PANELS, NCT_ROLE_DOWN) + 56, 2); }
static void panel_bytes(uint8_t *d) { put64(entry_of(d, NCT_SECTION_PANELS, NCT_ROLE_DOWN) + 64, 64); }
static void open_label(uint8_t *d) { memset(entry_of(d, NCT_SECTION_PANELS, -1) + 72, 'x', 32); }
static void short_norm(uint8_t *d) { put64(entry_of(d, NCT_SECTION_NORM, -1) + 24, 8); }

static char *config_text(uint8_t *d) {
    return (char *)d + nct_le64(entry_of(d, NCT_SECTION_CONFIG, -1) + 16);
}
static void broken_json(uint8_t *d) { config_text(d)[0] = '['; }
static void no_layers(uint8_t *d) { strstr(config_text(d), "n_layers")[0] = 'x'; }
static void layers_of_text(uint8_t *d) { memcpy(strstr(config_text(d), "n_layers"), "n_layers\":\"\"", 12); }
static void half_a_layer(uint8_t *d) { memcpy(strstr(strstr(config_text(d), "n_layers"), ": 2"), ":.2", 3); }
static void no_theta(uint8_t *d) { strstr(config_text(d), "rope_theta")[0] = 'x'; }
static void odd_architecture(uint8_t *d) { strstr(config_text(d), "minicpm")[0] = 'x'; }
static void one_factor_less(uint8_t *d) { memcpy(strstr(config_text(d), "2500, 7"), "2500   ", 7); }
static void negative_eos(uint8_t *d) { memcpy(strstr(config_text(d), "2, 20]"), "-2,20]", 6); }
static void template_with_nul(uint8_t *d) { d[nct_le64(entry_of(d, NCT_SECTION_TEMPLATE, -1) + 16)] = 0; }
static void no_config(uint8_t *d) { put32(entry_of(d, NCT_SECTION_CONFIG, -1), 0); }

static const struct lie {
    const char *name;
    void (*tell)(uint8_t *data);
    bool raw; /* sums are left as they are */
} lies[] = {
#define LIE(f)                                                                                               \
    { #f, f, false }
    LIE(wrong_magic),
    LIE(other_version),
    LIE(other_layout),
    LIE(big_endian),
    LIE(wrong_size),
    LIE(many_sections),
    LIE(table_outside),
    LIE(table_in_header),
    LIE(section_in_header),
    LIE(section_outside),
    LIE(section_at_the_end_of_time),
    LIE(section_off_border),
    LIE(section_too_long),
    LIE(sections_overlap),
    LIE(sections_twice),
    LIE(unknown_role),
    LIE(matrix_as_norm),
    LIE(many_rows),
    LIE(huge_rows),
    LIE(huge_both),
    LIE(other_kind),
    LIE(unknown_panels),
    LIE(other_group),
    LIE(zero_group),
    LIE(huge_group),
    LIE(wrong_bias),
    LIE(negative_bias),
    LIE(unknown_flags),
    LIE(wide_scales),
    LIE(panel_bytes),
    LIE(open_label),
    LIE(short_norm),
    LIE(not_a_perm),
    LIE(perm_twice),
    LIE(perm_short),
    LIE(broken_json),
    LIE(no_layers),
    LIE(layers_of_text),
    LIE(half_a_layer),
    LIE(no_theta),
    LIE(odd_architecture),
    LIE(one_factor_less),
    LIE(negative_eos),
    LIE(template_with_nul),
    LIE(no_config),
#undef LIE
    {"header sum", other_version, true},
    {"table sum", wrong_bias, true},
};

/* Everything a loader does. */
static nct_status load(const uint8_t *data, size_t n, nct_error *err) {
    nct_bundle *b = NULL;
    nct_file_config read = {0};
    nct_stored stored = {0};
    nct_unpacked u;
    NCT_TRY(nct_bundle_parse("a.nct", data, n, &b, err));
    nct_status status = nct_bundle_config(b, &read, err);
    nct_file_config_close(&read);
    for (int role = NCT_ROLE_EMBEDDING; role <= NCT_ROLE_DOWN && status == NCT_OK; role++) {
        bool down = role == NCT_ROLE_DOWN;
        if (role != NCT_ROLE_EMBEDDING && role != NCT_ROLE_FINAL_NORM && !down)
            continue;
        status = nct_bundle_matrix(b, (nct_role)role, down,
                                   down   ? HIDDEN
                                   : role ? 1
                                          : VOCAB,
                                   down ? FFN : HIDDEN, &stored, err);
        if (status == NCT_OK)
            status = stored.codec->describe(&stored, &u, err);
        nct_stored_close(&stored);
    }
    nct_bundle_close(b);
    return status;
}

static void test_nct__lies_are_refused(void **state) {
    (void)state;
    size_t n;
    uint8_t *data = made_bytes(&n);
    void *changed = NULL;
    assert_int_equal(posix_memalign(&changed, 64, n), 0);
    NCT_ASSERT_OK(load(data, n, fault));
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        nct_error err = {0};
        memcpy(changed, data, n);
        lies[i].tell(changed);
        if (!lies[i].raw)
            fix_sums(changed, n);
        nct_status status = load(changed, n, &err);
        if (status != NCT_E_FORMAT && status != NCT_E_UNSUPPORTED)
            fail_msg("%s: status %d", lies[i].name, status);
        if (err.status != status || strlen(err.text) < 10)
            fail_msg("%s: told '%s'", lies[i].name, err.text);
    }
    free(changed);
    free(data);
}

static void test_nct__truncated_files_are_refused(void **state) {
    (void)state;
    size_t n;
    uint8_t *data = made_bytes(&n);
    for (size_t length = 0; length < n; length += length < 4200 ? 41 : 509) {
        void *cut = NULL;
        nct_error err = {0};
        assert_int_equal(posix_memalign(&cut, 64, length ? length : 1), 0);
        memcpy(cut, data, length);
        assert_int_equal(load(cut, length, &err), NCT_E_FORMAT);
        free(cut);
    }
    free(data);
}

static void test_nct__sections_of_unknown_kinds_are_passed_over(void **state) {
    (void)state;
    size_t n;
    uint8_t *data = made_bytes(&n);
    put32(entry_of(data, NCT_SECTION_REFERENCE, -1), 1000);
    fix_sums(data, n);
    NCT_ASSERT_OK(load(data, n, fault));
    free(data);
}

static void test_nct__a_damaged_reference_is_none(void **state) {
    (void)state;
    size_t n;
    uint8_t *data = made_bytes(&n),
            *reference = data + nct_le64(entry_of(data, NCT_SECTION_REFERENCE, -1) + 16);
    static const uint32_t words[][2] = {
        {0, VOCAB}, {300, VOCAB}, {3, VOCAB + 1}, {UINT32_MAX, UINT32_MAX}, {4, VOCAB - 1 - 1}};
    nct_bundle *b = NULL;
    nct_reference r;
    NCT_ASSERT_OK(nct_bundle_parse("a.nct", data, n, &b, fault));
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        put32(reference, words[i][0]);
        put32(reference + 4, words[i][1]);
        assert_false(nct_bundle_reference(b, NCT_REFERENCE_SELF, &r));
    }
    put32(reference, 3);
    put32(reference + 4, VOCAB);
    reference[23] = 'x';
    assert_false(nct_bundle_reference(b, NCT_REFERENCE_SELF, &r));
    nct_bundle_close(b);
    free(data);
}

/* ------------------------------------------------------------------ verifying */

struct checked {
    size_t n, n_bad;
    char bad[NCT_NAME_BYTES];
};

static void count_check(void *context, const nct_section *section, bool sound) {
    struct checked *c = context;
    c->n++;
    c->n_bad += !sound;
    if (!sound)
        snprintf(c->bad, sizeof c->bad, "%s", section->name);
}

static void test_nct__verifying_names_the_damaged_section(void **state) {
    (void)state;
    size_t n;
    uint8_t *data = made_bytes(&n);
    nct_bundle *b = NULL;
    struct checked c = {0};
    nct_error err;
    NCT_ASSERT_OK(nct_bundle_parse("a.nct", data, n, &b, fault));
    NCT_ASSERT_OK(nct_bundle_verify(b, pool, count_check, &c, fault));
    assert_true(c.n == 8 && c.n_bad == 0);
    data[nct_le64(entry_of(data, NCT_SECTION_PANELS, NCT_ROLE_DOWN) + 16) + 100] ^= 4;
    c = (struct checked){0};
    assert_int_equal(nct_bundle_verify(b, pool, count_check, &c, &err), NCT_E_FORMAT);
    assert_true(c.n == 8 && c.n_bad == 1);
    assert_string_equal(c.bad, "model.layers.1.mlp.down_proj");
    assert_non_null(strstr(err.text, c.bad));
    nct_bundle_close(b);
    free(data);
}

/* ------------------------------------------------------------------ writing */

static void test_nct__an_abandoned_bundle_leaves_the_older_one(void **state) {
    (void)state;
    const char *dir = nct_test_folder(), *path = nct_test_path("%s/a.nct", dir),
               *part = nct_test_path("%s/a.nct.part", dir);
    nct_bundle_writer *w = NULL;
    nct_error err;
    nct_test_write(path, "old", 3);
    NCT_ASSERT_OK(nct_bundle_create(path, 1000, &w, fault));
    NCT_ASSERT_OK(nct_bundle_add(w, &(nct_section){.kind = NCT_SECTION_LICENCE}, "free", 4, fault));
    assert_int_equal(nct_bundle_add(w, &(nct_section){.kind = NCT_SECTION_LICENCE}, "free", 4, &err),
                     NCT_E_ARGUMENT);
    assert_true(nct_is_file(part));
    nct_bundle_abandon(w);
    assert_false(nct_is_file(part));
    size_t n;
    char *text = nct_test_read(path, &n);
    assert_true(n == 3 && memcmp(text, "old", 3) == 0);
    nct_free(text);

    NCT_ASSERT_OK(write_bundle(path, fault));
    assert_false(nct_is_file(part));
    text = nct_test_read(path, &n);
    assert_true(nct_bundle_probe((const uint8_t *)text, n));
    nct_free(text);
    nct_test_folder_remove(dir);
}

static void test_nct__what_a_killed_run_left_is_overwritten(void **state) {
    (void)state;
    const char *dir = nct_test_folder(), *path = nct_test_path("%s/a.nct", dir);
    char *rest = malloc(1 << 20);
    memset(rest, 'x', 1 << 20);
    nct_test_write(nct_test_path("%s/a.nct.part", dir), rest, 1 << 20);
    NCT_ASSERT_OK(write_bundle(path, fault));
    size_t n;
    nct_free(nct_test_read(path, &n));
    assert_true(n < 1 << 20);
    free(rest);
    nct_test_folder_remove(dir);
}

static void test_nct__two_writers_do_not_meet(void **state) {
    (void)state;
    const char *dir = nct_test_folder(), *path = nct_test_path("%s/a.nct", dir);
    nct_bundle_writer *first = NULL, *second = NULL;
    nct_error err;
    NCT_ASSERT_OK(nct_bundle_create(path, 1000, &first, fault));
    assert_int_equal(nct_bundle_create(path, 1000, &second, &err), NCT_E_IO);
    assert_non_null(strstr(err.text, "another process"));
    assert_true(nct_is_file(nct_test_path("%s/a.nct.part", dir)));
    nct_bundle_abandon(first);
    nct_test_folder_remove(dir);
}

static void test_nct__room_and_place_are_checked_first(void **state) {
    (void)state;
    const char *dir = nct_test_folder();
    nct_bundle_writer *w = NULL;
    nct_error err;
    assert_int_equal(nct_bundle_create(nct_test_path("%s/a.nct", dir), UINT64_MAX / 2, &w, &err), NCT_E_IO);
    assert_non_null(strstr(err.text, "needs"));
    assert_false(nct_is_file(nct_test_path("%s/a.nct.part", dir)));
    assert_int_equal(nct_bundle_create(nct_test_path("%s/none/a.nct", dir), 1, &w, &err), NCT_E_IO);
    assert_int_equal(nct_bundle_create(dir, 1, &w, &err), NCT_E_ARGUMENT);
    assert_int_equal(nct_bundle_create("", 1, &w, &err), NCT_E_ARGUMENT);
    nct_test_folder_remove(dir);
}

/* The same bundle made twice is the same file. */
static void test_nct__writing_is_repeatable(void **state) {
    (void)state;
    size_t n, m;
    uint8_t *a = made_bytes(&n), *b = made_bytes(&m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
}

static void test_nct__every_refused_allocation_is_reported(void **state) {
    (void)state;
    const char *dir = nct_test_folder(), *path = nct_test_path("%s/a.nct", dir);
    size_t n;
    uint8_t *data = made_bytes(&n);
    nct_status status = NCT_E_MEMORY;
    for (long fail = 0; status != NCT_OK; fail++) {
        nct_error err = {0};
        assert_true(fail < 500);
        atomic_store(&nct_mem_fail_in, fail);
        status = write_bundle(path, &err);
        if (status == NCT_OK)
            status = load(data, n, &err);
        atomic_store(&nct_mem_fail_in, -1);
        /* a JSON parser of another library tells a lack of memory as a fault of the text */
        assert_true(status == NCT_OK || status == NCT_E_MEMORY || status == NCT_E_FORMAT);
        assert_false(nct_is_file(nct_test_path("%s/a.nct.part", dir)));
    }
    free(data);
    nct_test_folder_remove(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nct__what_is_written_is_read),
        cmocka_unit_test(test_nct__panels_are_used_where_they_lie_and_unpack),
        cmocka_unit_test(test_nct__lies_are_refused),
        cmocka_unit_test(test_nct__truncated_files_are_refused),
        cmocka_unit_test(test_nct__sections_of_unknown_kinds_are_passed_over),
        cmocka_unit_test(test_nct__a_damaged_reference_is_none),
        cmocka_unit_test(test_nct__verifying_names_the_damaged_section),
        cmocka_unit_test(test_nct__an_abandoned_bundle_leaves_the_older_one),
        cmocka_unit_test(test_nct__what_a_killed_run_left_is_overwritten),
        cmocka_unit_test(test_nct__two_writers_do_not_meet),
        cmocka_unit_test(test_nct__room_and_place_are_checked_first),
        cmocka_unit_test(test_nct__writing_is_repeatable),
        cmocka_unit_test(test_nct__every_refused_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, open_pool, close_pool);
}
