#include "autograd/optim/optimizer.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <fmt/format.h>

#include <cmath>
#include <memory>

#include "autograd/ops/ops.h"
#include "framework/device.h"
#include "framework/error.h"
#include "tests/autograd/hand_ops.h"
#include "tests/autograd/optim/rules.h"
#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/heap_counter.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;
using namespace testing;

TEST_CASE("optimizers follow their formulas for parameters of every size", "[optim]") {
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    for (const Rule& rule : rules()) {
      const std::vector<Shape> shapes{{}, {1}, {3, 5}, {16}, {17}, {0, 4}, {300, 211}};
      Named parameters;
      std::vector<std::vector<Scalar>> expected;
      for (size_t i = 0; i < shapes.size(); ++i) {
        parameters.emplace_back(fmt::format("p{}", i), leaf(shapes[i], i, dtype));
        std::vector<Scalar>& scalars = expected.emplace_back();
        for (const double w : numbers(parameters.back().second.value())) scalars.push_back({w});
      }
      const std::unique_ptr<Optimizer> optimizer = rule.make(parameters);
      for (int step = 1; step <= 3; ++step) {
        for (size_t i = 0; i < shapes.size(); ++i) {
          const Tensor gradient = random(shapes[i], 100 * static_cast<uint64_t>(step) + i, dtype);
          give(parameters[i].second, gradient);
          const std::vector<double> g = numbers(gradient);
          for (size_t k = 0; k < g.size(); ++k) rule.formula(expected[i][k], g[k], step);
        }
        optimizer->step();
        for (size_t i = 0; i < shapes.size(); ++i) {
          std::vector<double> wanted;
          for (const Scalar& s : expected[i]) wanted.push_back(s.w);
          INFO(rule.name << ", " << dtype_name(dtype) << ", step " << step << ", shape " << shapes[i].to_string());
          CHECK(distance(numbers(parameters[i].second.value()), wanted) < (dtype == DType::kFloat32 ? 2e-5 : 1e-14));
        }
      }
    }
  }
}

TEST_CASE("parameters without a gradient and frozen ones are left alone", "[optim]") {
  for (const Rule& rule : rules()) {
    Variable a = leaf({20}, 1);
    Variable b = leaf({20}, 2);
    const Variable c = leaf({20}, 3);  // never
    const Variable d = leaf({20}, 4);  // in step with a, behind c in memory
    // What b does alone is what it must do beside others that are skipped or stepped more often.
    const Variable alone(b.value().clone(), true);
    const auto optimizer = rule.make({{"a", a}, {"c", c}, {"d", d}, {"b", b}});
    const auto reference = rule.make({{"alone", alone}});
    const std::vector<double> c_before = numbers(c.value());
    for (int step = 0; step < 6; ++step) {
      give(a, random({20}, 10));
      if (step != 3) give(d, random({20}, 11));
      if (step % 2 == 1) {
        give(b, random({20}, 20));
        give(alone, random({20}, 20));
        reference->step();
      }
      a.set_requires_grad(step != 3);
      const std::vector<double> a_before = numbers(a.value());
      optimizer->step();
      INFO(rule.name << ", step " << step);
      CHECK((numbers(a.value()) == a_before) == (step == 3));
      a.set_requires_grad(true);
      a.zero_grad();
    }
    CHECK(numbers(c.value()) == c_before);
    CHECK(numbers(b.value()) == numbers(alone.value()));
  }
}

TEST_CASE("values and gradients live in flat buffers that handles follow", "[optim]") {
  const Variable a = leaf({3, 5}, 1, DType::kFloat32);
  const Variable same = a;
  const Variable b = leaf({7}, 2, DType::kFloat32);
  const Variable wide = leaf({7}, 3, DType::kFloat64);
  const std::vector<double> before = numbers(a.value());
  give(b, Tensor::full({7}, 2));
  Sgd optimizer(Named{{"a", a}, {"wide", wide}, {"b", b}, {"again", same}}, {.learning_rate = 1});
  CHECK(numbers(a.value()) == before);
  CHECK(same.value().raw() == a.value().raw());
  CHECK(a.value().storage()->parent != nullptr);
  CHECK(a.value().storage()->parent == b.value().storage()->parent);
  CHECK(a.value().storage()->parent != wide.value().storage()->parent);
  CHECK(b.value().raw() - a.value().raw() == 64);
  CHECK(reinterpret_cast<uintptr_t>(b.value().raw()) % 64 == 0);
  CHECK(numbers(b.grad()) == std::vector<double>(7, 2));  // had one before
  CHECK_FALSE(a.grad().defined());

  hand_sum(same).backward();
  CHECK(numbers(a.grad()) == std::vector<double>(15, 1));
  CHECK(a.leaf()->grad.storage().get() == b.leaf()->grad.storage().get());
  optimizer.step();
  CHECK(std::abs(numbers(a.value())[4] - (before[4] - 1)) < 1e-6);
  CHECK_FALSE(a.grad().defined());
  CHECK(optimizer.state().size() == 4);  // the rate and the steps of three parameters

  // The next backward writes instead of adding to what the last one left.
  hand_sum(a).backward();
  CHECK(numbers(a.grad()) == std::vector<double>(15, 1));
  hand_sum(a).backward();  // a second micro-batch
  CHECK(numbers(a.grad()) == std::vector<double>(15, 2));
  optimizer.zero_grad();
  CHECK_FALSE(a.grad().defined());
  hand_sum(a).backward();
  CHECK(numbers(a.grad()) == std::vector<double>(15, 1));
}

TEST_CASE("scattered gradients find zeros after a step", "[optim]") {
  const Variable table = leaf({4, 3}, 1);
  const Variable weight = leaf({3}, 2);
  Sgd optimizer(Named{{"weight", weight}, {"table", table}}, {.learning_rate = 1});
  const std::vector<double> before = numbers(table.value());
  for (const int64_t row : {1, 2}) {
    hand_sum(hand_row(table, row)).backward();
    hand_sum(weight).backward();
    std::vector<double> expected(12, 0);
    std::fill_n(expected.begin() + 3 * row, 3, 1);
    CHECK(numbers(table.grad()) == expected);
    optimizer.step();
    CHECK(table.leaf()->grad_state == Leaf::GradState::kZero);
    CHECK(weight.leaf()->grad_state == Leaf::GradState::kEmpty);
    CHECK(numbers(table.leaf()->grad) == std::vector<double>(12, 0));
  }
  const std::vector<double> after = numbers(table.value());
  for (size_t i = 0; i < 12; ++i) {
    CHECK(std::abs(after[i] - (before[i] - (i >= 3 && i < 9 ? 1 : 0))) < 1e-12);
  }
  // Dropped gradients are zero-filled again, not taken for zeros.
  hand_sum(hand_row(table, 0)).backward();
  optimizer.zero_grad();
  hand_sum(hand_row(table, 3)).backward();
  CHECK(numbers(table.grad()) == std::vector<double>{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1});
}

TEST_CASE("optimizers that share leaves, and new ones for old leaves, work", "[optim]") {
  const Variable a = leaf({5}, 1);
  const Variable alone(a.value().clone(), true);
  const Named parameters{{"a", a}};
  Sgd reference(Named{{"a", alone}}, {.learning_rate = 0.1});
  auto first = std::make_unique<Sgd>(parameters, SgdOptions{.learning_rate = 0.1});
  Sgd second(parameters, {.learning_rate = 0.1});
  for (int step = 0; step < 4; ++step) {
    give(a, random({5}, 9));
    give(alone, random({5}, 9));
    reference.step();
    if (step == 2) {
      first->step();
      first.reset();
    } else {
      second.step();
    }
    CHECK(numbers(a.value()) == numbers(alone.value()));
  }
}

TEST_CASE("a parameter that changed its dtype needs a new optimizer", "[optim]") {
  const Variable a = leaf({5}, 1);
  Sgd optimizer(Named{{"a", a}});
  a.leaf()->value = a.value().to(DType::kFloat32);
  a.leaf()->grad = Tensor();
  give(a, random({5}, 9, DType::kFloat32));
  CHECK_THROWS_MATCHES(optimizer.step(), ShapeError,
                       MessageMatches(ContainsSubstring("parameter 'a'") && ContainsSubstring("float64 [5]") &&
                                      ContainsSubstring("float32 [5]")));
}

TEST_CASE("groups have their own learning rate and weight decay", "[optim]") {
  const Variable weight = leaf({4, 4}, 1);
  const Variable bias = leaf({4}, 2);
  const Variable head = leaf({4, 2}, 3);
  const std::vector<double> w = numbers(weight.value());
  const std::vector<double> b = numbers(bias.value());
  const std::vector<double> h = numbers(head.value());
  Sgd optimizer(
      Named{{"weight", weight}, {"bias", bias}, {"head.weight", head}},
      {.learning_rate = 0.5,
       .weight_decay = 0.1,
       .groups = {no_decay_of_vectors(),
                  {.contains = [](const std::string& name, const Variable&) { return name.starts_with("head"); },
                   .learning_rate_factor = 2}}});
  for (const Variable& p : {weight, bias, head}) give(p, Tensor::full(p.shape(), 1, DType::kFloat64));
  optimizer.step();
  CHECK(std::abs(numbers(weight.value())[5] - (w[5] - 0.5 * (1 + 0.1 * w[5]))) < 1e-14);
  CHECK(std::abs(numbers(bias.value())[1] - (b[1] - 0.5)) < 1e-14);
  CHECK(std::abs(numbers(head.value())[3] - (h[3] - 1.0 * (1 + 0.1 * h[3]))) < 1e-14);

  // Neighbours that differ in nothing but the weight decay.
  const std::vector<double> w1 = numbers(weight.value());
  const std::vector<double> b1 = numbers(bias.value());
  Sgd two(Named{{"weight", weight}, {"bias", bias}},
          {.learning_rate = 0.5, .weight_decay = 0.1, .groups = {no_decay_of_vectors()}});
  for (const Variable& p : {weight, bias}) give(p, Tensor::full(p.shape(), 1, DType::kFloat64));
  two.step();
  CHECK(std::abs(numbers(weight.value())[5] - (w1[5] - 0.5 * (1 + 0.1 * w1[5]))) < 1e-14);
  CHECK(std::abs(numbers(bias.value())[1] - (b1[1] - 0.5)) < 1e-14);
}

TEST_CASE("gradients are scaled and clipped within the step", "[optim]") {
  const Variable a = leaf({30, 7}, 1);
  const Variable b = leaf({5}, 2, DType::kFloat32);
  Sgd optimizer(Named{{"a", a}, {"b", b}}, {.learning_rate = 1});
  const std::vector<double> ga = numbers(random({30, 7}, 3));
  const std::vector<double> gb = numbers(random({5}, 4, DType::kFloat32));
  double norm = 0;
  for (const double g : ga) norm += g * g;
  for (const double g : gb) norm += g * g;
  norm = std::sqrt(norm);

  const auto change = [&](const StepOptions& options) {
    const std::vector<double> before = numbers(a.value());
    give(a, random({30, 7}, 3));
    give(b, random({5}, 4, DType::kFloat32));
    CHECK(std::abs(optimizer.gradient_norm() - norm) < 1e-9);
    const double returned = optimizer.step(options);
    CHECK(std::abs(returned - (options.clip_norm > 0 ? norm * std::abs(options.gradient_scale) : 0)) < 1e-9);
    std::vector<double> after = numbers(a.value());
    for (size_t i = 0; i < after.size(); ++i) after[i] = before[i] - after[i];
    return after;
  };
  const auto expected = [&](double scale, double limit = HUGE_VAL) {
    std::vector<double> result;
    for (const double g : ga) result.push_back(std::clamp(g * scale, -limit, limit));
    return result;
  };
  CHECK(distance(change({}), ga) < 1e-14);
  CHECK(distance(change({.gradient_scale = 0.25}), expected(0.25)) < 1e-14);
  CHECK(distance(change({.clip_norm = 0.5}), expected(0.5 / (norm + 1e-6))) < 1e-13);
  CHECK(distance(change({.gradient_scale = 0.25, .clip_norm = 0.5}), expected(0.5 / (norm + 4e-6))) < 1e-8);
  CHECK(distance(change({.clip_norm = 2 * norm}), ga) < 1e-14);
  CHECK(distance(change({.clip_value = 0.3}), expected(1, 0.3)) < 1e-14);
  CHECK(distance(change({.gradient_scale = 2, .clip_value = 0.3}), expected(2, 0.3)) < 1e-14);
  CHECK_THROWS_AS(optimizer.step({.clip_norm = -1}), ValueError);
}

TEST_CASE("the gradient norm is exact for large and many numbers and any number of threads", "[optim]") {
  const Variable a = leaf({1000, 1001}, 1, DType::kFloat32);
  Sgd optimizer(Named{{"a", a}});
  give(a, Tensor::full({1000, 1001}, 1e30));
  CHECK(std::abs(optimizer.gradient_norm() / (1e30 * std::sqrt(1001000.0)) - 1) < 1e-6);
  optimizer.zero_grad();
  give(a, random({1000, 1001}, 5, DType::kFloat32));
  const int threads = num_threads();
  set_num_threads(1);
  const double one = optimizer.gradient_norm();
  set_num_threads(3);
  const double three = optimizer.gradient_norm();
  set_num_threads(threads);
  CHECK(one == three);
}

TEST_CASE("a gradient that is not finite stops a clipped step before it changes anything", "[optim]") {
  const Variable a = leaf({3}, 1);
  const Variable b = leaf({3}, 2);
  const std::vector<double> before = numbers(a.value());
  AdamW optimizer(Named{{"a", a}, {"decoder.b", b}});
  give(a, random({3}, 3));
  give(b, Tensor::full({3}, std::nan(""), DType::kFloat64));
  CHECK_THROWS_MATCHES(optimizer.step({.clip_norm = 1}), ValueError,
                       MessageMatches(ContainsSubstring("AdamW") && ContainsSubstring("'decoder.b'")));
  CHECK(numbers(a.value()) == before);
  b.leaf()->grad_state = Leaf::GradState::kEmpty;
  give(b, random({3}, 3));
  CHECK(optimizer.step({.clip_norm = 1}) > 0);

  // Where a value is NaN all gradients are: the value is named, wherever in the model it is.
  b.leaf()->value.fill_(std::nan(""));
  sum(mul(a, b)).backward();
  CHECK(error_text<ValueError>([&] { optimizer.step({.clip_norm = 1}); }) ==
        "AdamW: parameter 'decoder.b' [3] holds NaN or infinity, and so gradients do");
}

/// Every rule on parameters of both types, one of them with gradients that are scattered.
struct Checked {
  explicit Checked(const Rule& rule, Device device = Device::cpu())
      : a(Variable(random({300, 211}, 1, DType::kFloat32).to(device), true)),
        table(Variable(random({40, 3}, 2).to(device), true)),
        b(Variable(random({5}, 3).to(device), true)),
        optimizer(rule.make({{"encoder.a", a}, {"table", table}, {"decoder.b", b}})),
        row(Tensor::from(std::vector<int64_t>{2}, {1})) {}

  /// The gradient of `a` holds `value` as element 40000.
  void learn(double value = 1) const {
    Tensor gradient = random({300 * 211}, 4, DType::kFloat32);
    gradient.slice(0, 40000, 40001).fill_(value);
    give(a, gradient.view({300, 211}).to(a.device()));
    sum(embedding(table, row)).backward();
    give(b, random({5}, 5).to(b.device()));
  }
  std::string failure(const StepOptions& options = {}) const {
    return error_text<ValueError>([&] {
      optimizer->step(options);
      optimizer->check_last_step();
    });
  }

  Variable a, table, b;
  std::unique_ptr<Optimizer> optimizer;
  Tensor row;
};

TEST_CASE("without clipping too, the step whose gradient is not finite says so and names the parameter",
          "[optim][cuda]") {
  const auto check = [](Device device) {
    for (const Rule& rule : rules()) {
      INFO(rule.name);
      for (const StepOptions& options : {StepOptions{}, StepOptions{.clip_value = 1}}) {
        const Checked model(rule, device);
        model.learn();
        model.optimizer->step(options);
        model.optimizer->check_last_step();
        model.learn(std::nan(""));
        CHECK_THAT(
            model.failure(options),
            ContainsSubstring(": the gradient of parameter 'encoder.a' [300, 211] held NaN or infinity in its step 2"));
        model.optimizer->check_last_step();  // said once
        // The table's gradient is zeros again, and b has learned from its own.
        CHECK(numbers(model.table.leaf()->grad) == std::vector<double>(120, 0));
      }
      // A limit makes infinity a number, which is no fault.
      const Checked limited(rule, device);
      limited.learn(HUGE_VAL);
      limited.optimizer->step({.clip_value = 1});
      limited.optimizer->check_last_step();
      const Checked infinite(rule, device);
      infinite.learn(-HUGE_VAL);
      CHECK_THAT(infinite.failure(), ContainsSubstring("the gradient of parameter 'encoder.a'"));
      // What is finite until it is scaled, and gradients that are zeros by the time they are looked for.
      const Checked scaled(rule, device);
      scaled.learn(1e30);
      CHECK_THAT(scaled.failure({.gradient_scale = 1e30}),
                 ContainsSubstring("the gradient of parameter 'encoder.a' [300, 211] held NaN or infinity"));
      const Checked scattered(rule, device);
      sum(embedding(scattered.table, scattered.row) * std::nan("")).backward();
      CHECK_THAT(scattered.failure(),
                 ContainsSubstring("the gradient of parameter 'table' [40, 3] held NaN or infinity in its step 1"));
    }
  };
  SECTION("on the CPU") { check(Device::cpu()); }
  SECTION("on a CUDA device") { check(cuda_or_skip()); }
}

TEST_CASE("a step that makes values or moments infinite says so, whatever the clipping", "[optim][cuda]") {
  const auto check = [](Device device) {
    for (const Rule& rule : rules()) {
      INFO(rule.name);
      for (const StepOptions& options : {StepOptions{}, StepOptions{.clip_norm = 1}}) {
        const Checked model(rule, device);
        model.learn();
        model.optimizer->set_learning_rate(1e60);
        CHECK_THAT(
            model.failure(options),
            ContainsSubstring("parameter 'encoder.a' [300, 211], or a moment of it, has become NaN or infinite in "
                              "its step 1 although the gradient was finite"));
      }
    }
    // The square of a gradient beyond the largest float: the parameter would never move again.
    const Checked frozen(fused_rules()[4], device);
    frozen.learn(1e30);
    CHECK_THAT(frozen.failure(), ContainsSubstring("'encoder.a' [300, 211], or a moment of it, has become"));
  };
  SECTION("on the CPU") { check(Device::cpu()); }
  SECTION("on a CUDA device") { check(cuda_or_skip()); }
}

TEST_CASE("which element is not finite does not depend on the number of threads", "[optim]") {
  const int threads = num_threads();
  for (const int count : {1, 3}) {
    set_num_threads(count);
    Tensor value = Tensor::zeros({1 << 18}), gradient = Tensor::zeros({1 << 18}), none;
    for (const int64_t bad : {200000, 70001, 130000}) gradient.slice(0, bad, bad + 1).fill_(std::nan(""));
    const FlatRange ranges[] = {{.begin = 0, .end = 1 << 16, .learning_rate = 1},
                                {.begin = 80000, .end = 1 << 18, .learning_rate = 1, .zero_gradient = true}};
    GradientTransform transform;
    transform.not_finite = Tensor::full({2}, -1, DType::kInt64);
    kernels::sgd_step(value, gradient, none, ranges, transform, {});
    CHECK(transform.not_finite.to_vector<int64_t>() == std::vector<int64_t>{130000, 130000});
  }
  set_num_threads(threads);
}

TEST_CASE("on a CUDA device a clipped step waits for nothing and does what it does on the CPU", "[optim][cuda]") {
  const Device cuda = cuda_or_skip();
  const bool emulated = is_emulated(cuda);
  for (const Rule& rule : fused_rules()) {
    INFO(rule.name);
    const auto make_parameters = [](Device device) {
      Named parameters;
      for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
        for (const Shape& shape : {Shape{300, 211}, Shape{7}, Shape{0, 4}, Shape{}}) {
          const auto seed = parameters.size();
          parameters.emplace_back(fmt::format("p{}", seed), Variable(random(shape, seed, dtype).to(device), true));
        }
      }
      return parameters;
    };
    const Named near = make_parameters(Device::cpu()), far = make_parameters(cuda);
    const auto reference = rule.make(near), optimizer = rule.make(far);
    double norm_before = 0;
    for (uint64_t step = 1; step <= 4; ++step) {
      for (size_t i = 0; i < near.size(); ++i) {
        if (step == 2 && i % 3 == 0) continue;
        const Tensor gradient = random(near[i].second.shape(), 100 * step + i, near[i].second.dtype());
        give(near[i].second, gradient);
        give(far[i].second, gradient.to(cuda));
      }
      const StepOptions options{.gradient_scale = 0.5, .clip_norm = step == 3 ? 1e9 : 2.0, .clip_value = 0.01};
      const int64_t waits = emulated ? emulated_waits() : 0;
      CHECK(std::abs(optimizer->step(options) - norm_before) <= 1e-9 * norm_before);
      if (emulated) CHECK(emulated_waits() == waits);
      norm_before = reference->step(options);
      for (size_t i = 0; i < near.size(); ++i) {
        const double wide = near[i].second.dtype() == DType::kFloat64 ? 1e-12 : 1e-5;
        CHECK(distance(numbers(far[i].second.value()), numbers(near[i].second.value())) <= (emulated ? 0 : wide));
      }
    }
    CHECK(optimizer->state().size() == reference->state().size());
  }
}

TEST_CASE("on a CUDA device a gradient that is not finite leaves everything as it was, and the next step says so",
          "[optim][cuda]") {
  const Device cuda = cuda_or_skip();
  const Tensor row = Tensor::from(std::vector<int64_t>{2}, {1});
  for (const Rule& rule : fused_rules()) {
    INFO(rule.name);
    const auto make_parameters = [&] {
      return Named{{"a", Variable(random({3}, 1).to(cuda), true)},
                   {"table", Variable(random({40, 3}, 2).to(cuda), true)},
                   {"unused", Variable(random({5}, 3).to(cuda), true)}};
    };
    const Named seen = make_parameters(), spared = make_parameters();
    const auto optimizer = rule.make(seen), reference = rule.make(spared);
    const auto learn = [&](const Named& parameters, uint64_t seed) {
      give(parameters[0].second, random({3}, seed).to(cuda));
      sum(embedding(parameters[1].second, row)).backward();
    };
    const auto same = [&] {
      const NamedTensors left = optimizer->state(), right = reference->state();
      for (size_t i = 0; i < left.size(); ++i) {
        INFO(left[i].first);
        CHECK(numbers(left[i].second) == numbers(right[i].second));
      }
      for (size_t i = 0; i < seen.size(); ++i) {
        CHECK(numbers(seen[i].second.value()) == numbers(spared[i].second.value()));
      }
    };
    for (const bool waits : {true, false}) {
      learn(seen, 4);
      learn(spared, 4);
      optimizer->step({.clip_norm = 1});
      reference->step({.clip_norm = 1});

      sum(embedding(seen[1].second, row)).backward();
      give(seen[0].second, Tensor::from(std::vector<double>{1, HUGE_VAL, 2}, {3}, cuda));
      optimizer->step({.clip_norm = 1});
      CHECK(numbers(seen[1].second.leaf()->grad) == std::vector<double>(120, 0));  // what more is scattered into
      learn(seen, 5);
      learn(spared, 5);
      const std::string text =
          error_text<ValueError>([&] { waits ? optimizer->check_last_step() : void(optimizer->step()); });
      CHECK(text.find("the gradient of parameter 'a' [3] holds NaN or infinity") != std::string::npos);
      same();
      optimizer->check_last_step();  // said once
      // The gradients of the step that said so are still there.
      optimizer->step({.clip_norm = 1});
      reference->step({.clip_norm = 1});
      same();
    }
    // All finite but for their squares.
    give(seen[0].second, Tensor::full({3}, 1e200, DType::kFloat64, cuda));
    optimizer->step({.clip_norm = 1});
    CHECK(error_text<ValueError>([&] { optimizer->check_last_step(); }).find("the norm of all gradients") !=
          std::string::npos);
    // A state that is loaded comes after no step.
    give(seen[0].second, Tensor::full({3}, std::nan(""), DType::kFloat64, cuda));
    optimizer->step({.clip_norm = 1});
    optimizer->load_state(reference->state());
    optimizer->check_last_step();
    same();
  }
}

TEST_CASE("a step raises the version of the values", "[optim]") {
  const Variable a = leaf({3}, 1);
  Sgd optimizer(Named{{"a", a}});
  give(a, random({3}, 3));
  const Variable y = hand_sum(hand_mul(a, a));
  optimizer.step();
  CHECK_THROWS_MATCHES(y.backward(), ValueError, MessageMatches(ContainsSubstring("changed in place")));
}

TEST_CASE("a steady step allocates nothing", "[optim][memory]") {
  for (const Rule& rule : rules()) {
    Named parameters;
    for (int i = 0; i < 20; ++i) {
      parameters.emplace_back(fmt::format("p{}", i), leaf(i % 2 == 0 ? Shape{100, 100} : Shape{100}, 1));
    }
    const auto optimizer = rule.make(parameters);
    const auto give_all = [&] {
      for (const auto& [name, parameter] : parameters) give(parameter, parameter.value());
    };
    give_all();
    optimizer->step({.clip_norm = 1});
    give_all();
    const uint64_t heap = heap_allocations();
    const MemoryStats before = memory_stats();
    optimizer->set_learning_rate(0.02);
    optimizer->step({.gradient_scale = 0.5, .clip_norm = 1, .clip_value = 0.1});
    optimizer->zero_grad();
    CHECK(heap_allocations() == heap);
    CHECK(memory_stats().system_allocations == before.system_allocations);
    CHECK(memory_stats().bytes_in_use == before.bytes_in_use);
  }
}

TEST_CASE("tensors taken before an optimizer was made go on being the parameters", "[optim]") {
  const Variable a = leaf({3, 5}, 1, DType::kFloat32);
  const Tensor taken = a.value();
  const Tensor row = a.value().select(0, 1);
  const auto same = [&] { return numbers(taken) == numbers(a.value()) && numbers(row)[2] == numbers(a.value())[7]; };
  {
    Sgd optimizer(Named{{"a", a}}, {.learning_rate = 1});
    give(a, Tensor::full({3, 5}, 2));
    optimizer.step();
    CHECK(same());
    Tensor(taken).fill_(9);
    CHECK(numbers(a.value()) == std::vector<double>(15, 9));
    // Another one takes it over, and the first takes it back.
    Sgd second(Named{{"a", a}}, {.learning_rate = 1});
    give(a, Tensor::full({3, 5}, 2));
    second.step();
    CHECK(numbers(taken) == std::vector<double>(15, 7));
    give(a, Tensor::full({3, 5}, 3));
    optimizer.step();
    CHECK(numbers(taken) == std::vector<double>(15, 4));
    CHECK(same());
  }
  Tensor(taken).fill_(1);  // the optimizers are gone
  CHECK(numbers(a.value()) == std::vector<double>(15, 1));
}

TEST_CASE("an optimizer refuses parameters whose handles it would leave behind", "[optim][errors]") {
  Tensor shared = random({6}, 1);
  const Variable part(shared.slice(0, 0, 3), true);
  CHECK(error_text<ValueError>([&] { Sgd(Named{{"part", part}}); }).find("'part'") != std::string::npos);
  const Variable turned(Tensor(random({2, 3}, 1)).transpose(0, 1), true);  // nobody else holds it
  const std::vector<double> before = numbers(turned.value());
  const Sgd fine(Named{{"turned", turned}});
  CHECK(numbers(turned.value()) == before);
  const Variable one(shared, true), two(shared, true);
  CHECK(error_text<ValueError>([&] {
          Sgd(Named{{"one", one}, {"two", two}});
        }).find("'one' and 'two'") != std::string::npos);
}

}  // namespace
}  // namespace attune
