#include <cmath>

#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "tests/ops/cases.h"

namespace attune::testing {
namespace {

using Vars = std::span<const Variable>;

Tensor labels(const std::vector<int64_t>& values, const Shape& shape) { return Tensor::from(values, shape); }
Tensor numbers(const std::vector<double>& values, const Shape& shape) { return Tensor::from(values, shape); }

constexpr std::pair<Reduction, const char*> kReductions[] = {{Reduction::kMean, "mean"},
                                                             {Reduction::kSum, "sum"},
                                                             {Reduction::kNone, "every loss"},
                                                             {Reduction::kBatchMean, "mean over the batch"}};

using Row = std::function<void(const char*, std::string, std::vector<Input>, std::function<Variable(Vars)>)>;

void add_cross_entropy(const Row& row) {
  const Tensor targets = labels({1, -100, 4, 0}, {2, 2});
  row("cross_entropy", "mean with an ignored target", {{{2, 2, 5}}},
      [=](Vars v) { return cross_entropy(v[0], near(v, targets)); });
  row("cross_entropy", "smoothed sum", {{{2, 2, 5}}}, [=](Vars v) {
    return cross_entropy(v[0], near(v, targets), {.label_smoothing = 0.1, .reduction = Reduction::kSum});
  });
  row("cross_entropy", "smoothed, another ignored index", {{{4, 70}}}, [](Vars v) {
    return cross_entropy(v[0], near(v, labels({69, 3, 0, 3}, {4})), {.label_smoothing = 0.2, .ignore_index = 3});
  });
  row("cross_entropy", "all ignored", {{{2, 3}}}, [](Vars v) {
    return cross_entropy(v[0], near(v, labels({-100, -100}, {2})));
  });
  // Two draws, examples in both halves; a wide row has more than one vector and a rest.
  const Tensor twice = labels({1, -100, 4, 0, 1, -100, 4, 0}, {4, 2});
  row("cross_entropy", "r_drop, mean with an ignored target", {{{4, 2, 5}}},
      [=](Vars v) { return cross_entropy(v[0], near(v, twice), {.label_smoothing = 0.1, .r_drop = 3}); });
  row("cross_entropy", "r_drop, wide rows", {{{4, 70}}}, [](Vars v) {
    return cross_entropy(v[0], near(v, labels({69, 3, 69, 3}, {4})), {.reduction = Reduction::kSum, .r_drop = 0.5});
  });
  row("cross_entropy", "no rows", {{{0, 3}}}, [](Vars v) { return cross_entropy(v[0], near(v, labels({}, {0}))); });
  row("linear_cross_entropy", "mean with an ignored target", {{{2, 2, 3}}, {{5, 3}}, {{5}}},
      [=](Vars v) { return linear_cross_entropy(v[0], v[1], v[2], near(v, targets)); });
  row("linear_cross_entropy", "smoothed sum without bias", {{{4, 3}}, {{70, 3}}}, [](Vars v) {
    return linear_cross_entropy(v[0], v[1], {}, near(v, labels({69, 3, 0, 3}, {4})),
                                {.label_smoothing = 0.1, .reduction = Reduction::kSum});
  });
  row("linear_cross_entropy", "scaled result", {{{3, 4}}, {{6, 4}}, {{6}}}, [](Vars v) {
    return linear_cross_entropy(v[0], v[1], v[2], near(v, labels({5, 0, 2}, {3}))) * 2.5;
  });
  row("linear_cross_entropy", "r_drop", {{{4, 2, 3}}, {{70, 3}}, {{70}}}, [=](Vars v) {
    return linear_cross_entropy(v[0], v[1], v[2], near(v, twice), {.label_smoothing = 0.1, .r_drop = 3});
  });
  row("linear_cross_entropy", "all ignored", {{{2, 3}}, {{4, 3}}, {{4}}}, [](Vars v) {
    return linear_cross_entropy(v[0], v[1], v[2], near(v, labels({-100, -100}, {2})));
  });
}

void add_class_losses(const Row& row) {
  const Tensor targets = labels({1, -100, 4, 0}, {2, 2});
  const Tensor weights = numbers({0.5, 2, 1, 0, 1.5}, {5});
  for (const auto& [reduction, name] : kReductions) {
    const Reduction how = reduction;
    row("cross_entropy", fmt::format("weights of classes, {}", name), {{{2, 2, 5}}}, [=](Vars v) {
      return cross_entropy(v[0], near(v, targets), {.reduction = how, .class_weights = near(v, weights)});
    });
    row("cross_entropy", fmt::format("smoothed weights of classes, {}", name), {{{2, 2, 5}}}, [=](Vars v) {
      return cross_entropy(v[0], near(v, targets),
                           {.label_smoothing = 0.2, .reduction = how, .class_weights = near(v, weights)});
    });
    row("nll_loss", name, {{{2, 2, 5}, -3, -0.1}},
        [=](Vars v) { return nll_loss(v[0], near(v, targets), {.reduction = how}); });
    row("nll_loss", fmt::format("weights of classes, {}", name), {{{2, 2, 5}, -3, -0.1}}, [=](Vars v) {
      return nll_loss(v[0], near(v, targets), {.reduction = how, .class_weights = near(v, weights)});
    });
    if (how == Reduction::kNone) continue;
    row("linear_cross_entropy", fmt::format("smoothed weights of classes, {}", name), {{{2, 2, 3}}, {{5, 3}}, {{5}}},
        [=](Vars v) {
          return linear_cross_entropy(v[0], v[1], v[2], near(v, targets),
                                      {.label_smoothing = 0.1, .reduction = how, .class_weights = near(v, weights)});
        });
  }
  row("cross_entropy", "every loss of wide rows", {{{4, 70}}}, [](Vars v) {
    return cross_entropy(v[0], near(v, labels({69, 3, 0, 3}, {4})),
                         {.label_smoothing = 0.2, .ignore_index = 3, .reduction = Reduction::kNone});
  });
  row("cross_entropy", "every loss of no rows", {{{0, 3}}},
      [](Vars v) { return cross_entropy(v[0], near(v, labels({}, {0})), {.reduction = Reduction::kNone}); });
  row("cross_entropy", "one target", {{{3}}}, [](Vars v) { return cross_entropy(v[0], near(v, labels({2}, {}))); });
  row("cross_entropy", "targets of weight 0", {{{2, 3}}}, [](Vars v) {
    return cross_entropy(v[0], near(v, labels({1, 1}, {2})), {.class_weights = near(v, numbers({1, 0, 1}, {3}))});
  });
  row("nll_loss", "all ignored", {{{2, 3}}}, [](Vars v) { return nll_loss(v[0], near(v, labels({-100, -100}, {2}))); });
  row("nll_loss", "one target", {{{3}}}, [](Vars v) { return nll_loss(v[0], near(v, labels({2}, {}))); });
  row("nll_loss", "no rows", {{{0, 3}}}, [](Vars v) { return nll_loss(v[0], near(v, labels({}, {0}))); });
}

using Loss = std::function<Variable(const Variable&, const Variable&, Reduction)>;

// x within [-low, ...] and targets of a loss, in every reduction.
void add_elementwise(const Row& row, const char* op, const char* what, const Input& x, const Input& target,
                     const Loss& loss) {
  for (const auto& [reduction, name] : kReductions) {
    const Reduction how = reduction;
    Input other = x;
    other.low = target.low;
    other.high = target.high;
    row(op, fmt::format("{}{}", what, name), {x, other}, [=](Vars v) { return loss(v[0], v[1], how); });
  }
  for (const Shape& shape : {Shape{}, Shape{0, 3}, Shape{5, 67}}) {
    row(op, fmt::format("{}sum of {}", what, shape), {{shape, x.low, x.high}, {shape, target.low, target.high}},
        [=](Vars v) { return loss(v[0], v[1], Reduction::kSum); });
  }
}

void add_elementwise_losses(const Row& row) {
  const Input x{{2, 3}};
  const Input share{{2, 3}, 0.05, 0.95};
  const Input log_share{{2, 3}, -3, -0.1};
  add_elementwise(row, "mse_loss", "", x, x, [](auto& a, auto& b, Reduction how) { return mse_loss(a, b, how); });
  add_elementwise(row, "l1_loss", "", x, x, [](auto& a, auto& b, Reduction how) { return l1_loss(a, b, how); });
  add_elementwise(row, "huber_loss", "", x, x,
                  [](auto& a, auto& b, Reduction how) { return huber_loss(a, b, {.delta = 0.71, .reduction = how}); });
  add_elementwise(row, "bce_with_logits", "", x, share,
                  [](auto& a, auto& b, Reduction how) { return bce_with_logits(a, b, {.reduction = how}); });
  add_elementwise(row, "kl_div", "", log_share, share,
                  [](auto& a, auto& b, Reduction how) { return kl_div(a, b, {.reduction = how}); });
  add_elementwise(row, "kl_div", "logarithms, ", log_share, log_share,
                  [](auto& a, auto& b, Reduction how) { return kl_div(a, b, {.reduction = how, .log_target = true}); });
  row("bce_with_logits", "both weights", {x, share}, [](Vars v) {
    return bce_with_logits(
        v[0], v[1], {.weight = near(v, numbers({0.5, 2}, {2, 1})), .pos_weight = near(v, numbers({3, 1, 2}, {3}))});
  });

  // Targets that are Tensors, of the operands' dtype.
  const Tensor given = numbers({0.1, 0.9, 0.3, 0.5, 0, 1}, {2, 3});
  const auto target = [given](Vars v) { return near(v, given).to(v[0].dtype()); };
  row("mse_loss", "a Tensor", {x}, [=](Vars v) { return mse_loss(v[0], target(v)); });
  row("l1_loss", "a Tensor", {x}, [=](Vars v) { return l1_loss(v[0], target(v)); });
  row("huber_loss", "a Tensor", {x}, [=](Vars v) { return huber_loss(v[0], target(v)); });
  row("bce_with_logits", "a Tensor", {x}, [=](Vars v) { return bce_with_logits(v[0], target(v)); });
  row("kl_div", "a Tensor with a 0", {log_share}, [=](Vars v) { return kl_div(v[0], target(v)); });
}

}  // namespace

void add_loss_cases(std::vector<OpCase>& cases) {
  const Row row = [&](const char* op, std::string what, std::vector<Input> inputs, std::function<Variable(Vars)> call) {
    cases.push_back({op, std::move(what), std::move(inputs), [call](Vars x) { return Outputs{call(x)}; }});
  };
  add_cross_entropy(row);
  add_class_losses(row);
  add_elementwise_losses(row);
}

void add_loss_errors(std::vector<OpError>& errors) {
  const auto leaf = [](const Shape& shape, DType dtype = DType::kFloat32) {
    return Variable(Tensor::zeros(shape, dtype));
  };
  const auto integers = [](const std::vector<int64_t>& values) {
    return labels(values, {static_cast<int64_t>(values.size())});
  };
  const auto row = [&](const char* op, std::function<void()> call, std::vector<std::string> says) {
    errors.push_back({op, std::move(call), std::move(says)});
  };
  const Variable a = leaf({2, 3});
  const Variable b = leaf({4, 3});
  row("cross_entropy", [=] { cross_entropy(a, integers({0, 3})); }, {"3", "1"});
  row("cross_entropy", [=] { cross_entropy(a, integers({0})); }, {"[1]", "[2, 3]"});
  row("linear_cross_entropy", [=] { linear_cross_entropy(a, b, {}, integers({0, 4})); }, {"4", "1"});
  row("cross_entropy", [=] { cross_entropy(a, integers({0, 1}), {.r_drop = -1}); }, {"r_drop", "-1"});
  row("cross_entropy", [=] { cross_entropy(a, integers({0, 1}), {.r_drop = 1}); }, {"targets 0 and 1", "0 and 1"});
  row("linear_cross_entropy",
      [=] {
        linear_cross_entropy(leaf({3, 3}), b, {}, integers({0, 0, 0}), {.r_drop = 1});
      },
      {"[3]", "halves"});
  row("linear_cross_entropy",
      [=] {
        linear_cross_entropy(a, leaf({4, 2}), {}, integers({0, 1}));
      },
      {"[2, 3]", "[4, 2]"});

  const auto weights = [](const std::vector<double>& values) {
    return numbers(values, {static_cast<int64_t>(values.size())});
  };
  const Tensor two = integers({0, 1});
  row("cross_entropy", [=] { cross_entropy(a, two, {.class_weights = weights({1, 1})}); }, {"[2]", "[3]"});
  row("cross_entropy", [=] { cross_entropy(a, two, {.class_weights = two}); }, {"int64", "floating"});
  row("cross_entropy", [=] { cross_entropy(a, two, {.class_weights = weights({1, -1, 1})}); }, {"class 1", "-1"});
  row("cross_entropy", [=] { cross_entropy(a, two, {.class_weights = weights({1, 1, NAN})}); }, {"class 2", "nan"});
  row("cross_entropy", [=] { cross_entropy(a, two, {.reduction = Reduction::kNone, .r_drop = 1}); }, {"r_drop is 1"});
  row("cross_entropy", [=] { cross_entropy(a, two, {.r_drop = 1, .class_weights = weights({1, 1, 1})}); }, {"r_drop"});
  row("cross_entropy", [=] { cross_entropy(leaf({3}), labels({1}, {}), {.reduction = Reduction::kBatchMean}); },
      {"[]", "batch"});
  row("linear_cross_entropy", [=] { linear_cross_entropy(a, b, {}, two, {.reduction = Reduction::kNone}); },
      {"kNone", "cross_entropy(linear("});
  row("linear_cross_entropy", [=] { linear_cross_entropy(a, b, {}, two, {.class_weights = weights({1})}); },
      {"[1]", "[4]"});
  row("nll_loss", [=] { nll_loss(a, integers({0, 3})); }, {"target 3", "position 1", "0 ... 2"});
  row("nll_loss", [=] { nll_loss(a, integers({0})); }, {"[1]", "[2, 3]"});
  row("nll_loss", [=] { nll_loss(a, two, {.class_weights = weights({1, 1})}); }, {"[2]", "[3]"});
  row("nll_loss", [=] { nll_loss({}, two); }, {"undefined"});

  using Loss = std::function<void(const Variable&, const Variable&)>;
  const std::pair<const char*, Loss> losses[] = {
      {"mse_loss", [](auto& x, auto& y) { mse_loss(x, y); }},
      {"l1_loss", [](auto& x, auto& y) { l1_loss(x, y); }},
      {"huber_loss", [](auto& x, auto& y) { huber_loss(x, y); }},
      {"bce_with_logits", [](auto& x, auto& y) { bce_with_logits(x, y); }},
      {"kl_div", [](auto& x, auto& y) { kl_div(x, y); }},
  };
  for (const auto& [op, loss] : losses) {
    const Loss f = loss;
    row(op, [=] { f(a, b); }, {"[2, 3]", "[4, 3]"});
    row(op, [=] { f(a, leaf({2, 3}, DType::kFloat64)); }, {"float32", "float64", "cast"});
    row(op, [=] { f(a, leaf({2, 3}, DType::kInt64)); }, {"target", "int64", "floating"});
    row(op, [=] { f(a, Variable()); }, {"target is undefined"});
    row(op, [=] { f(Variable(), a); }, {"x is undefined"});
  }
  row("mse_loss", [=] { mse_loss(leaf({}), leaf({}), Reduction::kBatchMean); }, {"[]", "batch"});
  row("huber_loss", [=] { huber_loss(a, a, {.delta = 0}); }, {"delta 0"});
  row("bce_with_logits", [=] { bce_with_logits(a, a, {.weight = weights({1, 1})}); }, {"weight", "[2]", "[2, 3]"});
  row("bce_with_logits", [=] { bce_with_logits(a, a, {.pos_weight = two}); }, {"pos_weight", "int64"});
}

}  // namespace attune::testing
