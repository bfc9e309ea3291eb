#include "text/chat.h"

#include "text/chat_write.h"

typedef struct conversation {
    const nct_message *message;
    size_t n;
    nct_chat_options options;
    const char *bos;
    const nct_json *tools;  /* array, NULL: none */
    const nct_json **calls; /* [n], array of a message's tool calls, NULL: none */
} conversation;

typedef void render_fn(nct_chat_writer *w, const conversation *c);

/* ------------------------------------------------------------------ strings */

typedef struct text {
    const char *s;
    size_t n;
} text;

static text content_of(const nct_message *m) {
    const char *s = m->content ? m->content : "";
    return (text){s, m->n_content ? m->n_content : strlen(s)};
}

static bool is_role(const nct_message *m, const char *role) { return strcmp(m->role, role) == 0; }

static bool starts_with(text t, const char *prefix) {
    size_t n = strlen(prefix);
    return t.n >= n && memcmp(t.s, prefix, n) == 0;
}

static bool ends_with(text t, const char *suffix) {
    size_t n = strlen(suffix);
    return t.n >= n && memcmp(t.s + t.n - n, suffix, n) == 0;
}

/* Where a word first stands, t.n if nowhere. */
static size_t find(text t, const char *word) {
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= t.n; i++) {
        const char *hit = memchr(t.s + i, word[0], t.n - n + 1 - i);
        if (!hit)
            break;
        i = (size_t)(hit - t.s);
        if (memcmp(hit, word, n) == 0)
            return i;
    }
    return t.n;
}

/* What follows the last `word`, all if there is none. */
static text after_last(text t, const char *word) {
    for (size_t at; (at = find(t, word)) < t.n;) {
        t.s += at + strlen(word);
        t.n -= at + strlen(word);
    }
    return t;
}

static text skip_lines(text t) { /* without leading line feeds */
    while (t.n && *t.s == '\n')
        t.s++, t.n--;
    return t;
}

static text drop_lines(text t) { /* without trailing line feeds */
    while (t.n && t.s[t.n - 1] == '\n')
        t.n--;
    return t;
}

/* ------------------------------------------------------------------ minicpm4, minicpm4.1 */

static void open_turn(nct_chat_writer *w, const char *role) {
    nct_chat_markup(w, "<|im_start|>");
    nct_chat_content(w, role, strlen(role));
    nct_chat_markup(w, "\n");
}

static void close_turn(nct_chat_writer *w) { nct_chat_markup(w, "<|im_end|>\n"); }

static void put(nct_chat_writer *w, text t) { nct_chat_content(w, t.s, t.n); }

static void plain_turn(nct_chat_writer *w, const nct_message *m) {
    open_turn(w, m->role);
    put(w, content_of(m));
    close_turn(w);
}

static void render_minicpm3_tools(nct_chat_writer *w, const conversation *c);

static void render_minicpm4(nct_chat_writer *w, const conversation *c) {
    bool calls = c->tools != NULL;
    for (size_t i = 0; i < c->n; i++)
        calls = calls || c->calls[i];
    if (calls) {
        render_minicpm3_tools(w, c);
        return;
    }
    for (size_t i = 0; i < c->n; i++)
        plain_turn(w, &c->message[i]);
    if (!c->options.no_generation_prompt)
        nct_chat_markup(w, "<|im_start|>assistant\n");
}

static void render_minicpm41(nct_chat_writer *w, const conversation *c) {
    render_minicpm4(w, c);
    if (!c->options.no_generation_prompt && c->options.think == NCT_THINK_OFF)
        nct_chat_markup(w, "<think>\n\n</think>\n");
}

/* ------------------------------------------------------------------ minicpm3_tools */

static void thought(nct_chat_writer *w, const nct_message *m) {
    nct_chat_markup(w, "<|thought_start|>\n");
    nct_chat_content(w, m->reasoning, strlen(m->reasoning));
    nct_chat_markup(w, "\n<|thought_end|>\n");
}

static void python_calls(nct_chat_writer *w, const nct_json *calls) {
    nct_chat_markup(w, "<|tool_call_start|>\n```python\n");
    for (const nct_json *call = nct_json_first(calls); call && nct_chat_ok(w); call = nct_json_next(call)) {
        nct_chat_call parsed;
        nct_chat_call_open(w, call, &parsed);
        nct_chat_content(w, parsed.name, strlen(parsed.name));
        nct_chat_markup(w, "(");
        for (const nct_json *item = nct_json_first(parsed.arguments); item; item = nct_json_next(item)) {
            nct_chat_content(w, nct_json_key(item), strlen(nct_json_key(item)));
            nct_chat_markup(w, "=");
            nct_chat_json(w, item);
            if (nct_json_next(item))
                nct_chat_markup(w, ",");
        }
        nct_chat_markup(w, ")\n");
        nct_chat_call_close(&parsed);
    }
    nct_chat_markup(w, "```\n<|tool_call_end|>\n");
}

static void render_minicpm3_tools(nct_chat_writer *w, const conversation *c) {
    size_t first = c->n && is_role(&c->message[0], "system");
    text system = first ? content_of(&c->message[0]) : (text){"", 0};
    if (system.n || c->tools) {
        nct_chat_markup(w, "<|im_start|>system\n");
        put(w, system);
        if (c->tools)
            nct_chat_python_tools(w, c->tools);
        close_turn(w);
    }
    for (size_t i = first; i < c->n; i++) {
        const nct_message *m = &c->message[i];
        bool assistant = is_role(m, "assistant"), thinks = m->reasoning && *m->reasoning;
        text content = content_of(m);
        open_turn(w, m->role);
        if (assistant && thinks)
            thought(w, m);
        if (assistant && c->calls[i])
            python_calls(w, c->calls[i]);
        if (!assistant || !c->calls[i] || !starts_with(content, "<|tool_call_start|>"))
            put(w, content);
        close_turn(w);
    }
    if (!c->options.no_generation_prompt)
        nct_chat_markup(w, "<|im_start|>assistant\n");
}

/* ------------------------------------------------------------------ minicpm5 */

static void xml_tools(nct_chat_writer *w, const nct_json *tools) {
    nct_chat_markup(
        w, "# Tools\n\nYou are provided with function signatures within <tools></tools> XML tags:\n<tools>");
    for (const nct_json *tool = nct_json_first(tools); tool; tool = nct_json_next(tool)) {
        nct_chat_markup(w, "\n");
        nct_chat_json(w, tool);
    }
    nct_chat_markup(
        w, "\n</tools>\n\nTool usage guidelines:\n"
           "- You may call zero or more functions. If no function calls are needed, just answer normally and "
           "do not "
           "include any <function ... </function>.\n"
           "- When calling a function, return an XML object within <function ... </function> using:\n"
           "<function name=\"function-name\"><param name=\"param-name\">param-value</param></function>\n"
           "- param-value may be multi-line. If it contains <, & or newline characters, wrap it in a CDATA "
           "block: "
           "<param name=\"param-name\"><![CDATA[...multi-line value...]]></param>");
}

/* The system turn: tool definitions stand where the system text asks for them, else behind it. */
static void xml_system(nct_chat_writer *w, const conversation *c) {
    static const char place[] = "<tool_def_sep>";
    bool given = c->n && is_role(&c->message[0], "system");
    if (!given && !c->tools)
        return;
    text system = given ? content_of(&c->message[0]) : (text){"", 0};
    nct_chat_markup(w, "<|im_start|>system\n");
    size_t at = find(system, place);
    bool placed = at < system.n;
    for (; c->tools && at < system.n; at = find(system, place)) {
        put(w, (text){system.s, at});
        xml_tools(w, c->tools);
        system.s += at + strlen(place);
        system.n -= at + strlen(place);
    }
    put(w, system);
    if (c->tools && !placed) {
        nct_chat_markup(w, given ? "\n\n" : "");
        xml_tools(w, c->tools);
    }
    close_turn(w);
}

static void xml_call(nct_chat_writer *w, const nct_json *call) {
    nct_chat_call parsed;
    nct_chat_call_open(w, call, &parsed);
    nct_chat_markup(w, "<function name=\"");
    nct_chat_content(w, parsed.name, strlen(parsed.name));
    nct_chat_markup(w, "\">");
    for (const nct_json *item = nct_json_first(parsed.arguments); item; item = nct_json_next(item)) {
        const char *string = nct_json_string(item, NULL);
        nct_chat_markup(w, "<param name=\"");
        nct_chat_content(w, nct_json_key(item), strlen(nct_json_key(item)));
        nct_chat_markup(w, "\">");
        if (string && strpbrk(string, "<&\n")) {
            nct_chat_markup(w, "<![CDATA[");
            nct_chat_content(w, string, strlen(string));
            nct_chat_markup(w, "]]>");
        } else {
            nct_chat_python(w, item);
        }
        nct_chat_markup(w, "</param>");
    }
    nct_chat_markup(w, "</function>");
    nct_chat_call_close(&parsed);
}

/* An assistant's turn. Reasoning is shown only behind the last question, where the model still needs it. */
static void xml_assistant(nct_chat_writer *w, const nct_message *m, const nct_json *calls, bool current) {
    text content = content_of(m), reasoning = {m->reasoning, m->reasoning ? strlen(m->reasoning) : 0};
    size_t at = find(content, "</think>");
    if (!m->reasoning && at < content.n) {
        reasoning = skip_lines(after_last(drop_lines((text){content.s, at}), "<think>"));
        content = skip_lines(after_last(content, "</think>"));
    }
    if (calls)
        content.n = find(content, "<tool_sep>");
    open_turn(w, m->role);
    if (current && reasoning.n) {
        nct_chat_markup(w, "<think>\n");
        put(w, drop_lines(skip_lines(reasoning)));
        nct_chat_markup(w, "\n</think>\n\n");
        put(w, skip_lines(content));
    } else {
        put(w, content);
    }
    for (const nct_json *call = nct_json_first(calls); call && nct_chat_ok(w); call = nct_json_next(call)) {
        if (content.n || call != nct_json_first(calls))
            nct_chat_markup(w, "\n");
        xml_call(w, call);
    }
    close_turn(w);
}

/* A user's turn. The switches of thinking that MiniCPM5 has tokens for are such where a question ends in one. */
static void xml_user(nct_chat_writer *w, const nct_message *m) {
    static const char *const switches[] = {"/think", "/no_think"};
    text content = content_of(m);
    const char *found = "";
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++) {
        size_t before = content.n - strlen(switches[i]);
        if (ends_with(content, switches[i]) && (before == 0 || strchr(" \t\n", content.s[before - 1])))
            found = switches[i];
    }
    content.n -= strlen(found);
    open_turn(w, m->role);
    put(w, content);
    nct_chat_markup(w, found);
    close_turn(w);
}

static void render_minicpm5(nct_chat_writer *w, const conversation *c) {
    nct_chat_markup(w, c->bos ? c->bos : "");
    xml_system(w, c);
    size_t question = c->n; /* the last that is none of the tools' results */
    for (size_t i = 0; i < c->n; i++) {
        text content = content_of(&c->message[i]);
        if (is_role(&c->message[i], "user") &&
            !(starts_with(content, "<tool_response>") && ends_with(content, "</tool_response>")))
            question = i;
    }
    for (size_t i = 0; i < c->n; i++) {
        const nct_message *m = &c->message[i];
        if (is_role(m, "user")) {
            xml_user(w, m);
        } else if (is_role(m, "system") && i > 0) {
            plain_turn(w, m);
        } else if (is_role(m, "assistant")) {
            xml_assistant(w, m, c->calls[i], i > question);
        } else if (is_role(m, "tool")) {
            if (i == 0 || !is_role(m - 1, "tool"))
                nct_chat_markup(w, "<|im_start|>user");
            nct_chat_markup(w, "\n<tool_response>\n");
            put(w, content_of(m));
            nct_chat_markup(w, "\n</tool_response>");
            if (i + 1 == c->n || !is_role(m + 1, "tool"))
                close_turn(w);
        } else if (!is_role(m, "system")) {
            nct_chat_fail(w, "message %zu has the role '%.40s', expected system, user, assistant or tool", i,
                          m->role);
        }
    }
    if (c->options.no_generation_prompt)
        return;
    nct_chat_markup(w, "<|im_start|>assistant\n");
    if (c->options.think == NCT_THINK_ON)
        nct_chat_markup(w, "<think>\n");
    else if (c->options.think == NCT_THINK_OFF)
        nct_chat_markup(w, "<think>\n\n</think>\n\n");
}

/* ------------------------------------------------------------------ the list */

/* Known texts are told by a hash of their characters without white space; a text that has all of `signs`
   is of the family. The first row that fits is taken. */
static const struct row {
    nct_chat_template chat;
    render_fn *render;
    const char *signs[3];
    uint64_t known;
} rows[] = {
    {{"minicpm5", true, true, NCT_CALLS_ELEMENTS},
     render_minicpm5,
     {"<|im_start|>", "<function name=", "<tool_response>"},
     0xb209d30c3b8db5b0u},
    {{"minicpm3_tools", false, true, NCT_CALLS_PYTHON},
     render_minicpm3_tools,
     {"<|im_start|>", "<|tool_call_start|>", "<|thought_start|>"},
     0x30b9618a145f1e32u},
    {{"minicpm4.1", true, true, NCT_CALLS_PYTHON}, render_minicpm41, {"<|im_start|>", "enable_thinking", "</think>"}, 0},
    {{"minicpm4", false, true, NCT_CALLS_PYTHON},
     render_minicpm4,
     {"<|im_start|>", "<|im_end|>", "assistant"},
     0xad70d358c7c293cau},
};
enum { N_ROWS = sizeof rows / sizeof *rows };

/* Past line feeds, which a template may hold as such or spelled \n; *n counts them. */
static const char *skip_feeds(const char *s, size_t *n) {
    for (*n = 0; *s == '\n' || (s[0] == '\\' && s[1] == 'n'); ++*n)
        s += *s == '\n' ? 1 : 2;
    return s;
}

/* FNV-1a over what is no white space, spelled or not. */
static uint64_t hash_template(const char *s) {
    uint64_t h = 0xcbf29ce484222325u;
    size_t n;
    while (*(s = skip_feeds(s, &n))) {
        if (!strchr(" \t\r\v\f", *s))
            h = (h ^ (uint8_t)*s) * 0x100000001b3u;
        s++;
    }
    return h;
}

const nct_chat_template *nct_chat_template_named(const char *name) {
    for (size_t i = 0; i < N_ROWS; i++)
        if (strcmp(rows[i].chat.name, name) == 0)
            return &rows[i].chat;
    return NULL;
}

/* The template of MiniCPM4.1 has no published copy to take a hash of: it is the loop over messages of
   MiniCPM4, and behind the generation prompt the empty thought, with one line feed, and nothing else. */
static bool is_minicpm41(const char *s) {
    const char *thought = strstr(s, "<think>");
    size_t inside, behind;
    if (!thought || strlen(s) > 1000 || strstr(s, "tool"))
        return false;
    thought = skip_feeds(thought + strlen("<think>"), &inside);
    if (strncmp(thought, "</think>", strlen("</think>")) != 0)
        return false;
    skip_feeds(thought + strlen("</think>"), &behind);
    return inside == 2 && behind == 1;
}

static const nct_chat_template *recognize(const char *s, const char **warning) {
    uint64_t hash = hash_template(s);
    for (size_t i = 0; i < N_ROWS; i++)
        if (rows[i].known == hash)
            return &rows[i].chat;
    for (size_t i = 0; i < N_ROWS; i++)
        if (strstr(s, rows[i].signs[0]) && strstr(s, rows[i].signs[1]) && strstr(s, rows[i].signs[2])) {
            if (rows[i].render != render_minicpm41 || !is_minicpm41(s))
                *warning = "the checkpoint's chat template is not one that is built in, the nearest is used";
            return &rows[i].chat;
        }
    *warning = "the checkpoint's chat template is of another family, minicpm4 is used";
    return nct_chat_template_named("minicpm4");
}

const nct_chat_template *nct_chat_template_find(const char *s, const nct_vocab *vocab, const char **warning) {
    *warning = NULL;
    if (!s || !s[strspn(s, " \t\r\n")])
        return NULL;
    const nct_chat_template *chat = recognize(s, warning);
    if (!*warning && vocab &&
        (nct_vocab_find(vocab, "<|im_start|>", 12) < 0 || nct_vocab_find(vocab, "<|im_end|>", 10) < 0))
        *warning = "the tokenizer lacks the chat template's markers, which are written as ordinary text";
    return chat;
}

/* ------------------------------------------------------------------ rendering */

/* Parses an array that the caller gives as text; NULL if it is empty. */
static nct_status parse_array(const char *what, const char *s, nct_json **json, nct_error *err) {
    nct_error why = {0};
    nct_status status = nct_json_parse(what, s, strlen(s), json, &why);
    if (status != NCT_OK)
        return nct_fail(err, status == NCT_E_MEMORY ? status : NCT_E_ARGUMENT, "%s", why.text);
    if (!nct_json_is_array(*json))
        return nct_fail(err, NCT_E_ARGUMENT, "%s: expected a JSON array", what);
    return NCT_OK;
}

static nct_status parse_conversation(conversation *c, nct_json **trees, nct_error *err) {
    if (c->options.tools)
        NCT_TRY(parse_array("tools", c->options.tools, &trees[c->n], err));
    c->tools = nct_json_first(trees[c->n]) ? trees[c->n] : NULL;
    for (size_t i = 0; i < c->n; i++) {
        const nct_message *m = &c->message[i];
        if (!m->role)
            return nct_fail(err, NCT_E_ARGUMENT, "message %zu has no role", i);
        if (m->tool_calls && is_role(m, "assistant"))
            NCT_TRY(parse_array("tool_calls", m->tool_calls, &trees[i], err));
        c->calls[i] = nct_json_first(trees[i]) ? trees[i] : NULL;
    }
    return NCT_OK;
}

nct_status nct_chat_template_render(const nct_chat_template *chat, const char *bos,
                                    const nct_message *messages, size_t n_messages,
                                    const nct_chat_options *options, nct_chat_text *rendered,
                                    nct_error *err) {
    const struct row *row = (const struct row *)(const void *)chat; /* its first member */
    void *trees = NULL, *calls = NULL;
    conversation c = {.message = messages, .n = n_messages, .bos = bos};
    if (options)
        c.options = *options;
    *rendered = (nct_chat_text){0};
    nct_chat_writer w = {.out = rendered, .err = err};
    w.status = nct_alloc(&trees, n_messages + 1, sizeof(nct_json *), err);
    if (w.status == NCT_OK)
        w.status = nct_alloc(&calls, n_messages, sizeof(nct_json *), err);
    c.calls = calls;
    if (w.status == NCT_OK)
        w.status = parse_conversation(&c, trees, err);
    nct_chat_content(&w, "", 0); /* an empty text is a text */
    if (w.status == NCT_OK)
        row->render(&w, &c);
    for (size_t i = 0; trees && i <= n_messages; i++)
        nct_json_close(((nct_json **)trees)[i]);
    nct_free(trees);
    nct_free(calls);
    if (w.status != NCT_OK)
        nct_chat_text_reset(rendered);
    return w.status;
}

void nct_chat_text_reset(nct_chat_text *rendered) {
    nct_bytes_reset(&rendered->text);
    nct_free(rendered->markup);
    *rendered = (nct_chat_text){0};
}

nct_status nct_chat_template_encode(const nct_chat_template *chat, const nct_vocab *vocab,
                                    const nct_message *messages, size_t n_messages,
                                    const nct_chat_options *options, int32_t **ids, size_t *n_ids,
                                    nct_error *err) {
    nct_chat_text rendered;
    char bos[NCT_PIECE_MAX_BYTES + 1] = "";
    const nct_piece *p = nct_vocab_piece(vocab, vocab->bos);
    if (p)
        memcpy(bos, nct_vocab_text(vocab, p), p->n_bytes);
    NCT_TRY(nct_chat_template_render(chat, bos, messages, n_messages, options, &rendered, err));
    const nct_span whole = {0, rendered.text.n}, *markup = rendered.markup;
    size_t n_markup = rendered.n_markup;
    if (options && options->parse_special)
        markup = &whole, n_markup = 1;
    /* The rendered text may begin with BOS already. */
    const nct_added *first = n_markup && markup->begin == 0
                                 ? nct_vocab_match(vocab, false, rendered.text.data, markup->end)
                                 : NULL;
    nct_status status = nct_bpe_encode_spans(vocab, rendered.text.data, rendered.text.n, markup, n_markup,
                                             !first || first->id != vocab->bos, ids, n_ids, err);
    nct_chat_text_reset(&rendered);
    return status;
}
