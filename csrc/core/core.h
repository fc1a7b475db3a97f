// The common part of the C ABI: plain pointers to contiguous arrays, without Python or torch.
//
// Layouts. Activations are batch-innermost: a linear map reads x [features][batch], a convolution x
// [channels][height][width][batch]. The batch is the vector axis, so that unstructured sparsity wastes no vector lanes.
// Values are in CSR order, one float for each existing entry.
//
// Every function that reads an index checks it first (O(nnz)) and returns a status; nothing is written unless the
// status is 0. The same inputs give the same bits with any number of threads.
//
// Every output array is followed by its room, its number of elements. A function that would write more returns
// SZILARD_NO_ROOM and writes nothing (the coder: nothing outside the room). An output array that is not needed is null;
// its room is not read. The output of a single number has no room argument, and may be null.
#pragma once
#include <stdint.h>

#if defined(_WIN32)
#define SZILARD_API __declspec(dllexport)
#else
#define SZILARD_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum {
    SZILARD_OK = 0,
    SZILARD_BAD_CROW = 1,       // does not increase from 0 to nnz
    SZILARD_BAD_COL = 2,        // a column is out of range, or not strictly ascending within its row
    SZILARD_BAD_TRANSPOSE = 3,  // t_crow, t_col or t_perm is not the index of the transpose
    SZILARD_BAD_GEOMETRY = 4,   // sizes that do not match
    SZILARD_NO_MEMORY = 5,
    SZILARD_BAD_STREAM = 6,  // coded bytes that end too early, or that no encoder writes
    SZILARD_NO_ROOM = 7,     // an array is too short for the output
};

// Support of a weight read as a matrix of `rows` outputs and `cols` inputs, in both orders. The transpose (t_*) may be
// null if the gradient of x is not needed.
typedef struct {
    int32_t rows, cols, nnz;
    const int32_t *crow;    // [rows + 1]
    const int32_t *col;     // [nnz], ascending within a row
    const int32_t *t_crow;  // [cols + 1]
    const int32_t *t_col;   // [nnz], row of each entry in column order
    const int32_t *t_perm;  // [nnz], position of each of those entries in row order
} szilard_index;

// Key of normal numbers: element e of a draw is a pure function of (seed, draw, e).
typedef struct {
    uint64_t seed, draw;
} szilard_key;

// A 2-d convolution; the weight is [out_channels, channels / groups, kernel_h, kernel_w], so that its support
// has rows = out_channels and cols = channels / groups * kernel_h * kernel_w.
typedef struct {
    int32_t batch, channels, height, width;        // input
    int32_t out_channels, out_height, out_width;   // output
    int32_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
} szilard_geometry;

SZILARD_API int32_t szilard_abi_version(void);
SZILARD_API const char *szilard_isa(void);         // in use: "avx512", "avx2", "neon" or "baseline"
SZILARD_API int szilard_use_isa(const char *isa);  // 0, or 1 if this machine cannot run it

// out[e] ~ N(0, 1) for 0 <= e < n.
SZILARD_API int szilard_normal(szilard_key key, int64_t n, float *out, int64_t out_room, int threads);

#ifdef __cplusplus
}
#endif
