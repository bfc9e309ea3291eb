/** Lists as they are typed, of numbers: 512,2k and 4k..128k*2 (each twice the one before) and 0..100/10 (in steps); and
 *  of words: on,off. */
#ifndef NCT_CLI_RANGES_H
#define NCT_CLI_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NCT_RANGE_MAX = 64 };

typedef struct nct_range {
    int64_t value[NCT_RANGE_MAX];
    size_t n;
} nct_range;

typedef enum nct_range_fault { NCT_RANGE_GOOD, NCT_RANGE_BAD, NCT_RANGE_LONG } nct_range_fault;

/** Parses all of the text, into *range if that is good; every number must lie in [low, high]. BAD: it is no such
 *  list; LONG: it has more than NCT_RANGE_MAX values. A range without a factor or step doubles. Without `steps`,
 *  0..100/10 is no such list, and a range that begins with 0 is that alone; with them it must say its step. */
nct_range_fault nct_parse_range(const char *text, int64_t low, int64_t high, bool steps, nct_range *range);

typedef enum nct_words_fault {
    NCT_WORDS_GOOD,
    NCT_WORDS_UNKNOWN,
    NCT_WORDS_TWICE,
    NCT_WORDS_LONG
} nct_words_fault;

#define NCT_SPARSE_WORDS "auto|on|off" /* nct_sparse_mode */
#define NCT_KV_WORDS     "f32|f16|bf16|q8" /* nct_kv_type */

/** Parses all of the text, each word one of `words` ("auto|on|off"), into their indices [*n] if that is good. TWICE: a
 *  word stands there again, and is once among the indices; LONG: there are more than `most`. */
nct_words_fault nct_parse_words(const char *text, const char *words, size_t most, int64_t *index, size_t *n);

#endif
