#include "tests/golden/session.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "framework/text.h"

namespace attune::golden {
namespace {

struct Tolerance {
  double absolute;
  double relative;
};

Tolerance tolerance(DType dtype) { return dtype == DType::kFloat64 ? Tolerance{1e-10, 1e-9} : Tolerance{1e-5, 1e-4}; }

Tensor rows(const Tensor& tensor, const Link& link) {
  if (link.end < 0) return tensor;
  require<FormatError>(tensor.rank() > 0 && link.end <= tensor.dim(0), "{} has shape {}, expected {} rows at least",
                       link.torch, tensor.shape(), link.end);
  return tensor.slice(0, link.begin, link.end);
}

Shape index_of(int64_t element, const Shape& shape) {
  Shape index = shape;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    index[axis] = element % shape[axis];
    element /= shape[axis];
  }
  return index;
}

}  // namespace

int64_t Options::required(const std::string& name) {
  require<FormatError>(has(name), "the option '{}' is missing", name);
  return get<int64_t>(name, 0);
}

void Options::only(const std::string& name, const nlohmann::json& value) {
  const nlohmann::json* given = look(name);
  if (given != nullptr && *given != value) {
    throw Skip(
        fmt::format("option {} = {}: Attune has only {}", shown(name, 60), shown(given->dump(), 60), value.dump()));
  }
}

void Options::finish() const {
  for (const auto& [name, value] : config_.items()) {
    if (!read_.contains(name))
      throw Skip(fmt::format("option {} = {} is not in Attune", shown(name, 60), shown(value.dump(), 60)));
  }
}

const nlohmann::json* Options::look(const std::string& name) {
  read_.insert(name);
  const auto found = config_.find(name);
  return found == config_.end() ? nullptr : &*found;
}

void Options::fail_type(const std::string& name) const {
  fail<FormatError>("the option '{}' has the value {}, which is not of its type", shown(name, 60),
                    shown(config_.at(name).dump(), 60));
}

const Tensor& Session::raw(const std::string& name) {
  const Tensor* found = find(case_.inputs, name);
  require<FormatError>(found != nullptr, "the input '{}' is missing", name);
  read_.insert(name);
  return *found;
}

Variable Session::input(const std::string& name) {
  const Tensor& value = raw(name);
  require<FormatError>(is_floating(value.dtype()), "the input '{}' is {}, expected floats", name, value);
  // A copy: several sessions compute the same case.
  inputs_.emplace_back(name, Variable(value.to(dtype_).clone().to(device_), true));
  return inputs_.back().second;
}

Tensor Session::tensor(const std::string& name, DType dtype) {
  const Tensor& value = raw(name);
  require<FormatError>(value.dtype() == dtype, "the input '{}' is {}, expected {}", name, value, dtype_name(dtype));
  return value.to(device_);
}

void Session::load(Module& module, const std::vector<Link>& links) {
  module.to(dtype_);
  module.to(device_);
  module.eval();
  std::map<std::string, Variable> own;
  for (auto& [name, variable] : module.named_parameters()) own.emplace(name, variable);
  StateDict state;
  for (const auto& [name, tensor] : case_.params) {
    bool linked = false;
    for (const Link& link : links) {
      if (link.torch != name) continue;
      linked = true;
      const Tensor part = rows(tensor, link);
      const auto target = own.find(link.ours);
      const bool fits = target != own.end() && target->second.numel() == part.numel();
      state.emplace_back(link.ours, fits ? part.reshape(target->second.shape()) : part);
      if (target != own.end()) parameters_.emplace_back(link, target->second);
    }
    if (!linked) state.emplace_back(name, tensor);
  }
  module.load_state_dict(state);
}

void Session::check_inputs() const {
  for (const auto& [name, tensor] : case_.inputs) {
    if (!read_.contains(name)) throw Skip(fmt::format("input {} is not in Attune", name));
  }
}

Verdict Session::verdict() {
  Variable total;
  for (const auto& [name, value] : outputs_) {
    const Tensor* seed = find(case_.grad_outputs, name);
    if (seed == nullptr) continue;
    require<ShapeError>(seed->shape() == value.shape(), "the output {} has shape {}, expected {}", name, value.shape(),
                        seed->shape());
    const Variable part = sum(mul(value, Variable(seed->to(dtype_).to(device_))));
    total = total.defined() ? add(total, part) : part;
  }
  if (total.defined() && total.requires_grad()) total.backward();

  Verdict verdict;
  for (const auto& [name, expected] : case_.outputs) {
    const auto ours =
        std::find_if(outputs_.begin(), outputs_.end(), [&wanted = name](const auto& o) { return o.first == wanted; });
    if (ours == outputs_.end()) throw Skip(fmt::format("output {} is not in Attune", name));
    compare(verdict, "outputs/" + name, ours->second.value(), expected);
  }
  const auto gradient = [](const Variable& leaf) {
    return leaf.grad().defined() ? leaf.grad() : Tensor::zeros_like(leaf.value());
  };
  for (const auto& [name, expected] : case_.grad_inputs) {
    const auto leaf =
        std::find_if(inputs_.begin(), inputs_.end(), [&wanted = name](const auto& i) { return i.first == wanted; });
    require<FormatError>(leaf != inputs_.end(), "grad_inputs/{} belongs to no input of floats", name);
    compare(verdict, "grad_inputs/" + name, gradient(leaf->second), expected);
  }
  for (const auto& [name, expected] : case_.grad_params) {
    const Tensor* parameter = find(case_.params, name);
    require<FormatError>(parameter != nullptr && parameter->shape() == expected.shape(),
                         "grad_params/{} has shape {}, which is no parameter's", name, expected.shape());
    bool compared = false;
    for (const auto& [link, leaf] : parameters_) {
      if (link.torch != name) continue;
      compared = true;
      const Tensor part = rows(expected, link);
      const Tensor ours = gradient(leaf);
      const std::string range = link.end < 0 ? "" : fmt::format("[{}:{}]", link.begin, link.end);
      compare(verdict, "grad_params/" + name + range, ours.numel() == part.numel() ? ours.reshape(part.shape()) : ours,
              part);
    }
    require<FormatError>(compared, "grad_params/{} belongs to a parameter that Attune does not have", name);
  }
  return verdict;
}

void Session::compare(Verdict& verdict, const std::string& what, const Tensor& ours, const Tensor& expected) const {
  if (ours.shape() != expected.shape()) {
    if (verdict.ok) verdict.detail = fmt::format("{} has shape {}, expected {}", what, ours.shape(), expected.shape());
    verdict.ok = false;
    return;
  }
  const Tolerance allowed = tolerance(dtype_);
  const Tensor a = ours.to(DType::kFloat64).to(Device::cpu()).contiguous();
  const Tensor b = expected.to(DType::kFloat64).contiguous();
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double got = a.data<double>()[i];
    const double want = b.data<double>()[i];
    if (got == want) continue;
    const double error = std::abs(got - want);
    const double limit = allowed.absolute + allowed.relative * std::abs(want);
    verdict.max_error = std::max(verdict.max_error, error);
    verdict.share = std::max(verdict.share, error / limit);
    if (error <= limit) continue;
    if (verdict.ok) {
      verdict.detail = fmt::format("{}{} is {}, expected {} +- {:.2g}", what, index_of(i, a.shape()), got, want, limit);
    }
    verdict.ok = false;
  }
}

}  // namespace attune::golden
