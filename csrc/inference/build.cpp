// Makes a program: checks its steps, packs their weights, and gives each value a place.
#include "build.hpp"

#include <algorithm>

namespace szilard_inference {

namespace {

int64_t padded(int64_t floats) { return (floats + LANES - 1) / LANES * LANES; }

// Floats of working memory of a pool; as in pooling.hpp for the widest vectors.
int64_t pool_work(const szilard_step &g) {
    const int64_t rows = ((int64_t)g.height - 1) * g.stride_h + g.kernel_h,
                  pitch = ((int64_t)g.width - 1) * g.stride_w + g.kernel_w;
    const int64_t positions = (int64_t)g.height * g.width, window = (int64_t)g.kernel_h * g.kernel_w;
    const int64_t group = std::max<int64_t>(1, std::min<int64_t>(8192 / (window * positions), g.channels));
    return rows * pitch + 3 * LANES * (int64_t)g.stride_w + 2 * window * (group * positions + 2 * LANES) + positions +
           LANES;
}

// Of a convolution, as in position_conv.hpp.
int64_t conv_work(const Step &step, const Value &in) {
    const szilard_step &g = step.given;
    const Planes &p = step.planes;
    const int64_t tiles =
        step.sparse ? g.channels : (int64_t)g.groups * ((g.channels / g.groups + CHANNELS - 1) / CHANNELS);
    const int64_t by_rows = ((int64_t)g.width + LANES) * g.height, flat = (int64_t)g.height * p.pitch + g.width + LANES;
    const int64_t row = std::max(by_rows, flat);  // of results; every vector has at least one of them
    return 3 * (in.channels * p.plane + LANES) + row + 2 * LANES + tiles * 2 * (step.sparse ? 1 : CHANNELS) * row;
}

// The density from which on a sparse weight is faster as a dense one with zeros. Measured on Zen 4 for one example:
// linear layers are equally fast at 0.12 (numbers) and 0.25 (moments), convolutions at 0.6. The work of a dense linear
// layer grows with the batch, and a short vector of the sparse one holds all examples.
double dense_from(const szilard_step &g, int32_t batch, bool moments) {
    if (g.kind == SZILARD_STEP_CONV) return 0.6;
    return std::min(0.7, (moments ? 0.25 : 0.125) * batch);
}

// values [nnz] in a full matrix; empty if there are none.
std::vector<float> scattered(const szilard_step &g, const float *values) {
    std::vector<float> full(values ? (size_t)g.rows * (size_t)g.cols : 0);
    for (int32_t i = 0; values && i < g.rows; ++i)
        for (int32_t p = g.crow[i]; p < g.crow[i + 1]; ++p)
            full[(size_t)i * (size_t)g.cols + (size_t)g.col[p]] = values[p];
    return full;
}

}  // namespace

bool Built::add_value(int32_t channels, int32_t height, int32_t width, bool random) {
    Value v{};
    v.channels = channels, v.height = height, v.width = width, v.random = random;
    v.size = szilard_count({channels, height, width});
    if (v.size < 1 || v.size > INT32_MAX / MOST_BATCH - SLACK) return false;
    values_.push_back(v);
    return true;
}

int Built::add_step(const szilard_step &given) {
    if (const int bad = check_step(given, values_, program_.moments)) return bad;
    Step step{};
    step.given = given;
    const bool product = given.kind == SZILARD_STEP_LINEAR || given.kind == SZILARD_STEP_CONV;
    bool random_input = false;
    for (int32_t k = 0; k < given.n_inputs; ++k) random_input |= values_[given.inputs[k]].random;
    step.inputs = copy(given.inputs, given.n_inputs);
    step.output = (int32_t)values_.size();
    step.sparse = product && given.crow;
    step.random_weight = product && program_.moments && given.variance;
    const bool moments = random_input || step.random_weight;
    const bool random = given.kind != SZILARD_STEP_SCALE_ROWS &&
                        (moments || (product && program_.moments && given.bias_variance));
    if (product || given.kind == SZILARD_STEP_AFFINE) {
        float *bias = array<float>(padded(given.rows)), *variance = array<float>(padded(given.rows));
        if (given.bias) std::copy_n(given.bias, given.rows, bias);
        if (product && program_.moments && given.bias_variance) std::copy_n(given.bias_variance, given.rows, variance);
        step.bias = bias, step.bias_variance = variance;
    }
    const Value in = values_[given.inputs[0]];
    std::vector<float> mean, variance;
    if (step.sparse && given.nnz > dense_from(given, program_.batch, moments) * given.rows * given.cols) {
        mean = scattered(given, given.mean), variance = scattered(given, given.variance);
        step.sparse = false;
        step.given.mean = mean.data(), step.given.variance = given.variance ? variance.data() : nullptr;
    }
    if (given.kind == SZILARD_STEP_AFFINE) step.scale = copy(given.mean, given.rows);
    if (given.kind == SZILARD_STEP_LINEAR) {
        if (step.sparse)
            pack_sparse_linear(*this, step, program_.batch, moments);
        else
            pack_dense_linear(*this, step, moments);
    }
    if (given.kind == SZILARD_STEP_CONV) {
        if (!plan_planes(*this, step, in)) return SZILARD_NO_MEMORY;
        pack_conv(*this, step, moments);
    }
    step.given.inputs = nullptr;
    step.given.crow = step.given.col = nullptr;
    step.given.mean = step.given.variance = step.given.bias = step.given.bias_variance = nullptr;
    if (!add_value(given.channels, given.height, given.width, random)) return SZILARD_NO_MEMORY;
    steps_.push_back(step);
    const int64_t work = work_of(step);
    if (work < 0 || work > (int64_t)1 << 34) return SZILARD_NO_MEMORY;
    program_.work = std::max(program_.work, work);
    return SZILARD_OK;
}

int64_t Built::work_of(const Step &step) const {
    const szilard_step &g = step.given;
    const Value &in = values_[step.inputs[0]];
    switch (g.kind) {
        case SZILARD_STEP_LINEAR:
            if (!step.sparse) return 3 * (program_.batch * (int64_t)g.cols + LANES) + g.cols + LANES;
            return ((int64_t)g.rows + g.cols) * padded(4 * (int64_t)program_.batch);
        case SZILARD_STEP_CONV: return conv_work(step, in);
        case SZILARD_STEP_MAX_POOL:
        case SZILARD_STEP_AVERAGE_POOL: return pool_work(g);
        default: return 0;
    }
}

// Values that are never needed at the same time share memory, so that a run stays in the cache.
void Built::place_values() {
    const int32_t n = (int32_t)values_.size();
    std::vector<int32_t> last(n, -1);
    for (const Step &step : steps_)
        for (int32_t k = 0; k < step.given.n_inputs; ++k) last[step.inputs[k]] = step.output;
    values_[0].place = Place::input;
    program_.input_size = program_.batch * values_[0].size;
    int64_t written = 0;
    for (const int32_t o : outputs_) {
        Value &v = values_[o];
        v.place = Place::output;
        v.mean = written, v.variance = written + program_.batch * v.size;
        written += (program_.moments ? 2 : 1) * program_.batch * v.size;
    }
    program_.output_size = written;
    struct Taken {
        int64_t begin, end;
        int32_t last;
    };
    std::vector<Taken> taken;  // by begin
    for (int32_t k = 1; k < n; ++k) {
        Value &v = values_[k];
        if (v.place == Place::output) continue;
        // A value is written in step k - 1, which reads values whose last use is that step: they are still there.
        taken.erase(std::remove_if(taken.begin(), taken.end(), [&](const Taken &t) { return t.last < k; }),
                    taken.end());
        const int64_t size = padded(program_.batch * v.size), need = (v.random ? 2 : 1) * size;
        int64_t begin = 0;
        auto at = taken.begin();
        for (; at != taken.end() && at->begin - begin < need; ++at) begin = at->end;
        taken.insert(at, {begin, begin + need, std::max(last[k], k)});
        v.place = Place::scratch;
        v.mean = begin, v.variance = begin + size;
        program_.scratch = std::max(program_.scratch, begin + need);
    }
}

int Built::build(int32_t batch, bool moments, int32_t channels, int32_t height, int32_t width, int32_t n_steps,
                 const szilard_step *steps, int32_t n_outputs, const int32_t *outputs) {
    if (batch < 1 || batch > MOST_BATCH || n_steps < 1 || !steps || n_outputs < 1 || !outputs) return SZILARD_BAD_STEP;
    if (channels < 1 || height < 1 || width < 1) return SZILARD_BAD_GEOMETRY;
    program_.batch = batch, program_.moments = moments;
    if (!add_value(channels, height, width, false)) return SZILARD_NO_MEMORY;
    for (int32_t k = 0; k < n_steps; ++k)
        if (const int bad = add_step(steps[k])) return bad;
    std::vector<bool> seen(values_.size());
    for (int32_t k = 0; k < n_outputs; ++k) {
        if (outputs[k] < 1 || (size_t)outputs[k] >= values_.size() || seen[outputs[k]]) return SZILARD_BAD_STEP;
        seen[outputs[k]] = true;
    }
    outputs_.assign(outputs, outputs + n_outputs);
    place_values();
    program_.n_values = (int32_t)values_.size(), program_.n_steps = n_steps, program_.n_outputs = n_outputs;
    program_.values = values_.data(), program_.steps = steps_.data(), program_.outputs = outputs_.data();
    return SZILARD_OK;
}

}  // namespace szilard_inference
