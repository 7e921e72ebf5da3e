#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "autograd/ops/ops.h"

namespace attune {

/// A function of every element.
using ActivationFunction = std::function<Variable(const Variable&)>;

/// Adds an activation to those that are found by name. To be called before models are made, by one thread:
///
///     register_activation("cube", [](const Variable& x) { return x * x * x; });
///
/// Throws ValueError for a name that is there already or is empty, and without a function.
void register_activation(std::string name, ActivationFunction f);

/// "none", "relu", "gelu", "gelu-tanh", "silu", "tanh", "sigmoid", "elu", "softplus", then others in the order of their
/// registration.
std::vector<std::string> activation_names();

/// An activation as an option of a layer: one that products apply while their result is in cache, or any by name.
///
///     FeedForwardOptions{.activation = Activation::kGelu}
///     FeedForwardOptions{.activation = "softplus"}
class AnyActivation {
 public:
  AnyActivation(Activation fused) : fused_(fused) {}  // NOLINT(google-explicit-constructor): an option takes either
  /// Throws ValueError listing activation_names() for any other.
  AnyActivation(std::string_view name);    // NOLINT(google-explicit-constructor): an option takes either
  AnyActivation(const char* name);         // NOLINT(google-explicit-constructor): an option takes either
  AnyActivation(const std::string& name);  // NOLINT(google-explicit-constructor): an option takes either

  /// Whether a product can apply all of it.
  bool is_fused() const { return rest_ == nullptr; }
  /// What a product is to apply; kNone where it is not fused.
  Activation fused() const { return fused_; }
  /// What is left behind a product that has applied fused().
  Variable apply(const Variable& x) const { return rest_ ? rest_(x) : x; }

 private:
  Activation fused_ = Activation::kNone;
  ActivationFunction rest_;
};

}  // namespace attune
