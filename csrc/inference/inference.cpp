// The C ABI of inference on one input: programs by handle.
#include "inference.h"

#include <stdlib.h>

#include <memory>
#include <mutex>
#include <unordered_map>

#include "build.hpp"
#include "flush_denormals.hpp"
#include "isa.hpp"

namespace {

using szilard_inference::Built;

constexpr int MOST_THREADS = 256;

std::mutex lock;
int64_t made = 0;

// Never destroyed: a thread may still run a program while the process ends.
std::unordered_map<int64_t, std::shared_ptr<const Built>> &programs() {
    static auto *all = new std::unordered_map<int64_t, std::shared_ptr<const Built>>();
    return *all;
}

std::shared_ptr<const Built> find(int64_t handle) {
    const std::lock_guard<std::mutex> guard(lock);
    const auto at = programs().find(handle);
    return at == programs().end() ? nullptr : at->second;
}

// Memory of this thread for all programs that it runs, aligned for vectors; null if there is none.
float *kept_memory(int64_t floats) {
    struct Kept {
        float *p = nullptr;
        int64_t size = 0;
        ~Kept() { free(p); }
    };
    static thread_local Kept kept;
    if (floats > kept.size) {
        free(kept.p);
        kept.size = (floats + 15) / 16 * 16;
        kept.p = (float *)aligned_alloc(64, sizeof(float) * (size_t)kept.size);
        if (!kept.p) kept.size = 0;
    }
    return kept.p;
}

}  // namespace

int szilard_program_new(int32_t batch, int moments, int32_t channels, int32_t height, int32_t width, int32_t n_steps,
                        const szilard_step *steps, int32_t n_outputs, const int32_t *outputs, int64_t *handle) {
    if (!handle) return SZILARD_BAD_STEP;
    try {
        const auto built = std::make_shared<Built>();
        const int bad = built->build(batch, moments != 0, channels, height, width, n_steps, steps, n_outputs, outputs);
        if (bad) return bad;
        const std::lock_guard<std::mutex> guard(lock);
        programs()[made + 1] = built;
        *handle = ++made;
        return SZILARD_OK;
    } catch (const std::bad_alloc &) {
        return SZILARD_NO_MEMORY;
    }
}

int szilard_program_run(int64_t handle, const float *x, int64_t x_size, float *out, int64_t out_room, int threads) {
    const std::shared_ptr<const Built> built = find(handle);
    if (!built) return SZILARD_NO_PROGRAM;
    const szilard_inference::Program &program = built->program();
    if (!x || x_size != program.input_size) return SZILARD_BAD_GEOMETRY;
    if (!szilard_fits(out, out_room, program.output_size)) return SZILARD_NO_ROOM;
    if (!szilard_running().finite(x, x_size)) return SZILARD_NAN_INPUT;
    float *scratch = kept_memory(program.scratch + program.work + szilard_inference::SLACK);
    if (!scratch) return SZILARD_NO_MEMORY;
    const FlushDenormals flush;
    szilard_running().run_program(program, x, out, scratch,
                                  threads < 1              ? 1
                                  : threads > MOST_THREADS ? MOST_THREADS
                                                           : threads);
    return SZILARD_OK;
}

int szilard_program_free(int64_t handle) {
    const std::shared_ptr<const Built> built = find(handle);  // its memory is freed without the lock
    const std::lock_guard<std::mutex> guard(lock);
    const bool found = programs().erase(handle) > 0;
    if (!found) return SZILARD_NO_PROGRAM;
    return SZILARD_OK;
}

int szilard_class_uncertainty(int32_t batch, int32_t classes, const float *mean, const float *variance, int32_t points,
                              const float *noise, float scale, int single, float *answer, int64_t answer_room,
                              float *aleatoric, int64_t aleatoric_room, float *epistemic, int64_t epistemic_room) {
    if (batch < 1 || classes < 1 || points < 16 || points % 16 || !mean || !variance || !noise || (single && classes != 1))
        return SZILARD_BAD_GEOMETRY;
    const int64_t columns = single ? 2 : classes;
    if (!szilard_fits(answer, answer_room, batch * columns) || !szilard_fits(aleatoric, aleatoric_room, batch) ||
        !szilard_fits(epistemic, epistemic_room, batch))
        return SZILARD_NO_ROOM;
    float *scratch = kept_memory(szilard_running().class_scratch(classes));
    if (!scratch) return SZILARD_NO_MEMORY;
    const FlushDenormals flush;
    szilard_running().class_uncertainty(batch, classes, mean, variance, points, noise, scale, single != 0, answer, aleatoric,
                                        epistemic, scratch);
    return SZILARD_OK;
}
