#include "datasets/scores/bleu.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "datasets/rewrite.h"
#include "datasets/scores/ngrams.h"
#include "datasets/scores/sentences.h"
#include "datasets/unicode.h"
#include "datasets/utf8.h"
#include "framework/fail.h"

namespace attune {
namespace {

using scores::Units;

using rewrite::replace_all;
using rewrite::set_apart;
using rewrite::split_pairs;

std::string tokens_13a(std::string text) {
  replace_all(text, "<skipped>", "");
  replace_all(text, "-\n", "");
  replace_all(text, "\n", " ");
  replace_all(text, "&quot;", "\"");
  replace_all(text, "&amp;", "&");
  replace_all(text, "&lt;", "<");
  replace_all(text, "&gt;", ">");
  const auto digit = [](char32_t c) { return c >= '0' && c <= '9'; };
  const auto point = [](char32_t c) { return c == '.' || c == ','; };
  text = set_apart(" " + text + " ", [](char32_t c) {
    return (c >= '{' && c <= '~') || (c >= '[' && c <= '`') || (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') ||
           (c >= ':' && c <= '@') || c == '/';
  });
  text = split_pairs(text, "", " ", " ", [&](char32_t a, char32_t b) { return !digit(a) && point(b); });
  text = split_pairs(text, " ", " ", "", [&](char32_t a, char32_t b) { return point(a) && !digit(b); });
  return split_pairs(text, "", " ", " ", [&](char32_t a, char32_t b) { return digit(a) && b == '-'; });
}

std::string tokens_international(std::string text) {
  using namespace unicode;
  text = split_pairs(text, "", " ", " ", [](char32_t a, char32_t b) { return !is_number(a) && is_punctuation(b); });
  text = split_pairs(text, " ", " ", "", [](char32_t a, char32_t b) { return is_punctuation(a) && !is_number(b); });
  return set_apart(text, [](char32_t c) { return is_symbol(c); });
}

std::string_view without_trailing_space(std::string_view text) {
  size_t end = 0;
  for (size_t i = 0; i < text.size();) {
    if (!utf8::is_white_space(utf8::decode(text, i))) end = i;
  }
  return text.substr(0, end);
}

Units units_of(std::string_view sentence, const BleuOptions& options) {
  std::string text(without_trailing_space(sentence));
  if (options.lower_case) text = utf8::to_lower(std::string_view(without_trailing_space(sentence)));
  if (options.tokenizer == BleuTokenizer::k13a) text = tokens_13a(std::move(text));
  if (options.tokenizer == BleuTokenizer::kInternational) text = tokens_international(std::move(text));
  return Units::words(utf8::split(text));
}

/// Adds what one sentence contributes.
void add_sentence(const std::string& hypothesis, std::span<const std::string_view> references,
                  const BleuOptions& options, BleuScore& sum) {
  const Units units = units_of(hypothesis, options);
  std::vector<Units> reference_units;
  reference_units.reserve(references.size());
  int64_t closest = -1;
  for (std::string_view reference : references) {
    reference_units.push_back(units_of(reference, options));
    const int64_t length = reference_units.back().size();
    const int64_t distance = std::abs(length - units.size());
    const int64_t best = std::abs(closest - units.size());
    if (closest < 0 || distance < best || (distance == best && length < closest)) closest = length;
  }
  sum.hypothesis_length += units.size();
  sum.reference_length += closest;
  for (int n = 1; n <= BleuScore::kOrder; ++n) {
    const auto order = static_cast<size_t>(n - 1);
    const scores::Matches found = scores::clipped_matches(units, reference_units, n);
    sum.matches[order] += found.matches;
    sum.totals[order] += found.total;
  }
}

/// Fills in what follows from the counts.
void finish(BleuScore& bleu, bool effective_order) {
  const auto hypothesis_length = static_cast<double>(bleu.hypothesis_length);
  const auto reference_length = static_cast<double>(bleu.reference_length);
  if (bleu.hypothesis_length < bleu.reference_length) {
    bleu.brevity_penalty = bleu.hypothesis_length > 0 ? std::exp(1 - reference_length / hypothesis_length) : 0;
  }
  if (std::all_of(bleu.matches.begin(), bleu.matches.end(), [](int64_t count) { return count == 0; })) return;
  double halving = 1;
  size_t order = 0;
  double logarithms = 0;
  for (; order < BleuScore::kOrder && bleu.totals[order] > 0; ++order) {
    const auto total = static_cast<double>(bleu.totals[order]);
    if (bleu.matches[order] == 0) halving *= 2;
    bleu.precisions[order] =
        bleu.matches[order] == 0 ? 100 / (halving * total) : 100 * static_cast<double>(bleu.matches[order]) / total;
    logarithms += std::log(bleu.precisions[order]);
  }
  if (order < BleuScore::kOrder && !effective_order) return;  // an order without n-grams: no score
  bleu.score = bleu.brevity_penalty * std::exp(logarithms / static_cast<double>(order));
}

}  // namespace

std::string BleuScore::to_string() const {
  const double ratio =
      reference_length == 0 ? 0.0 : static_cast<double>(hypothesis_length) / static_cast<double>(reference_length);
  return fmt::format("BLEU = {:.2f} {:.1f}/{:.1f}/{:.1f}/{:.1f} (BP = {:.3f} ratio = {:.3f} hyp_len = {} ref_len = {})",
                     score, precisions[0], precisions[1], precisions[2], precisions[3], brevity_penalty, ratio,
                     hypothesis_length, reference_length);
}

BleuScore corpus_bleu(std::span<const std::string> hypotheses, std::span<const std::vector<std::string>> references,
                      const BleuOptions& options) {
  scores::check_corpus("BLEU", hypotheses, references);
  BleuScore bleu;
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    add_sentence(hypotheses[i], scores::references_of(references, i), options, bleu);
  }
  finish(bleu, false);
  return bleu;
}

BleuScore sentence_bleu(const std::string& hypothesis, std::span<const std::string> references,
                        const BleuOptions& options) {
  scores::check_sentence("BLEU", hypothesis, references);
  BleuScore bleu;
  add_sentence(hypothesis, std::vector<std::string_view>(references.begin(), references.end()), options, bleu);
  finish(bleu, true);
  return bleu;
}

BleuScore tokenised_bleu(std::span<const std::string> hypotheses, std::span<const std::vector<std::string>> references,
                         const MosesTokenizer& tokenizer) {
  scores::check_corpus("BLEU", hypotheses, references);
  const auto tokenised = [&](std::span<const std::string> sentences) {
    std::vector<std::string> out;
    for (const std::string& sentence : sentences) out.push_back(Units::words(tokenizer(sentence)).text());
    return out;
  };
  std::vector<std::vector<std::string>> tokenised_references;
  for (const std::vector<std::string>& set : references) tokenised_references.push_back(tokenised(set));
  BleuScore bleu =
      corpus_bleu(tokenised(hypotheses), tokenised_references, {.tokenizer = BleuTokenizer::kNone, .lower_case = true});
  for (size_t n = 0; n < BleuScore::kOrder; ++n) {
    if (bleu.matches[n] > 0) continue;
    bleu.precisions[n] = 0;
    bleu.score = 0;
  }
  return bleu;
}

std::string bleu_signature(const BleuOptions& options, int64_t references) {
  const char* tokenizer = options.tokenizer == BleuTokenizer::k13a    ? "13a"
                          : options.tokenizer == BleuTokenizer::kNone ? "none"
                                                                      : "intl";
  return fmt::format("nrefs:{}|case:{}|eff:no|tok:{}|smooth:exp|version:{}", references,
                     options.lower_case ? "lc" : "mixed", tokenizer, scores::kSacreBleuVersion);
}

std::string bleu_tokens(std::string_view sentence, const BleuOptions& options) {
  scores::check_utf8("BLEU", "sentence", 0, sentence);
  return std::string(units_of(sentence, options).text());
}

}  // namespace attune
