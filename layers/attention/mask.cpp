#include "layers/attention/mask.h"

#include <algorithm>

#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "framework/kernels/mask.h"

namespace attune {
namespace {

std::string named(const Module* user) { return user == nullptr ? "AttentionMask" : user->who("attention"); }

void check_extents(const Tensor& tensor, const char* what) {
  require<ShapeError>(
      tensor.rank() == 2 || tensor.rank() == 4,
      "AttentionMask::{}: shape {} given, expected [T, S] or [B, H, T, S] with any extents 1; view a mask "
      "[B, S] as [B, 1, 1, S]",
      what, tensor.shape());
}

void check_bool(const Tensor& tensor, const char* what) {
  require<DTypeError>(tensor.dtype() == DType::kBool,
                      "AttentionMask::{}: expected bool, got {}; scores to be added are AttentionMask::bias", what,
                      dtype_name(tensor.dtype()));
  check_extents(tensor, what);
}

/// Throws unless `given` can be expanded to `full`.
void check_fits(const Shape& given, const Shape& full, const char* what, const Module* user) {
  for (int back = 1; back <= given.rank(); ++back) {
    const int64_t extent = given[given.rank() - back];
    if (extent == 1 || extent == full[full.rank() - back]) continue;
    fail<ShapeError>("{}: AttentionMask::{} has shape {}, expected one that broadcasts to [B, H, T, S] = {}",
                     named(user), what, given, full);
  }
}

void check_lengths(const Tensor& lengths, int64_t batch, int64_t keys, const Module* user) {
  if (lengths.dim(0) != batch) [[unlikely]] {  // the name is put together only for the message
    fail<ShapeError>("{}: AttentionMask::padding has {} lengths, expected one per sample, {}", named(user),
                     lengths.dim(0), batch);
  }
  const Tensor host = lengths.to(Device::cpu()).contiguous();
  const int64_t* length = host.data<int64_t>();
  for (int64_t b = 0; b < batch; ++b) {
    if (length[b] >= 0 && length[b] <= keys) continue;
    fail<ValueError>(
        "{}: AttentionMask::padding gives sample {} the length {}, expected 0 ... {} (S, the number of keys)",
        named(user), b, length[b], keys);
  }
}

int64_t limited(int64_t bound, int64_t far) { return std::clamp(bound, -far, far); }

Tensor keep_both(const Tensor& a, const Tensor& b) {
  const Shape shape = broadcast_shapes(a.shape(), b.shape(), "AttentionMask: two masks by keep or drop");
  Tensor both = Tensor::empty(shape, DType::kBool, a.device());
  kernels::logical_and(a.expand(shape), b.expand(shape), both);
  return both;
}

Tensor shorter(const Tensor& a, const Tensor& b) {
  require<ShapeError>(a.shape() == b.shape(), "AttentionMask: two masks by padding have lengths {} and {}", a.shape(),
                      b.shape());
  Tensor out = a.to(Device::cpu()).clone();
  const Tensor other = b.to(Device::cpu()).contiguous();
  for (int64_t i = 0; i < out.numel(); ++i) {
    out.data<int64_t>()[i] = std::min(out.data<int64_t>()[i], other.data<int64_t>()[i]);
  }
  return out.to(a.device());
}

/// bool [T, keys + count]: allowed(t, s) for the keys, true behind them.
template <class F>
Tensor table(int64_t rows, int64_t keys, int64_t count, F&& allowed) {
  Tensor out = Tensor::empty({rows, keys + count}, DType::kBool);
  bool* data = out.data<bool>();
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t s = 0; s < keys + count; ++s) *data++ = s >= keys || allowed(row, s);
  }
  return out;
}

}  // namespace

AttentionMask AttentionMask::causal(Align align) {
  AttentionMask mask;
  (align == Align::kFirst ? mask.first_ : mask.last_).high = 0;
  return mask;
}

AttentionMask AttentionMask::causal(int64_t offset) {
  AttentionMask mask;
  mask.first_.high = limited(offset, kFar);
  return mask;
}

AttentionMask AttentionMask::padding(Tensor lengths) {
  require<DTypeError>(lengths.dtype() == DType::kInt64, "AttentionMask::padding: expected lengths of int64, got {}",
                      dtype_name(lengths.dtype()));
  require<ShapeError>(lengths.rank() == 1, "AttentionMask::padding: shape {} given, expected lengths [B]",
                      lengths.shape());
  AttentionMask mask;
  mask.lengths_ = std::move(lengths);
  return mask;
}

AttentionMask AttentionMask::keep(Tensor allowed) {
  check_bool(allowed, "keep");
  AttentionMask mask;
  mask.keep_ = std::move(allowed);
  return mask;
}

AttentionMask AttentionMask::drop(const Tensor& forbidden) {
  check_bool(forbidden, "drop");
  AttentionMask mask;
  mask.keep_ = Tensor::empty(forbidden.shape(), DType::kBool, forbidden.device());
  kernels::logical_not(forbidden, mask.keep_);
  return mask;
}

AttentionMask AttentionMask::window(int64_t left, int64_t right, Align align) {
  AttentionMask mask = window(left, right, int64_t{0});
  if (align == Align::kLast) std::swap(mask.first_, mask.last_);
  return mask;
}

AttentionMask AttentionMask::window(int64_t left, int64_t right, int64_t offset) {
  require<ValueError>(left >= -1 && right >= -1,
                      "AttentionMask::window: {} keys to the left and {} to the right given, expected at least 0 each, "
                      "or -1 for no limit",
                      left, right);
  const int64_t at = limited(offset, kFar);
  AttentionMask mask;
  if (left >= 0) mask.first_.low = limited(at - limited(left, kFar), kFar);
  if (right >= 0) mask.first_.high = limited(at + limited(right, kFar), kFar);
  return mask;
}

AttentionMask AttentionMask::bias(Variable scores) {
  require<DTypeError>(
      is_floating(scores.dtype()),
      "AttentionMask::bias: expected a floating dtype, got {}; which keys may be attended to is said by "
      "AttentionMask::keep or drop",
      dtype_name(scores.dtype()));
  check_extents(scores.value(), "bias");
  AttentionMask mask;
  mask.bias_ = std::move(scores);
  return mask;
}

AttentionMask operator&(const AttentionMask& a, const AttentionMask& b) {
  AttentionMask both;
  both.first_ = {std::max(a.first_.low, b.first_.low), std::min(a.first_.high, b.first_.high)};
  both.last_ = {std::max(a.last_.low, b.last_.low), std::min(a.last_.high, b.last_.high)};
  both.lengths_ = a.lengths_.defined() && b.lengths_.defined() ? shorter(a.lengths_, b.lengths_)
                  : a.lengths_.defined()                       ? a.lengths_
                                                               : b.lengths_;
  both.keep_ = a.keep_.defined() && b.keep_.defined() ? keep_both(a.keep_, b.keep_)
               : a.keep_.defined()                    ? a.keep_
                                                      : b.keep_;
  both.bias_ = a.bias_.defined() && b.bias_.defined() ? add(a.bias_, b.bias_) : a.bias_.defined() ? a.bias_ : b.bias_;
  return both;
}

LoweredMask AttentionMask::lower(int64_t batch, int64_t heads, int64_t queries, int64_t keys,
                                 const Module* user) const {
  const Shape full{batch, heads, queries, keys};
  LoweredMask lowered;
  MaskSpec& spec = lowered.spec;

  // One band for all: query t has the keys t + low ... t + high. Bounds that exclude nothing are left out.
  const int64_t low = std::max(first_.low, last_.low + keys - queries);
  const int64_t high = std::min(first_.high, last_.high + keys - queries);
  const bool bounded_left = low > 1 - queries;
  const bool bounded_right = high < keys - 1;
  if (bounded_left && low > high) {
    spec.causal = true;  // nothing is allowed: even the last query stands before the first key
    spec.causal_offset = -queries;
  } else if (bounded_right) {
    spec.causal = true;
    spec.causal_offset = high;
    if (bounded_left) spec.window_left = high - low;
  } else if (bounded_left) {
    spec.causal_offset = low;
    spec.window_left = 0;
  }

  if (lengths_.defined()) {
    check_lengths(lengths_, batch, keys, user);
    spec.lengths = lengths_;
  }
  if (keep_.defined()) {
    check_fits(keep_.shape(), full, "keep (or drop)", user);
    spec.keep = keep_.expand(full);
  }
  if (bias_.defined()) {
    check_fits(bias_.shape(), full, "bias", user);
    lowered.bias = bias_;
  }
  return lowered;
}

AttentionMask AttentionMask::with_extra_keys(int64_t count, int64_t batch, int64_t heads, int64_t queries, int64_t keys,
                                             const Module* user) const {
  const LoweredMask lowered = lower(batch, heads, queries, keys, user);
  const MaskSpec& spec = lowered.spec;
  AttentionMask out;
  if (spec.causal || spec.window_left >= 0) {
    const int64_t high = spec.causal ? spec.causal_offset : kFar;
    const int64_t low = spec.window_left >= 0 ? spec.causal_offset - spec.window_left : -kFar;
    out = out & keep(table(queries, keys, count, [=](int64_t t, int64_t s) { return t + low <= s && s <= t + high; }));
  }
  if (spec.lengths.defined()) {
    const Tensor lengths = spec.lengths.to(Device::cpu()).contiguous();
    const int64_t* length = lengths.data<int64_t>();
    const Tensor allowed = table(batch, keys, count, [=](int64_t b, int64_t s) { return s < length[b]; });
    out = out & keep(allowed.view({batch, 1, 1, keys + count}));
  }
  if (keep_.defined()) {
    Shape shape = keep_.shape();
    shape[shape.rank() - 1] = keys + count;
    Tensor wider = Tensor::full(shape, 1, DType::kBool, keep_.device());
    wider.slice(-1, 0, keys).copy_(keep_);
    out = out & keep(wider);
  }
  if (bias_.defined()) {
    Shape shape = bias_.shape();
    shape[shape.rank() - 1] = keys;
    const Variable scores = expand(bias_, shape);
    shape[shape.rank() - 1] = count;
    out = out & bias(concat({scores, Variable(Tensor::zeros(shape, bias_.dtype(), bias_.device()))}, -1));
  }
  return out;
}

}  // namespace attune
