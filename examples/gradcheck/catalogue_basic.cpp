#include <fmt/format.h>

#include <algorithm>

#include "examples/gradcheck/rows.h"
#include "layers/dropout.h"
#include "layers/embedding.h"
#include "layers/feed_forward.h"
#include "layers/linear.h"
#include "layers/loss.h"
#include "layers/norm.h"
#include "layers/pooling.h"
#include "layers/transformer/positional.h"

namespace attune::examples {
namespace {

using Inputs = std::span<const Variable>;

/// A case of one module called with one input x.
template <class Layer>
Case unary(std::unique_ptr<Layer> layer, std::string declaration, std::string axes, const Shape& shape) {
  Case made;
  made.call = [&module = *layer](Inputs in) { return std::vector<Variable>{module(in[0])}; };
  made.module = std::move(layer);
  made.inputs.push_back({"x", std::move(axes), shape});
  made.declaration = std::move(declaration);
  made.body = returns("layer(x)");
  return made;
}

Case make_linear(const Options& o, const Draw& d) {
  const LinearOptions options{o.flag("bias"), activation(o), o.number("dropout")};
  return unary(std::make_unique<Linear>(d["I"], d["O"], options),
               fmt::format("Linear layer({}, {}, {{.bias = {}, .activation = {}, .dropout = {}}});", d["I"], d["O"],
                           options.bias, activation_code(o), options.dropout),
               "B T I", {d["B"], d["T"], d["I"]});
}

Case make_feed_forward(const Options& o, const Draw& d) {
  const bool gated = o.flag("gated");
  const FeedForwardOptions options{activation(o), o.number("dropout"), o.flag("bias"),
                                   gated ? FeedForwardKind::kGated : FeedForwardKind::kPlain};
  return unary(
      std::make_unique<FeedForward>(d["D"], d["F"], options),
      fmt::format("FeedForward layer({}, {}, {{.activation = {}, .dropout = {}, .bias = {}, "
                  ".kind = FeedForwardKind::{}}});",
                  d["D"], d["F"], activation_code(o), options.dropout, options.bias, gated ? "kGated" : "kPlain"),
      "B T D", {d["B"], d["T"], d["D"]});
}

Case make_layer_norm(const Options& o, const Draw& d) {
  return unary(std::make_unique<LayerNorm>(d["D"], LayerNormOptions{o.number("eps"), o.flag("bias")}),
               fmt::format("LayerNorm layer({}, {{.eps = {}, .bias = {}}});", d["D"], o.number("eps"), o.flag("bias")),
               "B T D", {d["B"], d["T"], d["D"]});
}

Case make_rms_norm(const Options& o, const Draw& d) {
  return unary(std::make_unique<RMSNorm>(d["D"], o.number("eps")),
               fmt::format("RMSNorm layer({}, {});", d["D"], o.number("eps")), "B T D", {d["B"], d["T"], d["D"]});
}

Case make_dropout(const Options& o, const Draw& d) {
  return unary(std::make_unique<Dropout>(o.number("p")), fmt::format("Dropout layer({});", o.number("p")), "B T D",
               {d["B"], d["T"], d["D"]});
}

Case make_sinusoidal(const Options&, const Draw& d) {
  return unary(std::make_unique<SinusoidalPositions>(d["D"], d["T"]),
               fmt::format("SinusoidalPositions layer({}, {});", d["D"], d["T"]), "B T D", {d["B"], d["T"], d["D"]});
}

Case make_learned(const Options& o, const Draw& d) {
  const int64_t offset = o.whole("offset");
  const int64_t positions = offset + d["T"] + 2;
  Case made =
      unary(std::make_unique<LearnedPositions>(d["D"], positions),
            fmt::format("LearnedPositions layer({}, {});", d["D"], positions), "B T D", {d["B"], d["T"], d["D"]});
  auto& layer = static_cast<LearnedPositions&>(*made.module);
  made.call = [&layer, offset](Inputs in) { return std::vector<Variable>{layer(in[0], offset)}; };
  made.body = returns(fmt::format("layer(x, {})", offset));
  made.zeros.push_back({"positions that are not used", {}, {{"weight", bool_tensor({positions, d["D"]}, [&](auto i) {
                                                               return i[0] < offset || i[0] >= offset + d["T"];
                                                             })}}});
  return made;
}

Case make_embedding(const Options& o, const Draw& d) {
  const EmbeddingOptions options{o.whole("padding_index"), o.flag("scale")};
  const int64_t count = std::max(d["V"], options.padding_index + 1);
  auto layer = std::make_unique<Embedding>(count, d["D"], options);
  const Tensor ids = random_ids({d["B"], d["T"]}, count, d.seed);
  Case made;
  made.call = [&module = *layer, ids](Inputs) { return std::vector<Variable>{module(ids)}; };
  made.module = std::move(layer);
  made.declaration = fmt::format("Embedding layer({}, {}, {{.padding_index = {}, .scale = {}}});", count, d["D"],
                                 options.padding_index, options.scale);
  made.body = returns("layer(ids)");
  made.constants.emplace_back("ids", ids);
  const std::vector<int64_t> used = ids.to_vector<int64_t>();
  const Shape shape{count, d["D"]};
  const auto is_unused = [&](auto i) { return std::find(used.begin(), used.end(), i[0]) == used.end(); };
  made.zeros.push_back({"embeddings that are not used", {}, {{"weight", bool_tensor(shape, is_unused)}}});
  const auto is_padding = [&](auto i) { return i[0] == options.padding_index; };
  made.zeros.push_back({"the padding's embedding", {}, {{"weight", bool_tensor(shape, is_padding)}}, true});
  return made;
}

Case make_mean_pooling(const Options&, const Draw& d) {
  const Tensor lengths = random_lengths(d["B"], d["S"], d.seed);
  Case made = unary(std::make_unique<MeanPooling>(), "MeanPooling layer;", "B S D", {d["B"], d["S"], d["D"]});
  auto& layer = static_cast<MeanPooling&>(*made.module);
  made.call = [&layer, lengths](Inputs in) { return std::vector<Variable>{layer(in[0], lengths)}; };
  made.body = returns("layer(x, lengths)");
  made.constants.emplace_back("lengths", lengths);
  made.zeros.push_back({"padded positions", {}, {{"x", bool_tensor({d["B"], d["S"], d["D"]}, [&](auto i) {
                                                    return i[1] >= lengths.data<int64_t>()[i[0]];
                                                  })}}});
  return made;
}

Case make_first_pooling(const Options&, const Draw& d) {
  Case made = unary(std::make_unique<FirstPooling>(), "FirstPooling layer;", "B S D", {d["B"], d["S"], d["D"]});
  made.zeros.push_back(
      {"other positions", {}, {{"x", bool_tensor({d["B"], d["S"], d["D"]}, [](auto i) { return i[1] > 0; })}}});
  return made;
}

Case make_attention_pooling(const Options& o, const Draw& d) {
  const AttentionPoolingOptions options{d["H"], o.number("dropout")};
  const int64_t dim = d["H"] * d["K"];
  auto layer = std::make_unique<AttentionPooling>(dim, options);
  const MaskPlan plan(d.mask, {d["B"], d["H"], 1, d["S"]}, d.seed);
  const bool weights = o.flag("weights");
  Case made;
  made.call = [&module = *layer, plan, weights](Inputs in) {
    return results(module(in[0], mask_of(plan, in), weights));
  };
  made.module = std::move(layer);
  made.inputs.push_back({"x", "B S D", {d["B"], d["S"], dim}});
  add_mask(made, plan);
  made.declaration =
      fmt::format("AttentionPooling layer({}, {{.heads = {}, .dropout = {}}});", dim, options.heads, options.dropout);
  made.body = results_code(fmt::format("layer(x, {}, {})", plan.code(), weights), weights);
  const Sight sight(plan.allowed());
  made.zeros.push_back({"masked positions", {}, {{"x", bool_tensor({d["B"], d["S"], dim}, [&](auto i) {
                                                    return !sight.sees(i[0], i[2] / d["K"], 0, i[1]);
                                                  })}}});
  return made;
}

struct Loss {
  CrossEntropyOptions options;
  std::string code;
};
Loss loss_options(const Options& o) {
  const bool sum = o.text("reduction") == "sum";
  const double smoothing = o.number("label_smoothing");
  const double r_drop = o.number("r_drop");
  return {{smoothing, -100, sum ? Reduction::kSum : Reduction::kMean, r_drop},
          fmt::format("{{.label_smoothing = {}, .reduction = Reduction::{}, .r_drop = {}}}", smoothing,
                      sum ? "kSum" : "kMean", r_drop)};
}

/// Random targets, some of them ignored; with R-Drop those of every example twice.
Tensor random_targets(const Draw& d, const CrossEntropyOptions& options) {
  Tensor targets = random_ids({d["B"], d["T"]}, d["V"], d.seed);
  RandomStream random(d.seed + 1);
  for (int64_t i = 0; i < targets.numel(); ++i) {
    if (random.below(4) == 0) targets.data<int64_t>()[i] = options.ignore_index;
  }
  if (options.r_drop == 0) return targets;
  return targets.view({1, d["B"], d["T"]}).expand({2, d["B"], d["T"]}).reshape({2 * d["B"], d["T"]});
}

Case make_cross_entropy(const Options& o, const Draw& d) {
  const Loss loss = loss_options(o);
  const Tensor targets = random_targets(d, loss.options);
  auto layer = std::make_unique<CrossEntropyLoss>(loss.options);
  Case made;
  made.call = [&module = *layer, targets](Inputs in) { return std::vector<Variable>{module(in[0], targets)}; };
  made.module = std::move(layer);
  const Shape logits{targets.dim(0), d["T"], d["V"]};
  made.inputs.push_back({"x", loss.options.r_drop == 0 ? "B T V" : "2B T V", logits});
  made.declaration = fmt::format("CrossEntropyLoss layer({});", loss.code);
  made.body = returns("layer(x, targets)");
  made.constants.emplace_back("targets", targets);
  made.zeros.push_back({"ignored targets", {}, {{"x", bool_tensor(logits, [&](auto i) {
                                                   return targets.data<int64_t>()[i[0] * d["T"] + i[1]] ==
                                                          loss.options.ignore_index;
                                                 })}}});
  return made;
}

/// A loss and the layer whose outputs are its logits.
struct LossBehindHead : Module {
  LossBehindHead(int64_t dim, int64_t classes, bool bias, const CrossEntropyOptions& options)
      : head(child<Linear>("head", dim, classes, LinearOptions{.bias = bias})),
        loss(child<CrossEntropyLoss>("loss", options)) {}
  Linear& head;
  CrossEntropyLoss& loss;
};

Case make_linear_cross_entropy(const Options& o, const Draw& d) {
  const Loss loss = loss_options(o);
  const Tensor targets = random_targets(d, loss.options);
  auto layer = std::make_unique<LossBehindHead>(d["D"], d["V"], o.flag("bias"), loss.options);
  Case made;
  made.call = [&module = *layer, targets](Inputs in) {
    return std::vector<Variable>{module.loss(in[0], module.head, targets)};
  };
  made.module = std::move(layer);
  made.inputs.push_back({"x", loss.options.r_drop == 0 ? "B T D" : "2B T D", {targets.dim(0), d["T"], d["D"]}});
  made.declaration = fmt::format("Linear layer({}, {}, {{.bias = {}}});\n  CrossEntropyLoss loss({});", d["D"], d["V"],
                                 o.flag("bias"), loss.code);
  made.body = returns("loss(x, layer, targets)");
  made.constants.emplace_back("targets", targets);
  return made;
}

}  // namespace

void add_basic_rows(std::vector<LayerRow>& rows) {
  const std::vector<ExtentRow> sequence = {{"B", 1, 3}, {"T", 1, 4}, {"D", 1, 6}};
  const std::vector<ExtentRow> source = {{"B", 1, 3}, {"S", 1, 5}, {"D", 1, 5}};
  const OptionRow bias = flag_option("bias", true);
  const OptionRow eps{"eps", 1e-5, {1e-5, 1e-3, 0.1}};
  const std::vector<OptionRow> loss = {{"label_smoothing", 0.0, {0.0, 0.1}},
                                       {"reduction", std::string("mean"), {std::string("mean"), std::string("sum")}},
                                       {"r_drop", 0.0, {0.0, 2.0}}};
  std::vector<OptionRow> head_loss = loss;
  head_loss.push_back(bias);

  rows.push_back({"Linear",
                  "y = dropout(activation(x W^T + b))",
                  {bias, activation_option("none"), dropout_option()},
                  {{"B", 1, 3}, {"T", 1, 4}, {"I", 1, 6}, {"O", 1, 6}},
                  {},
                  make_linear});
  rows.push_back({"Embedding",
                  "rows of a table by ids",
                  {{"padding_index", int64_t{-1}, {int64_t{-1}, int64_t{0}}}, flag_option("scale", false)},
                  {{"B", 1, 3}, {"T", 1, 4}, {"V", 2, 7}, {"D", 1, 5}},
                  {},
                  make_embedding});
  rows.push_back(
      {"LayerNorm", "(x - mean) / sqrt(var + eps) * weight + bias", {eps, bias}, sequence, {}, make_layer_norm});
  rows.push_back({"RMSNorm", "x / sqrt(mean(x^2) + eps) * weight", {eps}, sequence, {}, make_rms_norm});
  rows.push_back(
      {"Dropout", "zeroes elements with probability p", {{"p", 0.3, {0.0, 0.3, 0.7}}}, sequence, {}, make_dropout});
  rows.push_back({"FeedForward",
                  "linear2(dropout(activation(linear1(x)))), or gated",
                  {activation_option("relu"), dropout_option(), bias, flag_option("gated", false)},
                  {{"B", 1, 3}, {"T", 1, 4}, {"D", 1, 5}, {"F", 1, 6}},
                  {},
                  make_feed_forward});
  rows.push_back({"SinusoidalPositions", "x + sinusoidal positions", {}, sequence, {}, make_sinusoidal});
  rows.push_back({"LearnedPositions",
                  "x + a learned vector for every position",
                  {{"offset", int64_t{0}, {int64_t{0}, int64_t{2}}}},
                  sequence,
                  {},
                  make_learned});
  rows.push_back({"MeanPooling", "mean over the real positions", {}, source, {}, make_mean_pooling});
  rows.push_back({"FirstPooling", "the first position", {}, source, {}, make_first_pooling});
  rows.push_back({"AttentionPooling",
                  "a learned query attends to the positions",
                  {dropout_option(), flag_option("weights", false)},
                  {{"B", 1, 3}, {"S", 1, 5}, {"H", 1, 2}, {"K", 1, 3}},
                  {MaskPart::kPadding, MaskPart::kKeep, MaskPart::kDrop, MaskPart::kBias, MaskPart::kInfiniteBias},
                  make_attention_pooling});
  rows.push_back({"CrossEntropyLoss",
                  "softmax cross-entropy of logits, some targets ignored",
                  loss,
                  {{"B", 1, 3}, {"T", 1, 4}, {"V", 2, 6}},
                  {},
                  make_cross_entropy});
  rows.push_back({"CrossEntropyLoss.head",
                  "softmax cross-entropy of a linear layer, logits never held",
                  head_loss,
                  {{"B", 1, 3}, {"T", 1, 4}, {"D", 1, 5}, {"V", 2, 6}},
                  {},
                  make_linear_cross_entropy});
}

}  // namespace attune::examples
