#include "layers/attention/mask.h"

#include <algorithm>
#include <limits>

#include "autograd/ops/attention.h"
#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "framework/math/compare.h"

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
  broadcast_shapes(a.shape(), b.shape(), "AttentionMask: two masks by keep or drop");  // its words, where they differ
  return a & b;
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

/// a + b; -infinity where either forbids, whatever the other holds there.
Variable add_biases(const Variable& a, const Variable& b) {
  const Variable x = parameter_for(b, a), y = parameter_for(a, b);
  const Tensor allowed = keep_both(allowed_by_bias(x.value()), allowed_by_bias(y.value()));
  const Tensor forbidden = Tensor::full({1}, -std::numeric_limits<double>::infinity(), x.dtype(), x.device());
  return where(allowed, add(x, y), Variable(forbidden));
}

/// Where the blocks are true: bool [., ., T, S] for a layout of rank 4, [T, S] for one of rank 2.
Tensor expand_blocks(const Tensor& layout, int64_t size, int64_t queries, int64_t keys) {
  const Tensor from = layout.contiguous();
  Shape shape = layout.shape();
  const int rank = shape.rank();
  const int64_t block_rows = shape[rank - 2];
  const int64_t block_columns = shape[rank - 1];
  shape[rank - 2] = queries;
  shape[rank - 1] = keys;
  Tensor out = Tensor::empty(shape, DType::kBool);
  bool* to = out.data<bool>();
  const int64_t tables = block_rows * block_columns == 0 ? 0 : from.numel() / (block_rows * block_columns);
  for (int64_t table = 0; table < tables; ++table) {
    for (int64_t t = 0; t < queries; ++t) {
      const bool* row = from.data<bool>() + (table * block_rows + t / size) * block_columns;
      for (int64_t s = 0; s < keys; ++s) *to++ = row[s / size];
    }
  }
  return out;
}

/// bool [B, 1, T, S]: key s of sample b is allowed for t + offsets[b] + low <= s <= t + offsets[b] + high.
Tensor expand_bands(const Tensor& offsets, int64_t low, int64_t high, int64_t queries, int64_t keys) {
  const int64_t batch = offsets.numel();
  Tensor out = Tensor::empty({batch, 1, queries, keys}, DType::kBool);
  bool* to = out.data<bool>();
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t t = 0; t < queries; ++t) {
      const int64_t at = t + offsets.data<int64_t>()[b];
      for (int64_t s = 0; s < keys; ++s) *to++ = at + low <= s && s <= at + high;
    }
  }
  return out;
}

int64_t count_blocks(int64_t n, int64_t size) { return (n + size - 1) / size; }

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
  mask.keep_ = ~forbidden;
  return mask;
}

AttentionMask AttentionMask::where(MaskFunction allowed) {
  AttentionMask mask;
  mask.where_ = std::move(allowed);
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

AttentionMask AttentionMask::by_sample(const char* what, const Tensor& offsets, Band band) {
  require<DTypeError>(offsets.dtype() == DType::kInt64, "AttentionMask::{}: expected offsets of int64, got {}", what,
                      dtype_name(offsets.dtype()));
  require<ShapeError>(offsets.rank() == 1, "AttentionMask::{}: shape {} given, expected offsets [B]", what,
                      offsets.shape());
  Tensor near = offsets.to(Device::cpu()).clone();
  for (int64_t b = 0; b < near.numel(); ++b) near.data<int64_t>()[b] = limited(near.data<int64_t>()[b], kFar);
  // No bound is none for far offsets, too.
  if (band.low == -kFar) band.low *= 4;
  if (band.high == kFar) band.high *= 4;
  AttentionMask mask;
  mask.sample_bands_.push_back({std::move(near), offsets.device(), band});
  return mask;
}

AttentionMask AttentionMask::causal(const Tensor& offsets) { return by_sample("causal", offsets, {.high = 0}); }

AttentionMask AttentionMask::window(int64_t left, int64_t right, const Tensor& offsets) {
  return by_sample("window", offsets, window(left, right, int64_t{0}).first_);
}

AttentionMask AttentionMask::blocks(Tensor layout, int64_t size) {
  require<DTypeError>(layout.dtype() == DType::kBool, "AttentionMask::blocks: expected a layout of bool, got {}",
                      dtype_name(layout.dtype()));
  require<ShapeError>(layout.rank() == 2 || layout.rank() == 4,
                      "AttentionMask::blocks: layout {} given, expected [T, S] or [B, H, T, S], counted in blocks",
                      layout.shape());
  require<ValueError>(size > 0, "AttentionMask::blocks: blocks of {} keys given, expected at least 1", size);
  AttentionMask mask;
  mask.blocks_.push_back({std::move(layout), size});
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
  both.blocks_ = a.blocks_;
  both.blocks_.insert(both.blocks_.end(), b.blocks_.begin(), b.blocks_.end());
  both.sample_bands_ = a.sample_bands_;
  both.sample_bands_.insert(both.sample_bands_.end(), b.sample_bands_.begin(), b.sample_bands_.end());
  both.where_ = a.where_ & b.where_;
  both.bias_ = a.bias_.defined() && b.bias_.defined() ? add_biases(a.bias_, b.bias_)
               : a.bias_.defined()                    ? a.bias_
                                                      : b.bias_;
  return both;
}

Tensor AttentionMask::kept_keys(const Shape& full, const Module* user) const {
  Tensor all = keep_;
  if (keep_.defined()) check_fits(keep_.shape(), full, "keep (or drop)", user);
  for (const auto& [layout, size] : blocks_) {
    const Shape in_blocks{full[0], full[1], count_blocks(full[2], size), count_blocks(full[3], size)};
    if (layout.dim(-2) != in_blocks[2] || layout.dim(-1) != in_blocks[3]) [[unlikely]] {
      fail<ShapeError>("{}: AttentionMask::blocks has the layout {}, expected {} x {} blocks of {} for T = {}, S = {}",
                       named(user), layout.shape(), in_blocks[2], in_blocks[3], size, full[2], full[3]);
    }
    if (layout.rank() == 4) check_fits(layout.shape(), in_blocks, "blocks", user);
    const Tensor more = expand_blocks(layout.to(Device::cpu()), size, full[2], full[3]).to(layout.device());
    all = all.defined() ? keep_both(all, more) : more;
  }
  for (const auto& [offsets, device, band] : sample_bands_) {
    if (offsets.numel() != full[0]) [[unlikely]] {
      fail<ShapeError>("{}: AttentionMask has {} offsets by sample, expected one per sample, {}", named(user),
                       offsets.numel(), full[0]);
    }
    const Tensor more = expand_bands(offsets, band.low, band.high, full[2], full[3]).to(device);
    all = all.defined() ? keep_both(all, more) : more;
  }
  return all;
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
  const Tensor kept = kept_keys(full, user);
  if (kept.defined()) spec.keep = kept.expand(full);
  if (!blocks_.empty()) {
    const auto& [layout, size] = blocks_.front();
    spec.blocks = layout.expand({batch, heads, count_blocks(queries, size), count_blocks(keys, size)});
    spec.block_size = size;
  }
  spec.where = where_;
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
  const Tensor kept = kept_keys({batch, heads, queries, keys}, user);
  if (kept.defined()) {
    Shape shape = kept.shape();
    shape[shape.rank() - 1] = keys + count;
    Tensor wider = Tensor::full(shape, 1, DType::kBool, kept.device());
    wider.slice(-1, 0, keys).copy_(kept);
    out = out & keep(wider);
  }
  if (where_) {
    out = out & where([inner = where_, seen = static_cast<int>(keys)](const ScoreAt& at) {
            if (at.key >= seen) return true;
            ScoreAt known = at;
            known.keys = seen;
            return inner(known);
          });
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
