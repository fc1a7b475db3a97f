// The C ABI of normalisation, pooling and divergences: checks the arguments, then calls the kernels.
#include "norm.h"

#include "check.hpp"
#include "isa.hpp"

int szilard_batch_norm(int32_t channels, int64_t count, const float *x, const float *weight, const float *bias,
                       const float *residual, int relu, float eps, float *y, int64_t y_room, float *mean,
                       int64_t mean_room, float *variance, int64_t variance_room, float *inv_std,
                       int64_t inv_std_room, int threads) {
    if (channels < 0 || count < 1) return SZILARD_BAD_GEOMETRY;
    if (!szilard_fits(y, y_room, szilard_count({channels, count})) || !szilard_fits(mean, mean_room, channels) ||
        !szilard_fits(variance, variance_room, channels) || !szilard_fits(inv_std, inv_std_room, channels))
        return SZILARD_NO_ROOM;
    szilard_running().batch_norm(channels, count, x, weight, bias, residual, relu, eps, y, mean, variance, inv_std, threads);
    return SZILARD_OK;
}

int szilard_batch_norm_backward(int32_t channels, int64_t count, const float *grad, const float *x,
                                const float *y, const float *weight, const float *mean, const float *inv_std,
                                int relu, float *grad_x, int64_t grad_x_room, float *grad_weight,
                                int64_t grad_weight_room, float *grad_bias, int64_t grad_bias_room,
                                float *grad_residual, int64_t grad_residual_room, int threads) {
    if (channels < 0 || count < 1 || (relu && !y)) return SZILARD_BAD_GEOMETRY;
    const int64_t all = szilard_count({channels, count});
    if (!szilard_fits(grad_x, grad_x_room, all) || !szilard_fits(grad_weight, grad_weight_room, channels) ||
        !szilard_fits(grad_bias, grad_bias_room, channels) ||
        !szilard_fits_if(grad_residual, grad_residual_room, all))
        return SZILARD_NO_ROOM;
    szilard_running().batch_norm_backward(channels, count, grad, x, y, weight, mean, inv_std, relu, grad_x, grad_weight,
                              grad_bias, grad_residual, threads);
    return SZILARD_OK;
}

int szilard_max_pool(const szilard_geometry *geometry, const float *x, float *y, int64_t y_room, uint8_t *where,
                     int64_t where_room, int threads) {
    if (const int bad = szilard_check_geometry(geometry)) return bad;
    if ((int64_t)geometry->kernel_h * geometry->kernel_w > 255 || geometry->dilation_h != 1 ||
        geometry->dilation_w != 1 || geometry->channels != geometry->out_channels)
        return SZILARD_BAD_GEOMETRY;
    const int64_t count = szilard_output_count(geometry);
    if (!szilard_fits(y, y_room, count) || !szilard_fits(where, where_room, count)) return SZILARD_NO_ROOM;
    szilard_running().max_pool(*geometry, x, y, where, threads);
    return SZILARD_OK;
}

int szilard_max_pool_backward(const szilard_geometry *geometry, const float *grad, const uint8_t *where,
                              float *grad_x, int64_t grad_x_room, int threads) {
    if (const int bad = szilard_check_geometry(geometry)) return bad;
    if ((int64_t)geometry->kernel_h * geometry->kernel_w > 255 || geometry->channels != geometry->out_channels)
        return SZILARD_BAD_GEOMETRY;
    if (!szilard_fits(grad_x, grad_x_room, szilard_input_count(geometry))) return SZILARD_NO_ROOM;
    szilard_running().max_pool_backward(*geometry, grad, where, grad_x, threads);
    return SZILARD_OK;
}

int szilard_divergence(int64_t n, const float *mean, const float *log_std, double *sums, int64_t sums_room) {
    if (n < 0) return SZILARD_BAD_GEOMETRY;
    if (!szilard_fits(sums, sums_room, 2)) return SZILARD_NO_ROOM;
    szilard_running().divergence(n, mean, log_std, sums);
    return SZILARD_OK;
}

int szilard_divergence_backward(int64_t n, const float *mean, const float *log_std, float rate, float offset,
                                float *grad_mean, int64_t grad_mean_room, float *grad_log_std,
                                int64_t grad_log_std_room) {
    if (n < 0) return SZILARD_BAD_GEOMETRY;
    if (!szilard_fits(grad_mean, grad_mean_room, n) || !szilard_fits(grad_log_std, grad_log_std_room, n))
        return SZILARD_NO_ROOM;
    szilard_running().divergence_backward(n, mean, log_std, rate, offset, grad_mean, grad_log_std);
    return SZILARD_OK;
}
