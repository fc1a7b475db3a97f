// A program and the memory that it owns.
#pragma once
#include <stdlib.h>

#include <new>
#include <vector>

#include "check_step.hpp"

namespace szilard_inference {

class Built {
  public:
    // The program; on failure a status other than SZILARD_OK. Throws std::bad_alloc.
    int build(int32_t batch, bool moments, int32_t channels, int32_t height, int32_t width, int32_t n_steps,
              const szilard_step *steps, int32_t n_outputs, const int32_t *outputs);
    const Program &program() const { return program_; }

    Built() = default;
    Built(const Built &) = delete;
    Built &operator=(const Built &) = delete;
    ~Built() {
        for (void *p : owned_) free(p);
    }

    // n zeros, aligned for vectors; 64 more bytes can be read.
    template <class T> T *array(int64_t n) {
        const size_t bytes = ((size_t)n * sizeof(T) + 127) / 64 * 64;
        owned_.reserve(owned_.size() + 1);
        void *p = aligned_alloc(64, bytes);
        if (!p) throw std::bad_alloc();
        __builtin_memset(p, 0, bytes);
        owned_.push_back(p);
        return (T *)p;
    }
    template <class T> T *copy(const T *from, int64_t n) {
        T *to = array<T>(n);
        if (from && n) __builtin_memcpy(to, from, sizeof(T) * (size_t)n);
        return to;
    }

  private:
    bool add_value(int32_t channels, int32_t height, int32_t width, bool random);
    int add_step(const szilard_step &given);
    void place_values();
    int64_t work_of(const Step &step) const;

    Program program_{};
    std::vector<Value> values_;
    std::vector<Step> steps_;
    std::vector<int32_t> outputs_;
    std::vector<void *> owned_;
};

// Packing (pack.cpp). `moments`: with variances.
void pack_dense_linear(Built &built, Step &step, bool moments);
void pack_sparse_linear(Built &built, Step &step, int32_t batch, bool moments);
void pack_conv(Built &built, Step &step, bool moments);
bool plan_planes(Built &built, Step &step, const Value &in);  // false if they are too large

}  // namespace szilard_inference
