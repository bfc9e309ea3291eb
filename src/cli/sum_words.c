/* What a summary is asked for: style, length, language, focus. */
#include <string.h>

#include "cli/sum.h"

bool nct_sum_words(const nct_cli *cli, size_t *n_words) {
    static const struct {
        const char *name;
        size_t n;
    } lengths[] = {{"short", 60}, {"medium", 150}, {"long", 400}};
    const char *asked = cli->args.sum_length;
    char number[16];
    int64_t n;
    *n_words = 0;
    if (!asked)
        return true;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        if (strcmp(asked, lengths[i].name) == 0) {
            *n_words = lengths[i].n;
            return true;
        }
    size_t length = strlen(asked);
    if (length < 2 || length >= sizeof number || asked[length - 1] != 'w')
        return false;
    memcpy(number, asked, length - 1);
    number[length - 1] = 0;
    if (!nct_parse_count(number, 1, 100000, &n))
        return false;
    *n_words = (size_t)n;
    return true;
}

nct_status nct_sum_instruction(const nct_cli *cli, const char *about, bool whole, nct_bytes *out, nct_error *err) {
    static const char *const styles[] = {
        "as one abstract in running text",
        "as a list of bullet points, the most important first",
        "in a single sentence",
        "as an outline with headings and points below them",
        "as minutes: who took part, what was discussed, what was decided, what is to be done by whom",
    };
    const nct_args *a = &cli->args;
    size_t n_words;
    const char *lang = a->sum_lang && strcmp(a->sum_lang, "auto") != 0 ? a->sum_lang : NULL;
    static const char *const known[][2] = {{"en", "English"}, {"zh", "Chinese"},  {"de", "German"}, {"fr", "French"},
                                           {"es", "Spanish"}, {"ja", "Japanese"}, {"ko", "Korean"}, {"ru", "Russian"},
                                           {"it", "Italian"}, {"pt", "Portuguese"}};
    for (size_t i = 0; lang && i < sizeof known / sizeof *known; i++)
        if (strcmp(lang, known[i][0]) == 0)
            lang = known[i][1];
    nct_sum_words(cli, &n_words);
    NCT_TRY(nct_bytes_printf(out, err, "Summarise %s %s.", about,
                             whole ? styles[a->style == NCT_UNSET ? 0 : a->style]
                                   : "so that nothing that matters to the whole is lost: names, numbers, events, "
                                     "arguments, decisions"));
    if (n_words && whole)
        NCT_TRY(nct_bytes_printf(out, err, " Use about %zu words.", n_words));
    if (a->focus)
        NCT_TRY(nct_bytes_printf(out, err, " Pay attention to this above all: %s.", a->focus));
    NCT_TRY(lang ? nct_bytes_printf(out, err, " Write in %s.", lang)
                 : nct_bytes_add_str(out, " Write in the language of the text.", err));
    return nct_bytes_add_str(out, " Write the summary only.", err);
}
