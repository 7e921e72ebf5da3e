#include "autograd/optim/state.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <cmath>
#include <memory>

#include "autograd/tape.h"
#include "framework/error.h"
#include "tests/autograd/hand_ops.h"
#include "tests/autograd/optim/rules.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using namespace testing;

TEST_CASE("saved state goes on bitwise", "[optim]") {
  for (const Rule& rule : rules()) {
    const auto train = [](Optimizer& optimizer, const Variable& a, const Variable& b, int from, int to) {
      for (int step = from; step < to; ++step) {
        give(a, random({9, 3}, 50 + static_cast<uint64_t>(step)));
        if (step % 3 != 1) give(b, random({4}, 70 + static_cast<uint64_t>(step)));
        optimizer.step({.clip_norm = 2});
      }
    };
    const Variable a = leaf({9, 3}, 1);
    const Variable b = leaf({4}, 2);
    const auto optimizer = rule.make({{"enc.a", a}, {"b", b}});
    optimizer->set_learning_rate(0.03);
    train(*optimizer, a, b, 0, 5);

    const Variable a2(a.value().clone(), true);
    const Variable b2(b.value().clone(), true);
    NamedTensors saved;
    for (const auto& [name, tensor] : optimizer->state()) saved.emplace_back(name, tensor.clone());
    const auto restored = rule.make({{"enc.a", a2}, {"b", b2}});
    restored->load_state(saved);
    CHECK(restored->learning_rate() == 0.03);
    train(*optimizer, a, b, 5, 12);
    train(*restored, a2, b2, 5, 12);
    INFO(rule.name);
    CHECK(numbers(a.value()) == numbers(a2.value()));
    CHECK(numbers(b.value()) == numbers(b2.value()));
  }
}

TEST_CASE("a state that does not fit is described at once and changes nothing", "[optim]") {
  const Variable a = leaf({2, 3}, 1);
  const Variable b = leaf({4}, 2);
  Adam optimizer(Named{{"a", a}, {"b", b}});
  give(a, random({2, 3}, 3));
  give(b, random({4}, 4));
  optimizer.step();
  NamedTensors state;
  for (const auto& [name, tensor] : optimizer.state()) {
    if (name == "a.m") continue;
    state.emplace_back(name, name == "b.v" ? Tensor::zeros({5}, DType::kFloat64) : Tensor::zeros_like(tensor));
  }
  state.emplace_back("c.m", Tensor::zeros({7}));
  CHECK_THROWS_MATCHES(
      optimizer.load_state(state), ShapeError,
      MessageMatches(ContainsSubstring("a.m [2, 3] is missing") && ContainsSubstring("b.v is [5], expected [4]") &&
                     ContainsSubstring("c.m [7] is unexpected")));
  CHECK(optimizer.state()[1].second.item() == 1);
  CHECK(optimizer.learning_rate() == 1e-3);
}

TEST_CASE("optimizers refuse options and parameters that make no sense", "[optim]") {
  const Variable a = leaf({3}, 1);
  const Named good{{"a", a}};
  CHECK_THROWS_AS(Sgd(good, {.learning_rate = -1}), ValueError);
  CHECK_THROWS_AS(Sgd(good, {.learning_rate = std::nan("")}), ValueError);
  CHECK_THROWS_AS(Sgd(good, {.momentum = -0.1}), ValueError);
  CHECK_THROWS_AS(Sgd(good, {.nesterov = true}), ValueError);
  CHECK_THROWS_AS(Sgd(good, {.momentum = 0.9, .dampening = 0.1, .nesterov = true}), ValueError);
  CHECK_THROWS_AS(Adam(good, {.beta1 = 1}), ValueError);
  CHECK_THROWS_AS(Adam(good, {.beta2 = -0.5}), ValueError);
  CHECK_THROWS_AS(Adam(good, {.epsilon = -1}), ValueError);
  CHECK_THROWS_AS(AdamW(good, {.weight_decay = -1}), ValueError);
  CHECK_THROWS_AS(Sgd(good, {.groups = {ParameterGroup{}}}), ValueError);
  const auto all = [](const std::string&, const Variable&) { return true; };
  CHECK_THROWS_AS(Sgd(good, {.groups = {{.contains = all, .learning_rate_factor = -1}}}), ValueError);
  CHECK_THROWS_AS(Sgd(good, {.groups = {{.contains = all, .weight_decay = -1}}}), ValueError);
  CHECK_THROWS_AS(Sgd(Named{}), ValueError);
  CHECK_THROWS_MATCHES(Sgd(Named{{"x", hand_sum(a)}}), ValueError, MessageMatches(ContainsSubstring("'x'")));
  CHECK_THROWS_MATCHES(Sgd(Named{{"x", a}, {"x", leaf({2}, 1)}}), ValueError, MessageMatches(ContainsSubstring("'x'")));
  Tape::current().clear();
  CHECK_THROWS_AS(Sgd(Named{{"h", Variable(a.value().to(DType::kBFloat16), true)}}), DTypeError);
  CHECK(ParameterList(std::vector<Variable>{a, leaf({2}, 1)}).entries()[1].first == "parameter1");
}

}  // namespace
}  // namespace attune
