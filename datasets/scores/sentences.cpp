#include "datasets/scores/sentences.h"

#include "datasets/utf8.h"
#include "framework/fail.h"

namespace attune::scores {

void check_utf8(std::string_view who, std::string_view what, size_t number, std::string_view text) {
  if (utf8::find_invalid(text) == std::string_view::npos) return;
  utf8::require_valid(text, fmt::format("{}: {} {}", who, what, number + 1));
}

void check_corpus(std::string_view who, std::span<const std::string> hypotheses,
                  std::span<const std::vector<std::string>> references) {
  require<ValueError>(!hypotheses.empty(), "{}: no hypotheses given, expected at least 1", who);
  require<ValueError>(!references.empty(), "{}: no references given, expected at least 1 set", who);
  for (size_t i = 0; i < hypotheses.size(); ++i) check_utf8(who, "hypothesis", i, hypotheses[i]);
  for (const std::vector<std::string>& set : references) {
    require<ValueError>(set.size() == hypotheses.size(), "{}: {} hypotheses but {} references, expected as many", who,
                        hypotheses.size(), set.size());
    for (size_t i = 0; i < set.size(); ++i) check_utf8(who, "reference", i, set[i]);
  }
}

void check_sentence(std::string_view who, const std::string& hypothesis, std::span<const std::string> references) {
  require<ValueError>(!references.empty(), "{}: no references given, expected at least 1", who);
  check_utf8(who, "hypothesis", 0, hypothesis);
  for (size_t i = 0; i < references.size(); ++i) check_utf8(who, "reference", i, references[i]);
}

std::vector<std::string_view> references_of(std::span<const std::vector<std::string>> references, size_t i) {
  std::vector<std::string_view> of_sentence;
  of_sentence.reserve(references.size());
  for (const std::vector<std::string>& set : references) of_sentence.push_back(set[i]);
  return of_sentence;
}

}  // namespace attune::scores
