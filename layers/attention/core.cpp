#include "layers/attention/core.h"

#include <utility>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/fail.h"
#include "layers/attention/recorder.h"

namespace attune {
namespace {

void check(const AttentionCore& core, const Variable& x, const char* name, const char* expected, int rank) {
  if (x.rank() == rank) [[likely]]
    return;
  fail<ShapeError>("{}: {} is {}, expected {}", core.who("attention"), name, x.shape(), expected);
}

/// What a mask for `queries` queries says of queries begin ... begin + count - 1.
LoweredMask rows(LoweredMask mask, int64_t queries, int64_t begin, int64_t count) {
  mask.spec.causal_offset += begin;
  if (mask.spec.keep.defined()) mask.spec.keep = mask.spec.keep.slice(2, begin, begin + count);
  mask.spec.blocks = Tensor();  // they are counted from query 0
  if (mask.spec.where) {
    mask.spec.where = MaskFunction([inner = mask.spec.where, queries, begin](const ScoreAt& at) {
      ScoreAt among_all = at;
      among_all.query += static_cast<int>(begin);
      among_all.queries = static_cast<int>(queries);
      return inner(among_all);
    });
  }
  if (mask.bias.defined() && mask.bias.dim(-2) > 1) mask.bias = slice(mask.bias, -2, begin, begin + count);
  return mask;
}

}  // namespace

AttentionState AttentionState::of_samples(const Tensor& indices) const {
  const auto pick = [&](const Variable& x) { return x.defined() ? index_select(x, 0, indices) : x; };
  return {position, pick(carried), pick(log_probability), pick(entropy)};
}

/// Runs attend(want_weights) and, for a recorder, once more for the weights alone, with the same random numbers and
/// without a trace.
template <class Attend>
AttentionResult AttentionCore::recorded(bool want_weights, Attend&& attend) {
  const RandomState begin = default_stream().state();
  AttentionResult found = attend(want_weights);
  if (recorder_ != nullptr) [[unlikely]] {
    if (want_weights) {
      recorder_->add(*this, found.weights.value());
    } else {
      const NoGrad no_grad;
      const RandomState end = default_stream().state();
      default_stream().set_state(begin);
      recorder_->add(*this, attend(true).weights.value());
      default_stream().set_state(end);
    }
  }
  found.output = result(std::move(found.output));
  return found;
}

AttentionResult AttentionCore::operator()(const Variable& q, const Variable& k, const Variable& v,
                                          const AttentionMask& mask, bool want_weights) {
  check(*this, q, "q", "[B, T, H, K]", 4);
  check(*this, k, "k", "[B, S, H, K]", 4);
  check(*this, v, "v", "[B, S, H, K]", 4);
  if (k.dim(0) != q.dim(0) || v.dim(0) != q.dim(0) || v.dim(1) != k.dim(1) || v.dim(2) != k.dim(2)) [[unlikely]] {
    fail<ShapeError>("{}: q is {}, k {}, v {}; expected [B, T, H, K], [B, S, H, K], [B, S, H, K] with the same B and S",
                     who("attention"), q.shape(), k.shape(), v.shape());
  }
  const LoweredMask lowered = mask.lower(q.dim(0), q.dim(2), q.dim(1), k.dim(1), this);
  return recorded(want_weights, [&](bool weights) { return attend(q, k, v, lowered, weights); });
}

AttentionResult AttentionCore::packed(const Variable& qkv, const AttentionMask& mask, bool want_weights) {
  check(*this, qkv, "qkv", "[B, T, 3, H, K]", 5);
  const LoweredMask lowered = mask.lower(qkv.dim(0), qkv.dim(3), qkv.dim(1), qkv.dim(1), this);
  return recorded(want_weights, [&](bool weights) { return attend_packed(qkv, lowered, weights); });
}

AttentionResult AttentionCore::packed_kv(const Variable& q, const Variable& kv, const AttentionMask& mask,
                                         bool want_weights) {
  check(*this, q, "q", "[B, T, H, K]", 4);
  check(*this, kv, "kv", "[B, S, 2, H, K]", 5);
  if (kv.dim(0) != q.dim(0)) [[unlikely]] {
    fail<ShapeError>("{}: q is {}, kv {}; expected [B, T, H, K] and [B, S, 2, H, K] with the same B", who("attention"),
                     q.shape(), kv.shape());
  }
  const LoweredMask lowered = mask.lower(q.dim(0), q.dim(2), q.dim(1), kv.dim(1), this);
  return recorded(want_weights, [&](bool weights) { return attend_packed_kv(q, kv, lowered, weights); });
}

AttentionMemory AttentionCore::prepare(const Variable& k, const Variable& v, const AttentionMask& mask,
                                       int64_t queries) const {
  check(*this, k, "k", "[B, S, H, K]", 4);
  check(*this, v, "v", "[B, S, H, K]", 4);
  if (v.dim(0) != k.dim(0) || v.dim(1) != k.dim(1) || v.dim(2) != k.dim(2)) [[unlikely]] {
    fail<ShapeError>("{}: k is {}, v {}; expected [B, S, H, K] each with the same B, S and H", who("attention"),
                     k.shape(), v.shape());
  }
  return {k, v, prepare_keys(k), mask, queries};
}

AttentionResult AttentionCore::step(const Variable& q, const AttentionMemory& memory, AttentionState& state,
                                    bool want_weights) {
  check(*this, q, "q", "[B, T, H, K]", 4);
  const int64_t count = q.dim(1);
  if (q.dim(0) != memory.k.dim(0)) [[unlikely]] {
    fail<ShapeError>("{}: q is {}, the memory's keys {}; expected [B, T, H, K], [B, S, H, K] with the same B",
                     who("attention"), q.shape(), memory.k.shape());
  }
  if (state.position + count > memory.queries) [[unlikely]] {
    fail<ValueError>("{}: the memory was prepared for {} queries, after {} come {} more", who("attention"),
                     memory.queries, state.position, count);
  }
  const LoweredMask mask = rows(memory.mask.lower(q.dim(0), q.dim(2), memory.queries, memory.k.dim(1), this),
                                memory.queries, state.position, count);
  // What a recorder asks for besides sees the same state, and moves nothing on.
  AttentionState after = state;
  AttentionState* carried = &after;
  AttentionState again = state;
  AttentionResult result = recorded(want_weights, [&](bool weights) {
    return attend_next(q, memory, *std::exchange(carried, &again), mask, weights);
  });
  after.position += count;
  state = std::move(after);
  return result;
}

Variable AttentionCore::prepare_keys(const Variable&) const { return {}; }

AttentionResult AttentionCore::attend_next(const Variable& q, const AttentionMemory& memory, AttentionState&,
                                           const LoweredMask& mask, bool want_weights) {
  return attend(q, memory.k, memory.v, mask, want_weights);
}

AttentionResult AttentionCore::attend_packed(const Variable& qkv, const LoweredMask& mask, bool want_weights) {
  return attend(select(qkv, 2, 0), select(qkv, 2, 1), select(qkv, 2, 2), mask, want_weights);
}

AttentionResult AttentionCore::attend_packed_kv(const Variable& q, const Variable& kv, const LoweredMask& mask,
                                                bool want_weights) {
  return attend(q, select(kv, 2, 0), select(kv, 2, 1), mask, want_weights);
}

AttentionRecorder::AttentionRecorder(Module& module) {
  module.visit([this](const std::string& path, Module& below) {
    auto* core = dynamic_cast<AttentionCore*>(&below);
    if (core == nullptr) return;
    // The core is a part of the layer that a reader knows: "encoder.block0.attn.core" is told as "encoder.block0.attn".
    const size_t dot = path.rfind('.');
    cores_.emplace_back(core, dot == std::string::npos ? std::string() : path.substr(0, dot));
  });
  for (const auto& [core, path] : cores_) {
    require<ValueError>(core->recorder_ == nullptr, "AttentionRecorder: '{}' is recorded already", path);
  }
  for (const auto& [core, path] : cores_) core->recorder_ = this;
}

AttentionRecorder::~AttentionRecorder() {
  for (const auto& [core, path] : cores_) core->recorder_ = nullptr;
}

void AttentionRecorder::add(const AttentionCore& core, const Tensor& weights) {
  for (const auto& [known, path] : cores_) {
    if (known == &core) records_.push_back({path, weights.to(accumulation_dtype(weights.dtype()))});
  }
}

}  // namespace attune
