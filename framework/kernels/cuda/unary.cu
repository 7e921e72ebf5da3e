#include "framework/kernels/cuda/map.cuh"
#include "framework/kernels/elementwise.h"
#include "framework/kernels/functors_activation.h"

namespace attune::cuda {

#define ATTUNE_DEFINE_UNARY(NAME, FORMULA) \
  void NAME(const Tensor& x, Tensor& y) { map(#NAME, functors::FORMULA(), x, y); }
ATTUNE_UNARY_KERNELS(ATTUNE_DEFINE_UNARY)
#undef ATTUNE_DEFINE_UNARY

#define ATTUNE_DEFINE_STEP(NAME, FORMULA) \
  void NAME(const Tensor& x, Tensor& y) { map(#NAME, functors::FORMULA(), x, y); }
ATTUNE_STEP_KERNELS(ATTUNE_DEFINE_STEP)
#undef ATTUNE_DEFINE_STEP

void affine(const Tensor& x, double factor, double offset, Tensor& y) {
  map("affine", functors::Affine({factor, offset}), x, y);
}

#define ATTUNE_DEFINE_PARAMETRIC(NAME, FORMULA)                        \
  void NAME(const Tensor& x, double first, double second, Tensor& y) { \
    map(#NAME, functors::FORMULA({first, second}), x, y);              \
  }
ATTUNE_PARAMETRIC_KERNELS(ATTUNE_DEFINE_PARAMETRIC)
#undef ATTUNE_DEFINE_PARAMETRIC

}  // namespace attune::cuda
