// The random words behind the random records of a .szd file: szilard/file/random.py is the same in Python.
//
// Philox-4x32 with 10 rounds (Salmon, Moraes, Dror and Shaw 2011) under the key (seed, 0). The key of entry e is the
// first word of counter (e, 0, 0, 1); the level at position p, in a block with candidate k, is the sum of the sixteen
// bytes of counter (p, k, 0, 0), minus 2040.
#pragma once
#include "philox.hpp"

namespace {

inline void philox10(vu (&c)[4], uint32_t seed) {
    uint32_t low_key = seed, high_key = 0;
    for (int round = 0; round < 10; ++round) {
        vu high0, low0, high1, low1;
        multiply(c[0], 0xD2511F53u, high0, low0);
        multiply(c[2], 0xCD9E8D57u, high1, low1);
        c[0] = high1 ^ c[1] ^ low_key;
        c[1] = low1;
        c[2] = high0 ^ c[3] ^ high_key;
        c[3] = low0;
        low_key += 0x9E3779B9u;
        high_key += 0xBB67AE85u;
    }
}

inline vu counters(int64_t first) {
    vu c;
    for (int lane = 0; lane < W; ++lane) c[lane] = (uint32_t)first + (uint32_t)lane;
    return c;
}

// Keys of the entries [first, first + n).
void draw_keys(uint32_t seed, int64_t first, int64_t n, uint32_t *keys) {
    for (int64_t i = 0; i < n; i += W) {
        vu c[4] = {counters(first + i), vu{}, vu{}, vu{} + 1u};
        philox10(c, seed);
        memcpy(keys + i, &c[0], sizeof(uint32_t) * (size_t)(n - i < W ? n - i : W));
    }
}

// Levels at the positions [first, first + n), whose blocks have the candidates [n].
void draw_levels(uint32_t seed, int64_t first, int64_t n, const uint32_t *candidates, int32_t *levels) {
    for (int64_t i = 0; i < n; i += W) {
        const size_t bytes = sizeof(uint32_t) * (size_t)(n - i < W ? n - i : W);
        vu c[4] = {counters(first + i), vu{}, vu{}, vu{}};
        memcpy(&c[1], candidates + i, bytes);
        philox10(c, seed);
        vu pairs = {};  // two sums of eight bytes each
        for (const vu &word : c) pairs += (word & 0x00FF00FFu) + (word >> 8 & 0x00FF00FFu);
        const vi sums = (vi)((pairs & 0xFFFFu) + (pairs >> 16)) - 2040;
        memcpy(levels + i, &sums, bytes);
    }
}

}  // namespace
