#include "framework/math/order.h"

#include <limits>

#include "framework/kernels/index.h"
#include "framework/kernels/top_k.h"
#include "framework/math/arithmetic.h"
#include "framework/math/compare.h"
#include "framework/math/detail/checks.h"

namespace attune {
namespace {

// x with `axis` last, as [rows, n], and the way back.
struct SortedRows {
  int axis;
  Shape shape;  // with the axis last
  Tensor rows;

  SortedRows(const char* op, const Tensor& x, int given_axis) {
    check_number(op, "x", x);
    axis = check_axis(op, x.shape(), given_axis);
    const Tensor last = x.transpose(axis, -1).contiguous();
    shape = last.shape();
    const int64_t n = shape.dim(-1);
    rows = last.view({n == 0 ? 0 : last.numel() / n, n});
  }
  // [rows, k] as the result's shape.
  Tensor back(const Tensor& y) const {
    Shape out = shape;
    out[out.rank() - 1] = y.dim(1);
    return y.view(out).transpose(axis, -1).contiguous();
  }
};

Tensor sorted_places(const Tensor& rows, bool descending) {
  Tensor indices = Tensor::empty(rows.shape(), DType::kInt64, rows.device());
  kernels::argsort(rows, descending, indices);
  return indices;
}

Tensor taken(const Tensor& rows, const Tensor& indices) {
  Tensor y = Tensor::empty(indices.shape(), rows.dtype(), rows.device());
  Tensor out = y.unsqueeze(-1);
  kernels::take_along(rows.unsqueeze(-1), indices.unsqueeze(-1), out);
  return y;
}

// Few of floating rows are selected without sorting all.
Tensor selected_places(const Tensor& rows, int64_t k, bool largest) {
  const Tensor wide = widen(rows);
  Tensor values = Tensor::empty({rows.dim(0), k}, wide.dtype(), rows.device());
  Tensor indices = Tensor::empty({rows.dim(0), k}, DType::kInt64, rows.device());
  // The smallest are the largest of -x, NaN being last.
  kernels::top_k(largest ? wide : -where(isnan(wide), std::numeric_limits<double>::infinity(), wide), values, indices);
  return indices;
}

}  // namespace

Ordered topk(const Tensor& x, int64_t k, int axis, bool largest) {
  const SortedRows sorted("topk", x, axis);
  const int64_t n = sorted.rows.dim(1);
  require<ValueError>(k >= 0 && k <= n, "topk: k {} given for axis {} of shape {}, expected 0 ... {}", k, axis,
                      x.shape(), n);
  constexpr int64_t kFew = 64;
  const bool selects = is_floating(x.dtype()) && k <= kFew && n > 0;
  const Tensor places = selects ? selected_places(sorted.rows, k, largest)
                                : sorted_places(sorted.rows, largest).slice(1, 0, k).contiguous();
  return {sorted.back(taken(sorted.rows, places)), sorted.back(places)};
}

Ordered sort(const Tensor& x, int axis, bool descending) {
  const SortedRows sorted("sort", x, axis);
  const Tensor places = sorted_places(sorted.rows, descending);
  return {sorted.back(taken(sorted.rows, places)), sorted.back(places)};
}

Tensor argsort(const Tensor& x, int axis, bool descending) {
  const SortedRows sorted("argsort", x, axis);
  return sorted.back(sorted_places(sorted.rows, descending));
}

}  // namespace attune
