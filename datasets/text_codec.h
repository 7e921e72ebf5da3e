#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "datasets/tokenizer.h"

namespace attune {

/// Sentences as token numbers and back. Every codec begins with the same four special tokens.
class TextCodec {
 public:
  static constexpr int64_t kPad = 0;
  static constexpr int64_t kUnknown = 1;
  static constexpr int64_t kBegin = 2;
  static constexpr int64_t kEnd = 3;

  virtual ~TextCodec() = default;

  virtual int64_t size() const = 0;
  /// Numbers of a sentence's tokens, without <bos> and <eos>; none of them <pad>. Throws FormatError for text that is
  /// not UTF-8.
  virtual std::vector<int64_t> encode(std::string_view text) const = 0;
  /// The sentence; <pad>, <bos> and <eos> are left out. Throws ValueError for a number outside 0 ... size() - 1.
  virtual std::string decode(std::span<const int64_t> ids) const = 0;
  /// A token as it is shown: "▁man", "<unk>". Throws ValueError outside.
  virtual std::string token(int64_t id) const = 0;
  /// To which word each token belongs, from 0; special tokens to none: -1. What stands between spaces is a word.
  virtual std::vector<int64_t> words_of(std::span<const int64_t> ids) const = 0;

  /// What brings the codec back, for a checkpoint: TextCodec::load(codec.bytes()).
  virtual std::string bytes() const = 0;
  /// Throws FormatError that begins with `origin`, the file, for bytes that no codec wrote.
  static std::unique_ptr<TextCodec> load(std::string_view bytes, const std::string& origin);
};

enum class CodecKind : uint8_t {
  kBpe,      ///< byte-pair encoding (Sennrich et al., 2016), by SentencePiece
  kUnigram,  ///< pieces of a unigram language model (Kudo, 2018), by SentencePiece
  kWords     ///< whole words of a Vocabulary
};

struct CodecOptions {
  CodecKind kind = CodecKind::kBpe;
  /// Tokens, the four special ones among them; for words an upper limit, 0: none.
  int64_t size = 8000;
  /// Share of the characters that pieces are made of, 0.98 to 1; rarer ones are unknown.
  double character_coverage = 1;
  /// Words seen less often are unknown.
  int64_t min_count = 1;
  WordTokenizerOptions words = {.lower_case = false, .split_punctuation = false};
};

/// Learns a codec from sentences: of one language, or of both for a vocabulary that they share:
/// train_codec({corpus.source, corpus.target}, options). The same sentences and options give the same codec. A
/// sentence of more than 8,000 characters teaches pieces as several sentences do, cut between words where there are
/// any.
///
/// Throws ValueError, with SentencePiece's reason, for a size that the text cannot fill or that its characters exceed,
/// and for no text at all; FormatError, naming the sentence, for text that is not UTF-8.
std::unique_ptr<TextCodec> train_codec(std::initializer_list<std::span<const std::string>> sentences,
                                       const CodecOptions& options = {});

}  // namespace attune
