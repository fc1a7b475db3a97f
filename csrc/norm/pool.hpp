// Max-pooling in the layout of the convolutions: the inner loops run over the batch, so that compilers vectorise them.
#pragma once
#include "conv.hpp"

namespace {

constexpr int64_t PIECE = 128;  // examples of the batch at a time

void max_pool(const szilard_geometry &g, const float *x, float *y, uint8_t *where, int threads) {
    parallel((int64_t)g.channels * g.out_height, threads, [&](int64_t task) {
        const int64_t c = task / g.out_height, oy = task % g.out_height;
        for (int64_t ox = 0; ox < g.out_width; ++ox)
            for (int64_t start = 0; start < g.batch; start += PIECE) {
                const int64_t n = smaller(PIECE, g.batch - start);
                float best[PIECE];
                int32_t place[PIECE];
                for (int64_t b = 0; b < n; ++b) best[b] = -__builtin_inff(), place[b] = -1;
                for (int32_t ky = 0; ky < g.kernel_h; ++ky)
                    for (int32_t kx = 0; kx < g.kernel_w; ++kx) {
                        const int64_t iy = oy * g.stride_h + ky - g.pad_h, ix = ox * g.stride_w + kx - g.pad_w;
                        if (iy < 0 || iy >= g.height || ix < 0 || ix >= g.width) continue;
                        const float *from = x + ((c * g.height + iy) * g.width + ix) * g.batch + start;
                        const int32_t here = ky * g.kernel_w + kx;
                        for (int64_t b = 0; b < n; ++b) {  // as in torch: NaN wins, then the first maximum
                            const bool wins = (from[b] > best[b]) | (from[b] != from[b]) | (place[b] < 0);
                            best[b] = wins ? from[b] : best[b];
                            place[b] = wins ? here : place[b];
                        }
                    }
                const int64_t to = (task * g.out_width + ox) * g.batch + start;
                for (int64_t b = 0; b < n; ++b) y[to + b] = best[b], where[to + b] = (uint8_t)place[b];
            }
    });
}

void max_pool_backward(const szilard_geometry &g, const float *grad, const uint8_t *where, float *grad_x,
                       int threads) {
    const int64_t plane = (int64_t)g.height * g.width * g.batch;
    parallel(g.channels, threads, [&](int64_t c) {
        zero(grad_x + c * plane, plane);
        for (int64_t oy = 0; oy < g.out_height; ++oy)
            for (int64_t ox = 0; ox < g.out_width; ++ox) {
                const int64_t from = ((c * g.out_height + oy) * g.out_width + ox) * g.batch;
                for (int32_t k = 0; k < g.kernel_h * g.kernel_w; ++k) {
                    const int64_t iy = oy * g.stride_h + k / g.kernel_w - g.pad_h;
                    const int64_t ix = ox * g.stride_w + k % g.kernel_w - g.pad_w;
                    if (iy < 0 || iy >= g.height || ix < 0 || ix >= g.width) continue;
                    float *to = grad_x + c * plane + (iy * g.width + ix) * g.batch;
                    for (int64_t b = 0; b < g.batch; ++b) to[b] += where[from + b] == k ? grad[from + b] : 0.0f;
                }
            }
    });
}

}  // namespace
