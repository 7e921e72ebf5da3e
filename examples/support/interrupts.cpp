#include "examples/support/interrupts.h"

#include <atomic>
#include <csignal>
#include <utility>

namespace attune::examples {
namespace {

std::atomic<int> signal_seen = 0;
std::atomic<int> interruptible_works = 0;

bool is_ignored(int signal) {
  struct sigaction current {};
  return sigaction(signal, nullptr, &current) == 0 && current.sa_handler == SIG_IGN;
}

class InterruptibleGeneration final : public Generation {
 public:
  explicit InterruptibleGeneration(std::unique_ptr<Generation> generation) : generation_(std::move(generation)) {}

  int64_t batch() const override { return generation_->batch(); }
  int64_t vocabulary() const override { return generation_->vocabulary(); }
  Tensor step(const Tensor& tokens) override {
    end_if_interrupted();
    return generation_->step(tokens);
  }
  void select(const Tensor& rows) override { generation_->select(rows); }
  Tensor attention() const override { return generation_->attention(); }

 private:
  std::unique_ptr<Generation> generation_;
};

}  // namespace

void catch_interrupts() {
  signal_seen = 0;
  struct sigaction action {};
  action.sa_handler = [](int signal) { signal_seen.store(signal, std::memory_order_relaxed); };
  action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  if (!is_ignored(SIGHUP)) sigaction(SIGHUP, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

bool interrupted() { return signal_seen.load(std::memory_order_relaxed) != 0; }

int interrupt_status() { return 128 + signal_seen.load(std::memory_order_relaxed); }

InterruptibleWork::InterruptibleWork() { ++interruptible_works; }
InterruptibleWork::~InterruptibleWork() { --interruptible_works; }

void end_if_interrupted() {
  if (interrupted() && interruptible_works.load(std::memory_order_relaxed) > 0) throw Interrupted();
}

std::unique_ptr<Generation> interruptible(std::unique_ptr<Generation> generation) {
  return std::make_unique<InterruptibleGeneration>(std::move(generation));
}

}  // namespace attune::examples
