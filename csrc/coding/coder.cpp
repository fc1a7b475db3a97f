// The C ABI of the entropy coder.
#include <math.h>

#include <array>
#include <memory>
#include <new>
#include <type_traits>

#include "check.hpp"
#include "levels.hpp"
#include "quantise.hpp"
#include "range_coder.hpp"
#include "szilard.h"

namespace levels {

const float *code_lengths() {
    static const auto table = [] {
        auto lengths = std::make_unique<std::array<float, 65537>>();
        (*lengths)[0] = 16;
        for (int i = 1; i <= 65536; ++i) (*lengths)[i] = (float)(16 - log2((double)i));
        return lengths;
    }();
    return table->data();
}

// Every entry of a matrix in row order. `stop` is called from time to time; returns BAD_STREAM if it is true, or if a
// decoder finds a level that no encoder writes.
template <class Io, class Level, class Stop>
static int matrix(Io &io, Model &model, int kind, int64_t rows, int64_t cols, Level *levels, Stop stop) {
    if (!rows || !cols) return SZILARD_OK;
    // Not initialised: if the stream has less than declared, a decoder ends before it touches all of the memory. A mean
    // is below 2^15 (64 << 8, 1 << 12). A single row does not use the means.
    const std::unique_ptr<int16_t[]> column(new (std::nothrow) int16_t[rows > 1 ? (size_t)cols : 1]);
    if (!column) return SZILARD_NO_MEMORY;
    for (int64_t r = 0; r < rows; ++r) {
        int32_t row = Means::start(kind);
        Neighbours n{};
        Level *at = levels + r * cols;
        for (int64_t c = 0; c < cols; ++c) {
            n.above = r ? at[c - cols] : 0;
            int32_t above = r ? column[c] : Means::start(kind);
            n.column = above;
            n.row = row;
            int32_t given = 0;  // a decoder has no input levels, and its array is not read
            if constexpr (std::is_const_v<Level>) given = at[c];
            const int32_t level = pass(io, kind, model, n, given);
            if (level > LARGEST) return SZILARD_BAD_STREAM;
            if constexpr (!std::is_const_v<Level>) at[c] = level;
            Means::see(kind, level < 0 ? -level : level, above, row);
            if (rows > 1) column[c] = (int16_t)above;
            n.left2 = n.left;
            n.left = level;
            if ((c & 4095) == 4095 && stop()) return SZILARD_BAD_STREAM;
        }
        if (stop()) return SZILARD_BAD_STREAM;
    }
    return SZILARD_OK;
}

static bool bad(int kind, int64_t rows, int64_t cols) {
    return kind < 0 || kind >= MODELS || szilard_count({8, rows, cols}) < 0;
}

static bool outside(int kind, int64_t count, const int32_t *levels) {
    int32_t found = 0;
    if (kind == MASK)
        for (int64_t i = 0; i < count; ++i) found |= levels[i] & ~1;
    else
        for (int64_t i = 0; i < count; ++i) found |= levels[i] > LARGEST || levels[i] < -LARGEST;
    return found;
}

// The room of a state is its number of uint64.
template <class State> static bool holds(const uint64_t *state, int64_t room) {
    static_assert(sizeof(State) % sizeof(uint64_t) == 0, "a state travels as uint64");
    return szilard_fits(state, room, sizeof(State) / sizeof(uint64_t));
}

static bool holds_contexts(const uint32_t *contexts, int64_t room) { return szilard_fits(contexts, room, CONTEXTS); }

static Model &model_of(uint32_t *contexts, int kind) { return reinterpret_cast<Model *>(contexts)[kind]; }

}  // namespace levels

using namespace levels;

int32_t szilard_contexts(void) { return CONTEXTS; }

int szilard_rate(uint32_t *contexts, int64_t contexts_room, int model, int64_t rows, int64_t cols, const int32_t *levels,
                 double *bits, int64_t *decisions) {
    if (bad(model, rows, cols) || outside(model, rows * cols, levels)) return SZILARD_BAD_GEOMETRY;
    if (!holds_contexts(contexts, contexts_room)) return SZILARD_NO_ROOM;
    Price price{true};
    if (const int failed = matrix(price, model_of(contexts, model), model, rows, cols, levels, [] { return false; }))
        return failed;
    if (bits) *bits = price.bits;
    if (decisions) *decisions = price.decisions;
    return SZILARD_OK;
}

int szilard_encode(uint32_t *contexts, int64_t contexts_room, uint64_t *state, int64_t state_room, int model, int64_t rows,
                   int64_t cols, const int32_t *levels, uint8_t *out, int64_t out_room, int64_t *written) {
    if (bad(model, rows, cols) || outside(model, rows * cols, levels)) return SZILARD_BAD_GEOMETRY;
    if (!holds_contexts(contexts, contexts_room) || !holds<RangeEncoder>(state, state_room) ||
        !szilard_fits(out, out_room, 0))
        return SZILARD_NO_ROOM;
    RangeEncoder coder = *reinterpret_cast<RangeEncoder *>(state);
    Model learnt = model_of(contexts, model);
    Encode io(coder, out, out ? out_room : 0);
    const int failed = matrix(io, learnt, model, rows, cols, levels, [&] { return io.full(); });
    if (failed == SZILARD_NO_MEMORY) return failed;
    if (failed || io.full()) return SZILARD_NO_ROOM;
    *reinterpret_cast<RangeEncoder *>(state) = coder;
    model_of(contexts, model) = learnt;
    if (written) *written = io.written();
    return SZILARD_OK;
}

int szilard_encode_end(uint64_t *state, int64_t state_room, uint8_t *out, int64_t out_room, int64_t *written) {
    if (!holds<RangeEncoder>(state, state_room) || !szilard_fits(out, out_room, 0)) return SZILARD_NO_ROOM;
    RangeEncoder coder = *reinterpret_cast<RangeEncoder *>(state);
    Encode io(coder, out, out ? out_room : 0);
    io.finish();
    if (io.full()) return SZILARD_NO_ROOM;
    *reinterpret_cast<RangeEncoder *>(state) = coder;
    if (written) *written = io.written();
    return SZILARD_OK;
}

int szilard_decode(uint32_t *contexts, int64_t contexts_room, uint64_t *state, int64_t state_room, int model, int64_t rows,
                   int64_t cols, const uint8_t *data, int64_t size, int32_t *levels, int64_t levels_room, double *bits) {
    if (bad(model, rows, cols) || size < 0) return SZILARD_BAD_GEOMETRY;
    if (!holds_contexts(contexts, contexts_room) || !holds<RangeDecoder>(state, state_room) ||
        !szilard_fits(levels, levels_room, rows * cols))
        return SZILARD_NO_ROOM;
    Decode io(*reinterpret_cast<RangeDecoder *>(state), data, (uint64_t)size);
    Model &learnt = model_of(contexts, model);
    const auto ended = [&] { return io.ended(); };
    if (!bits) return matrix(io, learnt, model, rows, cols, levels, ended);
    PricedDecode priced(io);
    if (const int failed = matrix(priced, learnt, model, rows, cols, levels, ended)) return failed;
    *bits = priced.bits();
    return SZILARD_OK;
}

int szilard_quantise(uint32_t *contexts, int64_t contexts_room, int model, int32_t rows, int32_t cols, int32_t first,
                     int32_t count, double *weights, int64_t weights_room, const double *feedback, const double *price,
                     double *bits, int32_t *means, int64_t means_room, int32_t *levels, int64_t levels_room) {
    if (bad(model, rows, cols) || model == MASK || first < 0 || count < 0 || count > cols - first)
        return SZILARD_BAD_GEOMETRY;
    if (!holds_contexts(contexts, contexts_room) || !szilard_fits(weights, weights_room, szilard_count({rows, count})) ||
        !szilard_fits(means, means_room, (int64_t)cols + rows) ||
        !szilard_fits(levels, levels_room, szilard_count({rows, cols})))
        return SZILARD_NO_ROOM;
    const double found = quantise(model_of(contexts, model), model, rows, cols, first, count, weights, feedback, price,
                                  means, levels);
    if (bits) *bits = found;
    return SZILARD_OK;
}
