#include "layers/attention/core.h"

#include <string_view>

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

}  // namespace

/// Runs attend(want_weights) and, for a recorder, once more for the weights alone, without a trace.
template <class Attend>
AttentionResult AttentionCore::recorded(bool want_weights, Attend&& attend) {
  AttentionResult result = attend(want_weights);
  if (recorder_ != nullptr) [[unlikely]] {
    if (want_weights) {
      recorder_->add(*this, result.weights.value());
    } else {
      const NoGrad no_grad;
      const RandomState before = default_stream().state();
      recorder_->add(*this, attend(true).weights.value());
      default_stream().set_state(before);
    }
  }
  return result;
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
    if (known == &core) records_.push_back({path, weights});
  }
}

}  // namespace attune
