// The levels of a random record of a .szd file: szilard/file/random.py is the same in Python, and docs/format.md
// defines them.
#include <stdint.h>

#include <algorithm>
#include <memory>
#include <new>

#include "check.hpp"
#include "isa.hpp"
#include "szilard.h"

namespace {

constexpr int DIGIT = 7;         // bits of a key that one pass within a bucket sorts by
constexpr int MOST_BUCKETS = 11;  // bits
constexpr int BUCKET = 10;       // log2 of the entries of a bucket, so that it stays in the first-level cache
constexpr int64_t PIECE = 4096;

struct Keyed {
    uint32_t key, entry;
};

// Sorts entries by the low `bits` bits of their keys, stable: a radix sort, least digits first. The result is in the
// input array; `spare` has the same length.
void sort_bucket(Keyed *begin, int64_t count, int bits, Keyed *spare) {
    Keyed *from = begin, *to = spare;
    for (int shift = 0; shift < bits; shift += DIGIT) {
        uint32_t starts[(1 << DIGIT) + 1] = {};
        for (int64_t i = 0; i < count; ++i) ++starts[(from[i].key >> shift & ((1 << DIGIT) - 1)) + 1];
        for (int i = 0; i < 1 << DIGIT; ++i) starts[i + 1] += starts[i];
        for (int64_t i = 0; i < count; ++i) to[starts[from[i].key >> shift & ((1 << DIGIT) - 1)]++] = from[i];
        std::swap(from, to);
    }
    if (from != begin) std::copy(from, from + count, begin);
}

// Sorts all entries by their keys: first into buckets by their high bits, then within each bucket.
void sort_all(const uint32_t *keys, int64_t count, Keyed *order, Keyed *spare) {
    int high = 0;
    while (high < MOST_BUCKETS && count >> (high + BUCKET)) ++high;
    const int low = 32 - high;
    uint32_t ends[1 << MOST_BUCKETS] = {};
    const auto bucket = [&](uint32_t key) { return high ? key >> low : 0; };
    for (int64_t i = 0; i < count; ++i) ++ends[bucket(keys[i])];
    uint32_t at = 0;
    for (int b = 0; b < 1 << high; ++b) {
        const uint32_t size = ends[b];
        ends[b] = at;
        at += size;
    }
    for (int64_t i = 0; i < count; ++i) order[ends[bucket(keys[i])]++] = {keys[i], (uint32_t)i};
    uint32_t begin = 0;
    for (int b = 0; b < 1 << high; ++b) {
        sort_bucket(order + begin, ends[b] - begin, low, spare);
        begin = ends[b];
    }
}

}  // namespace

int szilard_draw(int64_t count, int32_t size, const uint32_t *indices, int64_t blocks, uint32_t seed, int32_t *levels,
                 int64_t levels_room) {
    if (count < 0 || count > INT32_MAX || size < 1 || blocks < (count + size - 1) / size || (blocks && !indices))
        return SZILARD_BAD_GEOMETRY;
    if (!szilard_fits(levels, levels_room, count)) return SZILARD_NO_ROOM;
    const std::unique_ptr<Keyed[]> order(new (std::nothrow) Keyed[(size_t)count]);
    const std::unique_ptr<Keyed[]> spare(new (std::nothrow) Keyed[(size_t)count]);
    if (!order || !spare) return SZILARD_NO_MEMORY;
    const szilard_kernels &kernels = szilard_running();
    uint32_t *keys = reinterpret_cast<uint32_t *>(levels);  // uses the memory of the levels, which are not written yet
    kernels.draw_keys(seed, 0, count, keys);
    sort_all(keys, count, order.get(), spare.get());
    uint32_t candidates[PIECE];
    int32_t drawn[PIECE];
    int64_t block = 0, left = size;  // of the block of the next position
    for (int64_t first = 0; first < count; first += PIECE) {
        const int64_t n = std::min(PIECE, count - first);
        for (int64_t i = 0; i < n; ++i) {
            candidates[i] = indices[block];
            if (!--left) ++block, left = size;
        }
        kernels.draw_levels(seed, first, n, candidates, drawn);
        for (int64_t i = 0; i < n; ++i) levels[order[first + i].entry] = drawn[i];
    }
    return SZILARD_OK;
}
