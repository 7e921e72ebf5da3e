#pragma once

#include <string>
#include <utility>
#include <vector>

#include "framework/tensor.h"

namespace attune {

/// What a checkpoint stores: names with their tensors, in a fixed order.
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// Copies the tensors of `given` into those of `own` with the same names (converting dtypes). Throws ShapeError listing
/// all missing, unexpected and mismatched entries at once; nothing is changed then. who: for the message.
void load_named_tensors(const std::string& who, const NamedTensors& own, const NamedTensors& given);

}  // namespace attune
