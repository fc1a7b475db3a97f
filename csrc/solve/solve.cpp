// The C ABI of steps of solvers for sparse codes: checks the arguments, then calls the kernels.
#include "solve.h"

#include "check.hpp"
#include "isa.hpp"
#include "scratch.hpp"

int szilard_shrink(int64_t batch, int64_t n, const float *x, const float *gradient, const float *scale,
                   const float *previous, const float *momentum, const float *threshold, const int64_t *passing,
                   float *result, int64_t result_room, float *counts, int64_t counts_room, float *norms,
                   int64_t norms_room, uint8_t *passed, int64_t passed_room, int threads) {
    if (batch < 0 || n < 0 || n > INT32_MAX || !previous != !momentum) return SZILARD_BAD_GEOMETRY;
    const int64_t all = szilard_count({batch, n});
    if (!szilard_fits(result, result_room, all) || !szilard_fits(counts, counts_room, batch) ||
        !szilard_fits(norms, norms_room, batch) || !szilard_fits_if(passed, passed_room, all))
        return SZILARD_NO_ROOM;
    szilard_running().shrink(batch, (int32_t)n, x, gradient, scale, previous, momentum, threshold, passing, result, counts,
                             norms, passed, threads);
    return SZILARD_OK;
}

int szilard_event_product(int64_t batch, int64_t n, int64_t m, const float *x, const float *rows, float *y,
                          int64_t y_room, int threads) {
    if (batch < 0 || n < 0 || n > INT32_MAX || m < 0) return SZILARD_BAD_GEOMETRY;
    if (szilard_count({batch, n}) < 0 || szilard_count({n, m}) < 0 ||
        !szilard_fits(y, y_room, szilard_count({batch, m})))
        return SZILARD_NO_ROOM;
    if (!batch || !m) return SZILARD_OK;
    const Scratch scratch(0, szilard_running().event_scratch(batch, (int32_t)n, threads));
    if (!scratch) return SZILARD_NO_MEMORY;
    szilard_running().event_product(batch, (int32_t)n, m, x, rows, y, scratch, threads);
    return SZILARD_OK;
}
