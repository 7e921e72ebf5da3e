#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/packed.h"
#include "framework/kernels/cuda/strided.h"
#include "framework/kernels/elementwise.h"
#include "framework/kernels/mask.h"

namespace attune::cuda {
namespace {

/// What is absent counts as 0.
template <class T>
__global__ void choose(const bool* condition, const T* a, const T* b, T* y, Walk<4> walk, uint32_t count) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  int64_t at[4];
  walk.offsets(i, at);
  const T* from = condition[at[0]] ? a : b;
  y[at[3]] = from == nullptr ? T{} : from[condition[at[0]] ? at[1] : at[2]];
}

template <class T>
__global__ void prefer(const T* a, const T* b, bool minimum, bool* first, Walk<3> walk, uint32_t count) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  int64_t at[3];
  walk.offsets(i, at);
  const auto x = load(a[at[0]]);
  const auto y = load(b[at[1]]);
  first[at[2]] = (minimum ? x <= y : x >= y) || x != x;
}

enum class Logic { kAnd, kOr, kNot };

__global__ void combine(const bool* a, const bool* b, Logic logic, bool* y, Walk<3> walk, uint32_t count) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  int64_t at[3];
  walk.offsets(i, at);
  const bool first = a[at[0]];
  y[at[2]] = logic == Logic::kNot ? !first : logic == Logic::kOr ? first || b[at[1]] : first && b[at[1]];
}

template <class T>
const T* advanced(const Tensor& x, int64_t offset) {
  return x.defined() ? data<T>(x) + offset : nullptr;
}

void combine_all(const char* who, const Tensor& a, const Tensor& b, Logic logic, Tensor& y) {
  const StridedShape<3> shape(y.shape(), {&a, &b, &y});
  shape.for_each_part([&](const Walk<3>& walk, uint32_t count, const int64_t(&at)[3]) {
    launch(context(y), who, combine, thread_each(count), data<bool>(a) + at[0], data<bool>(b) + at[1], logic,
           data<bool>(y) + at[2], walk, count);
  });
}

}  // namespace

void where(const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y) {
  const Tensor& any = a.defined() ? a : b.defined() ? b : y;  // stands for what is absent, and is not read there
  const StridedShape<4> shape(y.shape(), {&condition, a.defined() ? &a : &any, b.defined() ? &b : &any, &y});
  visit_any(y.dtype(), [&]<class T>(T) {
    shape.for_each_part([&](const Walk<4>& walk, uint32_t count, const int64_t(&at)[4]) {
      launch(context(y), "where", choose<T>, thread_each(count), data<bool>(condition) + at[0], advanced<T>(a, at[1]),
             advanced<T>(b, at[2]), data<T>(y) + at[3], walk, count);
    });
  });
}

void prefers_first(const Tensor& a, const Tensor& b, bool minimum, Tensor& first) {
  const char* who = minimum ? "minimum" : "maximum";
  const StridedShape<3> shape(first.shape(), {&a, &b, &first});
  visit_any(a.dtype(), [&]<class T>(T) {
    shape.for_each_part([&](const Walk<3>& walk, uint32_t count, const int64_t(&at)[3]) {
      launch(context(a), who, prefer<T>, thread_each(count), data<T>(a) + at[0], data<T>(b) + at[1], minimum,
             data<bool>(first) + at[2], walk, count);
    });
  });
}

void logical_and(const Tensor& a, const Tensor& b, Tensor& y) { combine_all("logical_and", a, b, Logic::kAnd, y); }

void logical_or(const Tensor& a, const Tensor& b, Tensor& y) { combine_all("logical_or", a, b, Logic::kOr, y); }

void logical_not(const Tensor& x, Tensor& y) { combine_all("logical_not", x, x, Logic::kNot, y); }

}  // namespace attune::cuda
