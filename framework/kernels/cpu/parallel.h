#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace attune::cpu {

namespace detail {
using Task = void (*)(void* context, int64_t chunk);
/// Runs task(context, 0 ... chunks - 1), every chunk once, on the pool; the caller takes part. Chunks are handed out in
/// order (chunk i first to thread i). Inside another run, or while another thread has the pool, all in the caller. When
/// a task throws, tasks not yet begun may be left out, and the first exception comes out of this call.
void run_chunks(int64_t chunks, Task task, void* context);
/// Number of chunks for n items when a chunk should hold at least `grain` of them: at most num_threads().
int64_t chunk_count(int64_t n, int64_t grain);
}  // namespace detail

/// Splits 0 ... n - 1 coarsely, one range per thread: f(begin, end, chunk). Ranges depend only on n, grain and
/// num_threads(), so results that depend on the split are reproducible. chunk < num_threads().
template <class F>
void parallel_for(int64_t n, int64_t grain, F&& f) {
  if (n <= 0) return;
  const int64_t chunks = detail::chunk_count(n, grain);
  if (chunks == 1) {
    f(int64_t{0}, n, int64_t{0});
    return;
  }
  struct Context {
    std::remove_reference_t<F>* f;
    int64_t n;
    int64_t chunks;
  } context{&f, n, chunks};
  detail::run_chunks(
      chunks,
      [](void* raw, int64_t chunk) {
        const auto& c = *static_cast<Context*>(raw);
        (*c.f)(c.n * chunk / c.chunks, c.n * (chunk + 1) / c.chunks, chunk);
      },
      &context);
}

/// Runs f(task) for 0 ... tasks - 1, each on whichever thread is free: for tasks of uneven cost with disjoint results.
template <class F>
void parallel_tasks(int64_t tasks, F&& f) {
  if (tasks <= 0) return;
  if (tasks == 1) {
    f(int64_t{0});
    return;
  }
  detail::run_chunks(
      tasks, [](void* raw, int64_t task) { (*static_cast<std::remove_reference_t<F>*>(raw))(task); }, &f);
}

/// Scratch memory of the calling thread, 64-byte aligned, uninitialised, kept for the life of the thread. A second call
/// with the same slot (0 ... 7) hands out the same memory again.
void* scratch_bytes(int slot, size_t bytes);
template <class T>
T* scratch(int slot, int64_t count) {
  return static_cast<T*>(scratch_bytes(slot, static_cast<size_t>(count) * sizeof(T)));
}

}  // namespace attune::cpu
