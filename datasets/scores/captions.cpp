#include "datasets/scores/captions.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <unordered_map>

#include "datasets/scores/ngrams.h"
#include "datasets/tokenizer.h"
#include "framework/fail.h"

namespace attune {
namespace {

using scores::Units;
constexpr int kOrder = 4;

void check(const char* who, std::span<const CaptionTokens> hypotheses,
           std::span<const std::vector<CaptionTokens>> references) {
  require<ValueError>(!hypotheses.empty(), "{}: no hypotheses given, expected at least 1", who);
  require<ValueError>(hypotheses.size() == references.size(),
                      "{}: {} hypotheses but {} lists of references, expected as many", who, hypotheses.size(),
                      references.size());
  for (size_t i = 0; i < references.size(); ++i) {
    require<ValueError>(!references[i].empty(), "{}: hypothesis {} has no references, expected at least 1", who, i + 1);
  }
}

double mean_over(size_t count, double sum) { return sum / static_cast<double>(count); }

size_t common_subsequence(const CaptionTokens& a, const CaptionTokens& b) {
  std::vector<size_t> row(b.size() + 1);  // lengths for a prefix of a and all prefixes of b
  for (const std::string& word : a) {
    size_t diagonal = 0;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t above = row[j + 1];
      row[j + 1] = word == b[j] ? diagonal + 1 : std::max(above, row[j]);
      diagonal = above;
    }
  }
  return row.back();
}

/// n-grams of one order with what they weigh.
struct Weighted {
  std::unordered_map<std::string_view, double> weights;
  double norm = 0;
};

/// One caption for CIDEr-D.
struct Vector {
  std::array<Weighted, kOrder> orders;
  double bigrams = 0;  // coco-caption's measure of length
};

using Rareness = std::unordered_map<std::string_view, double>;

/// Weights of a caption's n-grams: how often times how rare, log(captions / captions that have it in a reference).
Vector vector_of(const Units& caption, const Rareness& found_in, double captions) {
  Vector vector;
  for (int n = 1; n <= kOrder; ++n) {
    Weighted& order = vector.orders[static_cast<size_t>(n - 1)];
    for (const auto& [ngram, count] : caption.ngrams(n)) {
      const auto found = found_in.find(ngram);
      const double frequency = found == found_in.end() ? 1 : found->second;
      const double weight = static_cast<double>(count) * (std::log(captions) - std::log(frequency));
      order.weights.emplace(ngram, weight);
      order.norm += weight * weight;
      if (n == 2) vector.bigrams += static_cast<double>(count);
    }
    order.norm = std::sqrt(order.norm);
  }
  return vector;
}

double similarity(const Vector& hypothesis, const Vector& reference) {
  constexpr double kSigma = 6;
  const double difference = hypothesis.bigrams - reference.bigrams;
  double sum = 0;
  for (size_t n = 0; n < kOrder; ++n) {
    const Weighted& other = reference.orders[n];
    double product = 0;
    for (const auto& [ngram, weight] : hypothesis.orders[n].weights) {
      const auto found = other.weights.find(ngram);
      if (found != other.weights.end()) product += std::min(weight, found->second) * found->second;
    }
    const double norms = hypothesis.orders[n].norm * other.norm;
    sum += norms == 0 ? product : product / norms;
  }
  return mean_over(kOrder, sum) * std::exp(-difference * difference / (2 * kSigma * kSigma));
}

}  // namespace

CaptionTokens caption_tokens(std::string_view text) {
  static const WordTokenizer tokenizer;
  CaptionTokens tokens = tokenizer(text);
  // The list of coco-caption, as far as this tokenizer makes its members.
  static constexpr std::string_view kLeftOut[] = {"'", "\"", "(", ")", "{", "}",  "[",   "]", ".",
                                                  "?", "!",  ",", ":", "-", "--", "...", ";"};
  std::erase_if(tokens, [](const std::string& token) {
    return std::find(std::begin(kLeftOut), std::end(kLeftOut), token) != std::end(kLeftOut);
  });
  return tokens;
}

std::array<double, 4> caption_bleu(std::span<const CaptionTokens> hypotheses,
                                   std::span<const std::vector<CaptionTokens>> references) {
  check("caption_bleu", hypotheses, references);
  std::array<double, kOrder> matches{};
  std::array<double, kOrder> totals{};
  double length = 0;
  double reference_length = 0;
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    const Units hypothesis = Units::words(hypotheses[i]);
    std::vector<Units> units;
    for (const CaptionTokens& reference : references[i]) units.push_back(Units::words(reference));
    const auto closest = std::min_element(units.begin(), units.end(), [&](const Units& a, const Units& b) {
      const int64_t far_a = std::abs(a.size() - hypothesis.size());
      const int64_t far_b = std::abs(b.size() - hypothesis.size());
      return far_a != far_b ? far_a < far_b : a.size() < b.size();
    });
    length += static_cast<double>(hypothesis.size());
    reference_length += static_cast<double>(closest->size());
    for (int n = 1; n <= kOrder; ++n) {
      const scores::Matches found = scores::clipped_matches(hypothesis, units, n);
      matches[static_cast<size_t>(n - 1)] += static_cast<double>(found.matches);
      totals[static_cast<size_t>(n - 1)] += static_cast<double>(found.total);
    }
  }
  // coco-caption's way to divide by nothing.
  constexpr double kSmall = 1e-9;
  constexpr double kTiny = 1e-15;
  const double ratio = (length + kTiny) / (reference_length + kSmall);
  const double penalty = ratio < 1 ? std::exp(1 - 1 / ratio) : 1;
  std::array<double, kOrder> bleu{};
  double product = 1;
  for (size_t n = 0; n < kOrder; ++n) {
    product *= (matches[n] + kTiny) / (totals[n] + kSmall);
    bleu[n] = penalty * std::pow(product, 1 / static_cast<double>(n + 1));
  }
  return bleu;
}

double rouge_l(std::span<const CaptionTokens> hypotheses, std::span<const std::vector<CaptionTokens>> references) {
  check("rouge_l", hypotheses, references);
  constexpr double kBeta = 1.2;
  double sum = 0;
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    double precision = 0;
    double recall = 0;
    for (const CaptionTokens& reference : references[i]) {
      const auto common = static_cast<double>(common_subsequence(hypotheses[i], reference));
      if (common == 0) continue;
      precision = std::max(precision, common / static_cast<double>(hypotheses[i].size()));
      recall = std::max(recall, common / static_cast<double>(reference.size()));
    }
    if (precision > 0) sum += (1 + kBeta * kBeta) * precision * recall / (recall + kBeta * kBeta * precision);
  }
  return mean_over(hypotheses.size(), sum);
}

double cider_d(std::span<const CaptionTokens> hypotheses, std::span<const std::vector<CaptionTokens>> references) {
  check("cider_d", hypotheses, references);
  std::vector<std::vector<Units>> reference_units(references.size());
  Rareness found_in;  // captions that have an n-gram in one of their references
  for (size_t i = 0; i < references.size(); ++i) {
    for (const CaptionTokens& reference : references[i]) reference_units[i].push_back(Units::words(reference));
    for (int n = 1; n <= kOrder; ++n) {
      Units::Counts of_caption;
      for (const Units& units : reference_units[i]) of_caption.merge(units.ngrams(n));
      for (const auto& [ngram, count] : of_caption) found_in[ngram] += 1;
    }
  }
  const auto captions = static_cast<double>(references.size());
  double sum = 0;
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    const Units units = Units::words(hypotheses[i]);
    const Vector hypothesis = vector_of(units, found_in, captions);
    double similarities = 0;
    for (const Units& reference : reference_units[i]) {
      similarities += similarity(hypothesis, vector_of(reference, found_in, captions));
    }
    sum += mean_over(references[i].size(), similarities);
  }
  return 10 * mean_over(hypotheses.size(), sum);
}

}  // namespace attune
