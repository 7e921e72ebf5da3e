#include "layers/sequential.h"

#include "framework/fail.h"

namespace attune {

Variable Sequential::operator()(const Variable& x) const {
  Variable y = x;
  for (const Step& step : steps_) y = step.call(*step.module, y);
  return result(std::move(y));
}

Sequential::Step& Sequential::at(int64_t index) {
  require<ValueError>(index >= 0 && index < size(), "{}: there is no module {}, only {}", who("Sequential"), index,
                      size());
  return steps_[static_cast<size_t>(index)];
}

}  // namespace attune
