#include "cli/ranges.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* A number with k or m behind it, within [low, high]. */
static bool take_number(const char **at, int64_t low, int64_t high, int64_t *value) {
    char *end;
    if (!isdigit((unsigned char)**at))
        return false;
    long long v = strtoll(*at, &end, 10), scale = 1;
    if (*end == 'k' || *end == 'K')
        scale = 1024;
    else if (*end == 'm' || *end == 'M')
        scale = 1024 * 1024;
    if (v > high / scale || v * scale < low)
        return false;
    *value = v * scale;
    *at = end + (scale > 1);
    return true;
}

static nct_range_fault add(nct_range *r, int64_t value) {
    if (r->n == NCT_RANGE_MAX)
        return NCT_RANGE_LONG;
    r->value[r->n++] = value;
    return NCT_RANGE_GOOD;
}

static nct_range_fault take_item(const char **at, int64_t low, int64_t high, bool steps, nct_range *r) {
    int64_t first, last, step = 2;
    if (!take_number(at, low, high, &first))
        return NCT_RANGE_BAD;
    if (strncmp(*at, "..", 2) != 0)
        return add(r, first);
    *at += 2;
    if (!take_number(at, first, high, &last))
        return NCT_RANGE_BAD;
    bool adds = steps && **at == '/';
    if (adds || **at == '*') {
        ++*at;
        if (!take_number(at, adds ? 1 : 2, high, &step))
            return NCT_RANGE_BAD;
    }
    if (!adds && first == 0) /* would stay there */
        return steps ? NCT_RANGE_BAD : add(r, 0);
    for (int64_t v = first; v <= last; v = adds ? v + step : v * step) {
        nct_range_fault fault = add(r, v);
        if (fault != NCT_RANGE_GOOD)
            return fault;
        if (!adds && v > last / step)
            break;
    }
    return NCT_RANGE_GOOD;
}

nct_range_fault nct_parse_range(const char *text, int64_t low, int64_t high, bool steps, nct_range *range) {
    nct_range r = {.n = 0};
    for (const char *at = text;; at++) {
        nct_range_fault fault = take_item(&at, low, high, steps, &r);
        if (fault != NCT_RANGE_GOOD)
            return fault;
        if (*at == 0)
            break;
        if (*at != ',')
            return NCT_RANGE_BAD;
    }
    *range = r;
    return NCT_RANGE_GOOD;
}

/* Which of the words a text of n bytes is; -1: none. */
static int64_t find_word(const char *text, size_t n, const char *words) {
    for (int64_t i = 0;; i++) {
        size_t length = strcspn(words, "|");
        if (length == n && memcmp(text, words, n) == 0)
            return i;
        if (!words[length])
            return -1;
        words += length + 1;
    }
}

nct_words_fault nct_parse_words(const char *text, const char *words, size_t most, int64_t *index, size_t *n) {
    size_t found = 0;
    bool twice = false;
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ","), i = 0;
        int64_t word = find_word(at, length, words);
        if (word < 0)
            return NCT_WORDS_UNKNOWN;
        while (i < found && index[i] != word)
            i++;
        twice |= i < found;
        if (i == most)
            return NCT_WORDS_LONG;
        if (i == found)
            index[found++] = word;
        at += length;
        if (*at == 0)
            break;
    }
    *n = found;
    return twice ? NCT_WORDS_TWICE : NCT_WORDS_GOOD;
}
