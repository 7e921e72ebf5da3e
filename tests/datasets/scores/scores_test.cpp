// What the scores say of small cases, and their errors.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include <cmath>
#include <string>
#include <vector>

#include "datasets/scores/alignment.h"
#include "datasets/scores/bleu.h"
#include "datasets/scores/captions.h"
#include "datasets/scores/chrf.h"
#include "framework/error.h"
#include "tests/support/errors.h"
#include "tests/support/paths.h"

namespace attune {
namespace {

using Catch::Approx;
using testing::error_text;
using Json = nlohmann::json;
using Sentences = std::vector<std::string>;

TEST_CASE("BLEU: clipping, brevity and smoothing by hand", "[datasets][scores]") {
  // Papineni et al., 2002, example 2: "the" counts twice at most.
  const BleuScore the = corpus_bleu(Sentences{"the the the the the the the"},
                                    std::vector<Sentences>{{"the cat is on the mat"}, {"there is a cat on the mat"}});
  CHECK(the.matches == std::array<int64_t, 4>{2, 0, 0, 0});
  CHECK(the.totals == std::array<int64_t, 4>{7, 6, 5, 4});
  CHECK(the.precisions[0] == Approx(200.0 / 7));
  CHECK(the.precisions[1] == Approx(100.0 / (2 * 6)));
  CHECK(the.precisions[2] == Approx(100.0 / (4 * 5)));
  CHECK(the.reference_length == 7);
  const BleuScore brief = corpus_bleu(Sentences{"a b c d"}, std::vector<Sentences>{{"a b c d e f"}});
  CHECK(brief.brevity_penalty == Approx(std::exp(1 - 6.0 / 4)));
  CHECK(brief.score == Approx(100 * std::exp(-0.5)));
  // Too short for an order: nothing for a corpus, something for a sentence.
  CHECK(corpus_bleu(Sentences{"a b"}, std::vector<Sentences>{{"a b"}}).score == 0);
  CHECK(sentence_bleu("a b", Sentences{"a b"}).score == Approx(100));
  CHECK(bleu_tokens("It's 3.5%, &quot;ok&quot;.", {}) == "It's 3.5 % , \" ok \" .");
  CHECK(bleu_tokens("Ja–nein, 3.5€", {.tokenizer = BleuTokenizer::kInternational, .lower_case = true}) ==
        "ja – nein , 3.5 €");
}

TEST_CASE("BLEU on Moses' tokens in lower case", "[datasets][scores]") {
  const Sentences hypotheses = {"Ein Mann mit orangefarbenem Hut, der etwas anstarrt.",
                                "Leute reparieren das Dach eines Hauses."};
  const std::vector<Sentences> references = {
      {"ein Mann mit einem orangefarbenen Hut, der etwas anstarrt .", "Leute reparieren das Dach eines Hauses."}};
  const MosesTokenizer german({.language = "de"});
  const BleuScore bleu = tokenised_bleu(hypotheses, references, german);
  CHECK(bleu.score == Approx(74.9505).margin(1e-4));
  CHECK(bleu.to_string() == "BLEU = 74.95 94.1/86.7/76.9/63.6 (BP = 0.943 ratio = 0.944 hyp_len = 17 ref_len = 18)");
  // Not smoothed.
  CHECK(tokenised_bleu(Sentences{"a b c x d e"}, std::vector<Sentences>{{"a b c y d e"}}, german).score == 0);
}

TEST_CASE("translation scores: errors", "[datasets][scores]") {
  const auto bleu = [](const Sentences& hypotheses, const std::vector<Sentences>& references) {
    return error_text<ValueError>([&] { corpus_bleu(hypotheses, references); });
  };
  CHECK(bleu({}, {{}}) == "BLEU: no hypotheses given, expected at least 1");
  CHECK(bleu({"a"}, {}) == "BLEU: no references given, expected at least 1 set");
  CHECK(bleu({"a", "b"}, {{"a", "b"}, {"a"}}) == "BLEU: 2 hypotheses but 1 references, expected as many");
  CHECK(error_text<FormatError>([] {
          corpus_bleu(Sentences{"a", "b\xff"}, std::vector<Sentences>{{"a", "b"}});
        }) == "BLEU: hypothesis 2: byte 2 ('\\xff') is not valid UTF-8, expected UTF-8 text");
  CHECK(error_text<FormatError>([] {
          sentence_chrf("a", Sentences{"a", "\x80"});
        }) == "chrF: reference 2: byte 1 ('\\x80') is not valid UTF-8, expected UTF-8 text");
  CHECK(error_text<ValueError>([] { sentence_bleu("a", {}); }) == "BLEU: no references given, expected at least 1");
  CHECK(error_text<FormatError>([] { bleu_tokens("\xff", {}); }) ==
        "BLEU: sentence 1: byte 1 ('\\xff') is not valid UTF-8, expected UTF-8 text");
  CHECK(error_text<ValueError>([] { sentence_chrf("a", Sentences{"a"}, {.character_order = 0}); }) ==
        "chrF: orders of 0 characters and 0 words and beta 2 given, expected at least one order above 0 and beta above "
        "0");
}

TEST_CASE("alignment error rate", "[datasets][scores]") {
  using Links = std::vector<AlignmentLink>;
  const Links sure = {{0, 0}, {1, 2}};
  const Links possible = {{2, 1}};
  AlignmentScore score;
  score.add(sure, possible, Links{{0, 0}, {2, 1}, {2, 2}, {2, 2}});
  // A = 3 links, S = 2; of A one is sure and two are possible.
  CHECK(score.error_rate() == Approx(1 - 3.0 / 5));
  CHECK(score.precision() == Approx(2.0 / 3));
  CHECK(score.recall() == Approx(1.0 / 2));
  score.add(sure, sure);
  CHECK(score.error_rate() == Approx(1 - 7.0 / 9));
  AlignmentScore perfect;
  perfect.add(sure, possible, sure);
  CHECK(perfect.error_rate() == 0);
  CHECK(AlignmentScore().error_rate() == 0);
  AlignmentScore none;
  none.add(sure, Links{});
  CHECK(none.error_rate() == 1);
}

TEST_CASE("attention weights stand for word alignments", "[datasets][scores]") {
  using Links = std::vector<AlignmentLink>;
  // Target words: 0, 1 (two tokens), </s>; source words: 0 (two tokens), 1, </s>.
  const Tensor weights = Tensor::from<float>({0.1F, 0.1F, 0.3F, 0.5F,  //
                                              0.3F, 0.3F, 0.4F, 0.0F,  //
                                              0.0F, 0.1F, 0.6F, 0.3F,  //
                                              0.9F, 0.1F, 0.0F, 0.0F},
                                             {4, 4});
  CHECK(links_of(weights, std::vector<int64_t>{0, 1, 1, -1}, std::vector<int64_t>{0, 0, 1, -1}) ==
        Links{{0, 1}, {1, 1}});
  CHECK(links_of(weights, std::vector<int64_t>{0, 1, 2, 3}, std::vector<int64_t>{0, 1, 2, 3}) ==
        Links{{0, 3}, {1, 2}, {2, 2}, {3, 0}});
  // Who looks at nothing is linked to nothing.
  CHECK(links_of(Tensor::zeros({1, 2}), std::vector<int64_t>{0}, std::vector<int64_t>{0, 1}).empty());
  CHECK(links_of(Tensor::zeros({1, 1}), std::vector<int64_t>{-1}, std::vector<int64_t>{-1}).empty());
  CHECK(error_text<ShapeError>([&] {
          links_of(weights, std::vector<int64_t>{0}, std::vector<int64_t>{0, 1, 2, 3});
        }) == "links_of: weights are [4, 4], expected [1, 4] for the words of the tokens");
}

CaptionTokens words(const std::string& text) {
  CaptionTokens tokens;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    tokens.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return tokens;
}

TEST_CASE("caption scores are coco-caption's", "[datasets][scores]") {
  const Json cases = Json::parse(testing::read_bytes(ATTUNE_SOURCE_DIR "/tests/datasets/scores/coco_caption.json"));
  REQUIRE(cases.size() == 4);
  for (const Json& given : cases) {
    std::vector<CaptionTokens> hypotheses;
    std::vector<std::vector<CaptionTokens>> references;
    for (const std::string text : given["hypotheses"]) hypotheses.push_back(words(text));
    for (const Json& of_caption : given["references"]) {
      references.emplace_back();
      for (const std::string text : of_caption) references.back().push_back(words(text));
    }
    const auto bleu = caption_bleu(hypotheses, references);
    for (size_t n = 0; n < 4; ++n) CHECK(bleu[n] == Approx(given["bleu"][n].get<double>()).epsilon(1e-9));
    CHECK(rouge_l(hypotheses, references) == Approx(given["rouge_l"].get<double>()).epsilon(1e-9));
    CHECK(cider_d(hypotheses, references) == Approx(given["cider_d"].get<double>()).epsilon(1e-9).margin(1e-12));
  }
}

TEST_CASE("caption tokens: lower case, without punctuation", "[datasets][scores]") {
  CHECK(caption_tokens("Two dogs -- a \"Lab\" and a (small) puppy -- don't stop!") ==
        words("two dogs a lab and a small puppy do n't stop"));
  CHECK(caption_tokens("  ").empty());
}

TEST_CASE("caption scores: errors", "[datasets][scores]") {
  CHECK(error_text<ValueError>([] { cider_d({}, {}); }) == "cider_d: no hypotheses given, expected at least 1");
  const std::vector<CaptionTokens> two = {{"a"}, {"b"}};
  CHECK(error_text<ValueError>([&] { rouge_l(two, std::vector<std::vector<CaptionTokens>>{{{"a"}}}); }) ==
        "rouge_l: 2 hypotheses but 1 lists of references, expected as many");
  CHECK(error_text<ValueError>([&] {
          caption_bleu(two, std::vector<std::vector<CaptionTokens>>{{{"a"}}, {}});
        }) == "caption_bleu: hypothesis 2 has no references, expected at least 1");
}

}  // namespace
}  // namespace attune
