#include "cli/paste.h"

#include <stdio.h>

#include "cli/cli.h"

static void clean(nct_bytes *text) {
    size_t n = 0;
    for (size_t i = 0; i < text->n; i++) {
        char c = text->data[i];
        if (c == '\r' && i + 1 < text->n && text->data[i + 1] == '\n')
            continue;
        if (c)
            text->data[n++] = c == '\r' ? '\n' : c;
    }
    text->n = n;
    if (text->data)
        text->data[n] = 0;
}

static size_t count_lines(const nct_bytes *text) {
    size_t n = text->n && text->data[text->n - 1] != '\n';
    for (size_t i = 0; i < text->n; i++)
        n += text->data[i] == '\n';
    return n;
}

/* Two of the same size must not be taken for each other. */
static bool is_shown(const nct_pastes *p, const char *shown) {
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->paste[i].shown, shown) == 0)
            return true;
    return false;
}

static void describe(const nct_pastes *p, nct_paste *paste,
                     size_t (*count)(void *context, const char *text, size_t n), void *context) {
    size_t n_lines = count_lines(&paste->text);
    char size[48];
    int n = snprintf(size, sizeof size, "%s line%s", NCT_N(n_lines), n_lines == 1 ? "" : "s");
    if (count)
        snprintf(size + n, sizeof size - (size_t)n, ", %s tokens",
                 NCT_N(count(context, paste->text.data, paste->text.n)));
    snprintf(paste->shown, sizeof paste->shown, "[pasted %s]", size);
    for (int i = 2; is_shown(p, paste->shown); i++)
        snprintf(paste->shown, sizeof paste->shown, "[pasted %s #%d]", size, i);
}

const char *nct_pastes_take(nct_pastes *p, nct_bytes *text,
                            size_t (*count)(void *context, const char *text, size_t n), void *context) {
    void *grown = p->paste;
    clean(text);
    if (text->n == 0)
        return NULL;
    if (!memchr(text->data, '\n', text->n)) {
        nct_bytes_reset(&p->last);
        p->last = *text;
        *text = (nct_bytes){0};
        return p->last.data;
    }
    if (nct_grow(&grown, &p->capacity, p->n + 1, sizeof *p->paste, NULL) != NCT_OK)
        return NULL;
    p->paste = grown;
    nct_paste *paste = &p->paste[p->n];
    *paste = (nct_paste){.text = *text};
    *text = (nct_bytes){0};
    describe(p, paste, count, context);
    p->n++;
    return paste->shown;
}

static nct_status join(const nct_bytes *line, const nct_paste *paste, const char *at, nct_bytes *whole) {
    const char *behind = at + strlen(paste->shown);
    NCT_TRY(nct_bytes_add(whole, line->data, (size_t)(at - line->data), NULL));
    NCT_TRY(nct_bytes_add(whole, paste->text.data, paste->text.n, NULL));
    return nct_bytes_add(whole, behind, line->n - (size_t)(behind - line->data), NULL);
}

void nct_pastes_put(nct_pastes *p, nct_bytes *line) {
    for (size_t i = 0; i < p->n; i++) {
        const char *at = line->data ? strstr(line->data, p->paste[i].shown) : NULL;
        nct_bytes whole = {0};
        if (at && join(line, &p->paste[i], at, &whole) == NCT_OK) {
            nct_bytes_reset(line);
            *line = whole;
        } else {
            nct_bytes_reset(&whole);
        }
    }
    nct_pastes_close(p);
}

void nct_pastes_close(nct_pastes *p) {
    for (size_t i = 0; i < p->n; i++)
        nct_bytes_reset(&p->paste[i].text);
    nct_free(p->paste);
    nct_bytes_reset(&p->last);
    *p = (nct_pastes){0};
}
