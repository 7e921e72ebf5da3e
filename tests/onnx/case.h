#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "attune.h"

namespace attune::onnx {

/// One ONNX backend node test, as export.py writes it. Tensors of float16 are float32 here, all integers int64.
struct Case {
  std::string name;
  std::string op;
  nlohmann::json attributes;
  std::vector<Tensor> inputs;   ///< in the order of the node's; undefined where absent
  std::vector<Tensor> outputs;  ///< what ONNX expects
  bool float16 = false;         ///< whether a tensor of it was
  bool integers = false;        ///< whether no tensor of it is floating

  /// Undefined where it is absent.
  Tensor in(size_t index) const { return index < inputs.size() ? inputs[index] : Tensor(); }
  /// The same as what ops with a derivative take.
  Variable var(size_t index) const { return in(index).defined() ? Variable(in(index)) : Variable(); }
  bool wants(size_t output) const { return output < outputs.size() && outputs[output].defined(); }

  bool has(const char* attribute) const { return attributes.contains(attribute); }
  double number(const char* attribute, double absent) const { return attributes.value(attribute, absent); }
  int64_t integer(const char* attribute, int64_t absent) const { return attributes.value(attribute, absent); }
  std::string text(const char* attribute, const std::string& absent) const {
    return attributes.value(attribute, absent);
  }
  std::vector<int64_t> integers_of(const char* attribute, std::vector<int64_t> absent) const {
    return attributes.value(attribute, std::move(absent));
  }
};

/// The cases in `folder`. Throws what nlohmann::json and Tensor do, and std::runtime_error for a missing file.
std::vector<Case> read_cases(const std::filesystem::path& folder);

/// What Attune gives for a case: the outputs in the order of the node's, once for each way there is. All must agree.
using Ways = std::vector<std::vector<Tensor>>;

/// Thrown where ops and layers of Attune do not give what a case wants: no loop over steps or windows is written here.
struct NotExpressible {
  std::string reason;
};

/// The function of every operator.
using Operators = std::map<std::string, Ways (*)(const Case&)>;

void add_elementwise(Operators& operators);
void add_reductions(Operators& operators);
void add_arrangements(Operators& operators);
void add_indexing(Operators& operators);
void add_layers(Operators& operators);
void add_pooling(Operators& operators);
void add_attention(Operators& operators);
void add_recurrent(Operators& operators);
void add_training(Operators& operators);

inline std::vector<int> to_axes(const Tensor& axes) { return axes.to_vector<int>(); }
inline Shape to_shape(const Tensor& extents) { return Shape(std::span<const int64_t>(extents.to_vector<int64_t>())); }
/// The axis that stands second in ONNX's pictures and classes, behind all others, and back.
Variable channels_last(const Variable& x);
Variable channels_second(const Variable& x);

}  // namespace attune::onnx
