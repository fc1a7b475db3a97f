// Table of the kernels of one instruction set: arguments have been checked, and the caller provides scratch memory.
#pragma once
#include "szilard.h"

namespace szilard_inference {
struct Program;
}

struct szilard_kernels {
    const char *name;
    void (*normal)(szilard_key, int64_t n, float *out, int threads);
    void (*square_exponential)(int64_t n, const float *log_std, float *variance);
    void (*linear)(int32_t rows, const int32_t *crow, const int32_t *place, int64_t batch, const float *x,
                   const float *value, float *y, int threads);
    void (*lrt_linear)(const szilard_index &, int64_t batch, const float *x, const float *mean,
                       const float *variance, const float *bias, szilard_key, int relu, float *y, float *factor,
                       int threads);
    void (*linear_grad_values)(const szilard_index &, int64_t batch, const float *grad, const float *x,
                               float *grad_values, int threads);
    void (*lrt_linear_grad_values)(const szilard_index &, int64_t batch, const float *grad, const float *x,
                                   const float *variance, const float *factor, const float *y, float *gh,
                                   float *grad_mean, float *grad_log_std, float *grad_bias, int threads);
    int64_t (*gh_size)(int64_t rows, int64_t batch);  // floats
    void (*lrt_linear_grad_x)(const szilard_index &, int64_t batch, const float *gh, const float *x,
                              const float *mean, const float *variance, float *grad_x,
                              int threads);
    void (*conv)(const szilard_index &, const szilard_geometry &, const float *x, const float *values, float *y,
                 int threads);
    void (*lrt_conv)(const szilard_index &, const szilard_geometry &, const float *x, const float *mean,
                     const float *variance, szilard_key, float *y, float *factor, int threads);
    void (*conv_grad_values)(const szilard_index &, const szilard_geometry &, const float *grad, const float *x,
                             float *grad_values, int threads);
    void (*lrt_conv_grads)(const szilard_index &, const szilard_geometry &, const float *grad, const float *x,
                           const float *variance, const float *factor, const float *t_mean,
                           const float *t_variance, float *grad_x, float *grad_mean, float *grad_log_std,
                           int threads);
    void (*conv_grad_x)(const szilard_index &, const szilard_geometry &, const float *grad, const float *values,
                        float *grad_x, int threads);
    void (*batch_norm)(int32_t channels, int64_t count, const float *x, const float *weight, const float *bias,
                       const float *residual, int relu, float eps, float *y, float *mean, float *variance,
                       float *inv_std, int threads);
    void (*batch_norm_backward)(int32_t channels, int64_t count, const float *grad, const float *x,
                                const float *y, const float *weight, const float *mean, const float *inv_std,
                                int relu, float *grad_x, float *grad_weight, float *grad_bias,
                                float *grad_residual, int threads);
    void (*divergence)(int64_t n, const float *mean, const float *log_std, double *sums);
    void (*divergence_backward)(int64_t n, const float *mean, const float *log_std, float rate, float offset,
                                float *grad_mean, float *grad_log_std);
    void (*max_pool)(const szilard_geometry &, const float *x, float *y, uint8_t *where, int threads);
    void (*max_pool_backward)(const szilard_geometry &, const float *grad, const uint8_t *where, float *grad_x,
                              int threads);
    void (*draw_keys)(uint32_t seed, int64_t first, int64_t n, uint32_t *keys);
    void (*draw_levels)(uint32_t seed, int64_t first, int64_t n, const uint32_t *candidates, int32_t *levels);
    void (*run_program)(const szilard_inference::Program &, const float *x, float *out, float *scratch, int threads);
    bool (*finite)(const float *x, int64_t n);
    int64_t (*class_scratch)(int64_t classes);
    void (*class_uncertainty)(int64_t batch, int64_t classes, const float *mean, const float *variance, int64_t points,
                              const float *noise, float scale, bool single, float *answer, float *aleatoric,
                              float *epistemic, float *scratch);
    void (*field_predict)(const szilard_field_network &, const szilard_field_pass &, int64_t *predicted,
                          int32_t *scales);
    void (*shrink)(int64_t batch, int32_t n, const float *x, const float *gradient, const float *scale,
                   const float *previous, const float *momentum, const float *threshold, const int64_t *passing,
                   float *result, float *counts, float *norms, uint8_t *passed, int threads);
    int64_t (*event_scratch)(int64_t batch, int32_t n, int threads);  // floats
    void (*event_product)(int64_t batch, int32_t n, int64_t m, const float *x, const float *rows, float *y,
                          float *scratch, int threads);
};

// The kernels of the instruction set in use.
const szilard_kernels &szilard_running();
