// Sparse linear maps of 1 to 8 inputs.
//
// One input without variances: rows in the lanes of a vector, inputs gathered; if many inputs are zero, columns are
// added to the outputs instead, and those of zeros are skipped. Otherwise each entry is one product of short vectors:
// the numbers of an input (mean, variance, second moment; all examples) are next to each other, and the weight has the
// same order. So the moments of one input cost what its mean costs by gathers. Measured on Zen 4 with 1024 x 1024, a
// twentieth of the entries: 19 us by gathers, 29 us by scalar rows, 22 us by columns (12 us with half of the inputs
// zero); moments 20 us, and 52 us by gathers.
#pragma once
#include "dense_linear.hpp"

namespace one_input {
namespace {

#if defined(__AVX512F__)
inline vf gathered(const float *x, const uint16_t *col) {
    return (vf)_mm512_i32gather_ps(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)col)), x, 4);
}
inline vf gathered(const float *x, const int32_t *col) {
    return (vf)_mm512_i32gather_ps(_mm512_loadu_si512(col), x, 4);
}
#elif defined(__AVX2__)
inline vf gathered(const float *x, const uint16_t *col) {
    return (vf)_mm256_i32gather_ps(x, _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)col)), 4);
}
inline vf gathered(const float *x, const int32_t *col) {
    return (vf)_mm256_i32gather_ps(x, _mm256_loadu_si256((const __m256i *)col), 4);
}
#else
template <class Col> inline vf gathered(const float *x, const Col *col) {
    vf v;
    for (int lane = 0; lane < W; ++lane) v[lane] = x[col[lane]];
    return v;
}
#endif

template <class Col>
void rows_in_lanes(const szilard_inference::Sparse &a, int32_t slices, const float *x, float *y, int threads) {
    constexpr int R = LANES / W;
    const int64_t group = threads > 1 ? (slices + 4 * threads - 1) / (4 * threads) : slices;
    parallel(group ? (slices + group - 1) / group : 0, threads, [&](int64_t task) {
        const FlushDenormals flush;  // in each thread
        for (int64_t slice = task * group; slice < smaller(slices, (task + 1) * group); ++slice) {
            const float *w = a.lanes + (int64_t)a.start[slice] * LANES;
            const Col *col = (const Col *)a.lane_col + (int64_t)a.start[slice] * LANES;
            const int32_t n = a.start[slice + 1] - a.start[slice];
            vf sums[2][R] = {};
            int32_t k = 0;
            for (; k + 2 <= n; k += 2)
                for (int u = 0; u < 2; ++u)
                    for (int r = 0; r < R; ++r) {
                        const int64_t at = (int64_t)(k + u) * LANES + r * W;
                        sums[u][r] += load(w + at) * gathered(x, col + at);
                    }
            if (k < n)
                for (int r = 0; r < R; ++r) {
                    const int64_t at = (int64_t)k * LANES + r * W;
                    sums[0][r] += load(w + at) * gathered(x, col + at);
                }
            float found[LANES];
            for (int r = 0; r < R; ++r) store(found + r * W, sums[0][r] + sums[1][r]);
            for (int lane = 0; lane < LANES; ++lane)
                if (a.order[slice * LANES + lane] >= 0) y[a.order[slice * LANES + lane]] = found[lane];
        }
    });
}

template <class Col>
void columns(const szilard_inference::Sparse &a, int32_t rows, int32_t cols, const float *x, float *y) {
    zero(y, rows);
    const Col *row = (const Col *)a.t_row;
    for (int32_t j = 0; j < cols; ++j) {
        const float factor = x[j];
        if (factor == 0.0f) continue;
        for (int32_t p = a.t_crow[j]; p < a.t_crow[j + 1]; ++p) y[row[p]] += a.t_weight[p] * factor;
    }
}

// Vectors of L floats that repeat the 4 floats (or the one) of a weight.
template <int L> struct Short {
    typedef float type __attribute__((vector_size(4 * L)));
    typedef float anywhere __attribute__((vector_size(4 * L), aligned(4), may_alias));
};
template <int L, bool FOUR> SZILARD_INLINE void repeat(const float *w, typename Short<L>::type &all) {
    typedef typename Short<L>::type Vector;
    if constexpr (!FOUR) {
        all = Vector{} + *w;
        return;
    }
    if constexpr (L == 4) {
        all = *(const typename Short<L>::anywhere *)w;
        return;
    }
#if defined(__AVX512F__)
    if constexpr (L == 16) {
        all = (Vector)_mm512_broadcast_f32x4(_mm_loadu_ps(w));
        return;
    }
#endif
#if defined(__AVX2__)
    if constexpr (L == 8) {
        all = (Vector)_mm256_broadcast_ps((const __m128 *)w);
        return;
    }
#endif
    for (int i = 0; i < L; ++i) all[i] = w[i % 4];
}

// found[row][N * L]: products of N vectors of L floats. The weight of a moments' entry is mean, mean^2, variance; the
// float after them, which is read too, meets a zero.
template <class Col, int L, int N, bool FOUR>
void entries(const szilard_inference::Sparse &a, int32_t rows, const float *x, float *found, int threads) {
    typedef typename Short<L>::type Vector;
    typedef typename Short<L>::anywhere Anywhere;
    constexpr int STEP = FOUR ? 3 : 1, U = N == 1 ? 4 : N == 2 ? 2 : 1;
    over_rows(rows, a.crow, 8, threads, [&](int32_t first, int32_t last) {
        const Col *col = (const Col *)a.col;
        for (int32_t i = first; i < last; ++i) {
            Vector sums[U][N] = {};
            auto add = [&](int u, int32_t p) __attribute__((always_inline)) {
                Vector w;
                repeat<L, FOUR>(a.weight + (int64_t)p * STEP, w);
                for (int k = 0; k < N; ++k) sums[u][k] += w * *(const Anywhere *)(x + ((int64_t)col[p] * N + k) * L);
            };
            int32_t p = a.crow[i];
            for (; p + U <= a.crow[i + 1]; p += U)
                for (int u = 0; u < U; ++u) add(u, p + u);
            for (; p < a.crow[i + 1]; ++p) add(0, p);
            for (int k = 0; k < N; ++k) {
                for (int u = 1; u < U; ++u) sums[0][k] += sums[u][k];
                *(Anywhere *)(found + ((int64_t)i * N + k) * L) = sums[0][k];
            }
        }
    });
}

// Bias and ReLU of outputs [batch][rows] in place.
inline void end_rows(Write y, int batch, int32_t rows, const Ending &ending) {
    for (int b = 0; b < batch; ++b)
        for (int32_t o = 0; o < rows; o += W) {
            const int n = (int)smaller(W, rows - o);
            float *m = y.mean + (int64_t)b * rows + o, *v = y.variance ? y.variance + (int64_t)b * rows + o : nullptr;
            const vf bias = load(ending.bias + o), bias_variance = load(ending.bias_variance + o);
            if (v)
                end<true>(load_first(m, n), load_first(v, n), bias, bias_variance, ending.relu, m, v, n);
            else
                end<false>(load_first(m, n), vf{}, bias, bias_variance, ending.relu, m, nullptr, n);
        }
}

template <class Col, int B>
void sparse_linear(const szilard_inference::Step &step, Random random, Read x, Write y, float *work, int threads) {
    const int32_t rows = step.given.rows, cols = step.given.cols;
    if (step.given.nnz < 1 << 16) threads = 1;
    const szilard_inference::Sparse &a = step.rows;
    if (random == NOTHING && B == 1) {
        if (zeros(x.mean, nullptr, cols) * 10 > 3 * (int64_t)cols)
            columns<Col>(a, rows, cols, x.mean, y.mean);
        else
            rows_in_lanes<Col>(a, a.slices, x.mean, y.mean, threads);
        if (y.variance) zero(y.variance, rows);
    } else if (random == NOTHING) {
        constexpr int L = B <= 4 ? 4 : 8;
        for (int32_t i = 0; i < cols; ++i)
            for (int b = 0; b < L; ++b) work[(int64_t)i * L + b] = b < B ? x.mean[(int64_t)b * cols + i] : 0.0f;
        float *found = work + (int64_t)cols * L;
        entries<Col, L, 1, false>(a, rows, work, found, threads);
        for (int b = 0; b < B; ++b)
            for (int32_t i = 0; i < rows; ++i) y.mean[(int64_t)b * rows + i] = found[(int64_t)i * L + b];
        if (y.variance) zero(y.variance, (int64_t)B * rows);
    } else {
        constexpr int NEED = 4 * B, L = NEED < W ? (NEED <= 4 ? 4 : 8) : W, N = (NEED + L - 1) / L, ALL = N * L;
        for (int32_t i = 0; i < cols; ++i) {
            float *to = work + (int64_t)i * ALL;
            for (int b = 0; b < ALL / 4; ++b) {
                const float m = b < B ? x.mean[(int64_t)b * cols + i] : 0.0f;
                const float v = b < B && x.variance ? x.variance[(int64_t)b * cols + i] : 0.0f;
                to[4 * b] = m, to[4 * b + 1] = v, to[4 * b + 2] = v + m * m, to[4 * b + 3] = 0.0f;
            }
        }
        float *found = work + (int64_t)cols * ALL;
        entries<Col, L, N, true>(a, rows, work, found, threads);
        for (int b = 0; b < B; ++b)
            for (int32_t i = 0; i < rows; ++i) {
                const float *from = found + (int64_t)i * ALL + 4 * b;
                y.mean[(int64_t)b * rows + i] = from[0];
                y.variance[(int64_t)b * rows + i] = from[1] + from[2];
            }
    }
    end_rows(y, B, rows, {step.bias, step.bias_variance, step.given.relu != 0});
}

template <int B>
void linear_of(const szilard_inference::Step &step, Random random, Read x, Write y, float *work, int threads) {
    if (!step.sparse)
        dense_linear<B>(step, random, x, y, work, threads);
    else if (step.rows.narrow)
        sparse_linear<uint16_t, B>(step, random, x, y, work, threads);
    else
        sparse_linear<int32_t, B>(step, random, x, y, work, threads);
}

// A linear step of a batch of 1 to 8.
inline void linear_step(const szilard_inference::Step &step, int batch, Random random, Read x, Write y, float *work,
                        int threads) {
    switch (batch) {
        case 1: return linear_of<1>(step, random, x, y, work, threads);
        case 2: return linear_of<2>(step, random, x, y, work, threads);
        case 3: return linear_of<3>(step, random, x, y, work, threads);
        case 4: return linear_of<4>(step, random, x, y, work, threads);
        case 5: return linear_of<5>(step, random, x, y, work, threads);
        case 6: return linear_of<6>(step, random, x, y, work, threads);
        case 7: return linear_of<7>(step, random, x, y, work, threads);
        default: return linear_of<8>(step, random, x, y, work, threads);
    }
}

}  // namespace
}  // namespace one_input
