#include "examples/support/step_figures.h"

#include <utility>

namespace attune::examples {

void StepFigures::add(int64_t step, std::vector<PendingCopy>& found, See see) {
  settle();
  pending_.swap(found);
  see_ = std::move(see);
  step_ = step;
  if (first_ || !late_) settle();
  first_ = false;
}

void StepFigures::settle() {
  if (pending_.empty()) return;
  seen_.clear();
  for (PendingCopy& copy : pending_) seen_.push_back(copy.get());
  pending_.clear();
  std::exchange(see_, nullptr)(step_, seen_);
}

}  // namespace attune::examples
