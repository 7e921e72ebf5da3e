#pragma once

#include <functional>
#include <string>

#include "autograd/gradcheck/derivative.h"

namespace attune::gradcheck_internal {

/// The op that has no derivative where the inputs stand: "relu at [1, 2] of [2, 4]". Replays the function on both sides
/// and takes the first op whose outputs have one-sided derivatives that disagree, so it knows no op by name. Empty when
/// none is found.
std::string find_kink(const std::function<void()>& replay, const Move& move, double step);

/// "[1, 2]" of an element's place in row-major order.
Shape index_of(int64_t position, const Shape& shape);

}  // namespace attune::gradcheck_internal
