// Formulas of activations and losses, as those of functors.h: lanes.h before it for vectors.

#if defined(ATTUNE_FRAMEWORK_KERNELS_FUNCTORS_ACTIVATION_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ATTUNE_FRAMEWORK_KERNELS_FUNCTORS_ACTIVATION_H_
#undef ATTUNE_FRAMEWORK_KERNELS_FUNCTORS_ACTIVATION_H_
#else
#define ATTUNE_FRAMEWORK_KERNELS_FUNCTORS_ACTIVATION_H_
#endif

#include "framework/kernels/functors.h"

#ifdef HWY_BEFORE_NAMESPACE
HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
#elif defined(__CUDACC__)
namespace attune::cuda {
#else
namespace attune {
#endif
namespace functors {

struct Elu {  // of y: y + height = height exp(rate x) where x <= 0
  double height, rate;
  explicit Elu(Parameters p) : height(p.first), rate(p.second) {}
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return select(x > T(0), x, expm1(x * T(rate)) * T(height));
  }
  template <class T>
  ATTUNE_HD T derivative(T y) const {
    return select(y > T(0), T(1), (y + T(height)) * T(rate));
  }
};

struct LeakyRelu {  // of x
  double slope;
  explicit LeakyRelu(Parameters p) : slope(p.first) {}
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return select(x > T(0), x, x * T(slope));
  }
  template <class T>
  ATTUNE_HD T derivative(T x) const {
    return select(x > T(0), T(1), T(slope));
  }
};

struct Swish {  // of x
  double beta;
  explicit Swish(Parameters p) : beta(p.first) {}
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return x * sigmoid(x * T(beta));
  }
  template <class T>
  ATTUNE_HD T derivative(T x) const {
    const T s = sigmoid(x * T(beta));
    return s + x * T(beta) * s * (T(1) - s);
  }
};

struct Mish {  // of x
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return x * tanh(Softplus().forward(x));
  }
  template <class T>
  ATTUNE_HD T derivative(T x) const {
    const T t = tanh(Softplus().forward(x));
    return t + x * (T(1) - t * t) * sigmoid(x);
  }
};

struct HardSigmoid {  // of x; NaN stays NaN
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return select(x < T(-3), T(0), select(x > T(3), T(1), (x + T(3)) * T(1.0 / 6)));
  }
  template <class T>
  ATTUNE_HD T derivative(T x) const {
    return select(x > T(-3) && x < T(3), T(1.0 / 6), T(0));
  }
};

struct HardSwish {  // of x; NaN stays NaN
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return select(x <= T(-3), T(0), select(x >= T(3), x, x * (x + T(3)) * T(1.0 / 6)));
  }
  template <class T>
  ATTUNE_HD T derivative(T x) const {
    return select(x <= T(-3), T(0), select(x >= T(3), T(1), x * T(1.0 / 3) + T(0.5)));
  }
};

struct Softsign {  // of x
  template <class T>
  ATTUNE_HD T forward(T x) const {
    return x / (T(1) + abs(x));
  }
  template <class T>
  ATTUNE_HD T derivative(T x) const {
    const T r = T(1) / (T(1) + abs(x));
    return r * r;
  }
};

struct Huber {  // of x: c (x - c / 2) for c = x limited to +- delta, which is the derivative; NaN stays NaN
  double delta;
  explicit Huber(Parameters p) : delta(p.first) {}
  template <class T>
  ATTUNE_HD T forward(T x) const {
    const T c = derivative(x);
    return c * (x - c * T(0.5));
  }
  template <class T>
  ATTUNE_HD T derivative(T x) const {
    return select(x < T(-delta), T(-delta), select(x > T(delta), T(delta), x));
  }
};

}  // namespace functors
#ifdef HWY_BEFORE_NAMESPACE
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#elif defined(__CUDACC__)
}  // namespace attune::cuda
#else
}  // namespace attune
#endif

#endif
