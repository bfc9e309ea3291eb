/* The rung above: AVX512_BF16, whose dot product takes pairs of bfloat16. Keys and values in BF16 meet queries
 * and weights rounded to it. */
#include <cpuid.h>

#include "kernel/avx512/tile.h"

NCT_INLINE __m512bh pair(const void *at) { return (__m512bh)nct_word(at); }

static void query(nct_kv_type k_type, const float *q, size_t n, size_t d, uint8_t *out) {
    if (k_type != NCT_KV_BF16) {
        nct_query_codes(k_type, q, n, d, out);
        return;
    }
    for (size_t h = 0; h < n; h++, q += d, out += nct_query_bytes(d)) {
        uint16_t *to = (uint16_t *)(void *)(out + NCT_QUERY);
        for (size_t i = 0; i < (d + 1) / 2 * 2; i++)
            to[i] = i < d ? nct_kv_bf16(q[i]) : 0;
    }
}

NCT_INLINE void scores_bf16(const int n, const bool all, const nct_tile *t, const void *block, size_t lanes,
                            size_t first, size_t n_keys, size_t d, float *s, size_t s_stride) {
    const int wide = all ? NCT_WIDE : 1;
    const __mmask16 some = all ? 0xffff : nct_lanes16(n_keys);
    const uint8_t *k = block;
    __m512 sum[NCT_NARROW][NCT_WIDE];
    const uint8_t *q[NCT_NARROW];
    NCT_UNROLL
    for (int v = 0; v < n; v++) {
        q[v] = t->q[v] + NCT_QUERY;
        NCT_UNROLL
        for (int j = 0; j < wide; j++)
            sum[v][j] = _mm512_setzero_ps();
    }
    k += first * 4;
    const uint8_t *next = t->next_k;
    for (size_t i = 0; i < (d + 1) / 2; i++, k += lanes * 4) {
        next = nct_fetch(t, next, lanes * 4, (all ? 64 : 16) * 4);
        __m512bh key[NCT_WIDE];
        NCT_UNROLL
        for (int j = 0; j < wide; j++)
            key[j] = (__m512bh)(wide == NCT_WIDE ? _mm512_loadu_si512(k + 64 * j)
                                                 : _mm512_maskz_loadu_epi32(some, k));
        NCT_UNROLL
        for (int v = 0; v < n; v++) {
            __m512bh two = pair(q[v] + 4 * i);
            NCT_UNROLL
            for (int j = 0; j < wide; j++)
                sum[v][j] = _mm512_dpbf16_ps(sum[v][j], two, key[j]);
        }
    }
    nct_store_scores(n, wide, sum, s, s_stride, some);
}

/* acc[v][i ..] += sum over pairs of positions, ascending, of p[v] * v[..][i ..], 16 * wide values. */
NCT_INLINE void add_pairs(const int n, const int wide, const nct_tile *t, const uint8_t *v, size_t d,
                          size_t i, const uint8_t p[NCT_TILE][2 * NCT_STEP], __mmask16 some) {
    __m512 sum[NCT_TILE][NCT_WIDE];
    nct_load_acc(n, wide, t, i, sum);
    v += i * 4;
    const uint8_t *next = wide == NCT_WIDE && t->next_v ? t->next_v + i * 4 : NULL;
    for (size_t s = 0; s < NCT_STEP; s += 2, v += d * 4) {
        next = nct_fetch(t, next, d * 4, 64 * 4);
        __m512bh value[NCT_WIDE];
        NCT_UNROLL
        for (int j = 0; j < wide; j++)
            value[j] = (__m512bh)(wide == NCT_WIDE ? _mm512_loadu_si512(v + 64 * j)
                                                   : _mm512_maskz_loadu_epi32(some, v));
        NCT_UNROLL
        for (int a = 0; a < n; a++) {
            __m512bh weight = pair(p[a] + 2 * s);
            NCT_UNROLL
            for (int j = 0; j < wide; j++)
                sum[a][j] = _mm512_dpbf16_ps(sum[a][j], weight, value[j]);
        }
    }
    nct_store_acc(n, wide, t, i, sum);
}

NCT_INLINE void mix_bf16(const int n, const nct_tile *t, const void *block, size_t d,
                         float s[NCT_TILE][NCT_STEP]) {
    const uint8_t *v = block;
    _Alignas(64) uint8_t rounded[NCT_TILE][2 * NCT_STEP];
    NCT_UNROLL
    for (int a = 0; a < n; a++) {
        __m512 p[NCT_WIDE];
        nct_weigh(3, t, a, s[a], d, p);
        _mm512_store_si512(rounded[a], (__m512i)_mm512_cvtne2ps_pbh(p[1], p[0]));
        _mm512_store_si512(rounded[a] + 64, (__m512i)_mm512_cvtne2ps_pbh(p[3], p[2]));
    }
    size_t i = 0;
    for (; i + NCT_WIDE * NCT_ZMM <= d; i += NCT_WIDE * NCT_ZMM)
        add_pairs(n, NCT_WIDE, t, v, d, i, (const uint8_t(*)[2 * NCT_STEP]) rounded, 0xffff);
    for (; i < d; i += NCT_ZMM)
        add_pairs(n, 1, t, v, d, i, (const uint8_t(*)[2 * NCT_STEP]) rounded, nct_lanes16(d - i));
}

NCT_SCORES(wide, true, scores_bf16)
NCT_SCORES(narrow, false, scores_bf16)
NCT_NARROW_SCORES(narrow, scores_bf16)
NCT_MIX(mixed, mix_bf16)

/* The tiles of the rung below, but for one type. */
static const nct_walk walk = {
    .n_vectors = NCT_TILE,
    .n_narrow = NCT_NARROW,
    .merge = nct_avx512_merge,
    .tiles = {[NCT_KV_F32] = &nct_avx512_tiles[NCT_KV_F32],
              [NCT_KV_F16] = &nct_avx512_tiles[NCT_KV_F16],
              [NCT_KV_BF16] = &(const nct_tiles){NCT_SIX(wide), NCT_EIGHT(narrow), NCT_SIX(mixed)},
              [NCT_KV_Q8] = &nct_avx512_tiles[NCT_KV_Q8]},
};

NCT_WALK_ENTRIES(walk)

/* Attention by pairs, whether it is faster or not. */
void nct_avx512bf16_attend(nct_kernels *k) {
    k->query = query;
    k->attend = attend;
    k->dots = dots;
}

/* In a second VDPBF16PS does twice as many operations as FMA on floats on Zen 4 and Zen 5, half as many on Sapphire
 * Rapids, and on no processor of Intel's is it known to do more. Told by the maker rather than measured, so that a
 * result is never a matter of the moment. */
static bool pairs_pay(void) {
    unsigned most, b, c, d;
    return !(__get_cpuid(0, &most, &b, &c, &d) && b == signature_INTEL_ebx && c == signature_INTEL_ecx &&
             d == signature_INTEL_edx);
}

/* Where pairs do not pay, the rung below takes the same keys and values apart while it loads them. */
void nct_avx512bf16_fill(nct_kernels *k) {
    k->kv_type = NCT_KV_BF16;
    if (pairs_pay())
        nct_avx512bf16_attend(k);
}
