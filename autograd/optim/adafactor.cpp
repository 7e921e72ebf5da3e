#include "autograd/optim/adafactor.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "framework/fail.h"
#include "framework/math/arithmetic.h"
#include "framework/math/linalg.h"
#include "framework/math/reduce.h"

namespace attune {

namespace {

/// The shape of means along `axis`, for parameters that have rows and columns.
StateTensor means(const char* name, int axis) {
  return {name, [axis](const Shape& shape) {
            std::optional<Shape> out;
            if (shape.rank() < 2) return out;
            out = shape;
            (*out)[shape.axis(axis)] = 1;
            return out;
          }};
}

Tensor root_mean_square(const Tensor& x) { return sqrt(mean(square(x))); }

}  // namespace

Adafactor::Adafactor(const ParameterList& parameters, const AdafactorOptions& options)
    : Optimizer(
          "Adafactor", parameters, {options.learning_rate, options.weight_decay, options.groups},
          {means("row", -1),
           means("column", -2),
           {"v", [](const Shape& shape) { return shape.rank() < 2 ? std::optional<Shape>(shape) : std::nullopt; }}}),
      options_(options) {
  require<ValueError>(options.beta2_decay <= 0, "Adafactor: beta2_decay {} is above 0", options.beta2_decay);
  require<ValueError>(options.epsilon1 >= 0 && options.epsilon2 >= 0 && options.clip > 0,
                      "Adafactor: epsilon1 {} and epsilon2 {} must be >= 0, and clip {} above 0", options.epsilon1,
                      options.epsilon2, options.clip);
}

void Adafactor::update(ParameterUpdate& p) {
  const double unit = p.value.dtype() == DType::kFloat64 ? std::numeric_limits<double>::epsilon()
                                                         : static_cast<double>(std::numeric_limits<float>::epsilon());
  const double epsilon1 = options_.epsilon1 > 0 ? options_.epsilon1 : unit;
  const auto t = static_cast<double>(p.step);
  const double weight = std::pow(t, options_.beta2_decay);  // 1 - b
  const Tensor squares = square(p.grad);
  Tensor v = p.state[2];
  if (v.defined()) {
    v.copy_(lerp(v, squares, weight));
  } else {
    Tensor &row = p.state[0], &column = p.state[1];
    row.copy_(lerp(row, mean(squares, -1, true), weight));
    column.copy_(lerp(column, mean(squares, -2, true), weight));
    v = matmul(row, column) / maximum(mean(row, -2, true), epsilon1);
  }
  // Tensors, so that no device is waited for.
  const Tensor u = p.grad * rsqrt(maximum(v, epsilon1 * epsilon1));
  const Tensor size = maximum(root_mean_square(p.value), options_.epsilon2);
  const Tensor clipped = maximum(root_mean_square(u) / options_.clip, 1);
  p.value *= 1 - p.learning_rate * p.weight_decay;
  p.value -= std::min(p.learning_rate, 1 / std::sqrt(t)) * size / clipped * u;
}

}  // namespace attune
