// Products with a sparse matrix W [rows][cols] and activations [features][batch].
#pragma once
#include "philox.hpp"
#include "tile.hpp"

namespace {

constexpr float TINY = 1e-8f;  // added to a variance before its root, whose slope at zero is infinite

// The tiles below read rows x + at[p] * stride of V vectors; their accumulators are registers.

// Number of separate sums for tiles of few vectors, so that an addition does not wait for the one before.
template <int V> constexpr int CHAINS = V >= 8 ? 1 : V >= 4 ? 2 : 4;

// sum_p value_p x[at_p]
template <int V, class Place>
SZILARD_INLINE void weighted_sum(const float *x, int64_t stride, int width, const Place *at, const float *value,
                                 int32_t entries, vf (&sums)[V]) {
    constexpr int U = CHAINS<V>;
    vf a[U][V] = {};
    int32_t p = 0;
    for (; p + U <= entries; p += U)
        for (int u = 0; u < U; ++u) {
            const float *row = x + at[p + u] * stride;
            for (int k = 0; k < V; ++k) a[u][k] += value[p + u] * part<V>(row, k, width);
        }
    for (; p < entries; ++p) {
        const float *row = x + at[p] * stride;
        for (int k = 0; k < V; ++k) a[0][k] += value[p] * part<V>(row, k, width);
    }
    for (int k = 0; k < V; ++k) {
        sums[k] = a[0][k];
        for (int u = 1; u < U; ++u) sums[k] += a[u][k];
    }
}

// sum_p mean_p x[at_p] and sum_p variance_p x[at_p]^2: both read x once.
template <int V, class Place>
SZILARD_INLINE void moments(const float *x, int64_t stride, int width, const Place *at, const float *mean,
                            const float *variance, int32_t entries, vf (&m)[V], vf (&v)[V]) {
    constexpr int U = V >= 4 ? 1 : 2;
    vf a[U][V] = {}, b[U][V] = {};
    int32_t p = 0;
    for (; p + U <= entries; p += U)
        for (int u = 0; u < U; ++u) {
            const float *row = x + at[p + u] * stride;
            for (int k = 0; k < V; ++k) {
                const vf t = part<V>(row, k, width);
                a[u][k] += mean[p + u] * t;
                b[u][k] += variance[p + u] * (t * t);
            }
        }
    for (; p < entries; ++p) {
        const float *row = x + at[p] * stride;
        for (int k = 0; k < V; ++k) {
            const vf t = part<V>(row, k, width);
            a[0][k] += mean[p] * t;
            b[0][k] += variance[p] * (t * t);
        }
    }
    for (int k = 0; k < V; ++k) {
        m[k] = a[0][k], v[k] = b[0][k];
        for (int u = 1; u < U; ++u) m[k] += a[u][k], v[k] += b[u][k];
    }
}

// sum_p mean_p g[at_p] and sum_p variance_p h[at_p].
template <int V, class Place>
SZILARD_INLINE void two_sums(const float *g, const float *h, int64_t stride, int width, const Place *at,
                             const float *mean, const float *variance, int32_t entries, vf (&m)[V], vf (&v)[V]) {
    vf a[V] = {}, b[V] = {};
    for (int32_t p = 0; p < entries; ++p) {
        const int64_t from = at[p] * stride;
        for (int k = 0; k < V; ++k) {
            a[k] += mean[p] * part<V>(g + from, k, width);
            b[k] += variance[p] * part<V>(h + from, k, width);
        }
    }
    for (int k = 0; k < V; ++k) m[k] = a[k], v[k] = b[k];
}

// The vectors d and f against one row x: sum d x and sum f x^2, lane by lane.
template <int V>
SZILARD_INLINE void two_products(const vf (&d)[V], const vf (&f)[V], const float *x, int width, vf &a, vf &b) {
    vf s[2] = {}, q[2] = {};
    for (int k = 0; k < V; ++k) {
        const vf t = part<V>(x, k, width);
        s[k % 2] += d[k] * t;
        q[k % 2] += f[k] * (t * t);
    }
    a = s[0] + s[1], b = q[0] + q[1];
}

template <int V> SZILARD_INLINE vf product(const vf (&d)[V], const float *x, int width) {
    vf s[2] = {};
    for (int k = 0; k < V; ++k) s[k % 2] += d[k] * part<V>(x, k, width);
    return s[0] + s[1];
}

// y = m + s e, with ReLU if relu, and factor = e / (2 s), with s^2 = v + tiny and e the elements of the draw from
// `element`.
template <int V>
SZILARD_INLINE void draw(vf (&m)[V], vf (&v)[V], int width, Normals &normals, uint64_t element, int relu, float *y,
                         float *factor) {
    float noise[V * W];
    if (V == 1 && width < W) memset(noise, 0, sizeof noise);
    normals.fill(element, width, noise);
    for (int k = 0; k < V; ++k) {
        const vf variance = v[k] + TINY, inverse = inverse_root(variance), e = load(noise + k * W);
        const vf drawn = m[k] + e * (variance * inverse);
        put<V>(y, k, width, relu ? maximum(vf{}, drawn) : drawn);
        if (factor) put<V>(factor, k, width, 0.5f * e * inverse);
    }
}

// y_ib = sum_j W_ij x_jb. `place` and `value` may belong to the transpose.
void linear(int32_t rows, const int32_t *crow, const int32_t *place, int64_t batch, const float *x,
            const float *value, float *y, int threads) {
    over_rows(rows, crow, 2, threads, [&](int32_t first, int32_t last) {
        over_tiles(batch, [&](auto vectors, int64_t start, int width) {
            constexpr int V = decltype(vectors)::value;
            for (int32_t i = first; i < last; ++i) {
                vf sums[V];
                weighted_sum<V>(x + start, batch, width, place + crow[i], value + crow[i], crow[i + 1] - crow[i],
                                sums);
                for (int k = 0; k < V; ++k) put<V>(y + i * batch + start, k, width, sums[k]);
            }
        });
    });
}

// y = W_mean x + bias + s e with s^2 = W_variance x^2 + tiny; with ReLU if relu.
void lrt_linear(const szilard_index &index, int64_t batch, const float *x, const float *mean,
                const float *variance, const float *bias, szilard_key key, int relu, float *y, float *factor,
                int threads) {
    const int32_t *crow = index.crow;
    over_rows(index.rows, crow, 8, threads, [&](int32_t first, int32_t last) {
        Normals normals(key);
        over_tiles(batch, [&](auto vectors, int64_t start, int width) {
            constexpr int V = decltype(vectors)::value;
            for (int32_t i = first; i < last; ++i) {
                vf m[V], v[V];
                moments<V>(x + start, batch, width, index.col + crow[i], mean + crow[i], variance + crow[i],
                           crow[i + 1] - crow[i], m, v);
                if (bias)
                    for (int k = 0; k < V; ++k) m[k] += bias[i];
                const int64_t at = i * batch + start;
                draw<V>(m, v, width, normals, (uint64_t)at, relu, y + at, factor ? factor + at : nullptr);
            }
        });
    });
}

// grad_ij = sum_b g_ib x_jb over existing entries (a sampled dense-dense product).
void linear_grad_values(const szilard_index &index, int64_t batch, const float *grad, const float *x,
                        float *grad_values, int threads) {
    const int32_t *crow = index.crow;
    over_rows(index.rows, crow, 1, threads, [&](int32_t first, int32_t last) {
        zero(grad_values + crow[first], crow[last] - crow[first]);
        over_tiles(batch, [&](auto vectors, int64_t start, int width) {
            constexpr int V = decltype(vectors)::value;
            for (int32_t i = first; i < last; ++i) {
                vf g[V];
                for (int k = 0; k < V; ++k) g[k] = part<V>(grad + i * batch + start, k, width);
                for (int32_t p = crow[i]; p < crow[i + 1]; p += W) {
                    const int n = crow[i + 1] - p < W ? crow[i + 1] - p : W;
                    vf s[W];
                    for (int j = 0; j < n; ++j) s[j] = product<V>(g, x + index.col[p + j] * batch + start, width);
                    add_sums(s, n, grad_values + p);
                }
            }
        });
    });
}

// g and h are stored as [batch / HALF][rows][2][HALF]: the gradient of x reads for one part of the batch half of the
// second-level cache, while whole rows of both would overflow it.
constexpr int64_t HALF = 4 * W;
inline int64_t gh_size(int64_t rows, int64_t batch) { return (batch + HALF - 1) / HALF * HALF * rows * 2; }
inline int64_t gh_place(int64_t rows, int64_t i, int64_t b) {
    return ((b / HALF * rows + i) * 2) * HALF + b % HALF;
}

// grad_mean_ij = sum_b g_ib x_jb, grad_log_std_ij = 2 variance_ij sum_b h_ib x_jb^2 and grad_bias_i = sum_b g_ib, with
// g = grad, only where y > 0 if y is not null, and h = g factor;
// where it is not null, gh keeps both g and h for the gradient of x (see gh_place).
void lrt_linear_grad_values(const szilard_index &index, int64_t batch, const float *grad, const float *x,
                            const float *variance, const float *factor, const float *y, float *gh,
                            float *grad_mean, float *grad_log_std, float *grad_bias, int threads) {
    const int32_t *crow = index.crow;
    over_rows(index.rows, crow, 2, threads, [&](int32_t first, int32_t last) {
        const int32_t begin = crow[first], end = crow[last];
        zero(grad_mean + begin, end - begin);
        zero(grad_log_std + begin, end - begin);
        if (grad_bias) zero(grad_bias + first, last - first);
        over_tiles(batch, [&](auto vectors, int64_t start, int width) {
            constexpr int V = decltype(vectors)::value;
            for (int32_t i = first; i < last; ++i) {
                const int64_t at = i * batch + start;
                vf g[V], f[V];
                for (int k = 0; k < V; ++k) {
                    g[k] = part<V>(grad + at, k, width);
                    if (y) g[k] = select((vi)(part<V>(y + at, k, width) > 0.0f), g[k], vf{});
                    f[k] = g[k] * part<V>(factor + at, k, width);
                    if (!gh) continue;
                    float *to = gh + gh_place(index.rows, i, start + k * W);
                    put<V>(to, 0, width, g[k]);
                    put<V>(to + HALF, 0, width, f[k]);
                }
                if (grad_bias) {
                    vf total = g[0];
                    for (int k = 1; k < V; ++k) total += g[k];
                    grad_bias[i] += sum(total);
                }
                for (int32_t p = crow[i]; p < crow[i + 1]; p += W) {
                    const int n = crow[i + 1] - p < W ? crow[i + 1] - p : W;
                    vf a[W], b[W];
                    for (int j = 0; j < n; ++j)
                        two_products<V>(g, f, x + index.col[p + j] * batch + start, width, a[j], b[j]);
                    add_sums(a, n, grad_mean + p);
                    add_sums(b, n, grad_log_std + p);
                }
            }
        });
        for (int32_t p = begin; p < end; ++p) grad_log_std[p] *= 2 * variance[p];
    });
}

// grad_x_jb = sum_i mean_ij g_ib + 2 x_jb sum_i variance_ij h_ib; mean and variance in the transpose's order.
void lrt_linear_grad_x(const szilard_index &index, int64_t batch, const float *gh, const float *x,
                        const float *mean, const float *variance, float *grad_x, int threads) {
    const int32_t *crow = index.t_crow;
    over_rows(index.cols, crow, 2, threads, [&](int32_t first, int32_t last) {
        over_tiles<4>(batch, [&](auto vectors, int64_t start, int width) {
            constexpr int V = decltype(vectors)::value;
            const float *from = gh + gh_place(index.rows, 0, start);
            for (int32_t j = first; j < last; ++j) {
                vf a[V], b[V];
                two_sums<V>(from, from + HALF, 2 * HALF, width, index.t_col + crow[j], mean + crow[j],
                            variance + crow[j], crow[j + 1] - crow[j], a, b);
                const int64_t at = j * batch + start;
                for (int k = 0; k < V; ++k)
                    put<V>(grad_x + at, k, width, a[k] + 2.0f * part<V>(x + at, k, width) * b[k]);
            }
        });
    });
}

// variance = e^(2 log_std), and values in the order of the transpose.
void square_exponential(int64_t n, const float *log_std, float *variance) {
    over_tiles(n, [&](auto vectors, int64_t start, int width) {
        constexpr int V = decltype(vectors)::value;
        for (int k = 0; k < V; ++k)
            put<V>(variance + start, k, width, exponential(2.0f * part<V>(log_std + start, k, width)));
    });
}

}  // namespace
