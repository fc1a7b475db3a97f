// Runs a program, step by step.
#pragma once
#include "shared_errors.hpp"
#include "sparse_linear.hpp"

namespace one_input {
namespace {

using szilard_inference::Place;
using szilard_inference::Program;

// Memory of a run: the input is only read.
struct Memory {
    const float *input;
    float *scratch, *output;
    Read read(const Value &v) const {
        const float *base = v.place == Place::input ? input : v.place == Place::scratch ? scratch : output;
        return {base + v.mean, v.random ? base + v.variance : nullptr};
    }
    Write write(const Value &v) const {
        float *base = v.place == Place::scratch ? scratch : output;
        return {base + v.mean, v.random ? base + v.variance : nullptr};
    }
};

inline void run_step(const Program &program, const Step &step, const Memory &memory, float *work, int threads) {
    const int batch = program.batch;
    const Value &in = program.values[step.inputs[0]], &out = program.values[step.output];
    const Read x = memory.read(in);
    const Write y = memory.write(out);
    auto by_example = [&](auto &&body) {
        for (int64_t b = 0; b < batch; ++b)
            body(Read{x.mean + b * in.size, x.variance ? x.variance + b * in.size : nullptr},
                 Write{y.mean + b * out.size, y.variance ? y.variance + b * out.size : nullptr});
    };
    const Random random = x.variance ? BOTH : step.random_weight ? WEIGHT : NOTHING;
    switch (step.given.kind) {
        case SZILARD_STEP_LINEAR: return linear_step(step, batch, random, x, y, work, threads);
        case SZILARD_STEP_CONV: return conv_step(step, in, batch, random, x, y, work, threads);
        case SZILARD_STEP_AFFINE: return affine(step, in, batch, x, y);
        case SZILARD_STEP_ADD: return add(step, batch * in.size, x, memory.read(program.values[step.inputs[1]]), y);
        case SZILARD_STEP_MAX_POOL:
        case SZILARD_STEP_AVERAGE_POOL:
            return by_example([&](Read from, Write to) {
                if (to.variance)
                    pool_example<true>(step, in, from, to, work);
                else
                    pool_example<false>(step, in, from, to, work);
            });
        case SZILARD_STEP_GLOBAL_AVERAGE: return global_average(in, (int64_t)batch * in.channels, x, y);
        case SZILARD_STEP_ACTIVATION: return activation(step, batch * in.size, x, y);
        case SZILARD_STEP_CHANNELS:
            return by_example([&](Read from, Write to) {
                channels(step, in, from.mean, to.mean);
                if (to.variance) channels(step, in, from.variance, to.variance);
            });
        case SZILARD_STEP_RESHAPE:
            memcpy(y.mean, x.mean, sizeof(float) * (size_t)(batch * in.size));
            if (y.variance) memcpy(y.variance, x.variance, sizeof(float) * (size_t)(batch * in.size));
            return;
        case SZILARD_STEP_SPREADS: return spreads(in, batch, x, y);
        case SZILARD_STEP_GAINS:
            return gains(out.channels, batch, x, memory.read(program.values[step.inputs[1]]), y);
        case SZILARD_STEP_SCALE_ROWS:
            return scale_rows(in, batch, x, memory.read(program.values[step.inputs[1]]), y);
        case SZILARD_STEP_CONTRIBUTIONS: {
            const int64_t n = batch * in.size;
            memcpy(y.mean, x.mean, sizeof(float) * (size_t)n);
            if (!y.variance) return;
            zero(y.variance, n);
            for (int32_t k = 1; k < step.given.n_inputs; k += 2) {
                const Value &rows = program.values[step.inputs[k]];
                add_contributions(rows.channels, in.size, batch, memory.read(rows),
                                  memory.read(program.values[step.inputs[k + 1]]), y.variance);
            }
            for (int64_t i = 0; x.variance && i < n; ++i) if (x.variance[i] > y.variance[i]) y.variance[i] = x.variance[i];
            return;
        }
        case SZILARD_STEP_CONCAT: {
            int64_t before = 0;
            for (int32_t k = 0; k < step.given.n_inputs; ++k) {
                const Value &part = program.values[step.inputs[k]];
                const Read from = memory.read(part);
                for (int64_t b = 0; b < batch; ++b) {
                    memcpy(y.mean + b * out.size + before, from.mean + b * part.size,
                           sizeof(float) * (size_t)part.size);
                    if (!y.variance) continue;
                    float *to = y.variance + b * out.size + before;
                    if (from.variance)
                        memcpy(to, from.variance + b * part.size, sizeof(float) * (size_t)part.size);
                    else
                        zero(to, part.size);
                }
                before += part.size;
            }
        }
    }
}

inline void run_program(const Program &program, const float *x, float *out, float *scratch, int threads) {
    const Memory memory{x, scratch, out};
    for (int32_t k = 0; k < program.n_steps; ++k)
        run_step(program, program.steps[k], memory, scratch + program.scratch, threads);
    if (!program.moments) return;
    // An output that is known to be deterministic has a variance, too: zero.
    for (int32_t k = 0; k < program.n_outputs; ++k) {
        const Value &v = program.values[program.outputs[k]];
        if (!v.random) zero(out + v.variance, program.batch * v.size);
    }
}

// Whether all numbers are finite.
inline bool finite(const float *x, int64_t n) {
    vi bad = {};
    for (int64_t i = 0; i < n; i += W) {
        const vi bits = (vi)load_first(x + i, (int)smaller(W, n - i)) & 0x7f800000;
        bad |= (vi)(bits == 0x7f800000);
    }
    int32_t any = 0;
    for (int lane = 0; lane < W; ++lane) any |= bad[lane];
    return !any;
}

}  // namespace
}  // namespace one_input
