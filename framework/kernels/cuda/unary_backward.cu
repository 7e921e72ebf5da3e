#include "framework/kernels/cuda/map.cuh"
#include "framework/kernels/elementwise.h"
#include "framework/kernels/functors_activation.h"

namespace attune::cuda {
namespace {

/// The derivative of a unary formula as a binary one.
template <class F>
struct Backward {
  F f;
  template <class C>
  ATTUNE_HD C forward(C saved, C dy) const {
    return functors::chain(dy, f.derivative(saved));
  }
};

}  // namespace

#define ATTUNE_DEFINE_UNARY(NAME, FORMULA)                                                   \
  void NAME##_backward(const Tensor& saved, const Tensor& dy, Tensor& dx) {                  \
    map(#NAME "_backward", Backward<functors::FORMULA>{functors::FORMULA()}, saved, dy, dx); \
  }
ATTUNE_UNARY_KERNELS(ATTUNE_DEFINE_UNARY)
#undef ATTUNE_DEFINE_UNARY

#define ATTUNE_DEFINE_PARAMETRIC(NAME, FORMULA)                                                             \
  void NAME##_backward(const Tensor& saved, const Tensor& dy, double first, double second, Tensor& dx) {    \
    map(#NAME "_backward", Backward<functors::FORMULA>{functors::FORMULA({first, second})}, saved, dy, dx); \
  }
ATTUNE_PARAMETRIC_KERNELS(ATTUNE_DEFINE_PARAMETRIC)
#undef ATTUNE_DEFINE_PARAMETRIC

}  // namespace attune::cuda
