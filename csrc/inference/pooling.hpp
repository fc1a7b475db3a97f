// Pooling, and steps without products of weights.
#pragma once
#include "position_conv.hpp"

namespace one_input {
namespace {

using szilard_inference::Step;
using szilard_inference::Value;

// Channels that are pooled at a time, so that the numbers of their windows stay in the cache.
inline int64_t pooled_channels(const szilard_step &g) {
    const int64_t window = (int64_t)g.kernel_h * g.kernel_w * g.height * g.width;
    const int64_t n = window ? 8192 / window : 0;
    return n < 1 ? 1 : smaller(n, g.channels);
}

// Floats of one tap of `channels` channels: copies overshoot by a vector.
inline int64_t tap_size(const szilard_step &g, int64_t channels) { return channels * g.height * g.width + 2 * W; }

// The inputs of each tap of the windows in planes [rows][pitch], which 2 W floats follow: [kernel_h *
// kernel_w][tap_size]. The output's rows are written from first to last, a vector may reach into the next.
inline void taps_of(const szilard_step &g, const float *plane, int32_t pitch, float *to, int64_t tap) {
    for (int32_t k = 0; k < g.kernel_h * g.kernel_w; ++k) {
        const float *from = plane + (int64_t)(k / g.kernel_w) * pitch + k % g.kernel_w;
        for (int32_t y = 0; y < g.height; ++y) {
            const float *row = from + (int64_t)y * g.stride_h * pitch;
            float *dst = to + k * tap + (int64_t)y * g.width;
            if (g.stride_w == 1)
                for (int32_t x = 0; x < g.width; x += W) store(dst + x, load(row + x));
            else if (g.stride_w == 2)
                for (int32_t x = 0; x < g.width; x += W) store(dst + x, every_second(row + 2 * (int64_t)x));
            else
                for (int32_t x = 0; x < g.width; ++x) dst[x] = row[(int64_t)x * g.stride_w];
        }
    }
}

// Results of windows as a tree: pairs of neighbours, then pairs of pairs. Numbers arrive one by one, and groups of the
// same size join.
template <class T> class Tree {
  public:
    void add(T x) {
        ++count_;
        for (uint32_t k = count_; !(k & 1); k >>= 1) x = larger(stack_[--depth_], x);
        stack_[depth_++] = x;
    }
    T end() {
        while (depth_ > 1) {
            --depth_;
            stack_[depth_ - 1] = larger(stack_[depth_ - 1], stack_[depth_]);
        }
        const T all = stack_[0];
        depth_ = 0, count_ = 0;
        return all;
    }

  private:
    T stack_[32];
    int depth_ = 0;
    uint32_t count_ = 0;
};

template <bool MOMENTS> using Number = std::conditional_t<MOMENTS, Gauss, vf>;
template <bool MOMENTS> SZILARD_INLINE Number<MOMENTS> number(const float *mean, const float *variance, int64_t at) {
    if constexpr (MOMENTS)
        return Gauss{load(mean + at), load(variance + at)};
    else
        return load(mean + at);
}

template <bool MOMENTS> SZILARD_INLINE Number<MOMENTS> largest(const szilard_step &g, const float *mean,
                                                               const float *variance, int64_t tap, int64_t i) {
    if (g.kernel_h == 2 && g.kernel_w == 2)
        return larger(
            larger(number<MOMENTS>(mean, variance, i), number<MOMENTS>(mean, variance, i + tap)),
            larger(number<MOMENTS>(mean, variance, i + 2 * tap), number<MOMENTS>(mean, variance, i + 3 * tap)));
    Tree<Number<MOMENTS>> rows, row;
    for (int32_t y = 0; y < g.kernel_h; ++y) {
        for (int32_t x = 0; x < g.kernel_w; ++x)
            row.add(number<MOMENTS>(mean, variance, (y * g.kernel_w + x) * tap + i));
        rows.add(row.end());
    }
    return rows.end();
}

constexpr float LOSES = -1e30f;  // the mean of padding in max_pool

template <bool MOMENTS> void pool_example(const Step &step, const Value &in, Read x, Write y, float *work) {
    const szilard_step &g = step.given;
    const bool is_max = g.kind == SZILARD_STEP_MAX_POOL;
    const int64_t positions = (int64_t)g.height * g.width, group = pooled_channels(g), tap = tap_size(g, group);
    const int64_t window = (int64_t)g.kernel_h * g.kernel_w;
    const Frame frame{in.height,
                      in.width,
                      g.pad_top,
                      g.pad_left,
                      1,
                      1,
                      (g.height - 1) * g.stride_h + g.kernel_h,
                      (g.width - 1) * g.stride_w + g.kernel_w};
    float *plane = work, *mean = plane + (int64_t)frame.rows * frame.pitch + 3 * W * (int64_t)g.stride_w;
    float *variance = mean + window * tap, *share = variance + window * tap;
    if (!is_max)  // 1 / (positions of the window that count)
        for (int32_t oy = 0; oy < g.height; ++oy)
            for (int32_t ox = 0; ox < g.width; ++ox) {
                const int64_t top = (int64_t)oy * g.stride_h - g.pad_top, left = (int64_t)ox * g.stride_w - g.pad_left;
                const int64_t high = smaller(top + g.kernel_h, in.height) - (top > 0 ? top : 0);
                const int64_t wide = smaller(left + g.kernel_w, in.width) - (left > 0 ? left : 0);
                const int64_t counted = g.count_padding ? window : high * wide;
                share[oy * (int64_t)g.width + ox] = high > 0 && wide > 0 ? 1.0f / (float)counted : 0.0f;
            }
    for (int64_t first = 0; first < g.channels; first += group) {
        const int64_t n = smaller(group, g.channels - first);
        for (int64_t c = 0; c < n; ++c) {
            const int64_t from = (first + c) * in.height * in.width;
            copy_plane(x.mean + from, frame, 0, 0, is_max ? LOSES : 0.0f, plane);
            taps_of(g, plane, frame.pitch, mean + c * positions, tap);
            if (!MOMENTS) continue;
            copy_plane(x.variance + from, frame, 0, 0, 0.0f, plane);
            taps_of(g, plane, frame.pitch, variance + c * positions, tap);
        }
        float *m = y.mean + first * positions, *v = MOMENTS ? y.variance + first * positions : nullptr;
        for (int64_t i = 0; is_max && i < n * positions; i += W) {
            const int width = (int)smaller(W, n * positions - i);
            const Number<MOMENTS> most = largest<MOMENTS>(g, mean, variance, tap, i);
            if constexpr (MOMENTS)
                end<true>(most.mean, most.variance, vf{}, vf{}, g.relu, m + i, v + i, width);
            else
                end<false>(most, vf{}, vf{}, vf{}, g.relu, m + i, nullptr, width);
        }
        for (int64_t c = 0; !is_max && c < n; ++c)
            for (int64_t i = 0; i < positions; i += W) {
                const int width = (int)smaller(W, positions - i);
                const int64_t at = c * positions + i;
                vf sum = {}, spread = {};
                for (int64_t k = 0; k < window; ++k) {
                    sum += load(mean + k * tap + at);
                    if (MOMENTS) spread += load(variance + k * tap + at);
                }
                const vf part = load_first(share + i, width);
                store_first(m + at, sum * part, width);
                if (MOMENTS) store_first(v + at, spread * part * part, width);
            }
    }
}

inline void global_average(const Value &in, int64_t planes, Read x, Write y) {
    const int64_t n = (int64_t)in.height * in.width;
    const float share = 1.0f / (float)n;
    auto mean_of = [&](const float *p) {
        vf all = {};
        over_vectors(n, [&](int64_t i, int width) SZILARD_INLINED { all += load_first(p + i, width); });
        return sum(all) * share;
    };
    for (int64_t c = 0; c < planes; ++c) {
        y.mean[c] = mean_of(x.mean + c * n);
        if (y.variance) y.variance[c] = mean_of(x.variance + c * n) * share;
    }
}

// y[i] = f(x[i], ...) for vectors; the first function for moments, the second for numbers.
template <class Moments, class Plain> inline void each(int64_t n, Write y, Moments &&moments, Plain &&plain) {
    if (!y.variance)
        return over_vectors(
            n, [&](int64_t i, int width) SZILARD_INLINED { store_first(y.mean + i, plain(i, width), width); });
    over_vectors(n, [&](int64_t i, int width) SZILARD_INLINED {
        const Gauss g = moments(i, width);
        store_first(y.mean + i, g.mean, width);
        store_first(y.variance + i, g.variance, width);
    });
}
SZILARD_INLINE Gauss gauss(Read x, int64_t i, int width) {
    return {load_first(x.mean + i, width), x.variance ? load_first(x.variance + i, width) : vf{}};
}

// Outputs of a plane after plane; affine is by channel.
inline void affine(const Step &step, const Value &in, int batch, Read x, Write y) {
    const int64_t n = (int64_t)in.height * in.width;
    const bool rectified = step.given.relu != 0;
    for (int64_t plane = 0; plane < (int64_t)batch * in.channels; ++plane) {
        const int64_t c = plane % in.channels;
        const float a = step.scale[c], b = step.bias[c];
        const Read from{x.mean + plane * n, x.variance ? x.variance + plane * n : nullptr};
        each(
            n, {y.mean + plane * n, y.variance ? y.variance + plane * n : nullptr},
            [&](int64_t i, int width) {
                const Gauss g = gauss(from, i, width);
                const Gauss scaled{a * g.mean + b, a * a * g.variance};
                return rectified ? relu(scaled) : scaled;
            },
            [&](int64_t i, int width) {
                const vf scaled = a * load_first(from.mean + i, width) + b;
                return rectified ? relu(scaled) : scaled;
            });
    }
}

inline void add(const Step &step, int64_t n, Read a, Read b, Write y) {
    const bool rectified = step.given.relu != 0;
    each(
        n, y,
        [&](int64_t i, int width) {
            const Gauss p = gauss(a, i, width), q = gauss(b, i, width), both{p.mean + q.mean, p.variance + q.variance};
            return rectified ? relu(both) : both;
        },
        [&](int64_t i, int width) {
            const vf both = load_first(a.mean + i, width) + load_first(b.mean + i, width);
            return rectified ? relu(both) : both;
        });
}

inline void activation(const Step &step, int64_t n, Read x, Write y) {
    auto of = [&](auto moments, auto plain) {
        each(
            n, y, [&](int64_t i, int width) { return moments(gauss(x, i, width)); },
            [&](int64_t i, int width) { return plain(load_first(x.mean + i, width)); });
    };
    auto quadrature = [&](auto f) { of([f](Gauss g) { return by_quadrature(g, f); }, f); };
    const float slope = step.given.slope;
    switch (step.given.activation) {
        case SZILARD_RELU: return of([](Gauss g) { return relu(g); }, [](vf v) { return relu(v); });
        case SZILARD_LEAKY_RELU:
            return of(
                [slope](Gauss g) {
                    vf upper;
                    const Gauss r = relu(g, &upper);
                    const float rest = 1.0f - slope;  // s x + (1 - s) relu(x), whose covariance is v Phi(z)
                    return Gauss{slope * g.mean + rest * r.mean,
                                 at_least_zero(slope * slope * g.variance + rest * rest * r.variance +
                                               2 * slope * rest * g.variance * upper)};
                },
                [slope](vf v) { return select((vi)(v < 0.0f), slope * v, v); });
        case SZILARD_SIGMOID: return quadrature(Sigmoid());
        case SZILARD_TANH: return quadrature(Tanh());
        case SZILARD_GELU: return quadrature(Gelu());
        default: return quadrature(Silu());
    }
}

// Each output channel is a subsampled input channel, or zero.
inline void channels(const Step &step, const Value &in, const float *x, float *y) {
    const szilard_step &g = step.given;
    const int64_t positions = (int64_t)g.height * g.width, from = (int64_t)in.height * in.width;
    for (int64_t o = 0; o < g.channels; ++o) {
        const int64_t c = o - g.offset;
        float *to = y + o * positions;
        if (c < 0 || c >= in.channels) {
            zero(to, positions);
            continue;
        }
        for (int64_t row = 0; row < g.height; ++row)
            copy_strided(x + c * from + row * g.stride_h * in.width, g.stride_w, g.width, to + row * g.width);
    }
}

}  // namespace
}  // namespace one_input
