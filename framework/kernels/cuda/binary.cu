#include "framework/kernels/accumulate.h"
#include "framework/kernels/cuda/map.cuh"
#include "framework/kernels/elementwise.h"
#include "framework/kernels/functors.h"

namespace attune::cuda {

#define ATTUNE_DEFINE_BINARY(NAME, FORMULA) \
  void NAME(const Tensor& a, const Tensor& b, Tensor& y) { map_broadcast(#NAME, functors::FORMULA(), a, b, y); }
ATTUNE_BINARY_KERNELS(ATTUNE_DEFINE_BINARY)
#undef ATTUNE_DEFINE_BINARY

void accumulate(const Tensor& x, Tensor& y) { map_broadcast("accumulate", functors::Add(), x, y, y); }

}  // namespace attune::cuda
