// Class probabilities and their uncertainty from Gaussian logits, averaged over fixed points of the Gaussian.
#pragma once
#include <math.h>

#include "tile.hpp"

namespace one_input {
namespace {

inline vf maximum(vf a, vf b) { return select((vi)(a > b), a, b); }

// Floats of scratch that class_uncertainty needs.
inline int64_t class_scratch(int64_t classes) { return 2 * classes * W; }

// For each example: the mean softmax over the points, the mean entropy of the points, and the entropy of the mean softmax minus
// that, at least zero. noise is [classes][points], points a multiple of W. With `single`, the one logit is that of the second of
// two classes. Entropies are in nats: of one point, log(sum) - dot / sum with sum = Σ e^d, dot = Σ d e^d and d = z - max z.
inline void class_uncertainty(int64_t batch, int64_t classes, const float *mean, const float *variance, int64_t points,
                              const float *noise, float scale, bool single, float *answer, float *aleatoric,
                              float *epistemic, float *scratch) {
    float *const weight = scratch, *const total = scratch + classes * W;
    for (int64_t b = 0; b < batch; ++b, mean += classes, variance += classes) {
        for (int64_t k = 0; k < classes * W; ++k) total[k] = 0.0f;
        vf first = {};  // of the class without a logit
        double entropy = 0.0;
        for (int64_t s = 0; s < points; s += W) {
            vf top = single ? vf{} : splat(-INFINITY);
            for (int64_t c = 0; c < classes; ++c) {
                const float std = sqrtf(variance[c] > 0.0f ? variance[c] : 0.0f);
                const vf z = (mean[c] + std * load(noise + c * points + s)) * scale;
                store(weight + c * W, z);
                top = maximum(top, z);
            }
            const vf rest = single ? exponential(-top) : vf{};
            vf sum_of = rest, dot = -(rest * top);
            for (int64_t c = 0; c < classes; ++c) {
                const vf d = load(weight + c * W) - top, e = exponential(d);
                sum_of += e;
                dot += e * d;
                store(weight + c * W, e);
            }
            const vf inverse = 1.0f / sum_of;
            first += rest * inverse;
            for (int64_t c = 0; c < classes; ++c)
                store(total + c * W, load(total + c * W) + load(weight + c * W) * inverse);
            // One logarithm for all lanes: each sum is between 1 and the number of classes.
            double product = 1.0;
            for (int lane = 0; lane < W; ++lane) product *= (double)sum_of[lane];
            entropy += log(product) - (double)sum(dot * inverse);
        }
        double of_mean = 0.0;
        const double share = 1.0 / (double)points;
        const auto add = [&](vf v) {
            const double p = (double)sum(v) * share;
            if (p > 0.0) of_mean -= p * log(p);
            *answer++ = (float)p;
        };
        if (single) add(first);
        for (int64_t c = 0; c < classes; ++c) add(load(total + c * W));
        aleatoric[b] = (float)(entropy * share);
        const double more = of_mean - entropy * share;
        epistemic[b] = more > 0.0 ? (float)more : 0.0f;
    }
}

}  // namespace
}  // namespace one_input
