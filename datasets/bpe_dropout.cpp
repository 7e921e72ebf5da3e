#include "datasets/bpe_dropout.h"

#include <algorithm>
#include <cstddef>
#include <string>

#include "datasets/subwords.h"
#include "datasets/utf8.h"
#include "framework/fail.h"

namespace attune {
namespace {

uint64_t pair_of(int64_t left, int64_t right) {
  return static_cast<uint64_t>(left) << 32 | static_cast<uint64_t>(right);
}

}  // namespace

BpeDropout::BpeDropout(const TextCodec& codec, double probability) : probability_(probability) {
  require<ValueError>(probability >= 0 && probability <= 1, "BpeDropout: the probability is {}, expected 0 to 1",
                      probability);
  std::unordered_map<std::string, int64_t> ids;
  for (int64_t id = TextCodec::kEnd + 1; id < codec.size(); ++id) ids.emplace(codec.token(id), id);
  const auto id_of = [&](const std::string& text) {
    const auto found = ids.find(text);
    return found == ids.end() ? -1 : found->second;
  };
  space_ = id_of(kSpaceMark);
  for (int64_t id = 0; id < codec.size(); ++id) {
    std::vector<int64_t>& characters = characters_.emplace_back();
    const std::string text = codec.token(id);
    for (size_t begin = 0, end = 0; id > TextCodec::kEnd && end < text.size(); begin = end) {
      utf8::decode(text, end);
      characters.push_back(id_of(text.substr(begin, end - begin)));
      const int64_t left = id_of(text.substr(0, end)), right = id_of(text.substr(end));
      if (left >= 0 && right >= 0) merged_.emplace(pair_of(left, right), id);
    }
    if (characters.empty() || std::ranges::count(characters, -1) > 0) characters.assign(1, id);
  }
}

/// The merge that was learned first of those that are not left out, at its first place; false: there is none.
bool BpeDropout::merge_one(std::vector<int64_t>& word, RandomStream& random) const {
  size_t place = word.size();
  int64_t best = 0;
  for (size_t i = 0; i + 1 < word.size(); ++i) {
    const auto merge = merged_.find(pair_of(word[i], word[i + 1]));
    if (merge == merged_.end() || (place < word.size() && merge->second >= best)) continue;
    if (probability_ > 0 && random.uniform() < probability_) continue;
    place = i;
    best = merge->second;
  }
  if (place == word.size()) return false;
  word[place] = best;
  word.erase(word.begin() + static_cast<std::ptrdiff_t>(place) + 1);
  return true;
}

void BpeDropout::read_word(std::vector<int64_t>& word, RandomStream& random, std::vector<int64_t>& read) const {
  while (merge_one(word, random)) {
  }
  read.insert(read.end(), word.begin(), word.end());
  word.clear();
}

void BpeDropout::operator()(std::span<const int64_t> tokens, RandomStream& random, std::vector<int64_t>& read) const {
  thread_local std::vector<int64_t> word;
  word.clear();
  for (const int64_t token : tokens) {
    for (const int64_t character : characters_[static_cast<size_t>(token)]) {
      if (character == space_) read_word(word, random, read);
      word.push_back(character);
    }
  }
  read_word(word, random, read);
}

}  // namespace attune
