#pragma once

#include <type_traits>

#include "framework/kernels/cuda/attention.cuh"
#include "framework/kernels/cuda/tiles.cuh"

namespace attune::cuda::tiles {

// Exact attention over tiles of queries and keys in shared memory with a running softmax (Dao et al., "FlashAttention",
// 2022; gradients by recomputation as in its algorithm 4, dq and dk, dv in launches of their own, so that no sum needs
// atomic additions: results are the same in every run). Computed in float32; rows and columns of scores are shared out
// among threads as tiles.cuh says.

extern __shared__ float4 tile_memory[];

/// The words of dropout: neighbours in a draw share what the generator gives at once.
struct Words {
  uint64_t counter = ~uint64_t{0};
  PhiloxBlock block{};

  __device__ uint32_t at(const Drop<float>& dropout, int64_t i) {
    const uint64_t wanted = static_cast<uint64_t>(i) / 64 * 16 + static_cast<uint64_t>(i) % 16;
    if (wanted != counter) {
      counter = wanted;
      block = dropout.block(wanted);
    }
    return (i & 32) != 0 ? ((i & 16) != 0 ? block.word[3] : block.word[2])
                         : ((i & 16) != 0 ? block.word[1] : block.word[0]);
  }
};

/// Shared memory of a block: tiles of its own rows, of the rows it walks over, and of scores.
constexpr size_t shared_bytes(int own_tiles, int own_rows, int other_tiles, int size) {
  return sizeof(float) *
         static_cast<size_t>((own_tiles * own_rows + other_tiles * kOthers) * row_step(size) + own_rows * kScoreStep);
}

__device__ inline int64_t keys_of_sample(const int64_t* lengths, int64_t b, int64_t keys) {
  return lengths != nullptr && lengths[b] < keys ? lengths[b] : keys;
}

/// The tile of a block; under causal masks those with the most keys come first.
__device__ inline int64_t first_query(int64_t tiles, int rows) {
  return (tiles - 1 - static_cast<int64_t>(blockIdx.x) % tiles) * rows;
}

template <int kSize, int kRows, class T, class F>
__global__ void __launch_bounds__(kThreads)
    forward_tiles(Attention<T> a, const int* wanted, int64_t tiles, T* y, float* stats, F formula) {
  if (wanted != nullptr && *wanted == 0) return;
  constexpr int kOwn = kRows * kLines;
  using Own = OwnColumns<kSize>;
  float* q = reinterpret_cast<float*>(tile_memory);
  float* k = q + kOwn * row_step(kSize);
  float* v = k + kOthers * row_step(kSize);
  float* scores = v + kOthers * row_step(kSize);
  const int64_t h = blockIdx.x / tiles % a.heads, b = blockIdx.x / tiles / a.heads;
  const int64_t first = first_query(tiles, kOwn);
  const IndexRange own{first, first + kOwn < a.queries ? first + kOwn : a.queries};
  load_tile<kOwn, kSize>(a.query(b, h, first), a.q_step[1], own.end - own.begin, a.size, q);

  float top[kRows], sum[kRows], out[kRows][Own::kCount];
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    top[i] = minus_infinity<float>();
    sum[i] = 0;
#pragma unroll
    for (int c = 0; c < Own::kCount; ++c) out[i][c] = 0;
  }
  const IndexRange keys = a.band.keys_of(own, keys_of_sample(a.lengths, b, a.keys));
  for (int64_t begin = keys.begin / kOthers * kOthers; begin < keys.end; begin += kOthers) {
    const IndexRange others{begin, begin + kOthers < keys.end ? begin + kOthers : keys.end};
    __syncthreads();  // the tiles of the time before have been read
    load_tile<kOthers, kSize>(a.key(b, h, begin), a.k_step[1], others.end - begin, a.size, k);
    const bool odd = load_tile<kOthers, kSize>(a.value(b, h, begin), a.v_step[1], others.end - begin, a.width, v);
    const bool careful = __syncthreads_or(odd) != 0;
    float x[kRows][kColumns];
    products<kSize>(q, k, x);
    const bool all = a.kept.data == nullptr && others.end == begin + kOthers && own.end == first + kOwn &&
                     a.band.allows_all(own, others);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int row = line_of_thread() + i * kLines;
      const int64_t t = first + row;
      float largest = minus_infinity<float>();
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        const int64_t s = begin + lane_of_thread() + j * kLanes;
        const bool counts = all || (t < own.end && a.allowed(b, h, t, s));
        x[i][j] = counts ? a.score(formula, x[i][j], b, h, t, s) : minus_infinity<float>();
        largest = x[i][j] > largest ? x[i][j] : largest;
      }
      largest = line_max(largest);
      const float above = largest > top[i] ? largest : top[i];
      const float shrink = top[i] == minus_infinity<float>() ? 0.0f : exp(top[i] - above);
      top[i] = above;
      sum[i] *= shrink;
#pragma unroll
      for (int c = 0; c < Own::kCount; ++c) out[i][c] *= shrink;
      Words words;
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        const int column = lane_of_thread() + j * kLanes;
        float e = x[i][j] == minus_infinity<float>() ? 0.0f : exp(x[i][j] - above);
        sum[i] += e;
        if (a.dropout.active && e != 0) {
          e = a.dropout.kept(e, words.at(a.dropout, a.element(b, h, t, begin + column)));
        }
        scores[row * kScoreStep + column] = e;
      }
    }
    add_products<kSize, kRows>(careful, scores, v, out);
  }
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int64_t t = first + line_of_thread() + i * kLines;
    const float total = line_sum(sum[i]);
    if (t >= own.end) continue;
    const bool none = total == 0;  // no key, or none with a score above -infinity
    T* to = y + ((b * a.queries + t) * a.heads + h) * a.width;
#pragma unroll
    for (int c = 0; c < Own::kCount; ++c) {
      if (Own::at(c) < a.width) to[Own::at(c)] = store<T>(none ? 0.0f : out[i][c] / total);
    }
    if (lane_of_thread() == 0) a.keep_stats(a.row(b, h, t), top[i], total, stats);
  }
}

/// What the gradients of one query's scores are made of.
struct QueryRow {
  float largest = 0;
  float log_sum = 0;
  float delta = 0;
  bool used = false;
};

template <class T>
__device__ QueryRow query_row(const Attention<T>& a, const Upstream<T>& up, int64_t b, int64_t h, int64_t t) {
  if (t >= a.queries) return {};
  const int64_t row = a.row(b, h, t);
  return {up.largest[row], up.log_sums[row], up.delta[row], up.used[row]};
}

/// dq and dbias: a block owns queries and walks over keys. With kKeys dk and dv: it owns keys and walks over the
/// queries of all heads that read them. first: dq or dk, second: dv.
template <int kSize, int kRows, bool kKeys, class T, class F>
__global__ void __launch_bounds__(kThreads)
    backward_tiles(Attention<T> a, const int* wanted, Upstream<T> up, int64_t tiles, StridedGradient<T> first,
                   StridedGradient<T> second, T* dbias, F formula) {
  if (wanted != nullptr && *wanted == 0) return;
  constexpr int kOwn = kRows * kLines;
  using Own = OwnColumns<kSize>;
  float* own_qk = reinterpret_cast<float*>(tile_memory);
  float* own_vy = own_qk + kOwn * row_step(kSize);
  float* other_qk = own_vy + kOwn * row_step(kSize);
  float* other_vy = other_qk + kOthers * row_step(kSize);
  float* scores = other_vy + kOthers * row_step(kSize);
  const int64_t own_heads = kKeys ? a.kv_heads : a.heads;
  const int64_t own_head = blockIdx.x / tiles % own_heads, b = blockIdx.x / tiles / own_heads;
  const int64_t begin = kKeys ? blockIdx.x % tiles * kOwn : first_query(tiles, kOwn);
  const int64_t length = keys_of_sample(a.lengths, b, a.keys);
  const int64_t count = kKeys ? a.keys : a.queries;
  const IndexRange own{begin, begin + kOwn < count ? begin + kOwn : count};
  const int64_t dy_step = a.heads * a.width;
  const auto upstream = [&](int64_t h, int64_t t) { return up.dy + ((b * a.queries + t) * a.heads + h) * a.width; };

  const int64_t group = a.heads / a.kv_heads;
  const int64_t first_head = kKeys ? own_head * group : own_head;
  const int64_t last_head = kKeys ? first_head + group : own_head + 1;
  const int64_t own_rows = own.end - own.begin;
  if (kKeys) {
    load_tile<kOwn, kSize>(a.key(b, first_head, begin), a.k_step[1], own_rows, a.size, own_qk);
    load_tile<kOwn, kSize>(a.value(b, first_head, begin), a.v_step[1], own_rows, a.width, own_vy);
  } else {
    load_tile<kOwn, kSize>(a.query(b, own_head, begin), a.q_step[1], own_rows, a.size, own_qk);
    load_tile<kOwn, kSize>(upstream(own_head, begin), dy_step, own_rows, a.width, own_vy);
  }
  float sums[kRows][Own::kCount], sums_of_v[kRows][Own::kCount];
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
#pragma unroll
    for (int c = 0; c < Own::kCount; ++c) sums[i][c] = sums_of_v[i][c] = 0;
  }
  IndexRange met = kKeys ? a.band.queries_of(own, a.queries) : a.band.keys_of(own, length);
  if (kKeys && begin >= length) met = {0, 0};
  if (dbias != nullptr) met = {0, a.keys};  // zeros are written too
  for (int64_t h = first_head; h < last_head; ++h) {
    for (int64_t at = met.begin / kOthers * kOthers; at < met.end; at += kOthers) {
      const int64_t rows = at + kOthers < met.end ? kOthers : met.end - at;
      __syncthreads();  // the tiles of the time before have been read
      bool odd = false;
      if (kKeys) {
        odd = load_tile<kOthers, kSize>(a.query(b, h, at), a.q_step[1], rows, a.size, other_qk);
        odd = load_tile<kOthers, kSize>(upstream(h, at), dy_step, rows, a.width, other_vy) || odd;
      } else {
        odd = load_tile<kOthers, kSize>(a.key(b, h, at), a.k_step[1], rows, a.size, other_qk);
        load_tile<kOthers, kSize>(a.value(b, h, at), a.v_step[1], rows, a.width, other_vy);
      }
      const bool careful = __syncthreads_or(odd) != 0;
      float of_score[kRows][kColumns], of_weight[kRows][kColumns];
      products<kSize>(own_qk, other_qk, of_score);
      products<kSize>(own_vy, other_vy, of_weight);
      QueryRow other_queries[kColumns];
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        if (kKeys) other_queries[j] = query_row(a, up, b, h, at + lane_of_thread() + j * kLanes);
      }
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const int64_t own_place = begin + line_of_thread() + i * kLines;
        const QueryRow own_query = kKeys ? QueryRow{} : query_row(a, up, b, h, own_place);
#pragma unroll
        for (int j = 0; j < kColumns; ++j) {
          const int64_t other_place = at + lane_of_thread() + j * kLanes;
          const int64_t t = kKeys ? other_place : own_place;
          const int64_t s = kKeys ? own_place : other_place;
          const QueryRow query = kKeys ? other_queries[j] : own_query;
          Score<float> score{0, 0};
          float along = 0;
          if (query.used && a.allowed(b, h, t, s)) {
            const float product = of_score[i][j];
            score = score_gradient(a, formula, query.largest, query.log_sum, query.delta, product, of_weight[i][j], b,
                                   h, t, s);
            along = score.gradient == 0 ? 0.0f : score.gradient * a.slope(formula, product, b, h, t, s);
          }
          if (dbias != nullptr && t < a.queries && s < a.keys) {
            dbias[((b * a.heads + h) * a.queries + t) * a.keys + s] = store<T>(score.gradient);
          }
          of_score[i][j] = along;
          of_weight[i][j] = score.dropped;
        }
      }
      const auto put = [&](const float(&x)[kRows][kColumns]) {
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
#pragma unroll
          for (int j = 0; j < kColumns; ++j) {
            scores[(line_of_thread() + i * kLines) * kScoreStep + lane_of_thread() + j * kLanes] = x[i][j];
          }
        }
      };
      put(of_score);
      add_products<kSize, kRows>(careful, scores, other_qk, sums);
      if (kKeys) {
        put(of_weight);
        add_products<kSize, kRows>(careful, scores, other_vy, sums_of_v);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const int64_t place = begin + line_of_thread() + i * kLines;
    if (place >= own.end) continue;
    T* to = first.row(b, place, own_head);
    T* to_v = kKeys ? second.row(b, place, own_head) : nullptr;
#pragma unroll
    for (int c = 0; c < Own::kCount; ++c) {
      const int column = Own::at(c);
      if (column < a.size) to[column] = store<T>(sums[i][c]);
      if (kKeys && column < a.width) to_v[column] = store<T>(sums_of_v[i][c]);
    }
  }
}

/// So many that two blocks fit the shared memory of a multiprocessor.
constexpr int rows_of_thread(int size) { return size > 64 ? 4 : 8; }

/// f(size) with a compile-time bound of the heads' sizes.
template <class F>
auto visit_size(int64_t size, const F& f) {
  if (size <= 32) return f(std::integral_constant<int, 32>());
  if (size <= 64) return f(std::integral_constant<int, 64>());
  return f(std::integral_constant<int, 128>());
}

}  // namespace attune::cuda::tiles
