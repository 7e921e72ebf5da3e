#include "framework/kernels/loss.h"

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

// Number of targets that count. Throws for one outside 0 ... classes - 1.
int64_t count_targets(const char* op, const Tensor& targets, int64_t classes, int64_t ignore_index) {
  require<DTypeError>(targets.dtype() == DType::kInt64, "{}: targets are {}, expected int64", op,
                      dtype_name(targets.dtype()));
  const Tensor host = targets.to(Device::cpu()).contiguous();
  const int64_t* target = host.data<int64_t>();
  int64_t count = 0;
  for (int64_t i = 0; i < targets.numel(); ++i) {
    if (target[i] == ignore_index) continue;
    require<ValueError>(target[i] >= 0 && target[i] < classes,
                        "{}: target {} at position {} is outside 0 ... {} (ignore_index is {})", op, target[i], i,
                        classes - 1, ignore_index);
    ++count;
  }
  return count;
}

void check_options(const char* op, const CrossEntropyOptions& options) {
  require<ValueError>(options.label_smoothing >= 0 && options.label_smoothing < 1,
                      "{}: label smoothing is {}, expected 0 <= e < 1", op, options.label_smoothing);
}

void check_targets_shape(const char* op, const Shape& x, const Tensor& targets) {
  require<ShapeError>(x.rank() >= 1, "{}: the first operand has shape {}, expected [..., V]", op, x);
  Shape wanted = x;
  wanted.erase(wanted.rank() - 1);
  require<ShapeError>(targets.shape() == wanted, "{}: targets have shape {}, expected {} for {}", op, targets.shape(),
                      wanted, x);
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
  const int64_t count = count_targets("cross_entropy", targets, classes, options.ignore_index);
  const Tensor labels = targets.to(logits.device()).contiguous();
  const Tensor x = logits.value().contiguous().view({labels.numel(), classes});
  const CrossEntropySpec spec{options.label_smoothing, options.ignore_index};
  Tensor losses = Tensor::empty({labels.numel()}, accumulation_dtype(x.dtype()), x.device());
  Tensor lse = Tensor::empty_like(losses);
  kernels::cross_entropy(x, labels, spec, losses, lse);
  const double scale = scale_of(options.reduction, count);
  return Tape::current().record(
      "cross_entropy", scaled_sum(losses, scale), {&logits},
      [x = SavedTensor(x), shape = logits.shape(), labels = SavedTensor(labels), lse, spec, scale](Grads& g) {
        Tensor dx = Tensor::empty_like(x.get());
        const bool here = dx.device().is_cpu();
        kernels::cross_entropy_backward(x.get(), labels.get(), spec, lse, here ? scale * g.dy().item() : scale, dx);
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
  const int64_t count = count_targets(kOp, targets, classes, options.ignore_index);
  const Tensor labels = targets.to(x.device()).reshape({rows});
  const double scale = scale_of(options.reduction, count);
  const CrossEntropySpec spec{options.label_smoothing, options.ignore_index};
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
  // A block's logits stay in the second-level caches between the three products that use them.
  const int64_t block = std::max<int64_t>(32, (int64_t{1} << 21) / std::max<int64_t>(classes, 1));
  Tensor logits = Tensor::empty({std::min(block, rows), classes}, in.dtype(), in.device());
  Tensor lse = Tensor::empty({logits.dim(0)}, accumulation_dtype(in.dtype()), in.device());
  for (int64_t begin = 0; begin < rows; begin += block) {
    const int64_t end = std::min(rows, begin + block);
    const Tensor part = in.slice(0, begin, end);
    const Tensor part_labels = labels.slice(0, begin, end);
    Tensor z = logits.slice(0, 0, end - begin);
    Tensor part_losses = losses.slice(0, begin, end);
    Tensor part_lse = lse.slice(0, 0, end - begin);
    Tensor none;
    kernels::linear(part, w, b, Activation::kNone, DropoutSpec(), none, z);
    kernels::cross_entropy(z, part_labels, spec, part_losses, part_lse);
    if (!wants_x && !wants_weight && !wants_bias) continue;
    kernels::cross_entropy_backward(z, part_labels, spec, part_lse, scale, z);
    if (wants_x) {
      Tensor part_dx = dx.slice(0, begin, end);
      kernels::matmul(z, w, {}, part_dx);
    }
    if (wants_weight) {
      kernels::matmul(z, part, {.transpose_a = true, .accumulate = begin > 0, .exact_zeros = true}, dweight);
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
