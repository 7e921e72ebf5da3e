#include "layers/attention/head_linear.h"

#include <cmath>

#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "layers/init.h"

namespace attune {
namespace {

/// x [B, N, H, in], weight [H, out, in], bias [H, out] or undefined -> [B, H, N, out].
Variable by_head(const Variable& x, const Variable& weight, const Variable& bias) {
  const int64_t batch = x.dim(0), rows = x.dim(1), heads = x.dim(2), in = x.dim(3), out = weight.dim(1);
  if (heads == 1) {
    const Variable y =
        linear(reshape(x, {batch, rows, in}), reshape(weight, {out, in}), bias.defined() ? reshape(bias, {out}) : bias);
    return reshape(y, {batch, 1, rows, out});
  }
  const Variable flat = reshape(permute(x, {2, 0, 1, 3}), {heads, batch * rows, in});
  Variable y = matmul(flat, weight, false, true);  // [H, B N, out]
  if (bias.defined()) y = y + reshape(bias, {heads, 1, out});
  return permute(reshape(y, {heads, batch, rows, out}), {1, 0, 2, 3});
}

}  // namespace

HeadLinear::HeadLinear(int64_t heads, int64_t in, int64_t out, Bias bias) {
  require<ValueError>(heads > 0 && in > 0 && out > 0,
                      "HeadLinear: {} heads, widths {} -> {} given, expected at least 1", heads, in, out);
  const double bound = std::sqrt(6.0 / static_cast<double>(in + out));
  weight_ = parameter("weight", init::uniform({heads, out, in}, -bound, bound));
  if (bias == Bias::kLearned) bias_ = parameter("bias", init::zeros({heads, out}));
}

Variable HeadLinear::operator()(const Variable& x) const {
  if (x.rank() != 4 || x.dim(2) != weight_.dim(0) || x.dim(3) != weight_.dim(2)) [[unlikely]] {
    fail<ShapeError>("{}: x is {}, expected [B, N, {}, {}]", who("HeadLinear"), x.shape(), weight_.dim(0),
                     weight_.dim(2));
  }
  return result(by_head(x, parameter_for(x, weight_), parameter_for(x, bias_)));
}

Variable HeadLinear::part(const Variable& x, int64_t out, int64_t begin, int64_t end) const {
  const Variable bias = parameter_for(x, bias_);
  return by_head(x, slice(slice(parameter_for(x, weight_), 1, 0, out), 2, begin, end),
                 bias.defined() ? slice(bias, 1, 0, out) : bias);
}

}  // namespace attune
