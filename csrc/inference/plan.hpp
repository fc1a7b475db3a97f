// A program after its steps have been checked: what the kernels of every instruction set read. Plain data without
// inline functions of the standard library, which the linker would take from one instruction set for all.
#pragma once
#include <stdint.h>

#include "inference.h"

namespace szilard_inference {

constexpr int MOST_BATCH = 8;
constexpr int LANES = 16;      // outputs in a block of a dense weight, rows in a slice of a sparse one
constexpr int CHANNELS = 4;    // output channels in a tile of a dense convolution
constexpr int SLACK = 64 * 4;  // floats that may be read (and ignored) or written after a buffer of scratch memory

// Where a value is during a run.
enum class Place : int32_t { input, scratch, output };
struct Value {
    int32_t channels, height, width;
    int64_t size;  // floats for one example
    bool random;   // has a variance
    Place place;
    int64_t mean, variance;  // floats from the start of that place
};

// The weight as the kernels read it; arrays that are not needed are null.
struct Dense {
    const float *weight;  // linear: [ceil(rows / 16)][cols][1 or 2][16]: mean (and variance) of 16 rows
                          // conv: tiles of channels [tap][channel][1 or 3]: mean (mean^2, variance)
};
struct Sparse {
    int32_t slices;
    const int32_t *start;   // [slices + 1]: first column of entries of each slice of 16 rows
    const int32_t *order;   // [slices * 16]: row of each lane; -1 for none
    const float *lanes;     // [entry][16]: mean, zero where the row is shorter
    const void *lane_col;   // [entry][16]
    const int32_t *crow;    // [rows + 1]
    const void *col;        // [nnz]
    const float *weight;    // [nnz][1 or 3]
    const int32_t *t_crow;  // [cols + 1]; null: no copy by columns
    const void *t_row;      // [nnz]
    const float *t_weight;  // [nnz]
    bool narrow;            // columns and rows are uint16, not int32
};

// Padded planes of a convolution in which the inputs of consecutive outputs are consecutive, for each tap. Phases are
// positions of the same remainder by the stride. Or, if rows are short, each column of the kernel has a plane of its
// own, as wide as the output, so that vectors cross the ends of rows: 100 positions of 10 x 10 are 7 vectors of 16, and
// 9 in planes 14 wide.
struct Planes {
    int32_t phases_h, phases_w, rows, pitch;  // rows, pitch: of one phase
    bool by_column;                           // phases_w are columns of the kernel
    int32_t between;                          // positions from a phase to the next
    int64_t plane;                            // floats of a channel, all phases
    const uint8_t *used;                      // [phases_h * phases_w]: whether a tap reads it
    int32_t taps;                             // of one group and a dense weight
    const int32_t *offset;                    // dense: [taps], sparse: [nnz], place of a tap in the group's planes
};

struct Step {
    szilard_step given;     // its pointers are null
    const int32_t *inputs;  // [n_inputs]
    int32_t output;
    bool sparse, random_weight;
    const float *bias, *bias_variance;  // [rows rounded up to 16], zero where there is none
    const float *scale;                 // affine: [rows]
    Dense dense;
    Sparse rows;
    Planes planes;
};

struct Program {
    int32_t batch;
    bool moments;
    int32_t n_values, n_steps, n_outputs;
    const Value *values;
    const Step *steps;
    const int32_t *outputs;
    int64_t input_size, output_size;  // floats of a run
    int64_t scratch, work;            // floats of scratch memory: for values, and then for the step that runs
};

}  // namespace szilard_inference
