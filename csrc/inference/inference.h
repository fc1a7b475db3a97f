// Inference on one input (a batch of 1 to 8): a network as a program of steps that one call runs.
//
// A program is made once: the steps are checked, and weights are copied and packed. It is immutable afterwards and is
// known by a handle, so that any number of threads can run it; intermediate values are in memory of the thread.
//
// Values. Value 0 is the input, value k the output of step k - 1. A value has `channels` planes of height x width for
// each example ([batch][channels][height][width]); a vector is channels x 1 x 1. In a program of moments it has a mean
// and, unless it is known to be deterministic, a variance: entries are independent Gaussians, and so are weights.
#pragma once
#include "core.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    SZILARD_STEP_LINEAR = 0,    // out[o] = sum_i w[o, i] in[i] + bias[o]
    SZILARD_STEP_CONV = 1,      // zero padding
    SZILARD_STEP_AFFINE = 2,    // weight[c] in[c] + bias[c] for each channel
    SZILARD_STEP_ADD = 3,       // of two values
    SZILARD_STEP_MAX_POOL = 4,  // padding never wins
    SZILARD_STEP_AVERAGE_POOL = 5,
    SZILARD_STEP_GLOBAL_AVERAGE = 6,
    SZILARD_STEP_ACTIVATION = 7,  // `activation`
    SZILARD_STEP_CONCAT = 8,      // along channels
    SZILARD_STEP_CHANNELS = 9,    // every stride-th position of input channel c - offset; zero if there is none
    SZILARD_STEP_RESHAPE = 10,    // the same numbers
    // Errors that the positions of a map share (moments only; see shared_errors.hpp).
    SZILARD_STEP_SPREADS = 11,        // of a map with C channels: 2 C numbers
    SZILARD_STEP_GAINS = 12,          // from the spreads before and after a function
    SZILARD_STEP_SCALE_ROWS = 13,     // rows [C][1][R] times the means of C numbers
    SZILARD_STEP_CONTRIBUTIONS = 14,  // a value of R numbers, then pairs of rows [C][1][R] and C numbers: the value, whose
                                      // variance is at least the sum over channels of rows^2 times their variance
};
enum {
    SZILARD_RELU = 0,
    SZILARD_LEAKY_RELU = 1,  // `slope`
    SZILARD_SIGMOID = 2,
    SZILARD_TANH = 3,
    SZILARD_GELU = 4,
    SZILARD_SILU = 5,
};

// One step. Fields that its kind does not read are ignored; pointers are read only while the program is made.
typedef struct {
    int32_t kind, activation, relu;  // relu: at the end of linear, conv, affine, add and max_pool
    int32_t n_inputs;
    const int32_t *inputs;            // [n_inputs], numbers of values
    int32_t channels, height, width;  // of the output
    int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
    int32_t pad_top, pad_bottom, pad_left, pad_right;
    int32_t groups, count_padding, offset;  // count_padding: average_pool divides by the whole window
    float slope;
    // The weight of linear [rows][cols], of conv [rows][channels / groups, kernel_h, kernel_w] or of affine [rows].
    // With `crow` it is sparse: mean and variance are [nnz].
    int32_t rows, cols, nnz;
    const int32_t *crow;         // null: dense
    const int32_t *col;          // [nnz], ascending within a row
    const float *mean;
    const float *variance;       // null: a deterministic weight
    const float *bias;           // [rows], may be null
    const float *bias_variance;  // [rows], may be null
} szilard_step;

enum {
    SZILARD_BAD_STEP = 8,     // an unknown kind, or a value that is not there yet
    SZILARD_BAD_NUMBER = 9,   // NaN or infinity in a weight, a negative variance
    SZILARD_NAN_INPUT = 10,   // the input of a run has a NaN
    SZILARD_NO_PROGRAM = 11,  // a handle of no program
};

// Makes a program for inputs [batch][channels][height][width], 1 <= batch <= 8, whose outputs are the values `outputs`,
// which are different outputs of steps. `handle` gets its handle, which is never 0.
SZILARD_API int szilard_program_new(int32_t batch, int moments, int32_t channels, int32_t height, int32_t width,
                                    int32_t n_steps, const szilard_step *steps, int32_t n_outputs,
                                    const int32_t *outputs, int64_t *handle);
// x has exactly x_size elements. `out` gets the outputs one after the other: the mean and, in a program of moments, the
// variance.
SZILARD_API int szilard_program_run(int64_t handle, const float *x, int64_t x_size, float *out, int64_t out_room,
                                    int threads);
// Threads that still run the program finish first with it.
SZILARD_API int szilard_program_free(int64_t handle);

// Softmax of Gaussian logits, mean and variance [batch][classes], averaged over `points` fixed points (a multiple of 16) with
// noise [classes][points]; logits are multiplied by `scale`. With `single`, classes is 1 and the logit is that of the second of
// two classes. answer is [batch][classes], or [batch][2] with `single`; aleatoric (mean entropy) and epistemic (mutual
// information, at least zero), in nats, are [batch].
SZILARD_API int szilard_class_uncertainty(int32_t batch, int32_t classes, const float *mean, const float *variance,
                                          int32_t points, const float *noise, float scale, int single, float *answer,
                                          int64_t answer_room, float *aleatoric, int64_t aleatoric_room,
                                          float *epistemic, int64_t epistemic_room);

#ifdef __cplusplus
}
#endif
