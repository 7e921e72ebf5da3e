#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "datasets/moses.h"

namespace attune {

/// How BLEU takes a sentence apart.
enum class BleuTokenizer : uint8_t {
  k13a,            ///< mteval-v13a.pl, the rules of the WMT campaigns and the default of sacreBLEU
  kInternational,  ///< mteval-v14.pl --international-tokenization: at Unicode's punctuation and symbols ("intl")
  kNone            ///< at white space: text that is tokenised already
};

struct BleuOptions {
  BleuTokenizer tokenizer = BleuTokenizer::k13a;
  bool lower_case = false;
};

struct BleuScore {
  static constexpr int kOrder = 4;

  double score = 0;  ///< 0 to 100
  std::array<int64_t, kOrder> matches{};
  std::array<int64_t, kOrder> totals{};  ///< n-grams of the hypotheses
  std::array<double, kOrder> precisions{};
  double brevity_penalty = 1;
  int64_t hypothesis_length = 0;
  int64_t reference_length = 0;  ///< of the reference closest in length, summed over the sentences

  /// "BLEU = 34.12 66.1/41.8/28.1/19.2 (BP = 0.986 ratio = 0.986 hyp_len = 12300 ref_len = 12478)"
  std::string to_string() const;
};

/// BLEU of a corpus (Papineni et al., 2002): BP exp(1/4 sum_n log p_n), where p_n is the share of the hypotheses'
/// n-grams that a reference has, each at most as often as the reference that has it most, and
/// BP = exp(1 - reference length / hypothesis length) where the hypotheses are shorter. Precisions without a match are
/// 100 / (2^k total), the k-th of them ("exp" smoothing, mteval's). Equal to sacreBLEU (Post, 2018), whose signature is
/// bleu_signature().
///
/// references: one or more sets, each as long as the hypotheses. Throws ValueError for no hypotheses, no references, or
/// sets of another length; FormatError, naming the sentence, for text that is not UTF-8.
BleuScore corpus_bleu(std::span<const std::string> hypotheses, std::span<const std::vector<std::string>> references,
                      const BleuOptions& options = {});

/// BLEU of one sentence against its references, up to the order that it is long enough for ("effective order", as
/// sacreBLEU's sentence_bleu). Errors as corpus_bleu.
BleuScore sentence_bleu(const std::string& hypothesis, std::span<const std::string> references,
                        const BleuOptions& options = {});

/// What older papers report, and multi-bleu.perl computes: BLEU of the tokens that `tokenizer` makes, in lower case,
/// without smoothing: 0 where an order has no match. Depends on the tokenizer, and so compares only with scores that
/// used the same. Errors as corpus_bleu.
BleuScore tokenised_bleu(std::span<const std::string> hypotheses, std::span<const std::vector<std::string>> references,
                         const MosesTokenizer& tokenizer);

/// "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0": how a corpus score was made, as sacreBLEU of that
/// version writes it.
std::string bleu_signature(const BleuOptions& options, int64_t references);

/// The tokens that BLEU counts, joined by single spaces. Throws FormatError for text that is not UTF-8.
std::string bleu_tokens(std::string_view sentence, const BleuOptions& options);

}  // namespace attune
