#include "text/split.h"

#include "text/pattern.h"

struct nct_splitter {
    nct_pattern *pattern[NCT_SPLIT_MAX];
    size_t n;
    nct_bytes texts;
};

/* What published models cut by. */
static const struct kind {
    const char *name;
    const char *pattern[2];
} kinds[] = {
    {"minicpm5",
     {"\\p{N}{1,3}", "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}+| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
                     "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

nct_status nct_splitter_open(nct_splitter **splitter, nct_error *err) {
    void *p = NULL;
    NCT_TRY(nct_alloc(&p, 1, sizeof **splitter, err));
    *splitter = p;
    return NCT_OK;
}

void nct_splitter_close(nct_splitter *s) {
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++)
        nct_pattern_close(s->pattern[i]);
    nct_bytes_reset(&s->texts);
    nct_free(s);
}

nct_status nct_splitter_add(nct_splitter *s, const char *name, const char *text, size_t n, nct_error *err) {
    if (s->n == NCT_SPLIT_MAX)
        return nct_fail(err, NCT_E_UNSUPPORTED, "%s: more than %d patterns cut the text", name, NCT_SPLIT_MAX);
    NCT_TRY(nct_pattern_open(name, text, n, &s->pattern[s->n], err));
    s->n++;
    NCT_TRY(nct_bytes_add(&s->texts, text, n, err));
    return nct_bytes_add(&s->texts, "", 1, err);
}

nct_status nct_splitter_add_named(nct_splitter *s, const char *kind, size_t n, bool *found, nct_error *err) {
    *found = false;
    for (size_t i = 0; i < N_KINDS; i++) {
        if (strlen(kinds[i].name) != n || memcmp(kinds[i].name, kind, n) != 0)
            continue;
        *found = true;
        for (size_t k = 0; k < 2 && kinds[i].pattern[k]; k++)
            NCT_TRY(nct_splitter_add(s, kinds[i].name, kinds[i].pattern[k], strlen(kinds[i].pattern[k]), err));
    }
    return NCT_OK;
}

bool nct_splitter_cuts_lines(const nct_splitter *s) {
    for (size_t i = 0; i < N_KINDS; i++) {
        const char *text = s->texts.data;
        size_t k = 0;
        for (; k < s->n && k < 2 && kinds[i].pattern[k] && strcmp(kinds[i].pattern[k], text) == 0; k++)
            text += strlen(text) + 1;
        if (k == s->n && k > 0 && (k == 2 || !kinds[i].pattern[k]))
            return true;
    }
    return false;
}

const nct_bytes *nct_splitter_texts(const nct_splitter *s, size_t *n_patterns) {
    *n_patterns = s->n;
    return &s->texts;
}

/* ------------------------------------------------------------------ cutting */

/* The published patterns take up to about ten steps a character; a pattern that was made to be slow is told by this. */
enum { STEPS_PER_BYTE = 256, STEPS_MORE = 1 << 20 };

struct cutting {
    const nct_splitter *s;
    const char *text;
    nct_word_fn *word;
    void *context;
    int64_t steps;
    nct_error *err;
};

/* Cuts text[begin, end) by the patterns from number i on. */
static nct_status cut(struct cutting *c, size_t i, size_t begin, size_t end) {
    if (begin == end)
        return NCT_OK;
    if (i == c->s->n)
        return c->word(c->context, c->text + begin, end - begin);
    size_t from, to;
    while (begin < end && nct_pattern_find(c->s->pattern[i], c->text, begin, end, &c->steps, &from, &to)) {
        NCT_TRY(cut(c, i + 1, begin, from));
        NCT_TRY(cut(c, i + 1, from, to));
        begin = to;
    }
    if (c->steps < 0)
        return nct_fail(c->err, NCT_E_UNSUPPORTED, "the tokenizer's patterns take too long on a text of this kind");
    return cut(c, i + 1, begin, end);
}

nct_status nct_splitter_run(const nct_splitter *s, const char *text, size_t n, nct_word_fn *word, void *context,
                            nct_error *err) {
    struct cutting c = {s, text, word, context, (int64_t)n * STEPS_PER_BYTE + STEPS_MORE, err};
    return cut(&c, 0, 0, n);
}
