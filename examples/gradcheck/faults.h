#pragma once

// Mistakes put into the formulas of backward(), one at a time, while the formulas that are shipped run: what the
// checker must notice.

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "autograd/tape_hook.h"
#include "examples/gradcheck/masks.h"

namespace attune::examples {

/// Tensors that a case holds besides its inputs, by name: indices, lengths, those of masks.
using Constants = std::vector<std::pair<std::string, Tensor>>;

/// A node of the op at fault, with the values that the op was computed from and gave.
struct FaultyStep {
  BackwardStep& step;
  const std::vector<Tensor>& inputs;
  const std::vector<Tensor>& outputs;
  const Constants& constants;
};

struct Fault {
  std::string name;     ///< "linear: bias gradient dropped"
  std::string layer;    ///< row of the catalogue that it is shown in
  std::string options;  ///< JSON
  std::vector<MaskPart> mask;
  std::string op;
  std::function<void(FaultyStep&)> backward;  ///< in place of the op's own formula; none: that stays
  /// Changes what the op has computed, recorded or not.
  std::function<void(const std::vector<Tensor>& inputs, std::vector<Tensor>& outputs)> forward{};
};

const std::vector<Fault>& faults();
// By what they do: change what right formulas give or get, be wrong formulas, round, or treat masks wrongly.
void add_result_faults(std::vector<Fault>& faults);
void add_formula_faults(std::vector<Fault>& faults);
void add_precision_faults(std::vector<Fault>& faults);
void add_mask_faults(std::vector<Fault>& faults);

/// While it lives, the fault is in this thread's formulas.
class FaultInjection : public TapeHook {
 public:
  explicit FaultInjection(const Fault& fault) : fault_(fault) {}

  /// Of the case that runs.
  void set_constants(Constants constants) { constants_ = std::move(constants); }

  void computed(const char* op, std::span<const Variable* const> inputs,
                std::span<const Tensor* const> outputs) override;
  void backward(BackwardStep& step) override;
  bool reached() const { return reached_; }

 private:
  struct Values {
    std::vector<Tensor> inputs;
    std::vector<Tensor> outputs;
  };

  const Fault& fault_;
  std::map<uint64_t, Values> values_;  // by node
  Constants constants_;
  bool reached_ = false;
};

// Parts of faults. Tensors are contiguous and float64.

/// Changes what the right formula gives one input.
std::function<void(FaultyStep&)> changed(int input, std::function<void(Tensor& dx, const FaultyStep&)> change);
/// Gives inputs what a wrong formula says; the right one does not run. Undefined: nothing.
std::function<void(FaultyStep&)> replaced(std::function<std::vector<Tensor>(const FaultyStep&)> formula);

}  // namespace attune::examples
