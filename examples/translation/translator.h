#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "examples/support/evaluating.h"
#include "examples/translation/commands.h"
#include "examples/translation/snapshot.h"
#include "layers/decoding/search.h"

namespace attune::examples::translation {

/// What it takes to translate: of a snapshot, or of a run in the middle of its training. Nothing is owned.
struct TranslationParts {
  TranslationModel& model;
  const TextSide& source;
  const TextSide& target;
  int64_t max_length = 0;  ///< of a side in tokens, <eos> included
};
TranslationParts parts_of(const Snapshot& snapshot);

struct SearchSettings {
  int64_t beam = 1;             ///< 1: greedy
  int64_t best = 1;             ///< translations of each sentence, at most `beam`; of draws as many as wanted
  double length_penalty = 1;    ///< alpha of LengthPenalty::kPower
  double coverage_penalty = 0;  ///< as in BeamOptions
  double temperature = 0;       ///< above 0: translations are drawn, from default_stream(), and no beam is kept
  int64_t batch_tokens = 6000;  ///< source tokens of a batch times hypotheses of each, padding included
};

/// Without n-best lists and draws.
SearchSettings search_settings(const SearchOptions& options);

/// What the search found for a sentence.
struct Translation {
  std::string text;             ///< as people write it; empty for an empty sentence
  double score = 0;             ///< what hypotheses are ordered by: log probability after the penalties
  double log_probability = 0;   ///< of all tokens
  std::vector<int64_t> tokens;  ///< without <eos>
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

  // The same in parts.

  /// Numbers of the sentences that have tokens, in batches that are translated together.
  std::vector<std::vector<int64_t>> batches(std::span<const std::vector<int64_t>> sentences) const;
  /// The translations of the sentences of one batch.
  std::vector<std::vector<Translation>> translate(std::span<const std::vector<int64_t>> sentences,
                                                  std::span<const int64_t> batch) const;

  const TranslationParts& parts() const { return parts_; }

 private:
  std::vector<std::vector<Hypothesis>> search(std::span<const std::vector<int64_t>> sentences,
                                              std::span<const int64_t> batch) const;

  TranslationParts parts_;
  SearchSettings settings_;
};

}  // namespace attune::examples::translation
