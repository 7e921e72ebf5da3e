#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "layers/embedding.h"
#include "layers/linear.h"
#include "layers/loss.h"
#include "layers/norm.h"
#include "tests/golden/layers.h"

namespace attune::golden {
namespace {

void run_linear(Session& session, Options& options, AttentionPath) {
  const int64_t in = options.required("in_features");
  const int64_t out = options.required("out_features");
  Linear layer(in, out, {.bias = options.get("bias", true)});
  session.load(layer, {{"weight", "weight"}, {"bias", "bias"}});
  session.output("output", layer(session.input("input")));
}

/// The number of elements that a norm spans: "normalized_shape" is a number or the last extents.
int64_t normalized(Options& options) {
  try {
    int64_t count = 1;
    for (int64_t extent : options.get("normalized_shape", std::vector<int64_t>{})) count *= extent;
    return count;
  } catch (const FormatError&) {
    return options.required("normalized_shape");
  }
}

Variable flat_rows(const Variable& x, int64_t width) { return reshape(x, {width == 0 ? 0 : x.numel() / width, width}); }

void run_layer_norm(Session& session, Options& options, AttentionPath) {
  const int64_t width = normalized(options);
  const bool affine = options.get("elementwise_affine", true);
  LayerNorm layer(width, {.eps = options.get("eps", 1e-5), .bias = options.get("bias", true)});
  if (affine) {
    session.load(layer, {{"weight", "weight"}, {"bias", "bias"}});
  } else {
    layer.to(session.dtype());
  }
  const Variable x = session.input("input");
  session.output("output", reshape(layer(flat_rows(x, width)), x.shape()));
}

void run_rms_norm(Session& session, Options& options, AttentionPath) {
  const int64_t width = normalized(options);
  const bool affine = options.get("elementwise_affine", true);
  // PyTorch's default is the machine epsilon of the dtype that the case was computed in, float64.
  RMSNorm layer(width, options.get("eps", 2.220446049250313e-16));
  if (affine) {
    session.load(layer, {{"weight", "weight"}});
  } else {
    layer.to(session.dtype());
  }
  const Variable x = session.input("input");
  session.output("output", reshape(layer(flat_rows(x, width)), x.shape()));
}

template <Variable (*Op)(const Variable&)>
void run_elementwise(Session& session, Options& options, AttentionPath) {
  options.ignore({"inplace"});
  session.output("output", Op(session.input("input")));
}

void run_gelu(Session& session, Options& options, AttentionPath) {
  const std::string mode = options.get<std::string>("approximate", "none");
  if (mode != "none" && mode != "tanh") throw Skip("option approximate = " + mode + " is not in Attune");
  const Variable x = session.input("input");
  session.output("output", mode == "tanh" ? gelu_tanh(x) : gelu(x));
}

void run_embedding(Session& session, Options& options, AttentionPath) {
  const int64_t count = options.required("num_embeddings");
  const int64_t dim = options.required("embedding_dim");
  int64_t padding = -1;
  if (options.has("padding_idx")) {
    padding = options.required("padding_idx");
    if (padding < 0) padding += count;
  }
  options.only("max_norm", nullptr);
  options.only("scale_grad_by_freq", false);
  options.ignore({"norm_type", "sparse"});
  Embedding layer(count, dim, {.padding_index = padding});
  session.load(layer, {{"weight", "weight"}});
  session.output("output", layer(session.tensor("input", DType::kInt64)));
}

void run_cross_entropy(Session& session, Options& options, AttentionPath) {
  CrossEntropyOptions loss;
  loss.label_smoothing = options.get("label_smoothing", 0.0);
  loss.ignore_index = options.get<int64_t>("ignore_index", -100);
  const std::string reduction = options.get<std::string>("reduction", "mean");
  if (reduction != "mean" && reduction != "sum") throw Skip("option reduction = " + reduction + " is not in Attune");
  loss.reduction = reduction == "sum" ? Reduction::kSum : Reduction::kMean;
  options.only("weight", nullptr);
  options.only("size_average", nullptr);
  options.only("reduce", nullptr);
  if (session.raw("target").dtype() != DType::kInt64) throw Skip("targets that are probabilities are not in Attune");

  // PyTorch has the classes on axis 1, Attune on the last.
  Variable logits = session.input("input");
  for (int axis = 1; axis + 1 < logits.rank(); ++axis) logits = transpose(logits, axis, axis + 1);
  session.output("output", CrossEntropyLoss(loss)(logits, session.tensor("target", DType::kInt64)));
}

}  // namespace

const std::vector<Layer> kBasicLayers = {
    {"Linear", &run_linear, false},
    {"LayerNorm", &run_layer_norm, false},
    {"RMSNorm", &run_rms_norm, false},
    {"ReLU", &run_elementwise<&relu>, false},
    {"SiLU", &run_elementwise<&silu>, false},
    {"Tanh", &run_elementwise<&tanh>, false},
    {"Sigmoid", &run_elementwise<&sigmoid>, false},
    {"GELU", &run_gelu, false},
    {"Embedding", &run_embedding, false},
    {"CrossEntropyLoss", &run_cross_entropy, false},
};

}  // namespace attune::golden
