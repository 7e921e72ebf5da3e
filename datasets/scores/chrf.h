#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace attune {

struct ChrfOptions {
  int character_order = 6;
  int word_order = 0;  ///< 2: chrF++
  int beta = 2;        ///< recall counts as much as beta^2 times precision
  bool lower_case = false;
  bool white_space = false;  ///< counts as characters
};

/// chrF, the F score of character n-grams (Popović, 2015), and chrF++ with words too (Popović, 2017): 0 to 100.
/// (1 + beta^2) P R / (beta^2 P + R), P and R being the means of the orders' precisions and recalls over those orders
/// that hypothesis and reference both have; of several references a sentence takes the one with the best score.
/// Equal to sacreBLEU, whose signature is chrf_signature().
///
/// references: one or more sets, each as long as the hypotheses. Throws ValueError for no hypotheses, no references,
/// sets of another length, or an option out of range; FormatError, naming the sentence, for text that is not UTF-8.
double corpus_chrf(std::span<const std::string> hypotheses, std::span<const std::vector<std::string>> references,
                   const ChrfOptions& options = {});

/// The same for one sentence and its references.
double sentence_chrf(const std::string& hypothesis, std::span<const std::string> references,
                     const ChrfOptions& options = {});

/// "nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.6.0", as sacreBLEU of that version writes it.
std::string chrf_signature(const ChrfOptions& options, int64_t references);

}  // namespace attune
