#pragma once

#include "layers/module.h"

namespace attune::examples {

/// Evaluation mode for as long as it lives; the module is left in the mode that it was in.
class Evaluating {
 public:
  explicit Evaluating(Module& module) : module_(module), training_(module.training()) { module_.eval(); }
  ~Evaluating() { module_.train(training_); }
  Evaluating(const Evaluating&) = delete;
  Evaluating& operator=(const Evaluating&) = delete;

 private:
  Module& module_;
  bool training_;
};

}  // namespace attune::examples
