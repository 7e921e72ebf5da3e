#pragma once

#include <cstdint>

#include "framework/tensor.h"
#include "layers/module.h"

namespace attune::bench {

/// The sentiment model of the step benchmark and one batch for it, the same for every contender: token embedding times
/// sqrt(D) plus learned positions, post-norm encoder blocks with relu, mean over real tokens, two classes.
struct SentimentShape {
  int64_t batch = 64;
  int64_t length = 32;
  int64_t dim = 128;
  int64_t heads = 4;
  int64_t blocks = 2;
  int64_t ffn = 256;
  int64_t vocabulary = 16000;

  int64_t tokens() const { return batch * length; }
  /// Floating-point operations of the products of a step: three times those of the forward pass. Embeddings, norms,
  /// softmax and the optimizer are not counted; padding is.
  double operations() const;
};

struct SentimentBatch {
  Tensor tokens;   // int64 [B, T]
  Tensor lengths;  // int64 [B], T / 4 ... T
  Tensor labels;   // int64 [B]
};
SentimentBatch sentiment_batch(const SentimentShape& shape);

/// Runs a training step (forward, backward, Adam) through the public API; returns the loss.
class SentimentStep {
 public:
  SentimentStep(const SentimentShape& shape, double dropout, Device device = Device::cpu(),
                Precision precision = Precision::kFull);
  ~SentimentStep();
  double operator()();
  /// The same without waiting for the loss, on a CUDA device as a graph.
  void give();

 private:
  struct Parts;
  Parts* parts_;
};

/// The same computation as one straight line of kernel calls on buffers made once: no tape, no modules, no allocator.
/// What the framework costs is the difference.
class StraightStep {
 public:
  StraightStep(const SentimentShape& shape, double dropout);
  ~StraightStep();
  double operator()();

 private:
  struct Parts;
  Parts* parts_;
};

}  // namespace attune::bench
