#include "autograd/tape.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <thread>

#include "framework/error.h"
#include "framework/storage.h"
#include "tests/autograd/hand_ops.h"
#include "tests/support/errors.h"
#include "tests/support/heap_counter.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using namespace testing;

using Numbers = std::vector<float>;

Variable leaf(const Numbers& values) {
  return Variable(Tensor::from(values, {static_cast<int64_t>(values.size())}), true);
}
Numbers numbers(const Tensor& x) { return x.to_vector<float>(); }

/// Passes a value on, and its gradient as it is: the cheapest node.
Variable pass(const Variable& x) {
  return Tape::current().record("pass", x.value(), {&x}, [](Grads& grads) { grads.add(0, grads.take_dy()); });
}

TEST_CASE("gradients flow back through the chain rule", "[tape]") {
  const Variable a = leaf({1, 2});
  const Variable b = leaf({3, -4});
  hand_sum(hand_mul(hand_sin(a), b)).backward();
  const Numbers da = numbers(a.grad());
  CHECK(std::abs(da[1] - -4 * std::cos(2.0f)) < 1e-6);
  CHECK(std::abs(numbers(b.grad())[0] - std::sin(1.0f)) < 1e-6);
  CHECK(Tape::current().size() == 0);
}

TEST_CASE("a value used several times collects its gradients", "[tape]") {
  const Variable a = leaf({2, 3});
  hand_sum(hand_mul(a, a)).backward();  // the same operand twice
  CHECK(numbers(a.grad()) == Numbers{4, 6});
  const Variable b = leaf({2, 3});
  const Variable x = hand_scale(b, 3);
  const Variable y = hand_scale(x, 2);
  hand_sum(hand_mul(hand_mul(x, y), pass(x))).backward();  // 54 b^3
  CHECK(numbers(b.grad()) == Numbers{648, 1458});
}

TEST_CASE("a gradient that two inputs share is not changed by accumulating into one of them", "[tape]") {
  // Both inputs of `both` get the same tensor; x then gets more, y does not.
  const auto both = [](const Variable& x, const Variable& y) {
    return Tape::current().record("both", hand_scale(x.detach(), 1).value(), {&x, &y}, [](Grads& grads) {
      const Tensor dy = grads.take_dy();
      grads.add(0, dy);
      grads.add(1, dy);
    });
  };
  const Variable a = leaf({1});
  const Variable b = leaf({1});
  const Variable x = pass(a);
  const Variable y = pass(b);
  const Variable more = hand_scale(x, 10);
  hand_sum(hand_mul(both(x, y), more)).backward();
  CHECK(numbers(a.grad()) == Numbers{20});
  CHECK(numbers(b.grad()) == Numbers{10});
  // The same where a kernel adds to the gradient itself.
  const Variable u = pass(a);
  const Variable v = pass(b);
  const Variable total = hand_sum(u);
  hand_mul(hand_sum(both(u, v)), total).backward();
  CHECK(numbers(a.grad()) == Numbers{22});
  CHECK(numbers(b.grad()) == Numbers{11});
}

TEST_CASE("a chain of a million nodes runs without recursion", "[tape]") {
  const Variable a = leaf({2});
  Variable x = a;
  const int nodes = sanitized() ? 100'000 : 1'000'000;
  for (int i = 0; i < nodes; ++i) x = pass(x);
  CHECK(Tape::current().size() == static_cast<size_t>(nodes));
  hand_sum(x).backward();
  CHECK(numbers(a.grad()) == Numbers{1});
  CHECK(Tape::current().size() == 0);
}

TEST_CASE("a node costs little", "[tape][release]") {
  using Clock = std::chrono::steady_clock;
  const Variable a = leaf({2});
  double best = HUGE_VAL;
  for (int round = 0; round < 5; ++round) {
    constexpr int kNodes = 100'000;
    Variable x = a;
    const auto begin = Clock::now();
    for (int i = 0; i < kNodes; ++i) x = pass(x);
    x.backward();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - begin).count() / kNodes);
  }
  std::printf("tape: %.0f ns per node, recorded and run\n", best * 1e9);
  CHECK(best < 1e-3);  // only what no machine and no build should exceed, sanitizers included
}

TEST_CASE("gradients of leaves add up over backward() until they are forgotten", "[tape]") {
  Variable a = leaf({2, 3});
  hand_sum(hand_scale(a, 2)).backward();
  hand_sum(hand_mul(a, a)).backward();
  CHECK(numbers(a.grad()) == Numbers{6, 8});
  a.zero_grad();
  CHECK_FALSE(a.grad().defined());
  hand_sum(a).backward();
  CHECK(numbers(a.grad()) == Numbers{1, 1});
  a.backward(Tensor::full({2}, 5));  // a leaf as the root
  CHECK(numbers(a.grad()) == Numbers{6, 6});
  a.zero_grad();
  a.backward(Tensor::full({2}, 5));
  CHECK(numbers(a.grad()) == Numbers{5, 5});
}

TEST_CASE("a leaf's gradient stays in its memory", "[tape]") {
  Variable a = leaf({2, 3});
  hand_sum(hand_mul(a, a)).backward();
  const std::byte* memory = a.grad().raw();
  a.zero_grad();
  hand_sum(hand_mul(a, a)).backward();
  CHECK(a.grad().raw() == memory);
  a.zero_grad();
  a.backward(Tensor::full({2}, 5));
  CHECK(a.grad().raw() == memory);
  CHECK(numbers(a.grad()) == Numbers{5, 5});
}

TEST_CASE("the gradient of a leaf is not somebody else's tensor", "[tape]") {
  const Variable a = leaf({1});
  const Variable b = leaf({1});
  const Tensor seed = Tensor::full({1}, 3);
  Tape::current()
      .record("both", Tensor::full({1}, 0), {&a, &b},
              [](Grads& grads) {
                grads.add(0, grads.dy());
                grads.add(1, grads.dy());
              })
      .backward(seed);
  hand_sum(hand_scale(a, 10)).backward();
  CHECK(numbers(a.grad()) == Numbers{13});
  CHECK(numbers(b.grad()) == Numbers{3});
  CHECK(numbers(seed) == Numbers{3});
}

TEST_CASE("scattered gradients begin with zeros and may meet written ones in any order", "[tape]") {
  const Variable table(Tensor::full({3, 2}, 1), true);
  const auto scatter = [&] { return hand_sum(hand_row(table, 1)); };
  scatter().backward();
  CHECK(numbers(table.grad()) == Numbers{0, 0, 1, 1, 0, 0});
  scatter().backward();
  CHECK(numbers(table.grad()) == Numbers{0, 0, 2, 2, 0, 0});
  Variable(table).zero_grad();
  const Variable row = hand_row(table, 2);
  hand_mul(hand_sum(hand_scale(table, 2)), hand_sum(row)).backward();
  CHECK(numbers(table.grad()) == Numbers{4, 4, 4, 4, 16, 16});
  Variable(table).zero_grad();
  const Variable all = hand_sum(hand_scale(table, 2));
  hand_mul(all, hand_sum(hand_row(table, 2))).backward();
  CHECK(numbers(table.grad()) == Numbers{4, 4, 4, 4, 16, 16});
}

TEST_CASE("ops with several outputs", "[tape]") {
  const auto split = [](const Variable& x) {
    return Tape::current().record_pair("split", hand_scale(x.detach(), 2).value(), hand_scale(x.detach(), 3).value(),
                                       {&x}, [](Grads& grads) {
                                         const double factors[] = {2, 3};
                                         for (int i = 0; i < 2; ++i) {
                                           if (!grads.dy(i).defined()) continue;
                                           const double f = factors[i];
                                           grads.add(0, map(grads.dy(i), [f](double g) { return f * g; }));
                                         }
                                       });
  };
  Variable a = leaf({1});
  const auto [x, y] = split(a);
  hand_sum(hand_mul(x, y)).backward();
  CHECK(numbers(a.grad()) == Numbers{12});
  a.zero_grad();
  const auto [unused, used] = split(a);
  hand_sum(used).backward();
  CHECK(numbers(a.grad()) == Numbers{3});

  const Variable b = leaf({1});
  const Variable* inputs[] = {&a, &b};
  const std::vector<Variable> outs =
      Tape::current().record_many("many", {Tensor::full({1}, 1), Tensor::full({}, 1)}, inputs, [](Grads& grads) {
        CHECK(grads.dy(0).defined());
        CHECK_FALSE(grads.dy(1).defined());
        grads.add(1, grads.dy(0));
      });
  hand_sum(outs[0]).backward();
  CHECK(numbers(b.grad()) == Numbers{1});
  CHECK(numbers(a.grad()) == Numbers{3});
}

TEST_CASE("nothing is recorded without need", "[tape]") {
  const Variable constant(Tensor::full({2}, 1));
  Variable frozen = leaf({1, 2});
  frozen.set_requires_grad(false);
  CHECK_FALSE(hand_mul(constant, frozen).requires_grad());
  const Variable a = leaf({1, 2});
  {
    const NoGrad no_grad;
    CHECK_FALSE(grad_enabled());
    { const NoGrad nested; }
    CHECK_FALSE(grad_enabled());
    const Variable y = hand_sum(hand_mul(a, a));
    CHECK_FALSE(y.requires_grad());
    CHECK_THROWS_MATCHES(y.backward(), ValueError, MessageMatches(ContainsSubstring("NoGrad")));
  }
  CHECK(grad_enabled());
  CHECK(Tape::current().size() == 0);
  hand_sum(hand_mul(a, frozen)).backward();
  CHECK(numbers(a.grad()) == Numbers{1, 2});
  CHECK_FALSE(frozen.grad().defined());
  CHECK_THROWS_MATCHES(hand_sum(frozen).backward(), ValueError,
                       MessageMatches(ContainsSubstring("nothing that requires a gradient")));
}

TEST_CASE("a root of several elements needs a seed", "[tape]") {
  const Variable a = leaf({1, 2, 3});
  const Variable y = hand_scale(a, 2);
  CHECK_THROWS_MATCHES(y.backward(), ShapeError,
                       MessageMatches(ContainsSubstring("[3]") && ContainsSubstring("single element")));
  CHECK_THROWS_MATCHES(y.backward(Tensor::full({2}, 1)), ShapeError,
                       MessageMatches(ContainsSubstring("[2]") && ContainsSubstring("[3]")));
  CHECK_THROWS_AS(y.backward(Tensor::full({3}, 1, DType::kFloat64)), ShapeError);
  y.backward(Tensor::from(Numbers{1, 10, 100}, {3}));
  CHECK(numbers(a.grad()) == Numbers{2, 20, 200});
}

TEST_CASE("Variables of a consumed tape are recognised and the op that got one is named", "[tape]") {
  const Variable a = leaf({1, 2});
  const Variable y = hand_scale(a, 2);
  hand_sum(y).backward();
  CHECK_THROWS_MATCHES(hand_sin(y), ValueError,
                       MessageMatches(ContainsSubstring("hand_sin") && ContainsSubstring("consumed")));
  CHECK_THROWS_MATCHES(y.backward(Tensor::full({2}, 1)), ValueError, MessageMatches(ContainsSubstring("backward")));
  CHECK_FALSE(hand_sin(y.detach()).requires_grad());
  // Also when the new tape has as many slots as the old one, and after clear().
  const Variable z = hand_scale(a, 2);
  CHECK_THROWS_AS(hand_mul(z, y), ValueError);
  Tape::current().clear();
  CHECK_THROWS_AS(hand_sum(z), ValueError);
  CHECK(numbers(y.value()) == Numbers{2, 4});
}

TEST_CASE("a Variable of another thread's tape is refused", "[tape]") {
  const Variable a = leaf({1, 2});
  const Variable mine = hand_scale(a, 2);
  std::string message;
  std::thread([&] {
    try {
      hand_sin(mine);
    } catch (const ValueError& error) {
      message = error.what();
    }
  }).join();
  CHECK_THAT(message, ContainsSubstring("hand_sin") && ContainsSubstring("another thread"));
  hand_sum(mine).backward();
  CHECK(numbers(a.grad()) == Numbers{2, 2});
}

TEST_CASE("a change in place between forward and backward is an error", "[tape]") {
  const Variable a = leaf({1, 2});
  const Variable x = hand_scale(a, 2);
  const Variable y = hand_sum(hand_sin(x));
  Tensor(x.value()).fill_(3);
  CHECK_THROWS_MATCHES(y.backward(), ValueError,
                       MessageMatches(ContainsSubstring("hand_sin") && ContainsSubstring("changed in place")));
  CHECK(Tape::current().size() == 0);
  // Through a view as well; what backward does not need may be changed.
  const Variable v = hand_scale(a, 2);
  const Variable w = hand_sum(hand_sin(v));
  v.value().slice(0, 0, 1).fill_(3);
  CHECK_THROWS_AS(w.backward(), ValueError);
  const Variable scaled = hand_scale(a, 2);
  const Variable total = hand_sum(hand_scale(scaled, 2));
  Tensor(scaled.value()).fill_(3);
  CHECK_NOTHROW(total.backward());
}

TEST_CASE("a wrong backward is caught and its op named", "[tape]") {
  const Variable a = leaf({1, 2});
  const auto spoiled = [&](Tensor gradient) {
    const Variable y = Tape::current().record("spoiled", Tensor::full({2}, 1), {&a},
                                              [gradient](Grads& grads) { grads.add(0, gradient); });
    return hand_sum(y);
  };
  for (const Tensor& gradient :
       {Tensor::full({1}, 1), Tensor::full({1, 2}, 1), Tensor::full({2}, 1, DType::kFloat64)}) {
    CHECK_THAT(error_text<ShapeError>([&] { spoiled(gradient).backward(); }),
               ContainsSubstring("spoiled: backward gave " + gradient.to_string()) &&
                   ContainsSubstring("expected float32 [2]"));
  }
  CHECK_NOTHROW(spoiled(Tensor::full({2}, 1)).backward());

  const auto recording = [&] {
    return hand_sum(Tape::current().record("recording", Tensor::full({2}, 1), {&a}, [&](Grads& grads) {
      grads.add(0, hand_scale(a, 2).value());  // fine: nothing is recorded while backward runs
    }));
  };
  CHECK_NOTHROW(recording().backward());
  const auto nested = [&] {
    return hand_sum(Tape::current().record("nested", Tensor::full({2}, 1), {&a},
                                           [&](Grads&) { Variable(a).backward(Tensor::full({2}, 1)); }));
  };
  CHECK_THROWS_MATCHES(nested().backward(), ValueError, MessageMatches(ContainsSubstring("inside another backward")));
  CHECK(grad_enabled());
}

TEST_CASE("anomaly mode names the op that made the first NaN", "[tape]") {
  const Variable a = leaf({1, 0, 2});
  const auto log_of = [](const Variable& x) {
    return Tape::current().record("log_of", map(x.value(), [](double v) { return std::log(v); }), {&x},
                                  [x = SavedTensor(x.value())](Grads& grads) {
                                    grads.add(0, map(grads.dy(), x.get(), [](double g, double v) { return g / v; }));
                                  });
  };
  // sqrt(x^2) has a finite value at 0 and a derivative 0 / 0.
  const auto magnitude = [](const Variable& x) {
    return Tape::current().record(
        "magnitude", map(x.value(), [](double v) { return std::abs(v); }), {&x},
        [x = SavedTensor(x.value())](Grads& grads) {
          grads.add(0, map(grads.dy(), x.get(), [](double g, double v) { return g * v / std::abs(v); }));
        });
  };
  CHECK_NOTHROW(hand_sum(log_of(a)));
  Tape::current().clear();
  const AnomalyMode anomaly;
  CHECK_THROWS_MATCHES(hand_sum(log_of(a)), ValueError,
                       MessageMatches(ContainsSubstring("log_of: the output") && ContainsSubstring("index [1]")));
  {
    const NoGrad no_grad;
    CHECK_THROWS_AS(log_of(a), ValueError);
  }
  Tape::current().clear();
  for (const bool deep : {false, true}) {
    const auto run = [&] { hand_sum(deep ? hand_scale(magnitude(hand_scale(a, 2)), 3) : magnitude(a)).backward(); };
    CHECK_THAT(error_text<ValueError>(run),
               ContainsSubstring("magnitude: a gradient in backward") && ContainsSubstring("index [1]"));
    Variable(a).zero_grad();
  }
}

TEST_CASE("a second identical training step allocates nothing", "[tape][memory]") {
  // Larger than one block of closures, with leaves, shared gradients and scatters.
  const Variable w = leaf(Numbers(100, 0.5f));
  const Variable table(Tensor::full({50, 100}, 1), true);
  const auto step = [&] {
    Variable x = hand_row(table, 7);
    for (int i = 0; i < 500; ++i) x = hand_mul(hand_sin(x), w);
    Tape::current()
        .record("total", Tensor::full({}, 0), {&x},
                [](Grads& grads) {
                  GradTarget dx = grads.target(0);
                  std::fill_n(dx.tensor.data<float>(), dx.tensor.numel(), 1.0f);
                })
        .backward();
    Variable(w).zero_grad();
    Variable(table).zero_grad();
  };
  step();
  step();
  const uint64_t heap = heap_allocations();
  const MemoryStats before = memory_stats();
  step();
  CHECK(heap_allocations() == heap);
  CHECK(memory_stats().system_allocations == before.system_allocations);
  CHECK(memory_stats().bytes_in_use == before.bytes_in_use);
}

TEST_CASE("backward formulas that name gradients there are not are errors", "[tape][errors]") {
  const Variable a = leaf({1, 2});
  const auto run = [&](auto&& formula) {
    return error_text<ValueError>(
        [&] { hand_sum(Tape::current().record("formula", Tensor::full({2}, 1), {&a}, formula)).backward(); });
  };
  for (const int i : {1, 5, -1, 1 << 30}) {
    const std::string number = std::to_string(i);
    CHECK_THAT(run([i](Grads& grads) { grads.add(i, grads.dy()); }),
               ContainsSubstring("formula: ") && ContainsSubstring("input " + number + ","));
    CHECK_THAT(run([i](Grads& grads) { (void)grads.needs(i); }), ContainsSubstring("input " + number + ","));
    CHECK_THAT(run([i](Grads& grads) { (void)grads.target(i); }), ContainsSubstring("input " + number + ","));
    CHECK_THAT(run([i](Grads& grads) { (void)grads.accumulator(i); }), ContainsSubstring("input " + number + ","));
    CHECK_THAT(run([i](Grads& grads) { (void)grads.dy(i); }), ContainsSubstring("output " + number + ","));
    CHECK_THAT(run([i](Grads& grads) { (void)grads.take_dy(i); }), ContainsSubstring("output " + number + ","));
  }
  const Variable constant(Tensor::full({2}, 1));
  CHECK_THAT(error_text<ValueError>([&] {
               hand_sum(Tape::current().record("formula", Tensor::full({2}, 1), {&a, &constant}, [](Grads& grads) {
                 (void)grads.target(1);
               })).backward();
             }),
             ContainsSubstring("input 1 needs no gradient"));
}

TEST_CASE("anomaly mode names the parameter of the op, or of one before it", "[tape]") {
  Variable a = leaf({-1, 0, 2});
  a.leaf()->name = "encoder.block3.weight";
  const auto log_of = [](const Variable& x) {
    return Tape::current().record("log_of", map(x.value(), [](double v) { return std::log(v); }), {&x},
                                  [x = SavedTensor(x.value())](Grads& grads) {
                                    grads.add(0, map(grads.dy(), x.get(), [](double, double) { return NAN; }));
                                  });
  };
  const AnomalyMode anomaly;
  CHECK_THAT(error_text<ValueError>([&] { (void)log_of(a); }),
             ContainsSubstring("log_of with 'encoder.block3.weight': the output"));
  CHECK_THAT(error_text<ValueError>([&] { (void)log_of(hand_scale(a, 2)); }),
             ContainsSubstring("log_of after the op with 'encoder.block3.weight': the output"));
  Tape::current().clear();
  Tensor(a.value()).fill_(1);
  CHECK_THAT(error_text<ValueError>([&] { hand_sum(log_of(hand_scale(a, 2))).backward(); }),
             ContainsSubstring("log_of after the op with 'encoder.block3.weight': a gradient in backward"));
  CHECK_THAT(error_text<ValueError>([&] { hand_sum(log_of(a)).backward(); }),
             ContainsSubstring("log_of with 'encoder.block3.weight': a gradient in backward"));
}

TEST_CASE("values written through a pointer after forward are noticed by backward", "[tape]") {
  const Variable a = leaf({1, 2, 3});
  const Variable b = leaf({4, 5, 6});
  const Variable y = hand_sum(hand_mul(a, b));
  Tensor(b.value()).data<float>()[0] = 40;
  CHECK_THAT(error_text<ValueError>([&] { y.backward(); }), ContainsSubstring("changed in place"));
}

/// What a child process that runs f writes to its standard error.
std::string stderr_of(const std::function<void()>& f) {
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    dup2(fileno(file), 2);
    f();
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  std::string text(static_cast<size_t>(lseek(fileno(file), 0, SEEK_END)), ' ');
  std::rewind(file);
  CHECK(std::fread(text.data(), 1, text.size(), file) == text.size());
  std::fclose(file);
  return text;
}

TEST_CASE("a tape that grows without a backward() is said once, in one line", "[tape][memory]") {
  // 3/4 MiB an op, of memory that is never touched.
  const auto grow = [](int ops) {
    const Variable a = leaf({1});
    std::vector<Variable> kept;
    for (int i = 0; i < ops; ++i) {
      kept.push_back(Tape::current().record("pass", Tensor::empty({3 << 16}), {&a}, [](Grads&) {}));
    }
  };
  const std::string text = stderr_of([&] {
    grow(9000);
    Tape::current().clear();
    grow(9000);
  });
  CHECK_THAT(text, ContainsSubstring("2048 ops") && ContainsSubstring("NoGrad"));
  CHECK(std::count(text.begin(), text.end(), '\n') == 1);
  CHECK(stderr_of([&] {
          const NoGrad no_grad;
          grow(9000);
        }).empty());
  CHECK(stderr_of([&] {
          for (int step = 0; step < 10; ++step) {
            grow(1000);
            Tape::current().clear();
          }
        }).empty());
}

}  // namespace
}  // namespace attune
