// Checks of an index: every position in it is inside its array. O(nnz), vectorised by the compiler.
#pragma once
#include <stdint.h>

#include <initializer_list>

#include "szilard.h"

// Elements of an array of these sizes; -1 if a size is negative or the product is too large for any machine.
inline int64_t szilard_count(std::initializer_list<int64_t> sizes) {
    int64_t count = 1;
    bool huge = false, empty = false;
    for (const int64_t size : sizes) {
        if (size < 0) return -1;
        empty |= size == 0;
        huge |= __builtin_mul_overflow(count, size, &count);
    }
    return empty ? 0 : huge ? -1 : count;
}

// Whether an output array is not null and has room for `count` elements.
inline bool szilard_fits(const void *array, int64_t room, int64_t count) {
    return count >= 0 && room >= count && (array || !count);
}
// The same for an array that may be null, and is not written then.
inline bool szilard_fits_if(const void *array, int64_t room, int64_t count) {
    return !array || szilard_fits(array, room, count);
}

inline int szilard_check_csr(int32_t rows, int32_t cols, int32_t nnz, const int32_t *crow, const int32_t *col,
                             int bad_crow, int bad_col) {
    if (rows < 0 || cols < 0 || nnz < 0) return SZILARD_BAD_GEOMETRY;
    if (!crow || (nnz && !col)) return bad_crow;
    if (crow[0] != 0 || crow[rows] != nnz) return bad_crow;
    int32_t falls = 0;
    for (int32_t i = 0; i < rows; ++i) falls |= crow[i + 1] < crow[i];
    if (falls) return bad_crow;
    int32_t outside = 0, descents = 0, allowed = 0;
    for (int32_t p = 0; p < nnz; ++p) outside |= (uint32_t)col[p] >= (uint32_t)cols;
    if (outside) return bad_col;
    for (int32_t p = 0; p + 1 < nnz; ++p) descents += col[p] >= col[p + 1];
    for (int32_t i = 1; i < rows; ++i) {  // columns can decrease only where a new row begins
        const int32_t p = crow[i];
        if (p > crow[i - 1] && p < nnz) allowed += col[p - 1] >= col[p];
    }
    return descents == allowed ? SZILARD_OK : bad_col;
}

// With `transpose`, also checks that t_* is in range; `rows` and `cols` are swapped there.
inline int szilard_check_index(const szilard_index *i, bool transpose) {
    if (!i) return SZILARD_BAD_GEOMETRY;
    if (const int bad = szilard_check_csr(i->rows, i->cols, i->nnz, i->crow, i->col, SZILARD_BAD_CROW, SZILARD_BAD_COL))
        return bad;
    if (!transpose) return SZILARD_OK;
    if (const int bad = szilard_check_csr(i->cols, i->rows, i->nnz, i->t_crow, i->t_col, SZILARD_BAD_TRANSPOSE,
                                          SZILARD_BAD_TRANSPOSE))
        return bad;
    if (i->nnz && !i->t_perm) return SZILARD_BAD_TRANSPOSE;
    int32_t outside = 0;
    for (int32_t p = 0; p < i->nnz; ++p) outside |= (uint32_t)i->t_perm[p] >= (uint32_t)i->nnz;
    return outside ? SZILARD_BAD_TRANSPOSE : SZILARD_OK;
}

// Whether the sizes of one axis match: the last window must end inside the padded input.
inline bool szilard_axis_fits(int32_t size, int32_t out, int32_t kernel, int32_t stride, int32_t pad, int32_t dilation) {
    if (size < 0 || out < 0 || kernel < 1 || stride < 1 || pad < 0 || dilation < 1) return false;
    const int64_t reach = (int64_t)dilation * (kernel - 1);
    return !out || ((int64_t)out - 1) * stride + reach < (int64_t)size + 2 * (int64_t)pad;
}

inline int szilard_check_geometry(const szilard_geometry *g) {
    if (!g || g->batch < 0 || g->channels < 1 || g->out_channels < 1 || g->groups < 1 ||
        g->channels % g->groups || g->out_channels % g->groups ||
        !szilard_axis_fits(g->height, g->out_height, g->kernel_h, g->stride_h, g->pad_h, g->dilation_h) ||
        !szilard_axis_fits(g->width, g->out_width, g->kernel_w, g->stride_w, g->pad_w, g->dilation_w))
        return SZILARD_BAD_GEOMETRY;
    return SZILARD_OK;
}

// Elements of the input and of the output.
inline int64_t szilard_input_count(const szilard_geometry *g) {
    return szilard_count({g->channels, g->height, g->width, g->batch});
}
inline int64_t szilard_output_count(const szilard_geometry *g) {
    return szilard_count({g->out_channels, g->out_height, g->out_width, g->batch});
}

// Whether the sizes of a convolution's panels (panel.hpp) cannot overflow: a wide dilation or padding makes them larger
// than its arrays. The bound is generous; below it, allocation can still fail for lack of memory.
inline bool szilard_panels_fit(const szilard_geometry *g) {
    const int64_t reach_h = ((int64_t)g->kernel_h - 1) * g->dilation_h, reach_w = ((int64_t)g->kernel_w - 1) * g->dilation_w;
    if (reach_h > INT32_MAX || reach_w > INT32_MAX) return false;
    const int64_t widest = g->width > g->out_width ? g->width : g->out_width;
    const int64_t pixels = widest + reach_w + g->pad_w + g->stride_w;
    const int64_t planes = (int64_t)g->channels * g->stride_w + 2 * (int64_t)g->out_channels;
    const int64_t floats = szilard_count({reach_h + 1, planes, pixels, g->batch});
    return floats >= 0 && floats < (int64_t)1 << 40;
}

inline int szilard_check_conv(const szilard_index *index, const szilard_geometry *g, bool transpose) {
    if (const int bad = szilard_check_geometry(g)) return bad;
    if (const int bad = szilard_check_index(index, transpose)) return bad;
    const int64_t cols = szilard_count({g->channels / g->groups, g->kernel_h, g->kernel_w});
    if (index->rows != g->out_channels || index->cols != cols) return SZILARD_BAD_GEOMETRY;
    return szilard_panels_fit(g) ? SZILARD_OK : SZILARD_NO_MEMORY;
}
