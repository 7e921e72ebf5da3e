#include "layers/transformer/positional.h"

#include <cmath>

#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "layers/init.h"

namespace attune {
namespace {

void check_extents(const char* layer, int64_t dim, int64_t max_length) {
  require<ValueError>(dim > 0 && max_length > 0, "{}: dim {} and max_length {} given, expected at least 1 each", layer,
                      dim, max_length);
}

Tensor sinusoids(int64_t dim, int64_t max_length) {
  Tensor table = Tensor::empty({max_length, dim}, DType::kFloat64);
  double* p = table.data<double>();
  for (int64_t position = 0; position < max_length; ++position) {
    for (int64_t i = 0; i < dim; ++i) {
      const int64_t even = i / 2 * 2;
      const double exponent = static_cast<double>(even) / static_cast<double>(dim);
      const double angle = static_cast<double>(position) * std::pow(10000, -exponent);
      *p++ = i % 2 == 0 ? std::sin(angle) : std::cos(angle);
    }
  }
  return table.to(DType::kFloat32);
}

void check_input(const Module& module, const char* layer, const Variable& x, const Variable& table) {
  if (x.rank() == 3 && x.dim(2) == table.dim(1)) [[likely]]
    return;
  fail<ShapeError>("{}: x is {}, expected [B, T, {}]", module.who(layer), x.shape(), table.dim(1));
}

Variable add_positions(const Module& module, const char* layer, const Variable& x, const Variable& table,
                       int64_t offset) {
  check_input(module, layer, x, table);
  if (offset < 0 || x.dim(1) > table.dim(0) - offset) [[unlikely]] {
    fail<ShapeError>("{}: positions {} ... {} asked for, expected 0 ... {} (max_length {})", module.who(layer), offset,
                     offset + x.dim(1) - 1, table.dim(0) - 1, table.dim(0));
  }
  return add(x, parameter_for(x, slice(table, 0, offset, offset + x.dim(1))));
}

Variable add_positions(const Module& module, const char* layer, const Variable& x, const Variable& table,
                       const Tensor& positions) {
  check_input(module, layer, x, table);
  if (positions.shape() != Shape{x.dim(0), x.dim(1)}) [[unlikely]] {
    fail<ShapeError>("{}: positions are {}, expected [{}, {}] as x has samples and tokens", module.who(layer),
                     positions.shape(), x.dim(0), x.dim(1));
  }
  return add(x, parameter_for(x, embedding(table, positions)));
}

}  // namespace

SinusoidalPositions::SinusoidalPositions(int64_t dim, int64_t max_length) {
  check_extents("SinusoidalPositions", dim, max_length);
  table_ = constant(sinusoids(dim, max_length));
}

Variable SinusoidalPositions::operator()(const Variable& x, int64_t offset) const {
  return result(add_positions(*this, "SinusoidalPositions", x, table_, offset));
}

Variable SinusoidalPositions::operator()(const Variable& x, const Tensor& positions) const {
  return result(add_positions(*this, "SinusoidalPositions", x, table_, positions));
}

LearnedPositions::LearnedPositions(int64_t dim, int64_t max_length) {
  check_extents("LearnedPositions", dim, max_length);
  weight_ = parameter("weight", init::normal({max_length, dim}, 0, 0.02));
}

Variable LearnedPositions::operator()(const Variable& x, int64_t offset) const {
  return result(add_positions(*this, "LearnedPositions", x, weight_, offset));
}

Variable LearnedPositions::operator()(const Variable& x, const Tensor& positions) const {
  return result(add_positions(*this, "LearnedPositions", x, weight_, positions));
}

}  // namespace attune
