#include "datasets/scores/chrf.h"

#include <algorithm>
#include <string_view>

#include "datasets/scores/ngrams.h"
#include "datasets/scores/sentences.h"
#include "datasets/utf8.h"
#include "framework/fail.h"

namespace attune {
namespace {

using scores::Units;

struct Counts {
  int64_t hypothesis = 0;
  int64_t reference = 0;
  int64_t matches = 0;
};

void check(const ChrfOptions& options) {
  require<ValueError>(
      options.character_order >= 0 && options.word_order >= 0 && options.character_order + options.word_order > 0 &&
          options.beta > 0,
      "chrF: orders of {} characters and {} words and beta {} given, expected at least one order above 0 "
      "and beta above 0",
      options.character_order, options.word_order, options.beta);
}

/// One mark of ASCII punctuation at the end of a word, or else at its beginning, is a word of its own.
std::vector<std::string_view> chrf_words(std::string_view text) {
  const auto is_mark = [](char c) {
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
  };
  std::vector<std::string_view> words;
  for (std::string_view word : utf8::split(text)) {
    if (word.size() > 1 && is_mark(word.back())) {
      words.push_back(word.substr(0, word.size() - 1));
      words.push_back(word.substr(word.size() - 1));
    } else if (word.size() > 1 && is_mark(word.front())) {
      words.push_back(word.substr(0, 1));
      words.push_back(word.substr(1));
    } else {
      words.push_back(word);
    }
  }
  return words;
}

/// A sentence as characters and as words.
struct Sentence {
  Sentence(std::string_view sentence, const ChrfOptions& options)
      : text(options.lower_case ? utf8::to_lower(sentence) : std::string(sentence)),
        characters(Units::characters(text, options.white_space)),
        words(Units::words(chrf_words(text))) {}

  std::string text;
  Units characters;
  Units words;
};

Counts matching(const Units::Counts& hypothesis, const Units::Counts& reference) {
  Counts counts;
  for (const auto& [ngram, count] : hypothesis) {
    counts.hypothesis += count;
    const auto found = reference.find(ngram);
    if (found != reference.end()) counts.matches += std::min(count, found->second);
  }
  for (const auto& [ngram, count] : reference) counts.reference += count;
  // What has nothing to be compared with is not held against the hypothesis.
  if (reference.empty()) counts.hypothesis = 0;
  return counts;
}

double score_of(std::span<const Counts> orders, int beta) {
  double precision = 0;
  double recall = 0;
  int count = 0;
  for (const Counts& order : orders) {
    if (order.hypothesis == 0 || order.reference == 0) continue;
    precision += static_cast<double>(order.matches) / static_cast<double>(order.hypothesis);
    recall += static_cast<double>(order.matches) / static_cast<double>(order.reference);
    ++count;
  }
  if (precision + recall == 0) return 0;
  precision /= count;
  recall /= count;
  const double weight = static_cast<double>(beta) * beta;
  return 100 * (1 + weight) * precision * recall / (weight * precision + recall);
}

/// Counts of each order against the reference that gives the best score.
std::vector<Counts> best_counts(std::string_view hypothesis, std::span<const std::string_view> references,
                                const ChrfOptions& options) {
  const Sentence candidate(hypothesis, options);
  std::vector<Counts> best;
  double best_score = -1;
  for (std::string_view text : references) {
    const Sentence reference(text, options);
    std::vector<Counts> counts;
    for (int n = 1; n <= options.character_order; ++n) {
      counts.push_back(matching(candidate.characters.ngrams(n), reference.characters.ngrams(n)));
    }
    for (int n = 1; n <= options.word_order; ++n) {
      counts.push_back(matching(candidate.words.ngrams(n), reference.words.ngrams(n)));
    }
    const double score = score_of(counts, options.beta);
    if (score <= best_score) continue;
    best_score = score;
    best = std::move(counts);
  }
  return best;
}

}  // namespace

double corpus_chrf(std::span<const std::string> hypotheses, std::span<const std::vector<std::string>> references,
                   const ChrfOptions& options) {
  check(options);
  scores::check_corpus("chrF", hypotheses, references);
  std::vector<Counts> sums(static_cast<size_t>(options.character_order + options.word_order));
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    const std::vector<Counts> counts = best_counts(hypotheses[i], scores::references_of(references, i), options);
    for (size_t n = 0; n < sums.size(); ++n) {
      sums[n].hypothesis += counts[n].hypothesis;
      sums[n].reference += counts[n].reference;
      sums[n].matches += counts[n].matches;
    }
  }
  return score_of(sums, options.beta);
}

double sentence_chrf(const std::string& hypothesis, std::span<const std::string> references,
                     const ChrfOptions& options) {
  check(options);
  scores::check_sentence("chrF", hypothesis, references);
  const std::vector<std::string_view> views(references.begin(), references.end());
  return score_of(best_counts(hypothesis, views, options), options.beta);
}

std::string chrf_signature(const ChrfOptions& options, int64_t references) {
  return fmt::format("nrefs:{}|case:{}|eff:yes|nc:{}|nw:{}|space:{}|version:{}", references,
                     options.lower_case ? "lc" : "mixed", options.character_order, options.word_order,
                     options.white_space ? "yes" : "no", scores::kSacreBleuVersion);
}

}  // namespace attune
