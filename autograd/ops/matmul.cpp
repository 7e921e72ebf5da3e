#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/kernels/gemm.h"
#include "framework/kernels/linear.h"
#include "framework/kernels/reduce.h"
#include "framework/math/detail/einsum.h"

namespace attune {
namespace {

// x with the leading axes of `shape` (stride 0 where they broadcast) and its own last two.
Tensor with_batch(const Tensor& x, const Shape& shape) {
  Shape wanted = shape;
  const int rank = shape.rank();
  wanted[rank - 2] = x.dim(-2);
  wanted[rank - 1] = x.dim(-1);
  return x.shape() == wanted ? x : x.expand(wanted);
}

struct VariableEinsum {
  static Variable sum(const Variable& x, const std::vector<int>& axes) { return attune::sum(x, axes); }
  static Variable matrices(const Variable& x, const std::vector<int>& axes, const Shape& shape) {
    return reshape(permute(x, axes), shape);
  }
  static Variable product(const Variable& a, const Variable& b) { return matmul(a, b); }
  static Variable restore(const Variable& y, const Shape& shape, const std::vector<int>& axes) {
    return permute(reshape(y, shape), axes);
  }
};

}  // namespace

Variable einsum(std::string_view equation, const Variable& a, const Variable& b) {
  check_operand("einsum", "a", a);
  check_operand("einsum", "b", b);
  check_same_dtype("einsum", a, "a", b, "b");
  return run_einsum(EinsumPlan(equation, a.shape(), b.shape()), a, b, VariableEinsum{});
}

Variable matmul(const Variable& a, const Variable& b, bool transpose_a, bool transpose_b, bool exact_zeros) {
  require<ShapeError>(a.rank() >= 2 && b.rank() >= 2, "matmul: shapes {} and {} need at least two axes", a.shape(),
                      b.shape());
  check_same_dtype("matmul", a, "a", b, "b");
  const int64_t m = a.dim(transpose_a ? -1 : -2);
  const int64_t k = a.dim(transpose_a ? -2 : -1);
  const int64_t n = b.dim(transpose_b ? -2 : -1);
  require<ShapeError>(k == b.dim(transpose_b ? -1 : -2),
                      "matmul: a {}{} has {} columns and b {}{} has {} rows; they must be equal", a.shape(),
                      transpose_a ? " transposed" : "", k, b.shape(), transpose_b ? " transposed" : "",
                      b.dim(transpose_b ? -1 : -2));
  Shape a_batch = a.shape();
  Shape b_batch = b.shape();
  for (Shape* batch : {&a_batch, &b_batch}) {
    (*batch)[batch->rank() - 2] = 1;
    (*batch)[batch->rank() - 1] = 1;
  }
  Shape shape = broadcast_shapes(a_batch, b_batch, "matmul");
  shape[shape.rank() - 2] = m;
  shape[shape.rank() - 1] = n;
  Tensor y = Tensor::empty(shape, a.dtype(), a.device());
  MatmulOptions options;
  options.transpose_a = transpose_a;
  options.transpose_b = transpose_b;
  options.exact_zeros = exact_zeros;
  kernels::matmul(with_batch(a.value(), shape), with_batch(b.value(), shape), options, y);
  return Tape::current().record(
      "matmul", std::move(y), {&a, &b},
      [a = SavedTensor(a.value()), b = SavedTensor(b.value()), transpose_a, transpose_b](Grads& g) {
        // Y = A B, dA = dY B^T, dB = A^T dY; a transposed operand gets the transposed gradient. Where dY stands on the
        // left, its zeros contribute nothing: what is not used has no gradient, NaN or not.
        const Tensor& dy = g.dy();
        const Tensor av = with_batch(a.get(), dy.shape());
        const Tensor bv = with_batch(b.get(), dy.shape());
        MatmulOptions o;
        if (g.needs(0)) {
          Tensor da = Tensor::empty(av.shape(), dy.dtype(), dy.device());
          if (transpose_a) {
            // A^T given: dA = B dY^T
            o = {.transpose_a = transpose_b, .transpose_b = true};
            kernels::matmul(bv, dy, o, da);
          } else {
            o = {.transpose_a = false, .transpose_b = !transpose_b, .exact_zeros = true};
            kernels::matmul(dy, bv, o, da);
          }
          g.add(0, unbroadcast(std::move(da), a.get().shape()));
        }
        if (g.needs(1)) {
          Tensor db = Tensor::empty(bv.shape(), dy.dtype(), dy.device());
          if (transpose_b) {
            // B^T given: dB = dY^T A
            o = {.transpose_a = true, .transpose_b = transpose_a, .exact_zeros = true};
            kernels::matmul(dy, av, o, db);
          } else {
            o = {.transpose_a = !transpose_a, .transpose_b = false};
            kernels::matmul(av, dy, o, db);
          }
          g.add(1, unbroadcast(std::move(db), b.get().shape()));
        }
      });
}

Variable linear(const Variable& x, const Variable& weight, const Variable& bias, Activation activation, double dropout,
                RandomStream& stream) {
  require<ShapeError>(weight.rank() == 2, "linear: weight has shape {}, expected [N, K]", weight.shape());
  require<ShapeError>(x.rank() >= 1 && x.dim(-1) == weight.dim(1),
                      "linear: x has shape {} and weight {}; the last axis of x must be {}", x.shape(), weight.shape(),
                      weight.dim(1));
  require<ShapeError>(!bias.defined() || bias.shape() == Shape{weight.dim(0)},
                      "linear: bias has shape {}, expected [{}] for weight {}", bias.shape(), weight.dim(0),
                      weight.shape());
  check_parameter_dtype("linear", x, weight, "weight");
  check_parameter_dtype("linear", x, bias, "bias");
  check_probability("linear", dropout);
  const Tensor in = x.value().contiguous();
  Shape shape = in.shape();
  shape[shape.rank() - 1] = weight.dim(0);
  Tensor y = Tensor::empty(shape, in.dtype(), in.device());
  DropoutSpec spec;
  if (dropout > 0) spec = {dropout, stream.reserve(y.numel())};
  // Relu's derivative is read from y; the others need what came in.
  const bool keeps_z = activation != Activation::kNone && activation != Activation::kRelu;
  Tensor z;
  if (keeps_z && grad_enabled()) z = Tensor::empty_like(y);
  const Tensor w = weight.value_as(in.dtype()).contiguous();
  kernels::linear(in, w, bias.value_as(in.dtype()).contiguous(), activation, spec, z, y);
  SavedTensor kept_y;
  if (activation == Activation::kRelu) kept_y = SavedTensor(y);
  return Tape::current().record(
      "linear", std::move(y), {&x, &weight, &bias},
      [in = SavedTensor(in), weight = SavedTensor(w), given = SavedTensor(weight.value()), kept_y, z, activation,
       spec](Grads& g) {
        // z = x W^T + b, y = dropout(activation(z))
        // dz = dy activation'(z), db = sum dz, dx = dz W, dW = dz^T x
        GradTarget dbias;
        if (g.needs(2)) dbias = g.target(2);
        Tensor dz;
        if (activation != Activation::kNone || spec.probability > 0) dz = Tensor::empty_like(g.dy());
        kernels::linear_backward(g.dy(), z, kept_y.get(), activation, spec, dz, dbias.tensor, dbias.accumulate);
        given.get();  // of which `weights` may be a rounded copy
        const Tensor& weights = weight.get();
        const Tensor& x_in = in.get();
        Shape leading = x_in.shape();
        leading.erase(leading.rank() - 1);
        const Tensor gradient = (dz.defined() ? dz : g.dy()).view({leading.numel(), weights.dim(0)});
        if (g.needs(0)) {
          GradTarget dx = g.target(0);
          Tensor flat = dx.tensor.view({gradient.dim(0), weights.dim(1)});
          kernels::matmul(gradient, weights, {.accumulate = dx.accumulate}, flat);
        }
        if (g.needs(1)) {
          GradTarget dw = g.target(1);
          kernels::matmul(gradient, x_in.view({gradient.dim(0), weights.dim(1)}),
                          {.transpose_a = true, .accumulate = dw.accumulate, .exact_zeros = true}, dw.tensor);
        }
      });
}

}  // namespace attune
