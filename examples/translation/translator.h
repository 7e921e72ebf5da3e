#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "examples/translation/commands.h"
#include "examples/translation/snapshot.h"

namespace attune::examples::translation {

/// What it takes to translate: of a snapshot, or of a run in the middle of its training. Nothing is owned.
struct TranslationParts {
  TranslationModel& model;
  const TextSide& source;
  const TextSide& target;
  int64_t max_length = 0;  ///< of a side in tokens, <eos> included
};
TranslationParts parts_of(const Snapshot& snapshot);

/// Evaluation mode for as long as it lives.
class Evaluating {
 public:
  explicit Evaluating(Module& module) : module_(module), training_(module.training()) { module_.eval(); }
  ~Evaluating() { module_.train(training_); }
  Evaluating(const Evaluating&) = delete;
  Evaluating& operator=(const Evaluating&) = delete;

 private:
  Module& module_;
  bool training_;
};

struct SearchSettings {
  int64_t beam = 1;             ///< 1: greedy
  int64_t best = 1;             ///< translations of each sentence, at most `beam`
  double length_penalty = 1;    ///< alpha of Wu et al. (2016), eq. 14; 0: none
  double coverage_penalty = 0;  ///< beta of the same; 0: none
  double temperature = 0;       ///< above 0: every token is drawn from softmax(logits / temperature); no beam
  int64_t batch_tokens = 6000;  ///< source tokens of a batch times its beam, padding included
};

/// Without n-best lists and draws.
SearchSettings search_settings(const SearchOptions& options);

/// What the search found for a sentence.
struct Translation {
  std::string text;             ///< as people write it; empty for an empty sentence
  double score = 0;             ///< what hypotheses are ordered by: log probability after the penalties
  double log_probability = 0;   ///< of all tokens
  std::vector<int64_t> tokens;  ///< <eos> included, unless the limit on the length came first
};

/// Translates sentences with a model, whatever mode that is in; it is left in that mode.
class Translator {
 public:
  /// Throws ValueError for settings out of range.
  Translator(const TranslationParts& parts, const SearchSettings& settings);

  /// Tokens of a sentence, <eos> included; none for a sentence that is nothing but space. Throws FormatError that
  /// begins with `origin` for text that is not UTF-8 and, unless `truncate`, for more tokens than the model takes.
  std::vector<int64_t> encode(std::string_view text, const std::string& origin, bool truncate = false) const;
  /// Of each sentence, in this order, the best translations, best first. Sentences of similar length are translated
  /// together. A sentence without tokens has an empty translation.
  std::vector<std::vector<Translation>> operator()(std::span<const std::vector<int64_t>> sentences) const;

  const TranslationParts& parts() const { return parts_; }

 private:
  std::vector<std::vector<Translation>> search(std::span<const std::vector<int64_t>> sentences,
                                               std::span<const int64_t> batch) const;
  Translation finish(std::vector<int64_t> tokens, double score, double log_probability) const;

  TranslationParts parts_;
  SearchSettings settings_;
};

}  // namespace attune::examples::translation
