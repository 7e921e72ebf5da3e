#include "layers/module.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string_view>
#include <unordered_set>

#include "autograd/ops/ops.h"
#include "framework/checkpoint.h"
#include "framework/edit_distance.h"
#include "framework/fail.h"

namespace attune {
namespace {

/// Equal values, bit by bit, as a parameter of `dtype` would take them.
bool same_values(const Tensor& a, const Tensor& b, DType dtype) {
  if (same_memory(a, b)) return true;
  const auto bytes = [dtype](const Tensor& x) { return x.to(Device::cpu()).to(dtype).contiguous(); };
  const Tensor x = bytes(a), y = bytes(b);
  return std::memcmp(std::as_const(x).raw(), std::as_const(y).raw(),
                     static_cast<size_t>(x.numel()) * dtype_size(dtype)) == 0;
}

// Suggestions cost the square of the number of names: enough for a renamed layer, bounded for another model's file.
constexpr size_t kMaxSuggestions = 32;

std::string joined(const std::string& prefix, const std::string& name) {
  return prefix.empty() ? name : prefix + "." + name;
}

}  // namespace

StateDict clone(const StateDict& state) {
  StateDict copies;
  for (const auto& [name, tensor] : state) {
    Tensor copy;
    for (size_t i = 0; i < copies.size() && !copy.defined(); ++i) {
      if (same_memory(state[i].second, tensor)) copy = copies[i].second;
    }
    copies.emplace_back(name, copy.defined() ? copy : tensor.clone());
  }
  return copies;
}

std::vector<std::pair<std::string, Variable>> Module::named_parameters() const {
  std::vector<std::pair<std::string, Variable>> out;
  collect("", false, out);
  return out;
}

std::vector<Variable> Module::parameters() const {
  std::vector<Variable> out;
  std::unordered_set<const Leaf*> seen;
  for (auto& [name, variable] : named_parameters()) {
    if (seen.insert(variable.leaf().get()).second) out.push_back(std::move(variable));
  }
  return out;
}

int64_t Module::parameter_count() const {
  int64_t count = 0;
  for (const Variable& variable : parameters()) {
    if (variable.requires_grad()) count += variable.numel();
  }
  return count;
}

StateDict Module::state_dict() const {
  std::vector<std::pair<std::string, Variable>> entries;
  collect("", true, entries);
  StateDict state;
  for (const auto& [name, variable] : entries) state.emplace_back(name, variable.value());
  return state;
}

void Module::load_state_dict(const StateDict& state) {
  const StateDict own = state_dict();
  std::map<std::string_view, const Tensor*> given;
  std::map<std::string_view, const Tensor*> expected;
  for (const auto& [name, tensor] : state) given.emplace(name, &tensor);
  for (const auto& [name, tensor] : own) expected.emplace(name, &tensor);

  std::vector<std::string> missing, unexpected, mismatched, contradictory;
  std::map<const std::byte*, std::string_view> shared;  // memory of tensors with their first names
  for (const auto& [name, tensor] : own) {
    const auto found = given.find(name);
    const auto [first, added] = shared.emplace(std::as_const(tensor).raw(), name);
    if (found == given.end()) {
      missing.push_back(fmt::format("{} {}", name, tensor.shape()));
    } else if (found->second->shape() != tensor.shape()) {
      mismatched.push_back(fmt::format("{}: expected shape {}, got {}", name, tensor.shape(), found->second->shape()));
    } else if (is_floating(found->second->dtype()) != is_floating(tensor.dtype())) {
      mismatched.push_back(fmt::format("{}: expected dtype {}, got {}", name, dtype_name(tensor.dtype()),
                                       dtype_name(found->second->dtype())));
    } else if (!added && tensor.numel() > 0) {
      const auto other = given.find(first->second);
      if (other == given.end() || other->second->shape() != tensor.shape()) continue;
      if (same_values(*other->second, *found->second, tensor.dtype())) continue;
      contradictory.push_back(fmt::format("{} and {} are one parameter, given two values", first->second, name));
    }
  }
  for (const auto& entry : state) {
    const std::string& name = entry.first;
    if (expected.contains(name)) continue;
    std::string line = fmt::format("{} {}", name, entry.second.shape());
    if (!own.empty() && unexpected.size() < kMaxSuggestions) {
      // Names that nothing was given for come first among equals: one of them is the likely target.
      const auto nearest = std::min_element(own.begin(), own.end(), [&](const auto& a, const auto& b) {
        const auto key = [&](const auto& candidate) {
          return std::pair(edit_distance(name, candidate.first), given.contains(candidate.first));
        };
        return key(a) < key(b);
      });
      line += fmt::format(" (nearest: {} {})", nearest->first, nearest->second.shape());
    }
    unexpected.push_back(std::move(line));
  }

  std::vector<std::string> parts;
  const auto report = [&](const std::vector<std::string>& lines, const char* what) {
    if (!lines.empty()) parts.push_back(fmt::format("{} {}: {}", lines.size(), what, fmt::join(lines, ", ")));
  };
  report(missing, "missing");
  report(unexpected, "unexpected");
  report(mismatched, "mismatched");
  report(contradictory, "contradictory");
  require<ShapeError>(parts.empty(), "{}: the state does not fit the module; {}", who("load_state_dict"),
                      fmt::join(parts, "; "));
  for (const auto& [name, tensor] : own) Tensor(tensor).copy_(*given.at(name));
}

void Module::train(bool training) {
  visit([training](const std::string&, Module& module) { module.training_ = training; });
}

void Module::set_precision(Precision precision) {
  visit([precision](const std::string&, Module& module) { module.precision_ = precision; });
}

Variable Module::in_precision(const Variable& x) const {
  return precision_ == Precision::kBFloat16 ? cast(x, DType::kBFloat16) : x;
}

void Module::to(DType dtype) {
  require<DTypeError>(is_floating(dtype), "{}: cannot convert to {}, expected a floating dtype", who("Module::to"),
                      dtype_name(dtype));
  replace_values([dtype](const Tensor& value) { return value.to(dtype); });
}

void Module::to(Device device) {
  require_device(device);
  replace_values([device](const Tensor& value) { return value.to(device); });
}

// A value that f leaves as it is keeps its gradient.
void Module::replace_values(const std::function<Tensor(const Tensor&)>& f) {
  visit([&f](const std::string&, Module& module) {
    for (Entry& entry : module.entries_) {
      if (!entry.variable.is_leaf()) continue;
      Leaf& leaf = *entry.variable.leaf();
      const Tensor value = f(leaf.value);
      if (value.storage().get() == leaf.value.storage().get()) continue;
      leaf.value = value;
      leaf.grad = Tensor();
      leaf.grad_state = Leaf::GradState::kEmpty;
      leaf.tape_slot.store(0, std::memory_order_relaxed);
    }
  });
}

void Module::zero_grad() {
  for (Variable& variable : parameters()) variable.zero_grad();
}

void Module::set_trainable(bool trainable) {
  for (Variable& parameter : parameters()) {
    if (!trainable) parameter.zero_grad();
    parameter.set_requires_grad(trainable);
  }
}

std::string Module::path() const { return parent_ == nullptr ? std::string() : joined(parent_->path(), name_); }

std::string Module::who(const char* layer) const { return parent_ == nullptr ? std::string(layer) : path(); }

void Module::visit(const std::function<void(const std::string&, Module&)>& f) {
  const auto walk = [&f](const auto& self, const std::string& prefix, Module& module) -> void {
    f(prefix, module);
    for (const auto& child : module.children_) self(self, joined(prefix, child->name_), *child);
  };
  walk(walk, "", *this);
}

Variable Module::parameter(std::string name, Tensor initial) {
  return enter(std::move(name), Variable(std::move(initial), true), Kind::kParameter);
}

Variable Module::share(std::string name, const Variable& parameter) {
  require<ValueError>(parameter.is_leaf(), "{}: cannot share '{}': only parameters can be shared", who("Module::share"),
                      name);
  return enter(std::move(name), parameter, Kind::kParameter);
}

Variable Module::buffer(std::string name, Tensor initial) {
  // A leaf, so that to() reaches every handle; integers stay what they are.
  const bool floating = is_floating(initial.dtype());
  Variable variable(std::move(initial), floating);
  if (floating) variable.set_requires_grad(false);
  return enter(std::move(name), std::move(variable), Kind::kBuffer);
}

Variable Module::constant(Tensor initial) {
  Variable variable(std::move(initial), true);
  variable.set_requires_grad(false);
  entries_.push_back({"", variable, Kind::kConstant});
  return variable;
}

Variable Module::enter(std::string name, Variable variable, Kind kind) {
  check_name(name);
  if (variable.is_leaf()) ++variable.leaf()->modules;
  entries_.push_back({std::move(name), variable, kind});
  if (name_leaf(entries_.back(), path())) root().name_leaves("");
  return variable;
}

void Module::adopt(std::string name, std::unique_ptr<Module> module) {
  require<ValueError>(module != nullptr, "{}: the child '{}' is nullptr", who("Module"), name);
  check_name(name);
  module->name_ = std::move(name);
  module->parent_ = this;
  children_.push_back(std::move(module));
  // Those of the new child alone, so that a module of many children takes time in proportion.
  if (children_.back()->name_leaves(children_.back()->path())) root().name_leaves("");
}

void Module::exchange_child(const std::string& name, std::unique_ptr<Module> module) {
  const auto at = std::find_if(children_.begin(), children_.end(), [&](const auto& c) { return c->name_ == name; });
  require<ValueError>(at != children_.end(), "{}: there is no child '{}' to be replaced, only {}", who("Module"), name,
                      children_.empty() ? "none" : fmt::format("'{}'", fmt::join(child_names(), "', '")));
  module->name_ = name;
  module->parent_ = this;
  module->train(training_);
  module->set_precision(precision_);
  at->swap(module);
  root().name_leaves("");
}

std::vector<std::string> Module::child_names() const {
  std::vector<std::string> names;
  for (const auto& child : children_) names.push_back(child->name_);
  return names;
}

Module& Module::root() {
  Module* top = this;
  while (top->parent_ != nullptr) top = top->parent_;
  return *top;
}

void Module::check_name(const std::string& name) const {
  require<ValueError>(!name.empty() && name.find_first_of("./") == std::string::npos,
                      "{}: the name '{}' is empty or holds '.' or '/'", who("Module"), name);
  const bool taken =
      std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.name == name; }) ||
      std::any_of(children_.begin(), children_.end(), [&](const auto& child) { return child->name_ == name; });
  require<ValueError>(!taken, "{}: the name '{}' is used twice", who("Module"), name);
}

void Module::collect(const std::string& prefix, bool with_buffers,
                     std::vector<std::pair<std::string, Variable>>& out) const {
  for (const Entry& entry : entries_) {
    if (entry.kind == Kind::kParameter || (with_buffers && entry.kind == Kind::kBuffer)) {
      out.emplace_back(joined(prefix, entry.name), entry.variable);
    }
  }
  for (const auto& child : children_) child->collect(joined(prefix, child->name_), with_buffers, out);
}

bool Module::name_leaf(const Entry& entry, const std::string& prefix) {
  if (entry.kind == Kind::kConstant || !entry.variable.is_leaf()) return false;
  entry.variable.leaf()->name = joined(prefix, entry.name);
  return entry.variable.leaf()->modules > 1;
}

bool Module::name_leaves(const std::string& prefix) {
  bool shared = false;
  // Backward, so that a shared parameter ends with the first of its names.
  for (auto child = children_.rbegin(); child != children_.rend(); ++child) {
    shared |= (*child)->name_leaves(joined(prefix, (*child)->name_));
  }
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) shared |= name_leaf(*entry, prefix);
  return shared;
}

}  // namespace attune
