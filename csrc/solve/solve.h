// Steps of solvers for sparse codes. A code is a row of [batch][n]: the entries of one sample are contiguous.
#pragma once
#include "core.h"

#ifdef __cplusplus
extern "C" {
#endif

// One step for each sample: v = x - scale gradient + momentum (x - previous). Of the entries with |v| >= threshold, the
// `passing` largest magnitudes pass and stay v; among equal ones the lowest index passes first, and NaN counts as the
// largest. All others become sign(v) max(|v| - threshold, 0). scale, momentum, threshold and passing have one number
// for each sample; passing below 0 counts as 0, above n as n. previous and momentum may be null, both or neither;
// passing may be null, which is 0.
//
// result is [batch][n]; counts [batch] are its entries that are not zero, norms [batch] its sums of magnitudes; passed
// [batch][n] is 1 where a number passed, and may be null. A NaN in v stays NaN, is counted, and makes the norm NaN; a
// NaN threshold makes the whole sample NaN. No input may overlap an output.
SZILARD_API int szilard_shrink(int64_t batch, int64_t n, const float *x, const float *gradient, const float *scale,
                               const float *previous, const float *momentum, const float *threshold,
                               const int64_t *passing, float *result, int64_t result_room, float *counts,
                               int64_t counts_room, float *norms, int64_t norms_room, uint8_t *passed,
                               int64_t passed_room, int threads);

// y[b] = sum of x[b][j] rows[j] over the entries of x that are not zero. x is [batch][n], rows [n][m], y [batch][m].
// Rows of entries that are zero are not read: a NaN or infinity in them has no effect.
SZILARD_API int szilard_event_product(int64_t batch, int64_t n, int64_t m, const float *x, const float *rows, float *y,
                                      int64_t y_room, int threads);

#ifdef __cplusplus
}
#endif
