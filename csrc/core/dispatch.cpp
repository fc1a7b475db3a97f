// Chooses the instruction set.
#include "szilard.h"

#include <string.h>

#include <atomic>

#include "check.hpp"
#include "isa.hpp"

extern const szilard_kernels szilard_baseline;
#if defined(__x86_64__)
extern const szilard_kernels szilard_avx2;
extern const szilard_kernels szilard_avx512;
#endif

namespace {

bool runs(const szilard_kernels &kernels) {
#if defined(__x86_64__)
    if (&kernels == &szilard_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (&kernels == &szilard_avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return &kernels == &szilard_baseline;
}

const szilard_kernels *const all[] = {
#if defined(__x86_64__)
    &szilard_avx512,
    &szilard_avx2,
#endif
    &szilard_baseline,
};

const szilard_kernels *best() {
    for (const szilard_kernels *kernels : all)
        if (runs(*kernels)) return kernels;
    return &szilard_baseline;
}

std::atomic<const szilard_kernels *> chosen{best()};

const szilard_kernels &run() { return *chosen.load(std::memory_order_relaxed); }

}  // namespace

const szilard_kernels &szilard_running() { return run(); }

int32_t szilard_abi_version(void) { return SZILARD_ABI_VERSION; }

const char *szilard_isa(void) { return run().name; }

int szilard_use_isa(const char *isa) {
    for (const szilard_kernels *kernels : all)
        if (!strcmp(kernels->name, isa) && runs(*kernels)) {
            chosen.store(kernels);
            return SZILARD_OK;
        }
    return 1;
}

int szilard_normal(szilard_key key, int64_t n, float *out, int64_t out_room, int threads) {
    if (n < 0) return SZILARD_BAD_GEOMETRY;
    if (!szilard_fits(out, out_room, n)) return SZILARD_NO_ROOM;
    run().normal(key, n, out, threads);
    return SZILARD_OK;
}
