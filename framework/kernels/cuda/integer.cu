#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/strided.h"
#include "framework/kernels/integer.h"

namespace attune::cuda {
namespace {

__device__ int64_t applied(IntegerOp op, int64_t a, int64_t b) {
  switch (op) {
    case IntegerOp::kAdd:
      return integers::add(a, b);
    case IntegerOp::kSub:
      return integers::sub(a, b);
    case IntegerOp::kMul:
      return integers::mul(a, b);
    case IntegerOp::kFloorDivide:
      return integers::floor_divide(a, b);
    case IntegerOp::kRemainder:
      return integers::remainder(a, b);
    default:
      return integers::pow(a, b);
  }
}

__global__ void map_integers(const int64_t* a, const int64_t* b, IntegerOp op, int64_t* y, Walk<3> walk,
                             uint32_t count) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  int64_t at[3];
  walk.offsets(i, at);
  y[at[2]] = applied(op, a[at[0]], b[at[1]]);
}

}  // namespace

void integer(const Tensor& a, const Tensor& b, IntegerOp op, Tensor& y) {
  const StridedShape<3> shape(y.shape(), {&a, &b, &y});
  shape.for_each_part([&](const Walk<3>& walk, uint32_t count, const int64_t(&at)[3]) {
    launch(context(y), "integer", map_integers, thread_each(count), data<int64_t>(a) + at[0], data<int64_t>(b) + at[1],
           op, data<int64_t>(y) + at[2], walk, count);
  });
}

}  // namespace attune::cuda
