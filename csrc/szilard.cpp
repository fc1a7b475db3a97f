// The ABI: checks what was given, chooses the instruction set, and owns scratch memory.
#include "szilard.h"

#include <stdlib.h>
#include <string.h>

#include <atomic>

#include "check.hpp"
#include "isa.hpp"

extern const szilard_kernels szilard_baseline;
#if defined(__x86_64__)
extern const szilard_kernels szilard_avx2;
#endif
#if defined(__x86_64__)
extern const szilard_kernels szilard_avx512;
#endif

namespace {

bool runs(const szilard_kernels &kernels) {
#if defined(__x86_64__)
    if (&kernels == &szilard_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#endif
#if defined(__x86_64__)
    if (&kernels == &szilard_avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return &kernels == &szilard_baseline;
}

const szilard_kernels *const all[] = {
#if defined(__x86_64__)
    &szilard_avx512,
#endif
#if defined(__x86_64__)
    &szilard_avx2,
#endif
    &szilard_baseline,
};

const szilard_kernels *best() {
    for (const szilard_kernels *kernels : all)
        if (runs(*kernels)) return kernels;
    return &szilard_baseline;
}

std::atomic<const szilard_kernels *> chosen{best()};

const szilard_kernels &run() { return *chosen.load(std::memory_order_relaxed); }

// Scratch of one call, kept by the thread for the next: fresh pages would cost as much as the work.
class Scratch {
  public:
    Scratch(int slot, int64_t floats) : p_(kept(slot, floats)) {}
    operator float *() const { return p_; }

  private:
    struct Kept {
        float *p = nullptr;
        int64_t size = 0;
        ~Kept() { free(p); }
    };
    static float *kept(int slot, int64_t floats) {
        static thread_local Kept slots[3];
        Kept &k = slots[slot];
        if (floats > k.size || !k.p) {
            free(k.p);
            k.p = (float *)malloc(sizeof(float) * (size_t)(floats > 0 ? floats : 1));
            k.size = k.p ? floats : 0;
        }
        return k.p;
    }

    float *p_;
};

// values in the order of the transpose; none are moved where values is null
Scratch transposed(int slot, const szilard_index &index, const float *values) {
    const Scratch ordered(slot, values ? index.nnz : 0);
    if (ordered && values)
        for (int32_t p = 0; p < index.nnz; ++p) ordered[p] = values[index.t_perm[p]];
    return ordered;
}

}  // namespace

const szilard_kernels &szilard_running() { return run(); }

int32_t szilard_abi_version(void) { return 4; }

const char *szilard_isa(void) { return run().name; }

int szilard_use_isa(const char *isa) {
    for (const szilard_kernels *kernels : all)
        if (!strcmp(kernels->name, isa) && runs(*kernels)) {
            chosen.store(kernels);
            return SZILARD_OK;
        }
    return 1;
}

int szilard_normal(szilard_key key, int64_t n, float *out, int64_t out_room, int threads) {
    if (n < 0) return SZILARD_BAD_GEOMETRY;
    if (!szilard_fits(out, out_room, n)) return SZILARD_NO_ROOM;
    run().normal(key, n, out, threads);
    return SZILARD_OK;
}

int szilard_linear(const szilard_index *index, int32_t batch, const float *x, const float *values, float *y,
                   int64_t y_room, int threads) {
    if (const int bad = szilard_check_index(index, false)) return bad;
    if (batch < 0) return SZILARD_BAD_GEOMETRY;
    if (!szilard_fits(y, y_room, szilard_count({index->rows, batch}))) return SZILARD_NO_ROOM;
    run().linear(index->rows, index->crow, index->col, batch, x, values, y, threads);
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
        run().linear(index->cols, index->t_crow, index->t_col, batch, grad, ordered, grad_x, threads);
    }
    if (grad_values) run().linear_grad_values(*index, batch, grad, x, grad_values, threads);
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
    run().square_exponential(index->nnz, log_std, variance);
    run().lrt_linear(*index, batch, x, mean, variance, bias, key, relu, y, factor, threads);
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
    const Scratch gh(2, grad_x ? run().gh_size(index->rows, batch) : 0);
    const Scratch m = transposed(0, *index, grad_x ? mean : nullptr);
    const Scratch v = transposed(1, *index, grad_x ? variance : nullptr);
    if (!gh || !m || !v) return SZILARD_NO_MEMORY;
    run().lrt_linear_grad_values(*index, batch, grad, x, variance, factor, relu ? y : nullptr,
                                 grad_x ? (float *)gh : nullptr, grad_mean, grad_log_std, grad_bias, threads);
    if (grad_x) run().lrt_linear_grad_x(*index, batch, gh, x, m, v, grad_x, threads);
    return SZILARD_OK;
}

int szilard_conv(const szilard_index *index, const szilard_geometry *geometry, const float *x,
                 const float *values, float *y, int64_t y_room, int threads) {
    if (const int bad = szilard_check_conv(index, geometry, false)) return bad;
    if (!szilard_fits(y, y_room, szilard_output_count(geometry))) return SZILARD_NO_ROOM;
    run().conv(*index, *geometry, x, values, y, threads);
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
    if (grad_values) run().conv_grad_values(*index, *geometry, grad, x, grad_values, threads);
    if (grad_x) run().conv_grad_x(*index, *geometry, grad, ordered, grad_x, threads);
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
    run().square_exponential(index->nnz, log_std, variance);
    run().lrt_conv(*index, *geometry, x, mean, variance, key, y, factor, threads);
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
    run().lrt_conv_grads(*index, *geometry, grad, x, variance, factor, m, v, grad_x, grad_mean, grad_log_std, threads);
    return SZILARD_OK;
}

int szilard_batch_norm(int32_t channels, int64_t count, const float *x, const float *weight, const float *bias,
                       const float *residual, int relu, float eps, float *y, int64_t y_room, float *mean,
                       int64_t mean_room, float *variance, int64_t variance_room, float *inv_std,
                       int64_t inv_std_room, int threads) {
    if (channels < 0 || count < 1) return SZILARD_BAD_GEOMETRY;
    if (!szilard_fits(y, y_room, szilard_count({channels, count})) || !szilard_fits(mean, mean_room, channels) ||
        !szilard_fits(variance, variance_room, channels) || !szilard_fits(inv_std, inv_std_room, channels))
        return SZILARD_NO_ROOM;
    run().batch_norm(channels, count, x, weight, bias, residual, relu, eps, y, mean, variance, inv_std, threads);
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
    run().batch_norm_backward(channels, count, grad, x, y, weight, mean, inv_std, relu, grad_x, grad_weight,
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
    run().max_pool(*geometry, x, y, where, threads);
    return SZILARD_OK;
}

int szilard_max_pool_backward(const szilard_geometry *geometry, const float *grad, const uint8_t *where,
                              float *grad_x, int64_t grad_x_room, int threads) {
    if (const int bad = szilard_check_geometry(geometry)) return bad;
    if ((int64_t)geometry->kernel_h * geometry->kernel_w > 255 || geometry->channels != geometry->out_channels)
        return SZILARD_BAD_GEOMETRY;
    if (!szilard_fits(grad_x, grad_x_room, szilard_input_count(geometry))) return SZILARD_NO_ROOM;
    run().max_pool_backward(*geometry, grad, where, grad_x, threads);
    return SZILARD_OK;
}

int szilard_divergence(int64_t n, const float *mean, const float *log_std, double *sums, int64_t sums_room) {
    if (n < 0) return SZILARD_BAD_GEOMETRY;
    if (!szilard_fits(sums, sums_room, 2)) return SZILARD_NO_ROOM;
    run().divergence(n, mean, log_std, sums);
    return SZILARD_OK;
}

int szilard_divergence_backward(int64_t n, const float *mean, const float *log_std, float rate, float offset,
                                float *grad_mean, int64_t grad_mean_room, float *grad_log_std,
                                int64_t grad_log_std_room) {
    if (n < 0) return SZILARD_BAD_GEOMETRY;
    if (!szilard_fits(grad_mean, grad_mean_room, n) || !szilard_fits(grad_log_std, grad_log_std_room, n))
        return SZILARD_NO_ROOM;
    run().divergence_backward(n, mean, log_std, rate, offset, grad_mean, grad_log_std);
    return SZILARD_OK;
}
