#include "parallel.hpp"

#include <atomic>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <dlfcn.h>
#include <pthread.h>
#endif

namespace {

struct Work {
    std::atomic<int64_t> next{0};
    int64_t tasks;
    void (*body)(void *, int64_t);
    void *context;
};

// Threads take tasks as they become free: a thread that is descheduled delays one task, not a fixed share of them.
void take_tasks(void *pointer) {
    Work &work = *(Work *)pointer;
    for (int64_t task; (task = work.next.fetch_add(1, std::memory_order_relaxed)) < work.tasks;)
        work.body(work.context, task);
}

using Team = void (*)(void (*)(void *), void *, unsigned, unsigned);

#if defined(_WIN32)
Team torch_threads() { return nullptr; }
#else
std::atomic<bool> forked{false};
const int registered = pthread_atfork(nullptr, nullptr, [] { forked = true; });

// Uses the OpenMP threads that torch has already started, if there are any: a second pool would compete with them for
// the cores. A forked process has that pool's memory without its threads, and would wait for them forever; it starts
// its own threads. It must not reach the static either: another thread could have been initialising it during the fork.
Team torch_threads() {
    if (forked.load(std::memory_order_relaxed)) return nullptr;
    static const Team team = (Team)dlsym(RTLD_DEFAULT, "GOMP_parallel");
    return team;
}
#endif

}  // namespace

void szilard_parallel(int64_t tasks, int threads, void (*body)(void *, int64_t), void *context) {
    Work work;
    work.tasks = tasks, work.body = body, work.context = context;
    if (threads > tasks) threads = (int)tasks;
    if (threads <= 1) return take_tasks(&work);
    if (const Team run = torch_threads()) return run(take_tasks, &work, (unsigned)threads, 0);
    std::vector<std::thread> others;
    try {
        for (int i = 1; i < threads; ++i) others.emplace_back(take_tasks, (void *)&work);
    } catch (...) {  // no more threads can be started: the existing ones do the work
    }
    take_tasks(&work);
    for (std::thread &other : others) other.join();
}
