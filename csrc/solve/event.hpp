// Product of codes of few entries with a dense matrix. The entries of each sample are listed once. Then, one panel of
// columns after the other, each sample sums its rows in registers: the panel of all rows stays in the second-level
// cache, where the other samples of the task find it.
#pragma once
#include "tile.hpp"

namespace solve {
namespace {

constexpr int64_t BLOCK = 256;  // samples of one task, at most
constexpr int PANEL = 8;        // vectors of a panel

// The entries of one code that are not zero, in scratch memory of event_words(n) numbers.
struct Events {
    int32_t *count, *place;
    float *value;
    Events(float *scratch, int32_t n) : count((int32_t *)scratch), place(count + 1), value(scratch + 1 + n) {}
};

inline int64_t event_words(int32_t n) { return 1 + 2 * (int64_t)n; }

inline int64_t event_block(int64_t batch, int threads) {
    const int64_t each = threads > 1 ? (batch + threads - 1) / threads : batch;
    return each < BLOCK ? each : BLOCK;
}

// Floats of scratch that event_product needs.
inline int64_t event_scratch(int64_t batch, int32_t n, int threads) {
    const int64_t together = (threads > 1 ? threads : 1) * event_block(batch, threads);
    return (together < batch ? together : batch) * event_words(n);
}

// Bit i is set if lane i is not zero; NaN is not.
inline uint32_t nonzero(vf v) {
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask((__m512)v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
#elif defined(__AVX2__)
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps((__m256)v, _mm256_setzero_ps(), _CMP_NEQ_UQ));
#else
    uint32_t bits = 0;
    for (int lane = 0; lane < W; ++lane) bits |= (uint32_t)(v[lane] != 0.0f) << lane;
    return bits;
#endif
}

inline void list_events(const float *x, int32_t n, const Events &events) {
    int32_t count = 0;
    over_tiles<1>(n, [&](auto, int64_t start, int width) {
        for (uint32_t bits = nonzero(part<1>(x + start, 0, width)); bits; bits &= bits - 1) {
            const int32_t place = (int32_t)start + __builtin_ctz(bits);
            events.place[count] = place;
            events.value[count++] = x[place];
        }
    });
    *events.count = count;
}

// y[b] for the samples of one task.
inline void sum_events(int64_t samples, int32_t n, int64_t m, const float *rows, float *y, float *scratch) {
    over_tiles<PANEL>(m, [&](auto vectors, int64_t start, int width) {
        constexpr int V = decltype(vectors)::value;
        for (int64_t b = 0; b < samples; ++b) {
            const Events events(scratch + b * event_words(n), n);
            vf total[V] = {};
            for (int32_t e = 0; e < *events.count; ++e) {
                const float *row = rows + events.place[e] * m + start;
                for (int k = 0; k < V; ++k) total[k] += events.value[e] * part<V>(row, k, width);
            }
            for (int k = 0; k < V; ++k) put<V>(y + b * m + start, k, width, total[k]);
        }
    });
}

void event_product(int64_t batch, int32_t n, int64_t m, const float *x, const float *rows, float *y, float *scratch,
                   int threads) {
    const int64_t block = event_block(batch, threads), together = (threads > 1 ? threads : 1) * block;
    for (int64_t first = 0; first < batch; first += together) {
        const int64_t here = batch - first < together ? batch - first : together;
        parallel((here + block - 1) / block, threads, [&](int64_t task) {
            const int64_t begin = task * block, samples = here - begin < block ? here - begin : block;
            float *const lists = scratch + begin * event_words(n);
            for (int64_t b = 0; b < samples; ++b)
                list_events(x + (first + begin + b) * n, n, Events(lists + b * event_words(n), n));
            sum_events(samples, n, m, rows, y + (first + begin) * m, lists);
        });
    }
}

}  // namespace
}  // namespace solve
