#include <fmt/format.h>

#include "examples/gradcheck/core_rows.h"
#include "layers/attention/multi_head.h"
#include "layers/attention/scaled_dot_product.h"

namespace attune::examples {
namespace {

using Inputs = std::span<const Variable>;

struct DotProduct {
  ScaledDotProductOptions options;
  std::string code;
};

/// Score functions of one's own: with a derivative by dual numbers, and with one that is given.
ScoreFunction score_of(const std::string& name) {
  if (name == "dual") {
    return ScoreFunction([](auto score, const ScoreAt& at) { return 0.3 * score * score - 0.1 * (at.head + at.key); });
  }
  if (name == "given") {
    return ScoreFunction([](auto score, const ScoreAt& at) { return score * (1 + 0.1 * at.key); },
                         [](auto, const ScoreAt& at) { return 1 + 0.1 * at.key; });
  }
  return {};
}
std::string score_code(const std::string& name) {
  if (name == "dual") {
    return "ScoreFunction([](auto score, const ScoreAt& at) { return 0.3 * score * score - 0.1 * (at.head + at.key); "
           "})";
  }
  if (name == "given") {
    return "ScoreFunction([](auto score, const ScoreAt& at) { return score * (1 + 0.1 * at.key); },\n"
           "      [](auto, const ScoreAt& at) { return 1 + 0.1 * at.key; })";
  }
  return "ScoreFunction()";
}

DotProduct dot_product(const Options& o) {
  const bool fused = o.text("path") == "fused";
  const ScaledDotProductOptions options{.scale = o.number("scale"),
                                        .softcap = o.number("softcap"),
                                        .score = score_of(o.text("score")),
                                        .dropout = o.number("dropout"),
                                        .path = fused ? AttentionPath::kFused : AttentionPath::kComposed};
  return {options, fmt::format("{{.scale = {}, .softcap = {}, .score = {}, .dropout = {}, .path = AttentionPath::{}}}",
                               options.scale, options.softcap, score_code(o.text("score")), options.dropout,
                               fused ? "kFused" : "kComposed")};
}

MadeCore make_dot_product(const Options& o, const Draw&) {
  const DotProduct made = dot_product(o);
  return {std::make_unique<ScaledDotProduct>(made.options), fmt::format("ScaledDotProduct layer({});", made.code)};
}

/// q, k and v (or k and v) side by side in one input.
Case make_packed(const Options& o, const Draw& d, bool with_queries) {
  const DotProduct dot = dot_product(o);
  const bool weights = o.flag("weights");
  const int64_t keys = with_queries ? d["T"] : d["S"];
  const MaskPlan plan(d.mask, {d["B"], d["H"], d["T"], keys}, d.seed);
  auto layer = std::make_unique<ScaledDotProduct>(dot.options);
  Case made;
  made.declaration = fmt::format("ScaledDotProduct layer({});", dot.code);
  if (with_queries) {
    made.call = [&module = *layer, plan, weights](Inputs in) {
      return results(module.packed(in[0], mask_of(plan, in), weights));
    };
    made.inputs.push_back({"qkv", "B T part H K", {d["B"], d["T"], 3, d["H"], d["K"]}});
    made.body = results_code(fmt::format("layer.packed(qkv, {}, {})", plan.code(), weights), weights);
  } else {
    made.call = [&module = *layer, plan, weights](Inputs in) {
      return results(module.packed_kv(in[0], in[1], mask_of(plan, in), weights));
    };
    made.inputs = {{"q", "B T H K", {d["B"], d["T"], d["H"], d["K"]}},
                   {"kv", "B S part H K", {d["B"], d["S"], 2, d["H"], d["K"]}}};
    made.body = results_code(fmt::format("layer.packed_kv(q, kv, {}, {})", plan.code(), weights), weights);
  }
  made.module = std::move(layer);
  add_mask(made, plan);
  const Sight sight(plan.allowed());
  const auto key_is_unseen = [&](auto i) {
    for (int64_t t = 0; t < sight.queries(); ++t) {
      if (sight.sees(i[0], i[3], t, i[1])) return false;
    }
    return true;
  };
  const auto query_is_idle = [&](auto i) {
    for (int64_t s = 0; s < sight.keys(); ++s) {
      if (sight.sees(i[0], i[3], i[1], s)) return false;
    }
    return true;
  };
  const std::string name = with_queries ? "qkv" : "kv";
  made.zeros.push_back({"masked keys, queries without keys",
                        {},
                        {{name, bool_tensor(made.inputs[with_queries ? 0 : 1].shape, [&](auto i) {
                            return with_queries && i[2] == 0 ? query_is_idle(i) : key_is_unseen(i);
                          })}}});
  return made;
}

struct MultiHead {
  std::unique_ptr<MultiHeadAttention> layer;
  std::string declaration;
};

MultiHead make_multi_head(const Options& o, int64_t dim, int64_t heads, int64_t kdim, int64_t vdim) {
  const NamedPositions positions = positions_of(o);
  MultiHeadAttentionOptions options;
  options.kdim = kdim;
  options.vdim = vdim;
  options.bias = o.flag("bias");
  options.add_bias_kv = o.flag("add_bias_kv");
  options.add_zero_attn = o.flag("add_zero_attn");
  options.dropout = o.number("dropout");
  options.key_heads = o.whole("key_heads");
  options.positions = positions.options;
  return {std::make_unique<MultiHeadAttention>(dim, heads, options),
          fmt::format("MultiHeadAttention layer({}, {}, {{.kdim = {}, .vdim = {}, .bias = {}, .add_bias_kv = {}, "
                      ".add_zero_attn = {}, .dropout = {}, .key_heads = {}, .positions = {}}});",
                      dim, heads, kdim, vdim, options.bias, options.add_bias_kv, options.add_zero_attn, options.dropout,
                      options.key_heads, positions.code)};
}

struct WantedWeights {
  Weights kind;
  std::string code;
};
WantedWeights wanted_weights(const Options& o) {
  if (o.text("weights") == "none") return {Weights::kNone, "Weights::kNone"};
  if (o.text("weights") == "per_head") return {Weights::kPerHead, "Weights::kPerHead"};
  return {Weights::kAveraged, "Weights::kAveraged"};
}

enum class Sources { kSelf, kMemory, kSeparate };

Case make_multi_head_case(const Options& o, const Draw& d, Sources sources) {
  const int64_t dim = d["H"] * head_size(o, d["K"]);
  const bool separate = sources == Sources::kSeparate;
  const int64_t kdim = separate ? d["E"] : dim;
  const int64_t vdim = separate ? d["F"] : dim;
  const int64_t keys = sources == Sources::kSelf ? d["T"] : d["S"];
  MultiHead made_layer = make_multi_head(o, dim, d["H"], separate ? kdim : 0, separate ? vdim : 0);
  const WantedWeights weights = wanted_weights(o);
  const MaskPlan plan(d.mask, {d["B"], d["H"], d["T"], keys}, d.seed);
  Case made;
  made.declaration = made_layer.declaration;
  const MultiHeadAttention& layer = *made_layer.layer;
  made.module = std::move(made_layer.layer);
  std::string arguments;
  if (sources == Sources::kSelf) {
    made.call = [&layer, plan, weights](Inputs in) { return results(layer(in[0], mask_of(plan, in), weights.kind)); };
    made.inputs = {{"x", "B T D", {d["B"], d["T"], dim}}};
    arguments = "x";
  } else if (sources == Sources::kMemory) {
    made.call = [&layer, plan, weights](Inputs in) {
      return results(layer(in[0], in[1], mask_of(plan, in), weights.kind));
    };
    made.inputs = {{"query", "B T D", {d["B"], d["T"], dim}}, {"memory", "B S D", {d["B"], keys, dim}}};
    arguments = "query, memory";
  } else {
    made.call = [&layer, plan, weights](Inputs in) {
      return results(layer(in[0], in[1], in[2], mask_of(plan, in), weights.kind));
    };
    made.inputs = {{"query", "B T D", {d["B"], d["T"], dim}},
                   {"key", "B S E", {d["B"], keys, kdim}},
                   {"value", "B S F", {d["B"], keys, vdim}}};
    arguments = "query, key, value";
  }
  const size_t own_inputs = made.inputs.size();
  add_mask(made, plan);
  made.body = results_code(fmt::format("layer({}, {}, {})", arguments, plan.code(), weights.code),
                           weights.kind != Weights::kNone);
  const int64_t extra = (o.flag("add_bias_kv") ? 1 : 0) + (o.flag("add_zero_attn") ? 1 : 0);
  const Shape per_head{d["B"], d["H"], d["T"], keys + extra};
  const Shape averaged{d["B"], d["T"], keys + extra};
  const Sight sight(plan.allowed());
  const int64_t row = one_row(d, d["T"]);
  const bool self = sources == Sources::kSelf;
  for (size_t i = self ? 0 : 1; i < own_inputs; ++i) {
    GradcheckZeros rule = unseen_positions("what another query sees", sight, {d["B"], d["T"], dim}, made.inputs[i].name,
                                           made.inputs[i].shape, row, self);
    if (weights.kind != Weights::kNone) {
      rule.outputs.push_back(
          bool_tensor(weights.kind == Weights::kPerHead ? per_head : averaged, [](auto) { return false; }));
    }
    made.zeros.push_back(std::move(rule));
  }
  return made;
}

}  // namespace

void add_attention_rows(std::vector<LayerRow>& rows) {
  const std::vector<OptionRow> dot = {
      {"path", std::string("fused"), {std::string("fused"), std::string("composed")}},
      {"scale", 0.0, {0.0, 0.7}},
      {"softcap", 0.0, {0.0, 2.0}},
      {"score", std::string("none"), {std::string("none"), std::string("dual"), std::string("given")}},
      dropout_option()};
  rows.push_back(core_row({.name = "ScaledDotProduct",
                           .what = "softmax(scale q k^T + bias) v, also with grouped keys",
                           .options = dot,
                           .make = make_dot_product}));
  std::vector<OptionRow> packed = dot;
  packed.push_back(flag_option("weights", false));
  rows.push_back({"ScaledDotProduct.packed",
                  "the same with q, k and v side by side in one tensor",
                  packed,
                  {{"B", 1, 3}, {"T", 1, 4}, {"H", 1, 3}, {"K", 1, 4}},
                  all_mask_parts(),
                  [](const Options& o, const Draw& d) { return make_packed(o, d, true); }});
  rows.push_back({"ScaledDotProduct.packed_kv",
                  "the same with k and v side by side",
                  packed,
                  {{"B", 1, 3}, {"T", 1, 4}, {"S", 1, 5}, {"H", 1, 3}, {"K", 1, 4}},
                  all_mask_parts(),
                  [](const Options& o, const Draw& d) { return make_packed(o, d, false); }});

  const std::vector<OptionRow> multi_head = {
      flag_option("bias", true),
      flag_option("add_bias_kv", false),
      flag_option("add_zero_attn", false),
      dropout_option(),
      key_heads_option(),
      positions_option(),
      {"weights", std::string("none"), {std::string("none"), std::string("per_head"), std::string("averaged")}}};
  rows.push_back({"MultiHeadAttention",
                  "multi-head self-attention",
                  multi_head,
                  {{"B", 1, 2}, {"T", 1, 4}, {"H", 1, 3}, {"K", 1, 2}},
                  all_mask_parts(),
                  [](const Options& o, const Draw& d) { return make_multi_head_case(o, d, Sources::kSelf); }});
  rows.push_back({"MultiHeadAttention.memory",
                  "multi-head cross-attention to one memory",
                  multi_head,
                  {{"B", 1, 2}, {"T", 1, 3}, {"S", 1, 4}, {"H", 1, 3}, {"K", 1, 2}},
                  all_mask_parts(),
                  [](const Options& o, const Draw& d) { return make_multi_head_case(o, d, Sources::kMemory); }});
  rows.push_back({"MultiHeadAttention.separate",
                  "multi-head cross-attention, keys and values of their own widths",
                  multi_head,
                  {{"B", 1, 2}, {"T", 1, 3}, {"S", 1, 4}, {"H", 1, 2}, {"K", 1, 2}, {"E", 1, 4}, {"F", 1, 4}},
                  all_mask_parts(),
                  [](const Options& o, const Draw& d) { return make_multi_head_case(o, d, Sources::kSeparate); }});
}

}  // namespace attune::examples
