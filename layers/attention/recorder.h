#pragma once

#include <string>
#include <vector>

#include "framework/tensor.h"
#include "layers/module.h"

namespace attune {

class AttentionCore;

/// While it lives, the weights of every attention below a module are kept, for looking at them. What the model
/// computes, its gradients and its random numbers stay bitwise the same: the weights are computed a second time beside
/// them.
///
///     AttentionRecorder recorder(model);
///     model(tokens, lengths);
///     for (const auto& [path, weights] : recorder.records()) ...
///
/// One recorder at a time per module; it must not outlive the model.
class AttentionRecorder {
 public:
  struct Record {
    std::string path;  ///< of the layer that holds the attention, from the recorder's module: "encoder.block0.attn"
    Tensor weights;    ///< [B, H, T, S]; float32 of bfloat16
  };

  /// Throws ValueError when a recorder is there already.
  explicit AttentionRecorder(Module& module);
  ~AttentionRecorder();
  AttentionRecorder(const AttentionRecorder&) = delete;
  AttentionRecorder& operator=(const AttentionRecorder&) = delete;

  /// In the order of the calls since the beginning or the last clear().
  const std::vector<Record>& records() const { return records_; }
  void clear() { records_.clear(); }

 private:
  friend class AttentionCore;

  void add(const AttentionCore& core, const Tensor& weights);

  std::vector<std::pair<AttentionCore*, std::string>> cores_;
  std::vector<Record> records_;
};

}  // namespace attune
