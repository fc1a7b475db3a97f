// The C ABI of sparse products: checks the arguments, then calls the kernels of the instruction set in use.
#include "sparse.h"

#include "check.hpp"
#include "isa.hpp"
#include "scratch.hpp"

int szilard_linear(const szilard_index *index, int32_t batch, const float *x, const float *values, float *y,
                   int64_t y_room, int threads) {
    if (const int bad = szilard_check_index(index, false)) return bad;
    if (batch < 0) return SZILARD_BAD_GEOMETRY;
    if (!szilard_fits(y, y_room, szilard_count({index->rows, batch}))) return SZILARD_NO_ROOM;
    szilard_running().linear(index->rows, index->crow, index->col, batch, x, values, y, threads);
    return SZILARD_OK;
}

int szilard_linear_backward(const szilard_index *index, int32_t batch, const float *grad, const float *x,
                            const float *values, float *grad_x, int64_t grad_x_room, float *grad_values,
                            int64_t grad_values_room, int threads) {
    if (const int bad = szilard_check_index(index, grad_x != nullptr)) return bad;
    if (batch < 0) return SZILARD_BAD_GEOMETRY;
    if (!szilard_fits_if(grad_x, grad_x_room, szilard_count({index->cols, batch})) ||
        !szilard_fits_if(grad_values, grad_values_room, index->nnz))
        return SZILARD_NO_ROOM;
    if (grad_x) {
        const Scratch ordered = transposed(0, *index, values);
        if (!ordered) return SZILARD_NO_MEMORY;
        szilard_running().linear(index->cols, index->t_crow, index->t_col, batch, grad, ordered, grad_x, threads);
    }
    if (grad_values) szilard_running().linear_grad_values(*index, batch, grad, x, grad_values, threads);
    return SZILARD_OK;
}

int szilard_lrt_linear(const szilard_index *index, int32_t batch, const float *x, const float *mean,
                       const float *log_std, const float *bias, szilard_key key, int relu, float *y, int64_t y_room,
                       float *factor, int64_t factor_room, float *variance, int64_t variance_room, int threads) {
    if (const int bad = szilard_check_index(index, false)) return bad;
    if (batch < 0) return SZILARD_BAD_GEOMETRY;
    const int64_t count = szilard_count({index->rows, batch});
    if (!szilard_fits(y, y_room, count) || !szilard_fits_if(factor, factor_room, count) ||
        !szilard_fits(variance, variance_room, index->nnz))
        return SZILARD_NO_ROOM;
    szilard_running().square_exponential(index->nnz, log_std, variance);
    szilard_running().lrt_linear(*index, batch, x, mean, variance, bias, key, relu, y, factor, threads);
    return SZILARD_OK;
}

int szilard_lrt_linear_backward(const szilard_index *index, int32_t batch, const float *grad, const float *x,
                                const float *mean, const float *variance, const float *factor, const float *y,
                                int relu, float *grad_x, int64_t grad_x_room, float *grad_mean,
                                int64_t grad_mean_room, float *grad_log_std, int64_t grad_log_std_room,
                                float *grad_bias, int64_t grad_bias_room, int threads) {
    if (const int bad = szilard_check_index(index, grad_x != nullptr)) return bad;
    if (batch < 0 || (relu && !y && batch && index->rows)) return SZILARD_BAD_GEOMETRY;
    if (!szilard_fits_if(grad_x, grad_x_room, szilard_count({index->cols, batch})) ||
        !szilard_fits(grad_mean, grad_mean_room, index->nnz) ||
        !szilard_fits(grad_log_std, grad_log_std_room, index->nnz) ||
        !szilard_fits_if(grad_bias, grad_bias_room, index->rows))
        return SZILARD_NO_ROOM;
    const Scratch gh(2, grad_x ? szilard_running().gh_size(index->rows, batch) : 0);
    const Scratch m = transposed(0, *index, grad_x ? mean : nullptr);
    const Scratch v = transposed(1, *index, grad_x ? variance : nullptr);
    if (!gh || !m || !v) return SZILARD_NO_MEMORY;
    szilard_running().lrt_linear_grad_values(*index, batch, grad, x, variance, factor, relu ? y : nullptr,
                                 grad_x ? (float *)gh : nullptr, grad_mean, grad_log_std, grad_bias, threads);
    if (grad_x) szilard_running().lrt_linear_grad_x(*index, batch, gh, x, m, v, grad_x, threads);
    return SZILARD_OK;
}

int szilard_conv(const szilard_index *index, const szilard_geometry *geometry, const float *x,
                 const float *values, float *y, int64_t y_room, int threads) {
    if (const int bad = szilard_check_conv(index, geometry, false)) return bad;
    if (!szilard_fits(y, y_room, szilard_output_count(geometry))) return SZILARD_NO_ROOM;
    szilard_running().conv(*index, *geometry, x, values, y, threads);
    return SZILARD_OK;
}

int szilard_conv_backward(const szilard_index *index, const szilard_geometry *geometry, const float *grad,
                          const float *x, const float *values, float *grad_x, int64_t grad_x_room,
                          float *grad_values, int64_t grad_values_room, int threads) {
    if (const int bad = szilard_check_conv(index, geometry, grad_x != nullptr)) return bad;
    if (!szilard_fits_if(grad_x, grad_x_room, szilard_input_count(geometry)) ||
        !szilard_fits_if(grad_values, grad_values_room, index->nnz))
        return SZILARD_NO_ROOM;
    const Scratch ordered = transposed(0, *index, grad_x ? values : nullptr);
    if (!ordered) return SZILARD_NO_MEMORY;
    if (grad_values) szilard_running().conv_grad_values(*index, *geometry, grad, x, grad_values, threads);
    if (grad_x) szilard_running().conv_grad_x(*index, *geometry, grad, ordered, grad_x, threads);
    return SZILARD_OK;
}

int szilard_lrt_conv(const szilard_index *index, const szilard_geometry *geometry, const float *x,
                     const float *mean, const float *log_std, szilard_key key, float *y, int64_t y_room,
                     float *factor, int64_t factor_room, float *variance, int64_t variance_room, int threads) {
    if (const int bad = szilard_check_conv(index, geometry, false)) return bad;
    const int64_t count = szilard_output_count(geometry);
    if (!szilard_fits(y, y_room, count) || !szilard_fits_if(factor, factor_room, count) ||
        !szilard_fits(variance, variance_room, index->nnz))
        return SZILARD_NO_ROOM;
    szilard_running().square_exponential(index->nnz, log_std, variance);
    szilard_running().lrt_conv(*index, *geometry, x, mean, variance, key, y, factor, threads);
    return SZILARD_OK;
}

int szilard_lrt_conv_backward(const szilard_index *index, const szilard_geometry *geometry, const float *grad,
                              const float *x, const float *mean, const float *variance, const float *factor,
                              float *grad_x, int64_t grad_x_room, float *grad_mean, int64_t grad_mean_room,
                              float *grad_log_std, int64_t grad_log_std_room, int threads) {
    if (const int bad = szilard_check_conv(index, geometry, grad_x != nullptr)) return bad;
    if (!szilard_fits_if(grad_x, grad_x_room, szilard_input_count(geometry)) ||
        !szilard_fits(grad_mean, grad_mean_room, index->nnz) ||
        !szilard_fits(grad_log_std, grad_log_std_room, index->nnz))
        return SZILARD_NO_ROOM;
    const Scratch m = transposed(0, *index, grad_x ? mean : nullptr);
    const Scratch v = transposed(1, *index, grad_x ? variance : nullptr);
    if (!m || !v) return SZILARD_NO_MEMORY;
    szilard_running().lrt_conv_grads(*index, *geometry, grad, x, variance, factor, m, v, grad_x, grad_mean, grad_log_std, threads);
    return SZILARD_OK;
}
