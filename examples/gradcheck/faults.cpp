#include "examples/gradcheck/faults.h"

namespace attune::examples {

const std::vector<Fault>& faults() {
  static const std::vector<Fault> all = [] {
    std::vector<Fault> out;
    add_result_faults(out);
    add_formula_faults(out);
    add_precision_faults(out);
    add_mask_faults(out);
    return out;
  }();
  return all;
}

void FaultInjection::computed(const char* op, std::span<const Variable* const> inputs,
                              std::span<const Tensor* const> outputs) {
  if (Tape::current().size() == 0) values_.clear();
  if (fault_.op != op) return;
  Values values;
  for (const Variable* x : inputs) values.inputs.push_back(x->value());
  for (const Tensor* y : outputs) values.outputs.push_back(*y);
  if (fault_.forward) {
    fault_.forward(values.inputs, values.outputs);
    reached_ = true;
  }
  if (grad_enabled()) values_[Tape::current().recorded()] = std::move(values);
}

void FaultInjection::backward(BackwardStep& step) {
  const auto found = values_.find(step.node());
  if (fault_.op != step.op() || found == values_.end() || !fault_.backward) {
    step.run();
    return;
  }
  reached_ = true;
  FaultyStep faulty{step, found->second.inputs, found->second.outputs, constants_};
  fault_.backward(faulty);
}

std::function<void(FaultyStep&)> changed(int input, std::function<void(Tensor& dx, const FaultyStep&)> change) {
  return [input, change = std::move(change)](FaultyStep& faulty) {
    std::vector<Tensor> dx = faulty.step.run_apart();
    Tensor& wrong = dx[static_cast<size_t>(input)];
    if (wrong.defined()) {
      wrong = wrong.clone();
      change(wrong, faulty);
    }
    for (size_t i = 0; i < dx.size(); ++i) {
      if (dx[i].defined()) faulty.step.deliver(static_cast<int>(i), dx[i]);
    }
  };
}

std::function<void(FaultyStep&)> replaced(std::function<std::vector<Tensor>(const FaultyStep&)> formula) {
  return [formula = std::move(formula)](FaultyStep& faulty) {
    const std::vector<Tensor> dx = formula(faulty);
    for (size_t i = 0; i < dx.size(); ++i) {
      if (dx[i].defined() && faulty.step.needs(static_cast<int>(i))) faulty.step.deliver(static_cast<int>(i), dx[i]);
    }
  };
}

}  // namespace attune::examples
