#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "framework/tensor.h"

namespace attune::golden {

/// Tensors by name, in the order of the file.
using Tensors = std::vector<std::pair<std::string, Tensor>>;

/// nullptr when there is none.
const Tensor* find(const Tensors& tensors, const std::string& name);

/// What PyTorch computed once: a layer with its options, what went in and what came out. Floating tensors are float64,
/// integers int64, single bytes bool.
struct Case {
  std::string name;
  std::string layer;      ///< PyTorch's class or function
  nlohmann::json config;  ///< its arguments, an object
  Tensors inputs;
  Tensors params;
  Tensors outputs;
  Tensors grad_outputs;  ///< what was given to backward for each output
  Tensors grad_inputs;
  Tensors grad_params;
};

/// All cases of a file of the format "attune-golden-1". Throws IoError when it cannot be read and FormatError when it
/// holds something else, naming the file and the case.
std::vector<Case> read_cases(const std::filesystem::path& path);

}  // namespace attune::golden
