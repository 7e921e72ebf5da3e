#include <utility>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/fail.h"
#include "layers/attention/multi_head.h"
#include "layers/transformer/encoder.h"
#include "tests/golden/layers.h"

namespace attune::golden {
namespace {

/// The same tensor with extents 1 in front, up to rank 4.
Shape rank4(const Shape& shape) {
  Shape out = shape;
  while (out.rank() < 4) out.insert(0, 1);
  return out;
}

void run_scaled_dot_product(Session& session, Options& options, AttentionPath path) {
  options.only("dropout_p", 0);
  ScaledDotProductOptions core{.scale = options.get("scale", 0.0), .path = path};
  if (options.has("scale") && core.scale == 0) throw Skip("option scale = 0 is not in Attune");
  const bool causal = options.get("is_causal", false);
  const bool grouped = options.get("enable_gqa", false);

  const Variable query = session.input("query");
  const Variable key = session.input("key");
  const Variable value = session.input("value");
  for (const Variable* x : {&query, &key, &value}) {
    if (x->rank() != 4) throw Skip("operands of a rank other than 4 are not in Attune");
  }
  if (!grouped && query.dim(1) != key.dim(1)) throw Skip("keys that are broadcast over heads are not in Attune");
  AttentionMask mask;
  if (causal) mask = AttentionMask::causal();
  if (session.has("allow_mask")) {
    const Tensor allowed = session.tensor("allow_mask", DType::kBool);
    mask = mask & AttentionMask::keep(allowed.view(rank4(allowed.shape())));
  }
  if (session.has("bias")) {
    const Variable bias = session.input("bias");
    mask = mask & AttentionMask::bias(reshape(bias, rank4(bias.shape())));
  }
  const auto heads_inside = [](const Variable& x) { return permute(x, {0, 2, 1, 3}); };
  ScaledDotProduct attention(core);
  attention.eval();
  const Variable q = heads_inside(query);
  const Variable k = heads_inside(key);
  const Variable v = heads_inside(value);
  const bool weights = find(session.given().outputs, "weights") != nullptr;
  const bool trained = find(session.given().grad_outputs, "weights") != nullptr;
  const AttentionResult result = attention(q, k, v, mask, trained);
  session.output("output", heads_inside(result.output));
  if (weights && trained) session.output("weights", result.weights);
  if (weights && !trained) {
    const NoGrad values_only;  // so that the fused kernel's weights are looked at
    session.output("weights", attention(q, k, v, mask, true).weights);
  }
}

/// A mask in the sense of PyTorch's modules: boolean, true = may not be attended to; or floating, added to the scores.
/// shape(tensor): what it is seen as.
template <class Rank4>
AttentionMask module_mask(Session& session, const std::string& name, Rank4&& shape) {
  if (!session.has(name)) return {};
  const Tensor& given = session.raw(name);
  if (given.dtype() == DType::kBool) return AttentionMask::drop(given.view(shape(given.shape())));
  const Variable scores = session.input(name);
  return AttentionMask::bias(reshape(scores, shape(scores.shape())));
}

/// [T, S], or [B * H, T, S] seen as [B, H, T, S].
AttentionMask attention_mask(Session& session, const std::string& name, int64_t heads) {
  return module_mask(session, name, [heads](const Shape& shape) {
    if (shape.rank() != 3) return shape;
    return Shape{shape[0] / heads, heads, shape[1], shape[2]};
  });
}

/// [B, S].
AttentionMask key_mask(Session& session, const std::string& name) {
  return module_mask(session, name, [](const Shape& shape) {
    require<FormatError>(shape.rank() == 2, "a key padding mask has shape {}, expected [B, S]", shape);
    return Shape{shape[0], 1, 1, shape[1]};
  });
}

std::vector<Link> multi_head_links(const std::string& torch, const std::string& ours) {
  return {{torch + "in_proj_weight", ours + "qkv.weight"},
          {torch + "in_proj_bias", ours + "qkv.bias"},
          {torch + "out_proj.weight", ours + "out.weight"},
          {torch + "out_proj.bias", ours + "out.bias"},
          {torch + "bias_k", ours + "bias_k"},
          {torch + "bias_v", ours + "bias_v"},
          // With keys or values of another width:
          {torch + "q_proj_weight", ours + "q.weight"},
          {torch + "k_proj_weight", ours + "k.weight"},
          {torch + "v_proj_weight", ours + "v.weight"}};
}

void run_multi_head(Session& session, Options& options, AttentionPath path) {
  const int64_t dim = options.required("embed_dim");
  const int64_t heads = options.required("num_heads");
  MultiHeadAttentionOptions module;
  module.kdim = options.get("kdim", dim);
  module.vdim = options.get("vdim", dim);
  module.bias = options.get("bias", true);
  module.add_bias_kv = options.get("add_bias_kv", false);
  module.add_zero_attn = options.get("add_zero_attn", false);
  const bool batch_first = options.get("batch_first", false);
  const bool need_weights = options.get("need_weights", true);
  const bool averaged = options.get("average_attn_weights", true);
  options.ignore({"dropout"});  // the cases are computed in evaluation mode

  MultiHeadAttention attention(dim, heads, module,
                               std::make_unique<ScaledDotProduct>(ScaledDotProductOptions{.path = path}));
  std::vector<Link> links = multi_head_links("", "");
  if (module.kdim != dim || module.vdim != dim) {
    const char* parts[] = {"q.bias", "k.bias", "v.bias"};
    std::erase_if(links, [](const Link& link) { return link.torch == "in_proj_bias"; });
    for (int64_t i = 0; i < 3; ++i) links.push_back({"in_proj_bias", parts[i], i * dim, (i + 1) * dim});
  }
  session.load(attention, links);

  const auto batch_in_front = [&](const Variable& x) {
    if (x.rank() != 3) throw Skip("sequences without a batch are not in Attune");
    return batch_first ? x : transpose(x, 0, 1);
  };
  const Variable query = batch_in_front(session.input("query"));
  const Variable key = batch_in_front(session.input("key"));
  const Variable value = batch_in_front(session.input("value"));
  const AttentionMask mask = attention_mask(session, "attn_mask", heads) & key_mask(session, "key_padding_mask");
  const Weights weights = !need_weights ? Weights::kNone : averaged ? Weights::kAveraged : Weights::kPerHead;
  const AttentionResult result = attention(query, key, value, mask, weights);
  session.output("output", batch_in_front(result.output));
  if (need_weights) session.output("weights", result.weights);
}

Activation activation(const std::string& name) {
  if (name == "relu") return Activation::kRelu;
  if (name == "gelu") return Activation::kGelu;
  throw Skip("option activation = " + name + " is not in Attune");
}

void run_encoder_layer(Session& session, Options& options, AttentionPath) {
  TransformerEncoderLayerOptions layer;
  layer.dim = options.required("d_model");
  layer.heads = options.required("nhead");
  layer.ffn_dim = options.get<int64_t>("dim_feedforward", 2048);
  layer.activation = activation(options.get<std::string>("activation", "relu"));
  layer.norm_first = options.get("norm_first", false);
  layer.norm_eps = options.get("layer_norm_eps", 1e-5);
  layer.bias = options.get("bias", true);
  const bool batch_first = options.get("batch_first", false);
  options.ignore({"dropout"});

  TransformerEncoderLayer encoder(layer);
  std::vector<Link> links = multi_head_links("self_attn.", "attn.");
  for (const char* kind : {"weight", "bias"}) {
    for (const std::string name : {"linear1.", "linear2."}) links.push_back({name + kind, "ffn." + name + kind});
    for (const std::string name : {"norm1.", "norm2."}) links.push_back({name + kind, name + kind});
  }
  session.load(encoder, links);

  const Variable src = session.input("src");
  if (src.rank() != 3) throw Skip("sequences without a batch are not in Attune");
  const AttentionMask mask =
      attention_mask(session, "src_mask", layer.heads) & key_mask(session, "src_key_padding_mask");
  const Variable y = encoder(batch_first ? src : transpose(src, 0, 1), mask);
  session.output("output", batch_first ? y : transpose(y, 0, 1));
}

}  // namespace

const std::vector<Layer> kAttentionLayers = {
    {"scaled_dot_product_attention", &run_scaled_dot_product, true},
    {"MultiheadAttention", &run_multi_head, true},
    {"TransformerEncoderLayer", &run_encoder_layer, false},
};

}  // namespace attune::golden
