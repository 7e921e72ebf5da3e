#include "framework/kernels/cpu/parallel.h"

#include <cxxabi.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "framework/device.h"
#include "framework/fail.h"
#include "framework/storage.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace attune {
namespace cpu::detail {
namespace {

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

// True inside a chunk: nested runs stay in their thread.
thread_local bool inside_run = false;

// Workers spin on a cache line of their own for a while after the last run, because a training step hands out work
// every few microseconds and waking a sleeping thread costs more than most of its chunks; then they sleep.
class Pool {
 public:
  /// Throws DeviceError, and leaves no thread behind, where the system starts fewer.
  explicit Pool(int threads) : slots_(static_cast<size_t>(threads)) {
    try {
      workers_.reserve(slots_.size());
      for (int i = 1; i < threads; ++i) {
        workers_.emplace_back([this, i] { work(static_cast<size_t>(i)); });
      }
    } catch (const std::exception& error) {
      const size_t started = workers_.size() + 1;
      stop();
      fail<DeviceError>("{} threads asked for, {} can be started ({}); ask for fewer: --threads, set_num_threads",
                        threads, started, error.what());
    }
  }

  ~Pool() { stop(); }

  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return static_cast<int>(slots_.size()); }

  // The caller holds the pool's lock.
  void run(int64_t chunks, Task task, void* context) {
    const int64_t threads = std::min<int64_t>(chunks, this->threads());
    task_ = task;
    context_ = context;
    chunks_ = chunks;
    next_.store(threads, std::memory_order_relaxed);
    done_.store(0, std::memory_order_relaxed);
    failed_.store(false, std::memory_order_relaxed);
    ++generation_;
    {
      // Also while a cancelled caller unwinds: the workers use its stack.
      struct Finish {
        Pool& pool;
        int64_t threads;
        ~Finish() { pool.finish(threads); }
      } finish{*this, threads};
      for (int64_t i = 1; i < threads; ++i) publish(slots_[static_cast<size_t>(i)], 2 * generation_);
      share(0);
    }
    if (failed_.load(std::memory_order_relaxed)) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  static constexpr uint64_t kStop = ~uint64_t{1};  // even, never a generation

  // state: 2 * generation = open for its worker or the caller, 2 * generation + 1 = taken.
  struct alignas(64) Slot {
    std::atomic<uint64_t> state{1};
    std::atomic<bool> sleeping{false};
  };

  static void publish(Slot& slot, uint64_t state) {
    slot.state.store(state, std::memory_order_seq_cst);
    if (slot.sleeping.load(std::memory_order_seq_cst)) slot.state.notify_one();
  }

  static bool claim(Slot& slot, uint64_t open) {
    return slot.state.compare_exchange_strong(open, open + 1, std::memory_order_acq_rel);
  }

  void stop() {
    for (size_t i = 1; i <= workers_.size(); ++i) publish(slots_[i], kStop);
    for (std::thread& worker : workers_) worker.join();
  }

  void finish(int64_t threads) {
    // A worker that has not begun (descheduled, still waking) loses its share to the caller.
    for (int64_t i = 1; i < threads; ++i) {
      if (claim(slots_[static_cast<size_t>(i)], 2 * generation_)) share(i);
    }
    for (int spins = 0; done_.load(std::memory_order_acquire) != threads; ++spins) {
      if (spins < 4096) {
        pause();
      } else {
        std::this_thread::yield();
      }
    }
  }

  // Chunk `first`, then whatever is left. The first exception of all is kept for the caller and ends the run early.
  void share(int64_t first) {
    struct Done {
      Pool& pool;
      ~Done() {
        inside_run = false;
        pool.done_.fetch_add(1, std::memory_order_release);
      }
    } done{*this};
    inside_run = true;
    try {
      for (int64_t chunk = first; chunk < chunks_; chunk = next_.fetch_add(1, std::memory_order_relaxed)) {
        task_(context_, chunk);
      }
    } catch (const abi::__forced_unwind&) {
      // The thread is being cancelled, or ends by pthread_exit(): must go on. Its share is lost; others are told.
      fail_run(std::make_exception_ptr(Error("a thread was cancelled while it took part in an op")));
      throw;
    } catch (...) {
      fail_run(std::current_exception());
    }
  }

  void fail_run(std::exception_ptr error) {
    next_.store(chunks_, std::memory_order_relaxed);
    if (!failed_.exchange(true, std::memory_order_relaxed)) error_ = std::move(error);
  }

  void work(size_t index) {
    using Clock = std::chrono::steady_clock;
    constexpr auto kSpin = std::chrono::microseconds(2000);
    Slot& slot = slots_[index];
    for (;;) {
      uint64_t state = slot.state.load(std::memory_order_acquire);
      if (state % 2 == 1) {
        const auto begin = Clock::now();
        while ((state = slot.state.load(std::memory_order_acquire)) % 2 == 1) {
          bool waited_long = false;
          for (int i = 0; i < 64; ++i) pause();
          const auto waited = Clock::now() - begin;
          waited_long = waited > kSpin;
          if (waited > kSpin / 20) std::this_thread::yield();
          if (waited_long) {
            slot.sleeping.store(true, std::memory_order_seq_cst);
            slot.state.wait(state, std::memory_order_seq_cst);
            slot.sleeping.store(false, std::memory_order_relaxed);
          }
        }
      }
      if (state == kStop) return;
      if (claim(slot, state)) share(static_cast<int64_t>(index));
    }
  }

  std::vector<Slot> slots_;
  std::vector<std::thread> workers_;
  Task task_ = nullptr;
  void* context_ = nullptr;
  int64_t chunks_ = 0;
  uint64_t generation_ = 0;
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;  // written by whoever set failed_, read behind done_
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<int64_t> done_{0};
};

struct PoolOwner {
  std::mutex mutex;  // held by whoever runs on the pool
  std::unique_ptr<Pool> pool;
  std::atomic<int> threads{available_cores()};
};

// Never destroyed: ops may run in destructors of static objects, and exit() may be called by a worker, which could not
// wait for itself. A child of fork() has none of the threads: it begins with a pool of its own, and this one is left.
PoolOwner& owner() {
  static PoolOwner* const instance = [] {
    static PoolOwner* made = new PoolOwner;
    pthread_atfork(nullptr, nullptr, [] {
      new (&made->mutex) std::mutex;
      (void)made->pool.release();
      inside_run = false;
    });
    return made;
  }();
  return *instance;
}

}  // namespace

int64_t chunk_count(int64_t n, int64_t grain) {
  const int64_t wanted = n / std::max<int64_t>(grain, 1);
  return std::clamp<int64_t>(wanted, 1, owner().threads.load(std::memory_order_relaxed));
}

void run_chunks(int64_t chunks, Task task, void* context) {
  PoolOwner& own = owner();
  const int threads = own.threads.load(std::memory_order_relaxed);
  if (!inside_run && threads > 1) {
    const std::unique_lock lock(own.mutex, std::try_to_lock);
    if (lock.owns_lock()) {
      if (!own.pool || own.pool->threads() != threads) {
        own.pool.reset();
        own.pool = std::make_unique<Pool>(threads);
      }
      own.pool->run(chunks, task, context);
      return;
    }
  }
  for (int64_t chunk = 0; chunk < chunks; ++chunk) task(context, chunk);
}

}  // namespace cpu::detail

void* cpu::scratch_bytes(int slot, size_t bytes) {
  thread_local std::array<StorageRef, 8> blocks;
  StorageRef& block = blocks.at(static_cast<size_t>(slot));
  if (!block || block->bytes < bytes) {
    block = StorageRef();
    block = StorageRef::allocate(bytes, Device::cpu());
  }
  return block->data;
}

int num_threads() { return cpu::detail::owner().threads.load(std::memory_order_relaxed); }

void set_num_threads(int count) {
  require<ValueError>(count >= 1 && count <= 1024, "set_num_threads: {} threads asked for, expected 1 ... 1024", count);
  cpu::detail::owner().threads.store(count, std::memory_order_relaxed);
}

}  // namespace attune
