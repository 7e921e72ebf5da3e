#include "examples/gradcheck/rows.h"

#include <fmt/format.h>

namespace attune::examples {
namespace {

struct NamedActivation {
  const char* name;
  const char* code;
  Activation activation;
};
constexpr NamedActivation kActivations[] = {
    {"none", "Activation::kNone", Activation::kNone},
    {"relu", "Activation::kRelu", Activation::kRelu},
    {"gelu", "Activation::kGelu", Activation::kGelu},
    {"gelu_tanh", "Activation::kGeluTanh", Activation::kGeluTanh},
    {"silu", "Activation::kSilu", Activation::kSilu},
    {"tanh", "Activation::kTanh", Activation::kTanh},
    {"sigmoid", "Activation::kSigmoid", Activation::kSigmoid},
};

const NamedActivation& named(const Options& options) {
  for (const NamedActivation& candidate : kActivations) {
    if (options.text("activation") == candidate.name) return candidate;
  }
  return kActivations[0];
}

}  // namespace

OptionRow flag_option(std::string name, bool initial) { return {std::move(name), initial, {false, true}}; }

OptionRow activation_option(const std::string& initial) {
  OptionRow row{"activation", initial, {}};
  for (const NamedActivation& candidate : kActivations) row.choices.emplace_back(std::string(candidate.name));
  return row;
}

OptionRow dropout_option() { return {"dropout", 0.0, {0.0, 0.3}}; }

Activation activation(const Options& options) { return named(options).activation; }
std::string activation_code(const Options& options) { return named(options).code; }

OptionRow key_heads_option() { return {"key_heads", int64_t{0}, {int64_t{0}, int64_t{1}}}; }

OptionRow positions_option() {
  return {"positions",
          std::string("none"),
          {std::string("none"), std::string("rotary"), std::string("alibi"), std::string("buckets")}};
}

NamedPositions positions_of(const Options& options) {
  const std::string& name = options.text("positions");
  if (name == "rotary") return {RotaryOptions{}, "RotaryOptions{}"};
  if (name == "alibi") return {AlibiOptions{}, "AlibiOptions{}"};
  if (name == "buckets") {
    return {RelativeBucketsOptions{.buckets = 8, .max_distance = 16},
            "RelativeBucketsOptions{.buckets = 8, .max_distance = 16}"};
  }
  return {std::monostate(), "std::monostate()"};
}

int64_t head_size(const Options& options, int64_t extent) {
  return options.text("positions") == "rotary" ? (extent + 1) / 2 * 2 : extent;
}

Tensor random_ids(const Shape& shape, int64_t bound, uint64_t seed) {
  RandomStream random(seed);
  Tensor ids = Tensor::empty(shape, DType::kInt64);
  for (int64_t i = 0; i < ids.numel(); ++i) {
    ids.data<int64_t>()[i] = static_cast<int64_t>(random.below(static_cast<uint64_t>(bound)));
  }
  return ids;
}

Tensor random_lengths(int64_t batch, int64_t longest, uint64_t seed) { return random_ids({batch}, longest + 1, seed); }

std::vector<Variable> results(const AttentionResult& result) {
  if (result.weights.defined()) return {result.output, result.weights};
  return {result.output};
}

std::string returns(const std::string& outputs) { return fmt::format("return {{{}}};", outputs); }

std::string results_code(const std::string& call, bool weights) {
  if (!weights) return returns(call + ".output");
  return fmt::format("const AttentionResult result = {};\n    return {{result.output, result.weights}};", call);
}

int64_t one_row(const Draw& draw, int64_t rows) {
  return static_cast<int64_t>(RandomStream(draw.seed + 3).below(static_cast<uint64_t>(rows)));
}

void add_mask(Case& made, const MaskPlan& plan) {
  for (auto& constant : plan.constants()) made.constants.push_back(constant);
  if (plan.has_bias()) made.inputs.push_back({"bias", "B H T S", plan.bias_shape()});
}

AttentionMask mask_of(const MaskPlan& plan, std::span<const Variable> inputs) {
  return plan.mask(plan.has_bias() ? inputs.back() : Variable(), inputs.front().value());
}

const std::vector<MaskPart>& all_mask_parts() {
  static const std::vector<MaskPart> parts = {
      MaskPart::kCausal, MaskPart::kCausalLast, MaskPart::kPadding, MaskPart::kKeep, MaskPart::kDrop,
      MaskPart::kWindow, MaskPart::kBlocks,     MaskPart::kWhere,   MaskPart::kBias, MaskPart::kInfiniteBias};
  return parts;
}

}  // namespace attune::examples
