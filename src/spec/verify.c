#include "spec/verify.h"

nct_status nct_verify(const nct_tree *tree, nct_choose_fn *choose, void *context, nct_accepted *accepted,
                      nct_error *err) {
    nct_accepted a = {0};
    size_t node = 0;
    do {
        int32_t chosen = 0;
        nct_status status = choose(context, node, a.token, a.n, &chosen, &a.stopped, a.n ? NULL : err);
        if (status != NCT_OK && a.n == 0)
            return status;
        if (status != NCT_OK) {
            a.stopped = false;
            break;
        }
        a.node[a.n] = (uint8_t)node;
        a.token[a.n++] = chosen;
        node = nct_tree_find(tree, node, chosen);
    } while (node && !a.stopped);
    *accepted = a;
    return NCT_OK;
}
