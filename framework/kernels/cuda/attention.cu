#include "framework/error.h"
#include "framework/kernels/cuda/attention.cuh"
#include "framework/kernels/cuda/attention_cudnn.h"
#include "framework/kernels/cuda/find.cuh"
#include "framework/kernels/cuda/packed.h"

namespace attune::cuda {
namespace {

// For what attention_tiles.cu leaves: float64, wide heads, weights. A warp for a query, or for a key where its
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

template <class T>
__global__ void forward(Attention<T> a, T* y, Compute<T>* lse, T* weights) {
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
    const C score = counts ? a.score(dot(q, a.key(b, h, s), a.size), b, h, t, s) : minus_infinity<C>();
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
  const C total = none ? minus_infinity<C>() : top + log(sum);
  T* to = y + ((b * a.queries + t) * a.heads + h) * a.width;
  for (int64_t i = lane; i < a.width; i += 32) to[i] = store<T>(none ? C(0) : out[i] / sum);
  if (lane == 0) lse[row] = total;
  if (weights == nullptr) return;
  for (int64_t s = lane; s < a.keys; s += 32) {
    C weight = 0;
    if (!none && a.allowed(b, h, t, s)) weight = exp(a.score(dot(q, a.key(b, h, s), a.size), b, h, t, s) - total);
    weights[row * a.keys + s] = store<T>(weight);
  }
}

/// delta and used. A warp for every query. wanted: as of tiles.
template <class T>
__global__ void look_at_rows(Attention<T> a, const int* wanted, Upstream<T> up) {
  using C = Compute<T>;
  if (wanted != nullptr && *wanted == 0) return;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= a.batch * a.heads * a.queries) return;
  const int64_t t = row % a.queries, h = row / a.queries % a.heads, b = row / a.queries / a.heads;
  const int64_t at = ((b * a.queries + t) * a.heads + h) * a.width;
  C sum = 0;
  bool any = false;
  for (int64_t i = threadIdx.x % 32; i < a.width; i += 32) {
    const C gradient = load(up.dy[at + i]);
    any = any || gradient != C(0);
    if (gradient != C(0)) sum += gradient * load(up.y[at + i]);
  }
  any = __any_sync(~0u, any);
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) {
    up.delta[row] = any ? sum : C(0);
    up.used[row] = any;
  }
}

/// dq and dbias. A warp for every query; a key for every lane.
template <class T>
__global__ void backward_queries(Attention<T> a, Upstream<T> up, StridedGradient<T> dq, T* dbias) {
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
      gradient = score_gradient<T, C>(a, up.lse[row], up.delta[row], product, of_weight, b, h, t, s).gradient;
      slope = a.slope(product);
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
template <class T>
__global__ void backward_keys(Attention<T> a, Upstream<T> up, StridedGradient<T> dk, StridedGradient<T> dv) {
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
        const Score<C> score =
            score_gradient<T, C>(a, up.lse[query_row], up.delta[query_row], product, dot(v, dy, a.width), b, h, t, s);
        dropped = score.dropped;
        along = score.gradient == C(0) ? C(0) : score.gradient * a.slope(product);
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

void steps(const Tensor& x, int64_t (&to)[3]) {
  for (int axis = 0; axis < 3; ++axis) to[axis] = x.strides()[axis];
}
void steps(const Tensor& x, int64_t (&to)[4]) {
  for (int axis = 0; axis < 4; ++axis) to[axis] = x.strides()[axis];
}

template <class T>
Attention<T> arguments(const Context& c, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
                       const AttentionSpec& spec) {
  using C = Compute<T>;
  if (spec.score || spec.mask.where)
    throw DeviceError("attention: the user's functions of scores run on the cpu device");
  Attention<T> a{};
  a.q = data<T>(q);
  a.k = data<T>(k);
  a.v = data<T>(v);
  steps(q, a.q_step);
  steps(k, a.k_step);
  steps(v, a.v_step);
  if (bias.defined()) {
    a.bias = data<T>(bias);
    steps(bias, a.bias_step);
  }
  if (spec.mask.keep.defined()) {
    a.keep = data<bool>(spec.mask.keep);
    steps(spec.mask.keep, a.keep_step);
  }
  if (spec.mask.lengths.defined()) a.lengths = data<int64_t>(spec.mask.lengths);
  a.band = Band(spec.mask.causal, spec.mask.causal_offset, spec.mask.window_left, spec.mask.window_right);
  a.batch = q.dim(0);
  a.queries = q.dim(1);
  a.heads = q.dim(2);
  a.size = q.dim(3);
  a.keys = k.dim(1);
  a.kv_heads = k.dim(2);
  a.width = v.dim(3);
  a.scale = static_cast<C>(spec.scale);
  a.softcap = static_cast<C>(spec.softcap);
  a.dropout = Drop<C>(c, spec.dropout);
  return a;
}

template <class T>
StridedGradient<T> gradient_of(Tensor& x) {
  return {data<T>(x), {x.strides()[0], x.strides()[1], x.strides()[2]}};
}

/// A warp for every row, each with so many numbers of shared memory.
template <class C>
Grid warp_each(int64_t rows, int64_t numbers) {
  return {ceil_div(rows, kWarps), kWarps * 32, static_cast<size_t>(kWarps * numbers) * sizeof(C)};
}

template <class T>
bool fits_tiles(const Attention<T>& a) {
  return std::max(a.size, a.width) <= kMostOfTiles;
}

}  // namespace

void attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias, const AttentionSpec& spec,
               Tensor& y, Tensor& lse, Tensor& weights) {
  const Context& c = context(q);
  visit_stored(q.dtype(), "attention", [&]<class T>(T) {
    using C = Compute<T>;
    const Attention<T> a = arguments<T>(c, q, k, v, bias, spec);
    if constexpr (std::is_same_v<C, float>) {
      if (fits_tiles(a) && !weights.defined()) {
        if constexpr (std::is_same_v<T, bfloat16>) {
          if (forward_in_cudnn(c, a, data<T>(y), data<C>(lse))) {
            if (a.band.high == Band::kUnbounded) return;
            // Done again where what is masked could be seen.
            const NonFinite<T> odd(c, "attention", {&k, &v});
            return forward_in_tiles<T>(c, a, odd.word(), data<T>(y), data<C>(lse));
          }
        }
        return forward_in_tiles<T>(c, a, nullptr, data<T>(y), data<C>(lse));
      }
    }
    launch(c, "attention", forward<T>, warp_each<C>(a.batch * a.heads * a.queries, a.size + a.width), a, data<T>(y),
           data<C>(lse), data<T>(weights));
  });
}

void attention_backward(const Tensor& dy, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
                        const AttentionSpec& spec, const Tensor& y, const Tensor& lse, const Tensor&, Tensor& dq,
                        Tensor& dk, Tensor& dv, Tensor& dbias) {
  const Context& c = context(q);
  visit_stored(q.dtype(), "attention", [&]<class T>(T) {
    using C = Compute<T>;
    const Attention<T> a = arguments<T>(c, q, k, v, bias, spec);
    const int64_t rows = a.batch * a.heads * a.queries;
    const Packed upstream(c, dy);
    const Scratch delta(c, static_cast<size_t>(rows) * sizeof(C));
    const Scratch used(c, static_cast<size_t>(rows) * sizeof(bool));
    const Upstream<T> up{upstream.data<T>(), data<T>(y), data<C>(lse), delta.data<C>(), used.data<bool>()};
    const StridedGradient<T> to_q = gradient_of<T>(dq), to_k = gradient_of<T>(dk), to_v = gradient_of<T>(dv);
    const auto look = [&](const int* wanted) {
      launch(c, "attention_backward", look_at_rows<T>, warp_each<C>(rows, 0), a, wanted, up);
    };
    if constexpr (std::is_same_v<C, float>) {
      if (fits_tiles(a)) {
        const auto in_tiles = [&](const int* wanted) {
          look(wanted);
          backward_in_tiles<T>(c, a, wanted, up, to_q, to_k, to_v, data<T>(dbias));
        };
        if constexpr (std::is_same_v<T, bfloat16>) {
          if (!dbias.defined() && backward_in_cudnn(c, a, up, to_q, to_k, to_v)) {
            const NonFinite<T> odd(c, "attention_backward", {&q, &k, &v});
            return in_tiles(odd.word());
          }
        }
        return in_tiles(nullptr);
      }
    }
    look(nullptr);
    launch(c, "attention_backward", backward_queries<T>, warp_each<C>(rows, 2 * a.size + a.width), a, up, to_q,
           data<T>(dbias));
    launch(c, "attention_backward", backward_keys<T>,
           warp_each<C>(a.batch * a.kv_heads * a.keys, 2 * (a.size + a.width)), a, up, to_k, to_v);
  });
}

}  // namespace attune::cuda
