/* Text to ids and back. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/input.h"
#include "cli/open.h"
#include "cli/output.h"
#include "cli/talk.h"

/* What was typed, or stdin exactly as it is. */
static int read_text(const nct_cli *cli, const char *what, nct_bytes *text) {
    const nct_list *words = &cli->args.words;
    nct_error err;
    if (words->n == 0 && cli->term.in_tty)
        return nct_say_error(cli, NCT_EXIT_USAGE, "no %s\ntry: noctule %s ...\n     noctule %s < FILE", what,
                             cli->command->name, cli->command->name);
    if (words->n == 0 || (words->n == 1 && strcmp(words->item[0], "-") == 0))
        return nct_input_read_exact(cli, "-", text);
    for (size_t i = 0; i < words->n; i++)
        if ((i && nct_bytes_add_str(text, " ", &err) != NCT_OK) ||
            nct_bytes_add_str(text, words->item[i], &err) != NCT_OK)
            return nct_say_status(cli, &err);
    return NCT_EXIT_OK;
}

static bool as_json(const nct_cli *cli) {
    return cli->args.format == NCT_FORMAT_JSON || cli->args.format == NCT_FORMAT_JSONL;
}

/* ------------------------------------------------------------------ tokenize */

static void print_table(nct_output *out, const nct_engine *engine, const int32_t *ids, size_t n_ids,
                        size_t n_bytes) {
    for (size_t i = 0; i < n_ids; i++) {
        size_t n;
        const char *piece = nct_token_piece(engine, ids[i], &n);
        nct_output_print(out, "%d\t", ids[i]);
        for (size_t k = 0; k < n; k++) { /* a line a token, whatever it holds */
            if (piece[k] == '\n' || piece[k] == '\t' || piece[k] == '\r' || piece[k] == '\\')
                nct_output_print(out, "\\%c",
                                 piece[k] == '\n'   ? 'n'
                                 : piece[k] == '\t' ? 't'
                                 : piece[k] == '\r' ? 'r'
                                                    : '\\');
            else
                nct_output_write(out, piece + k, 1);
        }
        nct_output_write(out, "\n", 1);
    }
    nct_output_print(out, "%s tokens, %s bytes", NCT_N(n_ids), NCT_N(n_bytes));
    if (n_ids)
        nct_output_print(out, ", %.2f bytes a token", (double)n_bytes / (double)n_ids);
    nct_output_write(out, "\n", 1);
}

static void print_tokens_json(nct_output *out, const nct_engine *engine, const int32_t *ids, size_t n_ids,
                              const char *rendered, size_t n_rendered) {
    nct_bytes json = {0};
    nct_bytes_printf(&json, NULL, "{\"count\":%zu,\"ids\":[", n_ids);
    for (size_t i = 0; i < n_ids; i++)
        nct_bytes_printf(&json, NULL, i ? ",%d" : "%d", ids[i]);
    nct_bytes_add_str(&json, "],\"pieces\":[", NULL);
    for (size_t i = 0; i < n_ids; i++) {
        size_t n;
        const char *piece = nct_token_piece(engine, ids[i], &n);
        if (i)
            nct_bytes_add_str(&json, ",", NULL);
        nct_json_write_string(&json, piece ? piece : "", n, NULL);
    }
    nct_bytes_add_str(&json, "]", NULL);
    if (rendered) {
        nct_bytes_add_str(&json, ",\"text\":", NULL);
        nct_json_write_string(&json, rendered, n_rendered, NULL);
    }
    nct_bytes_add_str(&json, "}\n", NULL);
    nct_output_write(out, json.data, json.n);
    nct_bytes_reset(&json);
}

typedef struct tokens {
    int32_t *ids;
    size_t n_ids;
    char *rendered; /* with --chat */
    size_t n_rendered;
} tokens;

static int encode_chat(const nct_cli *cli, const nct_engine *engine, const nct_bytes *text, tokens *t) {
    const nct_args *a = &cli->args;
    nct_bytes system = {0}, tools = {0};
    int code = a->system ? nct_input_option(cli, a->system, "--system", &system) : NCT_EXIT_OK;
    if (code == NCT_EXIT_OK && a->tools)
        code = nct_input_option(cli, a->tools, "--tools", &tools);
    nct_message messages[2];
    size_t n = 0;
    if (a->system)
        messages[n++] = (nct_message){.role = "system", .content = system.data, .n_content = system.n};
    messages[n++] =
        (nct_message){.role = "user", .content = text->data ? text->data : "", .n_content = text->n};
    nct_chat_options options = {.think = a->think == NCT_UNSET ? NCT_THINK_AUTO : (nct_think)a->think,
                                .tools = tools.data,
                                .parse_special = a->parse_special};
    nct_error err = {0};
    if (code == NCT_EXIT_OK &&
        (nct_chat_encode(engine, messages, n, &options, &t->ids, &t->n_ids, &err) != NCT_OK ||
         nct_chat_render(engine, messages, n, &options, &t->rendered, &t->n_rendered, &err) != NCT_OK))
        code = err.status == NCT_E_ARGUMENT ? nct_say_error(cli, NCT_EXIT_USAGE, "%s", err.text)
                                            : nct_say_status(cli, &err);
    nct_bytes_reset(&system);
    nct_bytes_reset(&tools);
    return code;
}

static int tokenize(const nct_cli *cli, const nct_engine *engine, const nct_bytes *text, nct_output *out) {
    const nct_args *a = &cli->args;
    tokens t = {0};
    nct_error err = {0};
    int code = NCT_EXIT_OK;
    if (a->chat)
        code = encode_chat(cli, engine, text, &t);
    else if (nct_encode(engine, text->data ? text->data : "", text->n, a->parse_special, a->bos, &t.ids,
                        &t.n_ids, &err) != NCT_OK)
        code = nct_say_status(cli, &err);
    if (code == NCT_EXIT_OK) {
        if (as_json(cli))
            print_tokens_json(out, engine, t.ids, t.n_ids, t.rendered, t.n_rendered);
        else if (a->count)
            nct_output_print(out, "%zu\n", t.n_ids);
        else if (a->chat)
            nct_output_write(out, t.rendered, t.n_rendered);
        else
            print_table(out, engine, t.ids, t.n_ids, text->n);
        if (a->chat && out->tty && !a->count && !as_json(cli))
            nct_output_write(out, "\n", out->last != '\n');
    }
    nct_free(t.ids);
    nct_free(t.rendered);
    return code;
}

int nct_tokenize_main(nct_cli *cli) {
    const nct_args *a = &cli->args;
    if (!a->chat && (a->system || a->tools || a->think != NCT_UNSET))
        return nct_say_error(cli, NCT_EXIT_USAGE,
                             "--system, --tools and --think belong to a rendered conversation\ntry: --chat");
    nct_bytes text = {0};
    nct_engine *engine = NULL;
    nct_model_info info;
    nct_output out;
    int code = read_text(cli, "text", &text);
    if (code == NCT_EXIT_OK)
        code = nct_open_model(cli, true, &engine, &info);
    if (code == NCT_EXIT_OK && (code = nct_output_open(cli, a->output, &out)) == NCT_EXIT_OK)
        code = nct_output_close(&out, tokenize(cli, engine, &text, &out));
    nct_engine_close(engine);
    nct_bytes_reset(&text);
    return code;
}

/* ------------------------------------------------------------------ detokenize */

static int detokenize(const nct_cli *cli, const nct_engine *engine, const nct_bytes *list, nct_output *out) {
    int32_t *ids = NULL;
    size_t n_ids = 0, n_text = 0;
    char *text = NULL;
    nct_error err = {0};
    int code = nct_parse_ids(cli, cli->args.words.n ? "the arguments" : "stdin", list->data ? list->data : "",
                             list->n, &ids, &n_ids);
    if (code != NCT_EXIT_OK)
        return code;
    if (nct_decode(engine, ids, n_ids, !cli->args.skip_special, &text, &n_text, &err) != NCT_OK) {
        code = nct_say_status(cli, &err);
    } else if (as_json(cli)) {
        nct_bytes json = {0};
        nct_bytes_printf(&json, NULL, "{\"count\":%zu,\"text\":", n_ids);
        nct_json_write_string(&json, text, n_text, NULL);
        nct_bytes_add_str(&json, "}\n", NULL);
        nct_output_write(out, json.data, json.n);
        nct_bytes_reset(&json);
    } else {
        nct_output_write(out, text, n_text); /* exactly, so that a round trip ends where it began */
        if (out->tty && out->last != '\n')
            nct_output_write(out, "\n", 1);
    }
    nct_free(text);
    nct_free(ids);
    return code;
}

int nct_detokenize_main(nct_cli *cli) {
    nct_bytes list = {0};
    nct_engine *engine = NULL;
    nct_model_info info;
    nct_output out;
    int code = read_text(cli, "ids", &list);
    if (code == NCT_EXIT_OK)
        code = nct_open_model(cli, true, &engine, &info);
    if (code == NCT_EXIT_OK && (code = nct_output_open(cli, cli->args.output, &out)) == NCT_EXIT_OK)
        code = nct_output_close(&out, detokenize(cli, engine, &list, &out));
    nct_engine_close(engine);
    nct_bytes_reset(&list);
    return code;
}
