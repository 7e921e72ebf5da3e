#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "layers/module.h"

namespace attune {

/// A module in a summary.
struct SummaryRow {
  std::string name;               ///< within its parent; empty for the module that is summed up
  std::string type;               ///< "Linear"
  int depth = 0;                  ///< 0 for the module that is summed up
  std::optional<Shape> output{};  ///< of its last result in the forward pass
  int64_t parameters = 0;         ///< elements of its own and of all below it, shared ones once
  int64_t multiply_adds = 0;      ///< of products with parameters of its own and of all below it
};

struct ModuleSummary {
  std::vector<SummaryRow> rows;  ///< parents first
  int64_t parameters = 0;
  int64_t trainable = 0;
  int64_t parameter_bytes = 0;   ///< of parameters and buffers
  int64_t multiply_adds = 0;     ///< of all products of the forward pass, those of attention too
  int64_t activation_bytes = 0;  ///< of all results of ops in the forward pass

  /// A table, a line for each module and one for each total.
  std::string to_string() const;
};

/// What a module is made of, and what one forward pass takes: of that nothing where `forward` is empty. It runs in
/// evaluation and under NoGrad. Products are matrix products, convolutions, attention and recurrent layers. Outputs are
/// known of layers of the library and of modules that return result().
ModuleSummary summary(Module& module, const std::function<void()>& forward = {});

/// Zeros for a module: of the dtype and on the device of its first floating parameter.
Variable summary_input(Module& module, const Shape& shape);

/// The same for module(zeros) of a shape: summary(net, Shape{1, 784}).
template <class M>
  requires std::derived_from<M, Module> && requires(M& module, const Variable& x) { module(x); }
ModuleSummary summary(M& module, const Shape& input) {
  return summary(module, [&] { module(summary_input(module, input)); });
}

}  // namespace attune
