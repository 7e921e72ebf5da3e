#include "framework/kernels/accumulate.h"
#include "framework/kernels/cuda/find.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/packed.h"

namespace attune::cuda {
namespace {

template <class T>
struct NotFinite {
  const T* x;
  __device__ bool operator()(int64_t i) const { return !isfinite(load(x[i])); }
};

}  // namespace

void find_non_finite(const Tensor& x, int64_t& index) {
  const Context& c = context(x);
  const Packed from(c, x);
  visit_stored(x.dtype(), "find_non_finite",
               [&]<class T>(T) { index = find_first(c, "find_non_finite", NotFinite<T>{from.data<T>()}, x.numel()); });
}

}  // namespace attune::cuda
