#include "text/literal.h"

#include "base/json.h"
#include "base/unicode.h"
#include "base/utf8.h"

enum { MAX_DEPTH = 64 };

/* `bad` and `status` end everything: what was read is no value, or memory is refused. */
typedef struct reader {
    const char *at, *end;
    nct_bytes *out;
    bool bad;
    nct_status status;
    nct_error *err;
} reader;

static bool ok(const reader *r) { return !r->bad && r->status == NCT_OK; }

static void put(reader *r, const char *s, size_t n) {
    if (ok(r))
        r->status = nct_bytes_add(r->out, s, n, r->err);
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_word(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (uint8_t)c >= 128;
}

static void skip_space(reader *r) {
    while (r->at < r->end && strchr(" \t\r\n", *r->at) && *r->at)
        r->at++;
}

static bool take(reader *r, char c) {
    skip_space(r);
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

/* ------------------------------------------------------------------ strings */

static bool hex(reader *r, int n, uint32_t *code) {
    *code = 0;
    for (; n > 0 && r->at < r->end; n--, r->at++) {
        char c = *r->at;
        uint32_t digit = is_digit(c)               ? (uint32_t)(c - '0')
                         : (c | 32) >= 'a' && (c | 32) <= 'f' ? (uint32_t)((c | 32) - 'a' + 10)
                                                   : 16;
        if (digit == 16)
            return false;
        *code = *code << 4 | digit;
    }
    return n == 0;
}

/* The second half of a pair of surrogates, as JSON writes characters above U+FFFF. */
static uint32_t join_surrogates(reader *r, uint32_t high) {
    reader ahead = *r;
    uint32_t low;
    if (high >= 0xdc00 || r->end - r->at < 6 || r->at[0] != '\\' || r->at[1] != 'u')
        return 0xfffd;
    ahead.at += 2;
    if (!hex(&ahead, 4, &low) || low < 0xdc00 || low > 0xdfff)
        return 0xfffd;
    r->at = ahead.at;
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

/* What follows a backslash. */
static void read_escape(reader *r, nct_bytes *text) {
    static const char plain[] = "\\\\''\"\"n\nr\rt\tb\bf\fa\av\v//";
    if (r->at == r->end) {
        r->bad = true;
        return;
    }
    char c = *r->at++;
    uint32_t code = 0;
    for (size_t i = 0; plain[i]; i += 2)
        if (plain[i] == c) {
            r->status = nct_bytes_add(text, plain + i + 1, 1, r->err);
            return;
        }
    if (c == '\n')
        return;
    if (c == 'x' || c == 'u' || c == 'U') {
        r->bad = !hex(r, c == 'x' ? 2 : c == 'u' ? 4 : 8, &code) || code > 0x10ffff || code == 0;
        if (!r->bad && code >= 0xd800 && code < 0xe000)
            code = join_surrogates(r, code);
    } else if (c >= '0' && c <= '7') {
        code = (uint32_t)(c - '0');
        for (int i = 0; i < 2 && r->at < r->end && *r->at >= '0' && *r->at <= '7'; i++)
            code = code << 3 | (uint32_t)(*r->at++ - '0');
        r->bad = code == 0; /* a NUL ends texts elsewhere */
    } else if (c == 'N') {
        r->bad = true; /* a character by its name */
    } else { /* Python keeps the backslash */
        r->status = nct_bytes_add(text, r->at - 2, 2, r->err);
        return;
    }
    if (ok(r))
        r->status = nct_unicode_add(text, code, r->err);
}

static void read_string(reader *r, bool raw) {
    char quote = *r->at;
    bool three = r->end - r->at >= 3 && r->at[1] == quote && r->at[2] == quote;
    nct_bytes text = {0};
    r->at += three ? 3 : 1;
    while (ok(r)) {
        const char *s = r->at;
        if (s == r->end || (*s == '\n' && !three)) {
            r->bad = true;
        } else if (*s == quote && (!three || (r->end - s >= 3 && s[1] == quote && s[2] == quote))) {
            r->at += three ? 3 : 1;
            break;
        } else if (*s == '\\' && !raw) {
            r->at++;
            read_escape(r, &text);
        } else {
            size_t n = *s == '\\' && r->end - s > 1 ? 2 : 1; /* raw: a quote behind it does not end the string */
            r->status = nct_bytes_add(&text, s, n, r->err);
            r->at += n;
        }
    }
    if (ok(r))
        r->status = nct_json_write_string(r->out, text.data ? text.data : "", text.n, r->err);
    nct_bytes_reset(&text);
}

/* ------------------------------------------------------------------ numbers and names */

/* Digits with single underscores between them, copied without. */
static size_t read_digits(reader *r) {
    size_t n = 0;
    for (; r->at < r->end; r->at++) {
        bool digit = is_digit(*r->at);
        if (!digit && (*r->at != '_' || n == 0 || r->end - r->at < 2 || !is_digit(r->at[1])))
            break;
        put(r, r->at, digit);
        n += digit;
    }
    return n;
}

static void read_number(reader *r) {
    if (*r->at == '-')
        put(r, "-", 1);
    if (*r->at == '-' || *r->at == '+')
        r->at++;
    const char *first = r->at;
    size_t n = read_digits(r), n_fraction = 0;
    bool fraction = r->at < r->end && *r->at == '.';
    if (n > 1 && *first == '0')
        r->bad = true;
    if (fraction) {
        r->at++;
        put(r, n ? "." : "0.", n ? 1 : 2);
        n_fraction = read_digits(r);
        put(r, "0", n_fraction ? 0 : 1);
    }
    if (n + n_fraction == 0)
        r->bad = true;
    if (r->at < r->end && (*r->at | 32) == 'e') {
        put(r, "e", 1);
        r->at++;
        if (r->at < r->end && (*r->at == '-' || *r->at == '+'))
            put(r, r->at++, 1);
        if (read_digits(r) == 0)
            r->bad = true;
    }
    if (r->at < r->end && (is_word(*r->at) || *r->at == '.'))
        r->bad = true;
}

static void read_name(reader *r) {
    static const char *const names[][2] = {{"True", "true"},   {"true", "true"}, {"False", "false"},
                                           {"false", "false"}, {"None", "null"}, {"null", "null"}};
    const char *begin = r->at;
    while (r->at < r->end && is_word(*r->at))
        r->at++;
    size_t n = (size_t)(r->at - begin);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i][0]) == n && memcmp(names[i][0], begin, n) == 0) {
            put(r, names[i][1], strlen(names[i][1]));
            return;
        }
    r->bad = true;
}

/* ------------------------------------------------------------------ values */

static void read_value(reader *r, int depth);

/* The members of a list, tuple or dictionary; the bracket is behind. */
static void read_members(reader *r, char close, int depth) {
    bool object = close == '}', comma = true;
    size_t n = 0;
    put(r, object ? "{" : "[", 1);
    while (ok(r) && !take(r, close)) {
        if (!comma) {
            r->bad = true;
            break;
        }
        put(r, ", ", n ? 2 : 0);
        skip_space(r);
        if (object && (r->at == r->end || (*r->at != '"' && *r->at != '\''))) {
            r->bad = true; /* keys are strings in JSON */
            break;
        }
        read_value(r, depth + 1);
        if (ok(r) && object) {
            if (!take(r, ':'))
                r->bad = true;
            put(r, ": ", 2);
            read_value(r, depth + 1);
        }
        n++;
        comma = take(r, ',');
    }
    if (close == ')' && n == 1 && !comma)
        r->bad = true; /* brackets around a value, not a tuple */
    put(r, object ? "}" : "]", 1);
}

static void read_value(reader *r, int depth) {
    skip_space(r);
    if (!ok(r) || r->at == r->end || depth > MAX_DEPTH) {
        r->bad = true;
        return;
    }
    char c = *r->at, next = r->end - r->at > 1 ? r->at[1] : 0;
    if (c == '"' || c == '\'') {
        read_string(r, false);
    } else if ((c == 'r' || c == 'R' || c == 'u') && (next == '"' || next == '\'')) {
        r->at++;
        read_string(r, c != 'u');
    } else if (c == '[' || c == '{' || c == '(') {
        r->at++;
        read_members(r, c == '[' ? ']' : c == '{' ? '}' : ')', depth);
    } else if (is_digit(c) || c == '-' || c == '+' || c == '.') {
        read_number(r);
    } else {
        read_name(r);
    }
}

nct_status nct_literal_read(const char *s, size_t n, nct_bytes *out, size_t *n_used, nct_error *err) {
    reader r = {.at = s, .end = s + n, .out = out, .err = err};
    size_t before = out->n;
    *n_used = 0;
    read_value(&r, 0);
    NCT_TRY(r.status);
    if (r.bad) {
        out->n = before;
        if (out->data)
            out->data[before] = 0;
        return NCT_OK;
    }
    *n_used = (size_t)(r.at - s);
    return NCT_OK;
}
