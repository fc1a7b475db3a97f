// Rounding that minimises error + rate, with the error of each column compensated by the columns to its right.
//
// For a row w of a weight, with curvature G of the loss in its output and A = E[x x^T] of its input, the loss rises by
// 1/2 G (w - k) A (w - k)^T. With A^-1 = U^T U, U upper triangular, the columns taken from the left, and u_c the value of
// column c after the earlier errors were compensated, the rise is  1/2 G sum_c (u_c - k_c)^2 / U_cc^2  where
//     e_c = (u_c - k_c) / U_cc,     u_d <- u_d - e_c U_cd  for all d > c
// (Hassibi and Stork 1993; Frantar et al. 2022), and each k_c is chosen to minimise
//     price_rc (u_c - k)^2 + R(k)          in bits; price_rc = G_r / (2 lambda U_cc^2)
// with R the bits of k in the adaptive coder's present state (Conzelmann and Bamler 2025). Columns are processed for all
// rows at once, so that the compensation is a matrix product; the contexts adapt in that order.
#pragma once
#include <math.h>

#include "levels.hpp"

namespace levels {

// weights [rows][count]: the columns in steps; on return the errors e. feedback [count][count]: U of these columns.
// price [rows][cols]. means [cols + rows]: the running means of the coder, kept between calls (Means::start at first).
inline double quantise(Model &model, int kind, int32_t rows, int32_t cols, int32_t first, int32_t count, double *weights,
                       const double *feedback, const double *price, int32_t *means, int32_t *levels) {
    double total = 0;
    for (int32_t j = 0; j < count; ++j) {
        const int32_t c = first + j;
        const double *u = feedback + (int64_t)j * count;
        const double scale = 1 / u[j];
        for (int32_t r = 0; r < rows; ++r) {
            int32_t *at = levels + (int64_t)r * cols + c;
            double *w = weights + (int64_t)r * count;
            const Neighbours n{c > 0 ? at[-1] : 0, c > 1 ? at[-2] : 0, r > 0 ? at[-cols] : 0, means[c], means[cols + r]};
            const double wanted = fmin(fmax(w[j], -(double)LARGEST + 1), (double)LARGEST - 1);
            const int32_t nearest = (int32_t)nearbyint(wanted);
            const int32_t inward = nearest > 0 ? nearest - 1 : nearest < 0 ? nearest + 1 : 0;
            const int32_t outward = wanted > nearest ? nearest + 1 : nearest - 1;
            const int32_t candidates[4] = {nearest, inward, outward, 0};
            double least = INFINITY, bits = 0;
            int32_t best = nearest;
            for (int i = 0; i < 4; ++i) {
                const int32_t k = candidates[i];
                if (i == 3 && (nearest == 0 || inward == 0)) break;
                Price asked{false};
                pass(asked, kind, model, n, k);
                const double cost = price[(int64_t)r * cols + c] * (wanted - k) * (wanted - k) + asked.bits;
                if (cost < least) {
                    least = cost;
                    best = k;
                    bits = asked.bits;
                }
            }
            Price chosen{true};
            pass(chosen, kind, model, n, best);
            Means::see(kind, best < 0 ? -best : best, means[c], means[cols + r]);
            total += bits;
            *at = best;
            const double error = (w[j] - best) * scale;
            for (int32_t d = j + 1; d < count; ++d) w[d] -= error * u[d];
            w[j] = error;
        }
    }
    return total;
}

}  // namespace levels
