#include "text/cuts.h"

#include <string.h>

#include "text/fence.h"

typedef struct line {
    const char *text;
    size_t n, begin; /* without its newline; where it begins */
} line;

static bool is_blank(const line *l) {
    for (size_t i = 0; i < l->n; i++)
        if (l->text[i] != ' ' && l->text[i] != '\t' && l->text[i] != '\r')
            return false;
    return true;
}

static bool begins(const line *l, const char *word) {
    size_t n = strlen(word);
    return l->n >= n && memcmp(l->text, word, n) == 0;
}

/* "# Title", or behind an empty line a short one that begins as chapters do. */
static bool is_heading(const line *l, bool after_blank) {
    enum { SHORT = 80 };
    static const char *const words[] = {"Chapter ", "CHAPTER ", "Book ", "BOOK ", "Part ", "PART ", "Section "};
    static const char *const units[] = {"\xe7\xab\xa0", "\xe8\x8a\x82", "\xe5\x9b\x9e", "\xe5\x8d\xb7", "\xe9\x83\xa8"};
    size_t marks = 0;
    while (marks < l->n && l->text[marks] == '#')
        marks++;
    if (marks && marks <= 6 && marks < l->n && l->text[marks] == ' ')
        return true;
    if (!after_blank || l->n > SHORT)
        return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (begins(l, words[i]))
            return true;
    if (begins(l, "\xe7\xac\xac")) /* the Chinese ordinal: "chapter", "section", "volume" follow its number */
        for (size_t i = 0; i < sizeof units / sizeof *units; i++)
            for (size_t at = 3; at + 3 <= l->n && at < 24; at++)
                if (memcmp(l->text + at, units[i], 3) == 0)
                    return true;
    return false;
}

/* The line before n bytes is white space and digits: what follows is the full stop of a list's number. */
static bool is_number(const line *l, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (l->text[i] != ' ' && l->text[i] != '\t' && (l->text[i] < '0' || l->text[i] > '9'))
            return false;
    return n > 0;
}

static bool is_item(const line *l) {
    size_t i = 0;
    while (i < l->n && (l->text[i] == ' ' || l->text[i] == '\t'))
        i++;
    if (i + 1 < l->n && (l->text[i] == '-' || l->text[i] == '*' || l->text[i] == '+') && l->text[i + 1] == ' ')
        return true;
    size_t digits = i;
    while (digits < l->n && l->text[digits] >= '0' && l->text[digits] <= '9')
        digits++;
    return digits > i && digits < l->n && (l->text[digits] == '.' || l->text[digits] == ')');
}

static bool is_row(const line *l) { return l->n && l->text[0] == '|'; }

/* Bytes of the character at s; 1 for what is none. */
static size_t width(const char *s, size_t n) {
    unsigned char c = (unsigned char)s[0];
    size_t w = c >= 0xf0 && c < 0xf5 ? 4 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xc2 && c < 0xe0 ? 2 : 1;
    if (w > n)
        return 1;
    for (size_t i = 1; i < w; i++)
        if (((unsigned char)s[i] & 0xc0) != 0x80)
            return 1;
    return w;
}

static bool is_one_of(const char *s, size_t w, const char *const *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strlen(list[i]) == w && memcmp(s, list[i], w) == 0)
            return true;
    return false;
}

/* 。！？； and …, which end a sentence without a space behind them. */
static bool ends_wide(const char *s, size_t w) {
    static const char *const ends[] = {"\xe3\x80\x82", "\xef\xbc\x81", "\xef\xbc\x9f", "\xef\xbc\x9b", "\xe2\x80\xa6"};
    return is_one_of(s, w, ends, sizeof ends / sizeof *ends);
}

/* Quotes and brackets that belong to the sentence before them. */
static bool closes(const char *s, size_t w) {
    static const char *const closing[] = {"\"", "'", ")", "]", "\xe2\x80\x9d", "\xe2\x80\x99", "\xe3\x80\x8d",
                                          "\xe3\x80\x8f", "\xef\xbc\x89", "\xe3\x80\x8b", "\xc2\xbb"};
    return is_one_of(s, w, closing, sizeof closing / sizeof *closing);
}

/* Places inside a line. The state of the sentence comes from the line before and goes to the next. */
static void mark_words(const line *l, bool together, uint8_t *cut, int *state) {
    enum { INSIDE, ENDED, WIDE }; /* a full stop was seen; one that needs no space */
    for (size_t at = 0; at < l->n;) {
        size_t w = width(l->text + at, l->n - at);
        const char *s = l->text + at;
        bool space = w == 1 && (*s == ' ' || *s == '\t' || *s == '\r');
        bool after_space = at && (s[-1] == ' ' || s[-1] == '\t');
        bool closing = closes(s, w) && !after_space; /* a quote behind a space opens */
        if (at) {
            bool begins_sentence = !space && !closing &&
                                   ((*state == ENDED && after_space) || (*state == WIDE && !ends_wide(s, w)));
            uint8_t level = NCT_CUT_CHARACTER;
            if (after_space && !space)
                level = NCT_CUT_WORD;
            if (begins_sentence)
                level = NCT_CUT_SENTENCE;
            cut[l->begin + at] = together && level > NCT_CUT_CHARACTER ? NCT_CUT_CHARACTER : level;
        }
        if (w == 1 && (*s == '.' || *s == '!' || *s == '?') && !is_number(l, at))
            *state = ENDED;
        else if (ends_wide(s, w))
            *state = WIDE;
        else if (!closing && !space)
            *state = INSIDE;
        at += w;
    }
}

nct_status nct_cuts_find(const char *text, size_t n, uint8_t **cut, nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, n + 1, 1, err));
    uint8_t *out = p;
    nct_fence fence = {0};
    bool blank_before = true, row_before = false, together_before = false;
    int state = 0;
    for (size_t at = 0; at < n;) {
        const char *end = memchr(text + at, '\n', n - at);
        line l = {text + at, end ? (size_t)(end - text) - at : n - at, at};
        bool inside = fence.length > 0, mark = nct_fence_line(&fence, l.text, l.n), row = is_row(&l);
        bool together = inside || mark || row, blank = is_blank(&l);
        if (inside || (row && row_before))
            out[at] = NCT_CUT_LINE;
        else if (is_heading(&l, blank_before))
            out[at] = NCT_CUT_HEADING;
        else if (blank_before && !blank)
            out[at] = NCT_CUT_PARAGRAPH;
        else if (mark || row || together_before || is_item(&l) || state)
            out[at] = NCT_CUT_SENTENCE;
        else
            out[at] = NCT_CUT_LINE;
        mark_words(&l, together, out, &state);
        if (end)
            out[at + l.n] = out[at + l.n] ? out[at + l.n] : NCT_CUT_CHARACTER;
        state = blank || together ? 0 : state;
        blank_before = blank && !inside;
        row_before = row;
        together_before = together;
        at += l.n + (end != NULL);
    }
    out[0] = out[n] = NCT_CUT_HEADING;
    *cut = out;
    return NCT_OK;
}

size_t nct_cuts_best(const uint8_t *cut, size_t low, size_t high) {
    size_t best = high;
    for (size_t at = high; at > low; at--)
        if (cut[at - 1] > cut[best])
            best = at - 1;
    return best;
}
