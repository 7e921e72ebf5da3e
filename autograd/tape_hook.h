#pragma once

// For what examines gradients (the gradient checker, its self-test): sees every op of a thread as it is computed, and
// stands between the tape and the formulas of backward(). Costs nothing where there is none.

#include <span>
#include <vector>

#include "autograd/tape.h"

namespace attune {

/// One node during backward(), as a TapeHook sees it.
class BackwardStep {
 public:
  const char* op() const;
  /// Number of the node: Tape::recorded() when its op was computed.
  uint64_t node() const;
  int inputs() const;
  int outputs() const;
  bool needs(int input);
  /// Gradient of an output, to be read or replaced.
  Tensor& dy(int output = 0);

  /// The op's own formula.
  void run();
  /// The same, but what it gives its inputs is handed back (undefined for nothing) instead of added to their gradients.
  /// Tensors may share storage.
  std::vector<Tensor> run_apart();
  /// Adds to the gradient of an input. Validated like Grads::add.
  void deliver(int input, Tensor dx);
  /// Drops what other nodes have given the input so far.
  void forget(int input);

 private:
  friend class Tape;
  BackwardStep(Tape& tape, size_t node) : tape_(tape), node_(node) {}
  uint32_t& slot(int input);

  Tape& tape_;
  size_t node_;
};

/// While it lives, this thread's tape reports to it. The latest of several is asked.
class TapeHook {
 public:
  TapeHook();
  virtual ~TapeHook();
  TapeHook(const TapeHook&) = delete;
  TapeHook& operator=(const TapeHook&) = delete;

  /// An op has been computed, recorded or not; inputs that are not there are undefined.
  virtual void computed(const char* op, std::span<const Variable* const> inputs,
                        std::span<const Tensor* const> outputs);
  /// In place of step.run(), which it calls by itself.
  virtual void backward(BackwardStep& step);

 private:
  TapeHook* before_;
};

}  // namespace attune
