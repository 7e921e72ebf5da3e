#include <fmt/format.h>

#include "examples/gradcheck/rows.h"
#include "layers/activation.h"
#include "layers/linear.h"
#include "layers/loss.h"
#include "layers/sequential.h"

namespace attune::examples {
namespace {

using Inputs = std::span<const Variable>;

struct NamedReduction {
  const char* name;
  const char* code;
  Reduction reduction;
};
constexpr NamedReduction kReductions[] = {{"mean", "Reduction::kMean", Reduction::kMean},
                                          {"sum", "Reduction::kSum", Reduction::kSum},
                                          {"none", "Reduction::kNone", Reduction::kNone},
                                          {"batch_mean", "Reduction::kBatchMean", Reduction::kBatchMean}};

OptionRow reduction_option() {
  OptionRow row{"reduction", std::string("mean"), {}};
  for (const NamedReduction& each : kReductions) row.choices.emplace_back(std::string(each.name));
  return row;
}

const NamedReduction& reduction_of(const Options& o) {
  for (const NamedReduction& each : kReductions) {
    if (o.text("reduction") == each.name) return each;
  }
  return kReductions[0];
}

/// A loss of two operands. made_of: what becomes of both before, as a function and as C++.
template <class Loss, class MadeOf>
Case loss_of_two(std::unique_ptr<Loss> layer, std::string declaration, const Draw& d, const MadeOf& made_of,
                 const std::string& call) {
  Case made;
  made.call = [&module = *layer, made_of](Inputs in) {
    const auto [x, target] = made_of(in[0], in[1]);
    return std::vector<Variable>{module(x, target)};
  };
  made.module = std::move(layer);
  const Shape shape{d["B"], d["T"], d["V"]};
  made.inputs = {{"x", "B T V", shape}, {"target", "B T V", shape}};
  made.declaration = std::move(declaration);
  made.body = returns(call);
  return made;
}

constexpr auto kAsTheyAre = [](const Variable& x, const Variable& target) { return std::pair(x, target); };

Case make_mse(const Options& o, const Draw& d) {
  const NamedReduction& how = reduction_of(o);
  return loss_of_two(std::make_unique<MseLoss>(how.reduction), fmt::format("MseLoss layer({});", how.code), d,
                     kAsTheyAre, "layer(x, target)");
}

Case make_l1(const Options& o, const Draw& d) {
  const NamedReduction& how = reduction_of(o);
  return loss_of_two(std::make_unique<L1Loss>(how.reduction), fmt::format("L1Loss layer({});", how.code), d, kAsTheyAre,
                     "layer(x, target)");
}

Case make_huber(const Options& o, const Draw& d) {
  const NamedReduction& how = reduction_of(o);
  const HuberOptions options{o.number("delta"), how.reduction};
  return loss_of_two(std::make_unique<HuberLoss>(options),
                     fmt::format("HuberLoss layer({{.delta = {}, .reduction = {}}});", options.delta, how.code), d,
                     kAsTheyAre, "layer(x, target)");
}

Case make_bce(const Options& o, const Draw& d) {
  const NamedReduction& how = reduction_of(o);
  return loss_of_two(
      std::make_unique<BceWithLogitsLoss>(BceOptions{.reduction = how.reduction}),
      fmt::format("BceWithLogitsLoss layer({{.reduction = {}}});", how.code), d,
      [](const Variable& x, const Variable& target) { return std::pair(x, sigmoid(target)); },
      "layer(x, sigmoid(target))");
}

Case make_kl_div(const Options& o, const Draw& d) {
  const NamedReduction& how = reduction_of(o);
  const KlDivOptions options{how.reduction, o.flag("log_target")};
  const bool log_target = options.log_target;
  return loss_of_two(
      std::make_unique<KlDivLoss>(options),
      fmt::format("KlDivLoss layer({{.reduction = {}, .log_target = {}}});", how.code, log_target), d,
      [log_target](const Variable& x, const Variable& target) {
        return std::pair(log_softmax(x), log_target ? log_softmax(target) : softmax(target));
      },
      log_target ? "layer(log_softmax(x), log_softmax(target))" : "layer(log_softmax(x), softmax(target))");
}

Case make_nll(const Options& o, const Draw& d) {
  const NamedReduction& how = reduction_of(o);
  const Tensor targets = random_ids({d["B"], d["T"]}, d["V"], d.seed);
  const int64_t ignored = o.flag("ignore") ? 0 : -100;
  auto layer = std::make_unique<NllLoss>(NllOptions{.ignore_index = ignored, .reduction = how.reduction});
  Case made;
  made.call = [&module = *layer, targets](Inputs in) { return std::vector<Variable>{module(in[0], targets)}; };
  made.module = std::move(layer);
  const Shape shape{d["B"], d["T"], d["V"]};
  made.inputs.push_back({"x", "B T V", shape});
  made.declaration = fmt::format("NllLoss layer({{.ignore_index = {}, .reduction = {}}});", ignored, how.code);
  made.body = returns("layer(x, targets)");
  made.constants.emplace_back("targets", targets);
  made.zeros.push_back({"all but the targets", {}, {{"x", bool_tensor(shape, [&](auto i) {
                                                       const int64_t target =
                                                           targets.data<int64_t>()[i[0] * d["T"] + i[1]];
                                                       return target == ignored || i[2] != target;
                                                     })}}});
  return made;
}

/// An activation by the name of its class.
struct ActivationRow {
  const char* name;
  std::unique_ptr<Module> (*make)();
  Variable (*call)(Module& module, const Variable& x);
};
template <class T>
constexpr ActivationRow activation_row(const char* name) {
  return {name, []() -> std::unique_ptr<Module> { return std::make_unique<T>(); },
          [](Module& module, const Variable& x) { return static_cast<T&>(module)(x); }};
}
constexpr ActivationRow kActivationRows[] = {
    activation_row<Relu>("Relu"),
    activation_row<Gelu>("Gelu"),
    activation_row<GeluTanh>("GeluTanh"),
    activation_row<Silu>("Silu"),
    activation_row<Selu>("Selu"),
    activation_row<Mish>("Mish"),
    activation_row<Tanh>("Tanh"),
    activation_row<Sigmoid>("Sigmoid"),
    activation_row<LogSigmoid>("LogSigmoid"),
    activation_row<Softplus>("Softplus"),
    activation_row<Softsign>("Softsign"),
    activation_row<HardSigmoid>("HardSigmoid"),
    activation_row<HardSwish>("HardSwish"),
    activation_row<Softmax>("Softmax"),
    activation_row<LogSoftmax>("LogSoftmax"),
    activation_row<Elu>("Elu"),
    activation_row<Celu>("Celu"),
    activation_row<LeakyRelu>("LeakyRelu"),
    activation_row<Swish>("Swish"),
};

Case make_activation(const Options& o, const Draw& d) {
  const ActivationRow* named = kActivationRows;
  while (o.text("function") != named->name) ++named;
  Case made;
  made.module = named->make();
  made.call = [&module = *made.module, call = named->call](Inputs in) {
    return std::vector<Variable>{call(module, in[0])};
  };
  made.inputs.push_back({"x", "B T D", {d["B"], d["T"], d["D"]}});
  made.declaration = fmt::format("{} layer;", named->name);
  made.body = returns("layer(x)");
  return made;
}

Case make_prelu(const Options& o, const Draw& d) {
  const int64_t count = o.flag("one") ? 1 : d["D"];
  auto layer = std::make_unique<PRelu>(count);
  Case made;
  made.call = [&module = *layer](Inputs in) { return std::vector<Variable>{module(in[0])}; };
  made.module = std::move(layer);
  made.inputs.push_back({"x", "B T D", {d["B"], d["T"], d["D"]}});
  made.declaration = fmt::format("PRelu layer({});", count);
  made.body = returns("layer(x)");
  return made;
}

Case make_sequential(const Options&, const Draw& d) {
  auto layer = std::make_unique<Sequential>(std::make_unique<Linear>(d["D"], d["F"]), std::make_unique<Tanh>(),
                                            std::make_unique<Linear>(d["F"], d["D"]));
  Case made;
  made.call = [&module = *layer](Inputs in) { return std::vector<Variable>{module(in[0])}; };
  made.module = std::move(layer);
  made.inputs.push_back({"x", "B T D", {d["B"], d["T"], d["D"]}});
  made.declaration = fmt::format(
      "Sequential layer(std::make_unique<Linear>({0}, {1}), std::make_unique<Tanh>(), "
      "std::make_unique<Linear>({1}, {0}));",
      d["D"], d["F"]);
  made.body = returns("layer(x)");
  return made;
}

}  // namespace

void add_loss_rows(std::vector<LayerRow>& rows) {
  const std::vector<ExtentRow> classes = {{"B", 1, 3}, {"T", 1, 4}, {"V", 2, 6}};
  const std::vector<ExtentRow> sequence = {{"B", 1, 3}, {"T", 1, 4}, {"D", 1, 6}};
  const OptionRow how = reduction_option();
  rows.push_back({"MseLoss", "(x - target)^2", {how}, classes, {}, make_mse});
  rows.push_back({"L1Loss", "|x - target|", {how}, classes, {}, make_l1});
  rows.push_back({"HuberLoss",
                  "d^2 / 2 for small d = x - target, a line beyond",
                  {{"delta", 1.0, {0.3, 1.0}}, how},
                  classes,
                  {},
                  make_huber});
  rows.push_back({"BceWithLogitsLoss", "binary cross-entropy of logits", {how}, classes, {}, make_bce});
  rows.push_back(
      {"KlDivLoss", "target (log target - x)", {how, flag_option("log_target", false)}, classes, {}, make_kl_div});
  rows.push_back(
      {"NllLoss", "-x[target], some targets ignored", {how, flag_option("ignore", false)}, classes, {}, make_nll});

  OptionRow functions{"function", std::string("Mish"), {}};
  for (const ActivationRow& each : kActivationRows) functions.choices.emplace_back(std::string(each.name));
  rows.push_back(
      {"Activation", "a function of every element, or of every row", {functions}, sequence, {}, make_activation});
  rows.push_back({"PRelu", "max(x, 0) + slope min(x, 0)", {flag_option("one", false)}, sequence, {}, make_prelu});
  rows.push_back({"Sequential",
                  "one module after the other",
                  {},
                  {{"B", 1, 3}, {"T", 1, 4}, {"D", 1, 5}, {"F", 1, 6}},
                  {},
                  make_sequential});
}

}  // namespace attune::examples
