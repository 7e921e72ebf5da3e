#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "layers/decoding/search.h"

namespace attune {

/// What all searches do: one step of a generation after the other, with checks of what goes in and what comes out, and
/// the rules of DecodingOptions.
class Stepper {
 public:
  /// who: the search, for errors. Throws ValueError for options out of range.
  Stepper(const char* who, Generation& generation, const DecodingOptions& options);

  const char* who() const { return who_; }
  int64_t sources() const { return sources_; }
  int64_t vocabulary() const { return vocabulary_; }
  int64_t bos() const { return options_.bos; }
  int64_t eos() const { return options_.eos; }
  int64_t limit(int64_t source) const {
    return options_.max_length[options_.max_length.size() == 1 ? 0 : static_cast<size_t>(source)];
  }

  /// Logits float32 or float64 [tokens, V], contiguous, on the CPU.
  Tensor step(const std::vector<int64_t>& tokens);
  /// Their log sum exp, [tokens].
  std::vector<double> log_sums(const Tensor& logits) const;
  /// Goes on from these rows.
  void select(const std::vector<int64_t>& rows);

  /// Whether banned() looks at what was written, and not only at how much.
  bool reads_history() const { return options_.no_repeat_ngram > 0; }
  /// Tokens that must not follow what was written so far; `history` holds all of it where reads_history().
  void banned(int64_t length, std::span<const int64_t> history, std::vector<int64_t>& tokens) const;

 private:
  const char* who_;
  Generation& generation_;
  DecodingOptions options_;
  int64_t sources_;
  int64_t vocabulary_;
  int64_t steps_ = 0;
};

}  // namespace attune
