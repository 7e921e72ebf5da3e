#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "examples/translation/model.h"
#include "framework/tensor.h"

namespace attune::bench {

/// A model of attune-translation and one batch for it, the same for every contender.
struct TranslationShape {
  std::string name;
  examples::translation::ModelConfig model{};
  int64_t batch = 128;
  int64_t source = 16;  ///< tokens of a sentence
  int64_t target = 16;
  int64_t source_vocabulary = 8000;
  int64_t target_vocabulary = 8000;

  bool recurrent() const { return model.kind == "recurrent"; }
  int64_t tokens() const { return batch * (source + target); }
  /// Floating-point operations of the products of one forward pass over B sentences of S tokens and their translations
  /// of T: two for each multiplication with an addition. Embeddings, norms, softmax, gates, tanh and the optimizer are
  /// not counted; padding is, and so are the weights that a causal mask hides. A training step takes three times as
  /// many.
  double forward_operations() const;
  double step_operations() const { return 3 * forward_operations(); }

  /// What peers/translation.py has to be told.
  std::vector<std::string> arguments() const;
};

/// Transformer-Tiny with one table for everything, a Transformer of twice its width, and the recurrent model with
/// additive attention.
std::vector<TranslationShape> translation_shapes();

struct TranslationBatch {
  Tensor source;      // int64 [B, S]
  Tensor lengths;     // int64 [B]: S / 2 ... S; of recurrent models S, since the peer would have to pack others
  Tensor target_in;   // int64 [B, T]
  Tensor target_out;  // int64 [B, T]
};
TranslationBatch translation_batch(const TranslationShape& shape);

}  // namespace attune::bench
