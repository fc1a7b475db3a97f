// Divergence of Gaussian weights from their prior: its two sums, and its gradients, in one pass each.
#pragma once
#include "norm.hpp"

namespace {

// sums[0] = sum of e^(2 log_std) + mean^2, sums[1] = sum of log_std.
void divergence(int64_t n, const float *mean, const float *log_std, double *sums) {
    double total[2];
    totals(n, total, [&](auto vectors, int64_t at, int k, int width, vf(&t)[2]) {
        constexpr int V = decltype(vectors)::value;
        const vf m = part<V>(mean + at, k, width), s = part<V>(log_std + at, k, width);
        t[0] = present<V>(exponential(2.0f * s) + m * m, width);
        t[1] = s;
    });
    sums[0] = total[0], sums[1] = total[1];
}

// grad_mean = rate mean, grad_log_std = rate e^(2 log_std) - offset.
void divergence_backward(int64_t n, const float *mean, const float *log_std, float rate, float offset,
                         float *grad_mean, float *grad_log_std) {
    over_tiles(n, [&](auto vectors, int64_t start, int width) {
        constexpr int V = decltype(vectors)::value;
        for (int k = 0; k < V; ++k) {
            put<V>(grad_mean + start, k, width, rate * part<V>(mean + start, k, width));
            put<V>(grad_log_std + start, k, width,
                   rate * exponential(2.0f * part<V>(log_std + start, k, width)) - offset);
        }
    });
}

}  // namespace
