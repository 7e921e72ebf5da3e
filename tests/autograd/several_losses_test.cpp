// Backward of a part of what was recorded, several times, and of results of ops.

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <cmath>
#include <optional>
#include <stdexcept>
#include <thread>

#include "autograd/tape.h"
#include "framework/error.h"
#include "framework/storage.h"
#include "tests/autograd/hand_ops.h"
#include "tests/support/errors.h"
#include "tests/support/heap_counter.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using namespace testing;

using Numbers = std::vector<float>;

Variable leaf(const Numbers& values) {
  return Variable(Tensor::from(values, {static_cast<int64_t>(values.size())}), true);
}
Numbers numbers(const Tensor& x) { return x.to_vector<float>(); }
size_t recorded() { return Tape::current().size(); }

TEST_CASE("losses of independent networks are differentiated one after the other", "[tape]") {
  const Variable a = leaf({1, 2});
  const Variable b = leaf({3, 4});
  const Variable first = hand_sum(hand_mul(a, a));
  const Variable second = hand_sum(hand_mul(b, b));
  const Variable third = hand_sum(hand_scale(a, 5));
  second.backward();
  CHECK(numbers(b.grad()) == Numbers{6, 8});
  CHECK_FALSE(a.grad().defined());
  first.backward();
  CHECK(numbers(a.grad()) == Numbers{2, 4});
  third.backward();
  CHECK(numbers(a.grad()) == Numbers{7, 9});
  CHECK(recorded() == 0);
}

TEST_CASE("what two losses share needs retain, and its lack is one line before any gradient", "[tape]") {
  const Variable a = leaf({1, 2});
  const Variable b = leaf({3, 4});
  const auto run = [&](const BackwardOptions& options) {
    const Variable shared = hand_sin(a);
    const Variable first = hand_sum(shared);
    const Variable second = hand_sum(hand_mul(hand_scale(shared, 2), b));
    first.backward(options);
    second.backward();
  };
  CHECK_THAT(
      error_text<ValueError>([&] { run({}); }),
      ContainsSubstring("backward: the root float32 [] on cpu depends on a result of hand_sin that an earlier") &&
          ContainsSubstring("{.retain = true}"));
  CHECK_FALSE(b.grad().defined());
  CHECK(recorded() == 0);
  Variable(a).zero_grad();
  run({.retain = true});
  const Numbers da = numbers(a.grad());
  CHECK(std::abs(da[1] - (1 + 2 * 4) * std::cos(2.0f)) < 1e-5);
  CHECK(recorded() == 0);
}

TEST_CASE("retained ops give the same gradients again", "[tape]") {
  const Variable a = leaf({1, 2});
  const Variable loss = hand_sum(hand_mul(hand_sin(a), a));
  loss.backward({.retain = true});
  const Numbers once = numbers(a.grad());
  Variable(a).zero_grad();
  loss.backward({.retain = true});
  CHECK(numbers(a.grad()) == once);
  CHECK(recorded() == 3);
  Variable(a).zero_grad();
  loss.backward();
  CHECK(numbers(a.grad()) == once);
  CHECK(recorded() == 0);
  CHECK_THAT(error_text<ValueError>([&] { loss.backward(); }), ContainsSubstring("consumed"));
}

TEST_CASE("grad() gives gradients of leaves and results and changes no leaf", "[tape]") {
  const Variable a = leaf({1, 2});
  const Variable b = leaf({3, 4});
  const Variable x = hand_mul(a, b);
  const Variable y = hand_sum(hand_mul(x, x));
  const std::vector<Tensor> all = grad(y, {a, x, b}, {.retain = true});
  CHECK(numbers(all[0]) == Numbers{18, 64});
  CHECK(numbers(all[1]) == Numbers{6, 16});
  CHECK(numbers(all[2]) == Numbers{6, 32});
  CHECK_FALSE(a.grad().defined());
  // Of a result alone, nothing before it is passed.
  CHECK(numbers(grad(y, {x})[0]) == Numbers{6, 16});
  CHECK(numbers(grad(x, {b}, {.seed = Tensor::from(Numbers{1, 10}, {2})})[0]) == Numbers{1, 20});
  CHECK(recorded() == 0);

  CHECK(numbers(grad(hand_sum(hand_mul(a, a)), {a})[0]) == Numbers{2, 4});
  CHECK_THAT(error_text<ValueError>([&] { grad(hand_sum(hand_sin(a)), {b}); }),
             ContainsSubstring("does not depend on input 0 (float32 [2] on cpu)"));
  CHECK_FALSE(grad(hand_sum(hand_sin(a)), {b}, {.allow_unused = true})[0].defined());
  CHECK_THAT(error_text<ValueError>([&] { grad(hand_sum(hand_sin(a)), {b.detach()}); }),
             ContainsSubstring("grad: input 0 (float32 [2] on cpu) needs no gradient"));
  CHECK_THAT(error_text<ShapeError>([&] { grad(hand_sin(a), {a}); }),
             ContainsSubstring("grad: the root has shape [2]"));
  CHECK(recorded() == 0);
}

TEST_CASE("a grad() that was refused leaves nothing to the next pass", "[tape]") {
  const Variable a = leaf({1, 2});
  const Variable x = hand_scale(a, 3);
  const Variable y = hand_sum(x);
  CHECK_THROWS_AS(grad(y, {x, a.detach()}), ValueError);  // the second of both, after the first was taken in
  y.backward();
  CHECK(numbers(a.grad()) == Numbers{3, 3});
}

TEST_CASE("results keep their gradient on request", "[tape]") {
  const Variable a = leaf({1, 2});
  Variable x = hand_scale(a, 3);
  Variable y = hand_mul(x, x);
  x.retain_grad();
  y.retain_grad();
  const Variable total = hand_sum(y);
  total.backward({.retain = true});
  CHECK(numbers(x.grad()) == Numbers{6, 12});
  CHECK(numbers(y.grad()) == Numbers{1, 1});
  total.backward();
  CHECK(numbers(x.grad()) == Numbers{12, 24});
  CHECK(numbers(a.grad()) == Numbers{36, 72});
  x.zero_grad();
  CHECK_FALSE(x.grad().defined());
  Variable constant(Tensor::full({2}, 1));
  CHECK_THAT(error_text<ValueError>([&] { constant.retain_grad(); }), ContainsSubstring("retain_grad: "));
}

TEST_CASE("a hook sees a complete gradient and may replace it", "[tape]") {
  const Variable a = leaf({1, 2});
  Variable x = hand_scale(a, 1);
  std::vector<Numbers> seen;
  x.register_hook([&](const Tensor& dx) {
    seen.push_back(numbers(dx));
    return Tensor::full(dx.shape(), 10);
  });
  hand_sum(hand_mul(x, x)).backward();
  CHECK(seen == std::vector<Numbers>{{2, 4}});
  CHECK(numbers(a.grad()) == Numbers{10, 10});

  const auto with = [&](GradientHook hook) {
    Variable z = hand_scale(a, 1);
    z.register_hook(std::move(hook));
    hand_sum(z).backward();
  };
  CHECK_THAT(
      error_text<ValueError>([&] { with([](const Tensor&) -> Tensor { throw std::runtime_error("my words"); }); }),
      ContainsSubstring("a hook on the gradient of hand_scale float32 [2] on cpu failed: my words"));
  CHECK(recorded() == 0);
  CHECK_THAT(error_text<ShapeError>([&] { with([](const Tensor&) { return Tensor::full({3}, 1); }); }),
             ContainsSubstring("returned float32 [3] on cpu, expected float32 [2] on cpu"));
  CHECK_THROWS_AS(Variable(a).register_hook([](const Tensor& dx) { return dx; }), ValueError);
}

TEST_CASE("what was recorded for results that nobody holds is freed", "[tape][memory]") {
  const Variable a = leaf(Numbers(1000, 0.5f));
  const auto forward = [&] {
    Variable x = a;
    for (int i = 0; i < 20; ++i) x = hand_mul(hand_sin(x), a);
    return x;
  };
  const int passes = testing::sanitized() ? 100 : 1000;
  std::optional<Variable> last = forward();
  const size_t nodes = recorded();
  last = forward();
  const uint64_t heap = heap_allocations();
  const MemoryStats before = memory_stats();
  for (int i = 0; i < passes; ++i) last = forward();  // the newest is held while the next is recorded
  CHECK(recorded() == nodes);
  CHECK(memory_stats().bytes_in_use == before.bytes_in_use);
  CHECK(heap_allocations() < heap + 2000);  // now and then, to close gaps
  hand_sum(*last).backward();
  CHECK(a.grad().defined());
  last.reset();
  CHECK(recorded() == 0);
}

TEST_CASE("branches that nobody holds are freed, and what they share with others stays", "[tape]") {
  const Variable a = leaf({1, 2});
  const Variable shared = hand_sin(a);
  Variable kept = hand_mul(shared, shared);
  {
    const Variable branch = hand_scale(shared, 2);
    const Variable longer = hand_scale(branch, 3);
    CHECK(recorded() == 4);
  }
  CHECK(recorded() == 2);
  hand_sum(kept).backward();
  CHECK(std::abs(numbers(a.grad())[0] - 2 * std::sin(1.0f) * std::cos(1.0f)) < 1e-6);
  CHECK(recorded() == 0);
}

TEST_CASE("what another thread lets go of is freed as well", "[tape]") {
  const Variable a = leaf({1, 2});
  const Variable kept = hand_scale(a, 2);
  for (int i = 0; i < 3000; ++i) {
    Variable gone = hand_scale(a, 3);
    if (i % 100 == 0) std::thread([moved = std::move(gone)]() mutable { moved = Variable(); }).join();
  }
  CHECK(recorded() < 40);
  hand_sum(kept).backward();
  CHECK(numbers(a.grad()) == Numbers{2, 2});
  Tape::current().clear();
}

TEST_CASE("a result that outlives many others keeps its history", "[tape]") {
  const Variable a = leaf({1, 2});
  const Variable b = leaf({3, 4});
  const Variable early = hand_mul(a, b);
  std::optional<Variable> newest;
  for (int i = 0; i < 5000; ++i) {
    Variable next = hand_scale(b, i);
    newest = hand_mul(next, early);
  }
  CHECK(recorded() == 3);
  hand_sum(*newest).backward({.retain = true});
  CHECK(numbers(a.grad()) == Numbers{4999 * 9, 4999 * 16});
  CHECK(numbers(b.grad()) == Numbers{2 * 4999 * 3, 2 * 4999 * 2 * 4});
  const std::vector<Tensor> of_early = grad(hand_sum(early), {b});
  CHECK(numbers(of_early[0]) == Numbers{1, 2});
}

}  // namespace
}  // namespace attune
