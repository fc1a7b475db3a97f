// Dense linear maps of 1 to 8 inputs: weights in blocks of 16 outputs, each weight read once for all inputs.
#pragma once
#include "flush_denormals.hpp"
#include "gaussian.hpp"
#include "plan.hpp"

namespace one_input {
namespace {

using szilard_inference::LANES;

// What is random: nothing; the weight; the weight and the input. Without the input's variance a third of the work is
// left out.
enum Random { NOTHING = 0, WEIGHT = 1, BOTH = 2 };

// A value's numbers; variance is null if it is deterministic.
struct Read {
    const float *mean, *variance;
};
struct Write {
    float *mean, *variance;
};
// What follows the sum; bias [channels] and its variance, zero where there is none.
struct Ending {
    const float *bias, *bias_variance;
    bool relu;
};

// Inputs as the sums read them, [inputs][stride]: mean, variance, variance + mean^2. `list` holds the inputs that are
// not zero in all examples, or is null: all of them.
struct Features {
    const float *mean, *variance, *second;
    const int32_t *list;
    int64_t stride;
    int32_t n;
};

// Sums over the inputs for W outputs; `weight` is [n][1 or 2][16] from the first of these outputs on.
template <int B, Random R, bool LISTED>
SZILARD_INLINE void dense_sums(const float *weight, const Features &x, vf *mean, vf *variance) {
    constexpr int STEP = R == NOTHING ? LANES : 2 * LANES;
    constexpr int ALL = R == NOTHING && NV >= 8 ? 8 : 4, U = B < ALL ? ALL / B : 1;  // independent sums
    vf m[U][B] = {}, v[U][B] = {};
    auto add = [&](int u, int32_t k) __attribute__((always_inline)) {
        const float *w = weight + (int64_t)(LISTED ? x.list[k] : k) * STEP;
        const vf a = load(w);
        if constexpr (R == NOTHING) {
            for (int b = 0; b < B; ++b) m[u][b] += a * x.mean[b * x.stride + k];
        } else {
            const vf s = load(w + LANES), square = a * a;
            for (int b = 0; b < B; ++b) {
                m[u][b] += a * x.mean[b * x.stride + k];
                if constexpr (R == BOTH) v[u][b] += square * x.variance[b * x.stride + k];
                v[u][b] += s * x.second[b * x.stride + k];
            }
        }
    };
    int32_t k = 0;
    for (; k + U <= x.n; k += U)
        for (int u = 0; u < U; ++u) add(u, k + u);
    for (; k < x.n; ++k) add(0, k);
    for (int b = 0; b < B; ++b) {
        mean[b] = m[0][b], variance[b] = v[0][b];
        for (int u = 1; u < U; ++u) mean[b] += m[u][b], variance[b] += v[u][b];
    }
}

// The end of n <= W outputs: bias and ReLU, then memory.
template <bool MOMENTS>
SZILARD_INLINE void end(vf mean, vf variance, vf bias, vf bias_variance, bool rectified, float *m, float *v, int n) {
    mean += bias;
    if constexpr (MOMENTS) {
        Gauss y{mean, variance + bias_variance};
        if (rectified) y = relu(y);
        store_first(m, y.mean, n);
        store_first(v, y.variance, n);
    } else {
        store_first(m, rectified ? relu(mean) : mean, n);
    }
}

template <int B, Random R, bool LISTED> void dense_linear(const float *weight, const Features &x, int32_t cols,
                                                          int32_t rows, const Ending &ending, Write y, int threads) {
    constexpr int64_t STEP = R == NOTHING ? LANES : 2 * LANES;
    const int32_t blocks = (rows + LANES - 1) / LANES;
    const int64_t group = threads > 1 ? (blocks + 4 * threads - 1) / (4 * threads) : blocks;
    parallel(group ? (blocks + group - 1) / group : 0, threads, [&](int64_t task) {
        const FlushDenormals flush;  // in each thread
        for (int64_t block = task * group; block < smaller(blocks, (task + 1) * group); ++block)
            for (int part = 0; part < LANES && block * LANES + part < rows; part += W) {
                vf mean[B], variance[B];
                dense_sums<B, R, LISTED>(weight + block * cols * STEP + part, x, mean, variance);
                const int64_t o = block * LANES + part;
                const int n = (int)smaller(W, rows - o);
                const vf bias = load(ending.bias + o), bias_variance = load(ending.bias_variance + o);
                for (int b = 0; b < B; ++b)
                    if (y.variance)
                        end<true>(mean[b], variance[b], bias, bias_variance, ending.relu, y.mean + b * rows + o,
                                  y.variance + b * rows + o, n);
                    else
                        end<false>(mean[b], variance[b], bias, bias_variance, ending.relu, y.mean + b * rows + o,
                                   nullptr, n);
            }
    });
}

inline int64_t zeros(const float *mean, const float *variance, int64_t n) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; ++i) count += mean[i] == 0.0f && (!variance || variance[i] == 0.0f);
    return count;
}

// Inputs that are not zero everywhere, moved together; returns how many.
inline int32_t nonzeros(Read x, int batch, int32_t n, float *mean, float *variance, int32_t *list) {
    int32_t found = 0;
#if defined(__AVX512F__)
    for (int32_t i = 0; i < n; i += W) {
        const int width = (int)smaller(W, n - i);
        __mmask16 some = 0;
        for (int b = 0; b < batch; ++b) {
            const vf m = load_first(x.mean + (int64_t)b * n + i, width);
            some |= _mm512_cmp_ps_mask((__m512)m, _mm512_setzero_ps(), _CMP_NEQ_UQ);
            if (x.variance)
                some |= _mm512_cmp_ps_mask((__m512)load_first(x.variance + (int64_t)b * n + i, width),
                                           _mm512_setzero_ps(), _CMP_NEQ_UQ);
        }
        const __m512i place = _mm512_add_epi32(_mm512_set1_epi32(i),
                                               _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
        _mm512_storeu_si512(list + found, _mm512_maskz_compress_epi32(some, place));
        for (int b = 0; b < batch; ++b) {
            const int64_t at = (int64_t)b * n;
            // Not past the row of this example: the next one's numbers are there already only if it comes first.
            const int room = (int)smaller(W, n - found);
            store_first(mean + at + found,
                        (vf)_mm512_maskz_compress_ps(some, (__m512)load_first(x.mean + at + i, width)), room);
            if (x.variance)
                store_first(variance + at + found,
                            (vf)_mm512_maskz_compress_ps(some, (__m512)load_first(x.variance + at + i, width)), room);
        }
        found += __builtin_popcount(some);
    }
#else
    for (int32_t i = 0; i < n; ++i) {
        bool some = false;
        for (int b = 0; b < batch; ++b) {
            const int64_t at = (int64_t)b * n;
            const float m = x.mean[at + i], v = x.variance ? x.variance[at + i] : 0.0f;
            some |= m != 0.0f || v != 0.0f;
            mean[at + found] = m;
            if (x.variance) variance[at + found] = v;
        }
        list[found] = i;
        found += some;
    }
#endif
    return found;
}

template <int B, Random R>
void dense_linear(const szilard_inference::Step &step, Read x, Write y, float *work, int threads) {
    const int32_t rows = step.given.rows, cols = step.given.cols;
    const int64_t all = (int64_t)B * cols;
    float *mean = work, *variance = mean + all + W, *second = variance + all + W;
    int32_t *list = (int32_t *)(second + all + W);
    Features features{x.mean, x.variance, second, nullptr, cols, cols};
    if (zeros(x.mean, x.variance, all) * 8 > all) {
        features = {mean, variance, second, list, cols, nonzeros(x, B, cols, mean, variance, list)};
    }
    if constexpr (R != NOTHING)
        for (int b = 0; b < B; ++b)
            for (int32_t i = 0; i < features.n; ++i) {
                const float m = features.mean[b * features.stride + i];
                second[b * features.stride + i] =
                    m * m + (R == BOTH ? features.variance[b * features.stride + i] : 0.0f);
            }
    const Ending ending{step.bias, step.bias_variance, step.given.relu != 0};
    if ((int64_t)rows * cols < 1 << 17) threads = 1;
    if (features.list)
        dense_linear<B, R, true>(step.dense.weight, features, cols, rows, ending, y, threads);
    else
        dense_linear<B, R, false>(step.dense.weight, features, cols, rows, ending, y, threads);
}

template <int B>
void dense_linear(const szilard_inference::Step &step, Random random, Read x, Write y, float *work, int threads) {
    if (random == NOTHING)
        dense_linear<B, NOTHING>(step, x, y, work, threads);
    else if (random == WEIGHT)
        dense_linear<B, WEIGHT>(step, x, y, work, threads);
    else
        dense_linear<B, BOTH>(step, x, y, work, threads);
}

}  // namespace
}  // namespace one_input
