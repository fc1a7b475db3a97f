// A few rows of pixels, copied for the cache.
//
// A sparse convolution reads the same rows of all channels many times over. In the input, planes a power of two apart
// map to the same cache sets and evict each other. Each row is therefore copied once, with its zero padding, into a
// panel that fits the second-level cache, and every entry of the kernel then reads whole tiles without border cases.
#pragma once
#include <stdlib.h>

#include "szilard.h"
#include "tile.hpp"

namespace {

inline int64_t ceil_div(int64_t a, int64_t b) { return a > 0 ? (a + b - 1) / b : -(-a / b); }
inline int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// An array of fixed size that one thread owns.
template <class T> class Array {
  public:
    explicit Array(int64_t n) : p_(new T[(size_t)(n > 0 ? n : 1)]()) {}
    ~Array() { delete[] p_; }
    Array(const Array &) = delete;
    Array &operator=(const Array &) = delete;
    operator T *() { return p_; }

  private:
    T *p_;
};

// Memory for the panel of a thread, kept from one call to the next: new pages cost more than the copy.
struct PanelMemory {
    float *p = nullptr;
    int64_t size = 0;

    ~PanelMemory() { free(p); }
    float *at_least(int64_t floats) {
        if (floats > size) {
            free(p);
            p = (float *)malloc(sizeof(float) * (size_t)floats);
            size = p ? floats : 0;
            if (!p) abort();  // a failed operator new would also end the process on a thread that cannot report it
        }
        return p;
    }
};
inline PanelMemory &panel_memory(int which) {
    static thread_local PanelMemory memory[2];
    return memory[which];
}

// Pixels of an output row processed at a time, so that panels of `bytes_a_pixel` stay in `cache` bytes.
inline int64_t strip_of(int64_t pixels, int64_t halo, int64_t bytes_a_pixel, int64_t cache = 768 << 10) {
    const int64_t fits = larger(cache / larger(bytes_a_pixel, 1) - halo, 4);
    return ceil_div(pixels, larger(ceil_div(pixels, fits), 1));
}

// Rows [planes][pixels][batch] of a source, as many as a window is high; row y is in slot y % rows. A thread has one of
// each kind at a time.
class Panel {
  public:
    Panel(int kind, int64_t rows, int64_t planes, int64_t pixels, int64_t batch)
        : rows_(rows), row_size_(planes * pixels * batch), data_(panel_memory(kind).at_least(rows * row_size_)),
          held_(rows) {
        forget();
    }

    void forget() {
        for (int64_t i = 0; i < rows_; ++i) held_[i] = -1;
    }
    // Offset of row y; fill(pointer) is called if the row has not been copied yet.
    template <class Fill> int64_t row(int64_t y, Fill &&fill) {
        const int64_t slot = y % rows_;
        if (held_[slot] != y) fill(data_ + slot * row_size_), held_[slot] = y;
        return slot * row_size_;
    }
    const float *data() { return data_; }

  private:
    int64_t rows_, row_size_;
    float *data_;
    Array<int64_t> held_;
};

// to [pixels][batch] = pixels first, first + step, ... of from [width][batch], zero outside it.
inline void copy_pixels(const float *from, int64_t width, int64_t first, int64_t step, int64_t pixels, int64_t batch,
                        float *to) {
    if (batch == 0) return;  // such an input can have a null address
    const int64_t low = smaller(larger(ceil_div(-first, step), 0), pixels);  // inside for low <= j < high
    const int64_t high = larger(smaller(floor_div(width - 1 - first, step) + 1, pixels), low);
    zero(to, low * batch);
    if (step == 1)
        memcpy(to + low * batch, from + (first + low) * batch, sizeof(float) * (size_t)((high - low) * batch));
    else
        for (int64_t j = low; j < high; ++j)
            memcpy(to + j * batch, from + (first + j * step) * batch, sizeof(float) * (size_t)batch);
    zero(to + high * batch, (pixels - high) * batch);
}

// Prefetches [first, last) pixels of from [width][batch] before the copy, so that loads overlap with the sums.
inline void expect_pixels(const float *from, int64_t width, int64_t first, int64_t last, int64_t batch) {
    constexpr int64_t LINE = 64 / sizeof(float);
    const float *end = from + smaller(last, width) * batch;
    for (const float *p = from + larger(first, 0) * batch; p < end; p += LINE) __builtin_prefetch(p, 0, 2);
}

// The entries of a kernel that read one row, as arguments for the tiles of linear.hpp.
struct Entries {
    int32_t count = 0;
    Array<int64_t> at;
    Array<float> mean, variance;
    Array<int32_t> entry;  // position among the values

    explicit Entries(int32_t most) : at(most), mean(most), variance(most), entry(most) {}

    void add(int64_t from, float m, float v, int32_t p) {
        at[count] = from, mean[count] = m, variance[count] = v, entry[count++] = p;
    }
};

inline int32_t most_entries(const int32_t *crow, int32_t rows, int32_t step) {
    int32_t most = 0;
    for (int32_t i = 0; i + step <= rows; i += step)
        if (crow[i + step] - crow[i] > most) most = crow[i + step] - crow[i];
    return most;
}

// The part of the input that a strip of outputs [left, left + pixels) reads. Padded pixel ox * stride + kx * dilation
// is kept in plane (channel, remainder by the stride), so that any stride reads consecutive pixels.
class InputPanel {
  public:
    InputPanel(const szilard_index &index, const szilard_geometry &g, int64_t pixels)
        : entries(most_entries(index.crow, index.rows, 1)), index_(index), g_(g), pixels_(pixels + halo(g)),
          panel_(0, window(g), (int64_t)g.channels * g.stride_w, pixels_, g.batch) {}

    Entries entries;

    static int64_t halo(const szilard_geometry &g) { return (int64_t)(g.kernel_w - 1) * g.dilation_w / g.stride_w; }
    static int64_t window(const szilard_geometry &g) { return (int64_t)(g.kernel_h - 1) * g.dilation_h + 1; }
    static int64_t bytes(const szilard_geometry &g) {
        return window(g) * g.channels * g.stride_w * g.batch * (int64_t)sizeof(float);
    }
    static int64_t strip(const szilard_geometry &g) { return strip_of(g.out_width, halo(g), bytes(g)); }

    void move(int64_t left) { left_ = left, panel_.forget(); }

    // Offsets of the rows that output row oy reads; -1 for one in the padding.
    void read(const float *x, int32_t oy, int64_t *rows) {
        for (int32_t ky = 0; ky < g_.kernel_h; ++ky) {
            const int64_t y = (int64_t)oy * g_.stride_h + (int64_t)ky * g_.dilation_h - g_.pad_h;
            rows[ky] = y < 0 || y >= g_.height ? -1 : panel_.row(y, [&](float *to) { copy(x, y, to); });
        }
    }
    // The share of the prefetch of the next row that output channel o of this row does.
    void expect(const float *x, int32_t oy, int32_t o) const {
        const int64_t y = (int64_t)(oy + 1) * g_.stride_h + window(g_) - 1 - g_.pad_h, first = left_ * g_.stride_w - g_.pad_w;
        if (y < 0 || y >= g_.height) return;
        const int64_t channels = g_.channels, outs = g_.out_channels;
        for (int64_t c = channels * o / outs; c < channels * (o + 1) / outs; ++c)
            expect_pixels(x + (c * g_.height + y) * g_.width * g_.batch, g_.width, first,
                          first + pixels_ * g_.stride_w, g_.batch);
    }
    // The entries of output channel o, with those rows.
    void select(int32_t o, const int64_t *rows, const float *mean, const float *variance) {
        const int64_t first = o / (g_.out_channels / g_.groups) * (g_.channels / g_.groups);
        entries.count = 0;
        for (int32_t p = index_.crow[o]; p < index_.crow[o + 1]; ++p) {
            const int32_t kx = index_.col[p] % g_.kernel_w * g_.dilation_w, rest = index_.col[p] / g_.kernel_w;
            const int64_t row = rows[rest % g_.kernel_h];
            if (row < 0) continue;
            const int64_t plane = (first + rest / g_.kernel_h) * g_.stride_w + kx % g_.stride_w;
            entries.add(row + (plane * pixels_ + kx / g_.stride_w) * g_.batch, mean ? mean[p] : 0,
                        variance ? variance[p] : 0, p);
        }
    }
    const float *data() { return panel_.data(); }

  private:
    void copy(const float *x, int64_t y, float *to) {
        for (int64_t c = 0; c < g_.channels; ++c)
            for (int64_t remainder = 0; remainder < g_.stride_w; ++remainder, to += pixels_ * g_.batch)
                copy_pixels(x + (c * g_.height + y) * g_.width * g_.batch, g_.width,
                            left_ * g_.stride_w + remainder - g_.pad_w, g_.stride_w, pixels_, g_.batch, to);
    }

    const szilard_index &index_;
    const szilard_geometry &g_;
    int64_t left_ = 0, pixels_;
    Panel panel_;
};

// The part of the output's gradient that a strip of inputs x = remainder + j * stride, j in [left, left + pixels),
// reads, followed in each plane by the same part of h = g factor if factor is given.
class OutputPanel {
  public:
    OutputPanel(const szilard_index &index, const szilard_geometry &g, int64_t pixels, bool with_h)
        : entries(most_entries(index.t_crow, index.cols, g.kernel_h * g.kernel_w)), index_(index), g_(g),
          pixels_(pixels + halo(g)),
          panel_(1, window(g), (int64_t)g.out_channels * (with_h ? 2 : 1), pixels_, g.batch), with_h_(with_h) {}

    Entries entries;

    // ox = j + shift with shift in [lowest, lowest + halo].
    static int64_t lowest(const szilard_geometry &g) {
        return floor_div((int64_t)g.pad_w - (int64_t)(g.kernel_w - 1) * g.dilation_w, g.stride_w);
    }
    static int64_t halo(const szilard_geometry &g) { return (g.stride_w - 1 + g.pad_w) / g.stride_w - lowest(g); }
    static int64_t window(const szilard_geometry &g) {
        return (int64_t)(g.kernel_h - 1) * g.dilation_h / g.stride_h + 1;
    }
    static int64_t bytes(const szilard_geometry &g, bool with_h) {
        return window(g) * g.out_channels * (with_h ? 2 : 1) * g.batch * (int64_t)sizeof(float);
    }
    static int64_t strip(const szilard_geometry &g, bool with_h) {
        return strip_of(ceil_div(g.width, g.stride_w), halo(g), bytes(g, with_h));
    }

    void move(int64_t left) { left_ = left, panel_.forget(); }

    // Offsets of the gradient's rows that input row iy reads, by ky; -1 if there is none.
    void read(const float *grad, const float *factor, int32_t iy, int64_t *rows) {
        for (int32_t ky = 0; ky < g_.kernel_h; ++ky) {
            const int64_t y = (int64_t)iy + g_.pad_h - (int64_t)ky * g_.dilation_h, oy = y / g_.stride_h;
            const bool none = y < 0 || y % g_.stride_h || oy >= g_.out_height;
            rows[ky] = none ? -1 : panel_.row(oy, [&](float *to) { copy(grad, factor, oy, to); });
        }
    }
    // The share of the prefetch of the next row that input channel c of this row does.
    void expect(const float *grad, const float *factor, int32_t iy, int32_t c) const {
        const int64_t oy = ((int64_t)iy + 1 + g_.pad_h) / g_.stride_h, first = left_ + lowest(g_);
        if (oy >= g_.out_height) return;
        const int64_t channels = g_.channels, outs = g_.out_channels;
        for (int64_t o = outs * c / channels; o < outs * (c + 1) / channels; ++o) {
            const int64_t from = (o * g_.out_height + oy) * g_.out_width * g_.batch;
            expect_pixels(grad + from, g_.out_width, first, first + pixels_, g_.batch);
            if (factor) expect_pixels(factor + from, g_.out_width, first, first + pixels_, g_.batch);
        }
    }
    // The entries of input channel c for pixels of one remainder; mean and variance in the transpose's order.
    void select(int32_t c, int32_t remainder, const int64_t *rows, const float *mean, const float *variance) {
        const int64_t outs = g_.out_channels / g_.groups, first = c / (g_.channels / g_.groups) * outs;
        const int32_t kernel = g_.kernel_h * g_.kernel_w, column = c % (g_.channels / g_.groups) * kernel;
        entries.count = 0;
        for (int32_t k = 0; k < kernel; ++k) {
            const int64_t x = (int64_t)remainder + g_.pad_w - (int64_t)(k % g_.kernel_w) * g_.dilation_w;
            const int64_t row = rows[k / g_.kernel_w];
            if (row < 0 || x % g_.stride_w) continue;
            const int64_t pixel = x / g_.stride_w - lowest(g_);
            for (int32_t q = index_.t_crow[column + k]; q < index_.t_crow[column + k + 1]; ++q) {
                const int64_t o = index_.t_col[q];
                if (o < first || o >= first + outs) continue;
                entries.add(row + (o * planes() * pixels_ + pixel) * g_.batch, mean[q], variance ? variance[q] : 0, q);
            }
        }
    }
    // Output row oy of channel o from pixel `left` on, for a stride of 1 and a padding smaller than the kernel; h is in
    // the next plane.
    const float *row(const float *grad, const float *factor, int64_t oy, int64_t o) {
        const int64_t at = panel_.row(oy, [&](float *to) { copy(grad, factor, oy, to); });
        return panel_.data() + at + (o * planes() * pixels_ - lowest(g_)) * g_.batch;
    }
    int64_t plane() const { return pixels_ * g_.batch; }
    const float *data() { return panel_.data(); }
    const float *h() { return panel_.data() + plane(); }

  private:
    int64_t planes() const { return with_h_ ? 2 : 1; }
    void copy(const float *grad, const float *factor, int64_t oy, float *to) {
        const int64_t plane = pixels_ * g_.batch;
        for (int64_t o = 0; o < g_.out_channels; ++o) {
            const int64_t from = (o * g_.out_height + oy) * g_.out_width * g_.batch;
            copy_pixels(grad + from, g_.out_width, left_ + lowest(g_), 1, pixels_, g_.batch, to);
            to += plane;
            if (!factor) continue;
            copy_pixels(factor + from, g_.out_width, left_ + lowest(g_), 1, pixels_, g_.batch, to);
            over_tiles(plane, [&](auto vectors, int64_t start, int width) {
                constexpr int V = decltype(vectors)::value;
                for (int k = 0; k < V; ++k)
                    put<V>(to + start, k, width, part<V>(to + start, k, width) * part<V>(to - plane + start, k, width));
            });
            to += plane;
        }
    }

    const szilard_index &index_;
    const szilard_geometry &g_;
    int64_t left_ = 0, pixels_;
    Panel panel_;
    bool with_h_ = false;
};

}  // namespace
