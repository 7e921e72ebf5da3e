#pragma once

// Every differentiable operation. Letters: B batch, T target length, S source length, D model, H heads, K head size,
// V vocabulary. Weights, biases, gains and the like may be float32 beside a bfloat16 x (mixed precision: Micikevicius
// et al., 2018): products are of bfloat16, gradients of parameters are float32. Shape errors are ShapeErrors that name
// the op, the argument and both shapes. Each function has a row in tests/ops/cases.cpp; a test fails if one has not.
// Masks, indices and lengths may be on any device: those on the CPU are checked there, so that no other device is
// waited for.

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "autograd/ops/activation.h"
#include "autograd/ops/loss.h"
#include "autograd/variable.h"
#include "framework/kernels/activation.h"
#include "framework/math/axes.h"
#include "framework/math/rearrange.h"
#include "framework/random.h"

namespace attune {

// Elementwise, broadcasting by NumPy's rule (elementwise.cpp). Activations: activation.h.

Variable add(const Variable& a, const Variable& b);
Variable sub(const Variable& a, const Variable& b);
Variable mul(const Variable& a, const Variable& b);
Variable div(const Variable& a, const Variable& b);
Variable maximum(const Variable& a, const Variable& b);  ///< the gradient goes to a where both are equal
Variable minimum(const Variable& a, const Variable& b);  ///< the gradient goes to a where both are equal
inline Variable operator+(const Variable& a, const Variable& b) { return add(a, b); }
inline Variable operator-(const Variable& a, const Variable& b) { return sub(a, b); }
inline Variable operator*(const Variable& a, const Variable& b) { return mul(a, b); }
inline Variable operator/(const Variable& a, const Variable& b) { return div(a, b); }

/// x * factor + offset
Variable affine(const Variable& x, double factor, double offset);
inline Variable operator*(const Variable& x, double factor) { return affine(x, factor, 0); }
inline Variable operator*(double factor, const Variable& x) { return affine(x, factor, 0); }
inline Variable operator+(const Variable& x, double offset) { return affine(x, 1, offset); }
inline Variable operator-(const Variable& x, double offset) { return affine(x, 1, -offset); }
inline Variable operator-(const Variable& x) { return affine(x, -1, 0); }
inline Variable operator+(double offset, const Variable& x) { return affine(x, 1, offset); }
inline Variable operator-(double offset, const Variable& x) { return affine(x, -1, offset); }
inline Variable operator/(const Variable& x, double divisor) { return affine(x, 1 / divisor, 0); }

Variable exp(const Variable& x);
Variable log(const Variable& x);
Variable log1p(const Variable& x);  ///< log(1 + x), precise for small x
Variable expm1(const Variable& x);  ///< exp(x) - 1, precise for small x
Variable sqrt(const Variable& x);
Variable square(const Variable& x);
Variable rsqrt(const Variable& x);  ///< 1 / sqrt(x)
Variable reciprocal(const Variable& x);
inline Variable operator/(double dividend, const Variable& x) { return reciprocal(x) * dividend; }
/// x^exponent. Real powers of negative numbers are NaN, except for whole exponents.
Variable pow(const Variable& x, double exponent);
/// base^exponent, broadcast. No gradient goes to the exponent where the base is 0.
Variable pow(const Variable& base, const Variable& exponent);
Variable abs(const Variable& x);  ///< derivative 0 at 0
Variable sin(const Variable& x);
Variable cos(const Variable& x);
Variable tanh(const Variable& x);
Variable erf(const Variable& x);
Variable sigmoid(const Variable& x);
/// Limits to [low, high]; derivative 0 outside.
Variable clamp(const Variable& x, double low, double high);

/// a where `condition` (bool, broadcast to the result) is true, b elsewhere. NaN in what is not chosen reaches neither
/// the result nor a gradient.
Variable where(const Tensor& condition, const Variable& a, const Variable& b);
Variable where(const Tensor& condition, const Variable& a, double b);
Variable where(const Tensor& condition, double a, const Variable& b);

// What stands on the left becomes the result: other handles to it keep what it was.

inline Variable& operator+=(Variable& x, const Variable& y) { return x = x + y; }
inline Variable& operator+=(Variable& x, double y) { return x = x + y; }
inline Variable& operator-=(Variable& x, const Variable& y) { return x = x - y; }
inline Variable& operator-=(Variable& x, double y) { return x = x - y; }
inline Variable& operator*=(Variable& x, const Variable& y) { return x = x * y; }
inline Variable& operator*=(Variable& x, double y) { return x = x * y; }
inline Variable& operator/=(Variable& x, const Variable& y) { return x = x / y; }
inline Variable& operator/=(Variable& x, double y) { return x = x / y; }

/// Another floating dtype; the gradient is converted back. What a leaf is rounded to is kept, see Variable::value_as().
Variable cast(const Variable& x, DType dtype);
/// A parameter for an op on x, which wants one dtype: a float32 one is rounded to bfloat16 where x is bfloat16, all
/// others are as they are. Its gradient is float32. Ops that know which operand is a parameter need no such help.
Variable parameter_for(const Variable& x, const Variable& parameter);
/// The same on another device; the gradient is brought back.
Variable to_device(const Variable& x, Device device);

// Reductions (reduce.cpp), over the axes given: {0, -1}, one number or a span. No axes: all of them. `keep`: reduced
// axes stay with extent 1.

Variable sum(const Variable& x, const Axes& axes = {}, bool keep = false);
Variable mean(const Variable& x, const Axes& axes = {}, bool keep = false);
/// Product; 1 of nothing.
Variable prod(const Variable& x, const Axes& axes = {}, bool keep = false);
/// Largest and smallest element; the gradient goes to the first of equals. Throws ShapeError for an empty axis.
Variable max(const Variable& x, const Axes& axes = {}, bool keep = false);
Variable min(const Variable& x, const Axes& axes = {}, bool keep = false);
/// Mean square distance from the mean, divided by count - correction, and its square root, the standard deviation.
/// Throws ValueError unless there are more than `correction` elements.
Variable var(const Variable& x, const Axes& axes = {}, bool keep = false, int64_t correction = 1);
Variable stddev(const Variable& x, const Axes& axes = {}, bool keep = false, int64_t correction = 1);
/// Square root of the sum of squares; derivative 0 where that is 0.
Variable norm(const Variable& x, const Axes& axes = {}, bool keep = false);
/// log(sum(exp(x))), without overflow.
Variable logsumexp(const Variable& x, const Axes& axes = {}, bool keep = false);
/// Sums of the elements of an axis up to each, that one included.
Variable cumsum(const Variable& x, int axis);
/// x [B, T, D], lengths int64 [B] -> [B, D]: mean over the first lengths[b] positions; 0 for length 0. What lies behind
/// the length, NaN included, reaches neither the result nor a gradient.
Variable masked_mean(const Variable& x, const Tensor& lengths);

// Shape (shape.cpp). Views where strides allow.

/// One extent may be -1.
Variable reshape(const Variable& x, std::initializer_list<int64_t> shape);
Variable reshape(const Variable& x, const Shape& shape);
Variable permute(const Variable& x, const Axes& axes);
Variable transpose(const Variable& x, int axis_a, int axis_b);
Variable unsqueeze(const Variable& x, int axis);  ///< a new axis of extent 1
Variable squeeze(const Variable& x, int axis);    ///< without that axis, of extent 1
/// Axes first ... last as one.
Variable flatten(const Variable& x, int first = 0, int last = -1);
/// Elements begin, begin + step, ... before end of an axis. Negative begin, end and index count from its end.
Variable slice(const Variable& x, int axis, int64_t begin, int64_t end, int64_t step = 1);
Variable select(const Variable& x, int axis, int64_t index);
Variable expand(const Variable& x, const Shape& shape);
Variable concat(std::span<const Variable> parts, int axis);
Variable concat(std::initializer_list<Variable> parts, int axis);
/// Joins along a new axis.
Variable stack(std::span<const Variable> parts, int axis);

// Other arrangements (rearrange.cpp), as of Tensors in framework/math/rearrange.h.

std::vector<Variable> split(const Variable& x, int64_t size, int axis = 0);
std::vector<Variable> split(const Variable& x, std::span<const int64_t> sizes, int axis = 0);
std::vector<Variable> split(const Variable& x, std::initializer_list<int64_t> sizes, int axis = 0);
std::vector<Variable> chunk(const Variable& x, int64_t count, int axis = 0);
Variable flip(const Variable& x, const Axes& axes = {});
Variable tile(const Variable& x, std::span<const int64_t> repeats);
Variable tile(const Variable& x, std::initializer_list<int64_t> repeats);
Variable pad(const Variable& x, std::span<const PadWidth> widths, double value = 0);
Variable pad(const Variable& x, std::initializer_list<PadWidth> widths, double value = 0);
Variable tril(const Variable& x, int64_t diagonal = 0);
Variable triu(const Variable& x, int64_t diagonal = 0);

// By index (index.cpp). Indices are int64; negative ones count from the end of the axis.

/// Rows of an axis by index: y[..., i, ...] = x[..., indices[i], ...]; indices int64 [n]. Repeated indices add up in
/// the gradient.
Variable index_select(const Variable& x, int axis, const Tensor& indices);
/// y[..., i, ...] = x[..., indices[..., i, ...], ...]; indices int64, shape of x except along `axis`.
Variable gather(const Variable& x, int axis, const Tensor& indices);
/// x, but y[..., indices[..., i, ...], ...] = source[..., i, ...]; of repeated indices the last one stays, and has the
/// gradient. indices, source: shape of x except along `axis`.
Variable scatter(const Variable& x, int axis, const Tensor& indices, const Variable& source);
/// x + what source has for each place; repeated indices add up.
Variable scatter_add(const Variable& x, int axis, const Tensor& indices, const Variable& source);

// Products (matmul.cpp).

/// Matrix product over the last two axes, leading axes broadcast: op(a) [..., M, K] x op(b) [..., K, N] -> [..., M, N],
/// op transposing the last two axes when asked. Rank 2 at least. exact_zeros: a 0 in a contributes nothing even where b
/// holds NaN or infinity (weights of masked keys).
Variable matmul(const Variable& a, const Variable& b, bool transpose_a = false, bool transpose_b = false,
                bool exact_zeros = false);

/// Sum of products by labels of axes, "bqd,bkd->bqk": einsum of framework/math/linalg.h.
Variable einsum(std::string_view equation, const Variable& a, const Variable& b);

/// y = activation(x weight^T + bias), then dropout. x [..., K], weight [N, K], bias [N] or undefined -> [..., N].
/// dropout: probability of zeroing an element, drawn from `stream`; 0 draws nothing.
/// A row whose upstream gradient is exactly 0 contributes exactly 0 to dweight, NaN in that row of x or not.
Variable linear(const Variable& x, const Variable& weight, const Variable& bias,
                Activation activation = Activation::kNone, double dropout = 0, RandomStream& stream = default_stream());

// Normalisation (norm.cpp), over the last axis.

/// (x - mean) / sqrt(var + eps) * gain + shift (Ba et al., 2016); var is biased. gain, shift [D], shift may be
/// undefined.
Variable layer_norm(const Variable& x, const Variable& gain, const Variable& shift, double eps = 1e-5);
/// x / sqrt(mean(x^2) + eps) * gain (Zhang and Sennrich, 2019). gain [D].
Variable rms_norm(const Variable& x, const Variable& gain, double eps = 1e-6);
/// A residual step in one pass over memory: sum = x + dropout(branch), y = layer_norm(sum). Returns {sum, y}; pre-norm
/// blocks carry `sum` on, post-norm blocks `y`.
std::pair<Variable, Variable> add_layer_norm(const Variable& x, const Variable& branch, const Variable& gain,
                                             const Variable& shift, double eps = 1e-5, double dropout = 0,
                                             RandomStream& stream = default_stream());

// Softmax (softmax.cpp), over the last axis. Losses: loss.h.

Variable softmax(const Variable& x);
Variable log_softmax(const Variable& x);
/// Softmax over the elements where `keep` (bool, broadcast to x) is true and x is not -infinity; exactly 0 elsewhere,
/// and everywhere in a row without one. Masked elements, NaN or infinite, reach neither the result nor a gradient.
Variable masked_softmax(const Variable& x, const Tensor& keep);

// Embedding and dropout (embedding.cpp, dropout.cpp).

/// weight [V, D], ids int64 [...] -> [..., D], times `scale`. Row padding_index (if >= 0) gets no gradient. Throws
/// ValueError for an id outside 0 ... V - 1, naming its position.
Variable embedding(const Variable& weight, const Tensor& ids, int64_t padding_index = -1, double scale = 1);

/// Zeroes elements with probability p and scales the others by 1 / (1 - p) (Srivastava et al., 2014). The mask is
/// regenerated from the stream's state in the backward pass, not stored. Throws ValueError unless 0 <= p < 1.
Variable dropout(const Variable& x, double p, RandomStream& stream = default_stream());

}  // namespace attune
