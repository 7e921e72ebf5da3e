#include "datasets/subwords.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <utility>

#include "datasets/subword_model.h"
#include "datasets/utf8.h"
#include "framework/fail.h"

namespace attune {
namespace {

constexpr std::string_view kHeader = "attune subwords\n";

/// What SentencePiece says, without the place in its sources that stands before it in brackets.
std::string reason(const sentencepiece::util::Status& status) {
  std::string text = status.ToString();
  for (char& c : text) c = c == '\n' ? ' ' : c;
  const size_t place = text.rfind("] ");
  return place != std::string::npos && place + 2 < text.size() ? text.substr(place + 2) : text;
}

// Most characters that are handed to SentencePiece as a sentence. It counts the places in a word in 16 bits, and ends
// the process beyond; it leaves long sentences out without a word; and it copies all that repeats itself in one.
constexpr size_t kMostAtOnce = 8000;
constexpr char32_t kSpaceCode = 0x2581;  // kSpaceMark

/// Whether SentencePiece learns from a sentence. It passes over those with the character that stands for unknown ones,
/// and ends the process when nothing is left.
bool teaches(std::string_view sentence) {
  constexpr char32_t kReserved = 0x2585;
  bool blank = true;
  for (size_t i = 0; i < sentence.size();) {
    const char32_t c = utf8::decode(sentence, i);
    if (c == kReserved || c == 0) return false;
    blank = blank && (c == kSpaceCode || utf8::is_space(c));
  }
  return !blank;
}

/// Where a part of the sentence that begins at `begin` ends: before a space where there is one, so that words stay
/// whole, and at most kMostAtOnce characters further.
size_t end_of_part(std::string_view sentence, size_t begin) {
  if (sentence.size() - begin <= kMostAtOnce) return sentence.size();
  size_t space = begin;
  size_t i = begin;
  for (size_t count = 0; i < sentence.size(); ++count) {
    if (count == kMostAtOnce) return space > begin ? space : i;
    const size_t at = i;
    const char32_t c = utf8::decode(sentence, i);
    if (c == ' ' || c == kSpaceCode) space = at;
  }
  return i;
}

/// bytes(): a header, then SentencePiece's serialized model.
class SubwordCodec : public TextCodec {
 public:
  /// Throws FormatError that begins with `origin` for another model than train_subwords() makes.
  SubwordCodec(std::string_view model, const std::string& origin) {
    require_plain_model(model, origin);
    const auto status = processor_.LoadFromSerializedProto({model.data(), model.size()});
    require<FormatError>(status.ok(), "{}: not a SentencePiece model ({})", origin, reason(status));
    require<FormatError>(processor_.pad_id() == kPad && processor_.unk_id() == kUnknown &&
                             processor_.bos_id() == kBegin && processor_.eos_id() == kEnd,
                         "{}: <pad>, <unk>, <bos> and <eos> are tokens {}, {}, {} and {}, expected {}, {}, {} and {}",
                         origin, processor_.pad_id(), processor_.unk_id(), processor_.bos_id(), processor_.eos_id(),
                         kPad, kUnknown, kBegin, kEnd);
  }

  int64_t size() const override { return processor_.GetPieceSize(); }

  std::vector<int64_t> encode(std::string_view text) const override {
    utf8::require_valid(text, "codec");
    const std::vector<int> ids = processor_.EncodeAsIds({text.data(), text.size()});
    return {ids.begin(), ids.end()};
  }

  std::string decode(std::span<const int64_t> ids) const override {
    std::vector<int> pieces;
    for (int64_t id : ids) {
      check(id);
      if (id != kPad && id != kBegin && id != kEnd) pieces.push_back(static_cast<int>(id));
    }
    return processor_.DecodeIds(pieces);
  }

  std::string token(int64_t id) const override {
    check(id);
    return processor_.IdToPiece(static_cast<int>(id));
  }

  std::vector<int64_t> words_of(std::span<const int64_t> ids) const override {
    std::vector<int64_t> words;
    int64_t word = -1;
    for (int64_t id : ids) {
      const bool special = id == kPad || id == kBegin || id == kEnd;
      if (!special && (word < 0 || token(id).starts_with(kSpaceMark))) ++word;
      words.push_back(special ? -1 : word);
    }
    return words;
  }

  std::string bytes() const override { return std::string(kHeader) + processor_.serialized_model_proto(); }

 private:
  void check(int64_t id) const {
    require<ValueError>(id >= 0 && id < size(), "codec: token {} asked for, expected 0 to {}", id, size() - 1);
  }

  sentencepiece::SentencePieceProcessor processor_;
};

/// One sentence after the other, long ones in parts.
class Sentences : public sentencepiece::SentenceIterator {
 public:
  explicit Sentences(std::span<const std::span<const std::string>> texts) : texts_(texts) { take(); }

  bool done() const override { return text_ == texts_.size(); }
  void Next() override {
    if (end_ == texts_[text_][sentence_].size()) {
      ++sentence_;
      end_ = 0;
    }
    take();
  }
  const std::string& value() const override { return part_.empty() ? texts_[text_][sentence_] : part_; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  void take() {
    part_.clear();
    for (; text_ < texts_.size(); ++text_, sentence_ = 0) {
      if (end_ == 0) {
        while (sentence_ < texts_[text_].size() && !teaches(texts_[text_][sentence_])) ++sentence_;
      }
      if (sentence_ == texts_[text_].size()) continue;
      const std::string& sentence = texts_[text_][sentence_];
      const size_t begin = std::exchange(end_, end_of_part(sentence, end_));
      if (end_ - begin < sentence.size()) part_ = sentence.substr(begin, end_ - begin);
      return;
    }
  }

  std::span<const std::span<const std::string>> texts_;
  size_t text_ = 0;
  size_t sentence_ = 0;
  size_t end_ = 0;    // of the part of the sentence
  std::string part_;  // empty: the whole sentence
};

/// Bytes of all sentences.
size_t count_bytes(std::span<const std::span<const std::string>> texts) {
  size_t total = 0;
  for (const std::span<const std::string> text : texts) {
    for (const std::string& sentence : text) total += sentence.size();
  }
  return total;
}

}  // namespace

std::unique_ptr<TextCodec> train_subwords(std::span<const std::span<const std::string>> sentences,
                                          const CodecOptions& options) {
  require<ValueError>(options.size > 4 && options.size < (int64_t{1} << 24),
                      "codec: size is {}, expected more than the 4 special tokens and less than 2^24", options.size);
  require<ValueError>(options.character_coverage >= 0.98 && options.character_coverage <= 1,
                      "codec: character_coverage is {}, expected 0.98 to 1", options.character_coverage);
  std::unordered_map<std::string, std::string> arguments = {
      {"model_type", options.kind == CodecKind::kBpe ? "bpe" : "unigram"},
      {"vocab_size", std::to_string(options.size)},
      {"character_coverage", fmt::format("{}", options.character_coverage)},
      {"pad_id", std::to_string(TextCodec::kPad)},
      {"unk_id", std::to_string(TextCodec::kUnknown)},
      {"bos_id", std::to_string(TextCodec::kBegin)},
      {"eos_id", std::to_string(TextCodec::kEnd)},
      {"pad_piece", "<pad>"},
      {"unk_piece", "<unk>"},
      {"bos_piece", "<bos>"},
      {"eos_piece", "<eos>"},
      {"unk_surface", "<unk>"},
      {"normalization_rule_name", "identity"},
      {"max_sentence_length", "1000000"},
      {"num_threads", "4"},  // a number of its own: sums must not depend on the machine
      {"minloglevel", "2"},
  };
  constexpr size_t kLargeCorpus = size_t{1} << 30;  // beyond, places in the text need more than 31 bits
  if (count_bytes(sentences) > kLargeCorpus) arguments["train_extremely_large_corpus"] = "true";
  Sentences iterator(sentences);
  require<ValueError>(!iterator.done(), "codec: no text to learn pieces from, expected at least one sentence");
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(arguments, &iterator, &model);
  require<ValueError>(status.ok(), "codec: SentencePiece cannot make {} pieces of this text: {}", options.size,
                      reason(status));
  return std::make_unique<SubwordCodec>(model, "codec");
}

std::unique_ptr<TextCodec> load_subwords(std::string_view bytes, const std::string& origin) {
  require<FormatError>(bytes.starts_with(kHeader), "{}: not the bytes of a codec, which begin with 'attune ...'",
                       origin);
  return std::make_unique<SubwordCodec>(bytes.substr(kHeader.size()), origin);
}

}  // namespace attune
