#include "datasets/vocabulary.h"

#include <algorithm>
#include <utility>

#include "datasets/utf8.h"
#include "framework/fail.h"

namespace attune {
namespace {

bool in_angle_brackets(std::string_view token) {
  return token.size() > 2 && token.front() == '<' && token.back() == '>';
}

}  // namespace

Vocabulary::Vocabulary() : Vocabulary({std::string(kPadToken), std::string(kUnknownToken)}) {}

Vocabulary::Vocabulary(std::vector<std::string> tokens) : tokens_(std::move(tokens)) {
  require<FormatError>(tokens_.size() >= 2 && tokens_[0] == kPadToken && tokens_[1] == kUnknownToken,
                       "vocabulary: expected the tokens {} and {} at 0 and 1, found {} tokens that begin with {}",
                       kPadToken, kUnknownToken, tokens_.size(), utf8::quoted(tokens_.empty() ? "" : tokens_[0]));
  ids_.reserve(tokens_.size());
  for (const std::string& token : tokens_) {
    if (token.empty()) fail<FormatError>("vocabulary: token {} is empty, expected a word", ids_.size());
    const auto [position, is_new] = ids_.emplace(token, static_cast<int64_t>(ids_.size()));
    if (!is_new) {
      fail<FormatError>("vocabulary: token {} is there twice, at {} and {}", utf8::quoted(token), position->second,
                        ids_.size());
    }
  }
  const auto first_word = std::find_if_not(tokens_.begin(), tokens_.end(), in_angle_brackets);
  specials_ = first_word - tokens_.begin();
}

int64_t Vocabulary::id(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? kUnknown : found->second;
}

const std::string& Vocabulary::token(int64_t id) const {
  require<ValueError>(id >= 0 && id < size(), "vocabulary: token {} asked for, expected 0 to {}", id, size() - 1);
  return tokens_[static_cast<size_t>(id)];
}

std::vector<int64_t> Vocabulary::encode(std::span<const std::string> words) const {
  std::vector<int64_t> ids;
  ids.reserve(words.size());
  for (const std::string& word : words) {
    const int64_t found = id(word);
    ids.push_back(found < specials_ ? kUnknown : found);
  }
  return ids;
}

std::string Vocabulary::decode(std::span<const int64_t> ids) const {
  std::string text;
  for (int64_t id : ids) {
    if (id == kPad) continue;
    if (!text.empty()) text += ' ';
    text += token(id);
  }
  return text;
}

void WordCounts::add(std::span<const std::string> words) {
  for (const std::string& word : words) ++counts_[word];
}

Vocabulary WordCounts::vocabulary(const VocabularyOptions& options) const {
  std::vector<std::string> tokens = {std::string(Vocabulary::kPadToken), std::string(Vocabulary::kUnknownToken)};
  for (const std::string& special : options.specials) {
    require<ValueError>(in_angle_brackets(special),
                        "vocabulary: special token {} is not in angle brackets, expected <...>", utf8::quoted(special));
    tokens.push_back(special);
  }
  require<ValueError>(options.min_count >= 1, "vocabulary: min_count is {}, expected at least 1", options.min_count);
  require<ValueError>(options.max_size == 0 || options.max_size >= static_cast<int64_t>(tokens.size()),
                      "vocabulary: max_size is {}, expected 0 (no limit) or at least the {} special tokens",
                      options.max_size, tokens.size());

  std::vector<std::pair<std::string_view, int64_t>> words;
  for (const auto& [word, count] : counts_) {
    if (count >= options.min_count && !in_angle_brackets(word)) words.emplace_back(word, count);
  }
  std::sort(words.begin(), words.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  if (options.max_size > 0) {
    words.resize(std::min(words.size(), static_cast<size_t>(options.max_size) - tokens.size()));
  }
  for (const auto& word : words) tokens.emplace_back(word.first);
  return Vocabulary(std::move(tokens));
}

}  // namespace attune
