#define _GNU_SOURCE
#include "text/calls.h"

#include "base/json.h"
#include "text/literal.h"

typedef struct span {
    const char *s, *end;
} span;

/* What is found goes to `calls`; `work` holds the arguments of the call at hand. */
typedef struct finder {
    const nct_json *tools;
    nct_bytes *content, *calls, work;
    size_t n_calls;
    nct_error *err;
} finder;

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static void skip_space(span *t) {
    while (t->s < t->end && is_space(*t->s))
        t->s++;
}

static bool take(span *t, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(t->end - t->s) < n || memcmp(t->s, word, n) != 0)
        return false;
    t->s += n;
    return true;
}

/* The text up to the word, which is skipped. False: the word is not there. */
static bool take_until(span *t, const char *word, span *before) {
    const char *hit = t->s < t->end ? memmem(t->s, (size_t)(t->end - t->s), word, strlen(word)) : NULL;
    if (!hit)
        return false;
    *before = (span){t->s, hit};
    t->s = hit + strlen(word);
    return true;
}

static span trimmed(span t) {
    skip_space(&t);
    while (t.end > t.s && is_space(t.end[-1]))
        t.end--;
    return t;
}

/* ------------------------------------------------------------------ definitions */

/* The parameters that a tool of this name defines, NULL if it is not known. */
static const nct_json *properties_of(const finder *f, span name) {
    for (const nct_json *tool = nct_json_first(f->tools); tool; tool = nct_json_next(tool)) {
        const nct_json *function = nct_json_get(tool, "function");
        function = function ? function : tool;
        const char *own = nct_json_string(nct_json_get(function, "name"), "");
        if (strlen(own) == (size_t)(name.end - name.s) && memcmp(own, name.s, strlen(own)) == 0)
            return nct_json_get(nct_json_get(function, "parameters"), "properties");
    }
    return NULL;
}

static const nct_json *find_property(const nct_json *properties, span key) {
    for (const nct_json *p = nct_json_first(properties); p; p = nct_json_next(p))
        if (strlen(nct_json_key(p)) == (size_t)(key.end - key.s) &&
            memcmp(nct_json_key(p), key.s, (size_t)(key.end - key.s)) == 0)
            return p;
    return NULL;
}

/* Whether a text may be the value of a parameter. */
static bool takes_text(const nct_json *property) {
    const nct_json *type = nct_json_get(property, "type");
    if (!type)
        return nct_json_is_string(nct_json_first(nct_json_get(property, "enum")));
    for (const nct_json *t = nct_json_is_array(type) ? nct_json_first(type) : type; t;
         t = t == type ? NULL : nct_json_next(t))
        if (strcmp(nct_json_string(t, ""), "string") == 0)
            return true;
    return false;
}

/* ------------------------------------------------------------------ what is told of a call */

/* A key of the arguments, and what stands between them. A key that is there already makes the call none. */
static nct_status add_key(finder *f, span key, nct_bytes *keys, bool *good) {
    size_t n = (size_t)(key.end - key.s), at = keys->n;
    NCT_TRY(nct_json_write_string(keys, key.s, n, f->err));
    NCT_TRY(nct_bytes_add_str(keys, ":", f->err));
    *good = n > 0 && (at == 0 || !memmem(keys->data, at, keys->data + at, keys->n - at));
    NCT_TRY(nct_bytes_add_str(&f->work, f->work.n > 1 ? ", " : "", f->err));
    NCT_TRY(nct_json_write_string(&f->work, key.s, n, f->err));
    return nct_bytes_add_str(&f->work, ": ", f->err);
}

static nct_status add_call(finder *f, span name) {
    NCT_TRY(nct_bytes_printf(f->calls, f->err, "%s{\"id\":\"call_%zu\",\"type\":\"function\",\"function\":{\"name\":",
                             f->n_calls ? "," : "[", f->n_calls + 1));
    NCT_TRY(nct_json_write_string(f->calls, name.s, (size_t)(name.end - name.s), f->err));
    NCT_TRY(nct_bytes_add_str(f->calls, ",\"arguments\":", f->err));
    NCT_TRY(nct_json_write_string(f->calls, f->work.data, f->work.n, f->err));
    NCT_TRY(nct_bytes_add_str(f->calls, "}}", f->err));
    f->n_calls++;
    return NCT_OK;
}

/* ------------------------------------------------------------------ elements */

/* name="..." or name='...' and the end of the tag. */
static bool read_name(span *t, span *name) {
    skip_space(t);
    if (!take(t, "name="))
        return false;
    const char *quote = t->s < t->end && *t->s == '\'' ? "'" : "\"";
    if (!take(t, quote) || !take_until(t, quote, name))
        return false;
    skip_space(t);
    return take(t, ">") && name->end > name->s;
}

/* The value of a parameter: text, or what the text says where the definition asks for something else. */
static nct_status add_text_value(finder *f, span value, bool quoted, const nct_json *property) {
    span inner = trimmed(value);
    bool string = takes_text(property) || (quoted && !property);
    if (!string && inner.end > inner.s && *inner.s != '"' && *inner.s != '\'') {
        size_t before = f->work.n, n_used;
        NCT_TRY(nct_literal_read(inner.s, (size_t)(inner.end - inner.s), &f->work, &n_used, f->err));
        if (n_used == (size_t)(inner.end - inner.s))
            return NCT_OK;
        f->work.n = before;
    }
    return nct_json_write_string(&f->work, value.s, (size_t)(value.end - value.s), f->err);
}

static nct_status read_parameter(finder *f, span *t, const nct_json *properties, nct_bytes *keys, bool *good) {
    span key, value, cdata;
    *good = read_name(t, &key);
    if (!*good)
        return NCT_OK;
    span inside = *t;
    skip_space(&inside);
    bool quoted = take(&inside, "<![CDATA[");
    if (quoted) { /* it ends with the element, so that it may hold an end of its own kind */
        *good = take_until(&inside, "]]>", &cdata);
        while (*good) {
            span rest = inside;
            skip_space(&rest);
            if (take(&rest, "</param>")) {
                *t = rest;
                break;
            }
            span more;
            *good = take_until(&inside, "]]>", &more);
            cdata.end = *good ? more.end : cdata.end;
        }
        value = cdata;
    } else {
        *good = take_until(t, "</param>", &value);
    }
    if (!*good)
        return NCT_OK;
    NCT_TRY(add_key(f, key, keys, good));
    return add_text_value(f, value, quoted, find_property(properties, key));
}

/* An element behind its "<function". *good false: it is no call. */
static nct_status read_element(finder *f, span *t, bool *good) {
    span name;
    nct_bytes keys = {0};
    nct_status status = NCT_OK;
    f->work.n = 0;
    *good = read_name(t, &name);
    if (!*good)
        return NCT_OK;
    const nct_json *properties = properties_of(f, name);
    NCT_TRY(nct_bytes_add_str(&f->work, "{", f->err));
    for (;;) {
        skip_space(t);
        if (take(t, "</function>"))
            break;
        *good = take(t, "<param");
        if (*good)
            status = read_parameter(f, t, properties, &keys, good);
        if (!*good || status != NCT_OK)
            break;
    }
    nct_bytes_reset(&keys);
    NCT_TRY(status);
    if (!*good)
        return NCT_OK;
    NCT_TRY(nct_bytes_add_str(&f->work, "}", f->err));
    return add_call(f, name);
}

static nct_status find_elements(finder *f, span t) {
    span before;
    for (span rest = t; take_until(&rest, "<function", &before);) {
        span inside = rest;
        bool good;
        NCT_TRY(read_element(f, &inside, &good));
        if (!good) /* stays where it is */
            continue;
        NCT_TRY(nct_bytes_add(f->content, t.s, (size_t)(before.end - t.s), f->err));
        rest = t = inside;
    }
    return nct_bytes_add(f->content, t.s, (size_t)(t.end - t.s), f->err);
}

/* ------------------------------------------------------------------ Python */

static bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (c & 0x80);
}

static bool read_identifier(span *t, bool dots, span *name) {
    *name = (span){t->s, t->s};
    while (t->s < t->end && (is_name(*t->s) || (dots && *t->s == '.' && t->s > name->s)))
        t->s++;
    name->end = t->s;
    return name->end > name->s && !(*name->s >= '0' && *name->s <= '9');
}

/* key=, or, where there is none, the name of the definition's next parameter. */
static bool read_key(span *t, const nct_json *properties, size_t n_before, span *key) {
    span ahead = *t;
    if (read_identifier(&ahead, false, key)) {
        skip_space(&ahead);
        if (take(&ahead, "=")) {
            *t = ahead;
            return true;
        }
    }
    const nct_json *p = nct_json_first(properties);
    for (size_t i = 0; p && i < n_before; i++)
        p = nct_json_next(p);
    if (!p)
        return false;
    *key = (span){nct_json_key(p), nct_json_key(p) + strlen(nct_json_key(p))};
    return true;
}

/* name(key=value, ...) */
static nct_status read_python_call(finder *f, span *t, nct_bytes *keys, bool *good) {
    span name, key;
    f->work.n = 0;
    *good = read_identifier(t, true, &name);
    skip_space(t);
    *good = *good && take(t, "(");
    if (!*good)
        return NCT_OK;
    const nct_json *properties = properties_of(f, name);
    NCT_TRY(nct_bytes_add_str(&f->work, "{", f->err));
    bool comma = true;
    for (size_t n = 0;; n++) {
        skip_space(t);
        if (take(t, ")"))
            break;
        size_t n_used = 0;
        *good = comma && read_key(t, properties, n, &key);
        if (*good)
            NCT_TRY(add_key(f, key, keys, good));
        if (*good)
            NCT_TRY(nct_literal_read(t->s, (size_t)(t->end - t->s), &f->work, &n_used, f->err));
        *good = n_used > 0;
        if (!*good)
            return NCT_OK;
        t->s += n_used;
        skip_space(t);
        comma = take(t, ",");
    }
    NCT_TRY(nct_bytes_add_str(&f->work, "}", f->err));
    return add_call(f, name);
}

/* All calls of a block; *good false: something in it is none, and so it is no block. */
static nct_status read_block(finder *f, span t, bool *good) {
    *good = true;
    t = trimmed(t);
    if (take(&t, "```")) {
        if (take(&t, "python") || take(&t, "py"))
            skip_space(&t);
        if (t.end - t.s >= 3 && memcmp(t.end - 3, "```", 3) == 0)
            t.end -= 3;
    }
    size_t n_before = f->n_calls;
    for (;;) {
        nct_bytes keys = {0};
        while (t.s < t.end && (is_space(*t.s) || *t.s == ';' || *t.s == ','))
            t.s++;
        if (t.s == t.end)
            break;
        nct_status status = read_python_call(f, &t, &keys, good);
        nct_bytes_reset(&keys);
        NCT_TRY(status);
        if (!*good)
            return NCT_OK;
    }
    *good = f->n_calls > n_before;
    return NCT_OK;
}

static nct_status find_blocks(finder *f, span t) {
    static const char begin[] = "<|tool_call_start|>", end[] = "<|tool_call_end|>";
    span before, block;
    for (span rest = t; take_until(&rest, begin, &before);) {
        span inside = rest;
        size_t n_calls = f->n_calls, n_bytes = f->calls->n;
        bool good = take_until(&inside, end, &block);
        if (good)
            NCT_TRY(read_block(f, block, &good));
        if (!good) {
            f->n_calls = n_calls;
            f->calls->n = n_bytes;
            continue;
        }
        NCT_TRY(nct_bytes_add(f->content, t.s, (size_t)(before.end - t.s), f->err));
        rest = t = inside;
    }
    return nct_bytes_add(f->content, t.s, (size_t)(t.end - t.s), f->err);
}

/* ------------------------------------------------------------------ both */

bool nct_calls_is_markup(const char *piece, size_t n) {
    static const char *const all[] = {"<function", "</function>", "<param", "</param>"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strlen(all[i]) == n && memcmp(all[i], piece, n) == 0)
            return true;
    return false;
}

static nct_status find(finder *f, nct_call_form form, span t) {
    NCT_TRY(form == NCT_CALLS_PYTHON ? find_blocks(f, t) : find_elements(f, t));
    if (f->n_calls == 0)
        return NCT_OK;
    span rest = trimmed((span){f->content->data, f->content->data + f->content->n});
    size_t n = (size_t)(rest.end - rest.s);
    if (n)
        memmove(f->content->data, rest.s, n);
    f->content->n = n;
    f->content->data[n] = 0;
    return nct_bytes_add_str(f->calls, "]", f->err);
}

nct_status nct_calls_read(nct_call_form form, const char *text, size_t n, const char *tools, nct_bytes *content,
                          nct_bytes *calls, size_t *n_calls, nct_error *err) {
    finder f = {.content = content, .calls = calls, .err = err};
    nct_json *definitions = NULL;
    *n_calls = 0;
    if (form == NCT_CALLS_NONE || n == 0)
        return NCT_OK;
    if (tools && nct_json_parse("tools", tools, strlen(tools), &definitions, NULL) != NCT_OK)
        definitions = NULL; /* whoever rendered them has complained */
    f.tools = definitions;
    nct_status status = find(&f, form, (span){text, text + n});
    nct_json_close(definitions);
    nct_bytes_reset(&f.work);
    *n_calls = f.n_calls;
    if (status != NCT_OK || f.n_calls == 0) {
        nct_bytes_reset(content);
        nct_bytes_reset(calls);
        *n_calls = 0;
    }
    return status;
}
