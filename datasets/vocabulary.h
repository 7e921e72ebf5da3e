#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace attune {

/// The tokens a model knows, numbered from 0: <pad>, <unk>, further special tokens, then words. A checkpoint stores
/// tokens() and Vocabulary(tokens) brings it back.
class Vocabulary {
 public:
  static constexpr int64_t kPad = 0;
  static constexpr int64_t kUnknown = 1;
  static constexpr std::string_view kPadToken = "<pad>";
  static constexpr std::string_view kUnknownToken = "<unk>";

  /// Nothing but <pad> and <unk>.
  Vocabulary();
  /// Takes the list of a checkpoint. Throws FormatError unless it begins with <pad>, <unk> and has no empty token and
  /// none twice. Tokens after these two in angle brackets, until the first without, are the special ones.
  explicit Vocabulary(std::vector<std::string> tokens);

  int64_t size() const { return static_cast<int64_t>(tokens_.size()); }
  const std::vector<std::string>& tokens() const { return tokens_; }

  bool contains(std::string_view token) const { return ids_.find(token) != ids_.end(); }
  /// Number of a token, special or not; kUnknown for one that is not there.
  int64_t id(std::string_view token) const;
  /// Throws ValueError outside 0 ... size() - 1.
  const std::string& token(int64_t id) const;

  /// Numbers of words. What is not there becomes kUnknown, and so does a word of the text that is spelt like a special
  /// token: text must not be able to forge padding.
  std::vector<int64_t> encode(std::span<const std::string> words) const;
  /// Tokens of numbers, joined by single spaces, <pad> left out. Throws ValueError for a number outside.
  std::string decode(std::span<const int64_t> ids) const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  std::vector<std::string> tokens_;
  std::unordered_map<std::string, int64_t, Hash, std::equal_to<>> ids_;
  int64_t specials_ = 0;
};

struct VocabularyOptions {
  /// Words seen less often are left out.
  int64_t min_count = 1;
  /// Upper limit of size(), special tokens included; 0: none.
  int64_t max_size = 0;
  /// Special tokens after <pad> and <unk>, each in angle brackets: "<bos>", "<eos>".
  std::vector<std::string> specials = {};
};

/// Counts words and makes a vocabulary of the frequent ones.
class WordCounts {
 public:
  void add(std::span<const std::string> words);

  /// Most frequent words first, equally frequent ones in the order of their bytes: the same words and counts give the
  /// same vocabulary in whichever order they were added. Words in angle brackets, the spelling of special tokens, are
  /// left out. Throws ValueError when the options contradict themselves.
  Vocabulary vocabulary(const VocabularyOptions& options = {}) const;

 private:
  std::unordered_map<std::string, int64_t> counts_;
};

}  // namespace attune
