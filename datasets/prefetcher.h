#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace attune {

/// Makes items ahead of time in a thread of its own and hands them out in order. Slots are used in turn, so that an
/// item can reuse the memory of an earlier one.
template <class T>
class Prefetcher {
 public:
  /// Fills the slot; false when there is nothing more. Called once at a time, in the prefetch thread when there is one,
  /// and must not use the compute pool: it would wait for, or hold up, the training step.
  using Produce = std::function<bool(T&)>;

  /// depth: how many items are made ahead; 0: no thread, next() makes them.
  Prefetcher(int depth, Produce produce) : produce_(std::move(produce)), slots_(static_cast<size_t>(depth) + 1) {
    if (depth > 0) thread_ = std::thread([this] { run(); });
  }
  ~Prefetcher() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  /// The next item, valid until the next call, or null at the end. Rethrows what the producer threw, once everything
  /// made before has been handed out.
  T* next() {
    if (!thread_.joinable()) return produce_(slots_[0]) ? &slots_[0] : nullptr;
    std::unique_lock lock(mutex_);
    if (handed_out_ > released_) {
      ++released_;
      changed_.notify_all();
    }
    changed_.wait(lock, [this] { return made_ > handed_out_ || finished_; });
    if (made_ == handed_out_) {
      if (error_) std::rethrow_exception(error_);
      return nullptr;
    }
    return &slots_[handed_out_++ % slots_.size()];
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return stop_ || made_ - released_ < slots_.size(); });
      if (stop_) return;
      T& slot = slots_[made_ % slots_.size()];
      lock.unlock();
      bool produced = false;
      std::exception_ptr error;
      try {
        produced = produce_(slot);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      if (produced) {
        ++made_;
      } else {
        error_ = error;
        finished_ = true;
      }
      changed_.notify_all();
      if (finished_) return;
    }
  }

  Produce produce_;
  std::vector<T> slots_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // Items made, handed out, and given back by the consumer, since the start; item i lies in slot i % slots.
  uint64_t made_ = 0;
  uint64_t handed_out_ = 0;
  uint64_t released_ = 0;
  bool finished_ = false;
  bool stop_ = false;
  std::exception_ptr error_;
  std::thread thread_;
};

}  // namespace attune
