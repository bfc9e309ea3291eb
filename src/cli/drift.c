#include "cli/drift.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "cli/open.h"
#include "cli/output.h"
#include "engine/drift.h"

/* ------------------------------------------------------------------ after a conversion */

int nct_drift_check(const nct_cli *cli, const char *path) {
    nct_engine_options options = {.isa = cli->args.isa,
                                  .n_threads = cli->args.threads == NCT_UNSET ? 0 : (int)cli->args.threads};
    nct_engine *engine = NULL;
    nct_checkpoint *checkpoint = NULL;
    nct_reference reference;
    nct_drift d;
    nct_error err = {0};
    nct_model_info info;
    nct_status status = nct_engine_open(path, &options, &engine, &err);
    if (status == NCT_OK)
        status = nct_checkpoint_open(path, &checkpoint, &err);
    if (status == NCT_OK &&
        !nct_bundle_reference(nct_checkpoint_bundle(checkpoint), NCT_REFERENCE_SELF, &reference))
        status = nct_fail(&err, NCT_E_FORMAT, "%s has no reference logits", path);
    if (status == NCT_OK)
        status = nct_drift_measure(engine, &reference, &d, &err);
    int code = status == NCT_OK ? NCT_EXIT_OK : nct_say_status(cli, &err);
    if (code == NCT_EXIT_OK) {
        nct_engine_info(engine, &info);
        if (d.divergence > NCT_DRIFT_MOST)
            code = nct_say_error(cli, NCT_EXIT_CHECK,
                                 "%s was written, but computes otherwise on %s than in exact mode: "
                                 "divergence %.2g nats\ntry: noctule eval drift %s",
                                 path, info.isa, d.divergence, path);
        else
            nct_say_note(
                cli,
                "drift on %s from exact mode: divergence %.2g nats, largest difference of a logit %.3g, %s",
                info.isa, d.divergence, d.largest,
                d.same_first ? "the same next token" : "another next token");
    }
    nct_checkpoint_close(checkpoint);
    nct_engine_close(engine);
    return code;
}

/* ------------------------------------------------------------------ the command */

enum { N_REFERENCES = 2 };
static const char *const names[N_REFERENCES] = {
    [NCT_REFERENCE_SOURCE] = "source", [NCT_REFERENCE_SELF] = "self"};

typedef struct drifting {
    const nct_cli *cli;
    nct_engine *engine;
    nct_model_info info;
    nct_checkpoint *checkpoint;
    bool exact;
    bool has[N_REFERENCES];
    nct_drift drift[N_REFERENCES];
    double max_kl, max_error; /* of "self"; NaN: no limit of the error */
} drifting;

static int open_bundle(drifting *k) {
    nct_error err = {0};
    nct_knobs knobs;
    int code = nct_take_knobs(k->cli, &knobs);
    if (code == NCT_EXIT_OK)
        code = nct_open_model(k->cli, false, &k->engine, &k->info);
    if (code != NCT_EXIT_OK)
        return code;
    k->exact = knobs.exact;
    if (nct_checkpoint_open(k->info.path, &k->checkpoint, &err) != NCT_OK)
        return nct_say_status(k->cli, &err);
    if (!nct_checkpoint_bundle(k->checkpoint))
        return nct_say_error(
            k->cli, NCT_EXIT_USAGE,
            "%s is no bundle, and only bundles hold reference logits\ntry: noctule convert %s -o FILE.nct",
            k->info.path, k->info.path);
    return NCT_EXIT_OK;
}

static int measure(drifting *k) {
    nct_error err = {0};
    nct_reference reference;
    for (int i = 0; i < N_REFERENCES; i++) {
        k->has[i] =
            nct_bundle_reference(nct_checkpoint_bundle(k->checkpoint), (nct_reference_of)i, &reference);
        if (k->has[i] && nct_drift_measure(k->engine, &reference, &k->drift[i], &err) != NCT_OK)
            return nct_say_status(k->cli, &err);
    }
    if (!k->has[NCT_REFERENCE_SELF])
        return nct_say_error(k->cli, NCT_EXIT_MODEL, "%s holds no reference logits\ntry: convert it again",
                             k->info.path);
    return NCT_EXIT_OK;
}

/* Judged is the distance from the model itself: the source's tells of what rounding did. */
static bool is_far(const drifting *k) { return k->drift[NCT_REFERENCE_SELF].divergence > k->max_kl; }
static bool is_off(const drifting *k) {
    return !isnan(k->max_error) && k->drift[NCT_REFERENCE_SELF].largest > k->max_error;
}
static bool passes(const drifting *k) { return !is_far(k) && !is_off(k); }

static void print_text(const drifting *k, nct_output *out) {
    nct_output_print(out, "%s on %s%s\n", k->info.name, k->info.isa, k->exact ? ", exact" : "");
    for (int i = N_REFERENCES - 1; i >= 0; i--) {
        const nct_drift *d = &k->drift[i];
        if (!k->has[i])
            continue;
        nct_output_print(out,
                         "%-8s divergence %.3g nats · largest difference of a logit %.3g · %s next token%s\n",
                         i == NCT_REFERENCE_SELF ? "itself" : "source", d->divergence, d->largest,
                         d->same_first ? "the same" : "another", d->same ? " · every bit the same" : "");
    }
    const nct_drift *d = &k->drift[NCT_REFERENCE_SELF];
    nct_output_print(out,
                     "references are logits after %zu tokens, in exact mode on %.15s: of this model itself, "
                     "and of what it was converted from\n",
                     d->n_ids, d->isa);
}

static void print_json(const drifting *k, nct_output *out) {
    nct_bytes name = {0};
    nct_json_write_string(&name, k->info.name, strlen(k->info.name), NULL);
    nct_output_print(out, "{\"model\":%s,\"isa\":\"%s\",\"exact\":%s", name.data, k->info.isa,
                     k->exact ? "true" : "false");
    for (int i = 0; i < N_REFERENCES; i++) {
        const nct_drift *d = &k->drift[i];
        if (!k->has[i])
            continue;
        nct_bytes isa = {0};
        nct_json_write_string(&isa, d->isa, strnlen(d->isa, sizeof d->isa), NULL);
        nct_output_print(out,
                         ",\"%s\":{\"tokens\":%zu,\"reference_isa\":%s,\"kl\":%.6g,\"max_error\":%.6g,"
                         "\"top1\":%s,\"same_bits\":%s}",
                         names[i], d->n_ids, isa.data, d->divergence, d->largest,
                         d->same_first ? "true" : "false", d->same ? "true" : "false");
        nct_bytes_reset(&isa);
    }
    nct_output_print(out, ",\"max_kl\":%.6g", k->max_kl);
    if (isnan(k->max_error))
        nct_output_print(out, ",\"max_error\":null");
    else
        nct_output_print(out, ",\"max_error\":%.6g", k->max_error);
    nct_output_print(out, ",\"passed\":%s}\n", passes(k) ? "true" : "false");
    nct_bytes_reset(&name);
}

static int verdict(const drifting *k) {
    const nct_drift *d = &k->drift[NCT_REFERENCE_SELF];
    if (is_far(k))
        return nct_say_error(k->cli, NCT_EXIT_CHECK, "%s: divergence %.3g nats, more than %.3g", k->info.name,
                             d->divergence, k->max_kl);
    if (is_off(k))
        return nct_say_error(k->cli, NCT_EXIT_CHECK, "%s: a logit differs by %.3g, more than %.3g",
                             k->info.name, d->largest, k->max_error);
    return NCT_EXIT_OK;
}

int nct_eval_drift_main(nct_cli *cli) {
    nct_args *a = &cli->args;
    drifting k = {.cli = cli};
    nct_output out;
    if (a->words.n > 1)
        return nct_say_error(cli, NCT_EXIT_USAGE, "eval drift checks one bundle; %zu were named", a->words.n);
    if (a->words.n)
        a->model = a->words.item[0];
    int code = open_bundle(&k);
    if (code == NCT_EXIT_OK)
        code = measure(&k);
    k.max_kl = !isnan(a->max_kl) ? a->max_kl : k.exact ? NCT_DRIFT_MOST_EXACT : NCT_DRIFT_MOST;
    k.max_error = a->max_error;
    if (code == NCT_EXIT_OK && (code = nct_output_open(cli, a->output, &out)) == NCT_EXIT_OK) {
        if (a->format == NCT_FORMAT_JSON || a->format == NCT_FORMAT_JSONL)
            print_json(&k, &out);
        else
            print_text(&k, &out);
        code = nct_output_close(&out, code);
    }
    if (code == NCT_EXIT_OK)
        code = verdict(&k);
    nct_checkpoint_close(k.checkpoint);
    nct_engine_close(k.engine);
    return code;
}
