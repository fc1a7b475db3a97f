// Entropy coding, random levels and rate-aware rounding.
#pragma once
#include "core.h"

#ifdef __cplusplus
extern "C" {
#endif

// Entropy coding of integers (levels.hpp, range_coder.hpp). `contexts` is the adaptive model of a whole file, carried from
// tensor to tensor: szilard_contexts() numbers, each 2^15 at the start. `model` is 0 (neighbours), 1 (history) or 2 (mask:
// levels are 0 or 1). Matrices are row-major; |level| < 2^23.
SZILARD_API int32_t szilard_contexts(void);

// bits = code length of the matrix, decisions = its number of binary decisions; the contexts are updated by them.
SZILARD_API int szilard_rate(uint32_t *contexts, int64_t contexts_room, int model, int64_t rows, int64_t cols,
                             const int32_t *levels, double *bits, int64_t *decisions);

// state is uint64_t[4], {0, 0xFFFFFFFF, 0, 0} at the start of a stream; state[3] bytes are pending. A decision can cost
// log2(257 / 256) bits more than its code length (range_coder.hpp), so at most (bits + decisions * log2(257 / 256)) / 8
// + pending + 2 bytes are written. If the room is too small, the contexts and the state stay as before, and the call
// can be repeated.
SZILARD_API int szilard_encode(uint32_t *contexts, int64_t contexts_room, uint64_t *state, int64_t state_room, int model,
                               int64_t rows, int64_t cols, const int32_t *levels, uint8_t *out, int64_t out_room,
                               int64_t *written);
// Writes at most pending + 5 bytes.
SZILARD_API int szilard_encode_end(uint64_t *state, int64_t state_room, uint8_t *out, int64_t out_room,
                                   int64_t *written);

// state is uint64_t[3], zeros at the start of a stream; its last number is the number of bytes read so far. bits, which
// may be null: the code length that szilard_rate gives for the same levels.
SZILARD_API int szilard_decode(uint32_t *contexts, int64_t contexts_room, uint64_t *state, int64_t state_room, int model,
                               int64_t rows, int64_t cols, const uint8_t *data, int64_t size, int32_t *levels,
                               int64_t levels_room, double *bits);

// Levels of a random record of a .szd file (random.cpp): `indices` [blocks] name the candidate of each block of `size` entries.
SZILARD_API int szilard_draw(int64_t count, int32_t size, const uint32_t *indices, int64_t blocks, uint32_t seed,
                             int32_t *levels, int64_t levels_room);

// Interleaved coding of symbols 0..127 under tables 0..79 of 2^16 slots: start and width are [80, 128], lookup is
// [80, 2^16]. Symbol i is in lane i mod lanes; a lane is a uint64. `words` are filled from the end, at most one for each symbol.
SZILARD_API int szilard_interleaved_encode(const uint32_t *start, const uint32_t *width, int64_t count,
                                           const uint8_t *tables, const uint8_t *symbols, int32_t lanes,
                                           uint64_t *state, int64_t state_room, uint32_t *words, int64_t words_room,
                                           int64_t *written);
// next: words that were read; lane: of the next symbol.
SZILARD_API int szilard_interleaved_decode(const uint32_t *start, const uint32_t *width, const uint8_t *lookup,
                                           int64_t count, const uint8_t *tables, int32_t lanes, uint64_t *state,
                                           int64_t state_room, const uint32_t *words, int64_t words_count,
                                           int64_t *next, int32_t *lane, uint8_t *symbols, int64_t symbols_room);

// Rate-aware rounding of `count` columns, from `first` on, of a matrix of `rows` x `cols` levels (quantise.hpp).
SZILARD_API int szilard_quantise(uint32_t *contexts, int64_t contexts_room, int model, int32_t rows, int32_t cols,
                                 int32_t first, int32_t count, double *weights, int64_t weights_room,
                                 const double *feedback, const double *price, double *bits, int32_t *means,
                                 int64_t means_room, int32_t *levels, int64_t levels_room);

#ifdef __cplusplus
}
#endif
