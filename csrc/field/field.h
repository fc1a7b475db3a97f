// Prediction of fields, from coarse to fine (szilard/codec). All numbers are integers, or doubles that hold integers below
// 2^53, so that every instruction set gives the same.
#pragma once
#include "core.h"

#ifdef __cplusplus
extern "C" {
#endif

// The network of a field: int32 weights whose sizes Python has checked (codec/network.py).
typedef struct {
    int32_t hidden;         // units of a hidden layer, 1 to 32
    const int32_t *linear;  // [23], of one pass
    const int32_t *first;   // [hidden, 31]
    const int32_t *second;  // [hidden, hidden]
    const int32_t *last;    // [2, hidden]
    const int32_t *biases;  // [2 hidden + 2]
} szilard_field_network;

// What a pass is: its targets and their neighbours are places in a slice of `size` values.
typedef struct {
    int64_t size, count;
    int32_t level, kind, neighbours;  // neighbours: 16 or 20 of each target
    int32_t place;                    // of the slice, 0 to 256
    int64_t anchor;
    const int32_t *targets;           // [count]
    const int32_t *near;              // [neighbours, count]
    const int32_t *latitude;          // [count]
    const int64_t *values;            // [size], the slice so far
    const int64_t *first_earlier;     // [size], or null
    const int64_t *second_earlier;
} szilard_field_pass;

// predicted [count] in units of the lattice, scales [count].
SZILARD_API int szilard_field_predict(const szilard_field_network *network, const szilard_field_pass *pass,
                                      int64_t *predicted, int64_t predicted_room, int32_t *scales, int64_t scales_room);

#ifdef __cplusplus
}
#endif
