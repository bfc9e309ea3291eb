/** Where a long text may be cut so that its pieces still read as wholes: before headings, between paragraphs, between
 *  sentences (Latin and CJK punctuation), between words; blocks of code and tables are kept together if they can be. */
#ifndef NCT_TEXT_CUTS_H
#define NCT_TEXT_CUTS_H

#include "base/mem.h"

/** How well a text can be cut at a place. */
typedef enum nct_cut {
    NCT_CUT_NEVER = 0, /* inside a character */
    NCT_CUT_CHARACTER,
    NCT_CUT_WORD,
    NCT_CUT_LINE, /* of a block of code or a table, or of a paragraph */
    NCT_CUT_SENTENCE,
    NCT_CUT_PARAGRAPH,
    NCT_CUT_HEADING,
} nct_cut;

/** How well the text can be cut before each byte: *cut [n + 1] of nct_cut, freed with nct_free; both ends are headings.
 *  What is no UTF-8 is cut byte by byte. */
nct_status nct_cuts_find(const char *text, size_t n, uint8_t **cut, nct_error *err);

/** The best place in [low, high], low <= high: the last of the best cuts; high where all are inside a character. */
size_t nct_cuts_best(const uint8_t *cut, size_t low, size_t high);

#endif
