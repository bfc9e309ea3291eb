#include "cli/constrain.h"

#include "base/bytes.h"
#include "cli/input.h"

/* The flags, and which of them are given. */
typedef struct flag {
    const char *name, *value; /* value NULL: not given */
    nct_constraint_kind kind;
} flag;
enum { N_FLAGS = 4 };

static void list_flags(const nct_args *a, flag flags[N_FLAGS]) {
    flags[0] = (flag){"--choice", a->choice, NCT_CONSTRAINT_CHOICE};
    flags[1] = (flag){"--json-mode", a->json_mode ? "" : NULL, NCT_CONSTRAINT_JSON};
    flags[2] = (flag){"--schema", a->schema, NCT_CONSTRAINT_SCHEMA};
    flags[3] = (flag){"--grammar", a->grammar, NCT_CONSTRAINT_GBNF};
}

static const flag *find_flag(const flag flags[N_FLAGS], const flag *but) {
    for (int i = 0; i < N_FLAGS; i++)
        if (flags[i].value && &flags[i] != but)
            return &flags[i];
    return NULL;
}

int nct_constraint_check(const nct_cli *cli) {
    const nct_args *a = &cli->args;
    flag flags[N_FLAGS];
    list_flags(a, flags);
    const flag *one = find_flag(flags, NULL), *other = one ? find_flag(flags, one) : NULL;
    if (other)
        return nct_say_error(cli, NCT_EXIT_USAGE, "%s and %s: an answer has one constraint", one->name,
                             other->name);
    if (one && a->stops.n)
        return nct_say_error(
            cli, NCT_EXIT_USAGE,
            "--stop and %s: the constraint says where the answer ends, and a stop string could cut it",
            one->name);
    if (one && a->ignore_eos)
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "--ignore-eos and %s: the constraint says where the answer ends", one->name);
    return NCT_EXIT_OK;
}

int nct_take_constraint(const nct_cli *cli, nct_engine *engine, const nct_sampling *sampling,
                        nct_constraint **constraint) {
    flag flags[N_FLAGS];
    nct_bytes text = {0};
    nct_error err = {0};
    int code = NCT_EXIT_OK;
    list_flags(&cli->args, flags);
    const flag *f = find_flag(flags, NULL);
    *constraint = NULL;
    if (!f)
        return NCT_EXIT_OK;
    nct_constraint_source source = {.kind = f->kind, .name = f->name, .sampling = sampling};
    if (f->kind == NCT_CONSTRAINT_SCHEMA)
        code = nct_input_option(cli, f->value, f->name, &text);
    else if (f->kind == NCT_CONSTRAINT_GBNF)
        code = nct_input_read(cli, f->value, &text);
    else
        nct_bytes_add_str(&text, f->value, &err);
    if (f->kind == NCT_CONSTRAINT_GBNF)
        source.name = f->value;
    source.text = text.data;
    source.n_bytes = text.n;
    if (code == NCT_EXIT_OK && err.status == NCT_OK)
        nct_constraint_open(engine, &source, constraint, &err);
    nct_bytes_reset(&text);
    if (code != NCT_EXIT_OK)
        return code;
    return err.status == NCT_E_ARGUMENT ? nct_say_error(cli, NCT_EXIT_USAGE, "%s", err.text)
                                        : nct_say_status(cli, &err);
}
