#include "layers/attention/image.h"

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/fail.h"
#include "framework/math/arithmetic.h"
#include "framework/math/compare.h"
#include "framework/math/create.h"
#include "framework/math/reduce.h"
#include "layers/attention/heads.h"

namespace attune {
namespace {

constexpr double kTiny = 1e-30;  // probabilities below count as this much in logarithms

Variable log_of(const Variable& probability) { return log(clamp(probability, kTiny, 1)); }

/// Index [B, H, T, 1] of a key: drawn from alpha [B, H, T, S] (the largest log alpha + Gumbel noise), or the largest.
Tensor choose(const Tensor& alpha, bool draw) {
  const NoGrad no_grad;
  Variable ranks(alpha);
  if (draw) {
    const Variable uniform(default_stream().uniform(alpha.shape(), 1e-7, 1, alpha.dtype()).to(alpha.device()));
    ranks = log_of(ranks) - log(-log(uniform));
  }
  return argmax(ranks.value(), -1, /*keep=*/true);
}

/// 1 at the index, 0 elsewhere and in rows of alpha that are 0.
Tensor at_index(const Tensor& index, const Tensor& alpha) {
  const Tensor total = sum(alpha, -1, /*keep=*/true);  // 1, or 0 without keys
  return one_hot(index.squeeze(-1), alpha.dim(3), alpha.dtype()) * (total >= 0.5).to(alpha.dtype());
}

void add_to(Variable& total, const Variable& more) { total = total.defined() ? total + more : more; }

}  // namespace

ImageAttention::ImageAttention(std::unique_ptr<Score> score, ImageAttentionOptions options)
    : AlignmentCore(options.dropout), options_(options), score_(own("score", std::move(score))) {
  const ScoreSizes& sizes = score_.sizes();
  if (options.gate) gate_ = &child<HeadLinear>("gate", sizes.heads, sizes.query, 1, HeadLinear::Bias::kLearned);
}

Variable ImageAttention::align(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                               const LoweredMask& mask) {
  const Variable alpha = masked(score_(q, memory.prepared), mask).weights();
  if (options_.kind == ImageAttentionKind::kSoft || alpha.dim(3) == 0) return alpha;
  // Logarithms add up over many queries: bfloat16 is widened.
  const Variable p = cast(alpha, accumulation_dtype(alpha.dtype()));
  const Tensor index = choose(p.value(), training());
  const Variable choice(at_index(index, p.value()));
  // A query without keys has chosen nothing: its factor is 0.
  const Variable chosen = log_of(gather(p, 3, index)) * sum(choice, {-1}, true);
  add_to(state.log_probability, sum(chosen, {2, 3}));
  add_to(state.entropy, -sum(p * log_of(p), {2, 3}));
  return cast(choice, alpha.dtype());
}

AttentionResult ImageAttention::attend_next(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                                            const LoweredMask& mask, bool want_weights) {
  AttentionResult result = AlignmentCore::attend_next(q, memory, state, mask, want_weights);
  if (gate_ != nullptr) result.output = result.output * permute(sigmoid((*gate_)(q)), {0, 2, 1, 3});
  return result;
}

Variable doubly_stochastic_penalty(const Variable& weights, double lambda) {
  require<ShapeError>(weights.rank() == 4, "doubly_stochastic_penalty: weights are {}, expected [B, H, T, S]",
                      weights.shape());
  return mean(sum(square(sum(weights, {2}) - 1.0), {-1})) * lambda;
}

ReinforceLoss::ReinforceLoss(ReinforceLossOptions options) : options_(options) {
  require<ValueError>(options.decay >= 0 && options.decay < 1, "ReinforceLoss: decay {} given, expected 0 <= decay < 1",
                      options.decay);
  baseline_ = buffer("baseline", Tensor::zeros({1}));
}

Variable ReinforceLoss::operator()(const Variable& log_likelihood, const AttentionState& state) {
  require<ValueError>(state.log_probability.defined() && state.entropy.defined(),
                      "{}: the state holds no choices; expected that of an ImageAttention of kind kHard after step()",
                      who("ReinforceLoss"));
  const int64_t batch = state.entropy.dim(0);
  require<ShapeError>(log_likelihood.shape() == Shape{batch}, "{}: log_likelihood is {}, expected [{}]",
                      who("ReinforceLoss"), log_likelihood.shape(), batch);
  const DType dtype = accumulation_dtype(log_likelihood.dtype());
  const Variable likelihood = cast(log_likelihood, dtype);
  const Variable advantage = likelihood.detach() - Variable(baseline_.value().to(dtype));
  const Variable bound = likelihood + advantage * sum(cast(state.log_probability, dtype), {1}) * options_.reward +
                         sum(cast(state.entropy, dtype), {1}) * options_.entropy;
  if (training()) {
    const NoGrad no_grad;
    const double after = options_.decay * baseline() + (1 - options_.decay) * mean(log_likelihood).item();
    Tensor(baseline_.value()).fill_(after);
  }
  return result(-mean(bound));
}

}  // namespace attune
