#include "layers/activation_registry.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "framework/fail.h"

namespace attune {
namespace {

struct NamedActivation {
  std::string name;
  Activation fused = Activation::kNone;
  ActivationFunction rest{};
};

std::deque<NamedActivation>& activations() {
  static std::deque<NamedActivation> all = {
      {"none", Activation::kNone},
      {"relu", Activation::kRelu},
      {"gelu", Activation::kGelu},
      {"gelu-tanh", Activation::kGeluTanh},
      {"silu", Activation::kSilu},
      {"tanh", Activation::kTanh},
      {"sigmoid", Activation::kSigmoid},
      {"elu", Activation::kNone, [](const Variable& x) { return elu(x); }},
      {"softplus", Activation::kNone, [](const Variable& x) { return softplus(x); }},
  };
  return all;
}

const NamedActivation* find_activation(std::string_view name) {
  const auto& all = activations();
  const auto found = std::find_if(all.begin(), all.end(), [&](const NamedActivation& a) { return a.name == name; });
  return found == all.end() ? nullptr : &*found;
}

}  // namespace

void register_activation(std::string name, ActivationFunction f) {
  require<ValueError>(!name.empty() && f != nullptr,
                      "register_activation: '{}' {} a function given, expected a name and a function", name,
                      f == nullptr ? "without" : "with");
  require<ValueError>(find_activation(name) == nullptr,
                      "register_activation: '{}' is registered already; choose another name", name);
  activations().push_back({std::move(name), Activation::kNone, std::move(f)});
}

std::vector<std::string> activation_names() {
  std::vector<std::string> names;
  for (const NamedActivation& activation : activations()) names.push_back(activation.name);
  return names;
}

AnyActivation::AnyActivation(std::string_view name) {
  const NamedActivation* found = find_activation(name);
  require<ValueError>(found != nullptr, "activation: there is no '{}', expected one of {}", name,
                      fmt::join(activation_names(), ", "));
  fused_ = found->fused;
  rest_ = found->rest;
}

AnyActivation::AnyActivation(const char* name) : AnyActivation(std::string_view(name)) {}

AnyActivation::AnyActivation(const std::string& name) : AnyActivation(std::string_view(name)) {}

}  // namespace attune
