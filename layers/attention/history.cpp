#include "layers/attention/history.h"

#include <cmath>

#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "layers/init.h"

namespace attune {
namespace {

/// indices of the width keys around each of n keys, counted in the keys with width / 2 more on each side: [n width]
Tensor around_keys(int64_t n, int64_t width) {
  std::vector<int64_t> indices;
  indices.reserve(static_cast<size_t>(n * width));
  for (int64_t s = 0; s < n; ++s) {
    for (int64_t i = 0; i < width; ++i) indices.push_back(s + i);
  }
  return Tensor::from(indices, {n * width});
}

}  // namespace

HistoryAttention::HistoryAttention(const HistoryAttentionOptions& options)
    : AlignmentCore(options.dropout),
      score_(child<AdditiveScore>("score", options.sizes, AdditiveScoreOptions{.bias = true})) {}

Variable HistoryAttention::align(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                                 const LoweredMask& mask) {
  const Shape shape{q.dim(0), q.dim(2), q.dim(1), memory.k.dim(1)};
  if (shape[2] == 0) return Variable(Tensor::zeros(shape, q.dtype(), q.device()));
  const Variable bias = parameter_for(q, mask.bias);
  const Tensor allowed = allowed_keys(mask.spec, bias.value(), shape, q.device());
  const Variable queries = score_.queries(q);
  std::vector<Variable> rows;
  for (int64_t t = 0; t < shape[2]; ++t) {
    const auto row = [t](const Variable& x) { return x.dim(-2) == 1 ? x : slice(x, -2, t, t + 1); };
    const Variable& prepared = memory.prepared;
    const Variable keys =
        state.carried.defined() ? prepared + parameter_for(prepared, features(state.carried)) : prepared;
    Variable scores = score_.energy(row(queries), keys);  // [B, H, 1, S]
    if (bias.defined()) scores = scores + row(bias);
    rows.push_back(masked_softmax(scores, allowed.slice(2, t, t + 1)));
    // Weights add up over many queries: bfloat16 is widened.
    const Variable latest = select(rows.back(), 2, 0);
    state.carried = after(state.carried, cast(latest, accumulation_dtype(latest.dtype())));
  }
  return rows.size() == 1 ? rows.front() : concat(rows, 2);
}

LocationAwareAttention::LocationAwareAttention(const LocationAwareOptions& options)
    : HistoryAttention({.sizes = options.sizes, .dropout = options.dropout}) {
  require<ValueError>(options.filters > 0 && options.width > 0 && options.width % 2 == 1,
                      "LocationAwareAttention: {} filters of width {} given, expected at least 1 of an odd width",
                      options.filters, options.width);
  const auto bound = [](int64_t in, int64_t out) { return std::sqrt(6.0 / static_cast<double>(in + out)); };
  const double a = bound(options.width, options.filters), b = bound(options.filters, sizes().hidden);
  filters_ = parameter("filters", init::uniform({sizes().heads, options.width, options.filters}, -a, a));
  features_ = parameter("features", init::uniform({sizes().heads, sizes().hidden, options.filters}, -b, b));
}

Variable LocationAwareAttention::features(const Variable& carried) const {
  const int64_t batch = carried.dim(0), heads = carried.dim(1), keys = carried.dim(2), width = filters_.dim(1);
  const Variable edge(Tensor::zeros({batch, heads, width / 2}, carried.dtype(), carried.device()));
  const Variable padded = concat({edge, carried, edge}, 2);
  const Tensor indices = around_keys(keys, width).to(carried.device());
  const Variable windows = reshape(index_select(padded, 2, indices), {batch, heads, keys, width});
  const DType dtype = carried.dtype();
  return matmul(matmul(windows, cast(filters_, dtype)), cast(features_, dtype), false, true);  // [B, H, S, A]
}

Variable LocationAwareAttention::after(const Variable&, const Variable& weights) const { return weights; }

CoverageAttention::CoverageAttention(const HistoryAttentionOptions& options) : HistoryAttention(options) {
  const double bound = std::sqrt(6.0 / static_cast<double>(1 + sizes().hidden));
  w_coverage_ = parameter("w_coverage", init::uniform({sizes().heads, sizes().hidden}, -bound, bound));
}

Variable CoverageAttention::features(const Variable& carried) const {
  return reshape(carried, {carried.dim(0), carried.dim(1), carried.dim(2), 1}) *
         reshape(cast(w_coverage_, carried.dtype()), {sizes().heads, 1, sizes().hidden});
}

Variable CoverageAttention::after(const Variable& carried, const Variable& weights) const {
  return carried.defined() ? carried + weights : weights;
}

Variable coverage_loss(const Variable& weights) {
  require<ShapeError>(weights.rank() == 4, "coverage_loss: weights are {}, expected [B, H, T, S]", weights.shape());
  const int64_t queries = weights.dim(2);
  Tensor earlier = Tensor::zeros({queries, queries}, DType::kFloat64);  // row t has ones in front of t
  for (int64_t t = 1; t < queries; ++t) earlier.select(0, t).slice(0, 0, t).fill_(1);
  const Variable coverage = matmul(Variable(earlier.to(weights.dtype()).to(weights.device())), weights);
  return sum(minimum(weights, coverage), {-1});
}

}  // namespace attune
