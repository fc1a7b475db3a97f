// Counter-based normal numbers: element e of a draw is a pure function of (seed, draw, e), so any thread can make any
// part and a resumed run can repeat it.
//
// Philox-4x32 with 7 rounds (Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", which
// finds 7 enough for BigCrush), then the Box-Muller transform of each 32-bit word: 20 bits for the radius, sqrt(-2 ln
// u), which ends at 5.4 standard deviations, and 12 for the angle. Elements come in blocks of 128: lane l of block k is
// counter (16 k + l, draw), whose word j gives elements 128 k + 32 j + l and, at a right angle, + 16.
#pragma once
#include "simd.hpp"
#include "szilard.h"

namespace {

constexpr int BLOCK = 128;
constexpr int ROUNDS = 7;

// High and low halves of the lane-wise 32 x 32 bit product with a constant.
inline void multiply(vu a, uint32_t m, vu &high, vu &low) {
#if defined(__AVX512F__)
    const __m512i k = _mm512_set1_epi32((int)m), x = (__m512i)a;
    const __m512i even = _mm512_mul_epu32(x, k), odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), k);
    high = (vu)_mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
    low = (vu)_mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
#elif defined(__AVX2__)
    const __m256i k = _mm256_set1_epi32((int)m), x = (__m256i)a;
    const __m256i even = _mm256_mul_epu32(x, k), odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), k);
    high = (vu)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
    low = (vu)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
#else
    for (int lane = 0; lane < W; ++lane) {
        const uint64_t product = (uint64_t)a[lane] * m;
        high[lane] = (uint32_t)(product >> 32);
        low[lane] = (uint32_t)product;
    }
#endif
}

// Two vectors of normal numbers from one of uniform bits. The polynomials are Chebyshev fits, good to 1e-6.
inline void box_muller(vu word, float *first, float *second) {
    const vf u = (__builtin_convertvector((vi)(word >> 12), vf) + 0.5f) * 0x1p-20f;
    const vi bits = (vi)u - 0x3f3504f3;  // u = 2^n (1 + m), 1 + m from sqrt(1/2) to sqrt(2)
    const vf n = __builtin_convertvector(bits >> 23, vf);
    const vf m = (vf)((bits & 0x007fffff) + 0x3f3504f3) - 1.0f;
    vf log = splat(-0.238621089f);  // -2 ln(1 + m) / m
    log = log * m + 0.373615029f;
    log = log * m - 0.409835193f;
    log = log * m + 0.498165784f;
    log = log * m - 0.666293476f;
    log = log * m + 1.0000229f;
    log = log * m - 2.00000193f;
    const vf radius = root(log * m - 1.38629436f * n);
    // An angle f from -pi/4 to pi/4; the last two bits reflect it into the other quarters.
    const vf f = (__builtin_convertvector((vi)(word & 1023u), vf) - 511.5f) * (0.785398163f / 512);
    const vf q = f * f;
    const vf sine = ((0.00815157096f * q - 0.166624762f) * q + 0.999998566f) * f * radius;
    vf cosine = (((-0.00135858439f * q + 0.0416550209f) * q - 0.499998566f) * q + 0.999999972f) * radius;
    cosine = (vf)((vu)cosine ^ ((word & 0x800u) << 20));
    const vi swap = (vi)((word & 0x400u) != 0);
    store(first, select(swap, sine, cosine));
    store(second, select(swap, cosine, sine));
}

// Elements [128 block, 128 block + 128) of a draw.
inline void normal_block(szilard_key key, uint64_t block, float *out) {
    for (int part = 0; part < 16; part += W) {
        const uint64_t first = block * 16 + (uint64_t)part;  // a multiple of 16, so there is no carry between lanes
        vu c0, c1 = vu{} + (uint32_t)(first >> 32), c2 = vu{} + (uint32_t)key.draw,
               c3 = vu{} + (uint32_t)(key.draw >> 32);
        for (int lane = 0; lane < W; ++lane) c0[lane] = (uint32_t)first + (uint32_t)lane;
        uint32_t k0 = (uint32_t)key.seed, k1 = (uint32_t)(key.seed >> 32);
        for (int round = 0; round < ROUNDS; ++round) {
            vu high0, low0, high1, low1;
            multiply(c0, 0xD2511F53u, high0, low0);
            multiply(c2, 0xCD9E8D57u, high1, low1);
            c0 = high1 ^ c1 ^ k0;
            c1 = low1;
            c2 = high0 ^ c3 ^ k1;
            c3 = low0;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        box_muller(c0, out + part, out + 16 + part);
        box_muller(c1, out + 32 + part, out + 48 + part);
        box_muller(c2, out + 64 + part, out + 80 + part);
        box_muller(c3, out + 96 + part, out + 112 + part);
    }
}

// Makes runs of elements in ascending order; a block that two runs share is made once.
class Normals {
  public:
    explicit Normals(szilard_key key) : key_(key) {}

    // Elements [first, first + n) into out.
    void fill(uint64_t first, int64_t n, float *out) {
        while (n > 0) {
            const uint64_t block = first / BLOCK;
            const int offset = (int)(first % BLOCK);
            const int64_t take = n < BLOCK - offset ? n : BLOCK - offset;
            if (take == BLOCK) {
                normal_block(key_, block, out);
            } else {
                if (block != held_) normal_block(key_, held_ = block, buffer_);
                memcpy(out, buffer_ + offset, (size_t)take * sizeof(float));
            }
            first += (uint64_t)take, out += take, n -= take;
        }
    }

  private:
    szilard_key key_;
    uint64_t held_ = UINT64_MAX;
    float buffer_[BLOCK];
};

}  // namespace
