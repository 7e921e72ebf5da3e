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

#include "autograd/optim/adagrad.h"
#include "autograd/optim/adam.h"
#include "autograd/optim/adamax.h"
#include "autograd/optim/adan.h"
#include "autograd/optim/lion.h"
#include "autograd/optim/rmsprop.h"
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
  double n = 0;
  double last = 0;
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

inline Formula rmsprop_formula(const RmsPropOptions& o) {
  return [o](Scalar& s, double g, int) {
    g += o.weight_decay * s.w;
    s.v = o.alpha * s.v + (1 - o.alpha) * g * g;
    s.n = o.centered ? o.alpha * s.n + (1 - o.alpha) * g : 0;
    s.m = o.momentum * s.m + g / (std::sqrt(s.v - s.n * s.n) + o.epsilon);
    s.w -= o.learning_rate * s.m;
  };
}

inline Formula adagrad_formula(const AdagradOptions& o) {
  return [o](Scalar& s, double g, int step) {
    g += o.weight_decay * s.w;
    s.v += g * g;
    const double rate = o.learning_rate / (1 + (step - 1) * o.learning_rate_decay);
    s.w -= rate * g / (std::sqrt(o.initial_accumulator + s.v) + o.epsilon);
  };
}

inline Formula adamax_formula(const AdamaxOptions& o) {
  return [o](Scalar& s, double g, int step) {
    g += o.weight_decay * s.w;
    s.m = o.beta1 * s.m + (1 - o.beta1) * g;
    s.v = std::max(o.beta2 * s.v, std::abs(g) + o.epsilon);
    s.w -= o.learning_rate / (1 - std::pow(o.beta1, step)) * s.m / s.v;
  };
}

inline Formula lion_formula(const LionOptions& o) {
  return [o](Scalar& s, double g, int) {
    const double c = o.beta1 * s.m + (1 - o.beta1) * g;
    s.w -= o.learning_rate * ((c > 0) - (c < 0) + o.weight_decay * s.w);
    s.m = o.beta2 * s.m + (1 - o.beta2) * g;
  };
}

inline Formula adan_formula(const AdanOptions& o) {
  return [o](Scalar& s, double g, int step) {
    const double d = step == 1 ? 0 : g - std::exchange(s.last, g);
    s.last = g;
    s.m = o.beta1 * s.m + (1 - o.beta1) * g;
    s.v = o.beta2 * s.v + (1 - o.beta2) * d;
    s.n = o.beta3 * s.n + (1 - o.beta3) * std::pow(g + o.beta2 * d, 2);
    const double m = s.m / (1 - std::pow(o.beta1, step)), v = s.v / (1 - std::pow(o.beta2, step));
    const double u = (m + o.beta2 * v) / (std::sqrt(s.n / (1 - std::pow(o.beta3, step))) + o.epsilon);
    s.w = (s.w - o.learning_rate * u) / (1 + o.learning_rate * o.weight_decay);
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

/// Those with a fused kernel.
inline std::vector<Rule> fused_rules() {
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

/// Those in Tensor arithmetic.
inline std::vector<Rule> arithmetic_rules() {
  const RmsPropOptions rmsprop{.learning_rate = 0.01, .weight_decay = 0.1};
  const RmsPropOptions centered{.learning_rate = 0.01, .alpha = 0.9, .momentum = 0.8, .centered = true};
  const AdagradOptions adagrad{
      .learning_rate = 0.1, .learning_rate_decay = 0.2, .initial_accumulator = 0.5, .weight_decay = 0.1};
  const AdamaxOptions adamax{.learning_rate = 0.01, .weight_decay = 0.1};
  const LionOptions lion{.learning_rate = 0.01, .weight_decay = 0.1};
  const AdanOptions adan{.learning_rate = 0.01, .weight_decay = 0.1};
  return {{"rmsprop", make<RmsProp>(rmsprop), rmsprop_formula(rmsprop)},
          {"rmsprop, centered", make<RmsProp>(centered), rmsprop_formula(centered)},
          {"adagrad", make<Adagrad>(adagrad), adagrad_formula(adagrad)},
          {"adamax", make<Adamax>(adamax), adamax_formula(adamax)},
          {"lion", make<Lion>(lion), lion_formula(lion)},
          {"adan", make<Adan>(adan), adan_formula(adan)}};
}

inline std::vector<Rule> rules() {
  std::vector<Rule> all = fused_rules();
  for (Rule& rule : arithmetic_rules()) all.push_back(std::move(rule));
  return all;
}

}  // namespace attune::testing
