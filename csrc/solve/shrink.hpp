// One element-wise step of a solver for sparse codes: gradient step, momentum, and a threshold that the largest entries
// pass. A search for the smallest of those compares the bits of magnitudes, which order as the magnitudes do, NaN last.
// Each step counts how many are larger: a pass over a row in the first-level cache, without a branch for each entry.
#pragma once
#include "tile.hpp"

namespace solve {
namespace {

constexpr int64_t SHARE = 1 << 14;  // entries of one task
constexpr int32_t NOTHING = INT32_MAX;     // bits that no magnitude exceeds
constexpr int32_t INFINITE = 0x7f800000;  // bits of infinity; NaN has more

typedef uint8_t vbytes __attribute__((vector_size(SZILARD_WIDTH)));

// Entries pass whose magnitude has bits above `low` at indices up to `last`, above `high` at later ones.
struct Cut {
    int32_t low, high, last;
};

inline vi magnitude(vf v) { return (vi)v & 0x7fffffff; }

inline int32_t sum_of(vi v) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_epi32((__m512i)v);
#else
    int32_t total = 0;
    for (int lane = 0; lane < W; ++lane) total += v[lane];
    return total;
#endif
}

// How many magnitudes have bits above `bits`, which is at least 0.
inline int32_t above(const float *v, int32_t n, int32_t bits) {
    vi counted[4] = {};
    over_tiles(n, [&](auto vectors, int64_t start, int width) {
        constexpr int V = decltype(vectors)::value;
        for (int k = 0; k < V; ++k) counted[k % 4] -= magnitude(part<V>(v + start, k, width)) > bits;
    });
    return sum_of((counted[0] + counted[1]) + (counted[2] + counted[3]));
}

// The cut below the `passing` largest of the magnitudes above `low`, of which there are `found`, more than `passing`;
// the largest is `high`. A step interpolates between counts; after one that did not halve the range, a step halves it.
inline Cut select_largest(const float *v, int32_t n, int32_t low, int32_t high, int32_t found, int64_t passing) {
    int32_t beyond = 0;  // magnitudes above high
    for (bool halve = false; high - low > 1;) {
        const int32_t range = high - low;
        int32_t step = range / 2;
        if (!halve) {
            step = (int32_t)((double)range * (double)(found - passing) / (double)(found - beyond));
            step = step < 1 ? 1 : step >= range ? range - 1 : step;
        }
        const int32_t counted = above(v, n, low + step);
        if (counted == passing) return {low + step, low + step, n};
        if (counted > passing)
            low += step, found = counted;
        else
            high = low + step, beyond = counted;
        halve = !halve && high - low > range / 2;
    }
    int32_t last = -1;  // all that are equal to high are tied, and the first of them pass
    for (int64_t left = passing - beyond; left > 0;) {
        int32_t bits;
        memcpy(&bits, v + ++last, sizeof bits);
        left -= (bits & 0x7fffffff) == high;
    }
    return {high - 1, high, last};
}

struct Sample {
    int32_t n;
    const float *x, *gradient, *previous;  // previous: or null
    float scale, momentum, threshold;

    template <bool MOMENTUM, int V> SZILARD_INLINE vf moved(int64_t start, int k, int width) const {
        const vf at = part<V>(x + start, k, width);
        vf v = at - scale * part<V>(gradient + start, k, width);
        if constexpr (MOMENTUM) v += momentum * (at - part<V>(previous + start, k, width));
        return v;
    }
};

// v into `result`, and the cut of the entries that pass.
template <bool MOMENTUM> inline Cut cut(const Sample &s, int64_t passing, float *result) {
    int32_t least = 0;
    if (s.threshold > 0) memcpy(&least, &s.threshold, sizeof least);
    vi candidates[2] = {}, largest[2] = {};
    over_tiles(s.n, [&](auto vectors, int64_t start, int width) {
        constexpr int V = decltype(vectors)::value;
        for (int k = 0; k < V; ++k) {
            const vf v = s.moved<MOMENTUM, V>(start, k, width);
            put<V>(result + start, k, width, v);
            const vi bits = magnitude(v), larger = bits > largest[k % 2];
            candidates[k % 2] -= bits >= least;
            largest[k % 2] = (larger & bits) | (~larger & largest[k % 2]);
        }
    });
    // With least = 0 the lanes behind the end are counted, too; then every entry is a candidate.
    const int32_t found = least ? sum_of(candidates[0] + candidates[1]) : s.n;
    if (found <= passing) return {least - 1, least - 1, s.n};
    int32_t high = 0;
    for (const vi &one : largest)
        for (int lane = 0; lane < W; ++lane) high = one[lane] > high ? one[lane] : high;
    return select_largest(result, s.n, least - 1, high, found, passing);
}

// The result from v = value(Vectors<V>, start, k, width), its count and norm. PASSED: whether `passed` is written.
template <bool PASSED, class Value>
inline void finish(const Sample &s, const Cut &cut, float *result, float *count, float *norm, uint8_t *passed,
                   Value &&value) {
    vi counted[2] = {}, lanes;
    for (int lane = 0; lane < W; ++lane) lanes[lane] = lane;
    vf total[4] = {};
    over_tiles(s.n, [&](auto vectors, int64_t start, int width) {
        constexpr int V = decltype(vectors)::value;
        for (int k = 0; k < V; ++k) {
            const vf v = value(vectors, start, k, width);
            const vi bits = magnitude(v), sign = (vi)v ^ bits;
            const vi early = lanes + ((int32_t)start + k * W) <= cut.last;
            const vi passes = bits > ((early & cut.low) | (~early & cut.high));
            vf soft = (vf)bits - s.threshold;  // of the magnitude
            soft = (vf)((vi)soft & ~((vi)(soft < 0.0f) | (bits == 0)));
            const vf kept = select(passes, (vf)bits, soft);
            counted[k % 2] -= kept != 0.0f;
            total[k % 4] += kept;
            put<V>(result + start, k, width, (vf)((vi)kept | sign));
            if constexpr (PASSED) {
                const vbytes ones = __builtin_convertvector(passes & (bits <= INFINITE) & 1, vbytes);
                memcpy(passed + start + k * W, &ones, V > 1 || width == W ? (size_t)W : (size_t)width);
            }
        }
    });
    *count = (float)sum_of(counted[0] + counted[1]);
    *norm = sum((total[0] + total[1]) + (total[2] + total[3]));
}

template <bool MOMENTUM, bool PASSED>
inline void shrink_sample(const Sample &s, int64_t passing, float *result, float *count, float *norm, uint8_t *passed) {
    if (s.threshold != s.threshold) {
        for (int32_t j = 0; j < s.n; ++j) result[j] = s.threshold;
        if (PASSED) memset(passed, 0, (size_t)s.n);
        *count = (float)s.n, *norm = s.n ? s.threshold : 0.0f;
    } else if (passing <= 0) {
        const Cut none{NOTHING, NOTHING, s.n};
        finish<PASSED>(s, none, result, count, norm, passed, [&](auto vectors, int64_t start, int k, int width) {
            return s.moved<MOMENTUM, decltype(vectors)::value>(start, k, width);
        });
    } else {
        const Cut found = cut<MOMENTUM>(s, passing, result);
        finish<PASSED>(s, found, result, count, norm, passed, [&](auto vectors, int64_t start, int k, int width) {
            return part<decltype(vectors)::value>(result + start, k, width);
        });
    }
}

void shrink(int64_t batch, int32_t n, const float *x, const float *gradient, const float *scale, const float *previous,
            const float *momentum, const float *threshold, const int64_t *passing, float *result, float *counts,
            float *norms, uint8_t *passed, int threads) {
    const int64_t samples = n < SHARE ? SHARE / (n + 1) + 1 : 1, tasks = (batch + samples - 1) / samples;
    parallel(tasks, threads, [&](int64_t task) {
        const int64_t end = (task + 1) * samples < batch ? (task + 1) * samples : batch;
        for (int64_t b = task * samples; b < end; ++b) {
            const int64_t at = b * n;
            const Sample s{n, x + at, gradient + at, previous ? previous + at : nullptr,
                           scale[b], momentum ? momentum[b] : 0.0f, threshold[b]};
            const auto run = previous ? (passed ? shrink_sample<true, true> : shrink_sample<true, false>)
                                      : (passed ? shrink_sample<false, true> : shrink_sample<false, false>);
            run(s, passing ? passing[b] : 0, result + at, counts + b, norms + b, passed ? passed + at : nullptr);
        }
    });
}

}  // namespace
}  // namespace solve
