#pragma once

// What the tests of optimizers share: the optimizers with the formulas that they must follow.

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "autograd/optim/adam.h"
#include "autograd/optim/sgd.h"
#include "framework/random.h"

namespace attune::testing {

using Named = std::vector<std::pair<std::string, Variable>>;

inline Tensor random(const Shape& shape, uint64_t seed, DType dtype = DType::kFloat64) {
  return RandomStream(seed).normal(shape, 0, 1, dtype);
}

inline Variable leaf(const Shape& shape, uint64_t seed, DType dtype = DType::kFloat64) {
  return Variable(random(shape, seed, dtype), true);
}

inline std::vector<double> numbers(const Tensor& x) { return x.to(DType::kFloat64).to_vector<double>(); }

/// The gradient of `parameter` becomes (or grows by) `gradient`.
inline void give(const Variable& parameter, const Tensor& gradient) { parameter.backward(gradient); }

inline double distance(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]) / (1 + std::abs(b[i])));
  return largest;
}

/// One parameter element, stepped by the papers' formulas.
struct Scalar {
  double w = 0;
  double m = 0;
  double v = 0;
};
using Formula = std::function<void(Scalar&, double g, int step)>;
using Make = std::function<std::unique_ptr<Optimizer>(const Named&)>;

inline Formula sgd_formula(const SgdOptions& o) {
  return [o](Scalar& s, double g, int step) {
    g += o.weight_decay * s.w;
    if (o.momentum > 0) {
      s.m = step == 1 ? g : o.momentum * s.m + (1 - o.dampening) * g;
      g = o.nesterov ? g + o.momentum * s.m : s.m;
    }
    s.w -= o.learning_rate * g;
  };
}

inline Formula adam_formula(const AdamOptions& o, bool decoupled) {
  return [o, decoupled](Scalar& s, double g, int step) {
    if (decoupled) {
      s.w *= 1 - o.learning_rate * o.weight_decay;
    } else {
      g += o.weight_decay * s.w;
    }
    s.m = o.beta1 * s.m + (1 - o.beta1) * g;
    s.v = o.beta2 * s.v + (1 - o.beta2) * g * g;
    const double m = s.m / (1 - std::pow(o.beta1, step));
    const double v = s.v / (1 - std::pow(o.beta2, step));
    s.w -= o.learning_rate * m / (std::sqrt(v) + o.epsilon);
  };
}

template <class T, class Options>
Make make(const Options& options) {
  return [options](const Named& parameters) { return std::make_unique<T>(parameters, options); };
}

struct Rule {
  const char* name;
  Make make;
  Formula formula;
};

inline std::vector<Rule> rules() {
  const SgdOptions plain{.learning_rate = 0.1, .weight_decay = 0.01};
  const SgdOptions momentum{.learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.01};
  const SgdOptions dampened{.learning_rate = 0.1, .momentum = 0.9, .dampening = 0.3};
  const SgdOptions nesterov{.learning_rate = 0.1, .momentum = 0.9, .nesterov = true};
  const AdamOptions adam{.learning_rate = 0.01, .beta2 = 0.98, .epsilon = 1e-9};
  const AdamOptions l2{.learning_rate = 0.01, .weight_decay = 0.1};
  const AdamWOptions adamw{.learning_rate = 0.01, .weight_decay = 0.1};
  return {{"sgd", make<Sgd>(plain), sgd_formula(plain)},
          {"momentum", make<Sgd>(momentum), sgd_formula(momentum)},
          {"dampening", make<Sgd>(dampened), sgd_formula(dampened)},
          {"nesterov", make<Sgd>(nesterov), sgd_formula(nesterov)},
          {"adam", make<Adam>(adam), adam_formula(adam, false)},
          {"adam with L2", make<Adam>(l2), adam_formula(l2, false)},
          {"adamw", make<AdamW>(adamw), adam_formula(l2, true)}};
}

}  // namespace attune::testing
