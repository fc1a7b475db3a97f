// Products with sparse weights, plain and with noise by local reparametrisation.
#pragma once
#include "core.h"

#ifdef __cplusplus
extern "C" {
#endif

// y [rows][batch] = W x,  x [cols][batch].
SZILARD_API int szilard_linear(const szilard_index *index, int32_t batch, const float *x, const float *values,
                               float *y, int64_t y_room, int threads);
// grad_x = W' g and grad_values_ij = sum_b g_ib x_jb; either may be null (not needed). g is [rows][batch].
SZILARD_API int szilard_linear_backward(const szilard_index *index, int32_t batch, const float *grad,
                                        const float *x, const float *values, float *grad_x,
                                        int64_t grad_x_room, float *grad_values, int64_t grad_values_room,
                                        int threads);
// y = W_mean x + bias + s e with s^2 = W_variance x^2 + tiny, e from `key` (element = row * batch + b), and with ReLU
// if relu; bias [rows] may be null. factor [rows][batch] = e / (2 s) is all that the backward pass needs of the noise;
// null: not needed. variance [nnz] is written: exp(2 log_std).
SZILARD_API int szilard_lrt_linear(const szilard_index *index, int32_t batch, const float *x,
                                   const float *mean, const float *log_std, const float *bias,
                                   szilard_key key, int relu, float *y, int64_t y_room, float *factor,
                                   int64_t factor_room, float *variance, int64_t variance_room, int threads);
// g is grad, with relu only where y > 0 (y is read only then); grad_bias_i = sum_b g_ib, null: not needed. With h = g
// factor: grad_mean_ij = sum_b g_ib x_jb, grad_log_std_ij = 2 variance_ij sum_b h_ib x_jb^2, grad_x = W_mean' g + 2 x
// (W_variance' h). grad_x may be null.
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

#ifdef __cplusplus
}
#endif
