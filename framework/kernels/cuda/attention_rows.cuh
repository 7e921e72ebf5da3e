#pragma once

#include "framework/kernels/cuda/attention.cuh"

namespace attune::cuda::rows {

// For what tiles leave: float64, wide heads, weights. A warp for a query, or for a key where its
// gradients are summed: no memory for scores, sums in a fixed order, the same results in every run. What a warp's row
// needs of width K lies in shared memory.

constexpr int kWarps = 4;  ///< of a block

template <class C, class T>
__device__ C dot(const C* a, const T* b, int64_t n) {
  C sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += a[i] * load(b[i]);
  return sum;
}

template <class C>
__device__ C warp_sum(C value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(~0u, value, step);
  return value;
}
template <class C>
__device__ C warp_max(C value) {
  for (int step = 16; step > 0; step /= 2) {
    const C other = __shfl_xor_sync(~0u, value, step);
    value = other > value ? other : value;
  }
  return value;
}

extern __shared__ double shared_rows[];

/// This warp's part of the shared memory, `n` numbers long.
template <class C>
__device__ C* own_rows(int64_t n) {
  return reinterpret_cast<C*>(shared_rows) + threadIdx.x / 32 * n;
}

template <class T, class F>
__global__ void forward(Attention<T> a, T* y, Compute<T>* stats, T* weights, F formula) {
  using C = Compute<T>;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;  // (b H + h) T + t
  if (row >= a.batch * a.heads * a.queries) return;
  const int64_t t = row % a.queries, h = row / a.queries % a.heads, b = row / a.queries / a.heads;
  const int lane = static_cast<int>(threadIdx.x % 32);
  C* q = own_rows<C>(a.size + a.width);
  C* out = q + a.size;
  const T* from = a.query(b, h, t);
  for (int64_t i = lane; i < a.size; i += 32) q[i] = load(from[i]);
  for (int64_t i = lane; i < a.width; i += 32) out[i] = 0;
  __syncwarp();
  C top = minus_infinity<C>();
  C sum = 0;
  for (int64_t begin = 0; begin < a.keys; begin += 32) {
    // A key for every lane, then a column for every lane.
    const int64_t s = begin + lane;
    const bool counts = a.allowed(b, h, t, s);
    if (__ballot_sync(~0u, counts) == 0) continue;
    const C score = counts ? a.score(formula, dot(q, a.key(b, h, s), a.size), b, h, t, s) : minus_infinity<C>();
    const C largest = warp_max(score);
    const C above = largest > top ? largest : top;
    const C shrink = top == minus_infinity<C>() ? C(0) : exp(top - above);
    top = above;
    const C e = !counts ? C(0) : score == minus_infinity<C>() && top == score ? C(0) : exp(score - top);
    sum = sum * shrink + warp_sum(e);
    const C dropped = counts ? a.dropout(e, a.element(b, h, t, s)) : C(0);
    for (int64_t i = lane; i < a.width; i += 32) out[i] *= shrink;
    for (int key = 0; key < 32; ++key) {
      const C weight = __shfl_sync(~0u, dropped, key);
      if (weight == C(0)) continue;
      const T* value = a.value(b, h, begin + key);
      for (int64_t i = lane; i < a.width; i += 32) out[i] += weight * load(value[i]);
    }
  }
  const bool none = sum == C(0);  // no key, or none with a score above -infinity
  const C log_sum = none ? C(0) : log(sum);
  T* to = y + ((b * a.queries + t) * a.heads + h) * a.width;
  for (int64_t i = lane; i < a.width; i += 32) to[i] = store<T>(none ? C(0) : out[i] / sum);
  if (lane == 0) a.keep_stats(row, top, sum, stats);
  if (weights == nullptr) return;
  for (int64_t s = lane; s < a.keys; s += 32) {
    C weight = 0;
    if (!none && a.allowed(b, h, t, s)) {
      const C score = a.score(formula, dot(q, a.key(b, h, s), a.size), b, h, t, s);
      if (score != minus_infinity<C>()) weight = exp(score - top - log_sum);
    }
    weights[row * a.keys + s] = store<T>(weight);
  }
}

/// dq and dbias. A warp for every query; a key for every lane.
template <class T, class F>
__global__ void backward_queries(Attention<T> a, Upstream<T> up, StridedGradient<T> dq, T* dbias, F formula) {
  using C = Compute<T>;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= a.batch * a.heads * a.queries) return;
  const int64_t t = row % a.queries, h = row / a.queries % a.heads, b = row / a.queries / a.heads;
  const int lane = static_cast<int>(threadIdx.x % 32);
  C* q = own_rows<C>(2 * a.size + a.width);
  C* out = q + a.size;
  C* dy = out + a.size;
  const T* from = a.query(b, h, t);
  const T* upstream = up.dy + ((b * a.queries + t) * a.heads + h) * a.width;
  for (int64_t i = lane; i < a.size; i += 32) {
    q[i] = load(from[i]);
    out[i] = 0;
  }
  for (int64_t i = lane; i < a.width; i += 32) dy[i] = load(upstream[i]);
  __syncwarp();
  const bool used = up.used[row];
  for (int64_t begin = 0; begin < a.keys; begin += 32) {
    const int64_t s = begin + lane;
    C gradient = 0;
    C slope = 0;
    if (used && a.allowed(b, h, t, s)) {
      const C product = dot(q, a.key(b, h, s), a.size);
      const C of_weight = dot(dy, a.value(b, h, s), a.width);
      gradient =
          score_gradient(a, formula, up.largest[row], up.log_sums[row], up.delta[row], product, of_weight, b, h, t, s)
              .gradient;
      slope = a.slope(formula, product, b, h, t, s);
    }
    if (dbias != nullptr && s < a.keys) dbias[row * a.keys + s] = store<T>(gradient);
    const C along = gradient == C(0) ? C(0) : gradient * slope;
    for (int key = 0; key < 32; ++key) {
      const C factor = __shfl_sync(~0u, along, key);
      if (factor == C(0)) continue;
      const T* k = a.key(b, h, begin + key);
      for (int64_t i = lane; i < a.size; i += 32) out[i] += factor * load(k[i]);
    }
  }
  T* to = dq.row(b, t, h);
  for (int64_t i = lane; i < a.size; i += 32) to[i] = store<T>(out[i]);
}

/// dk and dv. A warp for every key; a query for every lane, of all heads that read the key.
template <class T, class F>
__global__ void backward_keys(Attention<T> a, Upstream<T> up, StridedGradient<T> dk, StridedGradient<T> dv, F formula) {
  using C = Compute<T>;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;  // (b Hkv + h) S + s
  if (row >= a.batch * a.kv_heads * a.keys) return;
  const int64_t s = row % a.keys, kv_head = row / a.keys % a.kv_heads, b = row / a.keys / a.kv_heads;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int64_t group = a.heads / a.kv_heads;
  C* k = own_rows<C>(2 * (a.size + a.width));
  C* v = k + a.size;
  C* out_k = v + a.width;
  C* out_v = out_k + a.size;
  const T* key = a.key(b, kv_head * group, s);
  const T* value = a.value(b, kv_head * group, s);
  for (int64_t i = lane; i < a.size; i += 32) {
    k[i] = load(key[i]);
    out_k[i] = 0;
  }
  for (int64_t i = lane; i < a.width; i += 32) {
    v[i] = load(value[i]);
    out_v[i] = 0;
  }
  __syncwarp();
  for (int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
    for (int64_t begin = 0; begin < a.queries; begin += 32) {
      const int64_t t = begin + lane;
      C along = 0;
      C dropped = 0;
      const int64_t query_row = (b * a.heads + h) * a.queries + t;
      if (t < a.queries && up.used[query_row] && a.allowed(b, h, t, s)) {
        const C product = dot(k, a.query(b, h, t), a.size);
        const T* dy = up.dy + ((b * a.queries + t) * a.heads + h) * a.width;
        const Score<C> score = score_gradient(a, formula, up.largest[query_row], up.log_sums[query_row],
                                              up.delta[query_row], product, dot(v, dy, a.width), b, h, t, s);
        dropped = score.dropped;
        along = score.gradient == C(0) ? C(0) : score.gradient * a.slope(formula, product, b, h, t, s);
      }
      for (int query = 0; query < 32; ++query) {
        const C factor = __shfl_sync(~0u, along, query);
        const C weight = __shfl_sync(~0u, dropped, query);
        if (factor != C(0)) {
          const T* q = a.query(b, h, begin + query);
          for (int64_t i = lane; i < a.size; i += 32) out_k[i] += factor * load(q[i]);
        }
        if (weight != C(0)) {
          const T* dy = up.dy + ((b * a.queries + begin + query) * a.heads + h) * a.width;
          for (int64_t i = lane; i < a.width; i += 32) out_v[i] += weight * load(dy[i]);
        }
      }
    }
  }
  T* to_k = dk.row(b, s, kv_head);
  T* to_v = dv.row(b, s, kv_head);
  for (int64_t i = lane; i < a.size; i += 32) to_k[i] = store<T>(out_k[i]);
  for (int64_t i = lane; i < a.width; i += 32) to_v[i] = store<T>(out_v[i]);
}

}  // namespace attune::cuda::rows
