#include "layers/batch_norm.h"

#include "autograd/ops/batch_norm.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/fail.h"
#include "layers/init.h"

namespace attune {
namespace {

/// running = (1 - momentum) running + momentum batch, computed in the dtype of the batch's statistics
void move_towards(const Variable& running, const Tensor& batch, double momentum, double factor) {
  const NoGrad values_only;
  const Variable moved = affine(Variable(running.value().to(batch.dtype())), 1 - momentum, 0) +
                         affine(Variable(batch), momentum * factor, 0);
  Tensor(running.value()).copy_(moved.value());
}

}  // namespace

BatchNorm2d::BatchNorm2d(int64_t channels, BatchNormOptions options) : options_(options) {
  require<ValueError>(channels > 0 && options.eps > 0 && options.momentum >= 0 && options.momentum <= 1,
                      "BatchNorm2d: {} channels, eps {} and momentum {} given, expected at least 1, more than 0 and "
                      "0 ... 1",
                      channels, options.eps, options.momentum);
  weight_ = parameter("weight", init::ones({channels}));
  bias_ = parameter("bias", init::zeros({channels}));
  running_mean_ = buffer("running_mean", init::zeros({channels}));
  running_var_ = buffer("running_var", init::ones({channels}));
}

Variable BatchNorm2d::operator()(const Variable& x) const {
  const int64_t channels = weight_.dim(0);
  require<ShapeError>(x.rank() == 4 && x.dim(3) == channels, "{}: input is {}, expected [B, H, W, {}]",
                      who("BatchNorm2d"), x.shape(), channels);
  if (x.numel() == 0) return result(x);
  if (!training()) {
    return result(batch_norm_by(x, running_mean_.value(), running_var_.value(), weight_, bias_, options_.eps));
  }
  const int64_t count = x.numel() / channels;
  require<ShapeError>(count > 1, "{}: input is {}: one value per channel has no variance; train on larger batches",
                      who("BatchNorm2d"), x.shape());
  const BatchNormResult normed = batch_norm(x, weight_, bias_, options_.eps);
  const auto n = static_cast<double>(count);
  move_towards(running_mean_, normed.mean, options_.momentum, 1);
  move_towards(running_var_, normed.variance, options_.momentum, n / (n - 1));
  return result(normed.output);
}

GroupNorm::GroupNorm(int64_t groups, int64_t channels, double eps) : groups_(groups), eps_(eps) {
  require<ValueError>(groups > 0 && channels > 0 && channels % groups == 0,
                      "GroupNorm: {} groups given for {} channels; they must divide them", groups, channels);
  require<ValueError>(eps > 0, "GroupNorm: eps {} given, expected more than 0", eps);
  weight_ = parameter("weight", init::ones({channels}));
  bias_ = parameter("bias", init::zeros({channels}));
}

Variable GroupNorm::operator()(const Variable& x) const {
  const int64_t channels = weight_.dim(0);
  require<ShapeError>(x.rank() >= 2 && x.dim(-1) == channels, "{}: input is {}, expected [B, ..., {}]",
                      who("GroupNorm"), x.shape(), channels);
  if (x.numel() == 0) return result(x);
  const int64_t batch = x.dim(0);
  const DType dtype = accumulation_dtype(x.dtype());
  const Variable grouped = reshape(cast(x, dtype), {batch, -1, groups_, channels / groups_});  // [B, P, G, C / G]
  const Variable centred = grouped - mean(grouped, {1, 3}, true);
  const Variable variance = mean(square(centred), {1, 3}, true);
  const Variable normalised = reshape(centred / sqrt(variance + eps_), x.shape());
  return result(cast(normalised * cast(weight_, dtype) + cast(bias_, dtype), x.dtype()));
}

}  // namespace attune
