#include "layers/pooling.h"

#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "layers/attention/scaled_dot_product.h"
#include "layers/init.h"

namespace attune {
namespace {

void check_sequence(const Module& module, const char* layer, const Variable& x) {
  if (x.rank() != 3) [[unlikely]] {
    fail<ShapeError>("{}: x is {}, expected [B, S, D]", module.who(layer), x.shape());
  }
}

}  // namespace

Variable MeanPooling::operator()(const Variable& x, const Tensor& lengths) const {
  check_sequence(*this, "MeanPooling", x);
  return result(lengths.defined() ? masked_mean(x, lengths) : mean(x, {1}));
}

Variable FirstPooling::operator()(const Variable& x) const {
  check_sequence(*this, "FirstPooling", x);
  require<ShapeError>(x.dim(1) > 0, "{}: x is {}, expected one position at least", who("FirstPooling"), x.shape());
  return result(select(x, 1, 0));
}

AttentionPooling::AttentionPooling(int64_t dim, AttentionPoolingOptions options)
    : heads_(options.heads),
      query_(parameter("query", init::zeros({dim}))),
      core_(child<ScaledDotProduct>("core", ScaledDotProductOptions{.dropout = options.dropout})) {
  require<ValueError>(dim > 0 && heads_ > 0 && dim % heads_ == 0,
                      "AttentionPooling: dim {} and {} heads given, expected heads that divide dim", dim, heads_);
}

AttentionResult AttentionPooling::operator()(const Variable& x, const AttentionMask& mask, bool want_weights) const {
  check_sequence(*this, "AttentionPooling", x);
  const int64_t batch = x.dim(0);
  const int64_t dim = query_.dim(0);
  if (x.dim(2) != dim) [[unlikely]] {
    fail<ShapeError>("{}: x is {}, expected [B, S, {}]", who("AttentionPooling"), x.shape(), dim);
  }
  const Variable q =
      expand(reshape(parameter_for(x, query_), {1, 1, heads_, dim / heads_}), {batch, 1, heads_, dim / heads_});
  const Variable keys = reshape(x, {batch, x.dim(1), heads_, dim / heads_});
  AttentionResult found = core_(q, keys, keys, mask, want_weights);
  found.output = result(reshape(found.output, {batch, dim}));
  if (want_weights) found.weights = select(found.weights, 2, 0);
  return found;
}

}  // namespace attune
