// The levels of a random record of a .szd file: szilard/file/random.py is the same in Python, and docs/format.md says what they are.
#include <stdint.h>

#include <algorithm>
#include <memory>
#include <new>

#include "check.hpp"
#include "szilard.h"

namespace {

constexpr int LANES = 16;  // counters at a time, so that the compiler may take vectors
constexpr int DIGIT = 11, DIGITS = 3;  // of a key of 32 bits

// Philox4x32-10 of the counters (first + lane, b[lane], 0, d) under the key (seed, 0).
void philox(uint32_t first, const uint32_t *b, uint32_t d, uint32_t seed, uint32_t (&words)[4][LANES]) {
    for (int i = 0; i < LANES; ++i) {
        words[0][i] = first + (uint32_t)i;
        words[1][i] = b ? b[i] : 0;
        words[2][i] = 0;
        words[3][i] = d;
    }
    uint32_t low = seed, high = 0;
    for (int round = 0; round < 10; ++round) {
        for (int i = 0; i < LANES; ++i) {
            const uint64_t m = (uint64_t)words[0][i] * 0xD2511F53u, n = (uint64_t)words[2][i] * 0xCD9E8D57u;
            words[0][i] = (uint32_t)(n >> 32) ^ words[1][i] ^ low;
            words[1][i] = (uint32_t)n;
            words[2][i] = (uint32_t)(m >> 32) ^ words[3][i] ^ high;
            words[3][i] = (uint32_t)m;
        }
        low += 0x9E3779B9u;
        high += 0xBB67AE85u;
    }
}

struct Keyed {
    uint32_t key, entry;
};

// Entries in ascending order of their keys, equal ones in their own order: a radix sort, least digits first.
Keyed *sorted(Keyed *one, Keyed *other, int64_t count) {
    for (int digit = 0; digit < DIGITS; ++digit) {
        const int shift = digit * DIGIT;
        int64_t starts[(1 << DIGIT) + 1] = {};
        for (int64_t i = 0; i < count; ++i) ++starts[(one[i].key >> shift & ((1 << DIGIT) - 1)) + 1];
        for (int i = 0; i < 1 << DIGIT; ++i) starts[i + 1] += starts[i];
        for (int64_t i = 0; i < count; ++i) other[starts[one[i].key >> shift & ((1 << DIGIT) - 1)]++] = one[i];
        std::swap(one, other);
    }
    return one;
}

int32_t sum(uint32_t word) {
    const uint32_t pairs = (word & 0x00FF00FFu) + (word >> 8 & 0x00FF00FFu);
    return (int32_t)((pairs & 0xFFFF) + (pairs >> 16));
}

}  // namespace

int szilard_draw(int64_t count, int32_t size, const uint32_t *indices, int64_t blocks, uint32_t seed, int32_t *levels,
                 int64_t levels_room) {
    if (count < 0 || count > INT32_MAX || size < 1 || blocks < (count + size - 1) / size || (blocks && !indices))
        return SZILARD_BAD_GEOMETRY;
    if (!szilard_fits(levels, levels_room, count)) return SZILARD_NO_ROOM;
    const std::unique_ptr<Keyed[]> one(new (std::nothrow) Keyed[(size_t)count]);
    const std::unique_ptr<Keyed[]> other(new (std::nothrow) Keyed[(size_t)count]);
    if (!one || !other) return SZILARD_NO_MEMORY;
    uint32_t words[4][LANES];
    for (int64_t first = 0; first < count; first += LANES) {
        philox((uint32_t)first, nullptr, 1, seed, words);
        for (int64_t i = first; i < std::min(first + LANES, count); ++i) one[i] = {words[0][i - first], (uint32_t)i};
    }
    const Keyed *order = sorted(one.get(), other.get(), count);
    uint32_t chosen[LANES];
    for (int64_t first = 0; first < count; first += LANES) {
        const int64_t end = std::min(first + LANES, count);
        for (int64_t i = first; i < first + LANES; ++i) chosen[i - first] = i < count ? indices[(uint32_t)i / (uint32_t)size] : 0;
        philox((uint32_t)first, chosen, 0, seed, words);
        for (int64_t i = first; i < end; ++i) {
            const int64_t lane = i - first;
            levels[order[i].entry] =
                sum(words[0][lane]) + sum(words[1][lane]) + sum(words[2][lane]) + sum(words[3][lane]) - 2040;
        }
    }
    return SZILARD_OK;
}
