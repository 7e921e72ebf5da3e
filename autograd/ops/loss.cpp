#include "framework/kernels/loss.h"

#include <cmath>
#include <numeric>
#include <vector>

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

// Weights of classes on the host, in double precision; empty where there are none.
std::vector<double> check_class_weights(const char* op, const Tensor& weights, int64_t classes) {
  if (!weights.defined()) return {};
  require<DTypeError>(is_floating(weights.dtype()), "{}: class_weights are {}, expected a floating dtype", op, weights);
  require<ShapeError>(weights.shape() == Shape{classes}, "{}: class_weights have shape {}, expected [{}], one a class",
                      op, weights.shape(), classes);
  std::vector<double> host = weights.to(Device::cpu()).to(DType::kFloat64).to_vector<double>();
  for (size_t i = 0; i < host.size(); ++i) {
    require<ValueError>(host[i] >= 0 && std::isfinite(host[i]), "{}: the weight of class {} is {}, expected 0 or more",
                        op, i, host[i]);
  }
  return host;
}

// What a mean is divided by: the number of targets that count, or the sum of their classes' weights. Throws for a
// target outside 0 ... classes - 1.
double count_targets(const char* op, const Tensor& targets, int64_t classes, int64_t ignore_index,
                     const std::vector<double>& weights) {
  require<DTypeError>(targets.dtype() == DType::kInt64, "{}: targets are {}, expected int64", op,
                      dtype_name(targets.dtype()));
  const Tensor host = targets.to(Device::cpu()).contiguous();
  const int64_t* target = host.data<int64_t>();
  double count = 0;
  for (int64_t i = 0; i < targets.numel(); ++i) {
    if (target[i] == ignore_index) continue;
    require<ValueError>(target[i] >= 0 && target[i] < classes,
                        "{}: target {} at position {} is outside 0 ... {} (ignore_index is {})", op, target[i], i,
                        classes - 1, ignore_index);
    count += weights.empty() ? 1 : weights[static_cast<size_t>(target[i])];
  }
  return count;
}

// Throws for halves that differ.
void check_draws(const char* op, const Tensor& targets) {
  require<ShapeError>(targets.rank() >= 1 && targets.dim(0) % 2 == 0,
                      "{}: targets have shape {}, expected two halves of the first axis with r_drop", op,
                      targets.shape());
  const Tensor host = targets.to(Device::cpu()).contiguous();
  const int64_t* target = host.data<int64_t>();
  const int64_t half = targets.numel() / 2;
  for (int64_t i = 0; i < half; ++i) {
    require<ValueError>(target[i] == target[half + i],
                        "{}: targets {} and {} at positions {} and {}, expected twice the same with r_drop", op,
                        target[i], target[half + i], i, half + i);
  }
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
  if (options.r_drop == 0) return;
  require<ValueError>(options.reduction != Reduction::kNone && !options.class_weights.defined(),
                      "{}: r_drop is {}, which goes with neither class_weights nor Reduction::kNone", op,
                      options.r_drop);
}

void check_targets_shape(const char* op, const Shape& x, const Tensor& targets) {
  require<ShapeError>(x.rank() >= 1, "{}: the first operand has shape {}, expected [..., V]", op, x);
  Shape wanted = x;
  wanted.erase(wanted.rank() - 1);
  require<ShapeError>(targets.shape() == wanted, "{}: targets have shape {}, expected {} for {}", op, targets.shape(),
                      wanted, x);
}

// Everything about the targets of a cross-entropy.
struct Targets {
  CrossEntropySpec spec;
  Tensor labels;
  Tensor weights;  // of the classes, in what losses are kept in
  double count;    // see count_targets()

  Targets(const char* op, const Tensor& targets, const Variable& x, int64_t classes,
          const CrossEntropyOptions& options) {
    const std::vector<double> host = check_class_weights(op, options.class_weights, classes);
    count = count_targets(op, targets, classes, options.ignore_index, host);
    if (options.r_drop != 0) check_draws(op, targets);
    labels = labels_of(targets, x.device(), options);
    if (!host.empty()) {
      weights = options.class_weights.to(accumulation_dtype(x.dtype())).to(x.device()).contiguous();
    }
    spec = {options.label_smoothing, options.ignore_index, options.r_drop,
            std::accumulate(host.begin(), host.end(), 0.0)};
  }
};

// divergence: undefined without r_drop.
void losses_of(const Tensor& logits, const Tensor& labels, const Targets& all, Tensor& losses, Tensor& stats,
               Tensor& divergence) {
  const CrossEntropySpec& spec = all.spec;
  kernels::cross_entropy(logits, labels, all.weights, spec, losses, stats);
  if (divergence.defined()) kernels::paired_divergence(logits, labels, spec, stats, divergence, losses);
}

double scale_of(const char* op, Reduction reduction, double count, const Tensor& targets) {
  if (reduction == Reduction::kBatchMean) {
    require<ShapeError>(targets.rank() > 0, "{}: targets have shape {}, a mean over the batch needs one axis", op,
                        targets.shape());
    return 1 / static_cast<double>(std::max<int64_t>(targets.dim(0), 1));
  }
  return reduction != Reduction::kMean || count == 0 ? 1.0 : 1.0 / count;
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
  const Targets all("cross_entropy", targets, logits, classes, options);
  const Tensor x = logits.value().contiguous().view({targets.numel(), classes});
  Tensor losses = Tensor::empty({targets.numel()}, accumulation_dtype(x.dtype()), x.device());
  Tensor stats = Tensor::empty({targets.numel(), 2}, losses.dtype(), x.device());
  Tensor divergence = options.r_drop == 0 ? Tensor() : Tensor::empty_like(losses);
  losses_of(x, all.labels, all, losses, stats, divergence);
  if (options.reduction == Reduction::kNone) {
    return Tape::current().record("cross_entropy", losses.view(targets.shape()), {&logits},
                                  [x = SavedTensor(x), shape = logits.shape(), labels = SavedTensor(all.labels),
                                   weights = SavedTensor(all.weights), stats, spec = all.spec](Grads& g) {
                                    Tensor dx = Tensor::empty_like(x.get());
                                    const Tensor dlosses = g.dy().view({dx.dim(0)});
                                    kernels::cross_entropy_backward(x.get(), labels.get(), weights.get(), spec, stats,
                                                                    Tensor(), dlosses, 1, dx);
                                    g.add(0, dx.view(shape));
                                  });
  }
  const double scale = scale_of("cross_entropy", options.reduction, all.count, targets);
  return Tape::current().record(
      "cross_entropy", scaled_sum(losses, scale), {&logits},
      [x = SavedTensor(x), shape = logits.shape(), labels = SavedTensor(all.labels), weights = SavedTensor(all.weights),
       stats, divergence, spec = all.spec, scale](Grads& g) {
        Tensor dx = Tensor::empty_like(x.get());
        const bool here = dx.device().is_cpu();
        kernels::cross_entropy_backward(x.get(), labels.get(), weights.get(), spec, stats, divergence, Tensor(),
                                        here ? scale * g.dy().item() : scale, dx);
        g.add(0, (here ? dx : scaled_by(dx, g.dy())).view(shape));
      });
}

Variable linear_cross_entropy(const Variable& x, const Variable& weight, const Variable& bias, const Tensor& targets,
                              const CrossEntropyOptions& options) {
  constexpr const char* kOp = "linear_cross_entropy";
  check_options(kOp, options);
  require<ValueError>(options.reduction != Reduction::kNone,
                      "{}: Reduction::kNone given, but gradients are computed for one number; use "
                      "cross_entropy(linear(x, weight, bias), targets)",
                      kOp);
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
  const Targets all(kOp, targets, x, classes, options);
  const double scale = scale_of(kOp, options.reduction, all.count, targets);
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
    const auto of_draw = [&](const Tensor& both, int64_t draw) {
      return both.slice(0, draw * examples + begin, draw * examples + end);
    };
    const Tensor part_labels = all.labels.slice(0, begin, end);
    Tensor z = logits.slice(0, 0, draws * size);
    Tensor part_losses = losses.slice(0, draws * begin, draws * end);
    Tensor part_stats = stats.slice(0, 0, draws * size);
    Tensor part_divergence = draws == 1 ? Tensor() : divergence.slice(0, 0, draws * size);
    for (int64_t draw = 0; draw < draws; ++draw) {
      Tensor none;
      Tensor drawn = z.slice(0, draw * size, (draw + 1) * size);
      kernels::linear(of_draw(in, draw), w, b, Activation::kNone, DropoutSpec(), none, drawn);
    }
    losses_of(z, part_labels, all, part_losses, part_stats, part_divergence);
    if (!wants_x && !wants_weight && !wants_bias) continue;
    kernels::cross_entropy_backward(z, part_labels, all.weights, all.spec, part_stats, part_divergence, Tensor(), scale,
                                    z);
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

Variable nll_loss(const Variable& log_p, const Tensor& targets, const NllOptions& options) {
  constexpr const char* kOp = "nll_loss";
  check_operand(kOp, "log_p", log_p);
  check_targets_shape(kOp, log_p.shape(), targets);
  const std::vector<double> class_weights = check_class_weights(kOp, options.class_weights, log_p.dim(-1));
  const double count = count_targets(kOp, targets, log_p.dim(-1), options.ignore_index, class_weights);
  // Ignored targets take class 0, which where() then leaves out.
  Tensor picks = targets.to(Device::cpu()).clone();
  Tensor factors = Tensor::full(targets.shape(), -1, DType::kFloat64);
  Tensor counts = Tensor::empty(targets.shape(), DType::kBool);
  auto* pick = picks.data<int64_t>();
  auto* factor = factors.data<double>();
  bool* counted = counts.data<bool>();
  for (int64_t i = 0; i < targets.numel(); ++i) {
    counted[i] = pick[i] != options.ignore_index;
    if (!counted[i]) pick[i] = 0;
    if (!class_weights.empty()) factor[i] = -class_weights[static_cast<size_t>(pick[i])];
  }
  const DType dtype = accumulation_dtype(log_p.dtype());
  const Device device = log_p.device();
  const Variable picked = cast(gather(log_p, -1, picks.unsqueeze(-1).to(device)), dtype);
  const Variable zero(Tensor::zeros({}, dtype, device));
  const Variable losses =
      where(counts, reshape(picked, targets.shape()), zero) * Variable(factors.to(dtype).to(device));
  if (options.reduction == Reduction::kNone) return losses;
  return sum(losses) * scale_of(kOp, options.reduction, count, targets);
}

}  // namespace attune
