#include "framework/kernels/additive.h"

#include <algorithm>

#include "framework/kernels/cpu/column_sums.h"
#include "framework/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "framework/kernels/cpu/additive.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/rows.h"
#include "framework/kernels/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {
namespace {

/// One head of one sample: q [queries, width], k [keys, width], v [width] -> y [queries, keys].
template <class T>
void forward(const T* q, const T* k, const T* v, int64_t queries, int64_t keys, int64_t width, T* y) {
  const hn::ScalableTag<T> d;
  for (int64_t t = 0; t < queries; ++t, q += width) {
    const T* key = k;
    for (int64_t s = 0; s < keys; ++s, key += width) {
      auto total = hn::Zero(d);
      over_row<T>(width, [&](auto load, auto, auto)
                             HWY_ATTR { total = hn::MulAdd(load(v), Tanh(d, hn::Add(load(q), load(key))), total); });
      *y++ = lane_sum<T>(total);
    }
  }
}

/// dq: written; dk, dv: added to.
template <class T>
void backward(const T* dy, const T* q, const T* k, const T* v, int64_t queries, int64_t keys, int64_t width, T* dq,
              T* dk, T* dv) {
  const hn::ScalableTag<T> d;
  const auto one = hn::Set(d, T{1});
  for (int64_t t = 0; t < queries; ++t, dy += keys, q += width, dq += width) {
    // Column blocks outside, so that those of q, v and their gradients stay in registers.
    over_row<T>(width, [&](auto load, auto store, auto) HWY_ATTR {
      const auto query = load(q), vector = load(v);
      auto dquery = hn::Zero(d), dvector = load(dv);
      for (int64_t block = 0; block < keys; block += kSumRows) {  // sums of many keys are made of sums of few
        auto block_of_query = hn::Zero(d), block_of_vector = hn::Zero(d);
        const int64_t end = std::min(keys, block + kSumRows);
        for (int64_t s = block; s < end; ++s) {
          if (dy[s] == 0) continue;
          // y = v h, h = tanh(q + k); dv = dy h, dq = dk = dy v (1 - h^2)
          const auto gradient = hn::Set(d, dy[s]);
          const auto h = Tanh(d, hn::Add(query, load(k + s * width)));
          block_of_vector = hn::MulAdd(gradient, h, block_of_vector);
          const auto inside = hn::Mul(hn::Mul(gradient, vector), hn::NegMulAdd(h, h, one));
          block_of_query = hn::Add(block_of_query, inside);
          store(hn::Add(load(dk + s * width), inside), dk + s * width);
        }
        dquery = hn::Add(dquery, block_of_query);
        dvector = hn::Add(dvector, block_of_vector);
      }
      store(dquery, dq);
      store(dvector, dv);
    });
  }
}

void forward_float(const float* q, const float* k, const float* v, int64_t queries, int64_t keys, int64_t width,
                   float* y) {
  forward(q, k, v, queries, keys, width, y);
}
void forward_double(const double* q, const double* k, const double* v, int64_t queries, int64_t keys, int64_t width,
                    double* y) {
  forward(q, k, v, queries, keys, width, y);
}
void backward_float(const float* dy, const float* q, const float* k, const float* v, int64_t queries, int64_t keys,
                    int64_t width, float* dq, float* dk, float* dv) {
  backward(dy, q, k, v, queries, keys, width, dq, dk, dv);
}
void backward_double(const double* dy, const double* q, const double* k, const double* v, int64_t queries, int64_t keys,
                     int64_t width, double* dq, double* dk, double* dv) {
  backward(dy, q, k, v, queries, keys, width, dq, dk, dv);
}

}  // namespace
}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune::cpu {

HWY_EXPORT(forward_float);
HWY_EXPORT(forward_double);
HWY_EXPORT(backward_float);
HWY_EXPORT(backward_double);

namespace {

/// f(b H + h, h, chunk) for every head of every sample of q [B, H, T, A], k [B, H, S, A].
template <class F>
void over_heads(const Tensor& q, const Tensor& k, F&& f) {
  const int64_t heads = q.dim(1);
  const int64_t work = std::max<int64_t>(1, q.dim(2) * k.dim(2) * q.dim(3));
  constexpr int64_t kGrain = 4096;
  parallel_for(q.dim(0) * heads, std::max<int64_t>(1, kGrain / work), [&](int64_t begin, int64_t end, int64_t chunk) {
    for (int64_t i = begin; i < end; ++i) f(i, i % heads, chunk);
  });
}

}  // namespace

void additive_scores(const Tensor& q, const Tensor& k, const Tensor& v, Tensor& y) {
  const int64_t queries = q.dim(2), keys = k.dim(2), width = q.dim(3);
  visit_floating(q.dtype(), "additive_scores", [&]<class T>(T) {
    over_heads(q, k, [&](int64_t i, int64_t h, int64_t) {
      const T* query = q.data<T>() + i * queries * width;
      const T* key = k.data<T>() + i * keys * width;
      const T* vector = v.data<T>() + h * width;
      T* out = y.data<T>() + i * queries * keys;
      if constexpr (sizeof(T) == 4) {
        HWY_DYNAMIC_DISPATCH(forward_float)(query, key, vector, queries, keys, width, out);
      } else {
        HWY_DYNAMIC_DISPATCH(forward_double)(query, key, vector, queries, keys, width, out);
      }
    });
  });
}

void additive_scores_backward(const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v, Tensor& dq,
                              Tensor& dk, bool accumulate, Tensor& dv) {
  const int64_t queries = q.dim(2), keys = k.dim(2), width = q.dim(3);
  const int64_t step = std::max<int64_t>(1, kSumRows / std::max<int64_t>(keys, 1));  // queries of a partial sum
  if (!accumulate) dk.zero_();
  visit_floating(q.dtype(), "additive_scores", [&]<class T>(T) {
    // Every thread sums dv for itself, and blocks apart; the sums are added in a fixed order.
    SharedColumnSums<T> sums(q.dim(0) * queries * keys, v.numel());
    over_heads(q, k, [&](int64_t i, int64_t h, int64_t chunk) {
      ColumnSums<T> own = sums.share(chunk, h * width, width);
      const T* key = k.data<T>() + i * keys * width;
      const T* vector = v.data<T>() + h * width;
      T* dkey = dk.data<T>() + i * keys * width;
      // So does dk where it gathers from many queries.
      double* totals = queries > kSumRows ? scratch<double>(0, keys * width) : nullptr;
      ColumnSums<T> of_keys{dkey, totals, keys * width};
      if (totals != nullptr) std::fill_n(totals, keys * width, 0.0);
      for (int64_t t = 0; t < queries; t += step) {
        const int64_t count = std::min(step, queries - t);
        const T* gradient = dy.data<T>() + (i * queries + t) * keys;
        const T* query = q.data<T>() + (i * queries + t) * width;
        T* dquery = dq.data<T>() + (i * queries + t) * width;
        if constexpr (sizeof(T) == 4) {
          HWY_DYNAMIC_DISPATCH(backward_float)
          (gradient, query, key, vector, count, keys, width, dquery, dkey, own.part);
        } else {
          HWY_DYNAMIC_DISPATCH(backward_double)
          (gradient, query, key, vector, count, keys, width, dquery, dkey, own.part);
        }
        own.flush();
        if (totals != nullptr) of_keys.add_rows(count);
      }
      if (totals == nullptr) return;
      of_keys.flush();
      for (int64_t j = 0; j < keys * width; ++j) dkey[j] = static_cast<T>(totals[j]);
    });
    sums.write(0, v.numel(), false, dv.data<T>());
  });
}

}  // namespace attune::cpu
#endif
