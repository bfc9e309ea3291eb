/* Writes the tiny random models, and beside them a draft head, that tests and the program's scripts use: mktiny FOLDER */
#include <errno.h>
#include <sys/stat.h>

#include "support/checkpoint.h"
#include "support/heads.h"
#include "support/support.h"

static const struct {
    const char *name;
    nct_tiny tiny;
} models[] = {
    {"float", {.seed = 1, .weights = NCT_TINY_BF16, .tied = true, .longrope = true}},
    {"coded",
     {.seed = 2, .weights = NCT_TINY_GPTQ_ACT, .scattered = true, .hidden = 160, .heads = 5, .kv_heads = 1}},
    {"minima", {.seed = 3, .weights = NCT_TINY_AWQ, .group = 64}},
    {"bytes", {.seed = 5, .weights = NCT_TINY_BF16, .llama = true, .bytes = true, .vocab = 704, .head_dim = 64}},
    {"sparse", {.seed = 4, .weights = NCT_TINY_F32, .sparse = true}},
};

/* The generators report through cmocka, so a test it is. */
static void write_all(void **state) {
    const char *folder = *state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        nct_tiny_write(nct_test_path("%s/%s", folder, models[i].name), &models[i].tiny);
    nct_test_head head = nct_test_head_make(NCT_DRAFT_EAGLE); /* of the shape of "float" */
    nct_test_head_write(nct_test_path("%s-head", folder), &head);
}

int main(int argc, char **argv) {
    if (argc != 2 || (mkdir(argv[1], 0777) != 0 && errno != EEXIST)) {
        fprintf(stderr, "usage: mktiny FOLDER\n");
        return 2;
    }
    const struct CMUnitTest steps[] = {cmocka_unit_test_prestate(write_all, argv[1])};
    return cmocka_run_group_tests(steps, NULL, NULL);
}
