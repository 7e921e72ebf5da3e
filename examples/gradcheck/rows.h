#pragma once

// What the files of the catalogue share.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "autograd/ops/attention.h"
#include "autograd/ops/ops.h"
#include "examples/gradcheck/catalogue.h"
#include "examples/gradcheck/zeros.h"
#include "layers/attention/positions.h"

namespace attune::examples {

/// Options {"bias": true} and the like.
OptionRow flag_option(std::string name, bool initial);
/// Texts relu, gelu, ... for every activation.
OptionRow activation_option(const std::string& initial);
OptionRow dropout_option();

Activation activation(const Options& options);
/// "Activation::kRelu"
std::string activation_code(const Options& options);

/// {"key_heads": 0}: 0 or 1, which fit every number of heads.
OptionRow key_heads_option();
/// {"positions": "none"}: rotary, ALiBi or T5's buckets.
OptionRow positions_option();
struct NamedPositions {
  PositionOptions options;
  std::string code;  ///< "RotaryOptions{}"
};
NamedPositions positions_of(const Options& options);
/// The width of a head for an extent: rotary positions need even ones.
int64_t head_size(const Options& options, int64_t extent);

/// Random numbers below `bound`.
Tensor random_ids(const Shape& shape, int64_t bound, uint64_t seed);
/// Random lengths 0 ... longest, [B].
Tensor random_lengths(int64_t batch, int64_t longest, uint64_t seed);

/// Output and weights, where they are asked for, as the outputs of a case.
std::vector<Variable> results(const AttentionResult& result);
/// C++ of a function's end: "return {layer(x)};"
std::string returns(const std::string& outputs);
/// The same for a call that gives an AttentionResult.
std::string results_code(const std::string& call, bool weights);

/// Which row of T the rules about single queries look at.
int64_t one_row(const Draw& draw, int64_t rows);

/// Adds the mask's constants and, where it has one, its bias as the last input.
void add_mask(Case& made, const MaskPlan& plan);
/// The mask for the inputs of a call.
AttentionMask mask_of(const MaskPlan& plan, std::span<const Variable> inputs);

const std::vector<MaskPart>& all_mask_parts();

}  // namespace attune::examples
