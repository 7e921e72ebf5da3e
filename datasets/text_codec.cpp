#include "datasets/text_codec.h"

#include <algorithm>

#include "datasets/subwords.h"
#include "datasets/utf8.h"
#include "datasets/vocabulary.h"
#include "framework/fail.h"

namespace attune {
namespace {

constexpr std::string_view kWordsHeader = "attune words";

/// Throws FormatError for a token that no tokenizer makes and that could move the cursor of a terminal.
void require_word(std::string_view token, size_t number) {
  for (size_t i = 0; i < token.size();) {
    require<FormatError>(!utf8::is_space(utf8::decode(token, i)),
                         "vocabulary: token {}, {}, has a space or a control character, expected a word", number,
                         utf8::quoted(token));
  }
}

/// bytes(): "attune words 1 0\n" with the tokenizer's options, then a token a line.
class WordCodec : public TextCodec {
 public:
  WordCodec(Vocabulary vocabulary, WordTokenizerOptions options)
      : vocabulary_(std::move(vocabulary)), tokenizer_(options) {}

  int64_t size() const override { return vocabulary_.size(); }

  std::vector<int64_t> encode(std::string_view text) const override { return vocabulary_.encode(tokenizer_(text)); }

  std::string decode(std::span<const int64_t> ids) const override {
    std::vector<int64_t> words;
    std::copy_if(ids.begin(), ids.end(), std::back_inserter(words),
                 [](int64_t id) { return id != kBegin && id != kEnd; });
    return vocabulary_.decode(words);
  }

  std::string token(int64_t id) const override { return vocabulary_.token(id); }

  std::vector<int64_t> words_of(std::span<const int64_t> ids) const override {
    std::vector<int64_t> words;
    int64_t next = 0;
    for (int64_t id : ids) words.push_back(id == kPad || id == kBegin || id == kEnd ? -1 : next++);
    return words;
  }

  std::string bytes() const override {
    const WordTokenizerOptions& options = tokenizer_.options();
    std::string bytes = fmt::format("{} {:d} {:d}\n", kWordsHeader, options.lower_case, options.split_punctuation);
    for (const std::string& token : vocabulary_.tokens()) bytes += token + '\n';
    return bytes;
  }

  static std::unique_ptr<TextCodec> load(std::string_view bytes, const std::string& origin) {
    const auto option = [&](size_t at) { return bytes.size() > at && bytes[at] == '1'; };
    const WordTokenizerOptions options{.lower_case = option(kWordsHeader.size() + 1),
                                       .split_punctuation = option(kWordsHeader.size() + 3)};
    std::vector<std::string> tokens;
    for (size_t begin = bytes.find('\n') + 1; begin > 0 && begin < bytes.size();) {
      const size_t end = std::min(bytes.find('\n', begin), bytes.size());
      tokens.emplace_back(bytes.substr(begin, end - begin));
      begin = end + 1;
    }
    try {
      for (size_t i = 0; i < tokens.size(); ++i) {
        utf8::require_valid(tokens[i], fmt::format("vocabulary: token {}", i));
        require_word(tokens[i], i);
      }
      Vocabulary vocabulary(std::move(tokens));
      require<FormatError>(vocabulary.id("<bos>") == kBegin && vocabulary.id("<eos>") == kEnd,
                           "vocabulary: expected the tokens <bos> and <eos> at {} and {}", kBegin, kEnd);
      return std::make_unique<WordCodec>(std::move(vocabulary), options);
    } catch (const FormatError& error) {
      fail<FormatError>("{}: {}", origin, error.what());
    }
  }

 private:
  Vocabulary vocabulary_;
  WordTokenizer tokenizer_;
};

std::unique_ptr<TextCodec> train_words(std::span<const std::span<const std::string>> sentences,
                                       const CodecOptions& options) {
  const WordTokenizer tokenizer(options.words);
  WordCounts counts;
  for (std::span<const std::string> part : sentences) {
    for (const std::string& sentence : part) counts.add(tokenizer(sentence));
  }
  Vocabulary vocabulary =
      counts.vocabulary({.min_count = options.min_count, .max_size = options.size, .specials = {"<bos>", "<eos>"}});
  return std::make_unique<WordCodec>(std::move(vocabulary), options.words);
}

}  // namespace

std::unique_ptr<TextCodec> TextCodec::load(std::string_view bytes, const std::string& origin) {
  if (bytes.starts_with(kWordsHeader)) return WordCodec::load(bytes, origin);
  return load_subwords(bytes, origin);
}

std::unique_ptr<TextCodec> train_codec(std::initializer_list<std::span<const std::string>> sentences,
                                       const CodecOptions& options) {
  size_t count = 0;
  for (std::span<const std::string> part : sentences) {
    for (size_t i = 0; i < part.size(); ++i) {
      if (utf8::find_invalid(part[i]) != std::string::npos) {
        utf8::require_valid(part[i], fmt::format("codec: sentence {}", i + 1));
      }
      count += utf8::is_blank(part[i]) ? 0 : 1;
    }
  }
  require<ValueError>(count > 0, "codec: no text to learn from, expected at least one sentence");
  const std::span<const std::span<const std::string>> parts(sentences.begin(), sentences.size());
  return options.kind == CodecKind::kWords ? train_words(parts, options) : train_subwords(parts, options);
}

}  // namespace attune
