/* Commands that tell of a chat, or pass on what was said. */
#include <stdio.h>
#include <string.h>

#include "cli/slash.h"
#include "text/fence.h"

static size_t count(const nct_chat *c, const char *text, size_t n) {
    int32_t *ids = NULL;
    size_t n_ids = 0;
    if (n == 0 || nct_encode(c->engine, text, n, false, false, &ids, &n_ids, NULL) != NCT_OK)
        return 0;
    nct_free(ids);
    return n_ids;
}

/* ------------------------------------------------------------------ the gauge */

static void gauge(const char *name, size_t n, size_t limit, const char *extra) {
    enum { CELLS = 40, BESIDE = 31 };
    int room = nct_term_width() - BESIDE;
    size_t cells = room < 1 ? 1 : room < CELLS ? (size_t)room : CELLS, full = limit ? (n * cells + limit - 1) / limit : 0;
    nct_bytes bar = {0};
    for (size_t i = 0; i < full && i < cells; i++)
        nct_bytes_add_str(&bar, "\u2588", NULL);
    nct_tell("  %-8s %9s  %4.1f %%  %s%s\n", name, NCT_N(n), limit ? 100 * (double)n / (double)limit : 0,
             bar.data ? bar.data : "", extra);
    nct_bytes_reset(&bar);
}

bool nct_slash_context(nct_chat *c, char *rest) {
    (void)rest;
    nct_report report;
    nct_session_report(c->session, &report);
    size_t limit = (size_t)nct_session_limit(c->session), held = (size_t)nct_session_length(c->session);
    size_t system = count(c, c->talk.system.data, c->talk.system.n);
    size_t files = count(c, c->files.text.data, c->files.text.n);
    bool pending = files && c->files_turn == c->talk.n_turns;
    size_t rest_of = system + files < held ? held - system - files : 0;
    if (pending && held < system + files)
        rest_of = 0;
    gauge("system", system, limit, "");
    gauge("files", files, limit, pending ? "  (go with the next turn)" : "");
    gauge("turns", rest_of, limit, "");
    gauge("free", limit > held ? limit - held : 0, limit, "");
    nct_tell("  %s of %s tokens are held, %s of cache (%s a token)\n", NCT_N(held), NCT_N(limit),
             NCT_BYTES(report.kv_bytes), NCT_BYTES(report.kv_bytes_per_token));
    return true;
}

bool nct_slash_stats(nct_chat *c, char *rest) {
    (void)rest;
    nct_report r;
    nct_session_report(c->session, &r);
    double bandwidth = 0, decode = nct_rate(r.n_decode, r.decode_s);
    nct_tell("  prefill  %s tokens, %.1f t/s\n", NCT_N(r.n_prefill), nct_rate(r.n_prefill, r.prefill_s));
    nct_tell("  decode   %s tokens, %.1f t/s\n", NCT_N(r.n_decode), decode);
    if (r.n_guessed)
        nct_tell("  guesses  %s in %s steps, %.2f tokens a step\n", NCT_N(r.n_guessed), NCT_N(r.n_rounds),
                 1 + (double)r.n_accepted / (double)(r.n_rounds ? r.n_rounds : 1));
    nct_tell("  cache    %s, %s tokens taken from files, %s written\n", NCT_BYTES(r.kv_bytes), NCT_N(r.n_taken),
             NCT_BYTES(r.kv_written_bytes));
    if (r.n_decode == 0 || r.n_guessed || nct_engine_bandwidth(c->engine, &bandwidth, NULL) != NCT_OK ||
        bandwidth <= 0)
        return true;
    double read = decode * (double)(c->info.weight_bytes - (c->info.tied ? 0 : c->info.embedding_bytes));
    nct_tell("  memory   %s/s of weights read while decoding, %.0f %% of the %s/s that this machine reads\n",
             NCT_BYTES((uint64_t)read), 100 * read / bandwidth, NCT_BYTES((uint64_t)bandwidth));
    return true;
}

bool nct_slash_tokens(nct_chat *c, char *rest) {
    int32_t *ids = NULL;
    size_t n = 0, n_piece;
    nct_error err = {0};
    if (nct_encode(c->engine, rest, strlen(rest), false, false, &ids, &n, &err) != NCT_OK) {
        c->code = nct_say_status(c->cli, &err);
        return true;
    }
    nct_bytes line = {0};
    nct_bytes_printf(&line, NULL, "  %zu token%s:", n, n == 1 ? "" : "s");
    for (size_t i = 0; i < n; i++) {
        const char *piece = nct_token_piece(c->engine, ids[i], &n_piece);
        nct_bytes_printf(&line, NULL, " %.*s(%d)", piece ? (int)n_piece : 0, piece ? piece : "", ids[i]);
    }
    nct_tell("%s\n", line.data ? line.data : "");
    nct_bytes_reset(&line);
    nct_free(ids);
    return true;
}

/* ------------------------------------------------------------------ passing on */

bool nct_slash_dump(nct_chat *c, char *rest) {
    (void)rest;
    nct_bytes text = {0};
    nct_error err = {0};
    if (nct_talk_export(&c->talk, true, &text, &err) != NCT_OK)
        c->code = nct_say_status(c->cli, &err);
    else if (text.n)
        fputs(text.data, stderr); /* as it was said: nothing is cut */
    else
        nct_tell("  nothing was said yet\n");
    nct_bytes_reset(&text);
    return true;
}

bool nct_slash_export(nct_chat *c, char *rest) {
    size_t n = strlen(rest);
    bool lines = n > 6 && strcmp(rest + n - 6, ".jsonl") == 0;
    nct_bytes text = {0};
    nct_output file;
    nct_error err = {0};
    if (n == 0) {
        nct_tell("  /export wants a file: FILE.md or FILE.jsonl\n");
        return true;
    }
    if (nct_talk_export(&c->talk, !lines, &text, &err) != NCT_OK)
        c->code = nct_say_status(c->cli, &err);
    else if ((c->code = nct_output_open(c->cli, rest, &file)) == NCT_EXIT_OK) {
        nct_output_write(&file, text.data ? text.data : "", text.n);
        if ((c->code = nct_output_close(&file, NCT_EXIT_OK)) == NCT_EXIT_OK)
            nct_tell("  %zu turn%s in %s\n", c->talk.n_turns / 2, c->talk.n_turns == 2 ? "" : "s", rest);
    }
    nct_bytes_reset(&text);
    return true;
}

static nct_status add_base64(nct_bytes *out, const char *text, size_t n, nct_error *err) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        const unsigned char *b = (const unsigned char *)text + i;
        size_t left = n - i;
        unsigned v = b[0] << 16u | (left > 1 ? b[1] << 8u : 0) | (left > 2 ? b[2] : 0);
        char four[4] = {digits[v >> 18], digits[v >> 12 & 63], left > 1 ? digits[v >> 6 & 63] : '=',
                        left > 2 ? digits[v & 63] : '='};
        NCT_TRY(nct_bytes_add(out, four, sizeof four, err));
    }
    return NCT_OK;
}

/* OSC 52: the terminal puts it into the clipboard, of a remote machine's user too. */
bool nct_slash_copy(nct_chat *c, char *rest) {
    size_t begin = 0, end;
    const nct_bytes *said = c->talk.n_turns >= 2 ? &c->talk.turn[c->talk.n_turns - 1].content : NULL;
    if (!said || said->n == 0) {
        nct_tell("  no answer to copy\n");
        return true;
    }
    end = said->n;
    if (*rest && strcmp(rest, "code") != 0) {
        nct_tell("  /copy takes the last answer, /copy code the last block of code in it\n");
        return true;
    }
    if (*rest && !nct_fence_block(said->data, said->n, true, &begin, &end)) {
        nct_tell("  no block of code in the last answer\n");
        return true;
    }
    if (!c->cli->term.out_tty || c->cli->term.dumb) {
        nct_tell("  this terminal has no way to its clipboard\n");
        return true;
    }
    nct_bytes out = {0};
    nct_error err = {0};
    nct_status status = nct_bytes_add_str(&out, "\033]52;c;", &err);
    if (status == NCT_OK)
        status = add_base64(&out, said->data + begin, end - begin, &err);
    if (status == NCT_OK && (status = nct_bytes_add_str(&out, "\a", &err)) == NCT_OK) {
        fwrite(out.data, 1, out.n, stdout);
        fflush(stdout);
        nct_tell("  %s bytes to the clipboard\n", NCT_N(end - begin));
    }
    c->code = nct_say_status(c->cli, &err);
    nct_bytes_reset(&out);
    return true;
}
