#include "framework/math/reduce.h"

#include "framework/kernels/elementwise.h"
#include "framework/kernels/fold.h"
#include "framework/kernels/reduce.h"
#include "framework/kernels/top_k.h"
#include "framework/math/arithmetic.h"
#include "framework/math/compare.h"
#include "framework/math/detail/checks.h"

namespace attune {
namespace {

// Room for a reduction of grouped().
Tensor reduced_room(const Tensor& groups, DType dtype) {
  return Tensor::empty({groups.dim(0), 1, groups.dim(2)}, dtype, groups.device());
}

Tensor floating_sum(const Tensor& x, const Reduced& reduced) {
  Tensor y = Tensor::empty(reduced.kept, x.dtype(), x.device());
  kernels::sum_to(x, y);
  return y;
}

// Of int64 and of bool.
Tensor integer_sum(const Tensor& x, const Reduced& reduced) {
  const Tensor groups = reduced.grouped(x);
  Tensor y = reduced_room(groups, DType::kInt64);
  kernels::sum_integers(groups, y);
  return y;
}

using ExtremeKernel = Kernel<const Tensor&, Tensor&, Tensor&>;

// Values and places of the largest or smallest elements.
std::pair<Tensor, Tensor> extremes(const char* op, const Tensor& x, const Reduced& reduced,
                                   const ExtremeKernel& kernel) {
  reduced.require_elements(op, "largest or smallest element");
  const Tensor groups = reduced.grouped(x);
  Tensor y = reduced_room(groups, x.dtype());
  Tensor index = reduced_room(groups, DType::kInt64);
  if (y.numel() > 0) kernel(groups, y, index);
  return {y, index};
}

Tensor extreme_value(const char* op, const Tensor& x, const Axes& axes, bool keep, const ExtremeKernel& kernel) {
  check_number(op, "x", x);
  const Reduced reduced(op, x.shape(), axes);
  return extremes(op, x, reduced, kernel).first.view(reduced.result(keep));
}

Tensor extreme_place(const char* op, const Tensor& x, const Axes& axes, bool keep, const ExtremeKernel& kernel) {
  check_number(op, "x", x);
  const Reduced reduced(op, x.shape(), axes);
  return extremes(op, x, reduced, kernel).second.view(reduced.result(keep));
}

// Mean with reduced extents 1.
Tensor kept_mean(const char* op, const Tensor& x, const Reduced& reduced) {
  reduced.require_elements(op, "mean");
  return floating_sum(x, reduced) * (1.0 / static_cast<double>(reduced.count));
}

Tensor variance(const char* op, const Tensor& x, const Axes& axes, bool keep, int64_t correction) {
  check_floating(op, "x", x);
  const Reduced reduced(op, x.shape(), axes);
  reduced.require_variance(op, correction);
  const Tensor squares = square(x - kept_mean(op, x, reduced));
  const Tensor total = floating_sum(squares, reduced);
  return (total * (1.0 / static_cast<double>(reduced.count - correction))).view(reduced.result(keep));
}

Tensor cumulated(const char* op, const Tensor& x, int axis, bool product) {
  check_defined(op, "x", x);
  const Tensor numbers = x.dtype() == DType::kBool ? x.to(DType::kInt64) : x;
  check_number(op, "x", numbers);
  const Tensor groups = around_axis(numbers, check_axis(op, x.shape(), axis));
  Tensor y = Tensor::empty(groups.shape(), numbers.dtype(), x.device());
  kernels::cumulate(groups, product, /*reverse=*/false, y);
  return y.view(x.shape());
}

}  // namespace

Tensor sum(const Tensor& x, const Axes& axes, bool keep) {
  check_defined("sum", "x", x);
  if (x.dtype() != DType::kBool) check_number("sum", "x", x);
  const Reduced reduced("sum", x.shape(), axes);
  const Tensor total = is_floating(x.dtype()) ? floating_sum(x, reduced) : integer_sum(x, reduced);
  return total.view(reduced.result(keep));
}

Tensor mean(const Tensor& x, const Axes& axes, bool keep) {
  check_floating("mean", "x", x);
  const Reduced reduced("mean", x.shape(), axes);
  return kept_mean("mean", x, reduced).view(reduced.result(keep));
}

Tensor prod(const Tensor& x, const Axes& axes, bool keep) {
  check_number("prod", "x", x);
  const Reduced reduced("prod", x.shape(), axes);
  const Tensor groups = reduced.grouped(x);
  Tensor y = reduced_room(groups, x.dtype());
  kernels::product(groups, y);
  return y.view(reduced.result(keep));
}

Tensor max(const Tensor& x, const Axes& axes, bool keep) { return extreme_value("max", x, axes, keep, kernels::max); }
Tensor min(const Tensor& x, const Axes& axes, bool keep) { return extreme_value("min", x, axes, keep, kernels::min); }

Tensor argmax(const Tensor& x, int axis, bool keep) { return extreme_place("argmax", x, axis, keep, kernels::max); }
Tensor argmax(const Tensor& x) { return extreme_place("argmax", x, {}, false, kernels::max); }
Tensor argmin(const Tensor& x, int axis, bool keep) { return extreme_place("argmin", x, axis, keep, kernels::min); }
Tensor argmin(const Tensor& x) { return extreme_place("argmin", x, {}, false, kernels::min); }

Tensor var(const Tensor& x, const Axes& axes, bool keep, int64_t correction) {
  return in_float32(x, [&](const Tensor& wide) { return variance("var", wide, axes, keep, correction); });
}

Tensor stddev(const Tensor& x, const Axes& axes, bool keep, int64_t correction) {
  return in_float32(x, [&](const Tensor& wide) { return sqrt(variance("stddev", wide, axes, keep, correction)); });
}

Tensor norm(const Tensor& x, const Axes& axes, bool keep) {
  check_floating("norm", "x", x);
  return in_float32(x, [&](const Tensor& wide) { return sqrt(sum(square(wide), axes, keep)); });
}

Tensor logsumexp(const Tensor& x, const Axes& axes, bool keep) {
  check_floating("logsumexp", "x", x);
  const Reduced reduced("logsumexp", x.shape(), axes);
  reduced.require_elements("logsumexp", "largest element");
  return in_float32(x, [&](const Tensor& wide) {
    const Tensor top = max(wide, axes, /*keep=*/true);
    const Tensor shift = where(isinf(top), 0, top);  // infinity less infinity is NaN
    const Tensor total = log(sum(exp(wide - shift), axes, /*keep=*/true)) + shift;
    return total.view(reduced.result(keep));
  });
}

Tensor log_normalizer(const Tensor& x, double temperature) {
  constexpr const char* kOp = "log_normalizer";
  check_floating(kOp, "x", x);
  require<ValueError>(temperature > 0, "{}: temperature is {}, expected above 0", kOp, temperature);
  const Reduced reduced(kOp, x.shape(), {-1});
  reduced.require_elements(kOp, "largest element");
  const Tensor wide = widen(x).contiguous();
  Tensor y = Tensor::empty(reduced.result(false), DType::kFloat64, x.device());
  Tensor rows = y.view({y.numel()});
  kernels::log_sum_exp(wide.view({y.numel(), x.dim(-1)}), 1 / temperature, rows);
  return y;
}

Tensor all(const Tensor& x, const Axes& axes, bool keep) {
  check_bool("all", "x", x);
  return sum(x, axes, keep) == Reduced("all", x.shape(), axes).count;
}

Tensor any(const Tensor& x, const Axes& axes, bool keep) {
  check_bool("any", "x", x);
  return sum(x, axes, keep) > 0;
}

Tensor count_nonzero(const Tensor& x, const Axes& axes, bool keep) {
  check_defined("count_nonzero", "x", x);
  return sum(x.dtype() == DType::kBool ? x : x != 0, axes, keep);
}

Tensor cumsum(const Tensor& x, int axis) { return cumulated("cumsum", x, axis, false); }
Tensor cumprod(const Tensor& x, int axis) { return cumulated("cumprod", x, axis, true); }

}  // namespace attune
