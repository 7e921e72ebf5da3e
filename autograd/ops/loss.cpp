#include "framework/kernels/loss.h"

#include <cmath>

#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/kernels/copy.h"
#include "framework/kernels/elementwise.h"
#include "framework/kernels/gemm.h"
#include "framework/kernels/linear.h"
#include "framework/kernels/reduce.h"

namespace attune {
namespace {

// Number of targets that count. Throws for one outside 0 ... classes - 1, and with r_drop for halves that differ.
int64_t count_targets(const char* op, const Tensor& targets, int64_t classes, const CrossEntropyOptions& options) {
  require<DTypeError>(targets.dtype() == DType::kInt64, "{}: targets are {}, expected int64", op,
                      dtype_name(targets.dtype()));
  const Tensor host = targets.to(Device::cpu()).contiguous();
  const int64_t* target = host.data<int64_t>();
  int64_t count = 0;
  for (int64_t i = 0; i < targets.numel(); ++i) {
    if (target[i] == options.ignore_index) continue;
    require<ValueError>(target[i] >= 0 && target[i] < classes,
                        "{}: target {} at position {} is outside 0 ... {} (ignore_index is {})", op, target[i], i,
                        classes - 1, options.ignore_index);
    ++count;
  }
  if (options.r_drop == 0) return count;
  require<ShapeError>(targets.rank() >= 1 && targets.dim(0) % 2 == 0,
                      "{}: targets have shape {}, expected two halves of the first axis with r_drop", op,
                      targets.shape());
  const int64_t half = targets.numel() / 2;
  for (int64_t i = 0; i < half; ++i) {
    require<ValueError>(target[i] == target[half + i],
                        "{}: targets {} and {} at positions {} and {}, expected twice the same with r_drop", op,
                        target[i], target[half + i], i, half + i);
  }
  return count;
}

// Labels of all rows; with r_drop of the first half.
Tensor labels_of(const Tensor& targets, Device device, const CrossEntropyOptions& options) {
  const Tensor labels = targets.to(device).reshape({targets.numel()});
  return options.r_drop == 0 ? labels : labels.slice(0, 0, labels.numel() / 2);
}

void check_options(const char* op, const CrossEntropyOptions& options) {
  require<ValueError>(options.label_smoothing >= 0 && options.label_smoothing < 1,
                      "{}: label smoothing is {}, expected 0 <= e < 1", op, options.label_smoothing);
  require<ValueError>(options.r_drop >= 0 && std::isfinite(options.r_drop), "{}: r_drop is {}, expected 0 or more", op,
                      options.r_drop);
}

void check_targets_shape(const char* op, const Shape& x, const Tensor& targets) {
  require<ShapeError>(x.rank() >= 1, "{}: the first operand has shape {}, expected [..., V]", op, x);
  Shape wanted = x;
  wanted.erase(wanted.rank() - 1);
  require<ShapeError>(targets.shape() == wanted, "{}: targets have shape {}, expected {} for {}", op, targets.shape(),
                      wanted, x);
}

CrossEntropySpec spec_of(const CrossEntropyOptions& options) {
  return {options.label_smoothing, options.ignore_index, options.r_drop};
}

// divergence: undefined without r_drop.
void losses_of(const Tensor& logits, const Tensor& labels, const CrossEntropySpec& spec, Tensor& losses, Tensor& stats,
               Tensor& divergence) {
  kernels::cross_entropy(logits, labels, spec, losses, stats);
  if (divergence.defined()) kernels::paired_divergence(logits, labels, spec, stats, divergence, losses);
}

double scale_of(Reduction reduction, int64_t count) {
  return reduction == Reduction::kSum || count == 0 ? 1.0 : 1.0 / static_cast<double>(count);
}

Tensor scaled_sum(const Tensor& losses, double scale) {
  Tensor total = Tensor::empty({}, losses.dtype(), losses.device());
  kernels::sum_to(losses, total);
  Tensor scaled = Tensor::empty_like(total);
  kernels::affine(total, scale, 0, scaled);
  return scaled;
}

// A gradient times the scalar dy. On the host a factor of 1 costs nothing; a CUDA device is not waited for to learn it.
Tensor scaled_by(const Tensor& gradient, const Tensor& dy) {
  const bool here = dy.device().is_cpu();
  if (here && dy.item() == 1) return gradient;
  Tensor out = Tensor::empty_like(gradient);
  if (here) {
    kernels::affine(gradient, dy.item(), 0, out);
  } else {
    kernels::mul(gradient, dy.to(gradient.dtype()), out);
  }
  return out;
}

}  // namespace

Variable cross_entropy(const Variable& logits, const Tensor& targets, const CrossEntropyOptions& options) {
  check_options("cross_entropy", options);
  check_targets_shape("cross_entropy", logits.shape(), targets);
  const int64_t classes = logits.dim(-1);
  const int64_t count = count_targets("cross_entropy", targets, classes, options);
  const Tensor labels = labels_of(targets, logits.device(), options);
  const Tensor x = logits.value().contiguous().view({targets.numel(), classes});
  const CrossEntropySpec spec = spec_of(options);
  Tensor losses = Tensor::empty({targets.numel()}, accumulation_dtype(x.dtype()), x.device());
  Tensor stats = Tensor::empty({targets.numel(), 2}, losses.dtype(), x.device());
  Tensor divergence = options.r_drop == 0 ? Tensor() : Tensor::empty_like(losses);
  losses_of(x, labels, spec, losses, stats, divergence);
  const double scale = scale_of(options.reduction, count);
  return Tape::current().record("cross_entropy", scaled_sum(losses, scale), {&logits},
                                [x = SavedTensor(x), shape = logits.shape(), labels = SavedTensor(labels), stats,
                                 divergence, spec, scale](Grads& g) {
                                  Tensor dx = Tensor::empty_like(x.get());
                                  const bool here = dx.device().is_cpu();
                                  kernels::cross_entropy_backward(x.get(), labels.get(), spec, stats, divergence,
                                                                  here ? scale * g.dy().item() : scale, dx);
                                  g.add(0, (here ? dx : scaled_by(dx, g.dy())).view(shape));
                                });
}

Variable linear_cross_entropy(const Variable& x, const Variable& weight, const Variable& bias, const Tensor& targets,
                              const CrossEntropyOptions& options) {
  constexpr const char* kOp = "linear_cross_entropy";
  check_options(kOp, options);
  require<ShapeError>(weight.rank() == 2 && x.rank() >= 1 && x.dim(-1) == weight.dim(1),
                      "{}: x has shape {} and weight {}; the last axes must be equal", kOp, x.shape(), weight.shape());
  require<ShapeError>(!bias.defined() || bias.shape() == Shape{weight.dim(0)}, "{}: bias has shape {}, expected [{}]",
                      kOp, bias.shape(), weight.dim(0));
  check_targets_shape(kOp, x.shape(), targets);
  check_parameter_dtype(kOp, x, weight, "weight");
  check_parameter_dtype(kOp, x, bias, "bias");
  const int64_t classes = weight.dim(0);
  const int64_t width = weight.dim(1);
  const int64_t rows = targets.numel();
  const int64_t count = count_targets(kOp, targets, classes, options);
  const Tensor labels = labels_of(targets, x.device(), options);
  const double scale = scale_of(options.reduction, count);
  const CrossEntropySpec spec = spec_of(options);
  const Tensor in = x.value().contiguous().view({rows, width});
  const Tensor w = weight.value_as(in.dtype()).contiguous();
  const Tensor b = bias.value_as(in.dtype()).contiguous();

  const bool wants_x = grad_enabled() && x.requires_grad();
  const bool wants_weight = grad_enabled() && weight.requires_grad();
  const bool wants_bias = grad_enabled() && bias.defined() && bias.requires_grad();
  Tensor losses = Tensor::empty({rows}, accumulation_dtype(in.dtype()), in.device());
  Tensor dx = wants_x ? Tensor::empty_like(in) : Tensor();
  Tensor dweight = wants_weight ? Tensor::empty(w.shape(), weight.dtype(), in.device()) : Tensor();
  Tensor dbias = wants_bias ? Tensor::empty({classes}, bias.dtype(), in.device()) : Tensor();
  if (rows == 0) {
    if (wants_weight) kernels::fill(dweight, 0);
    if (wants_bias) kernels::fill(dbias, 0);
  }
  // A block's logits stay in the second-level caches between the three products that use them. Of two draws it has the
  // same rows of both, one after the other.
  const int64_t draws = options.r_drop == 0 ? 1 : 2;
  const int64_t examples = rows / draws;
  const int64_t block = std::max<int64_t>(32, (int64_t{1} << 21) / std::max<int64_t>(classes, 1)) / draws;
  Tensor logits = Tensor::empty({draws * std::min(block, examples), classes}, in.dtype(), in.device());
  Tensor stats = Tensor::empty({logits.dim(0), 2}, losses.dtype(), in.device());
  Tensor divergence = draws == 1 ? Tensor() : Tensor::empty({logits.dim(0)}, losses.dtype(), in.device());
  for (int64_t begin = 0; begin < examples; begin += block) {
    const int64_t end = std::min(examples, begin + block);
    const int64_t size = end - begin;
    const auto of_draw = [&](const Tensor& all, int64_t draw) {
      return all.slice(0, draw * examples + begin, draw * examples + end);
    };
    const Tensor part_labels = labels.slice(0, begin, end);
    Tensor z = logits.slice(0, 0, draws * size);
    Tensor part_losses = losses.slice(0, draws * begin, draws * end);
    Tensor part_stats = stats.slice(0, 0, draws * size);
    Tensor part_divergence = draws == 1 ? Tensor() : divergence.slice(0, 0, draws * size);
    for (int64_t draw = 0; draw < draws; ++draw) {
      Tensor none;
      Tensor drawn = z.slice(0, draw * size, (draw + 1) * size);
      kernels::linear(of_draw(in, draw), w, b, Activation::kNone, DropoutSpec(), none, drawn);
    }
    losses_of(z, part_labels, spec, part_losses, part_stats, part_divergence);
    if (!wants_x && !wants_weight && !wants_bias) continue;
    kernels::cross_entropy_backward(z, part_labels, spec, part_stats, part_divergence, scale, z);
    for (int64_t draw = 0; draw < draws; ++draw) {
      const Tensor dz = z.slice(0, draw * size, (draw + 1) * size);
      if (wants_x) {
        Tensor part_dx = of_draw(dx, draw);
        kernels::matmul(dz, w, {}, part_dx);
      }
      if (wants_weight) {
        const bool more = begin > 0 || draw > 0;
        kernels::matmul(dz, of_draw(in, draw), {.transpose_a = true, .accumulate = more, .exact_zeros = true}, dweight);
      }
    }
    if (wants_bias) {
      Tensor no_dz;
      kernels::linear_backward(z, Tensor(), Tensor(), Activation::kNone, DropoutSpec(), no_dz, dbias, begin > 0);
    }
  }
  return Tape::current().record(
      kOp, scaled_sum(losses, scale), {&x, &weight, &bias},
      [dx = SavedTensor(dx), dweight = SavedTensor(dweight), dbias = SavedTensor(dbias), shape = x.shape()](Grads& g) {
        // The gradients were computed for an upstream gradient of 1.
        if (g.needs(0)) g.add(0, scaled_by(dx.get(), g.dy()).view(shape));
        if (g.needs(1)) g.add(1, scaled_by(dweight.get(), g.dy()));
        if (g.needs(2)) g.add(2, scaled_by(dbias.get(), g.dy()));
      });
}

}  // namespace attune
