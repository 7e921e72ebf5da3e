#include "layers/attention/cache.h"

#include <algorithm>
#include <string>
#include <utility>

#include "autograd/ops/checks.h"

namespace attune {
namespace {

/// The shape of x for other numbers of samples and positions.
Shape resized(const Tensor& x, int64_t batch, int64_t positions) {
  Shape shape = x.shape();
  shape[0] = batch;
  shape[1] = positions;
  return shape;
}

void check_fits(const char* name, const Tensor& x, const Tensor& held) {
  require<ShapeError>(x.rank() == 4, "AttentionCache: {} is {}, expected [B, N, Hkv, K]", name, x.shape());
  if (!held.defined()) return;
  require<DTypeError>(x.dtype() == held.dtype(), "AttentionCache: {} is {}, what is held {}; expected one dtype", name,
                      dtype_name(x.dtype()), dtype_name(held.dtype()));
  require<ShapeError>(x.shape() == resized(held, held.dim(0), x.dim(1)),
                      "AttentionCache: {} is {}, expected [{}, N, {}, {}] as is held", name, x.shape(), held.dim(0),
                      held.dim(2), held.dim(3));
}

}  // namespace

AttentionCache::AttentionCache(int64_t capacity) : capacity_(capacity) {
  require<ValueError>(capacity >= 0, "AttentionCache: capacity {} given, expected at least 0", capacity);
}

void AttentionCache::check(const Tensor& k, const Tensor& v) const {
  check_fits("k", k, keys_);
  check_fits("v", v, values_);
  require<ShapeError>(k.dim(0) == v.dim(0) && k.dim(1) == v.dim(1) && k.dim(2) == v.dim(2),
                      "AttentionCache: k is {} and v {}; samples, positions and heads must be equal", k.shape(),
                      v.shape());
}

void AttentionCache::reserve(const Tensor& x, bool grows, Tensor& memory) const {
  if (memory.defined() && !grows) return;
  Tensor larger = Tensor::empty(resized(x, x.dim(0), capacity_), x.dtype(), x.device());
  if (memory.defined()) larger.slice(1, 0, length_).copy_(held(memory));
  memory = larger;
}

void AttentionCache::append(const Tensor& k, const Tensor& v) {
  check(k, v);
  for (size_t b = 0; b < lengths_.size(); ++b) {
    require<ValueError>(lengths_[b] == length_,
                        "AttentionCache: sample {} holds {} positions and another {}; say where each goes on, by write",
                        b, lengths_[b], length_);
  }
  const int64_t end = length_ + k.dim(1);
  const bool grows = end > capacity_;
  if (grows) capacity_ = std::max(end, 2 * capacity_);
  const auto put = [&](const Tensor& x, Tensor& memory) {
    reserve(x, grows, memory);
    memory.slice(1, length_, end).copy_(x);
  };
  put(k, keys_);
  put(v, values_);
  length_ = end;
  lengths_.assign(static_cast<size_t>(k.dim(0)), end);
}

int64_t AttentionCache::length_with(const Tensor& positions, int64_t count) const {
  require<DTypeError>(positions.dtype() == DType::kInt64, "AttentionCache: positions are {}, expected int64",
                      dtype_name(positions.dtype()));
  require<ShapeError>(positions.rank() == 1 && (lengths_.empty() || positions.numel() == batch()),
                      "AttentionCache: positions are {}, expected [{}]", positions.shape(),
                      lengths_.empty() ? "B" : std::to_string(batch()));
  int64_t length = 0;
  const std::vector<int64_t> first = positions.to(Device::cpu()).to_vector<int64_t>();
  for (size_t b = 0; b < first.size(); ++b) {
    const int64_t held = lengths_.empty() ? 0 : lengths_[b];
    require<ValueError>(first[b] >= 0 && first[b] <= held,
                        "AttentionCache: sample {} is to go on at position {}, expected 0 ... {}, what it holds", b,
                        first[b], held);
    length = std::max(length, first[b] + count);
  }
  return length;
}

void AttentionCache::write(const Tensor& k, const Tensor& v, const Tensor& positions) {
  check(k, v);
  const int64_t count = k.dim(1);
  const int64_t end = length_with(positions, count);
  require<ShapeError>(positions.numel() == k.dim(0), "AttentionCache: k is {} and positions {}, expected [{}]",
                      k.shape(), positions.shape(), k.dim(0));
  const bool grows = end > capacity_;
  if (grows) capacity_ = std::max(end, 2 * capacity_);
  const std::vector<int64_t> first = positions.to(Device::cpu()).to_vector<int64_t>();
  const auto put = [&](const Tensor& x, Tensor& memory) {
    reserve(x, grows, memory);
    for (size_t b = 0; b < first.size(); ++b) {
      const auto sample = static_cast<int64_t>(b);
      memory.select(0, sample).slice(0, first[b], first[b] + count).copy_(x.select(0, sample));
    }
  };
  put(k, keys_);
  put(v, values_);
  length_ = end;
  lengths_ = first;
  for (int64_t& length : lengths_) length += count;
}

void AttentionCache::select(const Tensor& rows) {
  require<ShapeError>(rows.rank() == 1, "AttentionCache: rows are {}, expected [n]", rows.shape());
  const Tensor chosen_rows = check_indices("AttentionCache", "row", rows, batch());
  const int64_t* row = chosen_rows.data<int64_t>();
  const int64_t count = chosen_rows.numel();
  bool same = count == batch();
  for (int64_t i = 0; i < count; ++i) same = same && row[i] == i;
  if (same) return;
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < count; ++i) lengths.push_back(lengths_[static_cast<size_t>(row[i])]);
  for (Tensor* memory : {&keys_, &values_}) {
    if (!memory->defined()) continue;
    Tensor chosen = Tensor::empty(resized(*memory, count, capacity_), memory->dtype(), memory->device());
    const Tensor from = held(*memory);
    for (int64_t i = 0; i < count; ++i) {
      chosen.select(0, i).slice(0, 0, length_).copy_(from.select(0, row[i]));
    }
    *memory = chosen;
  }
  lengths_ = std::move(lengths);
}

}  // namespace attune
