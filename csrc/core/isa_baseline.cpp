// The instruction set of every machine of this architecture: SSE2 on x86-64, NEON on 64-bit Arm.
#define SZILARD_ISA szilard_baseline
#if defined(__aarch64__)
#define SZILARD_ISA_NAME "neon"
#else
#define SZILARD_ISA_NAME "baseline"
#endif
#define SZILARD_WIDTH 4
#define SZILARD_VECTORS 4
#include "kernels.inc"
