/* Shapes and constants are checked once, where a checkpoint is opened: a lie is named. */
#include "model/config.h"
#include "support/support.h"

/* The tiny float model with one stretch of its config.json replaced. */
static nct_status check_with(const char *from, const char *to, nct_config *config, nct_error *err) {
    static const char *const files[] = {"model.safetensors", "tokenizer.json"};
    const char *folder = nct_test_folder();
    for (size_t i = 0; i < 2; i++) {
        size_t n;
        char *data = nct_test_read(nct_test_path("%s/float/%s", NCT_TINY_DIR, files[i]), &n);
        nct_test_write(nct_test_path("%s/%s", folder, files[i]), data, n);
        nct_free(data);
    }
    char *text = nct_test_read(nct_test_path("%s/float/config.json", NCT_TINY_DIR), NULL), *at = strstr(text, from);
    if (!at)
        fail_msg("config.json has no %s", from);
    nct_bytes changed = {0};
    nct_bytes_add(&changed, text, (size_t)(at - text), NULL);
    nct_bytes_add_str(&changed, to, NULL);
    nct_bytes_add_str(&changed, at + strlen(from), NULL);
    nct_test_write(nct_test_path("%s/config.json", folder), changed.data, changed.n);
    nct_checkpoint *checkpoint = NULL;
    nct_status status = nct_checkpoint_open(folder, &checkpoint, err);
    if (status == NCT_OK)
        status = nct_config_check(checkpoint, "here", config, err);
    nct_checkpoint_close(checkpoint);
    nct_bytes_reset(&changed);
    nct_free(text);
    nct_test_folder_remove(folder);
    return status;
}

static void test_config__takes_what_the_checkpoint_states(void **state) {
    (void)state;
    nct_config c;
    NCT_ASSERT_OK(check_with("\"hidden_size\"", "\"hidden_size\"", &c, fault));
    assert_int_equal(c.n_heads % c.n_kv_heads, 0);
    assert_int_equal(c.head_dim * c.n_heads, c.hidden);
    assert_true(c.tied);
    assert_false(c.sparse_trained);
    assert_true(c.sparse_built_in);
    assert_int_equal(c.sparse.budget, 96); /* the published settings, should someone ask for them */
}

static void test_config__names_what_cannot_be(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *says;
    } lies[] = {
        {"\"rms_norm_eps\"", "\"rms_norm_eps\": 0, \"x\"", "rms_norm_eps"},
        {"\"vocab_size\"", "\"vocab_size\": 0, \"x\"", "vocab_size"},
        {"\"num_hidden_layers\"", "\"num_hidden_layers\": 5000, \"x\"", "layers"},
        {"\"num_key_value_heads\"", "\"num_key_value_heads\": 0, \"x\"", "key"},
        {"\"rope_theta\"", "\"rope_theta\": 0.5, \"x\"", "rope_theta"},
        {"\"max_position_embeddings\"", "\"max_position_embeddings\": 0, \"x\"", "max_position_embeddings"},
        {"\"hidden_size\"", "\"sparse_config\": {\"block_size\": 60}, \"hidden_size\"", "block_size"},
        {"\"hidden_size\"", "\"sparse_config\": {\"topk\": 0, \"window_size\": 64}, \"hidden_size\"", "forced"},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        nct_config c;
        nct_error err = {0};
        nct_status status = check_with(lies[i].from, lies[i].to, &c, &err);
        if (status != NCT_E_FORMAT || !strstr(err.text, lies[i].says))
            fail_msg("%s: status %d, '%s'", lies[i].to, (int)status, err.text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config__takes_what_the_checkpoint_states),
        cmocka_unit_test(test_config__names_what_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
