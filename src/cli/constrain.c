#include "cli/constrain.h"

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

/* What the flag's value stands for. */
static int read_value(const nct_cli *cli, const flag *f, nct_bytes *text) {
    nct_error err = {0};
    if (f->kind == NCT_CONSTRAINT_SCHEMA)
        return nct_input_option(cli, f->value, f->name, text);
    if (f->kind == NCT_CONSTRAINT_GBNF)
        return nct_input_read(cli, f->value, text);
    nct_bytes_add_str(text, f->value, &err);
    return nct_say_status(cli, &err);
}

int nct_constraint_text(const nct_cli *cli, nct_bytes *text) {
    flag flags[N_FLAGS];
    list_flags(&cli->args, flags);
    const flag *f = find_flag(flags, NULL);
    nct_error err = {0};
    if (!f)
        return NCT_EXIT_OK;
    nct_bytes_printf(text, &err, "%s ", f->name);
    return err.status == NCT_OK ? read_value(cli, f, text) : nct_say_status(cli, &err);
}

int nct_take_constraint(const nct_cli *cli, nct_engine *engine, const nct_sampling *sampling,
                        nct_constraint **constraint) {
    flag flags[N_FLAGS];
    nct_bytes text = {0};
    nct_error err = {0};
    list_flags(&cli->args, flags);
    const flag *f = find_flag(flags, NULL);
    *constraint = NULL;
    if (!f)
        return NCT_EXIT_OK;
    int code = read_value(cli, f, &text);
    if (code == NCT_EXIT_OK) {
        nct_constraint_source source = {.kind = f->kind,
                                        .name = f->kind == NCT_CONSTRAINT_GBNF ? f->value : f->name,
                                        .text = text.data,
                                        .n_bytes = text.n,
                                        .sampling = sampling};
        nct_constraint_open(engine, &source, constraint, &err);
    }
    nct_bytes_reset(&text);
    if (code != NCT_EXIT_OK)
        return code;
    return err.status == NCT_E_ARGUMENT ? nct_say_error(cli, NCT_EXIT_USAGE, "%s", err.text)
                                        : nct_say_status(cli, &err);
}
