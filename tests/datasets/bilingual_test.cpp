#include "datasets/bilingual.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "datasets/utf8.h"
#include "framework/error.h"
#include "tests/support/errors.h"

namespace attune {
namespace {

using Words = std::vector<std::string_view>;

/// Source and target words that `links` connect, as "man-hombre".
std::vector<std::string> pairs_of(const BilingualPair& pair, const std::vector<AlignmentLink>& links) {
  const Words source = utf8::split(pair.source);
  const Words target = utf8::split(pair.target);
  std::vector<std::string> words;
  for (const AlignmentLink& link : links) {
    words.push_back(std::string(source[static_cast<size_t>(link.source)]) + "-" +
                    std::string(target[static_cast<size_t>(link.target)]));
  }
  return words;
}

TEST_CASE("bilingual grammar: the same on every machine, splits apart, one translation",
          "[datasets][translation][release]") {
  const auto train = generate_bilingual({.count = 8000});
  REQUIRE(train.size() == 8000);
  CHECK(train[0].source == "the kings 's elegant kings were yellow .");
  CHECK(train[0].target == "los reyes elegantes de los reyes eran amarillos .");
  const auto prefix = generate_bilingual({.count = 100});
  for (size_t i = 0; i < prefix.size(); ++i) {
    CHECK(prefix[i].source == train[i].source);
    CHECK(prefix[i].sure == train[i].sure);
  }
  CHECK(generate_bilingual({.count = 1, .seed = 1})[0].source != train[0].source);

  std::map<std::string, std::string> translation;
  std::map<std::string, BilingualSplit> split;
  std::set<std::string> source_words;
  std::set<std::string> target_words;
  int64_t tokens = 0;
  for (BilingualSplit part : {BilingualSplit::kTrain, BilingualSplit::kVal, BilingualSplit::kTest}) {
    for (const BilingualPair& pair : generate_bilingual({.count = 3000, .seed = 5, .split = part})) {
      const auto known = translation.emplace(pair.source, pair.target).first;
      if (known->second != pair.target) FAIL(pair.source << ": " << known->second << " and " << pair.target);
      if (split.emplace(pair.source, part).first->second != part) FAIL(pair.source << " is in two splits");
      for (std::string_view word : utf8::split(pair.source)) source_words.emplace(word);
      for (std::string_view word : utf8::split(pair.target)) target_words.emplace(word);
      const auto length = static_cast<int64_t>(utf8::split(pair.source).size());
      tokens += length;
      if (length < 3 || length > 20) FAIL(pair.source);
    }
  }
  CHECK(translation.size() > 8500);  // hardly any twice
  CHECK(source_words.size() > 200);
  CHECK(target_words.size() > 300);
  CHECK(tokens > 7 * 9000);
  CHECK(testing::error_text<ValueError>([] { generate_bilingual({.count = -1}); }) ==
        "bilingual: count is -1, expected 0 or more");
}

TEST_CASE("bilingual grammar: as a corpus", "[datasets][translation]") {
  const auto pairs = generate_bilingual({.count = 3});
  const ParallelCorpus corpus = to_corpus(pairs, "embedded train");
  REQUIRE(corpus.size() == 3);
  CHECK(corpus.source[2] == pairs[2].source);
  CHECK(corpus.target[2] == pairs[2].target);
  CHECK(corpus.origin(2) == "embedded train.en and embedded train.es: line 3");
}

TEST_CASE("bilingual grammar: known alignments", "[datasets][translation]") {
  std::map<std::string, std::set<std::string>> meanings;
  int64_t reordered = 0;
  for (const BilingualPair& pair : generate_bilingual({.count = 3000})) {
    const auto sources = static_cast<int64_t>(utf8::split(pair.source).size());
    const auto targets = static_cast<int64_t>(utf8::split(pair.target).size());
    std::set<int64_t> linked_sources;
    for (const auto& links : {pair.sure, pair.possible}) {
      for (const AlignmentLink& link : links) {
        if (link.source < 0 || link.source >= sources || link.target < 0 || link.target >= targets) FAIL(pair.source);
        linked_sources.insert(link.source);
      }
    }
    // Every English word belongs to something.
    if (static_cast<int64_t>(linked_sources.size()) != sources) FAIL(pair.source << " | " << pair.target);
    std::vector<AlignmentLink> by_target = pair.sure;
    std::sort(by_target.begin(), by_target.end());
    reordered += !std::is_sorted(by_target.begin(), by_target.end(),
                                 [](const AlignmentLink& a, const AlignmentLink& b) { return a.source < b.source; });
    for (const std::string& words : pairs_of(pair, pair.sure)) {
      meanings[words.substr(0, words.find('-'))].insert(words.substr(words.find('-') + 1));
    }
  }
  CHECK(reordered > 1500);
  using Set = std::set<std::string>;
  CHECK(meanings["red"] == Set{"rojo", "roja", "rojos", "rojas"});
  CHECK(meanings["house"] == Set{"casa"});
  CHECK(meanings["not"] == Set{"no"});
  CHECK(meanings["'s"] == Set{"de", "del"});
  CHECK(meanings["the"] == Set{"el", "la", "los", "las", "al", "del"});
  CHECK(meanings["them"] == Set{"los"});
  CHECK(meanings["sleeps"] == Set{"duerme"});
  CHECK(meanings["is"] == Set{"es", "está"});
  CHECK(meanings["i"].empty());  // dropped
  CHECK(meanings["she"] == Set{"ella"});
}

TEST_CASE("bilingual grammar: agreement, order and contractions", "[datasets][translation]") {
  bool clitic = false, question = false, personal = false, contracted = false, an = false;
  for (const BilingualPair& pair : generate_bilingual({.count = 5000})) {
    const std::string spanish = " " + pair.target + " ";
    const std::string english = " " + pair.source + " ";
    for (const char* wrong : {" a el ", " de el ", " la hombre", " el mujer", " los casas", " casa rojo",
                              " coches roja", " un mujer", "muchos flores"}) {
      if (spanish.find(wrong) != std::string::npos) FAIL(pair.target);
    }
    for (const char* wrong : {" a elegant", " a old", " a apple", " a umbrella", " an car", " he sleep .", " i is "}) {
      if (english.find(wrong) != std::string::npos) FAIL(pair.source);
    }
    clitic |= spanish.find(" nos ve ") != std::string::npos && english.find(" sees us ") != std::string::npos;
    question |= spanish.starts_with(" ¿ ") && pair.source.ends_with("?");
    personal |= spanish.find(" a la mujer ") != std::string::npos;
    contracted |= spanish.find(" del ") != std::string::npos && spanish.find(" al ") != std::string::npos;
    an |= english.find(" an old ") != std::string::npos;
  }
  CHECK(clitic);
  CHECK(question);
  CHECK(personal);
  CHECK(contracted);
  CHECK(an);
}

}  // namespace
}  // namespace attune
