// The prediction of one pass, in blocks of targets side by side. It must give what codec/features.py and codec/network.py
// give.
#pragma once
#include "field.h"
#include "simd.hpp"

namespace field {

constexpr int NEIGHBOURS = 20, LINEAR = 23, INPUTS = 31, HIDDEN = 32, BLOCK = 64;
constexpr int32_t MOST = 4095, FAR = 1 << 30, LEAST = 256, MOST_SHIFT = (1 << 21) - 1;

static inline int32_t cut(int64_t value, int64_t most) { return (int32_t)(value > most ? most : value < -most ? -most : value); }

static inline int bits(int64_t positive) { return 64 - __builtin_clzll((uint64_t)positive); }

// log2 in 256ths, linear between powers of two
static inline int32_t log2_of(int64_t value) {
    const int n = bits(value);
    return ((n - 1) << 8) + (int32_t)((value << 8) >> (n - 1)) - 256;
}

// sum over `inputs` rows, for all lanes: weights times rows, plus a bias, over 1024
static inline void layer(int outputs, int inputs, const int32_t *weights, const int32_t *bias,
                         const int32_t (*rows)[BLOCK], int32_t (*out)[BLOCK]) {
    for (int u = 0; u < outputs; ++u) {
        int32_t sum[BLOCK];
        for (int l = 0; l < BLOCK; ++l) sum[l] = bias[u] + 512;
        for (int i = 0; i < inputs; ++i) {
            const int32_t w = weights[u * inputs + i];
            for (int l = 0; l < BLOCK; ++l) sum[l] += w * rows[i][l];
        }
        for (int l = 0; l < BLOCK; ++l) out[u][l] = sum[l] >> 10;
    }
}

static inline int32_t within(int32_t value, int32_t low, int32_t high) {
    return value < low ? low : value > high ? high : value;
}

static void predict(const szilard_field_network &net, const szilard_field_pass &pass, int64_t *predicted,
                    int32_t *scales) {
    alignas(64) int32_t inputs[INPUTS][BLOCK], one[HIDDEN][BLOCK], two[HIDDEN][BLOCK];
    alignas(64) int64_t middle[BLOCK], last[2][BLOCK];
    alignas(64) double linear[BLOCK];
    int32_t exponent[BLOCK], spread_log[BLOCK];
    const int n = pass.neighbours, hidden = net.hidden;
    for (int64_t start = 0; start < pass.count; start += BLOCK) {
        const int64_t left = pass.count - start;
        const int lanes = left < BLOCK ? (int)left : BLOCK;
        for (int l = 0; l < lanes; ++l) {
            const int64_t t = start + l;
            int64_t around[NEIGHBOURS];
            for (int k = 0; k < n; ++k) around[k] = pass.values[pass.near[k * pass.count + t]];
            const int64_t m = (around[0] + around[1] + around[2] + around[3]) >> 2;
            int32_t d[LINEAR] = {};
            int64_t near = 0, all = 0;
            for (int k = 0; k < n; ++k) {
                d[k] = cut(around[k] - m, FAR);
                const int64_t size = d[k] < 0 ? -(int64_t)d[k] : d[k];
                all += size;
                if (k < 4) near += size;
            }
            near = near >> 2 < LEAST ? LEAST : near >> 2;
            all = all >> 4 < LEAST ? LEAST : all >> 4;
            const int e = bits(all);
            for (int k = 0; k < 2; ++k)
                if (const int64_t *other = k ? pass.second_earlier : pass.first_earlier) {
                    int64_t sum = 0;
                    for (int q = 0; q < 4; ++q) sum += other[pass.near[q * pass.count + t]];
                    d[NEIGHBOURS + k] = cut(other[pass.targets[t]] - (sum >> 2), FAR);
                }
            d[NEIGHBOURS + 2] = cut(pass.anchor - m, FAR);
            double total = 0;
            for (int k = 0; k < LINEAR; ++k) {
                total += (double)net.linear[k] * (double)d[k];
                inputs[k][l] = cut(((int64_t)d[k] * 256) >> e, MOST);
            }
            linear[l] = total;
            middle[l] = m;
            exponent[l] = e;
            spread_log[l] = log2_of(all);
            inputs[LINEAR][l] = cut((log2_of(near) - 3328) >> 1, MOST);
            inputs[LINEAR + 1][l] = cut((spread_log[l] - 3328) >> 1, MOST);
            inputs[LINEAR + 2][l] = pass.latitude[t];
            for (int k = 0; k < 3; ++k) inputs[LINEAR + 3 + k][l] = pass.kind == k ? 256 : 0;
            inputs[LINEAR + 6][l] = pass.level * 128;
            inputs[LINEAR + 7][l] = pass.place;
        }
        for (int l = lanes; l < BLOCK; ++l)
            for (int k = 0; k < INPUTS; ++k) inputs[k][l] = 0;
        layer(hidden, INPUTS, net.first, net.biases, inputs, one);
        for (int u = 0; u < hidden; ++u)
            for (int l = 0; l < BLOCK; ++l) one[u][l] = within(one[u][l], 0, MOST);
        layer(hidden, hidden, net.second, net.biases + hidden, one, two);
        for (int u = 0; u < hidden; ++u)
            for (int l = 0; l < BLOCK; ++l) two[u][l] = within(one[u][l] + within(two[u][l], 0, MOST), 0, MOST);
        for (int u = 0; u < 2; ++u) {
            int64_t sum[BLOCK];
            for (int l = 0; l < BLOCK; ++l) sum[l] = (int64_t)net.biases[2 * hidden + u] * 16;
            for (int i = 0; i < hidden; ++i) {
                const int64_t w = net.last[u * hidden + i];
                for (int l = 0; l < BLOCK; ++l) sum[l] += w * two[i][l];
            }
            for (int l = 0; l < BLOCK; ++l) last[u][l] = sum[l];
        }
        for (int l = 0; l < lanes; ++l) {
            const int64_t shift = cut((last[0][l] + 128) >> 8, MOST_SHIFT);
            const int64_t scale = (last[1][l] + 8192) >> 14;
            const int32_t log_scale = (int32_t)(scale < -32768 ? -32768 : scale > 32767 ? 32767 : scale);
            predicted[start + l] = middle[l] + (((int64_t)linear[l] + 8192) >> 14) +
                                   ((shift * ((int64_t)1 << exponent[l])) >> 14);
            scales[start + l] = within(((log_scale + spread_log[l] - 2816 + 32) >> 6) + 32, 0, 155);
        }
    }
}

}  // namespace field
