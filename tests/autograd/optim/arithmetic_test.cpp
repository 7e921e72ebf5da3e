// Optimizers in Tensor arithmetic: those of the library that need a parameter as a whole, and one of one's own.

#include "framework/math/arithmetic.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <cmath>

#include "autograd/optim/adafactor.h"
#include "autograd/optim/lamb.h"
#include "framework/error.h"
#include "tests/autograd/optim/rules.h"
#include "tests/support/errors.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using namespace testing;

Tensor waves(const Shape& shape, double step, double offset) {
  std::vector<double> numbers;
  for (int64_t i = 0; i < shape.numel(); ++i) numbers.push_back(std::sin(step * static_cast<double>(i) + offset));
  return Tensor::from(numbers, shape);
}

/// Parameters [3, 4] and [3] after four steps with gradients that are waves.
std::vector<double> after_four_steps(const Make& make) {
  const Variable matrix(waves({3, 4}, 0.7, 1), true);
  const Variable vector(waves({3}, 0.9, 2 + std::acos(0.0)), true);
  const auto optimizer = make({{"matrix", matrix}, {"vector", vector}});
  for (int step = 1; step <= 4; ++step) {
    give(matrix, waves({3, 4}, 0.3 * step, 0.3 * step));
    give(vector, waves({3}, 0.3 * step, 0.3 * step + 1));
    optimizer->step();
  }
  std::vector<double> all = numbers(matrix.value());
  for (const double x : numbers(vector.value())) all.push_back(x);
  return all;
}

TEST_CASE("optimizers end where PyTorch's do", "[optim][golden]") {
  // Printed by torch.optim of PyTorch 2.15 in float64.
  const AdafactorOptions adafactor{.learning_rate = 0.3, .weight_decay = 0.1};
  CHECK(distance(after_four_steps(make<Adafactor>(adafactor)),
                 {0.0798721382235033, 0.00183335455866316, 0.103548847541512, -0.0784571388787331, -0.533548386591742,
                  -0.974154079933723, -1.00258351008421, -0.378967415261972, 0.334826939938238, 0.80720458523406,
                  0.836130252143389, 0.5963695495224, -1.49919977865737, -1.31671400475127, -0.281152289203816}) <
        1e-13);
  const RmsPropOptions rmsprop{.learning_rate = 0.05, .weight_decay = 0.1};
  CHECK(distance(after_four_steps(make<RmsProp>(rmsprop)),
                 {-0.775482149761241, -0.439728499587617, -0.18783625152907, -0.203792256347397, -0.626410991067884,
                  -1.10214835647521, -1.211724920174, -0.61656190287483, 0.173407057048419, 0.633074422507806,
                  0.910369821668839, 0.727849082440977, -1.7351391900445, -1.65480905446263, -0.750797816561619}) <
        1e-13);
  const RmsPropOptions centered{.learning_rate = 0.05, .alpha = 0.9, .momentum = 0.8, .centered = true};
  CHECK(distance(after_four_steps(make<RmsProp>(centered)),
                 {-0.42435291841877, -0.18496191297233, -0.210911873656932, -0.489146525454209, -0.921681656956791,
                  -1.21217319805038, -1.19841210011433, -0.68374636456264, 0.0454768437215909, 0.594222247983469,
                  1.24578909637018, 0.930170283209658, -1.51389824666865, -1.79267429443311, -1.17203382620634}) <
        1e-13);
  const AdagradOptions adagrad{
      .learning_rate = 0.1, .learning_rate_decay = 0.2, .initial_accumulator = 0.5, .weight_decay = 0.1};
  CHECK(distance(after_four_steps(make<Adagrad>(adagrad)),
                 {0.658853831369789, 0.795143631374044, 0.534930666873001, -0.0210893469077353, -0.635891665211514,
                  -1.0038812842621, -0.926664113779282, -0.404795773881729, 0.29839814543381, 0.830533023750032,
                  0.946553893634269, 0.65702956706081, -0.609395440289826, -1.08887591663586, -0.812717324624378}) <
        1e-13);
}

double length(const std::vector<double>& x) {
  double sum = 0;
  for (const double v : x) sum += v * v;
  return std::sqrt(sum);
}

TEST_CASE("LAMB scales each parameter's step by its size", "[optim]") {
  const LambOptions o{.learning_rate = 0.05, .weight_decay = 0.1};
  const Variable a = leaf({4, 3}, 1);
  const Variable zero(Tensor::zeros({5}, DType::kFloat64), true);
  Lamb optimizer(Named{{"a", a}, {"zero", zero}}, o);
  std::vector<double> w[] = {numbers(a.value()), numbers(zero.value())};
  std::vector<double> m[] = {std::vector<double>(12), std::vector<double>(5)};
  std::vector<double> v[] = {std::vector<double>(12), std::vector<double>(5)};
  for (int step = 1; step <= 4; ++step) {
    for (size_t p = 0; p < 2; ++p) {
      const Tensor gradient = random(p == 0 ? Shape{4, 3} : Shape{5}, 10 * static_cast<uint64_t>(step) + p);
      give(p == 0 ? a : zero, gradient);
      const std::vector<double> g = numbers(gradient);
      std::vector<double> u(g.size());
      for (size_t i = 0; i < g.size(); ++i) {
        m[p][i] = o.beta1 * m[p][i] + (1 - o.beta1) * g[i];
        v[p][i] = o.beta2 * v[p][i] + (1 - o.beta2) * g[i] * g[i];
        u[i] =
            m[p][i] / (1 - std::pow(o.beta1, step)) / (std::sqrt(v[p][i] / (1 - std::pow(o.beta2, step))) + o.epsilon) +
            o.weight_decay * w[p][i];
      }
      const double ratio = length(w[p]) > 0 ? length(w[p]) / length(u) : 1;
      for (size_t i = 0; i < g.size(); ++i) w[p][i] -= o.learning_rate * ratio * u[i];
    }
    optimizer.step();
    CHECK(distance(numbers(a.value()), w[0]) < 1e-13);
    CHECK(distance(numbers(zero.value()), w[1]) < 1e-13);
  }
}

TEST_CASE("Adafactor keeps a row and a column of each matrix", "[optim]") {
  const Variable matrix = leaf({2, 30, 20}, 1);
  const Variable vector = leaf({7}, 2);
  Adafactor optimizer(Named{{"matrix", matrix}, {"vector", vector}});
  const NamedTensors state = optimizer.state();
  std::vector<std::pair<std::string, Shape>> shapes;
  for (const auto& [name, tensor] : state) shapes.emplace_back(name, tensor.shape());
  CHECK(shapes == std::vector<std::pair<std::string, Shape>>{{"learning_rate", {}},
                                                             {"matrix.step", {}},
                                                             {"matrix.row", {2, 30, 1}},
                                                             {"matrix.column", {2, 1, 20}},
                                                             {"vector.step", {}},
                                                             {"vector.v", {7}}});
}

/// Sgd by hand; what a user writes.
class Plain final : public Optimizer {
 public:
  explicit Plain(const ParameterList& parameters) : Optimizer("Plain", parameters, {.learning_rate = 0.5}, {}) {}

 private:
  void update(ParameterUpdate& p) override { p.value -= p.learning_rate * p.grad; }
};

TEST_CASE("rates and decays of groups change during training, and come back with the state", "[optim]") {
  const auto group = [](const char* letter) {
    return ParameterGroup{.contains = [letter](const std::string& name, const Variable&) { return name == letter; }};
  };
  const auto train = [&](Optimizer& optimizer, const Variable& a, const Variable& b) {
    give(a, Tensor::full({2}, 1, DType::kFloat64));
    give(b, Tensor::full({2}, 1, DType::kFloat64));
    optimizer.step();
  };
  const SgdOptions options{.learning_rate = 0.1, .weight_decay = 0.5, .groups = {group("a")}};
  const auto zeros = [] { return Variable(Tensor::zeros({2}, DType::kFloat64), true); };
  const Variable a = zeros(), b = zeros();
  Sgd optimizer(Named{{"a", a}, {"b", b}}, options);
  const size_t entries = optimizer.state().size();
  train(optimizer, a, b);
  CHECK(numbers(a.value())[0] == -0.1);
  optimizer.set_group_learning_rate_factor(0, 10);
  optimizer.set_group_weight_decay(0, 0);
  optimizer.set_weight_decay(1);
  train(optimizer, a, b);
  CHECK(std::abs(numbers(a.value())[0] - -1.1) < 1e-15);
  CHECK(std::abs(numbers(b.value())[0] - (-0.1 - 0.1 * (1 - 0.1))) < 1e-15);

  NamedTensors saved;
  for (const auto& [name, tensor] : optimizer.state()) saved.emplace_back(name, tensor.clone());
  CHECK(saved.size() == entries + 1);
  const Variable a2 = zeros(), b2 = zeros();
  Sgd restored(Named{{"a", a2}, {"b", b2}}, options);
  restored.load_state(saved);
  train(restored, a2, b2);
  CHECK(numbers(a2.value())[0] == -1);
  CHECK(numbers(b2.value())[0] == -0.1);
  CHECK_THAT(error_text<ValueError>([&] { optimizer.set_group_weight_decay(1, 0); }),
             ContainsSubstring("Sgd: there is no group 1, only 1"));
  CHECK_THAT(error_text<ValueError>([&] { optimizer.set_weight_decay(-1); }), ContainsSubstring("weight decay -1"));
}

TEST_CASE("an optimizer of one's own inherits clipping, scaling and checks", "[optim]") {
  const Variable a(Tensor::zeros({4}, DType::kFloat64), true);
  Plain optimizer(Named{{"a", a}});
  give(a, Tensor::full({4}, 3, DType::kFloat64));
  CHECK(std::abs(optimizer.step({.gradient_scale = 0.5, .clip_norm = 1}) - 3) < 1e-12);
  CHECK(std::abs(numbers(a.value())[0] - -0.25) < 1e-6);
  give(a, Tensor::full({4}, HUGE_VAL, DType::kFloat64));
  CHECK_THAT(error_text<ValueError>([&] { optimizer.step(); }),
             ContainsSubstring("Plain: the gradient of parameter 'a' [4] held NaN or infinity in its step 2"));
}

}  // namespace
}  // namespace attune
