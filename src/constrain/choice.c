/* A choice: words between commas. */
#include "constrain/constraint.h"

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

uint32_t nct_grammar_add_choice(nct_grammar *g, const char *text, size_t n) {
    uint32_t rule = nct_grammar_rule(g);
    size_t at = 0, number = 0;
    bool more = true;
    for (; more && !nct_grammar_failed(g); at++) {
        uint32_t node = g->rule[rule].start;
        size_t end = at;
        number++;
        while (at < n && is_space(text[at]))
            at++;
        for (end = at; end < n && text[end] != ','; end++)
            end += text[end] == '\\' && end + 1 < n;
        size_t last = end;
        while (last > at && is_space(text[last - 1]) && !(last - 1 > at && text[last - 2] == '\\'))
            last--;
        if (last == at)
            nct_grammar_fail(g, NCT_E_ARGUMENT, "choice %zu is empty", number);
        for (size_t i = at; i < last; i++) {
            bool escape = text[i] == '\\';
            if (escape && (i + 1 == last || !strchr(",\\ ", text[i + 1])))
                nct_grammar_fail(g, NCT_E_ARGUMENT,
                                 "choice %zu: a backslash stands before a comma, a space or a "
                                 "backslash only",
                                 number);
            i += escape;
            node = nct_grammar_literal(g, node, text + i, i < last);
        }
        if (!nct_grammar_failed(g))
            nct_grammar_skip(g, node, g->rule[rule].end);
        more = end < n;
        at = end;
    }
    return rule;
}
