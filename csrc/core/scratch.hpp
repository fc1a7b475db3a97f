// Scratch memory of a call, separate for each file that includes this.
#pragma once
#include <stdint.h>
#include <stdlib.h>

#include "szilard.h"

namespace {

// Scratch of one call, which the thread keeps for the next: new pages would take as long as the work.
class Scratch {
  public:
    Scratch(int slot, int64_t floats) : p_(kept(slot, floats)) {}
    operator float *() const { return p_; }

  private:
    struct Kept {
        float *p = nullptr;
        int64_t size = 0;
        ~Kept() { free(p); }
    };
    static float *kept(int slot, int64_t floats) {
        static thread_local Kept slots[3];
        Kept &k = slots[slot];
        if (floats > k.size || !k.p) {
            free(k.p);
            k.p = (float *)malloc(sizeof(float) * (size_t)(floats > 0 ? floats : 1));
            k.size = k.p ? floats : 0;
        }
        return k.p;
    }

    float *p_;
};

// values in the order of the transpose; does nothing if values is null
inline Scratch transposed(int slot, const szilard_index &index, const float *values) {
    const Scratch ordered(slot, values ? index.nnz : 0);
    if (ordered && values)
        for (int32_t p = 0; p < index.nnz; ++p) ordered[p] = values[index.t_perm[p]];
    return ordered;
}

}  // namespace
