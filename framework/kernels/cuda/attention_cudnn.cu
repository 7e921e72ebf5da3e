#include <limits>
#include <vector>

#include "framework/kernels/cuda/attention_cudnn.h"
#include "framework/kernels/cuda/cudnn.h"

namespace attune::cuda {

#ifdef ATTUNE_CUDNN

namespace {

using Operand = CudnnGraph::Operand;

/// Operands of the graphs. cuDNN sees k and v transposed.
enum Id : int64_t { kQ, kK, kV, kY, kLse, kDy, kDq, kDk, kDv, kDelta, kDqSum, kScale, kOne, kOffset, kMinusInfinity };

/// What a plan depends on.
struct Key {
  int64_t device, backward, ordered, causal, deterministic;
  int64_t batch, heads, queries, keys, size, width;
  CudnnExtents q, k, v, dq, dk, dv;

  bool operator<(const Key& other) const { return fields() < other.fields(); }

 private:
  std::array<int64_t, 35> fields() const {
    std::array<int64_t, 35> out{device, backward, ordered, causal, deterministic, batch,
                                heads,  queries,  keys,    size,   width};
    size_t at = 11;
    for (const CudnnExtents* steps : {&q, &k, &v, &dq, &dk, &dv}) {
      for (const int64_t step : *steps) out[at++] = step;
    }
    return out;
  }
};

enum Causal : int64_t { kFull, kSquare, kShifted };

/// [B, N, H, K] with these steps as [B, H, N, K].
CudnnExtents steps_of(const int64_t (&step)[3]) { return {step[0], step[2], step[1], 1}; }
CudnnExtents transposed(const CudnnExtents& x) { return {x[0], x[1], x[3], x[2]}; }

/// Whether every row begins at a multiple of 16 bytes.
bool moves_packs(const void* data, const int64_t (&step)[3]) {
  return aligned(data) && step[0] % 8 == 0 && step[1] % 8 == 0 && step[2] % 8 == 0;
}

/// The log of a sum of this size is right to 2^-14, which is little beside the 2^-9 of a weight in bfloat16.
constexpr float kLargeScore = 1024;

/// lse = largest + log_sum. *coarse = 1 where one of them is too large for that.
__global__ void join_stats(const float* largest, const float* log_sums, int64_t rows, float* lse, int* coarse) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  const float total = largest[row] + log_sums[row];
  lse[row] = total;
  if (fabsf(total) > kLargeScore && isfinite(total)) *coarse = 1;
}

Key key_of(const Context& context, const Attention<bfloat16>& a) {
  Key key{};
  key.device = context.device;
  key.causal = a.band.high == Band::kUnbounded ? kFull : a.band.high == 0 ? kSquare : kShifted;
  key.batch = a.batch;
  key.heads = a.heads;
  key.queries = a.queries;
  key.keys = a.keys;
  key.size = a.size;
  key.width = a.width;
  key.q = steps_of(a.q_step);
  key.k = steps_of(a.k_step);
  key.v = steps_of(a.v_step);
  return key;
}

/// Extents of what there is one of for every score, and for every query.
CudnnExtents scores_of(const Key& key) { return {key.batch, key.heads, key.queries, key.keys}; }
CudnnExtents rows_of(const Key& key) { return {key.batch, key.heads, key.queries, 1}; }
CudnnExtents row_steps(const Key& key) { return {key.heads * key.queries, key.queries, 1, 1}; }
/// y and dy, [B, T, H, Kv].
CudnnExtents outputs_of(const Key& key) { return {key.batch, key.heads, key.queries, key.width}; }
CudnnExtents output_steps(const Key& key) {
  return {key.queries * key.heads * key.width, key.width, key.heads * key.width, 1};
}

/// scale q k^T.
Operand add_scores(CudnnGraph& graph, const Key& key, Operand q, Operand k, Operand scale) {
  const Operand products = graph.between(scores_of(key)), scores = graph.between(scores_of(key));
  graph.matmul(q, k, products);
  graph.pointwise(CUDNN_POINTWISE_MUL, products, scale, scores);
  return scores;
}

/// -infinity where s > t + offset.
Operand add_mask(CudnnGraph& graph, const Key& key, Operand scores) {
  if (key.causal == kFull) return scores;
  const CudnnExtents all = scores_of(key);
  Operand t = graph.between(all, CUDNN_DATA_INT32);
  graph.positions(scores, 2, t);
  if (key.causal == kShifted) {
    const Operand shifted = graph.between(all, CUDNN_DATA_INT32);
    graph.pointwise(CUDNN_POINTWISE_ADD, t, graph.number(kOffset, CUDNN_DATA_INT32), shifted, CUDNN_DATA_INT32);
    t = shifted;
  }
  const Operand s = graph.between(all, CUDNN_DATA_INT32), allowed = graph.between(all, CUDNN_DATA_BOOLEAN);
  graph.positions(scores, 3, s);
  graph.pointwise(CUDNN_POINTWISE_CMP_GE, t, s, allowed, CUDNN_DATA_BOOLEAN);
  const Operand masked = graph.between(all);
  graph.pointwise(CUDNN_POINTWISE_BINARY_SELECT, scores, graph.number(kMinusInfinity, CUDNN_DATA_FLOAT), masked,
                  CUDNN_DATA_FLOAT, allowed);
  return masked;
}

/// y = softmax(x) v, lse = log of the sum of exp(x).
CudnnGraph forward_graph(const Key& key) {
  CudnnGraph graph;
  const CudnnExtents all = scores_of(key), rows = rows_of(key);
  const Operand q = graph.memory(kQ, CUDNN_DATA_BFLOAT16, {key.batch, key.heads, key.queries, key.size}, key.q);
  const Operand k =
      graph.memory(kK, CUDNN_DATA_BFLOAT16, {key.batch, key.heads, key.size, key.keys}, transposed(key.k));
  const Operand v = graph.memory(kV, CUDNN_DATA_BFLOAT16, {key.batch, key.heads, key.keys, key.width}, key.v);
  const Operand y = graph.memory(kY, CUDNN_DATA_BFLOAT16, outputs_of(key), output_steps(key));
  const Operand lse = graph.memory(kLse, CUDNN_DATA_FLOAT, rows, row_steps(key));
  const Operand x = add_mask(graph, key, add_scores(graph, key, q, k, graph.number(kScale, CUDNN_DATA_FLOAT)));

  const Operand top = graph.between(rows), below = graph.between(all), e = graph.between(all);
  graph.reduce(CUDNN_REDUCE_TENSOR_MAX, x, top);
  graph.pointwise(CUDNN_POINTWISE_SUB, x, top, below);
  graph.pointwise(CUDNN_POINTWISE_EXP, below, nullptr, e);
  const Operand sum = graph.between(rows), log_sum = graph.between(rows);
  graph.reduce(CUDNN_REDUCE_TENSOR_ADD, e, sum);
  graph.pointwise(CUDNN_POINTWISE_LOG, sum, nullptr, log_sum);
  graph.pointwise(CUDNN_POINTWISE_ADD, top, log_sum, lse);
  const Operand weights = graph.between(all, CUDNN_DATA_BFLOAT16);
  graph.pointwise(CUDNN_POINTWISE_DIV, e, sum, weights);
  graph.matmul(weights, v, y);
  return graph;
}

/// w = exp(x - lse), dv = w^T dy, dx = w (dy v^T - delta) scale, dq = dx k, dk = dx^T q, delta = sum of dy y.
CudnnGraph backward_graph(const Key& key) {
  CudnnGraph graph;
  const CudnnExtents all = scores_of(key), rows = rows_of(key);
  const CudnnExtents turned{key.batch, key.heads, key.keys, key.queries};
  const CudnnExtents turned_steps{key.heads * key.queries * key.keys, key.queries * key.keys, 1, key.keys};
  const CudnnExtents of_q{key.batch, key.heads, key.queries, key.size};
  const CudnnExtents of_k{key.batch, key.heads, key.keys, key.size};
  const Operand q = graph.memory(kQ, CUDNN_DATA_BFLOAT16, of_q, key.q);
  const Operand k =
      graph.memory(kK, CUDNN_DATA_BFLOAT16, {key.batch, key.heads, key.size, key.keys}, transposed(key.k));
  const Operand v =
      graph.memory(kV, CUDNN_DATA_BFLOAT16, {key.batch, key.heads, key.width, key.keys}, transposed(key.v));
  const Operand y = graph.memory(kY, CUDNN_DATA_BFLOAT16, outputs_of(key), output_steps(key));
  const Operand dy = graph.memory(kDy, CUDNN_DATA_BFLOAT16, outputs_of(key), output_steps(key));
  const Operand lse = graph.memory(kLse, CUDNN_DATA_FLOAT, rows, row_steps(key));
  const Operand scale = graph.number(kScale, CUDNN_DATA_FLOAT);

  // Where dropout would be, cuDNN looks for a factor.
  const Operand products = graph.between(outputs_of(key)), sums = graph.between(rows);
  const Operand delta = graph.memory(kDelta, CUDNN_DATA_FLOAT, rows, row_steps(key));
  graph.pointwise(CUDNN_POINTWISE_MUL, dy, y, products);
  graph.reduce(CUDNN_REDUCE_TENSOR_ADD, products, sums);
  graph.pointwise(CUDNN_POINTWISE_MUL, sums, graph.number(kOne, CUDNN_DATA_FLOAT), delta);

  const Operand below = graph.between(all), weights = graph.between(all);
  graph.pointwise(CUDNN_POINTWISE_SUB, add_scores(graph, key, q, k, scale), lse, below);
  graph.pointwise(CUDNN_POINTWISE_EXP, add_mask(graph, key, below), nullptr, weights);
  const Operand turned_weights = graph.between(turned, turned_steps, CUDNN_DATA_BFLOAT16);
  graph.reshape(weights, turned_weights);
  graph.matmul(turned_weights, dy,
               graph.memory(kDv, CUDNN_DATA_BFLOAT16, {key.batch, key.heads, key.keys, key.width}, key.dv));

  const Operand of_weights = graph.between(all), less = graph.between(all), of_scores = graph.between(all),
                along = graph.between(all);
  graph.matmul(dy, v, of_weights);
  graph.pointwise(CUDNN_POINTWISE_SUB, of_weights, delta, less);
  graph.pointwise(CUDNN_POINTWISE_MUL, less, weights, of_scores);
  graph.pointwise(CUDNN_POINTWISE_MUL, of_scores, scale, along);
  const Operand turned_along = graph.between(turned, turned_steps, CUDNN_DATA_BFLOAT16);
  graph.reshape(along, turned_along);
  graph.matmul(turned_along, q, graph.memory(kDk, CUDNN_DATA_BFLOAT16, of_k, key.dk));

  const Operand upright_k = graph.between(of_k, key.k, CUDNN_DATA_BFLOAT16);
  graph.reshape(k, upright_k);
  const Operand dq = graph.memory(kDq, CUDNN_DATA_BFLOAT16, of_q, key.dq);
  if (key.ordered != 0) {
    graph.matmul(along, upright_k, dq);
  } else {
    const CudnnExtents steps{key.heads * key.queries * key.size, key.queries * key.size, key.size, 1};
    const Operand sum = graph.memory(kDqSum, CUDNN_DATA_FLOAT, of_q, steps);
    graph.matmul(along, upright_k, sum);
    graph.pointwise(CUDNN_POINTWISE_IDENTITY, sum, nullptr, dq);
  }
  return graph;
}

const CudnnPlan* plan_of(const Key& key) {
  static auto* plans = new CudnnPlans<Key>;  // never destroyed, as contexts
  return plans->find(key, [&](CudnnDescriptor device) {
    CudnnPlan::Notes refused;
    if (key.deterministic != 0) refused.push_back(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);
    return CudnnPlan(key.backward != 0 ? backward_graph(key) : forward_graph(key), std::move(device), refused);
  });
}

/// The numbers of the graphs.
struct Numbers {
  float scale, one = 1, minus_infinity = -std::numeric_limits<float>::infinity();
  int32_t offset;

  explicit Numbers(const Attention<bfloat16>& a) : scale(a.scale), offset(static_cast<int32_t>(a.band.high)) {}

  void add_to(std::vector<std::pair<int64_t, const void*>>& operands, const Key& key) const {
    operands.emplace_back(kScale, &scale);
    if (key.backward != 0) operands.emplace_back(kOne, &one);
    if (key.causal != kFull) operands.emplace_back(kMinusInfinity, &minus_infinity);
    if (key.causal == kShifted) operands.emplace_back(kOffset, &offset);
  }
};

}  // namespace

bool fits_cudnn(const Attention<bfloat16>& a) {
  const bool masked = a.kept.data != nullptr || a.lengths != nullptr || a.band.low != -Band::kUnbounded;
  const bool causal = a.band.high != Band::kUnbounded;
  return cudnn_library() != nullptr && !masked && (!causal || (a.band.high >= 0 && a.band.high < INT32_MAX)) &&
         a.bias == nullptr && !(a.softcap > 0) && !a.dropout.active && a.heads == a.kv_heads && a.size % 8 == 0 &&
         a.width % 8 == 0 && a.size <= 128 && a.width <= 128 && a.size > 0 && a.width > 0 && a.batch > 0 &&
         a.queries >= kFewest && a.keys >= kFewest && moves_packs(a.q, a.q_step) && moves_packs(a.k, a.k_step) &&
         moves_packs(a.v, a.v_step);
}

bool forward_in_cudnn(const Context& context, const Attention<bfloat16>& a, bfloat16* y, float* stats, int* coarse) {
  if (!fits_cudnn(a) || !aligned(y)) return false;
  const Key key = key_of(context, a);
  const CudnnPlan* plan = plan_of(key);
  if (plan == nullptr) return false;
  std::vector<std::pair<int64_t, const void*>> operands = {{kQ, a.q}, {kK, a.k}, {kV, a.v}, {kY, y}, {kLse, stats}};
  const Numbers numbers(a);
  numbers.add_to(operands, key);
  plan->execute(context, operands);
  float* log_sums = stats + a.rows();
  ATTUNE_CUDA(cudaMemsetAsync(log_sums, 0, static_cast<size_t>(a.rows()) * sizeof(float), context.stream));
  launch(context, "attention", join_stats, thread_each(a.rows()), stats, log_sums, a.rows(), stats, coarse);
  return true;
}

bool backward_in_cudnn(const Context& context, const Attention<bfloat16>& a, const Upstream<bfloat16>& up,
                       const StridedGradient<bfloat16>& dq, const StridedGradient<bfloat16>& dk,
                       const StridedGradient<bfloat16>& dv, bool deterministic, int* coarse) {
  if (!fits_cudnn(a) || !aligned(up.dy) || !aligned(up.y) || !moves_packs(dq.data, dq.step) ||
      !moves_packs(dk.data, dk.step) || !moves_packs(dv.data, dv.step)) {
    return false;
  }
  Key key = key_of(context, a);
  const int64_t rows = a.rows();
  key.backward = 1;
  key.deterministic = deterministic ? 1 : 0;
  key.ordered = rows * a.keys <= kOrderedBytes / static_cast<int64_t>(sizeof(bfloat16)) ? 1 : 0;
  key.dq = steps_of(dq.step);
  key.dk = steps_of(dk.step);
  key.dv = steps_of(dv.step);
  const CudnnPlan* plan = plan_of(key);
  if (plan == nullptr) return false;
  const Scratch lse(context, static_cast<size_t>(rows) * sizeof(float));
  launch(context, "attention_backward", join_stats, thread_each(rows), up.largest, up.log_sums, rows, lse.data<float>(),
         coarse);
  const Scratch sum(context, key.ordered != 0 ? 0 : static_cast<size_t>(rows * a.size) * sizeof(float));
  std::vector<std::pair<int64_t, const void*>> operands = {
      {kQ, a.q},    {kK, a.k},      {kV, a.v},      {kY, up.y},     {kLse, lse.data<float>()},
      {kDy, up.dy}, {kDq, dq.data}, {kDk, dk.data}, {kDv, dv.data}, {kDelta, up.delta},
  };
  if (key.ordered == 0) operands.emplace_back(kDqSum, sum.data<float>());
  const Numbers numbers(a);
  numbers.add_to(operands, key);
  plan->execute(context, operands);
  return true;
}

#else

bool fits_cudnn(const Attention<bfloat16>&) { return false; }
bool forward_in_cudnn(const Context&, const Attention<bfloat16>&, bfloat16*, float*, int*) { return false; }
bool backward_in_cudnn(const Context&, const Attention<bfloat16>&, const Upstream<bfloat16>&,
                       const StridedGradient<bfloat16>&, const StridedGradient<bfloat16>&,
                       const StridedGradient<bfloat16>&, bool, int*) {
  return false;
}

#endif

}  // namespace attune::cuda
