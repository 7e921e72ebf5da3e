#include "datasets/subwords.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <unordered_map>
#include <utility>

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

/// Whether SentencePiece learns from a sentence. It passes over those with the character that stands for unknown ones,
/// and ends the process when nothing is left.
bool teaches(std::string_view sentence) {
  constexpr char32_t kSpaceCode = 0x2581;
  constexpr char32_t kReserved = 0x2585;
  bool blank = true;
  for (size_t i = 0; i < sentence.size();) {
    const char32_t c = utf8::decode(sentence, i);
    if (c == kReserved || c == 0) return false;
    blank = blank && (c == kSpaceCode || utf8::is_space(c));
  }
  return !blank;
}

/// bytes(): a header, then SentencePiece's serialized model.
class SubwordCodec : public TextCodec {
 public:
  /// Throws FormatError that begins with `origin` for another model than train_subwords() makes.
  SubwordCodec(std::string_view model, const std::string& origin) {
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

/// One sentence after the other.
class Sentences : public sentencepiece::SentenceIterator {
 public:
  explicit Sentences(std::span<const std::span<const std::string>> parts) : parts_(parts) { skip(); }

  bool done() const override { return part_ == parts_.size(); }
  void Next() override {
    ++sentence_;
    skip();
  }
  const std::string& value() const override { return parts_[part_][sentence_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  void skip() {
    for (; part_ < parts_.size(); ++part_, sentence_ = 0) {
      while (sentence_ < parts_[part_].size() && !teaches(parts_[part_][sentence_])) ++sentence_;
      if (sentence_ < parts_[part_].size()) return;
    }
  }

  std::span<const std::span<const std::string>> parts_;
  size_t part_ = 0;
  size_t sentence_ = 0;
};

}  // namespace

std::unique_ptr<TextCodec> train_subwords(std::span<const std::span<const std::string>> sentences,
                                          const CodecOptions& options) {
  require<ValueError>(options.size > 4 && options.size < (int64_t{1} << 24),
                      "codec: size is {}, expected more than the 4 special tokens and less than 2^24", options.size);
  require<ValueError>(options.character_coverage >= 0.98 && options.character_coverage <= 1,
                      "codec: character_coverage is {}, expected 0.98 to 1", options.character_coverage);
  const std::unordered_map<std::string, std::string> arguments = {
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
