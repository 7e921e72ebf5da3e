#include "framework/math/axes.h"

#include <algorithm>

#include "framework/fail.h"

namespace attune {

Axes::Axes(std::span<const int> axes) : count_(axes.size()) {
  require<ShapeError>(axes.size() <= axes_.size(), "Axes: {} axes given, a tensor has at most {}", axes.size(),
                      axes_.size());
  std::copy(axes.begin(), axes.end(), axes_.begin());
}

}  // namespace attune
