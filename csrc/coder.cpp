// The C ABI of the entropy coder.
#include <math.h>

#include <array>
#include <memory>
#include <type_traits>

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

// Every entry of a matrix in row order; false where a decoder finds what no encoder writes.
template <class Io, class Level, class Ended>
static bool matrix(Io &io, uint32_t *contexts, int kind, int64_t rows, int64_t cols, Level *levels, Ended ended) {
    if (!rows || !cols) return true;
    Model &model = reinterpret_cast<Model *>(contexts)[kind];
    // Not filled: a decoder that is promised more than there is ends before it has touched the memory for it.
    const std::unique_ptr<int32_t[]> column(new int32_t[(size_t)cols]);
    for (int64_t r = 0; r < rows; ++r) {
        int32_t row = Means::start(kind);
        Neighbours n{};
        Level *at = levels + r * cols;
        for (int64_t c = 0; c < cols; ++c) {
            n.above = r ? at[c - cols] : 0;
            int32_t above = r ? column[c] : Means::start(kind);
            n.column = above;
            n.row = row;
            int32_t given = 0;  // a decoder is given none, and what its array holds is not read
            if constexpr (std::is_const_v<Level>) given = at[c];
            const int32_t level = pass(io, kind, model, n, given);
            if (level > LARGEST) return false;
            if constexpr (!std::is_const_v<Level>) at[c] = level;
            Means::see(kind, level < 0 ? -level : level, above, row);
            column[c] = above;
            n.left2 = n.left;
            n.left = level;
            if ((c & 4095) == 4095 && ended()) return false;
        }
        if (ended()) return false;
    }
    return true;
}

static bool bad(int kind, int64_t rows, int64_t cols) {
    return kind < 0 || kind >= MODELS || rows < 0 || cols < 0 || (cols && rows > INT64_MAX / 8 / cols);
}

static bool outside(int kind, int64_t count, const int32_t *levels) {
    int32_t found = 0;
    if (kind == MASK)
        for (int64_t i = 0; i < count; ++i) found |= levels[i] & ~1;
    else
        for (int64_t i = 0; i < count; ++i) found |= levels[i] > LARGEST || levels[i] < -LARGEST;
    return found;
}

}  // namespace levels

using namespace levels;

int32_t szilard_contexts(void) { return CONTEXTS; }

int szilard_rate(uint32_t *contexts, int model, int64_t rows, int64_t cols, const int32_t *levels, double *bits) {
    if (bad(model, rows, cols) || outside(model, rows * cols, levels)) return SZILARD_BAD_GEOMETRY;
    Price price{true};
    matrix(price, contexts, model, rows, cols, levels, [] { return false; });
    *bits = price.bits;
    return SZILARD_OK;
}

int szilard_encode(uint32_t *contexts, uint64_t *state, int model, int64_t rows, int64_t cols, const int32_t *levels,
                   uint8_t *out, int64_t *written) {
    if (bad(model, rows, cols) || outside(model, rows * cols, levels)) return SZILARD_BAD_GEOMETRY;
    Encode io(*reinterpret_cast<RangeEncoder *>(state), out);
    matrix(io, contexts, model, rows, cols, levels, [] { return false; });
    *written = io.written();
    return SZILARD_OK;
}

int szilard_encode_end(uint64_t *state, uint8_t *out, int64_t *written) {
    Encode io(*reinterpret_cast<RangeEncoder *>(state), out);
    io.finish();
    *written = io.written();
    return SZILARD_OK;
}

int szilard_decode(uint32_t *contexts, uint64_t *state, int model, int64_t rows, int64_t cols, const uint8_t *data,
                   int64_t size, int32_t *levels, double *bits) {
    if (bad(model, rows, cols) || size < 0) return SZILARD_BAD_GEOMETRY;
    Decode io(*reinterpret_cast<RangeDecoder *>(state), data, (uint64_t)size);
    const auto ended = [&] { return io.ended(); };
    if (!bits) return matrix(io, contexts, model, rows, cols, levels, ended) ? SZILARD_OK : SZILARD_BAD_STREAM;
    PricedDecode priced(io);
    if (!matrix(priced, contexts, model, rows, cols, levels, ended)) return SZILARD_BAD_STREAM;
    *bits = priced.bits();
    return SZILARD_OK;
}

int szilard_quantise(uint32_t *contexts, int model, int32_t rows, int32_t cols, int32_t first, int32_t count,
                     double *weights, const double *feedback, const double *price, double *bits, int32_t *means,
                     int32_t *levels) {
    if (bad(model, rows, cols) || model == MASK || first < 0 || count < 0 || count > cols - first)
        return SZILARD_BAD_GEOMETRY;
    *bits = quantise(reinterpret_cast<Model *>(contexts)[model], model, rows, cols, first, count, weights, feedback, price,
                     means, levels);
    return SZILARD_OK;
}
