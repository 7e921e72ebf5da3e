#include "framework/kernels/cpu/deep_gemm.h"
#include "framework/kernels/cpu/gemm.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/kernels/gemm.h"

namespace attune::cpu {
namespace {

bool has_unit_stride(const Tensor& x) {
  const int rank = x.rank();
  return x.strides()[rank - 1] == 1 || x.strides()[rank - 2] == 1 || x.shape()[rank - 1] == 1;
}

template <class T>
Operand<T> operand(const Tensor& x, bool transpose) {
  const int rank = x.rank();
  // An axis of extent 1 may carry any stride.
  const int64_t col = x.shape()[rank - 1] == 1 ? 1 : x.strides()[rank - 1];
  const Operand<T> matrix{x.data<T>(), x.strides()[rank - 2], col};
  return transpose ? matrix.transposed() : matrix;
}

// Offset of batch `index` (row-major over the leading axes of `shape`) in x.
int64_t batch_offset(const Tensor& x, const Shape& shape, int64_t index) {
  int64_t offset = 0;
  for (int axis = shape.rank() - 3; axis >= 0; --axis) {
    offset += index % shape[axis] * x.strides()[axis];
    index /= shape[axis];
  }
  return offset;
}

}  // namespace

void matmul(const Tensor& a_in, const Tensor& b_in, const MatmulOptions& options, Tensor& c) {
  if (c.numel() == 0) return;
  const Tensor a = has_unit_stride(a_in) ? a_in : a_in.clone();
  const Tensor b = has_unit_stride(b_in) ? b_in : b_in.clone();
  visit_floating(c.dtype(), "matmul", [&]<class T>(T) {
    const int rank = c.rank();
    Product<T> base;
    base.m = c.shape()[rank - 2];
    base.n = c.shape()[rank - 1];
    base.k = a.shape()[options.transpose_a ? rank - 2 : rank - 1];
    base.a = operand<T>(a, options.transpose_a);
    base.b = operand<T>(b, options.transpose_b);
    base.c = c.data<T>();
    base.ldc = base.n;
    base.alpha = static_cast<T>(options.alpha);
    base.accumulate = options.accumulate;
    base.exact_zeros = options.exact_zeros;
    const int64_t batches = c.numel() / (base.m * base.n);
    if (batches == 1) return parallel_gemm(base);
    const int64_t work = std::max<int64_t>(base.m * base.n * base.k, 1);
    parallel_for(batches, std::max<int64_t>(1, 100'000 / work), [&](int64_t begin, int64_t end, int64_t) {
      for (int64_t i = begin; i < end; ++i) {
        Product<T> one = base;
        one.a.data += batch_offset(a, c.shape(), i);
        one.b.data += batch_offset(b, c.shape(), i);
        one.c += i * base.m * base.n;
        gemm_of_any_depth(one);
      }
    });
  });
}

}  // namespace attune::cpu
