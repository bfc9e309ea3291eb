#include "base/json.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>

#include "base/map.h"
#include "base/utf8.h"

/* Parses a NUL-terminated copy: releases of cJSON before 1.7.18 look at the byte after the last. */
nct_status nct_json_parse(const char *name, const char *text, size_t n, nct_json **json, nct_error *err) {
    nct_bytes copy = {0};
    NCT_TRY(nct_bytes_add(&copy, text, n, err));
    const char *end = NULL;
    cJSON *tree = cJSON_ParseWithLengthOpts(copy.data, n, &end, 0);
    size_t at = end ? (size_t)(end - copy.data) : 0;
    nct_bytes_reset(&copy);
    if (!tree)
        return nct_fail(err, NCT_E_FORMAT, "%s: not valid JSON near byte %zu of %zu", name, at, n);
    for (; at < n; at++)
        if (!strchr(" \t\r\n", text[at]) || !text[at]) {
            cJSON_Delete(tree);
            return nct_fail(err, NCT_E_FORMAT, "%s: something follows the JSON value at byte %zu", name, at);
        }
    *json = tree;
    return NCT_OK;
}

nct_status nct_json_open(const char *path, nct_json **json, nct_error *err) {
    nct_map map;
    NCT_TRY(nct_map_open(path, &map, err));
    nct_status status = nct_json_parse(path, (const char *)map.data, map.n_bytes, json, err);
    nct_map_close(&map);
    return status;
}

void nct_json_close(nct_json *json) { cJSON_Delete(json); }

const nct_json *nct_json_get(const nct_json *object, const char *key) {
    if (!cJSON_IsObject(object))
        return NULL;
    const nct_json *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNull(item) ? NULL : item;
}

const nct_json *nct_json_first(const nct_json *container) {
    return cJSON_IsArray(container) || cJSON_IsObject(container) ? container->child : NULL;
}
const nct_json *nct_json_next(const nct_json *item) { return item ? item->next : NULL; }
const char *nct_json_key(const nct_json *item) { return item && item->string ? item->string : ""; }

size_t nct_json_size(const nct_json *container) {
    size_t n = 0;
    for (const nct_json *item = nct_json_first(container); item; item = item->next)
        n++;
    return n;
}

bool nct_json_is_object(const nct_json *json) { return cJSON_IsObject(json); }
bool nct_json_is_array(const nct_json *json) { return cJSON_IsArray(json); }
bool nct_json_is_string(const nct_json *json) { return cJSON_IsString(json); }
bool nct_json_is_number(const nct_json *json) { return cJSON_IsNumber(json); }
bool nct_json_is_bool(const nct_json *json) { return cJSON_IsBool(json); }
bool nct_json_is_null(const nct_json *json) { return cJSON_IsNull(json); }

const char *nct_json_string(const nct_json *json, const char *fallback) {
    return cJSON_IsString(json) ? json->valuestring : fallback;
}

double nct_json_number(const nct_json *json, double fallback) {
    return cJSON_IsNumber(json) ? json->valuedouble : fallback;
}

int64_t nct_json_int(const nct_json *json, int64_t fallback) {
    if (!cJSON_IsNumber(json))
        return fallback;
    double v = json->valuedouble;
    return v == floor(v) && fabs(v) <= 9007199254740992.0 ? (int64_t)v : fallback;
}

bool nct_json_bool(const nct_json *json, bool fallback) { return cJSON_IsBool(json) ? cJSON_IsTrue(json) : fallback; }

nct_status nct_json_write_string(nct_bytes *out, const char *s, size_t n, nct_error *err) {
    NCT_TRY(nct_bytes_add(out, "\"", 1, err));
    for (size_t i = 0; i < n;) {
        uint32_t code;
        size_t length = nct_utf8_decode(s + i, n - i, &code);
        unsigned char c = (unsigned char)s[i];
        if (length == 0) {
            NCT_TRY(nct_bytes_add_str(out, "\xef\xbf\xbd", err));
            i++;
            continue;
        }
        if (c == '"' || c == '\\')
            NCT_TRY(nct_bytes_printf(out, err, "\\%c", c));
        else if (c == '\n' || c == '\r' || c == '\t' || c == '\b' || c == '\f')
            NCT_TRY(nct_bytes_printf(out, err, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : c == '\b' ? 'b' : 'f'));
        else if (c < 0x20)
            NCT_TRY(nct_bytes_printf(out, err, "\\u%04x", c));
        else
            NCT_TRY(nct_bytes_add(out, s + i, length, err));
        i += length;
    }
    return nct_bytes_add(out, "\"", 1, err);
}

/* Shortest decimal that reads back as the same double; integers without a point. */
static nct_status write_number(double v, nct_bytes *out, nct_error *err) {
    if (v == floor(v) && fabs(v) <= 9007199254740992.0)
        return nct_bytes_printf(out, err, "%.0f", v);
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        double back;
        if (sscanf(text, "%lf", &back) == 1 && back == v)
            break;
    }
    return nct_bytes_add_str(out, text, err);
}

nct_status nct_json_write(const nct_json *json, bool spaced, nct_bytes *out, nct_error *err) {
    if (cJSON_IsString(json))
        return nct_json_write_string(out, json->valuestring, strlen(json->valuestring), err);
    if (cJSON_IsNumber(json))
        return write_number(json->valuedouble, out, err);
    if (cJSON_IsBool(json))
        return nct_bytes_add_str(out, cJSON_IsTrue(json) ? "true" : "false", err);
    if (!cJSON_IsArray(json) && !cJSON_IsObject(json))
        return nct_bytes_add_str(out, "null", err);
    bool object = cJSON_IsObject(json);
    NCT_TRY(nct_bytes_add(out, object ? "{" : "[", 1, err));
    for (const nct_json *item = json->child; item; item = item->next) {
        if (item != json->child)
            NCT_TRY(nct_bytes_add_str(out, spaced ? ", " : ",", err));
        if (object) {
            NCT_TRY(nct_json_write_string(out, item->string, strlen(item->string), err));
            NCT_TRY(nct_bytes_add_str(out, spaced ? ": " : ":", err));
        }
        NCT_TRY(nct_json_write(item, spaced, out, err)); /* depth is bounded by cJSON's nesting limit */
    }
    return nct_bytes_add(out, object ? "}" : "]", 1, err);
}
