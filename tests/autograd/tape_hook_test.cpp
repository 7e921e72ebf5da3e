#include "autograd/tape_hook.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

#include "tests/autograd/hand_ops.h"

namespace attune {
namespace {

using namespace testing;

class Log : public TapeHook {
 public:
  void computed(const char* op, std::span<const Variable* const> inputs,
                std::span<const Tensor* const> outputs) override {
    lines.push_back(std::string(op) + " " + std::to_string(inputs.size()) + " -> " + std::to_string(outputs.size()));
  }
  void backward(BackwardStep& step) override {
    lines.push_back("backward of " + std::string(step.op()));
    step.run();
  }
  std::vector<std::string> lines;
};

Variable leaf(double value) { return Variable(Tensor::full({}, value, DType::kFloat64), true); }

TEST_CASE("a tape hook sees every op and every step of backward, for as long as it lives", "[tape]") {
  const Variable x = leaf(3);
  {
    Log log;
    hand_mul(hand_scale(x, 2), x).backward();
    {
      const NoGrad no_grad;
      hand_scale(x, 2);
    }
    CHECK(log.lines == std::vector<std::string>{"hand_scale 1 -> 1", "hand_mul 2 -> 1", "backward of hand_mul",
                                                "backward of hand_scale", "hand_scale 1 -> 1"});
    CHECK(x.grad().item() == 12);
    {
      Log inner;
      hand_scale(x, 2);
      CHECK(inner.lines.size() == 1);
    }
    CHECK(log.lines.size() == 5);
    hand_scale(x, 2);
    CHECK(log.lines.size() == 6);
    Tape::current().clear();
  }
  hand_scale(x, 2).backward();
  CHECK(x.grad().item() == 14);
}

/// Calls a function in place of backward.
struct Instead : TapeHook {
  explicit Instead(void (*function)(BackwardStep&)) : what(function) {}
  void backward(BackwardStep& step) override { what(step); }
  void (*what)(BackwardStep&);
};

TEST_CASE("a tape hook may take contributions apart, change and drop them", "[tape]") {
  const auto gradient = [](void (*what)(BackwardStep&)) {
    const Variable x = leaf(3);
    Instead hook(what);
    hand_mul(x, x).backward();  // one leaf, two inputs
    return x.grad().item();
  };
  CHECK(gradient([](BackwardStep& step) { step.run(); }) == 6);
  CHECK(gradient([](BackwardStep& step) {
          const std::vector<Tensor> dx = step.run_apart();
          REQUIRE(dx.size() == 2);
          CHECK(dx[0].item() == 3);
          step.deliver(0, dx[0].clone());
          step.deliver(1, hand_scale(Variable(dx[1]), 10).value());
        }) == 33);
  CHECK(gradient([](BackwardStep& step) {
          step.run();
          step.forget(0);
          step.deliver(1, Tensor::full({}, 5, DType::kFloat64));
        }) == 5);
  CHECK(gradient([](BackwardStep& step) {
          step.dy() = Tensor::full({}, 2, DType::kFloat64);
          step.run();
        }) == 12);
}

TEST_CASE("a tape hook knows which inputs want a gradient", "[tape]") {
  const Variable x = leaf(3);
  const Variable constant(Tensor::full({}, 4, DType::kFloat64));
  Instead hook([](BackwardStep& step) {
    CHECK(step.inputs() == 2);
    CHECK(step.needs(0));
    CHECK_FALSE(step.needs(1));
    const std::vector<Tensor> dx = step.run_apart();
    CHECK_FALSE(dx[1].defined());
    step.forget(1);
    step.deliver(0, dx[0].clone());
  });
  hand_mul(x, constant).backward();
  CHECK(x.grad().item() == 4);
}

}  // namespace
}  // namespace attune
