#define SZILARD_ISA szilard_avx2
#define SZILARD_ISA_NAME "avx2"
#define SZILARD_WIDTH 8
#define SZILARD_VECTORS 4
#include "kernels.inc"
