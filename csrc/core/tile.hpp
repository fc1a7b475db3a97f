// The batch in tiles of vectors, and rows in parts of equal work.
#pragma once
#include <stdlib.h>

#include <type_traits>

#include "parallel.hpp"
#include "simd.hpp"

#define SZILARD_INLINE inline __attribute__((always_inline))
#define SZILARD_INLINED __attribute__((always_inline))  // of a lambda

namespace {

inline void zero(float *p, int64_t n) {
    if (n > 0) memset(p, 0, sizeof(float) * (size_t)n);
}

template <int V> using Vectors = std::integral_constant<int, V>;

// body(Vectors<V>, start, width) for consecutive tiles of `width` floats, V <= MOST vectors each. V is known to the
// compiler, so that accumulators are registers; only the last tile may be narrower than its one vector.
template <int MOST = NV, class Body> inline void over_tiles(int64_t length, Body &&body) {
    int64_t start = 0;
    for (; length - start >= W * MOST; start += W * MOST) body(Vectors<MOST>(), start, W * MOST);
    if constexpr (MOST > 4)
        for (; length - start >= W * 4; start += W * 4) body(Vectors<4>(), start, W * 4);
    for (; length - start >= W * 2; start += W * 2) body(Vectors<2>(), start, W * 2);
    for (; length - start > 0; start += W)
        body(Vectors<1>(), start, length - start < W ? (int)(length - start) : W);
}

// Vector k of a tile.
template <int V> SZILARD_INLINE vf part(const float *p, int k, int width) {
    return V > 1 || width == W ? load(p + k * W) : load_first(p, width);
}
template <int V> SZILARD_INLINE void put(float *p, int k, int width, vf v) {
    if (V > 1 || width == W)
        store(p + k * W, v);
    else
        store_first(p, v, width);
}

// body(first, last) over parts of [0, rows) of about equal work, where row i has crow[i + 1] - crow[i] entries and
// costs `fixed` more entries.
template <class Body>
inline void over_rows(int32_t rows, const int32_t *crow, int64_t fixed, int threads, Body &&body) {
    const int64_t parts = threads > 1 ? 8 * (int64_t)threads : 1;
    const int64_t total = crow[rows] + fixed * rows;
    auto boundary = [&](int64_t k) {
        int32_t low = 0, high = rows;
        while (low < high) {
            const int32_t middle = low + (high - low) / 2;
            if ((crow[middle] + fixed * middle) * parts < total * k)
                low = middle + 1;
            else
                high = middle;
        }
        return low;
    };
    parallel(parts, threads, [&](int64_t k) {
        const int32_t first = k ? boundary(k) : 0, last = k + 1 < parts ? boundary(k + 1) : rows;
        if (first < last) body(first, last);
    });
}

}  // namespace
