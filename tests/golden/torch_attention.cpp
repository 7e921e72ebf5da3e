#include "tests/golden/torch_attention.h"

#include "autograd/ops/ops.h"
#include "framework/fail.h"

namespace attune::golden {
namespace {

/// shape(tensor): what the mask is seen as.
template <class Rank4>
AttentionMask module_mask(Session& session, const std::string& name, Rank4&& shape) {
  if (!session.has(name)) return {};
  const Tensor& given = session.raw(name);
  if (given.dtype() == DType::kBool) return AttentionMask::drop(given.view(shape(given.shape())));
  const Variable scores = session.input(name);
  return AttentionMask::bias(reshape(scores, shape(scores.shape())));
}

}  // namespace

AttentionMask attention_mask(Session& session, const std::string& name, int64_t heads) {
  return module_mask(session, name, [heads](const Shape& shape) {
    if (shape.rank() != 3) return shape;
    return Shape{shape[0] / heads, heads, shape[1], shape[2]};
  });
}

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

Variable batch_in_front(const Variable& x, bool batch_first) {
  if (x.rank() != 3) throw Skip("sequences without a batch are not in Attune");
  return batch_first ? x : transpose(x, 0, 1);
}

}  // namespace attune::golden
