#include "base/jsonc.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* ------------------------------------------------------------------ comments */

static size_t line_of(const char *text, size_t at) {
    size_t line = 1;
    for (size_t i = 0; i < at; i++)
        line += text[i] == '\n';
    return line;
}

/* Bytes of the string that begins here, its quotes included; it may have no end. */
static size_t string_bytes(const char *text, size_t n) {
    size_t at = 1;
    while (at < n && text[at] != '"')
        at += text[at] == '\\' ? 2 : 1;
    return at < n ? at + 1 : n;
}

/* Bytes of the comment that begins here, 0 if none does, SIZE_MAX if it has no end. */
static size_t comment_bytes(const char *text, size_t n) {
    if (n < 2 || text[0] != '/')
        return 0;
    if (text[1] == '/') {
        const char *end = memchr(text, '\n', n);
        return end ? (size_t)(end - text) : n;
    }
    if (text[1] != '*')
        return 0;
    for (size_t at = 2; at + 1 < n; at++)
        if (text[at] == '*' && text[at + 1] == '/')
            return at + 2;
    return SIZE_MAX;
}

/* Comments and a byte-order mark become spaces, so that offsets stay. */
static nct_status blank(const char *name, char *text, size_t n, nct_error *err) {
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        memset(text, ' ', 3);
    for (size_t at = 0; at < n;) {
        if (text[at] == '"') {
            at += string_bytes(text + at, n - at);
            continue;
        }
        size_t length = comment_bytes(text + at, n - at);
        if (length == SIZE_MAX)
            return nct_fail(err, NCT_E_FORMAT, "%s: a comment that begins in line %zu has no end", name,
                            line_of(text, at));
        for (size_t i = 0; i < length; i++)
            if (text[at + i] != '\n')
                text[at + i] = ' ';
        at += length ? length : 1;
    }
    return NCT_OK;
}

/* ------------------------------------------------------------------ reading */

/* Members of the tree's objects, each key once. Objects that people write are small. */
static nct_status find_twice(const char *name, const nct_json *json, nct_error *err) {
    bool object = nct_json_is_object(json);
    for (const nct_json *m = nct_json_first(json); m; m = nct_json_next(m)) {
        NCT_TRY(find_twice(name, m, err));
        for (const nct_json *k = nct_json_first(json); object && k != m; k = nct_json_next(k))
            if (strcmp(nct_json_key(k), nct_json_key(m)) == 0)
                return nct_fail(err, NCT_E_FORMAT, "%s: '%.60s' stands there twice", name, nct_json_key(m));
    }
    return NCT_OK;
}

enum { MEMBERS_MOST = 4096 };

static size_t count(const nct_json *json) {
    size_t n = 1;
    for (const nct_json *m = nct_json_first(json); m && n <= MEMBERS_MOST; m = nct_json_next(m))
        n += count(m);
    return n;
}

/* The parser takes control characters for white space, and would end a text at a byte 0. */
static nct_status check_bytes(const char *name, const char *text, size_t n, nct_error *err) {
    for (size_t at = 0; at < n;) {
        uint32_t c = 0;
        size_t length = nct_utf8_decode(text + at, n - at, &c);
        if (!length || (c < 0x20 && !strchr("\t\r\n", (int)c)) || c == 0)
            return nct_fail(err, NCT_E_FORMAT, "%s: line %zu is no text in UTF-8", name, line_of(text, at));
        at += length;
    }
    return NCT_OK;
}

nct_status nct_jsonc_parse(const char *name, const char *text, size_t n, nct_json **json, nct_error *err) {
    nct_bytes plain = {0};
    NCT_TRY(check_bytes(name, text, n, err));
    NCT_TRY(nct_bytes_add(&plain, text, n, err));
    nct_status status = plain.data ? blank(name, plain.data, n, err) : NCT_OK;
    nct_error parsing = {0};
    if (status == NCT_OK &&
        (status = nct_json_parse(name, plain.data ? plain.data : "", n, json, &parsing)) != NCT_OK) {
        /* the parser tells a byte; people look for a line */
        const char *byte = strstr(parsing.text, "byte ");
        size_t at = byte ? (size_t)strtoull(byte + 5, NULL, 10) : 0;
        nct_fail(err, status, status == NCT_E_FORMAT ? "%s: not valid JSON near line %zu" : "%s: out of memory",
                 name, line_of(text, at < n ? at : n));
    }
    nct_bytes_reset(&plain);
    if (status == NCT_OK && count(*json) > MEMBERS_MOST)
        status = nct_fail(err, NCT_E_FORMAT, "%s: more than %d values", name, MEMBERS_MOST);
    else if (status == NCT_OK)
        status = find_twice(name, *json, err);
    else
        return status;
    if (status != NCT_OK) {
        nct_json_close(*json);
        *json = NULL;
    }
    return status;
}

/* ------------------------------------------------------------------ changing */

typedef struct scan {
    const char *text; /* well-formed, comments blanked */
    size_t n, at;
} scan;

static void skip_space(scan *s) {
    while (s->at < s->n && strchr(" \t\r\n", s->text[s->at]))
        s->at++;
}

/* Past the value that begins here. */
static void skip_value(scan *s) {
    size_t depth = 0;
    do {
        char c = s->text[s->at];
        if (c == '"') {
            s->at += string_bytes(s->text + s->at, s->n - s->at);
        } else {
            depth += c == '{' || c == '[';
            depth -= c == '}' || c == ']';
            s->at++;
            if (!depth && !strchr("}]", c)) /* a bare word */
                while (s->at < s->n && !strchr(" \t\r\n,}]", s->text[s->at]))
                    s->at++;
        }
    } while (depth && s->at < s->n);
}

typedef struct place {
    bool found, object, empty; /* the key is there; its value is an object; the object it was looked for in is empty */
    size_t from, to;           /* of the value */
    size_t end;                /* behind the last member's value, or behind the object's brace if it is empty */
} place;

/* Whether a string of the text (with quotes) is this key. */
static bool is_key(const char *quoted, size_t n, const char *key) {
    nct_json *json = NULL;
    bool same = nct_json_parse("", quoted, n, &json, NULL) == NCT_OK && strcmp(nct_json_string(json, ""), key) == 0;
    nct_json_close(json);
    return same;
}

/* Looks for a key in the object that begins at s->at. */
static place find(scan *s, const char *key) {
    place p = {.empty = true, .end = s->at + 1};
    s->at++;
    for (skip_space(s); s->at < s->n && s->text[s->at] != '}'; skip_space(s)) {
        size_t from = s->at, n = string_bytes(s->text + from, s->n - from);
        s->at += n;
        skip_space(s);
        s->at++; /* the colon */
        skip_space(s);
        size_t value = s->at;
        skip_value(s);
        p.empty = false;
        p.end = s->at;
        if (is_key(s->text + from, n, key)) {
            p.found = true;
            p.object = s->text[value] == '{';
            p.from = value;
            p.to = s->at;
            return p;
        }
        skip_space(s);
        s->at += s->at < s->n && s->text[s->at] == ',';
    }
    return p;
}

static nct_status add_member(nct_bytes *out, const char *key, const char *value, nct_error *err) {
    NCT_TRY(nct_json_write_string(out, key, strlen(key), err));
    return nct_bytes_printf(out, err, ": %s", value);
}

/* A member behind the last one of an object, on a line of its own. */
static nct_status insert(const char *text, size_t n, const place *p, int depth, const char *key, const char *value,
                         nct_bytes *out, nct_error *err) {
    NCT_TRY(nct_bytes_add(out, text, p->end, err));
    NCT_TRY(nct_bytes_printf(out, err, "%s\n%*s", p->empty ? "" : ",", 2 * depth, ""));
    NCT_TRY(add_member(out, key, value, err));
    const char *rest = text + p->end;
    size_t spaces = 0;
    while (p->end + spaces < n && strchr(" \t", rest[spaces]))
        spaces++;
    if (p->end + spaces < n && rest[spaces] == '}')
        NCT_TRY(nct_bytes_printf(out, err, "\n%*s", 2 * (depth - 1), ""));
    return nct_bytes_add(out, rest, n - p->end, err);
}

static nct_status replace(const char *text, size_t n, const place *p, const char *value, nct_bytes *out, nct_error *err) {
    NCT_TRY(nct_bytes_add(out, text, p->from, err));
    NCT_TRY(nct_bytes_add_str(out, value, err));
    return nct_bytes_add(out, text + p->to, n - p->to, err);
}

static nct_status change(const char *name, const char *text, scan *s, const char *key, const char *member,
                         const char *value, nct_bytes *out, nct_error *err) {
    place p = find(s, key);
    if (!member)
        return p.found ? replace(text, s->n, &p, value, out, err) : insert(text, s->n, &p, 1, key, value, out, err);
    if (p.found && !p.object)
        return nct_fail(err, NCT_E_FORMAT, "%s: '%s' has no members there, so none can be set", name, key);
    if (p.found) {
        s->at = p.from;
        place inner = find(s, member);
        return inner.found ? replace(text, s->n, &inner, value, out, err)
                           : insert(text, s->n, &inner, 2, member, value, out, err);
    }
    nct_bytes object = {0};
    nct_status status = nct_bytes_add_str(&object, "{", err);
    if (status == NCT_OK)
        status = add_member(&object, member, value, err);
    if (status == NCT_OK)
        status = nct_bytes_add_str(&object, "}", err);
    if (status == NCT_OK)
        status = insert(text, s->n, &p, 1, key, object.data, out, err);
    nct_bytes_reset(&object);
    return status;
}

nct_status nct_jsonc_set(const char *name, const char *text, size_t n, const char *key, const char *member,
                         const char *value, nct_bytes *out, nct_error *err) {
    nct_bytes plain = {0}, whole = {0};
    nct_json *json = NULL;
    NCT_TRY(check_bytes(name, text, n, err));
    nct_status status = nct_bytes_add(&whole, text, n, err);
    if (status == NCT_OK)
        status = nct_bytes_add(&plain, text, n, err);
    if (status == NCT_OK)
        status = blank(name, plain.data ? plain.data : (char *)"", n, err);
    if (status == NCT_OK && (!plain.data || strspn(plain.data, " \t\r\n") == n)) { /* nothing but comments */
        if (n && text[n - 1] != '\n')
            status = nct_bytes_add_str(&whole, "\n", err);
        if (status == NCT_OK)
            status = nct_bytes_add_str(&whole, "{}\n", err);
        nct_bytes_reset(&plain);
        if (status == NCT_OK)
            status = nct_bytes_add(&plain, whole.data, whole.n, err);
        if (status == NCT_OK)
            status = blank(name, plain.data, plain.n, err);
    }
    if (status == NCT_OK)
        status = nct_jsonc_parse(name, whole.data, whole.n, &json, err);
    if (status == NCT_OK && !nct_json_is_object(json))
        status = nct_fail(err, NCT_E_FORMAT, "%s: expected an object, { ... }", name);
    if (status == NCT_OK) {
        scan s = {.text = plain.data, .n = plain.n};
        skip_space(&s);
        status = change(name, whole.data, &s, key, member, value, out, err);
    }
    nct_json_close(json);
    nct_bytes_reset(&plain);
    nct_bytes_reset(&whole);
    return status;
}
