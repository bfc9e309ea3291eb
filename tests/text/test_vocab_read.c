#include "text/fixture.h"

#define S NCT_SPACE

/* Two vocabularies that encode alike. */
static void assert_same_vocab(const nct_vocab *a, const nct_vocab *b) {
    assert_int_equal(a->n_pieces, b->n_pieces);
    assert_int_equal(a->n_merges, b->n_merges);
    assert_int_equal(a->n_added, b->n_added);
    assert_int_equal(a->bos, b->bos);
    assert_int_equal(a->unk, b->unk);
    assert_int_equal(a->add_bos, b->add_bos);
    for (int32_t id = 0; id < a->n_pieces; id++) {
        const nct_piece *p = nct_vocab_piece(a, id), *q = nct_vocab_piece(b, id);
        assert_int_equal(p->kind, q->kind);
        assert_int_equal(p->n_bytes, q->n_bytes);
        assert_memory_equal(nct_vocab_text(a, p), nct_vocab_text(b, q), p->n_bytes);
    }
    for (uint32_t i = 0; i <= a->merge_mask; i++)
        if (a->merge[i].left != UINT32_MAX) {
            const nct_merge *m = nct_vocab_merge(b, (int32_t)a->merge[i].left, (int32_t)a->merge[i].right);
            assert_non_null(m);
            assert_int_equal(m->rank, a->merge[i].rank);
            assert_int_equal(m->id, a->merge[i].id);
        }
}

static nct_vocab_source model_source(const nct_bytes *model, const char *added, const char *config) {
    nct_vocab_source source = {.main = {"tokenizer.model", model->data, model->n}};
    if (added)
        source.added = (nct_vocab_file){"added_tokens.json", added, strlen(added)};
    if (config)
        source.config = (nct_vocab_file){"tokenizer_config.json", config, strlen(config)};
    return source;
}

static void test_vocab_read__all_files_say_the_same(void **state) {
    (void)state;
    size_t n;
    const fixture_piece *piece = fixture_pieces(&n);
    nct_vocab *json = fixture_vocab(), *v = NULL;
    nct_error err;

    nct_bytes text = fixture_json(false);
    assert_int_equal(fixture_read_json(text.data, text.n, NULL, &v, &err), NCT_OK);
    assert_same_vocab(json, v);
    nct_vocab_close(v);
    nct_bytes_reset(&text);

    char added[200], config[400];
    snprintf(added, sizeof added, "{\"<|im_end|>\":%zu,\"<|im_start|>\":%zu}", n - 2, n - 1);
    snprintf(config, sizeof config,
             "{\"added_tokens_decoder\":{\"%zu\":{\"content\":\"<|im_end|>\",\"special\":true},\"%zu\":{"
             "\"content\":"
             "\"<|im_start|>\",\"special\":true}}}",
             n - 2, n - 1);
    nct_bytes model = fixture_model(false, 2);
    nct_vocab_source source = model_source(&model, added, NULL);
    assert_int_equal(nct_vocab_read_model(&source, &v, &err), NCT_OK);
    assert_same_vocab(json, v);
    nct_vocab_close(v);
    source = model_source(&model, NULL, config);
    assert_int_equal(nct_vocab_read_model(&source, &v, &err), NCT_OK);
    assert_same_vocab(json, v);
    nct_vocab_close(v);
    nct_bytes_reset(&model);

    nct_bytes gguf = fixture_gguf("llama", piece, n, 2);
    assert_int_equal(fixture_read_gguf(&gguf, &v, &err), NCT_OK);
    assert_same_vocab(json, v);
    assert_true(nct_vocab_is_eos(v, 2));
    nct_vocab_close(v);
    nct_bytes_reset(&gguf);
    nct_vocab_close(json);
}

static void test_vocab_read__user_defined_is_added_only_behind_the_pieces(void **state) {
    (void)state;
    size_t n;
    nct_vocab *json = fixture_vocab(), *v = NULL;
    nct_error err;
    fixture_piece piece[FIXTURE_MAX];
    memcpy(piece, fixture_pieces(&n), sizeof piece);
    for (int32_t id = FIXTURE_FIRST_CHAR; id < fixture_id("th"); id++)
        piece[id].type = 4;
    nct_bytes gguf = fixture_gguf("llama", piece, n, 2);
    assert_int_equal(fixture_read_gguf(&gguf, &v, &err), NCT_OK);
    assert_same_vocab(json, v);
    nct_vocab_close(v);
    nct_bytes_reset(&gguf);

    piece[n - 1].type = 4;
    piece[n] = (fixture_piece){"[PAD]", 5};
    gguf = fixture_gguf("llama", piece, n + 1, 2);
    assert_int_equal(fixture_read_gguf(&gguf, &v, &err), NCT_OK);
    assert_int_equal(v->n_added, 5);
    assert_int_equal(nct_vocab_piece(v, (int32_t)n - 1)->kind, NCT_PIECE_ADDED);
    assert_int_equal(nct_vocab_piece(v, (int32_t)n)->kind, NCT_PIECE_NORMAL);
    nct_vocab_close(v);
    nct_bytes_reset(&gguf);
    nct_vocab_close(json);
}

/* ------------------------------------------------------------------ tokenizer_config.json */

static nct_vocab *with_config(const char *config) {
    nct_vocab *v = NULL;
    nct_bytes text = fixture_json(true);
    NCT_ASSERT_OK(fixture_read_json(text.data, text.n, config, &v, fault));
    nct_bytes_reset(&text);
    return v;
}

static void test_vocab_read__the_configuration_names_the_ends(void **state) {
    (void)state;
    const int32_t im_end = fixture_id("<|im_end|>");
    nct_vocab *v = with_config("{\"eos_token\":\"</s>\",\"bos_token\":\"<s>\",\"add_bos_token\":false}");
    assert_int_equal(v->n_eos, 2);
    assert_true(nct_vocab_is_eos(v, 2) && nct_vocab_is_eos(v, im_end));
    assert_false(nct_vocab_is_eos(v, 1));
    assert_int_equal(v->bos, 1);
    assert_false(v->add_bos);
    nct_vocab_close(v);
    v = with_config(
        "{\"eos_token\":{\"content\":\"<|im_end|>\",\"lstrip\":false},\"bos_token\":{\"content\":\"</s>\"}}");
    assert_int_equal(v->n_eos, 1);
    assert_true(nct_vocab_is_eos(v, im_end));
    assert_int_equal(v->bos, 2);
    assert_true(v->add_bos);
    nct_vocab_close(v);
    v = with_config("{\"eos_token\":null,\"bos_token\":\"nowhere\"}");
    assert_int_equal(v->bos, 1);
    nct_vocab_close(v);
}

static void test_vocab_read__the_configuration_may_add_tokens(void **state) {
    (void)state;
    nct_vocab *v = with_config("{\"added_tokens_decoder\":{\"2\":{\"content\":\"</s>\",\"special\":true},"
                               "\"500\":{\"content\":\"<|x|>\",\"special\":false}}}");
    assert_int_equal(v->n_pieces, 501);
    assert_int_equal(nct_vocab_find(v, "<|x|>", 5), 500);
    assert_int_equal(nct_vocab_piece(v, 500)->kind, NCT_PIECE_ADDED);
    assert_null(nct_vocab_piece(v, 499));
    nct_vocab_close(v);
}

/* ------------------------------------------------------------------ refusing */

/* Reads the fixture with the first occurrence of a text replaced, and expects a failure whose sentence
   names the thing. */
static void refuses(const char *from, const char *to, nct_status expected, const char *thing) {
    nct_bytes json = fixture_json(true), changed = {0};
    char *hit = strstr(json.data, from);
    if (!hit)
        fail_msg("no '%s' in the fixture", from);
    NCT_ASSERT_OK(nct_bytes_add(&changed, json.data, (size_t)(hit - json.data), fault));
    fixture_add(&changed, to);
    fixture_add(&changed, hit + strlen(from));
    nct_vocab *v = NULL;
    nct_error err = {0};
    nct_status status = fixture_read_json(changed.data, changed.n, NULL, &v, &err);
    if (status != expected || !strstr(err.text, thing) || strncmp(err.text, "tokenizer.json: ", 16) != 0)
        fail_msg("'%s' to '%s': status %d, '%s'", from, to, status, err.text);
    assert_null(v);
    nct_bytes_reset(&json);
    nct_bytes_reset(&changed);
}

static void test_vocab_read__refuses_other_pipelines(void **state) {
    (void)state;
    static const char pre[] = "\"pre_tokenizer\":null", post[] = "\"post_processor\":" FIXTURE_POST;
    refuses(pre, "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}", NCT_E_UNSUPPORTED,
            "normalizer 'Prepend'");
    refuses(pre,
            "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\"},{\"type\":"
            "\"ByteLevel\"}]}",
            NCT_E_UNSUPPORTED, "byte-level BPE");
    refuses(pre, "\"pre_tokenizer\":{\"type\":\"Metaspace\"}", NCT_E_UNSUPPORTED, "'Metaspace'");
    refuses(pre, "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[]}", NCT_E_UNSUPPORTED,
            "pre_tokenizer");
    refuses(FIXTURE_NORMALIZER, "null", NCT_E_UNSUPPORTED, "normalizer");
    refuses(FIXTURE_NORMALIZER, "{\"type\":\"NFC\"}", NCT_E_UNSUPPORTED, "'NFC'");
    refuses("\"prepend\":\"" S "\"", "\"prepend\":\"x\"", NCT_E_UNSUPPORTED, "'Prepend'");
    refuses(FIXTURE_DECODER, "null", NCT_E_UNSUPPORTED, "decoder");
    refuses(FIXTURE_DECODER, "{\"type\":\"ByteLevel\"}", NCT_E_UNSUPPORTED, "'ByteLevel'");
    refuses("{\"type\":\"ByteFallback\"},", "", NCT_E_UNSUPPORTED, "byte fallback");
    refuses("\"start\":1", "\"start\":2", NCT_E_UNSUPPORTED, "'Strip'");
    refuses(post, "\"post_processor\":{\"type\":\"BertProcessing\"}", NCT_E_UNSUPPORTED, "'BertProcessing'");
    refuses("{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}]",
            "{\"Sequence\":{\"id\":\"A\"}},{\"SpecialToken\":{\"id\":\"</s>\"}}]", NCT_E_UNSUPPORTED,
            "post_processor");
    refuses("{\"SpecialToken\":{\"id\":\"<s>\"", "{\"SpecialToken\":{\"id\":\"<t>\"", NCT_E_FORMAT, "'<t>'");
    refuses("\"type\":\"BPE\"", "\"type\":\"Unigram\"", NCT_E_UNSUPPORTED, "'Unigram'");
    refuses("\"dropout\":null", "\"dropout\":0.1", NCT_E_UNSUPPORTED, "dropout");
    refuses("\"ignore_merges\":false", "\"ignore_merges\":true", NCT_E_UNSUPPORTED, "ignore_merges");
    refuses("\"dropout\":null", "\"end_of_word_suffix\":\"x\"", NCT_E_UNSUPPORTED, "end_of_word_suffix");
    refuses("\"special\":true", "\"special\":true,\"lstrip\":true", NCT_E_UNSUPPORTED, "lstrip");
}

static void test_vocab_read__refuses_damage(void **state) {
    (void)state;
    refuses("\"a\":260", "\"a\":261", NCT_E_FORMAT, "two pieces");
    refuses("\"a\":260", "\"a\":-1", NCT_E_FORMAT, "-1");
    refuses("\"a\":260", "\"a\":1e9", NCT_E_FORMAT, "1000000000");
    refuses("\"a\":260", "\"a\":\"x\"", NCT_E_FORMAT, "'a'");
    refuses("\"a\":260", "\"a\":260,\"b\":400", NCT_E_FORMAT, "twice");
    refuses("\"a\":260", "\"\":260", NCT_E_UNSUPPORTED, "empty");
    refuses("[\"t\",\"h\"]", "[\"t\",\"h\",\"e\"]", NCT_E_FORMAT, "merge 0");
    refuses("[\"t\",\"h\"]", "[\"t\"]", NCT_E_FORMAT, "merge 0");
    refuses("[\"t\",\"h\"]", "\"t h e\"", NCT_E_FORMAT, "merge 0");
    refuses("[\"t\",\"h\"]", "\"th\"", NCT_E_FORMAT, "merge 0");
    refuses("[\"t\",\"h\"]", "7", NCT_E_FORMAT, "merge 0");
    refuses("[\"t\",\"h\"]", "[\"t\",\"t\"]", NCT_E_FORMAT, "result");
    refuses("\"content\":\"<unk>\"", "\"content\":7", NCT_E_FORMAT, "content");
    refuses("\"content\":\"<unk>\"", "\"content\":\"\"", NCT_E_FORMAT, "empty");
    refuses("\"byte_fallback\":true", "\"byte_fallback\":false,\"unk_token\":null,\"x\":\"", NCT_E_FORMAT,
            "JSON");
    refuses("\"unk_token\":\"<unk>\",\"fuse_unk\":true,\"byte_fallback\":true", "\"byte_fallback\":false",
            NCT_E_UNSUPPORTED, "unknown");
    refuses("\"merges\"", "\"mergers\"", NCT_E_FORMAT, "merges");
    refuses("\"model\"", "\"mode\"", NCT_E_UNSUPPORTED, "BPE");
}

static void test_vocab_read__refuses_other_models(void **state) {
    (void)state;
    nct_vocab *v = NULL;
    nct_error err;
    nct_bytes model = fixture_model(true, 1);
    nct_vocab_source source = model_source(&model, NULL, NULL);
    assert_int_equal(nct_vocab_read_model(&source, &v, &err), NCT_E_UNSUPPORTED);
    assert_string_equal(err.text, "tokenizer.model: SentencePiece algorithm 1, expected 2 (BPE)");
    nct_bytes_reset(&model);
    model = fixture_model(true, 2);
    static const char normalizer[] = {3 << 3 | 2, 4, 2 << 3 | 2, 2, 'x', 'y'};
    NCT_ASSERT_OK(nct_bytes_add(&model, normalizer, sizeof normalizer, fault));
    source = model_source(&model, NULL, NULL);
    assert_int_equal(nct_vocab_read_model(&source, &v, &err), NCT_E_UNSUPPORTED);
    nct_bytes_reset(&model);
    size_t n;
    const fixture_piece *piece = fixture_pieces(&n);
    nct_bytes gguf = fixture_gguf("gpt2", piece, n, 2);
    assert_int_equal(fixture_read_gguf(&gguf, &v, &err), NCT_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "byte-level BPE"));
    nct_bytes_reset(&gguf);
    gguf = fixture_gguf("llama", piece, n, (int)n);
    assert_int_equal(fixture_read_gguf(&gguf, &v, &err), NCT_E_FORMAT);
    assert_non_null(strstr(err.text, "eos_token_id"));
    nct_bytes_reset(&gguf);
    assert_null(v);
}

static void test_vocab_read__a_cut_model_file_is_refused_or_smaller(void **state) {
    (void)state;
    nct_bytes model = fixture_model(true, 2);
    size_t n_refused = 0;
    for (size_t n = 0; n < model.n; n++) {
        nct_vocab *v = NULL;
        nct_error err = {0};
        nct_bytes cut = {0}; /* a copy of its own size, so that a sanitizer sees a byte too far */
        NCT_ASSERT_OK(nct_bytes_add(&cut, model.data, n, fault));
        nct_vocab_source source = model_source(&cut, NULL, NULL);
        nct_status status = nct_vocab_read_model(&source, &v, &err);
        assert_true(status == NCT_OK || status == NCT_E_FORMAT || status == NCT_E_UNSUPPORTED);
        n_refused += status != NCT_OK;
        nct_vocab_close(v);
        nct_bytes_reset(&cut);
    }
    assert_true(n_refused > model.n / 2);
    nct_bytes_reset(&model);
}

/* ------------------------------------------------------------------ variants that mean the same */

static void test_vocab_read__spellings_of_one_pipeline(void **state) {
    (void)state;
    static const char *const normalizers[] = {
        "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" "
        "\"},\"content\":\"" S "\"},"
        "{\"type\":\"Prepend\",\"prepend\":\"" S "\"}]}",
        "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" S "\"}"};
    for (int i = 0; i < 2; i++) {
        nct_bytes json = fixture_json(true), changed = {0};
        nct_vocab *v = NULL;
        char *hit = strstr(json.data, FIXTURE_NORMALIZER);
        NCT_ASSERT_OK(nct_bytes_add(&changed, json.data, (size_t)(hit - json.data), fault));
        fixture_add(&changed, normalizers[i]);
        fixture_add(&changed, hit + strlen(FIXTURE_NORMALIZER));
        NCT_ASSERT_OK(fixture_read_json(changed.data, changed.n, NULL, &v, fault));
        assert_int_equal(v->add_prefix, i == 0);
        if (i == 0)
            ASSERT_PIECES(v, "a the", false, S, "a", S "the");
        else
            ASSERT_PIECES(v, "a the", false, "a", S "the");
        nct_vocab_close(v);
        nct_bytes_reset(&json);
        nct_bytes_reset(&changed);
    }
}

/* ------------------------------------------------------------------ directories */

static void test_vocab_read__directories(void **state) {
    (void)state;
    const char *folder = nct_test_folder();
    nct_vocab *v = NULL;
    nct_error err = {0};
    assert_int_equal(nct_vocab_open_directory(folder, &v, &err), NCT_E_FORMAT);
    assert_non_null(strstr(err.text, "tokenizer.model"));

    nct_bytes model = fixture_model(true, 2), json = fixture_json(true);
    nct_test_write(nct_test_path("%s/tokenizer.model", folder), model.data, model.n);
    NCT_ASSERT_OK(nct_vocab_open_directory(folder, &v, fault));
    assert_true(nct_vocab_is_eos(v, 2));
    nct_vocab_close(v);
    nct_test_write(nct_test_path("%s/tokenizer.json", folder), json.data, json.n);
    nct_test_write(nct_test_path("%s/tokenizer_config.json", folder), "{\"add_bos_token\":false}", 23);
    NCT_ASSERT_OK(nct_vocab_open_directory(folder, &v, fault));
    assert_false(nct_vocab_is_eos(v, 2)); /* so it was not the model file */
    assert_false(v->add_bos);
    nct_vocab_close(v);
    v = NULL;
    nct_test_write(nct_test_path("%s/tokenizer.json", folder), "", 0);
    assert_int_equal(nct_vocab_open_directory(folder, &v, &err), NCT_E_FORMAT);
    assert_null(v);
    nct_test_folder_remove(folder);
    nct_bytes_reset(&model);
    nct_bytes_reset(&json);
}

static void test_vocab_read__the_familys_files(void **state) {
    (void)state;
    static const struct {
        const char *folder;
        int n_pieces, n_added, bos, eos;
    } files[] = {
        {"minicpm4/MiniCPM4-8B", 73448, 11, 1, 73440},       {"minicpm4/MiniCPM3-4B", 73448, 11, 1, 73440},
        {"minicpm4/MiniCPM-V-4", 73448, 92, 1, 73440},       {"stories/stories260K-minicpm", 512, 3, 1, 2},
        {"stories/tinystories-656k-minicpm", 2048, 3, 1, 2}, {"stories/tinystories-656k-hf", 2048, 3, 1, 2},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = nct_test_path("%s/data/%s", NCT_SHARED_DIR, files[i].folder);
        nct_test_need(path);
        nct_vocab *v = NULL;
        NCT_ASSERT_OK(nct_vocab_open_directory(path, &v, fault));
        assert_int_equal(v->n_pieces, files[i].n_pieces);
        assert_int_equal(v->n_added, files[i].n_added);
        assert_int_equal(v->bos, files[i].bos);
        assert_true(nct_vocab_is_eos(v, files[i].eos));
        assert_true(v->add_bos && v->add_prefix && v->strip_left && v->fuse_unk);
        assert_null(v->warning);
        nct_vocab_close(v);
    }
}

/* ------------------------------------------------------------------ failing */

static void test_vocab_read__a_refused_allocation_is_a_status(void **state) {
    (void)state;
    size_t n;
    const fixture_piece *piece = fixture_pieces(&n);
    nct_bytes json = fixture_json(false), model = fixture_model(true, 2),
              gguf = fixture_gguf("llama", piece, n, 2);
    nct_vocab_source source = model_source(&model, "{}", "{}");
    for (int which = 0; which < 3; which++) {
        nct_status status = NCT_E_MEMORY;
        long k = 0;
        for (; status != NCT_OK; k++) {
            nct_vocab *v = NULL;
            nct_error err = {0};
            atomic_store(&nct_mem_fail_in, k);
            status = which == 0   ? fixture_read_json(json.data, json.n, "{}", &v, &err)
                     : which == 1 ? nct_vocab_read_model(&source, &v, &err)
                                  : fixture_read_gguf(&gguf, &v, &err);
            atomic_store(&nct_mem_fail_in, -1);
            if (status != NCT_OK && status != NCT_E_MEMORY)
                fail_msg("allocation %ld of file %d: %s", k, which, err.text);
            nct_vocab_close(v);
        }
        assert_true(k > 8);
    }
    nct_bytes_reset(&json);
    nct_bytes_reset(&model);
    nct_bytes_reset(&gguf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vocab_read__all_files_say_the_same),
        cmocka_unit_test(test_vocab_read__user_defined_is_added_only_behind_the_pieces),
        cmocka_unit_test(test_vocab_read__the_configuration_names_the_ends),
        cmocka_unit_test(test_vocab_read__the_configuration_may_add_tokens),
        cmocka_unit_test(test_vocab_read__refuses_other_pipelines),
        cmocka_unit_test(test_vocab_read__refuses_damage),
        cmocka_unit_test(test_vocab_read__refuses_other_models),
        cmocka_unit_test(test_vocab_read__a_cut_model_file_is_refused_or_smaller),
        cmocka_unit_test(test_vocab_read__spellings_of_one_pipeline),
        cmocka_unit_test(test_vocab_read__directories),
        cmocka_unit_test(test_vocab_read__the_familys_files),
        cmocka_unit_test(test_vocab_read__a_refused_allocation_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
