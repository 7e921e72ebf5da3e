#include "layers/attention/performer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "layers/orthogonal.h"

namespace attune {
namespace {

int64_t feature_count(int64_t head_size, int64_t features) {
  if (features > 0) return features;
  const auto size = static_cast<double>(head_size);
  return std::max<int64_t>(1, static_cast<int64_t>(std::ceil(size * std::log(size))));
}

}  // namespace

Performer::Performer(int64_t head_size, PerformerOptions options, RandomStream& stream)
    : orthogonal_(options.orthogonal) {
  require<ValueError>(head_size > 0 && options.features >= 0,
                      "Performer: head size {} and {} features given, expected at least 1, and 0 (K log K) or more",
                      head_size, options.features);
  directions_ = buffer("directions", Tensor::zeros({feature_count(head_size, options.features), head_size}));
  redraw(stream);
}

void Performer::redraw(RandomStream& stream) {
  Tensor drawn = stream.normal(directions_.shape(), 0, 1, DType::kFloat64);
  const int64_t size = directions_.dim(1);
  for (int64_t i = 0; orthogonal_ && i < drawn.dim(0); i += size) {
    orthogonalise_rows(drawn.data<double>() + i * size, std::min(size, drawn.dim(0) - i), size);
  }
  Tensor(directions_.value()).copy_(drawn);
}

std::pair<Variable, Variable> Performer::project(const Variable& x, const char* name) const {
  const int64_t size = directions_.dim(1);
  if (x.dim(3) != size) [[unlikely]] {
    fail<ShapeError>("{}: {} is {}, expected heads of size {}", who("Performer"), name, x.shape(), size);
  }
  const Variable scaled = x * std::pow(static_cast<double>(size), -0.25);
  return {linear(scaled, directions_, {}), scaled};
}

Variable Performer::query_features(const Variable& q) const {
  // exp(-|q|^2 / 2) is the same for all keys, and so is the largest exponent.
  const Variable exponents = project(q, "q").first;
  return exp(sub(exponents, max(exponents, -1, true).detach()));
}

Variable Performer::key_features(const Variable& k) const {
  const auto projected = project(k, "k");
  return exp(sub(projected.first, sum(square(projected.second), {-1}, true) * 0.5));
}

}  // namespace attune
