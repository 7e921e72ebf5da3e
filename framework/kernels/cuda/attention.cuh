#pragma once

#include "framework/kernels/attention.h"
#include "framework/kernels/cuda/attention_band.h"
#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/philox.cuh"
#include "framework/kernels/cuda/softmax.cuh"

namespace attune::cuda {

/// In place of a formula for scores: they stay.
struct NoFormula {};

/// What may be attended to: any steps, of samples, heads, queries and keys; nullptr: everything.
struct Kept {
  const bool* data;
  int64_t step[4];

  __device__ bool allows(int64_t b, int64_t h, int64_t t, int64_t s) const {
    return data == nullptr || data[b * step[0] + h * step[1] + t * step[2] + s * step[3]];
  }
};

__device__ inline ScoreAt place_of(int64_t b, int64_t h, int64_t t, int64_t s, int64_t queries, int64_t keys) {
  return {static_cast<int>(b), static_cast<int>(h),       static_cast<int>(t),
          static_cast<int>(s), static_cast<int>(queries), static_cast<int>(keys)};
}

/// Pointers and steps: of samples, positions and heads; of samples, heads, queries and keys for the bias.
template <class T>
struct Attention {
  using C = Compute<T>;
  const T *q, *k, *v;
  int64_t q_step[3], k_step[3], v_step[3];
  const T* bias;
  int64_t bias_step[4];
  Kept kept;
  const int64_t* lengths;
  Band band;
  int64_t batch, heads, kv_heads, queries, keys, size, width;
  C scale, softcap;
  Drop<C> dropout;

  __device__ bool allowed(int64_t b, int64_t h, int64_t t, int64_t s) const {
    return s < keys && (lengths == nullptr || s < lengths[b]) && band.allows(t, s) && kept.allows(b, h, t, s);
  }
  /// The score that takes the place of a product of q and k.
  template <class F>
  __device__ C score(const F& formula, C product, int64_t b, int64_t h, int64_t t, int64_t s) const {
    C x = product * scale;
    if (softcap > C(0)) x = softcap * tanh(x / softcap);
    if constexpr (!std::is_same_v<F, NoFormula>) x = formula.value(x, place_of(b, h, t, s, queries, keys));
    if (bias != nullptr) {
      const C added = load(bias[b * bias_step[0] + h * bias_step[1] + t * bias_step[2] + s * bias_step[3]]);
      x = added == minus_infinity<C>() ? added : x + added;  // forbidden, NaN or not
    }
    return x;
  }
  /// Its derivative by the product.
  template <class F>
  __device__ C slope(const F& formula, C product, int64_t b, int64_t h, int64_t t, int64_t s) const {
    C x = product * scale;
    C slope = scale;
    if (softcap > C(0)) {
      const C y = tanh(x / softcap);
      slope *= C(1) - y * y;
      x = softcap * y;
    }
    if constexpr (!std::is_same_v<F, NoFormula>) slope *= formula.slope(x, place_of(b, h, t, s, queries, keys));
    return slope;
  }
  /// (b H + h) T + t, and how many of those there are.
  __device__ int64_t row(int64_t b, int64_t h, int64_t t) const { return (b * heads + h) * queries + t; }
  __host__ __device__ int64_t rows() const { return batch * heads * queries; }
  /// Keeps the two numbers of a row: `sum` is that of exp(score - largest), 0 where there is no key.
  __device__ void keep_stats(int64_t row, C largest, C sum, C* stats) const {
    stats[row] = sum == C(0) ? minus_infinity<C>() : largest;
    stats[rows() + row] = sum == C(0) ? C(0) : log(sum);
  }
  __device__ int64_t element(int64_t b, int64_t h, int64_t t, int64_t s) const {
    return ((b * heads + h) * queries + t) * keys + s;
  }
  __device__ const T* query(int64_t b, int64_t h, int64_t t) const {
    return q + b * q_step[0] + t * q_step[1] + h * q_step[2];
  }
  __device__ const T* key(int64_t b, int64_t h, int64_t s) const {
    return k + b * k_step[0] + s * k_step[1] + h / (heads / kv_heads) * k_step[2];
  }
  __device__ const T* value(int64_t b, int64_t h, int64_t s) const {
    return v + b * v_step[0] + s * v_step[1] + h / (heads / kv_heads) * v_step[2];
  }
};

/// What the gradient of a score is made of besides its row's own numbers.
template <class T>
struct Upstream {
  const T* dy;  ///< [B, T, H, Kv]
  const T* y;
  const Compute<T>* largest;   ///< [B, H, T]: as attention() left them
  const Compute<T>* log_sums;  ///< [B, H, T]
  Compute<T>* delta;           ///< [B, H, T]: sum of dy y, NaN-free 0 in a row whose dy is 0
  bool* used;                  ///< [B, H, T]: whether dy is anything but 0 there
};

/// Weight and gradient of one score, from the products of its query and key and of its upstream gradient and value.
template <class C>
struct Score {
  C dropped;   ///< weight behind the dropout
  C gradient;  ///< of the score
};
/// largest, log_sum, delta: of the query's row.
template <class T, class F, class C>
__device__ Score<C> score_gradient(const Attention<T>& a, const F& formula, C largest, C log_sum, C delta, C qk, C dyv,
                                   int64_t b, int64_t h, int64_t t, int64_t s) {
  const C x = a.score(formula, qk, b, h, t, s);
  const bool none = largest == minus_infinity<C>() || x == minus_infinity<C>();
  const C weight = none ? C(0) : exp(x - largest - log_sum);
  if (weight == C(0)) return {0, 0};  // whatever the value of a key that a bias forbids
  if (!a.dropout.active) return {weight, weight * (dyv - delta)};
  const int64_t element = a.element(b, h, t, s);
  const uint32_t word = a.dropout.word(element);
  // w = softmax(x): dx = w (dw - sum of w dw), and the sum is dy y
  return {a.dropout.kept(weight, word), weight * (a.dropout.kept(dyv, word) - delta)};
}

/// Where a gradient is written: steps of samples, positions and heads, as those of the operand.
template <class T>
struct StridedGradient {
  T* data;
  int64_t step[3];

  __device__ T* row(int64_t b, int64_t position, int64_t head) const {
    return data + b * step[0] + position * step[1] + head * step[2];
  }
};

/// What takes the place of scores: the kernels that have it inside, and itself.
struct Formula {
  const void* (*kernel)(const FormulaKernelName&);
  const void* captured;

  template <class... Params>
  FormulaKernel<Params...> inside(const FormulaKernelName& name) const {
    return {kernel(name), captured};
  }
};

// Tiles (attention_tiles.cu): for float32 and bfloat16, and heads of at most kMostOfTiles numbers. wanted: nothing is
// done where it is not null and points at 0.

constexpr int64_t kMostOfTiles = 128;

/// The kernels, those of rows too, where scores stay.
const void* plain_kernel(const FormulaKernelName& name);

template <class T>
void forward_in_tiles(const Context& c, const Attention<T>& a, const Formula& formula, const int* wanted, T* y,
                      float* stats);
/// dbias: may be null.
template <class T>
void backward_in_tiles(const Context& c, const Attention<T>& a, const Formula& formula, const int* wanted,
                       const Upstream<T>& up, const StridedGradient<T>& dq, const StridedGradient<T>& dk,
                       const StridedGradient<T>& dv, T* dbias);

}  // namespace attune::cuda
