#include "datasets/vocabulary.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

#include "framework/error.h"
#include "tests/support/errors.h"

namespace attune {
namespace {

using testing::error_text;
using Words = std::vector<std::string>;
using Ids = std::vector<int64_t>;

WordCounts counts_of(const std::vector<Words>& texts) {
  WordCounts counts;
  for (const Words& text : texts) counts.add(text);
  return counts;
}

TEST_CASE("vocabulary: frequent words first, equal ones by their bytes", "[datasets][vocabulary]") {
  const WordCounts counts = counts_of({{"b", "a", "c", "b"}, {"é", "d", "a", "b", "<unk>", "<x>"}});
  CHECK(counts.vocabulary().tokens() == Words{"<pad>", "<unk>", "b", "a", "c", "d", "é"});
  CHECK(counts_of({{"é", "d", "a", "b"}, {"c", "b", "b", "a"}}).vocabulary().tokens() == counts.vocabulary().tokens());
  CHECK(counts.vocabulary({.min_count = 2}).tokens() == Words{"<pad>", "<unk>", "b", "a"});
  CHECK(counts.vocabulary({.max_size = 4, .specials = {"<cls>"}}).tokens() == Words{"<pad>", "<unk>", "<cls>", "b"});
  CHECK(counts.vocabulary({.max_size = 2}).size() == 2);
  CHECK(WordCounts().vocabulary().tokens() == Vocabulary().tokens());
}

TEST_CASE("vocabulary: words to numbers and back", "[datasets][vocabulary]") {
  const Vocabulary vocabulary({"<pad>", "<unk>", "<cls>", "good", "film"});
  CHECK(vocabulary.size() == 5);
  CHECK(vocabulary.id("good") == 3);
  CHECK(vocabulary.id("<cls>") == 2);
  CHECK(vocabulary.id("none") == Vocabulary::kUnknown);
  CHECK(vocabulary.contains("film"));
  CHECK_FALSE(vocabulary.contains("none"));
  // A text cannot forge special tokens.
  CHECK(vocabulary.encode(Words{"good", "<pad>", "none", "<cls>", "film"}) == Ids{3, 1, 1, 1, 4});
  CHECK(vocabulary.decode(Ids{2, 3, 1, 4, 0, 0}) == "<cls> good <unk> film");
  CHECK(Vocabulary(vocabulary.tokens()).encode(Words{"film"}) == Ids{4});
  const Vocabulary copy = vocabulary;
  CHECK(copy.token(4) == "film");
}

TEST_CASE("vocabulary: what cannot be one", "[datasets][vocabulary]") {
  const auto error_of = [](const Words& tokens) {
    return error_text<FormatError>([&] { Vocabulary vocabulary(tokens); });
  };
  CHECK(error_of({}) ==
        "vocabulary: expected the tokens <pad> and <unk> at 0 and 1, found 0 tokens that begin with ''");
  CHECK(error_of({"<unk>", "<pad>", "a"}) ==
        "vocabulary: expected the tokens <pad> and <unk> at 0 and 1, found 3 tokens that begin with '<unk>'");
  CHECK(error_of({"<pad>", "<unk>", "a", ""}) == "vocabulary: token 3 is empty, expected a word");
  CHECK(error_of({"<pad>", "<unk>", "a", "b", "a"}) == "vocabulary: token 'a' is there twice, at 2 and 4");

  const Vocabulary vocabulary;
  CHECK(error_text<ValueError>([&] { vocabulary.token(2); }) == "vocabulary: token 2 asked for, expected 0 to 1");
  CHECK(error_text<ValueError>([&] { vocabulary.decode(Ids{-1}); }) ==
        "vocabulary: token -1 asked for, expected 0 to 1");
  const auto options_error = [](const VocabularyOptions& options) {
    return error_text<ValueError>([&] { WordCounts().vocabulary(options); });
  };
  CHECK(options_error({.min_count = 0}) == "vocabulary: min_count is 0, expected at least 1");
  CHECK(options_error({.max_size = 2, .specials = {"<cls>"}}) ==
        "vocabulary: max_size is 2, expected 0 (no limit) or at least the 3 special tokens");
  CHECK(options_error({.max_size = -1}).starts_with("vocabulary: max_size is -1, expected 0"));
  CHECK(options_error({.specials = {"cls"}}) ==
        "vocabulary: special token 'cls' is not in angle brackets, expected <...>");
  CHECK(error_text<FormatError>([] { WordCounts().vocabulary({.specials = {"<pad>"}}); }) ==
        "vocabulary: token '<pad>' is there twice, at 0 and 2");
}

}  // namespace
}  // namespace attune
