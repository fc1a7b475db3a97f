// Checks of a step against the values before it.
#pragma once
#include <math.h>

#include <vector>

#include "check.hpp"
#include "plan.hpp"

namespace szilard_inference {

// Sums of an axis from `before` and `after` padding; every window begins and ends in the padded input.
inline bool axis_fits(int32_t size, int32_t out, int32_t kernel, int32_t stride, int32_t before, int32_t after,
                      int32_t dilation) {
    if (size < 1 || out < 1 || kernel < 1 || stride < 1 || before < 0 || after < 0 || dilation < 1) return false;
    return ((int64_t)out - 1) * stride + (int64_t)dilation * (kernel - 1) < (int64_t)size + before + after;
}
// No window of a pool is padding alone.
inline bool has_inputs(int32_t size, int32_t out, int32_t kernel, int32_t stride, int32_t before) {
    return before < kernel && ((int64_t)out - 1) * stride - before < size;
}

inline bool all_finite(const float *numbers, int64_t n, bool squares, bool positive) {
    bool good = true;
    for (int64_t i = 0; i < n; ++i) {
        const float x = squares ? numbers[i] * numbers[i] : numbers[i];
        good &= isfinite(x) && !(positive && x < 0);
    }
    return good;
}

inline int check_weight(const szilard_step &g, bool moments, bool matrix) {
    if (g.rows < 1 || g.cols < 1 || (!g.crow && !matrix && g.cols != 1)) return SZILARD_BAD_GEOMETRY;
    int64_t n = szilard_count({g.rows, g.cols});
    if (n < 0 || n > INT32_MAX) return SZILARD_NO_MEMORY;
    if (g.crow) {
        if (!matrix) return SZILARD_BAD_STEP;
        if (const int bad = szilard_check_csr(g.rows, g.cols, g.nnz, g.crow, g.col, SZILARD_BAD_CROW, SZILARD_BAD_COL))
            return bad;
        n = g.nnz;
    }
    if (n && !g.mean) return SZILARD_BAD_STEP;
    // Moments contain the square of the mean.
    if (!all_finite(g.mean, n, moments, false) || (moments && g.variance && !all_finite(g.variance, n, false, true)) ||
        (g.bias && !all_finite(g.bias, g.rows, false, false)) ||
        (moments && g.bias_variance && !all_finite(g.bias_variance, g.rows, false, true)))
        return SZILARD_BAD_NUMBER;
    return SZILARD_OK;
}

inline int check_step(const szilard_step &g, const std::vector<Value> &values, bool moments) {
    if (g.kind < SZILARD_STEP_LINEAR || g.kind > SZILARD_STEP_CONTRIBUTIONS) return SZILARD_BAD_STEP;
    const bool two = g.kind == SZILARD_STEP_ADD || g.kind == SZILARD_STEP_GAINS || g.kind == SZILARD_STEP_SCALE_ROWS;
    const bool many = g.kind == SZILARD_STEP_CONTRIBUTIONS, any = g.kind == SZILARD_STEP_CONCAT || many;
    if (!g.inputs || (any ? g.n_inputs < 1 : g.n_inputs != (two ? 2 : 1))) return SZILARD_BAD_STEP;
    if (g.kind >= SZILARD_STEP_SPREADS && (!moments || (many && g.n_inputs % 2 == 0))) return SZILARD_BAD_STEP;
    for (int32_t k = 0; k < g.n_inputs; ++k)
        if ((uint32_t)g.inputs[k] >= values.size()) return SZILARD_BAD_STEP;
    const Value &in = values[g.inputs[0]];
    const bool same_map = g.height == in.height && g.width == in.width, same = same_map && g.channels == in.channels;
    const bool fits = axis_fits(in.height, g.height, g.kernel_h, g.stride_h, g.pad_top, g.pad_bottom, g.dilation_h) &&
                      axis_fits(in.width, g.width, g.kernel_w, g.stride_w, g.pad_left, g.pad_right, g.dilation_w);
    bool good = false;
    switch (g.kind) {
        case SZILARD_STEP_LINEAR:
            if (g.cols != in.size || g.rows != g.channels || g.height != 1 || g.width != 1) return SZILARD_BAD_GEOMETRY;
            return check_weight(g, moments, true);
        case SZILARD_STEP_CONV:
            if (!fits || g.groups < 1 || in.channels % g.groups || g.channels < 1 || g.channels % g.groups ||
                g.rows != g.channels || g.cols != szilard_count({in.channels / g.groups, g.kernel_h, g.kernel_w}))
                return SZILARD_BAD_GEOMETRY;
            return check_weight(g, moments, true);
        case SZILARD_STEP_AFFINE:
            if (!same || g.rows != g.channels || g.cols != 1) return SZILARD_BAD_GEOMETRY;
            return check_weight(g, moments, false);
        case SZILARD_STEP_ADD: {
            const Value &other = values[g.inputs[1]];
            good = same && other.channels == in.channels && other.height == in.height && other.width == in.width;
            break;
        }
        case SZILARD_STEP_MAX_POOL:
        case SZILARD_STEP_AVERAGE_POOL:
            good = fits && g.dilation_h == 1 && g.dilation_w == 1 && g.channels == in.channels &&
                   (int64_t)g.kernel_h * g.kernel_w < 1 << 24 &&
                   has_inputs(in.height, g.height, g.kernel_h, g.stride_h, g.pad_top) &&
                   has_inputs(in.width, g.width, g.kernel_w, g.stride_w, g.pad_left);
            break;
        case SZILARD_STEP_GLOBAL_AVERAGE: good = g.channels == in.channels && g.height == 1 && g.width == 1; break;
        case SZILARD_STEP_ACTIVATION:
            if (g.activation < SZILARD_RELU || g.activation > SZILARD_SILU) return SZILARD_BAD_STEP;
            if (!isfinite(g.slope)) return SZILARD_BAD_NUMBER;
            good = same;
            break;
        case SZILARD_STEP_CONCAT: {
            int64_t channels = 0;
            good = same_map;
            for (int32_t k = 0; k < g.n_inputs; ++k) {
                const Value &part = values[g.inputs[k]];
                good = good && part.height == g.height && part.width == g.width;
                channels += part.channels;
            }
            good = good && channels == g.channels;
            break;
        }
        case SZILARD_STEP_SPREADS:
            good = g.channels == 2 * (int64_t)in.channels && g.height == 1 && g.width == 1;
            break;
        case SZILARD_STEP_GAINS: {
            const Value &after = values[g.inputs[1]];
            good = in.size == in.channels && after.size == in.size && after.channels == in.channels &&
                   in.channels == 2 * (int64_t)g.channels && g.height == 1 && g.width == 1;
            break;
        }
        case SZILARD_STEP_SCALE_ROWS: good = same && values[g.inputs[1]].size == in.channels && !in.random; break;
        case SZILARD_STEP_CONTRIBUTIONS:
            good = same && in.size == in.channels;
            for (int32_t k = 1; k < g.n_inputs; k += 2) {
                const Value &rows = values[g.inputs[k]], &noise = values[g.inputs[k + 1]];
                good = good && rows.height == 1 && rows.width == in.channels && rows.channels == noise.size && !rows.random;
            }
            break;
        case SZILARD_STEP_RESHAPE: good = szilard_count({g.channels, g.height, g.width}) == in.size; break;
        default:
            good = g.channels >= 1 && g.height >= 1 && g.width >= 1 && g.stride_h >= 1 && g.stride_w >= 1 &&
                   ((int64_t)g.height - 1) * g.stride_h < in.height && ((int64_t)g.width - 1) * g.stride_w < in.width;
    }
    return good ? SZILARD_OK : SZILARD_BAD_GEOMETRY;
}

}  // namespace szilard_inference
