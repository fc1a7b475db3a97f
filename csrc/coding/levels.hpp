// The adaptive model of entropy-coded tensors: how integers become binary decisions, and their probabilities.
//
// A level k at (r, c) of a matrix, coded row by row:   k != 0 | sign | |k| > 1 | |k| > 2 | ... | |k| > 14 | Exp-Golomb(|k| - 15)
// Each decision except the last bits has a context: an estimate of its probability that adapts to earlier decisions.
// All arithmetic is in integers, so that every machine decodes the same bytes; szilard/coding/adaptive.py is the same
// in Python.
#pragma once
#include <stdint.h>

#include <algorithm>

#include "szilard.h"

namespace levels {

// P(bit = 1) in units of 2^-16, and a saturating count of decisions: the estimate is the mean of the first LIMIT bits,
// and a moving average with rate 1 / LIMIT afterwards.
struct Context {
    uint16_t one, count;

    static constexpr int LIMIT = 96;
    static constexpr int LEAST = 64;  // of 65536: a decision that is always the same costs 0.0014 bit

    // estimate += (bit - estimate) / (count + 1.5)
    void see(bool bit) {
        const int32_t share = 131072 / (2 * count + 3);  // of 65536
        const int32_t target = bit ? 65535 : 0;
        const int32_t moved = one + (int32_t)(((int64_t)(target - one) * share) >> 16);
        one = (uint16_t)std::min(65536 - LEAST, std::max<int32_t>(LEAST, moved));
        if (count < LIMIT) ++count;
    }
};
static_assert(sizeof(Context) == 4, "contexts travel as uint32");

constexpr int LONGEST_RUN = 14;  // unary decisions; larger levels use Exp-Golomb
constexpr int LONGEST_PREFIX = 23;
constexpr int32_t LARGEST = (1 << 23) - 1;

// Contexts of one model, in this order.
struct Model {
    Context zero[192], sign[9], more[4][LONGEST_RUN], prefix[LONGEST_PREFIX + 1];
};
constexpr int MODELS = 3;  // NEIGHBOURS, HISTORY, MASK
constexpr int CONTEXTS = MODELS * (int)(sizeof(Model) / sizeof(Context));

enum Kind { NEIGHBOURS = 0, HISTORY = 1, MASK = 2 };

inline int sign_class(int32_t k) { return (k > 0) - (k < 0) + 1; }

inline int steps(int32_t value, const int32_t (&thresholds)[7]) {
    int n = 0;
    for (int32_t t : thresholds) n += value >= t;
    return n;
}

// Running means of magnitudes down a column and along a row (of an input and of an output), in fixed point.
struct Means {
    static int32_t start(int kind) { return kind == MASK ? 512 : 256; }
    static void see(int kind, int32_t size, int32_t &column, int32_t &row) {
        if (kind == MASK) {  // 4096 means that all entries exist
            column += ((size << 12) - column) >> 4;
            row += ((size << 12) - row) >> 5;
        } else {  // 256 is a mean magnitude of 1
            const int32_t seen = std::min(size, 64) << 8;
            column += (seen - column) >> 2;
            row += (seen - row) >> 3;
        }
    }
};

struct Neighbours {
    int32_t left, left2, above;  // levels already coded, 0 outside
    int32_t column, row;         // running means
};

inline int zero_context(int kind, const Neighbours &n) {
    static constexpr int32_t SIZES[7] = {1, 2, 3, 5, 7, 10, 15};
    static constexpr int32_t SHARES[7] = {32, 96, 224, 448, 896, 1600, 2800};
    const int32_t near = std::min<int32_t>(std::abs(n.left), 2) + std::min<int32_t>(std::abs(n.left2), 2);
    switch (kind) {
        case NEIGHBOURS: return sign_class(n.left) * 3 + std::min<int32_t>(near, 2);
        case HISTORY:
            return (steps((n.column * 3) >> 8, SIZES) * 8 + steps((n.row * 3) >> 8, SIZES)) * 3 + sign_class(n.left);
        default: return (steps(n.column, SHARES) * 8 + steps(n.row, SHARES)) * 3 + (n.left != 0) + (n.above != 0);
    }
}

inline int size_class(const Neighbours &n) {
    const int64_t near = (int64_t)std::abs(n.left) + std::abs(n.left2);
    return near == 0 ? 0 : near <= 2 ? 1 : near <= 6 ? 2 : 3;
}

// Codes one level through `io`, which returns the bit of each decision: an encoder the bit it is given, a decoder the
// bit it reads. Returns the level, or LARGEST + 1 if a decoder finds none.
template <class Io>
inline int32_t pass(Io &io, int kind, Model &model, const Neighbours &n, int32_t level) {
    const int32_t size = level < 0 ? -level : level;
    if (!io.bit(model.zero[zero_context(kind, n)], size != 0)) return 0;
    if (kind == MASK) return 1;
    const bool negative = io.bit(model.sign[sign_class(n.left) * 3 + sign_class(n.above)], level < 0);
    Context *more = model.more[size_class(n)];
    int32_t found = 1;
    while (found <= LONGEST_RUN && io.bit(more[found - 1], size > found)) ++found;
    if (found > LONGEST_RUN) {  // v = |k| - 15 as its number of bits in unary, then those bits
        const uint32_t v = (uint32_t)(size - LONGEST_RUN - 1) + 1;
        int bits = 0;
        while (io.bit(model.prefix[bits], (v >> bits) > 1))
            if (++bits > LONGEST_PREFIX) return LARGEST + 1;
        uint32_t suffix = 1;
        for (int i = bits - 1; i >= 0; --i) suffix = suffix << 1 | (uint32_t)io.plain((v >> i) & 1);
        found = (int32_t)std::min<uint32_t>(suffix - 1 + LONGEST_RUN + 1, LARGEST + 1);
        if (found > LARGEST) return LARGEST + 1;
    }
    return negative ? -found : found;
}

// The bits of -log2 p, p in units of 2^-16.
const float *code_lengths();

// Counts the code length of decisions and, if `learn`, updates their contexts.
struct Price {
    bool learn;
    double bits = 0;
    int64_t decisions = 0;

    bool bit(Context &context, bool value) {
        bits += code_lengths()[value ? context.one : 65536 - context.one];
        ++decisions;
        if (learn) context.see(value);
        return value;
    }
    bool plain(bool value) {
        bits += 1;
        ++decisions;
        return value;
    }
};

}  // namespace levels
