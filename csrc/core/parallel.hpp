// Tasks over threads. Each task writes its own elements, so the result does not depend on which thread runs it.
#pragma once
#include <stdint.h>

// body(context, task) for every task in [0, tasks), on at most `threads` threads; in parallel.cpp.
void szilard_parallel(int64_t tasks, int threads, void (*body)(void *, int64_t), void *context);

namespace {

template <class Body> void parallel(int64_t tasks, int threads, Body &&body) {
    szilard_parallel(tasks, threads, [](void *b, int64_t task) { (*(Body *)b)(task); }, (void *)&body);
}

}  // namespace
