#include "examples/support/step_figures.h"

#include <utility>

namespace attune::examples {

void StepFigures::add(const std::vector<Tensor>& found, See see) {
  // Begun before anything is waited for.
  std::vector<PendingCopy> begun;
  for (const Tensor& tensor : found) begun.emplace_back(tensor);
  settle();
  pending_ = std::move(begun);
  see_ = std::move(see);
  if (first_ || found.front().device().is_cpu()) settle();
  first_ = false;
}

void StepFigures::settle() {
  if (pending_.empty()) return;
  std::vector<Tensor> found;
  for (PendingCopy& copy : pending_) found.push_back(copy.get());
  pending_.clear();
  std::exchange(see_, nullptr)(found);
}

}  // namespace attune::examples
