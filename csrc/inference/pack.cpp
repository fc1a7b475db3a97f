// Weights in the order in which the kernels read them.
#include <algorithm>
#include <numeric>

#include "build.hpp"

namespace szilard_inference {

namespace {

// The numbers of a moments' entry.
void put_entry(float *to, float mean, const float *variance, int64_t at) {
    to[0] = mean, to[1] = mean * mean, to[2] = variance ? variance[at] : 0.0f;
}

template <class Col> const Col *narrowed(Built &built, const int32_t *from, int64_t n) {
    Col *to = built.array<Col>(n);
    for (int64_t p = 0; p < n; ++p) to[p] = (Col)from[p];
    return to;
}

const float *entries(Built &built, const szilard_step &g, bool moments) {
    if (!moments) return built.copy(g.mean, g.nnz);
    float *to = built.array<float>(3 * (int64_t)g.nnz + 1);
    for (int64_t p = 0; p < g.nnz; ++p) put_entry(to + 3 * p, g.mean[p], g.variance, p);
    return to;
}

// Rows by falling length in slices of 16, a row in each lane.
template <class Col> void pack_lanes(Built &built, Sparse &a, const szilard_step &g) {
    std::vector<int32_t> order(g.rows);
    std::iota(order.begin(), order.end(), 0);
    auto length = [&](int32_t row) { return g.crow[row + 1] - g.crow[row]; };
    std::stable_sort(order.begin(), order.end(), [&](int32_t i, int32_t j) { return length(i) > length(j); });
    a.slices = (g.rows + LANES - 1) / LANES;
    int32_t *start = built.array<int32_t>((int64_t)a.slices + 1),
            *lane_row = built.array<int32_t>((int64_t)a.slices * LANES);
    for (int32_t s = 0; s < a.slices; ++s) start[s + 1] = start[s] + length(order[s * LANES]);
    float *lanes = built.array<float>((int64_t)start[a.slices] * LANES);
    Col *lane_col = built.array<Col>((int64_t)start[a.slices] * LANES);
    for (int32_t i = 0; i < a.slices * LANES; ++i) {
        lane_row[i] = i < g.rows ? order[i] : -1;
        for (int32_t k = 0; i < g.rows && k < length(order[i]); ++k) {
            const int64_t to = ((int64_t)start[i / LANES] + k) * LANES + i % LANES;
            lanes[to] = g.mean[g.crow[order[i]] + k];
            lane_col[to] = (Col)g.col[g.crow[order[i]] + k];
        }
    }
    a.start = start, a.order = lane_row, a.lanes = lanes, a.lane_col = lane_col;
}

template <class Col> void pack_columns(Built &built, Sparse &a, const szilard_step &g) {
    int32_t *t_crow = built.array<int32_t>((int64_t)g.cols + 1);
    for (int32_t p = 0; p < g.nnz; ++p) ++t_crow[g.col[p] + 1];
    for (int32_t j = 0; j < g.cols; ++j) t_crow[j + 1] += t_crow[j];
    std::vector<int32_t> next(t_crow, t_crow + g.cols);
    float *t_weight = built.array<float>(g.nnz);
    Col *t_row = built.array<Col>(g.nnz);
    for (int32_t i = 0; i < g.rows; ++i)
        for (int32_t p = g.crow[i]; p < g.crow[i + 1]; ++p) {
            const int32_t to = next[g.col[p]]++;
            t_row[to] = (Col)i, t_weight[to] = g.mean[p];
        }
    a.t_crow = t_crow, a.t_row = t_row, a.t_weight = t_weight;
}

template <class Col> void pack_sparse(Built &built, Step &step, int32_t batch, bool moments) {
    Sparse &a = step.rows;
    const szilard_step &g = step.given;
    if (batch == 1 && !moments) {
        pack_lanes<Col>(built, a, g);
        pack_columns<Col>(built, a, g);
        return;
    }
    a.crow = built.copy(g.crow, (int64_t)g.rows + 1);
    a.col = narrowed<Col>(built, g.col, g.nnz);
    a.weight = entries(built, g, moments);
}

int64_t vectors(int64_t floats) { return (floats + LANES - 1) / LANES; }

// Where a tap reads for the first output.
struct Tap {
    int64_t phase, row, column;
};
Tap tap(const szilard_step &g, const Planes &p, int64_t kernel_y, int64_t kernel_x) {
    const int64_t y = kernel_y * g.dilation_h, x = kernel_x * g.dilation_w;
    const int64_t phase_h = y % p.phases_h * p.phases_w;
    if (p.by_column) return {phase_h + kernel_x, y / p.phases_h, 0};
    return {phase_h + x % p.phases_w, y / p.phases_h, x / p.phases_w};
}

}  // namespace

void pack_dense_linear(Built &built, Step &step, bool moments) {
    const szilard_step &g = step.given;
    const int64_t blocks = ((int64_t)g.rows + LANES - 1) / LANES, step_size = moments ? 2 * LANES : LANES;
    float *to = built.array<float>(blocks * g.cols * step_size);
    for (int64_t o = 0; o < g.rows; ++o)
        for (int64_t i = 0; i < g.cols; ++i) {
            float *at = to + (o / LANES * g.cols + i) * step_size + o % LANES;
            at[0] = g.mean[o * g.cols + i];
            if (moments) at[LANES] = g.variance ? g.variance[o * g.cols + i] : 0.0f;
        }
    step.dense.weight = to;
}

void pack_sparse_linear(Built &built, Step &step, int32_t batch, bool moments) {
    step.rows.narrow = std::max(step.given.rows, step.given.cols) <= 1 << 16;
    if (step.rows.narrow)
        pack_sparse<uint16_t>(built, step, batch, moments);
    else
        pack_sparse<int32_t>(built, step, batch, moments);
}

bool plan_planes(Built &built, Step &step, const Value &in) {
    const szilard_step &g = step.given;
    Planes &p = step.planes;
    const int64_t high = ((int64_t)g.height - 1) * g.stride_h + ((int64_t)g.kernel_h - 1) * g.dilation_h + 1;
    const int64_t wide = ((int64_t)g.width - 1) * g.stride_w + ((int64_t)g.kernel_w - 1) * g.dilation_w + 1;
    if (high > 1 << 24 || wide > 1 << 24 || (int64_t)g.stride_h * g.stride_w > 1 << 16) return false;
    p.phases_h = g.stride_h, p.phases_w = g.stride_w;
    p.rows = (int32_t)((high + g.stride_h - 1) / g.stride_h), p.pitch = (int32_t)((wide + g.stride_w - 1) / g.stride_w);
    p.between = 1;
    const int64_t exact = vectors((int64_t)g.height * g.width);
    const int64_t now = std::min(vectors(g.width) * g.height, vectors(((int64_t)g.height - 1) * p.pitch + g.width));
    // Copying a vector takes as long as about four products.
    const int64_t products = step.sparse ? g.nnz : (int64_t)g.rows * g.cols;
    const int64_t copied = 4 * in.channels * ((int64_t)g.kernel_w - 1) * p.rows * vectors(g.width);
    if (g.kernel_w <= 16 && products * (now - exact) > copied)
        p.by_column = true, p.phases_w = g.kernel_w, p.between = g.dilation_w, p.pitch = g.width;
    p.plane = szilard_count({p.phases_h, p.phases_w, p.rows, p.pitch});
    const int64_t all = szilard_count({in.channels, p.plane});
    if (all < 0 || all > INT32_MAX - 4 * SLACK) return false;
    uint8_t *used = built.array<uint8_t>((int64_t)p.phases_h * p.phases_w);
    for (int32_t y = 0; y < g.kernel_h; ++y)
        for (int32_t x = 0; x < g.kernel_w; ++x) used[tap(g, p, y, x).phase] = 1;
    p.used = used;
    return true;
}

void pack_conv(Built &built, Step &step, bool moments) {
    const szilard_step &g = step.given;
    Planes &p = step.planes;
    auto place = [&](int64_t column) {  // of a column of the weight in the planes of a group
        const int64_t channel = column / ((int64_t)g.kernel_w * g.kernel_h);
        const Tap at = tap(g, p, column / g.kernel_w % g.kernel_h, column % g.kernel_w);
        return (int32_t)(channel * p.plane + (at.phase * p.rows + at.row) * p.pitch + at.column);
    };
    if (step.sparse) {
        step.rows.crow = built.copy(g.crow, (int64_t)g.rows + 1);
        step.rows.weight = entries(built, g, moments);
        int32_t *offset = built.array<int32_t>(g.nnz);
        for (int32_t e = 0; e < g.nnz; ++e) offset[e] = place(g.col[e]);
        p.offset = offset;
        return;
    }
    p.taps = g.cols;
    int32_t *offset = built.array<int32_t>(g.cols);
    for (int32_t t = 0; t < g.cols; ++t) offset[t] = place(t);
    p.offset = offset;
    const int64_t size = moments ? 3 : 1, per_group = g.rows / g.groups;
    float *to = built.array<float>((int64_t)g.rows * g.cols * size);
    for (int64_t o = 0; o < g.rows; ++o) {
        const int64_t in_group = o % per_group, lane = in_group % CHANNELS, first = o - lane;
        const int64_t tile = std::min<int64_t>(CHANNELS, per_group - (in_group - lane));
        for (int64_t t = 0; t < g.cols; ++t) {
            float *at = to + (first * g.cols + t * tile + lane) * size;
            if (moments)
                put_entry(at, g.mean[o * g.cols + t], g.variance, o * g.cols + t);
            else
                at[0] = g.mean[o * g.cols + t];
        }
    }
    step.dense.weight = to;
}

}  // namespace szilard_inference
