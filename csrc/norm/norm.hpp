// Batch normalisation in the layout of the convolutions, one channel [count] at a time so that later passes find it in
// the cache, fused with an optional residual and ReLU.
#pragma once
#include "tile.hpp"

namespace {

constexpr int64_t RUN = 4096;  // floats summed in single precision before they are added to a double

// sums[s] = total over [0, count) of body(Vectors<V>, start, k, width)[s], pairwise in runs.
template <int S, class Body> inline void totals(int64_t count, double (&sums)[S], Body &&body) {
    for (double &s : sums) s = 0;
    for (int64_t run = 0; run < count; run += RUN) {
        const int64_t length = count - run < RUN ? count - run : RUN;
        vf part_sums[S][4] = {};
        over_tiles(length, [&](auto vectors, int64_t start, int width) {
            constexpr int V = decltype(vectors)::value;
            for (int k = 0; k < V; ++k) {
                vf terms[S];
                body(vectors, run + start, k, width, terms);
                for (int s = 0; s < S; ++s) part_sums[s][k % 4] += terms[s];
            }
        });
        for (int s = 0; s < S; ++s)
            sums[s] += (double)sum((part_sums[s][0] + part_sums[s][1]) + (part_sums[s][2] + part_sums[s][3]));
    }
}

// Lanes [width, W) of the last vector of a tile read as zero; if x = 0 must not count, mask with this.
template <int V> inline vf present(vf v, int width) {
    if (V > 1 || width == W) return v;
    for (int lane = width; lane < W; ++lane) v[lane] = 0;
    return v;
}

// y = relu(weight (x - mean) inv_std + bias + residual).
void batch_norm(int32_t channels, int64_t count, const float *x, const float *weight, const float *bias,
                const float *residual, int relu, float eps, float *y, float *mean, float *variance, float *inv_std,
                int threads) {
    parallel(channels, threads, [&](int64_t c) {
        const float *from = x + c * count;
        double total[1];
        totals(count, total, [&](auto v, int64_t at, int k, int width, vf(&t)[1]) {
            t[0] = part<decltype(v)::value>(from + at, k, width);
        });
        const float centre = (float)(total[0] / (double)count);
        totals(count, total, [&](auto v, int64_t at, int k, int width, vf(&t)[1]) {
            constexpr int V = decltype(v)::value;
            const vf d = present<V>(part<V>(from + at, k, width) - centre, width);
            t[0] = d * d;
        });
        mean[c] = centre;
        variance[c] = (float)(total[0] / (double)count);
        inv_std[c] = 1.0f / __builtin_sqrtf(variance[c] + eps);
        const float scale = (weight ? weight[c] : 1.0f) * inv_std[c];
        const float shift = (bias ? bias[c] : 0.0f) - scale * centre;
        over_tiles(count, [&](auto v, int64_t start, int width) {
            constexpr int V = decltype(v)::value;
            for (int k = 0; k < V; ++k) {
                vf out = scale * part<V>(from + start, k, width) + shift;
                if (residual) out += part<V>(residual + c * count + start, k, width);
                if (relu) out = maximum(vf{}, out);
                put<V>(y + c * count + start, k, width, out);
            }
        });
    });
}

// With e = g where y > 0 (all of g without relu) and z = (x - mean) inv_std:
// grad_bias = sum e, grad_weight = sum e z, grad_residual = e,
// grad_x = weight inv_std (e - grad_bias / count - z grad_weight / count).
void batch_norm_backward(int32_t channels, int64_t count, const float *grad, const float *x, const float *y,
                         const float *weight, const float *mean, const float *inv_std, int relu, float *grad_x,
                         float *grad_weight, float *grad_bias, float *grad_residual, int threads) {
    parallel(channels, threads, [&](int64_t c) {
        const int64_t base = c * count;
        const float centre = mean[c], inverse = inv_std[c];
        auto passed = [&](auto v, int64_t at, int k, int width) {
            constexpr int V = decltype(v)::value;
            const vf g = part<V>(grad + base + at, k, width);
            return relu ? select((vi)(part<V>(y + base + at, k, width) > 0.0f), g, vf{}) : g;
        };
        double total[2];
        totals(count, total, [&](auto v, int64_t at, int k, int width, vf(&t)[2]) {
            const vf e = passed(v, at, k, width);
            t[0] = e;
            t[1] = e * ((part<decltype(v)::value>(x + base + at, k, width) - centre) * inverse);
        });
        grad_bias[c] = (float)total[0];
        grad_weight[c] = (float)total[1];
        const float scale = (weight ? weight[c] : 1.0f) * inverse;
        const float first = (float)(total[0] / (double)count), second = (float)(total[1] / (double)count);
        over_tiles(count, [&](auto v, int64_t start, int width) {
            constexpr int V = decltype(v)::value;
            for (int k = 0; k < V; ++k) {
                const vf e = passed(v, start, k, width);
                const vf z = (part<V>(x + base + start, k, width) - centre) * inverse;
                if (grad_residual) put<V>(grad_residual + base + start, k, width, e);
                put<V>(grad_x + base + start, k, width, scale * (e - first - z * second));
            }
        });
    });
}

}  // namespace
