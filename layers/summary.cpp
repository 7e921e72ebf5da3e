#include "layers/summary.h"

#include <cxxabi.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <memory>
#include <string_view>
#include <typeinfo>
#include <unordered_set>
#include <utility>

#include "autograd/tape.h"
#include "autograd/tape_hook.h"
#include "framework/fail.h"
#include "layers/module_observer.h"

namespace attune {
namespace {

/// "Linear" of attune::Linear: the last name, without template arguments.
std::string type_of(const Module& module) {
  const char* mangled = typeid(module).name();
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(mangled, nullptr, nullptr, &status), std::free);
  std::string name = status == 0 ? text.get() : mangled;
  name = name.substr(0, name.find('<'));
  const size_t scope = name.rfind("::");
  return scope == std::string::npos ? name : name.substr(scope + 2);
}

/// Multiply-adds of an op; 0 for those that are no products.
int64_t multiply_adds(std::string_view op, std::span<const Variable* const> inputs, const Tensor& y) {
  const auto in = [&](size_t i) -> const Tensor& { return inputs[i]->value(); };
  if (op == "linear") return y.numel() * in(1).dim(1);
  if (op == "linear_cross_entropy") return in(0).numel() * in(1).dim(0);
  if (op == "matmul") return y.dim(-2) == 0 ? 0 : y.numel() * (in(0).dim(-1) * in(0).dim(-2) / y.dim(-2));
  if (op == "conv2d") return in(1).dim(0) == 0 ? 0 : y.numel() * (in(1).numel() / in(1).dim(0));
  if (op == "gru" || op == "lstm") {
    int64_t weights = 0;
    for (const size_t i : {size_t{3}, size_t{4}, size_t{7}, size_t{8}}) {
      if (inputs[i]->defined()) weights += in(i).numel();
    }
    return in(0).dim(0) * in(0).dim(1) * weights;
  }
  // q, k and v of [B, S, H, K]: scores and their sums.
  if (op == "attention") return in(0).numel() * in(1).dim(1) + y.numel() * in(2).dim(1);
  if (op == "attention_packed") return 2 * y.numel() * in(0).dim(1);
  if (op == "attention_packed_kv") return 2 * y.numel() * in(1).dim(1);
  return 0;
}

/// The module "encoder.block0" of a parameter "encoder.block0.weight".
std::string owner_of(const std::string& parameter) {
  const size_t dot = parameter.rfind('.');
  return dot == std::string::npos ? std::string() : parameter.substr(0, dot);
}

/// What a forward pass computes, by module.
class Counter : public TapeHook, public ModuleObserver {
 public:
  void computed(const char* op, std::span<const Variable* const> inputs, std::span<const Tensor* const> ys) override {
    for (const Tensor* y : ys) {
      const bool is_view = std::any_of(inputs.begin(), inputs.end(), [y](const Variable* x) {
        return x->defined() && x->value().storage().get() == y->storage().get();
      });
      if (y->defined() && !is_view) bytes += y->numel() * static_cast<int64_t>(dtype_size(y->dtype()));
    }
    const int64_t products = multiply_adds(op, inputs, *ys[0]);
    all += products;
    for (const Variable* input : inputs) {
      if (!input->is_leaf() || input->leaf()->name.empty()) continue;
      by_owner[owner_of(input->leaf()->name)] += products;
      return;
    }
  }

  void gave(const Module& module, const Variable& y) override { outputs.insert_or_assign(&module, y.shape()); }

  int64_t bytes = 0;
  int64_t all = 0;
  std::map<std::string, int64_t> by_owner;  // paths from the root
  std::map<const Module*, Shape> outputs;
};

/// While it lives, a module is in evaluation, all that is below it too.
class Evaluation {
 public:
  explicit Evaluation(Module& module) : module_(module) {
    module.visit([&](const std::string&, Module& each) { before_.push_back(each.training()); });
    module.eval();
  }
  ~Evaluation() {
    size_t i = 0;
    module_.visit([&](const std::string&, Module& each) { each.train_alone(before_[i++]); });
  }
  Evaluation(const Evaluation&) = delete;
  Evaluation& operator=(const Evaluation&) = delete;

 private:
  Module& module_;
  std::vector<bool> before_;
};

bool is_within(const std::string& path, const std::string& module) {
  return module.empty() || path == module || (path.starts_with(module) && path[module.size()] == '.');
}

SummaryRow row_of(const std::string& path, Module& module, const Counter& counter) {
  SummaryRow row;
  row.name = path.substr(path.rfind('.') + 1);
  row.type = type_of(module);
  row.depth = path.empty() ? 0 : 1 + static_cast<int>(std::count(path.begin(), path.end(), '.'));
  for (const Variable& parameter : module.parameters()) row.parameters += parameter.numel();
  const std::string full = module.path();
  for (const auto& [owner, products] : counter.by_owner) {
    if (is_within(owner, full)) row.multiply_adds += products;
  }
  const auto output = counter.outputs.find(&module);
  if (output != counter.outputs.end()) row.output = output->second;
  return row;
}

}  // namespace

ModuleSummary summary(Module& module, const std::function<void()>& forward) {
  Counter counter;
  if (forward) {
    const NoGrad inference;
    const Evaluation evaluation(module);
    forward();
  }
  ModuleSummary all;
  module.visit([&](const std::string& path, Module& each) { all.rows.push_back(row_of(path, each, counter)); });
  for (const Variable& parameter : module.parameters()) all.parameters += parameter.numel();
  all.trainable = module.parameter_count();
  std::unordered_set<const void*> seen;
  for (const auto& [name, tensor] : module.state_dict()) {
    if (!seen.insert(tensor.raw()).second) continue;
    all.parameter_bytes += tensor.numel() * static_cast<int64_t>(dtype_size(tensor.dtype()));
  }
  all.multiply_adds = counter.all;
  all.activation_bytes = counter.bytes;
  return all;
}

Variable summary_input(Module& module, const Shape& shape) {
  for (const Variable& parameter : module.parameters()) {
    if (is_floating(parameter.dtype())) return Variable(Tensor::zeros(shape, parameter.dtype(), parameter.device()));
  }
  return Variable(Tensor::zeros(shape));
}

namespace {

/// "1,234,567"
std::string grouped(int64_t number) {
  std::string text = std::to_string(number);
  for (auto at = static_cast<int64_t>(text.size()) - 3; at > 0; at -= 3) text.insert(static_cast<size_t>(at), 1, ',');
  return text;
}

std::string mebibytes(int64_t bytes) { return fmt::format("{:.2f} MiB", static_cast<double>(bytes) / (1 << 20)); }

}  // namespace

std::string ModuleSummary::to_string() const {
  std::vector<std::array<std::string, 4>> lines = {{"layer", "output", "parameters", "multiply-adds"}};
  for (const SummaryRow& row : rows) {
    const std::string title = row.name.empty() ? row.type : row.name + " (" + row.type + ")";
    lines.push_back({std::string(2 * static_cast<size_t>(row.depth), ' ') + title,
                     row.output ? row.output->to_string() : "-", grouped(row.parameters), grouped(row.multiply_adds)});
  }
  std::array<size_t, 4> widths{};
  for (const auto& line : lines) {
    for (size_t i = 0; i < 4; ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  std::string text;
  for (const auto& [layer, output, count, products] : lines) {
    text += fmt::format("{:<{}}  {:<{}}  {:>{}}  {:>{}}\n", layer, widths[0], output, widths[1], count, widths[2],
                        products, widths[3]);
  }
  text += fmt::format("parameters: {}, trainable: {}, {}\n", grouped(parameters), grouped(trainable),
                      mebibytes(parameter_bytes));
  text += fmt::format("forward pass: {} multiply-adds, {} of results\n", grouped(multiply_adds),
                      mebibytes(activation_bytes));
  return text;
}

}  // namespace attune
