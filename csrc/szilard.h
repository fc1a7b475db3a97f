// The C ABI of Szilard's kernels: plain pointers to contiguous arrays, nothing of Python or of torch.
//
// Layouts. Activations are batch-innermost: a linear map reads x [features][batch], a convolution
// x [channels][height][width][batch]. The batch is the vector axis, so that unstructured sparsity costs
// no vector lane. Values lie in CSR order, one float for each existing entry.
//
// Every function that reads an index checks it first (O(nnz)) and returns a status; nothing is written
// unless the status is 0. The same inputs give the same bits whatever the number of threads.
//
// Every array that a function writes is followed by its room, the number of elements that it has. A function that
// would write more answers SZILARD_NO_ROOM and has written to none (the coder: to none beyond its room). An array that
// is not wanted is null; its room is not read. A single number that is written has no room, and may be null.
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
    SZILARD_BAD_CROW = 1,       // does not rise from 0 to nnz
    SZILARD_BAD_COL = 2,        // a column out of range, or not ascending strictly within its row
    SZILARD_BAD_TRANSPOSE = 3,  // t_crow, t_col or t_perm is not the transpose's index
    SZILARD_BAD_GEOMETRY = 4,   // sizes that do not belong together
    SZILARD_NO_MEMORY = 5,
    SZILARD_BAD_STREAM = 6,  // coded bytes that end too early, or that no encoder writes
    SZILARD_NO_ROOM = 7,     // an array is too short for what would be written to it
};

// Support of a weight read as a matrix of `rows` outputs and `cols` inputs, in both orders.
// The transpose (t_*) may be null where no gradient of x is asked for.
typedef struct {
    int32_t rows, cols, nnz;
    const int32_t *crow;    // [rows + 1]
    const int32_t *col;     // [nnz], ascending within a row
    const int32_t *t_crow;  // [cols + 1]
    const int32_t *t_col;   // [nnz], row of each entry in column order
    const int32_t *t_perm;  // [nnz], place of each of those entries in row order
} szilard_index;

// Which normal numbers: element e of a draw is a pure function of (seed, draw, e).
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
SZILARD_API const char *szilard_isa(void);         // what runs: "avx512", "avx2", "neon" or "baseline"
SZILARD_API int szilard_use_isa(const char *isa);  // 0, or 1 where this machine cannot run it

// out[e] ~ N(0, 1) for 0 <= e < n.
SZILARD_API int szilard_normal(szilard_key key, int64_t n, float *out, int64_t out_room, int threads);

// y [rows][batch] = W x,  x [cols][batch].
SZILARD_API int szilard_linear(const szilard_index *index, int32_t batch, const float *x, const float *values,
                               float *y, int64_t y_room, int threads);
// grad_x = W' g and grad_values_ij = sum_b g_ib x_jb; either may be null (not wanted). g is [rows][batch].
SZILARD_API int szilard_linear_backward(const szilard_index *index, int32_t batch, const float *grad,
                                        const float *x, const float *values, float *grad_x,
                                        int64_t grad_x_room, float *grad_values, int64_t grad_values_room,
                                        int threads);
// y = W_mean x + bias + s e with s^2 = W_variance x^2 + tiny, e from `key` (element = row * batch + b), and with relu
// its positive part; bias [rows] may be null. factor [rows][batch] = e / (2 s) is all that the backward needs of the
// noise; null: not wanted. variance [nnz] is written: exp(2 log_std).
SZILARD_API int szilard_lrt_linear(const szilard_index *index, int32_t batch, const float *x,
                                   const float *mean, const float *log_std, const float *bias,
                                   szilard_key key, int relu, float *y, int64_t y_room, float *factor,
                                   int64_t factor_room, float *variance, int64_t variance_room, int threads);
// g is grad, with relu only where y > 0 (y is read in that case alone); grad_bias_i = sum_b g_ib, null: not wanted.
// With h = g factor: grad_mean_ij = sum_b g_ib x_jb, grad_log_std_ij = 2 variance_ij sum_b h_ib x_jb^2,
// grad_x = W_mean' g + 2 x (W_variance' h). grad_x may be null.
SZILARD_API int szilard_lrt_linear_backward(const szilard_index *index, int32_t batch, const float *grad,
                                            const float *x, const float *mean, const float *variance,
                                            const float *factor, const float *y, int relu, float *grad_x,
                                            int64_t grad_x_room, float *grad_mean, int64_t grad_mean_room,
                                            float *grad_log_std, int64_t grad_log_std_room, float *grad_bias,
                                            int64_t grad_bias_room, int threads);

// The same four for a convolution, without bias and relu: x [channels][height][width][batch], y and factor
// [out_channels][out_height][out_width][batch]; noise element = flat index into y.
SZILARD_API int szilard_conv(const szilard_index *index, const szilard_geometry *geometry, const float *x,
                             const float *values, float *y, int64_t y_room, int threads);
SZILARD_API int szilard_conv_backward(const szilard_index *index, const szilard_geometry *geometry,
                                      const float *grad, const float *x, const float *values, float *grad_x,
                                      int64_t grad_x_room, float *grad_values, int64_t grad_values_room,
                                      int threads);
SZILARD_API int szilard_lrt_conv(const szilard_index *index, const szilard_geometry *geometry, const float *x,
                                 const float *mean, const float *log_std, szilard_key key, float *y,
                                 int64_t y_room, float *factor, int64_t factor_room, float *variance,
                                 int64_t variance_room, int threads);
SZILARD_API int szilard_lrt_conv_backward(const szilard_index *index, const szilard_geometry *geometry,
                                          const float *grad, const float *x, const float *mean,
                                          const float *variance, const float *factor, float *grad_x,
                                          int64_t grad_x_room, float *grad_mean, int64_t grad_mean_room,
                                          float *grad_log_std, int64_t grad_log_std_room, int threads);

// Batch normalisation by the statistics of the batch, with an optional residual and an optional ReLU behind it:
// y = relu(weight (x - mean) inv_std + bias + residual). x, y, residual are [channels][count]; mean, variance
// (biased) and inv_std [channels] are written. weight, bias and residual may be null.
SZILARD_API int szilard_batch_norm(int32_t channels, int64_t count, const float *x, const float *weight,
                                   const float *bias, const float *residual, int relu, float eps, float *y,
                                   int64_t y_room, float *mean, int64_t mean_room, float *variance,
                                   int64_t variance_room, float *inv_std, int64_t inv_std_room, int threads);
// y is read only where relu is set; grad_residual may be null. grad_weight, grad_bias [channels] are written.
SZILARD_API int szilard_batch_norm_backward(int32_t channels, int64_t count, const float *grad,
                                            const float *x, const float *y, const float *weight,
                                            const float *mean, const float *inv_std, int relu, float *grad_x,
                                            int64_t grad_x_room, float *grad_weight, int64_t grad_weight_room,
                                            float *grad_bias, int64_t grad_bias_room, float *grad_residual,
                                            int64_t grad_residual_room, int threads);

// Max-pooling over windows (no dilation; padding is minus infinity): y [channels][out_height][out_width][batch],
// where [same] is the place of the maximum in its window, row-major. geometry: groups = channels = out_channels.
SZILARD_API int szilard_max_pool(const szilard_geometry *geometry, const float *x, float *y, int64_t y_room,
                                 uint8_t *where, int64_t where_room, int threads);
SZILARD_API int szilard_max_pool_backward(const szilard_geometry *geometry, const float *grad,
                                          const uint8_t *where, float *grad_x, int64_t grad_x_room, int threads);

// Divergence of N(mean, e^(2 log_std)) from N(0, s^2). sums[0] = sum of e^(2 log_std) + mean^2,
// sums[1] = sum of log_std.
SZILARD_API int szilard_divergence(int64_t n, const float *mean, const float *log_std, double *sums,
                                   int64_t sums_room);
// Its gradients: grad_mean = rate mean, grad_log_std = rate e^(2 log_std) - offset.
SZILARD_API int szilard_divergence_backward(int64_t n, const float *mean, const float *log_std, float rate,
                                            float offset, float *grad_mean, int64_t grad_mean_room,
                                            float *grad_log_std, int64_t grad_log_std_room);

// Entropy coding of integers (levels.hpp, range_coder.hpp). `contexts` is the adaptive model of a whole file, carried from
// tensor to tensor: szilard_contexts() numbers, each 2^15 at the start. `model` is 0 (neighbours), 1 (history) or 2 (mask:
// levels are 0 or 1). Matrices are row-major; |level| < 2^23.
SZILARD_API int32_t szilard_contexts(void);

// bits = code length of the matrix, in so many binary decisions; the contexts are taken to the state after it.
SZILARD_API int szilard_rate(uint32_t *contexts, int64_t contexts_room, int model, int64_t rows, int64_t cols,
                             const int32_t *levels, double *bits, int64_t *decisions);

// state is uint64_t[4], {0, 0xFFFFFFFF, 0, 0} at the start of a stream; state[3] bytes are pending. A decision may cost
// log2(257 / 256) bits more than its code length (range_coder.hpp), so that at most
// (bits + decisions * log2(257 / 256)) / 8 + pending + 2 bytes are written. Where the room is too small, the contexts and
// the state are as before, and the call may be made again.
SZILARD_API int szilard_encode(uint32_t *contexts, int64_t contexts_room, uint64_t *state, int64_t state_room, int model,
                               int64_t rows, int64_t cols, const int32_t *levels, uint8_t *out, int64_t out_room,
                               int64_t *written);
// At most pending + 5 bytes.
SZILARD_API int szilard_encode_end(uint64_t *state, int64_t state_room, uint8_t *out, int64_t out_room,
                                   int64_t *written);

// state is uint64_t[3], zeros at the start of a stream; its last number is how many bytes were asked for so far.
// bits, which may be null: what szilard_rate would have answered for the same levels.
SZILARD_API int szilard_decode(uint32_t *contexts, int64_t contexts_room, uint64_t *state, int64_t state_room, int model,
                               int64_t rows, int64_t cols, const uint8_t *data, int64_t size, int32_t *levels,
                               int64_t levels_room, double *bits);

// Levels of a random record of a .szd file (random.cpp): `indices` [blocks] name the candidate of each block of `size` entries.
SZILARD_API int szilard_draw(int64_t count, int32_t size, const uint32_t *indices, int64_t blocks, uint32_t seed,
                             int32_t *levels, int64_t levels_room);

// Rate-aware rounding of `count` columns, from `first` on, of a matrix of `rows` x `cols` levels (quantise.hpp).
SZILARD_API int szilard_quantise(uint32_t *contexts, int64_t contexts_room, int model, int32_t rows, int32_t cols,
                                 int32_t first, int32_t count, double *weights, int64_t weights_room,
                                 const double *feedback, const double *price, double *bits, int32_t *means,
                                 int64_t means_room, int32_t *levels, int64_t levels_room);

#ifdef __cplusplus
}
#endif
