#include "framework/kernels/cuda/find.cuh"
#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/matrix_steps.h"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/packed.h"
#include "framework/kernels/cuda/product.h"
#include "framework/kernels/cuda/strided.h"
#include "framework/kernels/gemm.h"

namespace attune::cuda {
namespace {

/// c = alpha a b where a zero in a contributes nothing, if *wanted. A thread for every element: it is slow, and wanted
/// only where b is not finite. Y: of c.
template <class T, class Y>
__global__ void multiply_exactly(const int* wanted, Product p) {
  using C = Compute<T>;
  if (*wanted == 0) return;
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= p.m * p.n * p.batches) return;
  const int64_t batch = at / (p.m * p.n);
  const int64_t i = at / p.n % p.m;
  const int64_t j = at % p.n;
  const T* a = static_cast<const T*>(p.a.data) + batch * p.a.batch + i * p.a.rows;
  const T* b = static_cast<const T*>(p.b.data) + batch * p.b.batch + j * p.b.columns;
  C sum = 0;
  for (int64_t k = 0; k < p.k; ++k) {
    const C factor = load(a[k * p.a.columns]);
    if (factor != C(0)) sum += factor * load(b[k * p.b.rows]);
  }
  static_cast<Y*>(p.c)[batch * p.c_batch + i * p.n + j] = store<Y>(sum * static_cast<C>(p.alpha));
}

template <class T>
__global__ void add_to(const T* x, T* y, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) y[i] = store<T>(load(x[i]) + load(y[i]));
}

/// An operand's last two axes, packed where cuBLAS cannot read them.
struct Operand {
  Scratch copy;
  Matrix matrix;
  Strides strides;  ///< of all axes

  Operand(const Context& c, const Tensor& x, bool transpose) : strides(x.strides()) {
    const std::byte* data = x.raw();
    const int last = x.rank() - 1;
    const int64_t m = x.shape()[last - 1], n = x.shape()[last];
    if (!is_readable({strides[last - 1], strides[last]}, m, n)) {
      copy = Scratch(c, static_cast<size_t>(x.numel()) * dtype_size(x.dtype()));
      pack(c, x, x.shape(), copy.data<std::byte>());
      data = copy.data<std::byte>();
      strides = contiguous_strides(x.shape());
    }
    const MatrixSteps own = decided({strides[last - 1], strides[last]}, m, n);
    const MatrixSteps steps = transpose ? own.transposed() : own;
    matrix = {data, steps.rows, steps.columns, 0};
  }
};

template <class T, class Y>
void multiply_all(const Context& c, const Tensor& a, const Tensor& b, const MatmulOptions& options, Product p, Y* out) {
  const Operand left(c, a, options.transpose_a);
  const Operand right(c, b, options.transpose_b);
  p.a = left.matrix;
  p.b = right.matrix;
  const int rank = a.rank();
  StridedShape<3> leading;
  int64_t step = p.m * p.n;
  int64_t c_steps[Shape::kMaxRank] = {};
  for (int axis = rank - 3; axis >= 0; --axis) {
    c_steps[axis] = step;
    step *= a.shape()[axis];
  }
  for (int axis = 0; axis < rank - 2; ++axis) {
    leading.push(a.shape()[axis], {left.strides[axis], right.strides[axis], c_steps[axis]});
  }
  leading.finish();
  // The innermost leading axis is cuBLAS's batch, those before it are walked here.
  const int inner = leading.rank - 1;
  p.batches = leading.extent[inner];
  p.a.batch = leading.stride[inner][0];
  p.b.batch = leading.stride[inner][1];
  p.c_batch = leading.stride[inner][2];
  const int64_t outer = leading.numel() / p.batches;
  for (int64_t i = 0; i < outer; ++i) {
    int64_t rest = i, at[3] = {};
    for (int axis = inner - 1; axis >= 0; --axis) {
      for (int k = 0; k < 3; ++k) at[k] += rest % leading.extent[axis] * leading.stride[axis][k];
      rest /= leading.extent[axis];
    }
    Product one = p;
    one.a.data = static_cast<const T*>(p.a.data) + at[0];
    one.b.data = static_cast<const T*>(p.b.data) + at[1];
    one.c = out + at[2];
    multiply(c, "matmul", one);
    if (!options.exact_zeros) continue;
    NonFinite<T> odd(c);
    odd.look_at(c, "matmul", {&b});
    launch(c, "matmul", multiply_exactly<T, Y>, thread_each(p.m * p.n * p.batches), odd.word(), one);
  }
}

template <class T, class Y>
void multiply_into(const Tensor& a, const Tensor& b, const MatmulOptions& options, Product p, Tensor& y) {
  const Context& c = context(y);
  // What is computed again (see multiply_exactly) cannot be added in place.
  const bool apart = options.accumulate && options.exact_zeros;
  p.accumulate = options.accumulate && !apart;
  const Scratch scratch = apart ? Scratch(c, static_cast<size_t>(y.numel()) * sizeof(Y)) : Scratch();
  multiply_all<T, Y>(c, a, b, options, p, apart ? scratch.data<Y>() : data<Y>(y));
  if (apart) launch(c, "matmul", add_to<Y>, thread_each(y.numel()), scratch.data<Y>(), data<Y>(y), y.numel());
}

}  // namespace

void matmul(const Tensor& a, const Tensor& b, const MatmulOptions& options, Tensor& y) {
  if (y.numel() == 0) return;
  const int last = y.rank() - 1;
  Product p;
  p.dtype = a.dtype();
  p.wide_c = y.dtype() != a.dtype();
  p.m = y.shape()[last - 1];
  p.n = y.shape()[last];
  p.k = a.shape()[options.transpose_a ? last - 1 : last];
  p.alpha = options.alpha;
  visit_stored(a.dtype(), "matmul", [&]<class T>(T) {
    if (p.wide_c) {
      multiply_into<T, Compute<T>>(a, b, options, p, y);
    } else {
      multiply_into<T, T>(a, b, options, p, y);
    }
  });
}

}  // namespace attune::cuda
