#define SZILARD_ISA szilard_avx512
#define SZILARD_ISA_NAME "avx512"
#define SZILARD_WIDTH 16
#define SZILARD_VECTORS 8
#include "kernels.inc"
