// Errors that the positions of a map share: what a mean over positions keeps of them. Rows [channels][1][rows] hold how outputs
// depend on the mean over positions of each channel.
#pragma once
#include "pooling.hpp"

namespace one_input {
namespace {

inline vf deviation(vf v) {
#if defined(__AVX512F__)
    return roots(v).root;  // zero stays zero
#else
    return root(v);
#endif
}

// Of each channel the mean over positions, twice, and two variances: the square of the mean standard deviation, and the variance
// of a mean of independent positions. y has 2 * channels planes of one number.
inline void spreads(const Value &in, int batch, Read x, Write y) {
    const int64_t n = (int64_t)in.height * in.width, channels = in.channels;
    const float share = 1.0f / (float)n;
    for (int64_t b = 0; b < batch; ++b)
        for (int64_t c = 0; c < channels; ++c) {
            const int64_t from = (b * channels + c) * n, to = 2 * b * channels + c;
            vf mean = {}, root = {}, variance = {};
            over_vectors(n, [&](int64_t i, int width) SZILARD_INLINED { mean += load_first(x.mean + from + i, width); });
            y.mean[to] = y.mean[to + channels] = sum(mean) * share;
            if (!y.variance) continue;
            if (x.variance)
                over_vectors(n, [&](int64_t i, int width) SZILARD_INLINED {
                    const vf v = load_first(x.variance + from + i, width);
                    variance += v, root += deviation(v);
                });
            const float level = sum(root) * share;
            y.variance[to] = level * level;
            y.variance[to + channels] = sum(variance) * share * share;
        }
}

// From the spreads before and after a monotone function: by how much it scales the error of the mean, and as variance what it
// adds to it. y has half as many planes as the spreads.
inline void gains(int64_t channels, int batch, Read before, Read after, Write y) {
    for (int64_t b = 0; b < batch; ++b)
        for (int64_t c = 0; c < channels; ++c) {
            const int64_t at = 2 * b * channels + c, to = b * channels + c;
            const float in = before.variance ? before.variance[at] : 0.0f, out = after.variance ? after.variance[at] : 0.0f;
            const float square = in > 0 ? out / in : 0.0f;
            y.mean[to] = __builtin_sqrtf(square);
            if (!y.variance) continue;
            const float own = (after.variance ? after.variance[at + channels] : 0.0f) -
                              square * (before.variance ? before.variance[at + channels] : 0.0f);
            y.variance[to] = own > 0 ? own : 0.0f;
        }
}

// Rows of each channel times the mean of `by`.
inline void scale_rows(const Value &in, int batch, Read x, Read by, Write y) {
    const int64_t n = (int64_t)in.height * in.width;
    for (int64_t plane = 0; plane < batch * (int64_t)in.channels; ++plane)
        over_vectors(n, [&](int64_t i, int width) SZILARD_INLINED {
            store_first(y.mean + plane * n + i, by.mean[plane] * load_first(x.mean + plane * n + i, width), width);
        });
}

// To sum[n] of each example: the squares of rows, times the variance of each channel.
inline void add_contributions(int64_t channels, int64_t n, int batch, Read rows, Read noise, float *sum) {
    if (!noise.variance) return;
    for (int64_t b = 0; b < batch; ++b)
        over_vectors(n, [&](int64_t i, int width) SZILARD_INLINED {
            vf all = load_first(sum + b * n + i, width);
            for (int64_t c = 0; c < channels; ++c) {
                const vf row = load_first(rows.mean + (b * channels + c) * n + i, width);
                all += row * row * noise.variance[b * channels + c];
            }
            store_first(sum + b * n + i, all, width);
        });
}

}  // namespace
}  // namespace one_input
