#include "datasets/bpe_dropout.h"

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <string>
#include <vector>

#include "datasets/bilingual.h"
#include "datasets/parallel_corpus.h"
#include "framework/error.h"
#include "tests/support/errors.h"

namespace attune {
namespace {

using testing::error_text;
using Ids = std::vector<int64_t>;

const ParallelCorpus& corpus() {
  static const ParallelCorpus corpus = to_corpus(generate_bilingual({.count = 300}), "grammar");
  return corpus;
}

const TextCodec& codec() {
  static const std::unique_ptr<TextCodec> codec = train_codec({corpus().source, corpus().target}, {.size = 400});
  return *codec;
}

Ids read(const BpeDropout& dropout, const Ids& tokens, RandomStream& random) {
  Ids read;
  dropout(tokens, random, read);
  return read;
}

TEST_CASE("BPE-dropout: without dropout sentences are what SentencePiece makes of them", "[datasets][translation]") {
  const BpeDropout none(codec(), 0);
  RandomStream random(1);
  for (const std::vector<std::string>& sentences : {corpus().source, corpus().target}) {
    for (const std::string& sentence : sentences) {
      const Ids tokens = codec().encode(sentence);
      REQUIRE(read(none, tokens, random) == tokens);
    }
  }
}

TEST_CASE("BPE-dropout: pieces differ, sentences do not", "[datasets][translation]") {
  const BpeDropout some(codec(), 0.2), all(codec(), 1);
  RandomStream random(1);
  size_t plain = 0, dropped = 0;
  for (const std::string& sentence : corpus().source) {
    const Ids tokens = codec().encode(sentence);
    const Ids drawn = read(some, tokens, random);
    CHECK(codec().decode(drawn) == sentence);
    plain += tokens.size();
    dropped += drawn.size();
    // A mark for each space and one at the start, and the letters.
    CHECK(read(all, tokens, random).size() == sentence.size() + 1);
  }
  CHECK(dropped > plain + plain / 10);
  const Ids special = {TextCodec::kBegin, TextCodec::kUnknown, TextCodec::kPad, TextCodec::kEnd};
  CHECK(read(all, special, random) == special);
}

TEST_CASE("BPE-dropout: a merge is left out as often as asked for", "[datasets][translation]") {
  // Of three letters that one merge after the other makes a word: the first is left out with p, and then nothing else
  // can be merged; otherwise the second is.
  const std::vector<std::string> text(50, "ab");
  const auto small = train_codec({text}, {.size = 9});  // <pad> <unk> <bos> <eos>, the word, its half, three letters
  const Ids tokens = small->encode("ab");
  REQUIRE(tokens.size() == 1);
  constexpr double kP = 0.3;
  const BpeDropout dropout(*small, kP);
  RandomStream random(1);
  constexpr int kDraws = 20000;
  std::vector<double> count(4);
  for (int i = 0; i < kDraws; ++i) count[read(dropout, tokens, random).size()] += 1.0 / kDraws;
  const auto close = [](double share, double wanted) {
    return std::abs(share - wanted) < 4 * std::sqrt(wanted * (1 - wanted) / kDraws);
  };
  CHECK(close(count[3], kP));
  CHECK(close(count[2], (1 - kP) * kP));
  CHECK(close(count[1], (1 - kP) * (1 - kP)));
}

TEST_CASE("BPE-dropout: errors", "[datasets][translation]") {
  CHECK(error_text<ValueError>([] { BpeDropout(codec(), 1.5); }) ==
        "BpeDropout: the probability is 1.5, expected 0 to 1");
}

}  // namespace
}  // namespace attune
