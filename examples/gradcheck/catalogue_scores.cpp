#include <fmt/format.h>

#include <algorithm>

#include "examples/gradcheck/core_rows.h"
#include "layers/attention/global.h"
#include "layers/attention/history.h"
#include "layers/attention/image.h"
#include "layers/attention/local.h"
#include "layers/attention/monotonic.h"
#include "layers/attention/registry.h"

namespace attune::examples {
namespace {

using Inputs = std::span<const Variable>;

MadeCore make_registered(const RegisteredAttention& row, const Options& o, const Draw& d) {
  AttentionConfig config = attention_config(row.name);
  const int64_t key = row.traits.equal_widths ? d["K"] : d["E"];
  config.sizes = {.query = d["K"], .key = key, .heads = d["H"], .hidden = d["A"]};
  config.value_size = d["V"];
  config.dropout = o.number("dropout");
  config.window = o.whole("window");
  config.max_keys = row.traits.same_mask ? d["S"] + 1 : o.whole("max_keys");
  config.projected = d["A"];
  std::string code = fmt::format(
      "AttentionConfig config = attention_config(\"{}\");\n"
      "  config.sizes = {{.query = {}, .key = {}, .heads = {}, .hidden = {}}};\n"
      "  config.value_size = {};\n  config.dropout = {};\n  config.window = {};\n  config.max_keys = {};\n"
      "  config.projected = {};\n"
      "  const std::unique_ptr<AttentionCore> core = make_attention(config);\n  AttentionCore& layer = *core;",
      row.name, d["K"], key, d["H"], d["A"], config.value_size, config.dropout, config.window, config.max_keys,
      config.projected);
  return {make_attention(config), std::move(code)};
}

CoreRow registered_row(const RegisteredAttention& row) {
  const AttentionTraits& traits = row.traits;
  CoreRow out{.name = "Attention." + row.name,
              .what = row.what,
              .options = {dropout_option(),
                          {"window", int64_t{2}, {int64_t{1}, int64_t{2}, int64_t{3}}},
                          {"max_keys", int64_t{4}, {int64_t{3}, int64_t{4}, int64_t{64}}}},
              .make = [&row](const Options& o, const Draw& d) { return make_registered(row, o, d); },
              .coupling = traits.earlier_queries ? Coupling::kEarlier : Coupling::kNone,
              .separate_keys = [separate = !traits.equal_widths](const Options&) { return separate; },
              .more_extents = {{"A", 1, 4}, {"E", 1, 4}},
              .chooses = [chooses = traits.rewarded](const Options&) { return chooses; }};
  if (traits.same_mask) out.mask_parts = {MaskPart::kPadding};
  return out;
}

struct NamedScore {
  const char* name;
  const char* code;
  ScoreKind kind;
  bool equal_widths;
};
constexpr NamedScore kScores[] = {
    {"dot", "kDot", ScoreKind::kDot, true},
    {"scaled-dot", "kScaledDot", ScoreKind::kScaledDot, true},
    {"general", "kGeneral", ScoreKind::kGeneral, false},
    {"concat", "kConcat", ScoreKind::kConcat, false},
    {"additive", "kAdditive", ScoreKind::kAdditive, false},
    {"normed-additive", "kNormedAdditive", ScoreKind::kNormedAdditive, false},
    {"cosine", "kCosine", ScoreKind::kCosine, true},
    {"keras-dot", "kKerasDot", ScoreKind::kKerasDot, true},
    {"keras-concat", "kKerasConcat", ScoreKind::kKerasConcat, true},
    {"keras-additive", "kKerasAdditive", ScoreKind::kKerasAdditive, true},
};

const NamedScore& score_of(const Options& o) {
  return *std::find_if(std::begin(kScores), std::end(kScores),
                       [&](const NamedScore& s) { return s.name == o.text("score"); });
}

OptionRow score_option(const char* initial) {
  OptionRow row{"score", std::string(initial), {}};
  for (const NamedScore& score : kScores) row.choices.emplace_back(std::string(score.name));
  return row;
}

bool unequal_widths(const Options& o) { return !score_of(o).equal_widths; }

struct MadeScore {
  std::unique_ptr<Score> score;
  std::string code;
};
MadeScore make_score_of(const Options& o, const Draw& d) {
  const NamedScore& score = score_of(o);
  const ScoreSizes sizes{
      .query = d["K"], .key = score.equal_widths ? d["K"] : d["E"], .heads = d["H"], .hidden = d["A"]};
  return {make_score(score.kind, sizes),
          fmt::format("make_score(ScoreKind::{}, {{.query = {}, .key = {}, .heads = {}, .hidden = {}}})", score.code,
                      sizes.query, sizes.key, sizes.heads, sizes.hidden)};
}

MadeCore make_global_attention(const Options& o, const Draw& d) {
  MadeScore made = make_score_of(o, d);
  return {std::make_unique<GlobalAttention>(std::move(made.score), GlobalAttentionOptions{o.number("dropout")}),
          fmt::format("GlobalAttention layer({}, {{.dropout = {}}});", made.code, o.number("dropout"))};
}

MadeCore make_local_attention(const Options& o, const Draw& d) {
  MadeScore made = make_score_of(o, d);
  const bool predictive = o.text("kind") == "predictive";
  const LocalAttentionOptions options{predictive ? LocalKind::kPredictive : LocalKind::kMonotonic, o.whole("window"),
                                      o.number("dropout")};
  return {std::make_unique<LocalAttention>(std::move(made.score), options),
          fmt::format("LocalAttention layer({}, {{.kind = LocalKind::{}, .window = {}, .dropout = {}}});", made.code,
                      predictive ? "kPredictive" : "kMonotonic", options.window, options.dropout)};
}

MadeCore make_monotonic_attention(const Options& o, const Draw& d) {
  MadeScore made = make_score_of(o, d);
  const MonotonicAttentionOptions options{o.number("noise"), -1, o.number("dropout")};
  auto core = std::make_unique<MonotonicAttention>(std::move(made.score), options);
  core->train(!o.flag("hard"));
  return {std::move(core),
          fmt::format("MonotonicAttention layer({}, {{.noise = {}, .dropout = {}}});\n  layer.train({});", made.code,
                      options.noise, options.dropout, !o.flag("hard"))};
}

MadeCore make_image_attention(const Options& o, const Draw& d) {
  MadeScore made = make_score_of(o, d);
  const bool hard = o.text("kind") == "hard";
  const ImageAttentionOptions options{hard ? ImageAttentionKind::kHard : ImageAttentionKind::kSoft, o.flag("gate"),
                                      o.number("dropout")};
  return {std::make_unique<ImageAttention>(std::move(made.score), options),
          fmt::format("ImageAttention layer({}, {{.kind = ImageAttentionKind::{}, .gate = {}, .dropout = {}}});",
                      made.code, hard ? "kHard" : "kSoft", options.gate, options.dropout)};
}

void add_scored_rows(std::vector<LayerRow>& rows) {
  const auto texts = [](std::initializer_list<const char*> all) {
    std::vector<OptionValue> choices;
    for (const char* text : all) choices.emplace_back(std::string(text));
    return choices;
  };
  const auto add = [&](CoreRow row) {
    row.options.push_back(dropout_option());
    row.separate_keys = unequal_widths;
    row.more_extents = {{"A", 1, 4}, {"E", 1, 4}};
    rows.push_back(core_row(std::move(row)));
  };
  add({.name = "GlobalAttention",
       .what = "softmax of any score over all keys",
       .options = {score_option("additive")},
       .make = make_global_attention});
  add({.name = "LocalAttention",
       .what = "a window around the query's or a predicted position, any score",
       .options = {score_option("general"),
                   {"kind", std::string("predictive"), texts({"predictive", "monotonic"})},
                   {"window", int64_t{2}, {int64_t{1}, int64_t{2}, int64_t{3}}}},
       .make = make_local_attention});
  add({.name = "MonotonicAttention",
       .what = "expected or hard monotonic alignment, any score",
       .options = {score_option("additive"), flag_option("hard", false), {"noise", 1.0, {0.0, 1.0}}},
       .make = make_monotonic_attention,
       .coupling = Coupling::kEarlier,
       .chooses = [](const Options& o) { return o.flag("hard"); }});
  add({.name = "ImageAttention",
       .what = "weights over regions or one region, any score",
       .options = {score_option("additive"),
                   {"kind", std::string("soft"), texts({"soft", "hard"})},
                   flag_option("gate", true)},
       .make = make_image_attention,
       .chooses = [](const Options& o) { return o.text("kind") == "hard"; }});
}

/// A function of attention weights [B, H, T, S].
template <class F>
LayerRow weights_row(const char* name, const char* what, F f) {
  LayerRow row{name, what, {}, {{"B", 1, 3}, {"H", 1, 2}, {"T", 1, 4}, {"S", 1, 5}}, {}, {}};
  row.make = [f, name](const Options&, const Draw& d) {
    Case made;
    made.module = std::make_unique<Module>();
    made.call = [f](Inputs in) { return std::vector<Variable>{f(in[0])}; };
    made.inputs.push_back({"weights", "B H T S", {d["B"], d["H"], d["T"], d["S"]}});
    made.declaration = "Module layer;";
    made.body = returns(fmt::format("{}(weights)", name));
    return made;
  };
  return row;
}

Case make_reinforce(const Options& o, const Draw& d) {
  const ReinforceLossOptions options{o.number("reward"), o.number("entropy"), 0.9};
  auto layer = std::make_unique<ReinforceLoss>(options);
  layer->eval();  // in training every call moves the baseline
  // The reward is a number without gradient, though it is made of the likelihood: that is no input here.
  const Tensor likelihood = RandomStream(d.seed).normal({d["B"]}, 0, 1, DType::kFloat64);
  Case made;
  made.call = [&module = *layer, likelihood](Inputs in) {
    AttentionState state;
    state.log_probability = in[0];
    state.entropy = in[1];
    return std::vector<Variable>{module(Variable(likelihood.to(in[0].dtype()).to(in[0].device())), state)};
  };
  made.module = std::move(layer);
  made.inputs = {{"log_probability", "B H", {d["B"], d["H"]}}, {"entropy", "B H", {d["B"], d["H"]}}};
  made.declaration = fmt::format(
      "ReinforceLoss layer({{.reward = {}, .entropy = {}}});\n  layer.eval();\n"
      "  const Variable likelihood(RandomStream({}).normal({{{}}}, 0, 1, DType::kFloat64));",
      options.reward, options.entropy, d.seed, d["B"]);
  made.body =
      "AttentionState state;\n    state.log_probability = log_probability;\n    state.entropy = entropy;\n"
      "    return {layer(likelihood, state)};";
  return made;
}

}  // namespace

void add_score_rows(std::vector<LayerRow>& rows) {
  for (const RegisteredAttention& row : registered_attentions()) rows.push_back(core_row(registered_row(row)));
  add_scored_rows(rows);
  rows.push_back(weights_row("coverage_loss", "sum of min(weights, coverage)", coverage_loss));
  rows.push_back(weights_row("doubly_stochastic_penalty", "sum of (1 - sum of weights)^2",
                             [](const Variable& weights) { return doubly_stochastic_penalty(weights); }));
  rows.push_back({"ReinforceLoss",
                  "the loss of hard attention",
                  {{"reward", 1.0, {1.0, 0.5}}, {"entropy", 0.01, {0.01, 0.3}}},
                  {{"B", 1, 4}, {"H", 1, 3}},
                  {},
                  make_reinforce});
}

}  // namespace attune::examples
