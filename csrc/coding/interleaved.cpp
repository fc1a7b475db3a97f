// The interleaved coder (szilard/coding/interleaved.py): symbols under tables of 2^16 slots, in lanes.
#include "check.hpp"
#include "szilard.h"

static constexpr uint64_t LOW = (uint64_t)1 << 31;
static constexpr int TABLES = 120, SYMBOLS = 128, MOST_LANES = 256;

static bool bad_lanes(int32_t lanes) { return lanes < 1 || lanes > MOST_LANES; }

int szilard_interleaved_encode(const uint32_t *start, const uint32_t *width, int64_t count, const uint8_t *tables,
                               const uint8_t *symbols, int32_t lanes, uint64_t *state, int64_t state_room,
                               uint32_t *words, int64_t words_room, int64_t *written) {
    if (count < 0 || bad_lanes(lanes)) return SZILARD_BAD_GEOMETRY;
    if (!szilard_fits(state, state_room, lanes) || !szilard_fits(words, words_room, count)) return SZILARD_NO_ROOM;
    for (int32_t l = 0; l < lanes; ++l) state[l] = LOW;
    int64_t at = words_room;  // words are written from the end
    for (int64_t i = count - 1; i >= 0; --i) {
        if (tables[i] >= TABLES || symbols[i] >= SYMBOLS) return SZILARD_BAD_GEOMETRY;
        const int32_t place = tables[i] * SYMBOLS + symbols[i];
        const uint64_t f = width[place];
        if (!f) return SZILARD_BAD_GEOMETRY;
        uint64_t x = state[i % lanes];
        if (x >= f << 47) {
            words[--at] = (uint32_t)x;
            x >>= 32;
        }
        state[i % lanes] = ((x / f) << 16) + x % f + start[place];
    }
    *written = words_room - at;
    return SZILARD_OK;
}

int szilard_interleaved_decode(const uint32_t *start, const uint32_t *width, const uint8_t *lookup, int64_t count,
                               const uint8_t *tables, int32_t lanes, uint64_t *state, int64_t state_room,
                               const uint32_t *words, int64_t words_count, int64_t *next, int32_t *lane,
                               uint8_t *symbols, int64_t symbols_room) {
    if (count < 0 || bad_lanes(lanes) || *lane < 0 || *lane >= lanes || *next < 0) return SZILARD_BAD_GEOMETRY;
    if (!szilard_fits(state, state_room, lanes) || !szilard_fits(symbols, symbols_room, count)) return SZILARD_NO_ROOM;
    int64_t at = *next;
    int32_t l = *lane;
    for (int64_t i = 0; i < count; ++i) {
        if (tables[i] >= TABLES) return SZILARD_BAD_GEOMETRY;
        uint64_t x = state[l];
        const uint32_t slot = (uint32_t)(x & 0xFFFF);
        const uint8_t symbol = lookup[(int64_t)tables[i] * 65536 + slot];
        const int32_t place = tables[i] * SYMBOLS + symbol;
        x = width[place] * (x >> 16) + (slot - start[place]);
        if (x < LOW) {
            if (at >= words_count) return SZILARD_BAD_STREAM;
            x = (x << 32) | words[at++];
        }
        state[l] = x;
        symbols[i] = symbol;
        l = l + 1 == lanes ? 0 : l + 1;
    }
    *next = at;
    *lane = l;
    return SZILARD_OK;
}
