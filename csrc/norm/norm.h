// Normalisation, pooling and divergences of batch-innermost activations and of weights.
#pragma once
#include "core.h"

#ifdef __cplusplus
extern "C" {
#endif

// Batch normalisation with the statistics of the batch, an optional residual and an optional ReLU:
// y = relu(weight (x - mean) inv_std + bias + residual). x, y, residual are [channels][count]; mean, variance
// (biased) and inv_std [channels] are written. weight, bias and residual may be null.
SZILARD_API int szilard_batch_norm(int32_t channels, int64_t count, const float *x, const float *weight,
                                   const float *bias, const float *residual, int relu, float eps, float *y,
                                   int64_t y_room, float *mean, int64_t mean_room, float *variance,
                                   int64_t variance_room, float *inv_std, int64_t inv_std_room, int threads);
// y is read only if relu is set; grad_residual may be null. grad_weight, grad_bias [channels] are written.
SZILARD_API int szilard_batch_norm_backward(int32_t channels, int64_t count, const float *grad,
                                            const float *x, const float *y, const float *weight,
                                            const float *mean, const float *inv_std, int relu, float *grad_x,
                                            int64_t grad_x_room, float *grad_weight, int64_t grad_weight_room,
                                            float *grad_bias, int64_t grad_bias_room, float *grad_residual,
                                            int64_t grad_residual_room, int threads);

// Max-pooling over windows (no dilation; padding is minus infinity): y [channels][out_height][out_width][batch], where
// [same] is the position of the maximum in its window, row-major. geometry: groups = channels = out_channels.
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

#ifdef __cplusplus
}
#endif
