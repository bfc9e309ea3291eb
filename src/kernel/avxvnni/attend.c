/* Attention over a cache of bytes: tiles of byte dot products, beside avx2's for the other types. 16 registers: at most 12
 * sums, two vectors of codes and what they are multiplied with. */
#include <string.h>

#include "kernel/avx2/tile.h"
#include "kernel/avxvnni/avxvnni.h"

enum { COLUMNS = 2 * NCT_YMM };
typedef uint8_t weight;

/* The first n of 16 fours of codes. */
NCT_INLINE void load_fours(const uint8_t *at, const bool whole, size_t n, __m256i codes[2]) {
    NCT_UNROLL
    for (size_t j = 0; j < 2; j++)
        codes[j] = whole ? _mm256_loadu_si256((const __m256i *)(const void *)(at + 32 * j))
                         : _mm256_maskload_epi32((const int *)(const void *)(at + 32 * j),
                                                 nct_lanes8(n > j * NCT_YMM ? n - j * NCT_YMM : 0));
}

/* sum[v] += over n_fours, 16 columns of a block's fours times those at a[v]: keys are unsigned, values signed. Rows of a
 * block are `stride` bytes apart. */
NCT_INLINE void add_products(const bool keys, const int size, const uint8_t *const a[NCT_TILE],
                             const uint8_t *b, size_t stride, size_t n_fours, const bool whole, size_t n_out,
                             const nct_tile *t, const uint8_t *next, size_t wanted,
                             __m256i sum[NCT_TILE][2]) {
    for (size_t i = 0; i < n_fours; i++, b += stride) {
        __m256i codes[2];
        next = nct_fetch(t, next, stride, wanted);
        load_fours(b, whole, n_out, codes);
        NCT_UNROLL
        for (int v = 0; v < size; v++) {
            const __m256i four = nct_four(a[v] + 4 * i);
            NCT_UNROLL
            for (int j = 0; j < 2; j++)
                sum[v][j] = keys ? nct_dot8(sum[v][j], codes[j], four) : nct_dot8(sum[v][j], four, codes[j]);
        }
    }
}

/* Weights times the values' scales, rounded to 0 .. 255. Returns what one of these steps is worth. */
NCT_INLINE float round_weights(float p[NCT_STEP], const float *scale, weight rounded[NCT_STEP]) {
    __m256 w[NCT_STEP / NCT_YMM], top = _mm256_setzero_ps();
    NCT_UNROLL
    for (size_t i = 0; i < NCT_STEP / NCT_YMM; i++) {
        w[i] = _mm256_mul_ps(_mm256_load_ps(p + i * NCT_YMM), _mm256_loadu_ps(scale + i * NCT_YMM));
        top = _mm256_max_ps(w[i], top);
    }
    const float most = nct_max8(top);
    const __m256 inverse = _mm256_set1_ps(most > 0 ? 255.0f / most : 0);
    const __m256i order =
        _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7); /* packing goes by halves of a register */
    NCT_UNROLL
    for (size_t i = 0; i < NCT_STEP / NCT_YMM; i += 4) {
        __m256i r[4];
        NCT_UNROLL
        for (size_t j = 0; j < 4; j++)
            r[j] = _mm256_cvtps_epi32(_mm256_mul_ps(w[i + j], inverse));
        const __m256i bytes =
            _mm256_packus_epi16(_mm256_packs_epi32(r[0], r[1]), _mm256_packs_epi32(r[2], r[3]));
        _mm256_store_si256((__m256i *)(void *)(rounded + i * NCT_YMM),
                           _mm256_permutevar8x32_epi32(bytes, order));
    }
    return most * (1 / 255.0f);
}

#define NCT_BYTE_TILES
#include "kernel/avx2/byte_tiles.h"

NCT_SCORES(wide_q8, true, scores_q8)
NCT_SCORES(narrow_q8, false, scores_q8)
NCT_MIX(mixed_q8, mix_q8)

static const nct_walk walk = {
    .n_vectors = NCT_TILE,
    .n_narrow = NCT_TILE,
    .merge = nct_avx2_merge,
    .tiles = {&nct_avx2_tiles[NCT_KV_F32], &nct_avx2_tiles[NCT_KV_F16], &nct_avx2_tiles[NCT_KV_BF16],
              &(const nct_tiles){NCT_SIX(wide_q8), NCT_SIX(narrow_q8), NCT_SIX(mixed_q8)}},
};

NCT_WALK_ENTRIES(walk)

void nct_avxvnni_attend(nct_kernels *k) {
    k->query = nct_query_codes;
    k->attend = attend;
    k->dots = dots;
}
