// Denormal numbers count as zero inside a block: arithmetic with them takes over a hundred cycles on some processors.
#pragma once

#include <cstdint>

#if defined(__SSE2__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

namespace {

// Sets this thread's mode, and restores it at the end of the block. Variances of units that are almost never active are
// far below the smallest normal number, and a whole layer of them made one pass ten times slower.
class FlushDenormals {
   public:
#if defined(__SSE2__) || defined(_M_X64)
    FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040u); }  // results, and inputs
    ~FlushDenormals() { _mm_setcsr(before_); }
#elif defined(__aarch64__)
    FlushDenormals() {
        asm volatile("mrs %0, fpcr" : "=r"(before_));
        asm volatile("msr fpcr, %0" : : "r"(before_ | (uint64_t{1} << 24)));
    }
    ~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(before_)); }
#else
    FlushDenormals() = default;  // unknown processor: denormal numbers stay
    ~FlushDenormals() = default;
#endif
    FlushDenormals(const FlushDenormals &) = delete;
    FlushDenormals &operator=(const FlushDenormals &) = delete;

   private:
#if defined(__SSE2__) || defined(_M_X64)
    unsigned int before_;
#elif defined(__aarch64__)
    uint64_t before_;
#endif
};

}  // namespace
