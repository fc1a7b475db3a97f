// Convolutions of one example with positions in the lanes of a vector: a tile of output channels and vectors of
// positions stays in registers, and entries of the weight are swept. Dense and sparse weights differ in the number of
// channels that share an entry: up to four, or one.
#pragma once
#include "dense_linear.hpp"

namespace one_input {
namespace {

using szilard_inference::Planes;

inline vf every_second(const float *p) {
#if defined(__AVX512F__)
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return (vf)_mm512_permutex2var_ps((__m512)load(p), even, (__m512)load(p + W));
#else
    vf v;
    for (int lane = 0; lane < W; ++lane) v[lane] = p[2 * lane];
    return v;
#endif
}

// n floats; few enough in most rows that a call of memcpy would take longer.
inline void copy_floats(const float *from, int64_t n, float *to) {
    int64_t i = 0;
    for (; i + W <= n; i += W) store(to + i, load(from + i));
    if (i < n) store_first(to + i, load_first(from + i, (int)(n - i)), (int)(n - i));
}
// n floats, every step-th.
inline void copy_strided(const float *from, int64_t step, int64_t n, float *to) {
    if (step == 1) return copy_floats(from, n, to);
    int64_t i = 0;
    if (step == 2)
        for (; i + W < n; i += W) store(to + i, every_second(from + 2 * i));  // reads up to the next one needed
    for (; i < n; ++i) to[i] = from[step * i];
}

inline int64_t ceil_over(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

// A plane [height][width] with `top` and `left` padding: to[y][x] = from[y * stride_h + phase_h - top][x * stride_w +
// phase_w - left].
struct Frame {
    int32_t height, width, top, left, stride_h, stride_w, rows, pitch;
};
inline void copy_plane(const float *from, const Frame &f, int64_t phase_h, int64_t phase_w, float fill, float *to) {
    const int64_t first_x = f.left - phase_w;  // x * stride_w must reach it
    const int64_t low = smaller(f.pitch, first_x > 0 ? ceil_over(first_x, f.stride_w) : 0);
    int64_t high = smaller(f.pitch, ceil_over(first_x + f.width, f.stride_w));
    if (high < low) high = low;
    for (int64_t y = 0; y < f.rows; ++y, to += f.pitch) {
        const int64_t at = y * f.stride_h + phase_h - f.top;
        const bool inside = at >= 0 && at < f.height;
        const int64_t begin = inside ? low : f.pitch, finish = inside ? high : f.pitch;
        for (int64_t x = 0; x < begin; ++x) to[x] = fill;
        if (finish > begin)
            copy_strided(from + at * f.width + begin * f.stride_w - first_x, f.stride_w, finish - begin, to + begin);
        for (int64_t x = finish; x < f.pitch; ++x) to[x] = fill;
    }
}

// Padded planes of an example: mean, and with R == BOTH variance; with a random weight the second moment.
struct Padded {
    const float *mean, *variance, *second;
};
template <Random R>
Padded pad(const szilard_inference::Step &step, const szilard_inference::Value &in, Read x, float *work) {
    const Planes &p = step.planes;
    const szilard_step &g = step.given;
    const int64_t all = in.channels * p.plane + W, phase = (int64_t)p.rows * p.pitch;
    float *mean = work, *variance = work + all, *second = work + (R == BOTH ? 2 : 1) * all;
    const Frame frame{in.height, in.width, g.pad_top, g.pad_left, g.stride_h, g.stride_w, p.rows, p.pitch};
    for (int64_t c = 0; c < in.channels; ++c)
        for (int k = 0; k < p.phases_h * p.phases_w; ++k) {
            if (!p.used[k]) continue;
            const int64_t from = c * in.height * in.width, to = c * p.plane + k * phase;
            const int64_t phase_h = k / p.phases_w, phase_w = k % p.phases_w * (int64_t)p.between;
            copy_plane(x.mean + from, frame, phase_h, phase_w, 0.0f, mean + to);
            if (R == BOTH) copy_plane(x.variance + from, frame, phase_h, phase_w, 0.0f, variance + to);
            if (R != NOTHING)
                for (int64_t i = 0; i < phase; ++i) {
                    const float m = mean[to + i];
                    second[to + i] = m * m + (R == BOTH ? variance[to + i] : 0.0f);
                }
        }
    return {mean, variance, second};
}

// Vectors of positions: vector k starts at `start[k]` in a plane, and its sums go to k * W of a row of results.
struct Positions {
    const int32_t *start;
    int32_t n;
};

// C channels, P vectors. weight [tap][C][1 or 3]; results [C][stride].
template <int C, int P, Random R> void conv_tile(const float *weight, const int32_t *offset, int32_t taps,
                                                 const Padded &x, const int32_t *start, float *mean, float *variance,
                                                 int64_t stride) {
    vf m[C][P] = {}, v[C][P] = {}, s[C][P] = {};
    int64_t at[P];
    for (int p = 0; p < P; ++p) at[p] = start[p];
    for (int32_t t = 0; t < taps; ++t) {
        const float *w = weight + (int64_t)t * C * (R == NOTHING ? 1 : 3);
        vf xm[P], xv[P], xs[P];
        for (int p = 0; p < P; ++p) {
            const int64_t from = at[p] + offset[t];
            xm[p] = load(x.mean + from);
            if constexpr (R == BOTH) xv[p] = load(x.variance + from);
            if constexpr (R != NOTHING) xs[p] = load(x.second + from);
        }
        for (int c = 0; c < C; ++c)
            for (int p = 0; p < P; ++p) {
                if constexpr (R == NOTHING) {
                    m[c][p] += w[c] * xm[p];
                } else {
                    m[c][p] += w[3 * c] * xm[p];
                    if constexpr (R == BOTH && C == 1) s[c][p] += w[3 * c + 1] * xv[p];  // a shorter chain of additions
                    if constexpr (R == BOTH && C > 1) v[c][p] += w[3 * c + 1] * xv[p];
                    v[c][p] += w[3 * c + 2] * xs[p];
                }
            }
    }
    for (int c = 0; c < C; ++c)
        for (int p = 0; p < P; ++p) {
            store(mean + c * stride + p * W, m[c][p]);
            if constexpr (R != NOTHING)
                store(variance + c * stride + p * W, C == 1 && R == BOTH ? v[c][p] + s[c][p] : v[c][p]);
        }
}

// All positions, in tiles of about equal numbers of vectors up to MOST.
template <int C, int MOST, Random R> void conv_positions(const float *weight, const int32_t *offset, int32_t taps,
                                                         const Padded &x, const Positions &at, float *mean,
                                                         float *variance, int64_t stride) {
    int32_t tiles = (at.n + MOST - 1) / MOST;
    for (int32_t k = 0; tiles > 0; --tiles) {
        const int32_t n = (at.n - k + tiles - 1) / tiles;
        auto run = [&](auto vectors) {
            constexpr int P = decltype(vectors)::value;
            if constexpr (P <= MOST)
                conv_tile<C, P, R>(weight, offset, taps, x, at.start + k, mean + k * W,
                                   variance ? variance + k * W : nullptr, stride);
        };
        switch (n) {
            case 1: run(Vectors<1>()); break;
            case 2: run(Vectors<2>()); break;
            case 3: run(Vectors<3>()); break;
            case 4: run(Vectors<4>()); break;
            case 5: run(Vectors<5>()); break;
            case 6: run(Vectors<6>()); break;
            case 7: run(Vectors<7>()); break;
            default: run(Vectors<8>()); break;
        }
        k += n;
    }
}

// Bias and ReLU of n positions of a channel in place.
template <bool MOMENTS>
void end_positions(float *mean, float *variance, int64_t n, float bias, float bias_variance, bool rectified) {
    over_vectors(n, [&](int64_t i, int width) SZILARD_INLINED {
        end<MOMENTS>(load_first(mean + i, width), MOMENTS ? load_first(variance + i, width) : vf{}, splat(bias),
                     splat(bias_variance), rectified, mean + i, MOMENTS ? variance + i : nullptr, width);
    });
}

// Floats of one row of results: all positions, with those that are no outputs.
struct Layout {
    bool by_rows;
    int32_t vectors, pitch;
};
inline Layout layout(const Planes &p, int32_t height, int32_t width) {
    const int64_t across = (width + W - 1) / W, rows = across * height;
    const int64_t flat = ((int64_t)(height - 1) * p.pitch + width + W - 1) / W;
    if (rows <= flat) return {true, (int32_t)rows, (int32_t)across * W};
    return {false, (int32_t)flat, p.pitch};
}

template <Random R> void conv_example(const szilard_inference::Step &step, const szilard_inference::Value &in, Read x,
                                      Write y, float *work, int threads) {
    const szilard_step &g = step.given;
    const Planes &p = step.planes;
    const Padded padded = pad<R>(step, in, x, work);
    float *after = work + (in.channels * p.plane + W) * (R == NOTHING ? 1 : R == WEIGHT ? 2 : 3);
    const Layout at = layout(p, g.height, g.width);
    int32_t *start = (int32_t *)after;
    const int32_t across = at.pitch / W;
    for (int32_t k = 0; k < at.vectors; ++k) start[k] = at.by_rows ? k / across * p.pitch + k % across * W : k * W;
    float *results = after + at.vectors + W;
    const int64_t positions = (int64_t)g.height * g.width, stride = (int64_t)at.vectors * W;
    const bool direct = at.pitch == g.width && stride == positions;  // results are outputs
    const int32_t per_group = g.channels / g.groups, in_group = in.channels / g.groups;
    const int32_t channels = step.sparse ? 1 : szilard_inference::CHANNELS;
    const int32_t tiles = (per_group + channels - 1) / channels;
    if (positions * g.channels * g.cols < 1 << 20) threads = 1;
    parallel((int64_t)g.groups * tiles, threads, [&](int64_t task) {
        const FlushDenormals flush;  // in each thread
        const int64_t group = task / tiles, first = task % tiles * channels, o = group * per_group + first;
        const int32_t n = (int32_t)smaller(channels, per_group - first);
        const int64_t from = group * in_group * p.plane;
        const Padded part{padded.mean + from, padded.variance + from, padded.second + from};
        float *own = results + (threads > 1 ? task : 0) * 2 * channels * stride;
        float *mean = direct ? y.mean + o * positions : own;
        float *variance = R == NOTHING ? nullptr : direct ? y.variance + o * positions : own + channels * stride;
        const Positions all{start, at.vectors};
        constexpr int S = R == NOTHING ? 1 : 3;
        constexpr int WIDE = (NV >= 8 ? 8 : 4) / (R == NOTHING ? 1 : 2), DENSE = WIDE / 2;
        if (step.sparse) {
            const int32_t begin = step.rows.crow[o];
            conv_positions < 1,
                R == NOTHING || NV<8 ? WIDE : 6, R>(step.rows.weight + (int64_t)begin * S, p.offset + begin,
                                                    step.rows.crow[o + 1] - begin, part, all, mean, variance, stride);
        } else {
            const float *weight = step.dense.weight + o * p.taps * S;
            switch (n) {
                case 1: conv_positions<1, WIDE, R>(weight, p.offset, p.taps, part, all, mean, variance, stride); break;
                case 2: conv_positions<2, DENSE, R>(weight, p.offset, p.taps, part, all, mean, variance, stride); break;
                case 3: conv_positions<3, DENSE, R>(weight, p.offset, p.taps, part, all, mean, variance, stride); break;
                default:
                    conv_positions<4, DENSE, R>(weight, p.offset, p.taps, part, all, mean, variance, stride);
                    break;
            }
        }
        for (int32_t c = 0; c < n; ++c) {
            float *to = y.mean + (o + c) * positions,
                  *to_variance = y.variance ? y.variance + (o + c) * positions : nullptr;
            if (!direct)
                for (int32_t row = 0; row < g.height; ++row) {
                    const int64_t src = c * stride + (int64_t)row * at.pitch, dst = (int64_t)row * g.width;
                    copy_floats(mean + src, g.width, to + dst);
                    if (R != NOTHING) copy_floats(variance + src, g.width, to_variance + dst);
                }
            if (R == NOTHING && to_variance) zero(to_variance, positions);
            if (to_variance)
                end_positions<true>(to, to_variance, positions, step.bias[o + c], step.bias_variance[o + c],
                                    g.relu != 0);
            else
                end_positions<false>(to, nullptr, positions, step.bias[o + c], 0.0f, g.relu != 0);
        }
    });
}

inline void conv_step(const szilard_inference::Step &step, const szilard_inference::Value &in, int batch, Random random,
                      Read x, Write y, float *work, int threads) {
    const int64_t out_size = (int64_t)step.given.channels * step.given.height * step.given.width;
    for (int b = 0; b < batch; ++b) {
        const Read from{x.mean + b * in.size, x.variance ? x.variance + b * in.size : nullptr};
        const Write to{y.mean + b * out_size, y.variance ? y.variance + b * out_size : nullptr};
        if (random == NOTHING)
            conv_example<NOTHING>(step, in, from, to, work, threads);
        else if (random == WEIGHT)
            conv_example<WEIGHT>(step, in, from, to, work, threads);
        else
            conv_example<BOTH>(step, in, from, to, work, threads);
    }
}

}  // namespace
}  // namespace one_input
