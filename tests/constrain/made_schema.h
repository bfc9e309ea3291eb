/** JSON Schemas drawn by chance, and whether a value fits one, decided on the parsed value alone. */
#ifndef NCT_TEST_MADE_SCHEMA_H
#define NCT_TEST_MADE_SCHEMA_H

#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "made_grammar.h"

static inline void schema_draw(nct_bytes *b, dice *d, int depth) {
    unsigned kind = roll(d, depth > 2 ? 8 : 12);
    static const char *const plain[] = {"{\"type\":\"string\"}",
                                        "{\"type\":\"integer\"}",
                                        "{\"type\":\"number\"}",
                                        "{\"type\":\"boolean\"}",
                                        "{\"type\":[\"null\",\"string\"]}",
                                        "{\"enum\":[\"red\",\"gr\\u00fcn\",3,null,[1,\"x\"],{\"k\":true}]}",
                                        "{\"type\":\"string\",\"format\":\"date\"}"};
    if (kind < 7) {
        nct_bytes_add_str(b, plain[kind], NULL);
    } else if (kind == 7) {
        int low = (int)roll(d, 2000) - 1000;
        nct_bytes_printf(b, NULL, "{\"type\":\"integer\",\"minimum\":%d,\"maximum\":%d}", low,
                         low + (int)roll(d, 1200));
    } else if (kind == 8) {
        unsigned low = roll(d, 3);
        nct_bytes_printf(b, NULL, "{\"type\":\"array\",\"minItems\":%u,\"maxItems\":%u,\"items\":", low,
                         low + roll(d, 3));
        schema_draw(b, d, depth + 1);
        nct_bytes_add_str(b, "}", NULL);
    } else if (kind == 9) {
        unsigned low = roll(d, 3);
        nct_bytes_printf(b, NULL, "{\"type\":\"string\",\"minLength\":%u,\"maxLength\":%u}", low,
                         low + roll(d, 2) * 20 + roll(d, 5));
    } else if (kind == 10) {
        nct_bytes_add_str(b, "{\"anyOf\":[", NULL);
        schema_draw(b, d, depth + 1);
        nct_bytes_add_str(b, ",{\"$ref\":\"#/$defs/leaf\"},", NULL);
        schema_draw(b, d, depth + 1);
        nct_bytes_add_str(b, "]}", NULL);
    } else {
        unsigned n = 1 + roll(d, 4), required = roll(d, 16);
        nct_bytes_add_str(b, "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{", NULL);
        for (unsigned i = 0; i < n; i++) {
            nct_bytes_printf(b, NULL, "%s\"p%u\":", i ? "," : "", i);
            schema_draw(b, d, depth + 1);
        }
        nct_bytes_add_str(b, "},\"required\":[", NULL);
        for (unsigned i = 0, any = 0; i < n; i++)
            if (required >> i & 1)
                nct_bytes_printf(b, NULL, "%s\"p%u\"", any++ ? "," : "", i);
        nct_bytes_add_str(b, "]}", NULL);
    }
}

/* {"anyOf": [drawn], "$defs": {"leaf": drawn}}; the caller resets it. */
static inline nct_bytes schema_make(uint64_t seed) {
    dice d = {.seed = seed ^ 0x5eed};
    nct_bytes b = {0};
    nct_bytes_add_str(&b, "{\"anyOf\":[", NULL);
    schema_draw(&b, &d, 0);
    nct_bytes_add_str(&b, "],\"$defs\":{\"leaf\":", NULL);
    schema_draw(&b, &d, 3);
    nct_bytes_add_str(&b, "}}", NULL);
    return b;
}

static inline bool schema_same(const nct_json *a, const nct_json *b) {
    nct_bytes x = {0}, y = {0};
    nct_json_write(a, false, &x, NULL);
    nct_json_write(b, false, &y, NULL);
    bool same = x.n == y.n && memcmp(x.data, y.data, x.n) == 0;
    nct_bytes_reset(&x);
    nct_bytes_reset(&y);
    return same;
}

static inline size_t count_chars(const char *s) {
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static inline bool schema_is_date(const char *s) {
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int y, m, d, n = 0;
    if (sscanf(s, "%4d-%2d-%2d%n", &y, &m, &d, &n) != 3 || n != 10 || s[10] || m < 1 || m > 12 || d < 1 ||
        d > days[m - 1])
        return false;
    return m != 2 || d < 29 || (y % 4 == 0 && (y % 100 != 0 || y % 400 == 0));
}

static inline bool schema_is_type(const char *type, const nct_json *v) {
    double n = nct_json_number(v, 0.5);
    return strcmp(type, "string") == 0    ? nct_json_is_string(v)
           : strcmp(type, "integer") == 0 ? nct_json_is_number(v) && n == floor(n)
           : strcmp(type, "number") == 0  ? nct_json_is_number(v)
           : strcmp(type, "boolean") == 0 ? nct_json_is_bool(v)
           : strcmp(type, "null") == 0    ? nct_json_is_null(v)
           : strcmp(type, "array") == 0   ? nct_json_is_array(v)
                                          : nct_json_is_object(v);
}

static inline bool schema_fits(const nct_json *root, const nct_json *s, const nct_json *v) {
    const nct_json *any = nct_json_get(s, "anyOf"), *list = nct_json_get(s, "enum"),
                   *type = nct_json_get(s, "type");
    if (nct_json_get(s, "$ref"))
        return schema_fits(root, nct_json_get(nct_json_get(root, "$defs"), "leaf"), v);
    for (const nct_json *k = nct_json_first(any ? any : list); k; k = nct_json_next(k))
        if (any ? schema_fits(root, k, v) : schema_same(k, v))
            return true;
    if (any || list)
        return false;
    bool typed = nct_json_is_string(type) && schema_is_type(nct_json_string(type, ""), v);
    for (const nct_json *k = nct_json_first(type); k; k = nct_json_next(k))
        typed = typed || schema_is_type(nct_json_string(k, ""), v);
    if (!typed)
        return false;
    if (nct_json_is_number(v) &&
        (nct_json_number(v, 0) < nct_json_number(nct_json_get(s, "minimum"), -INFINITY) ||
         nct_json_number(v, 0) > nct_json_number(nct_json_get(s, "maximum"), INFINITY)))
        return false;
    size_t n = nct_json_is_string(v) ? count_chars(nct_json_string(v, "")) : nct_json_size(v);
    bool text = nct_json_is_string(v);
    if (n < (size_t)nct_json_int(nct_json_get(s, text ? "minLength" : "minItems"), 0) ||
        n > (size_t)nct_json_int(nct_json_get(s, text ? "maxLength" : "maxItems"), INT32_MAX))
        return false;
    if (nct_json_get(s, "format") && !schema_is_date(nct_json_string(v, "")))
        return false;
    for (const nct_json *k = nct_json_is_array(v) ? nct_json_first(v) : NULL; k; k = nct_json_next(k))
        if (!schema_fits(root, nct_json_get(s, "items"), k))
            return false;
    for (const nct_json *k = nct_json_is_object(v) ? nct_json_first(v) : NULL; k; k = nct_json_next(k)) {
        const nct_json *p = nct_json_get(nct_json_get(s, "properties"), nct_json_key(k));
        if (!p || !schema_fits(root, p, k))
            return false;
    }
    for (const nct_json *k = nct_json_first(nct_json_get(s, "required")); k; k = nct_json_next(k)) {
        bool found = false;
        for (const nct_json *m = nct_json_first(v); m; m = nct_json_next(m))
            found = found || strcmp(nct_json_key(m), nct_json_string(k, "")) == 0;
        if (!found)
            return false;
    }
    return true;
}

#endif
