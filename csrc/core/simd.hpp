// One vector type for every instruction set. A translation unit defines SZILARD_WIDTH (floats in a vector) before it
// includes this; all is in an anonymous namespace, because each unit has its own version.
#pragma once
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

constexpr int W = SZILARD_WIDTH;
constexpr int NV = SZILARD_VECTORS;  // accumulators of one product that stay in registers
constexpr int TILE = W * NV;         // floats worked on at a time

typedef float vf __attribute__((vector_size(4 * SZILARD_WIDTH)));
typedef float vf_anywhere __attribute__((vector_size(4 * SZILARD_WIDTH), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * SZILARD_WIDTH)));
typedef uint32_t vu __attribute__((vector_size(4 * SZILARD_WIDTH)));

inline vf load(const float *p) { return *(const vf_anywhere *)p; }
inline void store(float *p, vf v) { *(vf_anywhere *)p = v; }
inline vf splat(float f) { return vf{} + f; }

// Lanes [0, n) from memory, the others zero; memory from p + n on is not accessed.
inline vf load_first(const float *p, int n) {
#if defined(__AVX512F__)
    return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
    vf v = {};
    if (n == W)  // a copy of a size that the compiler knows is no call
        memcpy(&v, p, sizeof v);
    else
        memcpy(&v, p, (size_t)n * sizeof(float));
    return v;
#endif
}

// Lanes [low, high) from p + lane, the others zero; memory outside [p + low, p + high) is not accessed.
inline vf load_between(const float *p, int low, int high) {
    vf v = {};
    for (int lane = low; lane < high; ++lane) v[lane] = p[lane];
    return v;
}

inline void store_first(float *p, vf v, int n) {
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#else
    if (n == W)
        memcpy(p, &v, sizeof v);
    else
        memcpy(p, &v, (size_t)n * sizeof(float));
#endif
}

inline float sum(vf v) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)v);
#else
    float s[W];
    memcpy(s, &v, sizeof v);
    for (int half = W / 2; half; half /= 2)
        for (int lane = 0; lane < half; ++lane) s[lane] += s[lane + half];
    return s[0];
#endif
}

// to[i] += sum(v[i]) for i < n <= W. Full groups of sixteen vectors are summed by halving.
inline void add_sums(const vf *v, int n, float *to) {
#if defined(__AVX512F__)
    if (n == W) {
        __m512 quarter[4], half[2];
        for (int i = 0; i < 4; ++i) {
            const __m512 a = (__m512)v[4 * i], b = (__m512)v[4 * i + 1];
            const __m512 c = (__m512)v[4 * i + 2], d = (__m512)v[4 * i + 3];
            const __m512d ab = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
            const __m512d cd = _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
            quarter[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
                                       _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
        }
        for (int i = 0; i < 2; ++i)
            half[i] = _mm512_add_ps(_mm512_shuffle_f32x4(quarter[2 * i], quarter[2 * i + 1], 0x88),
                                    _mm512_shuffle_f32x4(quarter[2 * i], quarter[2 * i + 1], 0xdd));
        store(to, load(to) + (vf)_mm512_add_ps(_mm512_shuffle_f32x4(half[0], half[1], 0x88),
                                               _mm512_shuffle_f32x4(half[0], half[1], 0xdd)));
        return;
    }
#endif
    for (int i = 0; i < n; ++i) to[i] += sum(v[i]);
}

inline vf select(vi mask, vf yes, vf no) { return (vf)((mask & (vi)yes) | (~mask & (vi)no)); }

// The maximum; b if either is NaN.
inline vf maximum(vf a, vf b) { return select((vi)(a > b), a, b); }

// 1 / sqrt(v) for v well above the smallest normal number; on AVX-512 good to two units in the last place.
inline vf inverse_root(vf v) {
#if defined(__AVX512F__)
    const vf r = (vf)_mm512_rsqrt14_ps((__m512)v);
    return r * (1.5f - 0.5f * v * r * r);  // one Newton step squares the error of 2^-14
#else
    for (int lane = 0; lane < W; ++lane) v[lane] = 1.0f / __builtin_sqrtf(v[lane]);
    return v;
#endif
}

// sqrt(v), likewise.
inline vf root(vf v) {
#if defined(__AVX512F__)
    return v * inverse_root(v);
#else
    for (int lane = 0; lane < W; ++lane) v[lane] = __builtin_sqrtf(v[lane]);
    return v;
#endif
}

// e^v: 2^n times a polynomial on [-ln2/2, ln2/2]; the result is clamped to the normal range.
inline vf exponential(vf v) {
    v = select((vi)(v > 88.0f), splat(88.0f), v);
    v = select((vi)(v < -87.0f), splat(-87.0f), v);
    const vf shifted = v * 1.44269504088896f + 12582912.0f;  // 1.5 * 2^23: rounds to an integer
    const vf n = shifted - 12582912.0f;
    const vf r = (v - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
    vf p = splat(1.0f / 5040);
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    const vi exponent = (__builtin_convertvector(n, vi) + 127) << 23;
    return p * (vf)exponent;
}

}  // namespace
