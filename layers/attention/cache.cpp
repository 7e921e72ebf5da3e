#include "layers/attention/cache.h"

#include <algorithm>

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

void AttentionCache::append(const Tensor& k, const Tensor& v) {
  check_fits("k", k, keys_);
  check_fits("v", v, values_);
  require<ShapeError>(k.dim(0) == v.dim(0) && k.dim(1) == v.dim(1) && k.dim(2) == v.dim(2),
                      "AttentionCache: k is {} and v {}; samples, positions and heads must be equal", k.shape(),
                      v.shape());
  const int64_t end = length_ + k.dim(1);
  const bool grows = end > capacity_;
  if (grows) capacity_ = std::max(end, 2 * capacity_);
  const auto put = [&](const Tensor& x, Tensor& memory) {
    if (!memory.defined() || grows) {
      Tensor larger = Tensor::empty(resized(x, x.dim(0), capacity_), x.dtype(), x.device());
      if (memory.defined()) larger.slice(1, 0, length_).copy_(held(memory));
      memory = larger;
    }
    memory.slice(1, length_, end).copy_(x);
  };
  put(k, keys_);
  put(v, values_);
  length_ = end;
}

void AttentionCache::select(const Tensor& rows) {
  require<ShapeError>(rows.rank() == 1, "AttentionCache: rows are {}, expected [n]", rows.shape());
  const Tensor chosen_rows = check_indices("AttentionCache", "row", rows, batch());
  const int64_t* row = chosen_rows.data<int64_t>();
  const int64_t count = chosen_rows.numel();
  bool same = count == batch();
  for (int64_t i = 0; i < count; ++i) same = same && row[i] == i;
  if (same) return;
  for (Tensor* memory : {&keys_, &values_}) {
    if (!memory->defined()) continue;
    Tensor chosen = Tensor::empty(resized(*memory, count, capacity_), memory->dtype(), memory->device());
    const Tensor from = held(*memory);
    for (int64_t i = 0; i < count; ++i) {
      chosen.select(0, i).slice(0, 0, length_).copy_(from.select(0, row[i]));
    }
    *memory = chosen;
  }
}

}  // namespace attune
