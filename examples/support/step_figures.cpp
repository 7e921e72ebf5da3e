#include "examples/support/step_figures.h"

#include <utility>

namespace attune::examples {

void StepFigures::add(std::vector<PendingCopy> found, See see) {
  settle();
  pending_ = std::move(found);
  see_ = std::move(see);
  if (first_ || !late_) settle();
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
