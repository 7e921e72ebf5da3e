#pragma once

#include <concepts>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "layers/module.h"

namespace attune {

/// A module that makes one Variable of another.
template <class T>
concept UnaryModule = std::derived_from<T, Module> && requires(T& module, const Variable& x) {
  { module(x) } -> std::same_as<Variable>;
};

/// Modules one after the other, under the names "0", "1", ...:
///
///     Sequential net;
///     net.add<Linear>(784, 128);
///     net.add<Relu>();
///     net.add<Linear>(128, 10);
///     const Variable logits = net(x);
///
/// Without any it returns what it is given. What stands in it needs no common call operator: how each is called is kept
/// beside it.
class Sequential : public Module {
 public:
  Sequential() = default;
  /// Sequential net(std::make_unique<Linear>(784, 128), std::make_unique<Relu>());
  template <UnaryModule... Ts>
    requires(sizeof...(Ts) > 0)
  explicit Sequential(std::unique_ptr<Ts>... modules) { (append(std::move(modules)), ...); }

  /// Puts T(args ...) at the end.
  template <UnaryModule T, class... Args>
  T& add(Args&&... args) {
    return append(std::make_unique<T>(std::forward<Args>(args)...));
  }
  /// The same for one made elsewhere. Throws ValueError for nullptr.
  template <UnaryModule T>
  T& append(std::unique_ptr<T> module) {
    T& added = own(std::to_string(steps_.size()), std::move(module));
    steps_.push_back(step_of(added));
    return added;
  }
  /// Puts T(args ...) where the module `index` is, which is destroyed. Throws ValueError for an index outside.
  template <UnaryModule T, class... Args>
  T& replace(int64_t index, Args&&... args) {
    Step& step = at(index);
    T& added = replace_child<T>(std::to_string(index), std::forward<Args>(args)...);
    step = step_of(added);
    return added;
  }

  Variable operator()(const Variable& x) const;

  int64_t size() const { return std::ssize(steps_); }
  /// Throws ValueError for an index outside.
  Module& operator[](int64_t index) { return *at(index).module; }

 private:
  struct Step {
    Module* module;
    Variable (*call)(Module& module, const Variable& x);
  };

  template <class T>
  static Step step_of(T& module) {
    return {&module, [](Module& itself, const Variable& x) { return static_cast<T&>(itself)(x); }};
  }
  Step& at(int64_t index);

  std::vector<Step> steps_;
};

}  // namespace attune
