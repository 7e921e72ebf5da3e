#include "datasets/text_codec.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "datasets/bilingual.h"
#include "datasets/encode_pairs.h"
#include "framework/error.h"
#include "framework/random.h"
#include "tests/support/errors.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using testing::error_text;
using Ids = std::vector<int64_t>;
using Sentences = std::vector<std::string>;

/// Pairs of the embedded grammar.
const ParallelCorpus& corpus() {
  static const ParallelCorpus corpus = to_corpus(generate_bilingual({.count = 400}), "grammar");
  return corpus;
}

TEST_CASE("text codec: sentences come back, also from its bytes", "[datasets][translation]") {
  const CodecKind kind = GENERATE(CodecKind::kBpe, CodecKind::kUnigram, CodecKind::kWords);
  const auto codec = train_codec({corpus().source, corpus().target}, {.kind = kind, .size = 300});
  CHECK(codec->size() == 300);
  CHECK(codec->token(TextCodec::kPad) == "<pad>");
  CHECK(codec->token(TextCodec::kUnknown) == "<unk>");
  CHECK(codec->token(TextCodec::kBegin) == "<bos>");
  CHECK(codec->token(TextCodec::kEnd) == "<eos>");
  const auto again = TextCodec::load(codec->bytes(), "x.h5");
  CHECK(again->bytes() == codec->bytes());
  CHECK(train_codec({corpus().source, corpus().target}, {.kind = kind, .size = 300})->bytes() == codec->bytes());
  int64_t unknown = 0;
  for (size_t i = 0; i < 50; ++i) {
    for (const std::string& sentence : {corpus().source[i], corpus().target[i]}) {
      Ids ids = codec->encode(sentence);
      CHECK(again->encode(sentence) == ids);
      const auto unknown_here = std::count(ids.begin(), ids.end(), TextCodec::kUnknown);
      unknown += unknown_here;
      if (unknown_here == 0) CHECK(codec->decode(ids) == sentence);
      // As many words as between spaces, in order.
      const Ids words = codec->words_of(ids);
      CHECK(words.back() == std::count(sentence.begin(), sentence.end(), ' '));
      CHECK(std::is_sorted(words.begin(), words.end()));
      ids.insert(ids.begin(), TextCodec::kBegin);
      ids.push_back(TextCodec::kEnd);
      ids.push_back(TextCodec::kPad);
      CHECK(again->decode(ids) == codec->decode(codec->encode(sentence)));
      CHECK(again->words_of(ids).front() == -1);
      CHECK(again->words_of(ids).back() == -1);
    }
  }
  // The 296 most frequent words are not all; pieces make up for every word.
  CHECK((unknown > 0) == (kind == CodecKind::kWords));
  CHECK(codec->encode("").empty());
  CHECK(codec->decode({}).empty());
  const Ids strange = codec->encode("漢");
  CHECK(std::count(strange.begin(), strange.end(), TextCodec::kUnknown) == 1);
  CHECK_THAT(codec->decode(strange), ContainsSubstring("<unk>"));
  // Text cannot forge special tokens.
  for (int64_t id : codec->encode("<pad> <bos> <eos>")) CHECK((id == TextCodec::kUnknown || id > TextCodec::kEnd));
}

TEST_CASE("text codec: separate vocabularies and words", "[datasets][translation]") {
  const auto english = train_codec({corpus().source}, {.kind = CodecKind::kWords, .size = 0});
  const auto spanish = train_codec({corpus().target}, {.kind = CodecKind::kWords, .size = 0});
  CHECK(english->encode("the man") != Ids{1, 1});
  CHECK(spanish->encode("the man") == Ids{1, 1});
  const auto rare = train_codec({corpus().source}, {.kind = CodecKind::kWords, .size = 0, .min_count = 20});
  CHECK(rare->size() < english->size());
  const auto split = train_codec({Sentences{"Well, yes."}},
                                 {.kind = CodecKind::kWords, .words = {.lower_case = true, .split_punctuation = true}});
  CHECK(split->decode(TextCodec::load(split->bytes(), "x")->encode("WELL, yes.")) == "well , yes .");
}

TEST_CASE("text codec: errors", "[datasets][translation]") {
  const auto codec = train_codec({corpus().source}, {.size = 100});
  CHECK(error_text<FormatError>([&] { codec->encode("a\xff"); }) ==
        "codec: byte 2 ('\\xff') is not valid UTF-8, expected UTF-8 text");
  CHECK(error_text<ValueError>([&] { codec->decode(Ids{3, 100}); }) == "codec: token 100 asked for, expected 0 to 99");
  CHECK(error_text<ValueError>([&] { codec->token(-1); }) == "codec: token -1 asked for, expected 0 to 99");
  CHECK(error_text<FormatError>([] { TextCodec::load("PK\x03", "best.h5"); }) ==
        "best.h5: not the bytes of a codec, which begin with 'attune ...'");
  CHECK_THAT(error_text<FormatError>([] { TextCodec::load("attune subwords\nrubbish", "best.h5"); }),
             StartsWith("best.h5: not a SentencePiece model"));
  CHECK_THAT(error_text<FormatError>([&] { TextCodec::load(codec->bytes().substr(0, 700), "best.h5"); }),
             StartsWith("best.h5: "));
  CHECK_THAT(error_text<FormatError>([] { TextCodec::load("attune words 0 0\n<pad>\n<unk>\na\n", "best.h5"); }),
             StartsWith("best.h5: vocabulary: expected the tokens <bos> and <eos>"));
  CHECK_THAT(error_text<FormatError>([] { TextCodec::load("attune words", "best.h5"); }), StartsWith("best.h5: "));
  CHECK(error_text<ValueError>([] { train_codec({}); }) ==
        "codec: no text to learn from, expected at least one sentence");
  CHECK(error_text<ValueError>([] {
          train_codec({Sentences{"", " "}});
        }) == "codec: no text to learn from, expected at least one sentence");
  CHECK(error_text<FormatError>([] {
          train_codec({Sentences{"a", "\xff"}});
        }) == "codec: sentence 2: byte 1 ('\\xff') is not valid UTF-8, expected UTF-8 text");
  CHECK(error_text<ValueError>([] { train_codec({Sentences{"a"}}, {.size = 4}); }) ==
        "codec: size is 4, expected more than the 4 special tokens and less than 2^24");
  for (CodecKind kind : {CodecKind::kBpe, CodecKind::kUnigram}) {
    CHECK_THAT(error_text<ValueError>([&] { train_codec({corpus().source}, {.kind = kind, .size = 100000}); }),
               StartsWith("codec: SentencePiece cannot make 100000 pieces of this text: "));
    CHECK_THAT(error_text<ValueError>([&] { train_codec({corpus().source}, {.kind = kind, .size = 10}); }),
               StartsWith("codec: SentencePiece cannot make 10 pieces of this text: "));
  }
  CHECK(error_text<ValueError>([] { train_codec({Sentences{"a"}}, {.character_coverage = 0}); }) ==
        "codec: character_coverage is 0, expected 0.98 to 1");
  // What SentencePiece would end the process for.
  for (CodecKind kind : {CodecKind::kBpe, CodecKind::kUnigram}) {
    CHECK(error_text<ValueError>([&] {
            train_codec({Sentences{"\u2581 \u2581", "a \u2585"}}, {.kind = kind});
          }) == "codec: no text to learn pieces from, expected at least one sentence");
  }
}

TEST_CASE("text codec: words and lines of any length teach", "[datasets][translation]") {
  const CodecKind kind = GENERATE(CodecKind::kBpe, CodecKind::kUnigram);
  // Letters in an order of their own, so that a word is no repetition.
  const auto word_of = [](size_t characters, const char* letters, size_t bytes) {
    std::string word;
    uint32_t state = 1;
    for (size_t i = 0; i < characters; ++i) {
      state = state * 1664525 + 1013904223;
      word.append(letters + bytes * (state >> 30), bytes);
    }
    return word;
  };
  for (const size_t length : {7999, 32768, 70000}) {
    INFO(length);
    const Sentences sentences = {"the dog", "the " + word_of(length, "\u00E9\u00F6\u00FC\u00DF", 2) + " man"};
    const auto codec = train_codec({sentences}, {.kind = kind, .size = 40});
    CHECK(codec->size() == 40);
    const Ids ids = codec->encode(sentences.back());
    CHECK(std::count(ids.begin(), ids.end(), TextCodec::kUnknown) == 0);
    CHECK(codec->decode(ids) == sentences.back());
  }
  // One letter, again and again.
  const Sentences repeated = {std::string(200000, 'a') + " b"};
  CHECK(train_codec({repeated}, {.kind = kind, .size = 8})->size() == 8);
  // A line beyond SentencePiece's limit: its letters are known afterwards.
  std::string line;
  while (line.size() <= 1008000) line += "\u043C\u0438\u0440 ";
  const auto codec = train_codec({corpus().source, Sentences{line}}, {.kind = kind, .size = 120});
  const Ids ids = codec->encode("\u043C\u0438\u0440");
  CHECK(std::count(ids.begin(), ids.end(), TextCodec::kUnknown) == 0);
  CHECK(train_codec({Sentences{line}}, {.kind = kind, .size = 8})->size() == 8);
}

/// A field of a protocol buffer: number and bytes.
std::string field_of(int number, const std::string& bytes) {
  std::string field(1, static_cast<char>(number << 3 | 2));
  size_t size = bytes.size();
  for (; size >= 0x80; size >>= 7) field += static_cast<char>((size & 0x7F) | 0x80);
  return field + static_cast<char>(size) + bytes;
}

TEST_CASE("text codec: models that are not ours are refused", "[datasets][translation]") {
  const CodecKind kind = GENERATE(CodecKind::kBpe, CodecKind::kUnigram);
  const std::string bytes = train_codec({corpus().source}, {.kind = kind, .size = 80})->bytes();
  const auto error_with = [&](const std::string& more) {
    return error_text<FormatError>([&] { TextCodec::load(bytes + more, "best.h5"); });
  };
  // Messages of protocol buffers that are given twice are put together, so that these change the model.
  std::string table(4, '\0');
  table[0] = 8;  // bytes of a trie, which leads outside
  table +=
      "\xFF\xFF\xFF\x7F\xFF\xFF\xFF\x7F"
      "abc";
  const std::string rules =
      "best.h5: a SentencePiece model with rules of normalisation, which codecs of Attune do not have";
  CHECK(error_with(field_of(3, field_of(2, table))) == rules);
  CHECK(error_with(field_of(5, field_of(2, table))) == rules);
  CHECK(error_with(field_of(3, field_of(6, "a\tb"))) == rules);
  CHECK(error_with(field_of(3, std::string("\x28\0", 2))) ==
        "best.h5: a SentencePiece model that takes spaces otherwise than codecs of Attune do");
  CHECK(error_with(field_of(2, "\x18\x03")) == "best.h5: a SentencePiece model of another kind (model_type: 3)");
  CHECK(error_with(field_of(2, "\x98\x02\x01")) == "best.h5: a SentencePiece model of another kind (byte_fallback: 1)");
  CHECK(error_with(field_of(2, "\xE2\x02\x04\x1B[2J")) ==
        "best.h5: a SentencePiece model of another kind (unk_surface: '\\x1b[2J')");
  CHECK(error_with(field_of(4, "")) == "best.h5: not a SentencePiece model of Attune (field 4)");
  CHECK(error_with("\x12") == "best.h5: not a SentencePiece model (damaged)");
  CHECK(error_with(field_of(1, "")) == "best.h5: piece 80 of the SentencePiece model is '', expected UTF-8 text");
  CHECK(error_with(field_of(1, field_of(1, "\xFF"))) ==
        "best.h5: piece 80 of the SentencePiece model is '\\xff', expected UTF-8 text");
  CHECK(error_with(field_of(1, field_of(1, "<bos>"))) ==
        "best.h5: piece 80 of the SentencePiece model, '<bos>', is there twice");
  CHECK(error_with(field_of(1, field_of(1, "new") + std::string("\x15\0\0\xC0\x7F", 5))) ==
        "best.h5: piece 80 of the SentencePiece model has the score nan");
  CHECK(error_with(field_of(1, field_of(1, "new") + "\x18\x04")) ==
        "best.h5: piece 80 of the SentencePiece model is of type 4, expected 1");
  CHECK(error_text<FormatError>([] { TextCodec::load("attune subwords\n", "best.h5"); }) ==
        "best.h5: a SentencePiece model with 0 pieces, expected more than the 4 special ones");

  // Damaged anywhere: a codec that can be used, or an error.
  RandomStream random(7);
  int codecs = 0, errors = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = bytes;
    for (uint64_t n = 1 + random.below(3); n > 0; --n) {
      const size_t at = 16 + random.below(bytes.size() - 16);
      if (random.below(2) == 0) {
        damaged[at] = static_cast<char>(random.below(256));
      } else {
        damaged.insert(at, bytes.substr(16 + random.below(bytes.size() - 40), random.below(24)));
      }
    }
    try {
      const auto codec = TextCodec::load(damaged, "best.h5");
      const Ids ids = codec->encode("the \u00E9 man <unk> sees \u2581 a dog .");
      codec->decode(ids);
      ++codecs;
    } catch (const FormatError&) {
      ++errors;
    }
  }
  CHECK(codecs > 30);
  CHECK(errors > 300);
}

TEST_CASE("text codec: tokens are words, not commands to a terminal", "[datasets][translation]") {
  CHECK(error_text<FormatError>([] {
          TextCodec::load("attune words 0 0\n<pad>\n<unk>\n<bos>\n<eos>\nred\n\x1B[31m\n", "best.h5");
        }) == "best.h5: vocabulary: token 5, '\\x1b[31m', has a space or a control character, expected a word");
}

TEST_CASE("pairs as numbers: bounds, counts, unknown tokens", "[datasets][translation]") {
  const ParallelCorpus small{.source = {"a b c", "a", "a x b"},
                             .target = {"x", "x y z w", "y q"},
                             .lines = {1, 2, 4},
                             .source_path = "t.en",
                             .target_path = "t.es"};
  const auto source = train_codec({Sentences{"a b c"}}, {.kind = CodecKind::kWords});
  const auto target = train_codec({Sentences{"x y z w"}}, {.kind = CodecKind::kWords});
  const EncodedPairs all = encode_pairs(small, *source, *target);
  REQUIRE(all.pairs.size() == 3);
  CHECK(all.to_string() == "3 pairs with 10 source and 13 target tokens (1 and 1 unknown), 0 overlong");
  const auto ids = [](std::span<const int64_t> tokens) { return Ids(tokens.begin(), tokens.end()); };
  CHECK(ids(all.pairs.source.tokens(2)) == Ids{source->encode("a")[0], 1, source->encode("b")[0], 3});
  CHECK(ids(all.pairs.target.tokens(0)) == Ids{2, target->encode("x")[0], 3});

  const EncodedPairs left = encode_pairs(small, *source, *target, {.max_length = 4});
  CHECK(left.numbers == std::vector<size_t>{0, 2});
  CHECK(left.overlong == 1);
  const EncodedPairs cut = encode_pairs(small, *source, *target, {.max_length = 3, .overlong = Overlong::kTruncate});
  CHECK(cut.numbers.size() == 3);
  CHECK(cut.overlong == 3);
  CHECK(ids(cut.pairs.source.tokens(0)) == Ids{source->encode("a")[0], source->encode("b")[0], 3});
  CHECK(cut.pairs.target.length(1) == 4);  // <bos>, two words, <eos>
  CHECK(error_text<FormatError>([&] {
          encode_pairs(small, *source, *target, {.max_length = 4, .overlong = Overlong::kError});
        }) == "t.en and t.es: line 2: 2 and 5 tokens, expected at most 4; shorten the sentences or allow truncation");
  CHECK(error_text<FormatError>([&] { encode_pairs(small, *source, *target, {.max_length = 2}); }) ==
        "t.en and t.es: all 3 pairs are longer than 2 tokens, expected some");
  CHECK(error_text<ValueError>([&] { encode_pairs(small, *source, *target, {.max_length = 1}); }) ==
        "encode_pairs: max_length is 1, expected 0 (no limit) or at least 2");
}

}  // namespace
}  // namespace attune
