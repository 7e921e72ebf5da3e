#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "framework/tensor.h"
#include "layers/attention/recorder.h"

namespace attune {

/// A sequence as a model reads it, a token for each position: "source", {"▁a", "▁man", "</s>"}.
struct TokenSequence {
  std::string name;
  std::vector<std::string> tokens;
};

/// The weights of one layer in one example.
struct AttentionMap {
  std::string layer;   ///< what it is called on the page: its module path
  Tensor weights;      ///< [H, T, S], 0 to 1
  size_t queries = 0;  ///< which of the example's sequences the T tokens that look are
  size_t keys = 0;     ///< and which one the S tokens that are looked at
};

/// What one page shows at a time.
struct AttentionExample {
  std::string title = {};  ///< to choose it by, such as the text
  std::string note = {};   ///< anything else to say, such as the model's answer
  std::vector<TokenSequence> sequences = {};
  std::vector<AttentionMap> maps = {};

  /// Takes sample `sample` of a recorded batch, cut to the tokens of the two sequences: padding is left out. Records of
  /// the same layer between the same sequences follow each other as rows of one map, as a decoder makes them step by
  /// step; keys that did not exist yet have weight 0.
  ///
  /// Throws ValueError, naming the layer, for a sample or a sequence that is not there and for rows beyond the last
  /// token, as when a recorder was not cleared between two passes; ShapeError for another number of heads than in the
  /// steps before.
  void add(const AttentionRecorder::Record& record, int64_t sample, size_t queries, size_t keys);
};

struct AttentionPageOptions {
  std::string title = "Attention";
  /// Where the weights need more, only the largest of each row are kept, as many as fit; the page says how many.
  size_t max_bytes = 5'000'000;
};

/// One HTML file to look at weights with: heads and layers to choose from, for every token what it looks at and what
/// looks at it, and the matrix of each layer: the alignment, where it is cross-attention. The file holds all that it
/// needs, weights in steps of 1/4095; it works without network, by mouse and by keyboard, and its address remembers
/// what is chosen: page.html#example=2&layer=3&head=1&queries=5 (or keys=5), counted from 1.
///
///     AttentionRecorder recorder(model);
///     model(tokens, lengths);
///     AttentionExample example{.title = text, .sequences = {{"text", words}}};
///     for (const auto& record : recorder.records()) example.add(record, 0, 0, 0);
///     write(file, attention_page(std::vector{example}));
///
/// Tokens and titles may hold any bytes; what is not UTF-8 shows as replacement characters.
///
/// Throws ValueError, naming example and layer, for no examples, an example without maps, a sequence that is not there
/// or without tokens, a weight that is not within 0 ... 1, and a page that does not fit even with one weight in each
/// row; ShapeError for weights that are not [H, T, S] of the two sequences.
std::string attention_page(std::span<const AttentionExample> examples, const AttentionPageOptions& options = {});

}  // namespace attune
