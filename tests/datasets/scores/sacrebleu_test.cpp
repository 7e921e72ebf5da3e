// BLEU and chrF against sacreBLEU: stored figures, and fresh ones where Python can import it.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "datasets/scores/bleu.h"
#include "datasets/scores/chrf.h"
#include "datasets/utf8.h"
#include "framework/random.h"
#include "tests/support/paths.h"

namespace attune {
namespace {

using Json = nlohmann::json;
using Sentences = std::vector<std::string>;

constexpr const char* kFolder = ATTUNE_SOURCE_DIR "/tests/datasets/scores/";

struct Case {
  Sentences hypotheses;
  std::vector<Sentences> references;

  explicit Case(const Json& json) : hypotheses(json["hypotheses"]), references(json["references"]) {}

  Sentences references_of(size_t i) const {
    Sentences of_sentence;
    for (const Sentences& set : references) of_sentence.push_back(set[i]);
    return of_sentence;
  }
};

bool equal(double score, const Json& expected) { return std::abs(score - expected.get<double>()) < 1e-6; }

void check_bleu(const Case& given, const BleuOptions& options, const Json& expected, const Json& tokens) {
  const BleuScore bleu = corpus_bleu(given.hypotheses, given.references, options);
  CHECK(equal(bleu.score, expected["score"]));
  CHECK(bleu.to_string() == expected["text"].get<std::string>());
  CHECK(bleu_signature(options, static_cast<int64_t>(given.references.size())) ==
        expected["signature"].get<std::string>());
  for (size_t i = 0; i < given.hypotheses.size(); ++i) {
    INFO("sentence " << i << ": " << given.hypotheses[i]);
    CHECK(bleu_tokens(given.hypotheses[i], options) == tokens[i].get<std::string>());
    CHECK(equal(sentence_bleu(given.hypotheses[i], given.references_of(i), options).score, expected["sentences"][i]));
  }
}

void check_chrf(const Case& given, const ChrfOptions& options, const Json& expected) {
  CHECK(equal(corpus_chrf(given.hypotheses, given.references, options), expected["score"]));
  CHECK(chrf_signature(options, static_cast<int64_t>(given.references.size())) ==
        expected["signature"].get<std::string>());
  for (size_t i = 0; i < given.hypotheses.size(); ++i) {
    INFO("sentence " << i << ": " << given.hypotheses[i]);
    CHECK(equal(sentence_chrf(given.hypotheses[i], given.references_of(i), options), expected["sentences"][i]));
  }
}

/// All scores of all cases.
void check_all(const Json& cases) {
  for (size_t c = 0; c < cases.size(); ++c) {
    INFO("case " << c);
    const Case given(cases[c]);
    const Json& scores = cases[c]["scores"];
    for (bool lower_case : {false, true}) {
      const std::pair<BleuTokenizer, std::string> tokenizers[] = {
          {BleuTokenizer::k13a, "13a"}, {BleuTokenizer::kInternational, "intl"}, {BleuTokenizer::kNone, "none"}};
      for (const auto& [tokenizer, name] : tokenizers) {
        const std::string key = name + (lower_case ? " lc" : " mixed");
        INFO("BLEU " << key);
        check_bleu(given, {.tokenizer = tokenizer, .lower_case = lower_case}, scores["bleu"][key],
                   scores["tokens"][key]);
      }
      for (int word_order : {0, 2}) {
        for (bool white_space : {false, true}) {
          const std::string key = Json{word_order, lower_case ? 1 : 0, white_space ? 1 : 0}.dump();
          std::string spaced;
          for (char letter : key) spaced += letter == ',' ? ", " : std::string(1, letter);
          INFO("chrF " << spaced);
          check_chrf(given, {.word_order = word_order, .lower_case = lower_case, .white_space = white_space},
                     scores["chrf"][spaced]);
        }
      }
    }
  }
}

TEST_CASE("BLEU and chrF are sacreBLEU's: stored figures", "[datasets][scores]") {
  const Json stored = Json::parse(testing::read_bytes(std::string(kFolder) + "sacrebleu.json"));
  REQUIRE(stored["cases"].size() > 10);
  check_all(stored["cases"]);
}

/// A text of pieces that tokenizers stumble over.
std::string random_text(RandomStream& random) {
  static const Sentences kPieces = {
      "the",     "Haus",   "läuft",    "isn't",     "U.S.", "3.14", "1,000", "10-15",        "co-op", "2019.", "...",
      "—",       "“so”",   "«x»",      "(a)",       "[b]",  "{c}",  "a/b",   "x=y",          "50%",   "$5",    "€",
      "£",       "&quot;", "&amp;lt;", "&lt;b&gt;", "&",    "#t",   "a_b",   "C++",          "漢字",  "。",    "，",
      "العربية", "١٢٣",    "½",        "²",         "Ⅷ",    "é",    "😀",     "\xE2\x80\x8B", "İ",     "ẞ",     "ＡＢ",
      "１",      "،",      "¿Qué?",    "5'",        "6\"",  ",5",   "5,",    ".5",           "5.",    "-",     "--",
      "~",       "^",      "`",        "|",         "\\",   "*",    "°",     "<skipped>",    "-\n",   "\n"};
  static const Sentences kJoints = {" ", " ", " ", "", "  ", "\t", "\xC2\xA0", "\xE3\x80\x80"};
  std::string text;
  for (uint64_t n = random.below(16); n > 0; --n) {
    text += kPieces[random.below(kPieces.size())] + kJoints[random.below(kJoints.size())];
  }
  return text;
}

/// A text much like another.
std::string variant_of(const std::string& text, RandomStream& random) {
  std::string variant;
  for (std::string_view word : utf8::split(text)) {
    if (random.below(8) == 0) continue;
    variant += random.below(8) == 0 ? random_text(random) : std::string(word);
    variant += ' ';
  }
  return variant;
}

TEST_CASE("BLEU and chrF are sacreBLEU's: random text", "[datasets][scores][python]") {
  const char* chosen = std::getenv("ATTUNE_PYTHON");
  std::string python;
  for (const std::string candidate : {chosen == nullptr ? "" : chosen, "python3", "/usr/bin/python3"}) {
    const bool there =
        !candidate.empty() && std::system(("'" + candidate + "' -c 'import sacrebleu' 2>/dev/null").c_str()) == 0;
    if (there && python.empty()) python = candidate;
  }
  if (python.empty()) SKIP("python3 cannot import sacrebleu; ATTUNE_PYTHON may name one that can");

  RandomStream random(20);
  Json cases = Json::array();
  for (int c = 0; c < 20; ++c) {
    Sentences hypotheses;
    std::vector<Sentences> references(1 + random.below(3));
    for (uint64_t n = 1 + random.below(6); n > 0; --n) {
      const std::string text = random_text(random);
      hypotheses.push_back(random.below(8) == 0 ? "" : text);
      for (Sentences& set : references) set.push_back(variant_of(text, random));
    }
    cases.push_back({{"hypotheses", hypotheses}, {"references", references}});
  }
  const testing::TemporaryDirectory directory;
  const std::string in = directory.write("cases.json", cases.dump());
  const std::string out = directory / "scores.json";
  REQUIRE(std::system(("'" + python + "' '" + kFolder + "sacrebleu_scores.py' <'" + in + "' >'" + out + "'").c_str()) ==
          0);
  check_all(Json::parse(testing::read_bytes(out))["cases"]);
}

}  // namespace
}  // namespace attune
