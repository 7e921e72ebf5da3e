#include "framework/math/create.h"

#include <cmath>

#include "framework/kernels/copy.h"
#include "framework/kernels/random.h"
#include "framework/math/compare.h"
#include "framework/math/detail/checks.h"

namespace attune {
namespace {

// begin + i * step
Tensor progression(double begin, double step, int64_t count, DType dtype, Device device) {
  require<DTypeError>(dtype != DType::kBFloat16 && dtype != DType::kBool,
                      "arange: {} asked for, expected float32, float64 or int64", dtype_name(dtype));
  Tensor y = Tensor::empty({count}, dtype, device);
  kernels::arange(begin, step, y);
  return y;
}

Tensor drawn(const Shape& shape, DType dtype, Device device, RandomStream& stream, const char* who, auto& kernel) {
  require<DTypeError>(is_floating(dtype), "{}: {} asked for, expected a floating dtype", who, dtype_name(dtype));
  Tensor y = Tensor::empty(shape, dtype, device);
  kernel(stream.reserve(2 * y.numel()), y);
  return y;
}

}  // namespace

Tensor ones(const Shape& shape, DType dtype, Device device) { return Tensor::full(shape, 1, dtype, device); }

Tensor ones_like(const Tensor& other) { return full_like(other, 1); }

Tensor full_like(const Tensor& other, double value) {
  return Tensor::full(other.shape(), value, other.dtype(), other.device());
}

Tensor arange(Scalar begin, Scalar end, Scalar step, Device device) {
  const double length = end.number() - begin.number();
  require<ValueError>(step.number() != 0 && length / step.number() >= 0,
                      "arange: step {} does not lead from {} to {}; a step is not 0 and points to the end",
                      step.number(), begin.number(), end.number());
  const double count = std::ceil(length / step.number());
  require<ValueError>(count < 0x1p62, "arange: {} ... {} in steps of {} are too many to be counted", begin.number(),
                      end.number(), step.number());
  const bool integral = begin.is_integral() && end.is_integral() && step.is_integral();
  return progression(begin.number(), step.number(), static_cast<int64_t>(count),
                     integral ? DType::kInt64 : DType::kFloat32, device);
}

Tensor arange(Scalar end, Device device) { return arange(0, end, 1, device); }

Tensor linspace(double begin, double end, int64_t count, DType dtype, Device device) {
  require<ValueError>(count >= 0, "linspace: {} numbers asked for, expected 0 or more", count);
  require<DTypeError>(dtype == DType::kFloat32 || dtype == DType::kFloat64,
                      "linspace: {} asked for, expected float32 or float64", dtype_name(dtype));
  const double step = count > 1 ? (end - begin) / static_cast<double>(count - 1) : 0;
  Tensor y = progression(begin, step, count, dtype, device);
  if (count > 1) y.select(0, -1).fill_(end);
  return y;
}

Tensor eye(int64_t rows, int64_t columns, DType dtype, Device device) {
  const int64_t width = columns < 0 ? rows : columns;
  return (arange(rows, device).unsqueeze(1) == arange(width, device)).to(dtype);
}

Tensor one_hot(const Tensor& ids, int64_t classes, DType dtype) {
  require<ValueError>(classes >= 0, "one_hot: {} classes given, expected 0 or more", classes);
  const Tensor id = check_indices("one_hot", "id", ids, classes);
  return (id.unsqueeze(-1) == arange(classes, id.device())).to(dtype);
}

Tensor rand(const Shape& shape, DType dtype, Device device, RandomStream& stream) {
  return drawn(shape, dtype, device, stream, "rand", kernels::draw_uniform);
}

Tensor randn(const Shape& shape, DType dtype, Device device, RandomStream& stream) {
  return drawn(shape, dtype, device, stream, "randn", kernels::draw_normal);
}

}  // namespace attune
