// Direct sparse convolution, batch-innermost: x [channels][height][width][batch], no im2col.
//
// Each existing entry (o, c, ky, kx) of the kernel is one multiply-add of whole tiles: in a panel the pixels that an
// entry reads for consecutive outputs are consecutive, so tiles run over [width][batch] without a break, which fills
// the vectors for small batches too.
#pragma once
#include "linear.hpp"
#include "panel.hpp"

namespace {

// The parts of the output that are computed separately: strips of pixels, bands of rows.
struct Bands {
    int64_t height, pixels, strip, strips, bands;

    Bands(int64_t height, int64_t pixels, int64_t strip, int threads) : height(height), pixels(pixels), strip(strip) {
        strips = strip ? ceil_div(pixels, strip) : 0;
        bands = strips ? smaller(ceil_div(threads > 1 ? 4 * (int64_t)threads : 1, strips), height) : 0;
    }
    int64_t count() const { return strips * bands; }

    // body(part, first row, last row, left, right) in parallel.
    template <class Body> void run(int threads, Body &&body) const {
        parallel(count(), threads, [&](int64_t part) {
            const int64_t s = part / bands, k = part % bands;
            body(part, (int32_t)(height * k / bands), (int32_t)(height * (k + 1) / bands), s * strip,
                 smaller((s + 1) * strip, pixels));
        });
    }
};

// answer(o, begin, entries, panel) for every output channel of every strip of every output row.
template <class Answer>
inline void over_outputs(const szilard_index &index, const szilard_geometry &g, const float *x, const float *mean,
                         const float *variance, int threads, Answer &&answer) {
    const int64_t strip = InputPanel::strip(g);
    const Bands bands(g.out_height, g.out_width, strip, threads);
    bands.run(threads, [&](int64_t, int32_t top, int32_t end, int64_t left, int64_t right) {
        InputPanel panel(index, g, strip);
        Array<int64_t> rows(g.kernel_h);
        panel.move(left);
        for (int32_t oy = top; oy < end; ++oy) {
            panel.read(x, oy, rows);
            for (int32_t o = 0; o < g.out_channels; ++o) {
                panel.expect(x, oy, o);
                panel.select(o, rows, mean, variance);
                answer((((int64_t)o * g.out_height + oy) * g.out_width + left) * g.batch, (right - left) * g.batch, panel);
            }
        }
    });
}

// y[o, p] = sum over entries (o, c, k) of value * x[c, p * stride + k * dilation - pad].
void conv(const szilard_index &index, const szilard_geometry &g, const float *x, const float *values, float *y,
          int threads) {
    over_outputs(index, g, x, values, nullptr, threads, [&](int64_t to, int64_t length, InputPanel &panel) {
        Entries &e = panel.entries;
        over_tiles(length, [&](auto vectors, int64_t start, int width) {
            constexpr int V = decltype(vectors)::value;
            vf sums[V];
            weighted_sum<V>(panel.data() + start, 1, width, (int64_t *)e.at, e.mean, e.count, sums);
            for (int k = 0; k < V; ++k) put<V>(y + to + start, k, width, sums[k]);
        });
    });
}

// The same with both moments of the weight, and independent noise for each output.
void lrt_conv(const szilard_index &index, const szilard_geometry &g, const float *x, const float *mean,
              const float *variance, szilard_key key, float *y, float *factor, int threads) {
    over_outputs(index, g, x, mean, variance, threads, [&](int64_t to, int64_t length, InputPanel &panel) {
        Entries &e = panel.entries;
        Normals normals(key);
        over_tiles(length, [&](auto vectors, int64_t start, int width) {
            constexpr int V = decltype(vectors)::value;
            vf m[V], v[V];
            moments<V>(panel.data() + start, 1, width, (int64_t *)e.at, e.mean, e.variance, e.count, m, v);
            draw<V>(m, v, width, normals, (uint64_t)(to + start), 0, y + to + start,
                    factor ? factor + to + start : nullptr);
        });
    });
}

// Sums over batch and pixels for every entry, S of them at a time. products(begin, length, panel, sums) adds those of
// one strip of one row of an output channel, lane by lane, to sums[entry - first][S]; the totals of entry p go to
// answer(p, totals). Entries are processed in groups whose sums fit the cache, rows in bands; the bands of a group are
// summed in order.
template <int S, class Products, class Answer>
inline void over_entries(const szilard_index &index, const szilard_geometry &g, const float *x, int threads,
                         Products &&products, Answer &&answer) {
    constexpr int32_t GROUP = (256 << 10) / (S * (int)sizeof(vf));
    Array<int32_t> group(index.rows + 1);
    int64_t groups = 0;
    for (int32_t o = 0; o < index.rows; ++o) {
        if (!o || index.crow[o + 1] - index.crow[group[groups - 1]] > GROUP) group[groups++] = o;
        group[groups] = o + 1;
    }
    const int64_t wanted = threads > 1 ? 4 * (int64_t)threads : 1;
    const int64_t bands = smaller(ceil_div(wanted, larger(groups, 1)), larger(g.out_height, 1));
    Array<float> totals(bands * index.nnz * S);
    const int64_t strip = InputPanel::strip(g);
    parallel(groups * bands, threads, [&](int64_t task) {
        const int64_t k = task % bands;
        const int32_t first = group[task / bands], last = group[task / bands + 1], begin = index.crow[first];
        Array<vf[S]> sums(index.crow[last] - begin);
        InputPanel panel(index, g, strip);
        Array<int64_t> rows(g.kernel_h);
        for (int64_t left = 0; left < g.out_width; left += strip) {
            panel.move(left);
            const int64_t length = (smaller(left + strip, g.out_width) - left) * g.batch;
            for (int32_t oy = (int32_t)(g.out_height * k / bands); oy < g.out_height * (k + 1) / bands; ++oy) {
                panel.read(x, oy, rows);
                for (int32_t o = first; o < last; ++o) {
                    panel.expect(x, oy, o);
                    panel.select(o, rows, nullptr, nullptr);
                    products((((int64_t)o * g.out_height + oy) * g.out_width + left) * g.batch, length, panel,
                             (vf(*)[S])sums, begin);
                }
            }
        }
        for (int32_t p = begin; p < index.crow[last]; ++p)
            for (int s = 0; s < S; ++s) totals[(k * index.nnz + p) * S + s] = sum(sums[p - begin][s]);
    });
    for (int32_t p = 0; p < index.nnz; ++p) {
        float total[S] = {};
        for (int64_t k = 0; k < bands; ++k)
            for (int s = 0; s < S; ++s) total[s] += totals[(k * index.nnz + p) * S + s];
        answer(p, total);
    }
}

// grad_values of entry (o, c, k) = sum over batch and pixels of g[o, p] x[c, p * stride + k * dilation - pad].
void conv_grad_values(const szilard_index &index, const szilard_geometry &g, const float *grad, const float *x,
                      float *grad_values, int threads) {
    over_entries<1>(index, g, x, threads,
        [&](int64_t from, int64_t length, InputPanel &panel, vf(*sums)[1], int32_t begin) {
            Entries &e = panel.entries;
            over_tiles(length, [&](auto vectors, int64_t start, int width) {
                constexpr int V = decltype(vectors)::value;
                vf d[V];
                for (int k = 0; k < V; ++k) d[k] = part<V>(grad + from + start, k, width);
                for (int32_t t = 0; t < e.count; ++t)
                    sums[e.entry[t] - begin][0] += product<V>(d, panel.data() + start + e.at[t], width);
            });
        },
        [&](int32_t p, const float *total) { grad_values[p] = total[0]; });
}

// Adds a tile of d = g and f = h to the lane-by-lane sums of the panel's selected entries.
template <int V>
SZILARD_INLINE void two_products_tile(InputPanel &panel, int64_t start, int width, const vf (&d)[V], const vf (&f)[V],
                                      vf (*sums)[2], int32_t begin) {
    Entries &e = panel.entries;
    for (int32_t t = 0; t < e.count; ++t) {
        vf a, b;
        two_products<V>(d, f, panel.data() + start + e.at[t], width, a, b);
        sums[e.entry[t] - begin][0] += a;
        sums[e.entry[t] - begin][1] += b;
    }
}

// Both gradients of the posterior's values, as for a linear map.
void lrt_conv_grad_values(const szilard_index &index, const szilard_geometry &g, const float *grad, const float *x,
                          const float *variance, const float *factor, float *grad_mean, float *grad_log_std,
                          int threads) {
    over_entries<2>(index, g, x, threads,
        [&](int64_t from, int64_t length, InputPanel &panel, vf(*sums)[2], int32_t begin) {
            over_tiles(length, [&](auto vectors, int64_t start, int width) {
                constexpr int V = decltype(vectors)::value;
                vf d[V], f[V];
                for (int k = 0; k < V; ++k) {
                    d[k] = part<V>(grad + from + start, k, width);
                    f[k] = d[k] * part<V>(factor + from + start, k, width);
                }
                two_products_tile<V>(panel, start, width, d, f, sums, begin);
            });
        },
        [&](int32_t p, const float *total) {
            grad_mean[p] = total[0];
            grad_log_std[p] = 2 * variance[p] * total[1];
        });
}

// One tile of grad_x: the sums over the panel's selected entries, from `from` in it to `out`.
template <bool LRT, int V>
SZILARD_INLINE void grad_x_tile(OutputPanel &panel, int64_t from, const float *x, float *grad_x, int64_t out,
                                int width) {
    Entries &e = panel.entries;
    vf a[V], b[V];
    if constexpr (LRT)
        two_sums<V>(panel.data() + from, panel.h() + from, 1, width, (int64_t *)e.at, e.mean, e.variance, e.count, a, b);
    else
        weighted_sum<V>(panel.data() + from, 1, width, (int64_t *)e.at, e.mean, e.count, a);
    for (int k = 0; k < V; ++k) {
        if constexpr (LRT) a[k] += 2.0f * part<V>(x + out, k, width) * b[k];
        put<V>(grad_x + out, k, width, a[k]);
    }
}

// grad_x[c, q] = sum over the entries and outputs that read x[c, q] of value * g: a gather, so that no two threads
// write to the same element. With a factor, + 2 x times the same sum of variance * h, h = g factor. Values in the
// transpose's order.
template <bool LRT>
void grad_x_of(const szilard_index &index, const szilard_geometry &g, const float *grad, const float *factor,
               const float *x, const float *mean, const float *variance, float *grad_x, int threads) {
    const int64_t batch = g.batch, pixels = ceil_div(g.width, g.stride_w), strip = OutputPanel::strip(g, LRT);
    const Bands bands(g.height, pixels, strip, threads);
    bands.run(threads, [&](int64_t, int32_t top, int32_t end, int64_t left, int64_t right) {
        OutputPanel panel(index, g, strip, LRT);
        Array<int64_t> rows(g.kernel_h);
        panel.move(left);
        for (int32_t iy = top; iy < end; ++iy) {
            panel.read(grad, factor, iy, rows);
            for (int32_t c = 0; c < g.channels; ++c) {
                panel.expect(grad, factor, iy, c);
                for (int32_t remainder = 0; remainder < g.stride_w; ++remainder) {
                    panel.select(c, remainder, rows, mean, variance);
                    const int64_t to = (((int64_t)c * g.height + iy) * g.width + remainder) * batch;
                    const int64_t stop = smaller(right, ceil_div(g.width - remainder, g.stride_w));
                    if (g.stride_w == 1)
                        over_tiles((stop - left) * batch, [&](auto vectors, int64_t start, int width) {
                            grad_x_tile<LRT, decltype(vectors)::value>(panel, start, x, grad_x,
                                                                       to + left * batch + start, width);
                        });
                    else
                        for (int64_t j = left; j < stop; ++j)
                            over_tiles(batch, [&](auto vectors, int64_t start, int width) {
                                grad_x_tile<LRT, decltype(vectors)::value>(
                                    panel, (j - left) * batch + start, x, grad_x,
                                    to + j * g.stride_w * batch + start, width);
                            });
                }
            }
        }
    });
}

void conv_grad_x(const szilard_index &index, const szilard_geometry &g, const float *grad, const float *values,
                 float *grad_x, int threads) {
    grad_x_of<false>(index, g, grad, nullptr, nullptr, values, nullptr, grad_x, threads);
}

// All three gradients in one pass over the rows, which reads the gradient, the factor and x from memory once.
void lrt_conv_all_grads(const szilard_index &index, const szilard_geometry &g, const float *grad, const float *x,
                        const float *variance, const float *factor, const float *t_mean, const float *t_variance,
                        float *grad_x, float *grad_mean, float *grad_log_std, int threads) {
    constexpr int64_t CACHE = 1000 << 10;
    const int64_t batch = g.batch, widest = larger(g.width, g.out_width), tallest = larger(g.height, g.out_height);
    const int64_t strip = strip_of(widest, InputPanel::halo(g), InputPanel::bytes(g) + OutputPanel::bytes(g, true), CACHE);
    const Bands bands(tallest, widest, strip, threads);
    Array<float[2]> totals(bands.count() * index.nnz);
    bands.run(threads, [&](int64_t part_number, int32_t top, int32_t end, int64_t left, int64_t right) {
        InputPanel input(index, g, strip);
        OutputPanel output(index, g, strip, true);
        Array<vf[2]> sums(index.nnz);
        Array<int64_t> rows(g.kernel_h);
        input.move(left), output.move(left);
        const int64_t outputs = (smaller(right, g.out_width) - left) * batch;
        const int64_t inputs = (smaller(right, g.width) - left) * batch;
        for (int32_t y = top; y < end; ++y) {
            if (y < g.out_height && outputs > 0) {
                input.read(x, y, rows);
                for (int32_t o = 0; o < g.out_channels; ++o) {
                    input.expect(x, y, o);
                    input.select(o, rows, nullptr, nullptr);
                    const float *from = output.row(grad, factor, y, o);
                    over_tiles(outputs, [&](auto vectors, int64_t start, int width) {
                        constexpr int V = decltype(vectors)::value;
                        vf d[V], f[V];
                        for (int k = 0; k < V; ++k) {
                            d[k] = part<V>(from + start, k, width);
                            f[k] = part<V>(from + output.plane() + start, k, width);
                        }
                        two_products_tile<V>(input, start, width, d, f, (vf(*)[2])sums, 0);
                    });
                }
            }
            if (y >= g.height || inputs <= 0) continue;
            output.read(grad, factor, y, rows);
            for (int32_t c = 0; c < g.channels; ++c) {
                output.expect(grad, factor, y, c);
                output.select(c, 0, rows, t_mean, t_variance);
                const int64_t to = (((int64_t)c * g.height + y) * g.width + left) * batch;
                over_tiles(inputs, [&](auto vectors, int64_t start, int width) {
                    grad_x_tile<true, decltype(vectors)::value>(output, start, x, grad_x, to + start, width);
                });
            }
        }
        for (int32_t p = 0; p < index.nnz; ++p)
            for (int s = 0; s < 2; ++s) totals[part_number * index.nnz + p][s] = sum(sums[p][s]);
    });
    for (int32_t p = 0; p < index.nnz; ++p) {
        float total[2] = {};
        for (int64_t k = 0; k < bands.count(); ++k)
            for (int s = 0; s < 2; ++s) total[s] += totals[k * index.nnz + p][s];
        grad_mean[p] = total[0];
        grad_log_std[p] = 2 * variance[p] * total[1];
    }
}

// Gradients of the posterior's values and, if grad_x is not null, of x. t_mean and t_variance are in the transpose's
// order.
void lrt_conv_grads(const szilard_index &index, const szilard_geometry &g, const float *grad, const float *x,
                    const float *variance, const float *factor, const float *t_mean, const float *t_variance,
                    float *grad_x, float *grad_mean, float *grad_log_std, int threads) {
    const bool plain = g.stride_h == 1 && g.stride_w == 1 && g.dilation_h == 1 && g.dilation_w == 1 &&
                       g.pad_h < g.kernel_h && g.pad_w < g.kernel_w;
    const bool sums_fit = index.nnz <= (256 << 10) / (2 * (int)sizeof(vf));
    if (grad_x && plain && sums_fit)
        return lrt_conv_all_grads(index, g, grad, x, variance, factor, t_mean, t_variance, grad_x, grad_mean,
                                  grad_log_std, threads);
    lrt_conv_grad_values(index, g, grad, x, variance, factor, grad_mean, grad_log_std, threads);
    if (grad_x) grad_x_of<true>(index, g, grad, factor, x, t_mean, t_variance, grad_x, threads);
}

}  // namespace
