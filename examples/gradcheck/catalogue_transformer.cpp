#include <fmt/format.h>

#include "examples/gradcheck/rows.h"
#include "layers/transformer/transformer.h"

namespace attune::examples {
namespace {

using Inputs = std::span<const Variable>;

/// What every layer and stack here is made of.
struct Common {
  BlockOptions options;
  std::string code;  // "{.dim = 6, ...}"
};

Common common(const Options& o, const Draw& d) {
  const NamedPositions positions = positions_of(o);
  Common c;
  c.options.dim = d["H"] * head_size(o, d["K"]);
  c.options.heads = d["H"];
  c.options.ffn_dim = d["F"];
  c.options.dropout = o.number("dropout");
  c.options.activation = activation(o);
  c.options.norm_first = o.flag("norm_first");
  c.options.bias = o.flag("bias");
  c.options.key_heads = o.whole("key_heads");
  c.options.positions = positions.options;
  const bool gated = o.flag("gated"), rms = o.flag("rms_norm");
  c.options.feed_forward = gated ? FeedForwardKind::kGated : FeedForwardKind::kPlain;
  c.options.norm = rms ? NormKind::kRms : NormKind::kLayer;
  c.code = fmt::format(
      "{{.dim = {}, .heads = {}, .ffn_dim = {}, .dropout = {}, .activation = {}, .norm_first = {}, .bias = {}, "
      ".key_heads = {}, .positions = {},\n    .feed_forward = FeedForwardKind::{}, .norm = NormKind::{}}}",
      c.options.dim, c.options.heads, c.options.ffn_dim, c.options.dropout, activation_code(o), c.options.norm_first,
      c.options.bias, c.options.key_heads, positions.code, gated ? "kGated" : "kPlain", rms ? "kRms" : "kLayer");
  return c;
}

/// The options of a stack, and its C++ declaration.
template <class StackOptions>
struct Stack {
  StackOptions options;
  std::string declaration;
};

template <class StackOptions>
Stack<StackOptions> stack_of(const char* name, const Options& o, const Common& c) {
  StackOptions options;
  options.blocks = o.whole("blocks");
  options.block = c.options;
  options.final_norm = o.flag("final_norm");
  return {options, fmt::format("{0}Options options;\n  options.blocks = {2};\n  options.block = {1};\n"
                               "  options.final_norm = {3};\n  {0} layer(options);",
                               name, c.code, options.blocks, options.final_norm)};
}

MaskPlan self_mask(const Draw& d) { return MaskPlan(d.mask, {d["B"], d["H"], d["T"], d["T"]}, d.seed); }

/// Of padding, where the draw has it: targets to T, memories and sources to S.
MaskPlan padding_of(const Draw& d, int64_t queries, int64_t keys) {
  std::vector<MaskPart> parts;
  for (const MaskPart part : d.mask) {
    if (part == MaskPart::kPadding) parts.push_back(part);
  }
  return MaskPlan(parts, {d["B"], d["H"], queries, keys}, d.seed + 1);
}

/// The constants of a second mask, under other names.
void add_memory_mask(Case& made, const MaskPlan& plan) {
  for (auto& [name, tensor] : plan.constants()) made.constants.emplace_back("memory_" + name, tensor);
}
std::string memory_mask_code(const MaskPlan& plan) {
  return plan.empty() ? "AttentionMask()" : "AttentionMask::padding(memory_mask_lengths)";
}

template <class Layer>
Case encoder_case(std::unique_ptr<Layer> layer, std::string declaration, const Common& c, const Draw& d,
                  int64_t blocks) {
  const Shape shape{d["B"], d["T"], c.options.dim};
  const MaskPlan plan = self_mask(d);
  Case made;
  made.call = [&module = *layer, plan](Inputs in) { return std::vector<Variable>{module(in[0], mask_of(plan, in))}; };
  made.module = std::move(layer);
  made.inputs.push_back({"x", "B T D", shape});
  add_mask(made, plan);
  made.declaration = std::move(declaration);
  made.body = returns(fmt::format("layer(x, {})", plan.code()));
  made.zeros.push_back(unseen_positions("future tokens and masked ones", Sight(plan.allowed()).through(blocks), shape,
                                        "x", shape, one_row(d, d["T"]), true));
  return made;
}

Case make_encoder_layer(const Options& o, const Draw& d) {
  const Common c = common(o, d);
  return encoder_case(std::make_unique<TransformerEncoderLayer>(c.options),
                      fmt::format("TransformerEncoderLayer layer({});", c.code), c, d, 1);
}

Case make_encoder(const Options& o, const Draw& d) {
  const Common c = common(o, d);
  const auto stack = stack_of<TransformerEncoderOptions>("TransformerEncoder", o, c);
  return encoder_case(std::make_unique<TransformerEncoder>(stack.options), stack.declaration, c, d,
                      stack.options.blocks);
}

template <class Layer>
Case decoder_case(std::unique_ptr<Layer> layer, std::string declaration, const Common& c, const Draw& d,
                  int64_t memory_dim, int64_t blocks) {
  const Shape shape{d["B"], d["T"], c.options.dim};
  const Shape memory{d["B"], d["S"], memory_dim};
  const MaskPlan plan = self_mask(d);
  const MaskPlan memory_plan = padding_of(d, d["T"], d["S"]);
  Case made;
  made.call = [&module = *layer, plan, memory_plan](Inputs in) {
    return std::vector<Variable>{module(in[0], in[1], mask_of(plan, in), memory_plan.mask())};
  };
  made.module = std::move(layer);
  made.inputs = {{"x", "B T D", shape}, {"memory", "B S D", memory}};
  add_mask(made, plan);
  add_memory_mask(made, memory_plan);
  made.declaration = std::move(declaration);
  made.body = returns(fmt::format("layer(x, memory, {}, {})", plan.code(), memory_mask_code(memory_plan)));
  const Sight self = Sight(plan.allowed()).through(blocks);
  const int64_t row = one_row(d, d["T"]);
  made.zeros.push_back(unseen_positions("future tokens and masked ones", self, shape, "x", shape, row, true));
  made.zeros.push_back(
      unseen_positions("padded memory", self.then(Sight(memory_plan.allowed())), shape, "memory", memory, row, false));
  return made;
}

Case make_decoder_layer(const Options& o, const Draw& d) {
  const Common c = common(o, d);
  MemoryOptions memory;
  memory.dim = o.flag("other_memory_dim") ? d["E"] : 0;
  return decoder_case(std::make_unique<TransformerDecoderLayer>(c.options, memory),
                      fmt::format("TransformerDecoderLayer layer({}, {{.dim = {}}});", c.code, memory.dim), c, d,
                      memory.dim == 0 ? c.options.dim : memory.dim, 1);
}

Case make_decoder(const Options& o, const Draw& d) {
  const Common c = common(o, d);
  const auto stack = stack_of<TransformerDecoderOptions>("TransformerDecoder", o, c);
  return decoder_case(std::make_unique<TransformerDecoder>(stack.options), stack.declaration, c, d, c.options.dim,
                      stack.options.blocks);
}

Case make_transformer(const Options& o, const Draw& d) {
  const Common c = common(o, d);
  TransformerOptions options;
  options.block = c.options;
  options.encoder_blocks = options.decoder_blocks = o.whole("blocks");
  options.final_norm = o.flag("final_norm");
  auto layer = std::make_unique<Transformer>(options);
  const Shape source{d["B"], d["S"], c.options.dim};
  const Shape target{d["B"], d["T"], c.options.dim};
  const MaskPlan plan = self_mask(d);
  const MaskPlan memory_plan = padding_of(d, d["T"], d["S"]);
  Case made;
  made.call = [&module = *layer, plan, memory_plan](Inputs in) {
    return std::vector<Variable>{module(in[0], in[1], {memory_plan.mask(), mask_of(plan, in), memory_plan.mask()})};
  };
  made.module = std::move(layer);
  made.inputs = {{"source", "B S D", source}, {"target", "B T D", target}};
  add_mask(made, plan);
  add_memory_mask(made, memory_plan);
  made.declaration = fmt::format(
      "TransformerOptions options;\n  options.block = {};\n"
      "  options.encoder_blocks = options.decoder_blocks = {};\n"
      "  options.final_norm = {};\n  Transformer layer(options);",
      c.code, options.encoder_blocks, options.final_norm);
  made.body =
      returns(fmt::format("layer(source, target, {{{0}, {1}, {0}}})", memory_mask_code(memory_plan), plan.code()));
  const Sight self = Sight(plan.allowed()).through(options.decoder_blocks);
  const Sight sources = Sight(padding_of(d, d["S"], d["S"]).allowed()).through(options.encoder_blocks);
  const int64_t row = one_row(d, d["T"]);
  made.zeros.push_back(unseen_positions("future tokens and masked ones", self, target, "target", target, row, true));
  made.zeros.push_back(unseen_positions("padded sources", self.then(Sight(memory_plan.allowed())).then(sources), target,
                                        "source", source, row, false));
  return made;
}

}  // namespace

void add_transformer_rows(std::vector<LayerRow>& rows) {
  // Norms over few numbers are nearly constant: nothing to check, and rounding is enlarged.
  const std::vector<ExtentRow> extents = {{"B", 1, 2}, {"T", 1, 4}, {"H", 1, 2}, {"K", 4, 6}, {"F", 1, 5}};
  std::vector<ExtentRow> with_memory = extents;
  with_memory.push_back({"S", 1, 4});
  std::vector<ExtentRow> with_wide_memory = with_memory;
  with_wide_memory.push_back({"E", 1, 5});
  std::vector<OptionRow> layer = {
      activation_option("relu"), dropout_option(),   flag_option("norm_first", false), flag_option("bias", true),
      key_heads_option(),        positions_option(), flag_option("gated", false),      flag_option("rms_norm", false)};
  std::vector<OptionRow> decoder_layer = layer;
  decoder_layer.push_back(flag_option("other_memory_dim", false));
  std::vector<OptionRow> stack = layer;
  stack.push_back({"blocks", int64_t{2}, {int64_t{1}, int64_t{2}}});
  stack.push_back(flag_option("final_norm", false));
  rows.push_back({"TransformerEncoderLayer", "self-attention and a feed-forward network with residuals", layer, extents,
                  all_mask_parts(), make_encoder_layer});
  rows.push_back({"TransformerEncoder", "a stack of encoder layers", stack, extents, all_mask_parts(), make_encoder});
  rows.push_back({"TransformerDecoderLayer", "self-attention, attention to a memory and a feed-forward network",
                  decoder_layer, with_wide_memory, all_mask_parts(), make_decoder_layer});
  rows.push_back(
      {"TransformerDecoder", "a stack of decoder layers", stack, with_memory, all_mask_parts(), make_decoder});
  rows.push_back(
      {"Transformer", "encoder and decoder, padded sources", stack, with_memory, all_mask_parts(), make_transformer});
}

}  // namespace attune::examples
