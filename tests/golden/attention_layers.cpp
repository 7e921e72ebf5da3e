#include <utility>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/fail.h"
#include "layers/attention/multi_head.h"
#include "tests/golden/layers.h"
#include "tests/golden/torch_attention.h"

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

  const Variable query = batch_in_front(session.input("query"), batch_first);
  const Variable key = batch_in_front(session.input("key"), batch_first);
  const Variable value = batch_in_front(session.input("value"), batch_first);
  const AttentionMask mask = attention_mask(session, "attn_mask", heads) & key_mask(session, "key_padding_mask");
  const Weights weights = !need_weights ? Weights::kNone : averaged ? Weights::kAveraged : Weights::kPerHead;
  const AttentionResult result = attention(query, key, value, mask, weights);
  session.output("output", batch_in_front(result.output, batch_first));
  if (need_weights) session.output("weights", result.weights);
}

}  // namespace

const std::vector<Layer> kAttentionLayers = {
    {"scaled_dot_product_attention", &run_scaled_dot_product, true},
    {"MultiheadAttention", &run_multi_head, true},
};

}  // namespace attune::golden
