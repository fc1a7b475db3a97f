// Moments of functions of independent Gaussians, a vector at a time.
#pragma once
#include "tile.hpp"

namespace one_input {
namespace {

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

struct Gauss {
    vf mean, variance;
};

// body(i, width) for consecutive vectors of n floats. All but the last have W lanes, which the compiler knows, so that
// loads and stores of them need no test.
template <class Body> SZILARD_INLINE void over_vectors(int64_t n, Body &&body) {
    int64_t i = 0;
    for (; i + W <= n; i += W) body(i, W);
    if (i < n) body(i, (int)(n - i));
}

// The smaller; b if either is NaN.
inline vf smaller_of(vf a, vf b) {
#if defined(__AVX512F__)
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#else
    return select((vi)(a < b), a, b);
#endif
}
// The larger of v and zero; zero for NaN.
inline vf at_least_zero(vf v) {
#if defined(__AVX512F__)
    return (vf)_mm512_max_ps((__m512)v, _mm512_setzero_ps());
#else
    return select((vi)(v > 0.0f), v, vf{});
#endif
}
inline vf magnitude(vf v) { return (vf)((vi)v & 0x7fffffff); }

constexpr float FAR = 12.0f;  // standard deviations from which on a tail is zero

// phi(a) for 0 <= a; zero from FAR on.
inline vf density(vf a) {
#if defined(__AVX512F__)
    const __m512 x = _mm512_mul_ps(_mm512_mul_ps((__m512)a, (__m512)a), _mm512_set1_ps(-0.7213475204444817f));  // log2
    const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const vf r = (vf)_mm512_sub_ps(x, n);
    vf p = splat(6.14511954e-05f);  // 2^r / sqrt(2 pi) by Taylor's series, to 3e-8 of it
    p = p * r + 0.000531932009f;
    p = p * r + 0.00383707836f;
    p = p * r + 0.0221429357f;
    p = p * r + 0.0958365105f;
    p = p * r + 0.276525717f;
    p = p * r + 0.39894228f;
    return (vf)_mm512_maskz_scalef_ps(_mm512_cmp_ps_mask((__m512)a, _mm512_set1_ps(FAR), _CMP_LT_OQ), (__m512)p, n);
#else
    return select((vi)(a < FAR), 0.3989422804014327f * exponential(-0.5f * a * a), vf{});
#endif
}
// 1 / v for v of ordinary size.
inline vf inverse(vf v) {
#if defined(__AVX512F__)
    const vf r = (vf)_mm512_rcp14_ps((__m512)v);
    return r * (2.0f - v * r);  // one Newton step squares the error of 2^-14
#else
    return 1.0f / v;
#endif
}

// For a >= 0: the lower tail Phi(-a), delta(-a) = phi(a) - a Phi(-a), and a, at most FAR, where both are zero. Phi(-a)
// is phi(a) times a polynomial in 1 / (1 + 0.39 a), fitted for the least absolute error on [0, 12], which is 1e-8
// before rounding.
struct Tail {
    vf below, delta, a;
};
inline Tail tail(vf a) {
    a = smaller_of(a, splat(FAR));
    const vf t = inverse(1.0f + 0.39f * a);
    vf p = splat(0.13497245385161907f);
    p = p * t - 0.6473132703304644f;
    p = p * t + 0.9403957195380552f;
    p = p * t - 0.041689842333144024f;
    p = p * t + 0.48737727215163257f;
    p = p * t + 0.37957182857073646f;
    const vf height = density(a), below = height * (p * t);
    return {below, at_least_zero(height - a * below), a};
}

// 1 / sqrt(v) and sqrt(v); below 1e-30 the root is too small and its inverse finite.
struct Roots {
    vf inverse, root;
};
inline Roots roots(vf v) {
#if defined(__AVX512F__)
    const vf inverse = inverse_root((vf)_mm512_max_ps((__m512)v, (__m512)splat(1e-30f)));
#else
    const vf inverse = inverse_root(select((vi)(v > 1e-30f), v, splat(1e-30f)));
#endif
    return {inverse, v * inverse};
}

inline vf relu(vf x) { return select((vi)(x < 0.0f), vf{}, x); }  // NaN stays NaN

// With z = mean / sqrt(variance), also gives Phi(z).
SZILARD_INLINE Gauss relu(Gauss x, vf *upper = nullptr) {
    const Roots r = roots(x.variance);
    const vf z = x.mean * r.inverse;
    const Tail t = tail(magnitude(z));
    const vf probability = select((vi)(z > 0.0f), 1.0f - t.below, t.below);
    if (upper) *upper = probability;
    return {relu(x.mean) + r.root * t.delta, x.variance * at_least_zero(probability - (t.a + t.delta) * t.delta)};
}

inline vi is_larger(vf a, vf b) { return (vi)(a > b) | (vi)(a != a); }  // NaN is
inline vf larger(vf a, vf b) { return select(is_larger(a, b), a, b); }

// The maximum of two independent Gaussians by its first two moments (Clark 1961).
inline Gauss larger(Gauss x, Gauss y) {
    const vf both = x.variance + y.variance;
    const Roots r = roots(both);
    const Tail t = tail(magnitude((x.mean - y.mean) * r.inverse));
    const vi first = is_larger(x.mean, y.mean);
    const vf of_larger = 1.0f - t.below;
    const vf spread =
        select(first, x.variance, y.variance) * of_larger + select(first, y.variance, x.variance) * t.below;
    return {select(first, x.mean, y.mean) + r.root * t.delta,
            at_least_zero(spread - both * ((t.a + t.delta) * t.delta))};
}

inline vf logistic(vf x) { return 1.0f / (1.0f + exponential(-x)); }  // not by inverse(): the divisor can be 1e38

struct Sigmoid {
    vf operator()(vf x) const { return logistic(x); }
};
struct Tanh {
    vf operator()(vf x) const { return 2.0f * logistic(2.0f * x) - 1.0f; }
};
struct Silu {
    vf operator()(vf x) const { return x * logistic(x); }
};
struct Gelu {
    vf operator()(vf x) const {
        const Tail t = tail(magnitude(x));
        return x * select((vi)(x > 0.0f), 1.0f - t.below, t.below);
    }
};

// The trapezoidal rule with 21 nodes 0.6 standard deviations apart. For tanh of a standard deviation s its error is
// about exp(-16 / s): at s = 1 that is 1e-7, where Gauss-Hermite quadrature with 20 nodes is wrong by 3e-5.
constexpr int NODES = 10;  // on each side of the mean
constexpr float NODE = 0.6f;
constexpr float middle_weight = 0.239365368f;
constexpr float node_weight[NODES] = {0.199934762f,    0.116511633f,    0.047370095f,    0.0134367182f,
                                      0.00265910905f,  0.000367141158f, 3.53658407e-05f, 2.37677946e-06f,
                                      1.11441711e-07f, 3.64552971e-09f};

template <class F> inline Gauss by_quadrature(Gauss x, F f) {
    const vf root = roots(x.variance).root;
    const vf middle = f(x.mean);  // differences from it are summed, so that a small variance is not lost in rounding
    vf sum = {}, squares = {}, above[NODES], below[NODES];
    for (int k = 0; k < NODES; ++k) {
        above[k] = f(x.mean + (k + 1) * NODE * root) - middle;
        below[k] = f(x.mean - (k + 1) * NODE * root) - middle;
        sum += node_weight[k] * (above[k] + below[k]);
    }
    squares = middle_weight * (sum * sum);
    for (int k = 0; k < NODES; ++k) {
        const vf a = above[k] - sum, b = below[k] - sum;
        squares += node_weight[k] * (a * a + b * b);
    }
    return {middle + sum, squares};
}

}  // namespace
}  // namespace one_input
