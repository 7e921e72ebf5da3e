#include "datasets/reviews.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "datasets/reviews_grammar.h"
#include "datasets/tokenizer.h"
#include "datasets/vocabulary.h"
#include "framework/error.h"
#include "framework/random.h"
#include "tests/support/errors.h"

namespace attune {
namespace {

using Phrases = std::vector<std::string>;

Phrases phrases_of(std::string_view bars) {
  Phrases phrases(1);
  for (char c : bars) {
    if (c == '|') {
      phrases.emplace_back();
    } else {
      phrases.back() += c;
    }
  }
  return phrases;
}

Phrases words_of(std::string_view symbol) {
  for (const reviews::Words& words : reviews::kWords) {
    if (words.symbol == symbol) return phrases_of(words.positive);
  }
  return {};
}

/// Reads a review from the left as a person would, knowing nothing of how it was made: drops what does not count, then
/// takes the first word of praise or blame and turns it around once for every negation before it.
class Reader {
 public:
  Reader() {
    for (const reviews::Words& words : reviews::kWords) {
      if (words.negative.empty()) continue;
      for (const std::string& phrase : phrases_of(words.positive)) polarity_[' ' + phrase + ' '] = true;
      for (const std::string& phrase : phrases_of(words.negative)) polarity_[' ' + phrase + ' '] = false;
    }
    for (std::string_view symbol : {"others", "other film"}) {
      for (const std::string& phrase : words_of(symbol)) foreign_.push_back(' ' + phrase + ' ');
    }
    foreign_.insert(foreign_.end(), {" i expected ", " where i expected ", " the trailer "});
  }

  bool is_positive(const std::string& review) const {
    std::string text = ' ' + review + ' ';
    replace(text, {" camera work "}, " part ");
    drop_what_is_compared(text);
    for (const std::string& phrase : foreign_) drop_foreign(text, phrase);
    for (std::string_view marker :
         {"although", "though", "even though", "while", "despite", "in spite of", "for all"}) {
      drop_conceded(text, ' ' + std::string(marker) + ' ');
    }
    replace(text, {" but also "}, " and ");
    replace(text,
            {" there is no doubt that ", " nobody can deny that ", " i can not deny that ", " no question , ",
             " nothing but ", " not only "},
            " ");
    replace(text,
            {" anything but ", " far from ", " by no means ", " hardly ", " neither ", " never ", " n't ", " no ",
             " nobody could say that ", " i doubt that ", " it is not true that ", " i refuse to believe that ",
             " could have been ", " might have been ", " would have been "},
            " not ");
    for (std::string_view turn : {" but ", " yet ", " still ", " however ", " nevertheless "}) {
      if (const size_t at = text.rfind(turn); at != std::string::npos) text.erase(0, at + turn.size() - 1);
    }
    const auto [at, positive] = first_polarity(text);
    if (at == std::string::npos) FAIL("no judgement in '" << text << "', read from: " << review);
    bool result = positive;
    for (size_t n = text.find(" not "); n < at; n = text.find(" not ", n + 1)) result = !result;
    return result;
  }

 private:
  struct Found {
    size_t at = std::string::npos;
    bool positive = false;
  };

  Found first_polarity(const std::string& text) const {
    Found first;
    for (const auto& [phrase, positive] : polarity_) {
      const size_t at = text.find(phrase);
      if (at < first.at) first = {at, positive};
    }
    return first;
  }

  static void replace(std::string& text, const Phrases& phrases, const std::string& by) {
    for (const std::string& phrase : phrases) {
      for (size_t at = text.find(phrase); at != std::string::npos; at = text.find(phrase, at + 1)) {
        text.replace(at, phrase.size(), by);
      }
    }
  }

  static void drop_what_is_compared(std::string& text) {
    for (std::string_view marker : {" rather than ", " , not "})
      text.erase(std::min(text.find(marker), text.size() - 1) + 1);
    if (const size_t than = text.find(" than "); than != std::string::npos) {
      text.erase(than + 1);
      replace(text, {" less "}, " not ");
    }
    if (const size_t much = text.find(" not so much "); much != std::string::npos) {
      text.erase(much, text.find(" as ", much) - much);
    }
  }

  // Another film, other people, what was expected: up to the comma, or to the end when judgement came before.
  void drop_foreign(std::string& text, const std::string& phrase) const {
    const size_t at = text.find(phrase);
    if (at == std::string::npos) return;
    if (first_polarity(text).at < at) {
      text.erase(at + 1);
      replace(text, {" , but "}, " , ");
    } else {
      const size_t end = std::min(text.find(" , ", at), text.find(" and got ", at));
      text.erase(at, end - at);
      replace(text, {" , but "}, " , ");
    }
  }

  // "although ... ," at the beginning, or "although ..." behind a judgement.
  void drop_conceded(std::string& text, const std::string& marker) const {
    const size_t at = text.find(marker);
    if (at == std::string::npos) return;
    if (first_polarity(text).at < at) {
      text.erase(at + 1);
    } else {
      const size_t judgement = at + first_polarity(text.substr(at)).at;
      text.erase(at, text.find(" , ", judgement) - at);
    }
  }

  std::map<std::string, bool> polarity_;
  Phrases foreign_;
};

TEST_CASE("reviews: the same options give the same reviews, a smaller count a prefix", "[datasets][reviews]") {
  const auto reviews = generate_reviews({.count = 500, .seed = 7});
  CHECK(reviews == generate_reviews({.count = 500, .seed = 7}));
  const auto fewer = generate_reviews({.count = 123, .seed = 7});
  CHECK(std::equal(fewer.begin(), fewer.end(), reviews.begin()));
  CHECK(reviews != generate_reviews({.count = 500, .seed = 8}));
  CHECK(generate_reviews({.count = 0}).empty());
  // Published results stay comparable only while the reviews of a seed do not change.
  CHECK(generate_reviews({.count = 2})[1] ==
        ClassificationExample{"the lead actor was more mediocre than terrific for the most part !", 0});
  CHECK(testing::error_text<ValueError>([] { generate_reviews({.count = -1}); }) ==
        "reviews: count is -1, expected 0 or more");
}

TEST_CASE("reviews: balanced, of moderate length, hardly ever twice, in few words", "[datasets][reviews][release]") {
  const auto reviews = generate_reviews({.count = 20000, .seed = 1});
  int64_t positive = 0;
  std::set<std::string> texts;
  std::set<std::string> words;
  for (const ClassificationExample& review : reviews) {
    positive += review.label;
    texts.insert(review.text);
    const std::vector<std::string> tokens = WordTokenizer({.split_punctuation = false})(review.text);
    CHECK((tokens.size() >= 5 && tokens.size() <= 30));
    words.insert(tokens.begin(), tokens.end());
  }
  CHECK(positive == 10000);
  CHECK(texts.size() > 19800);
  CHECK(words.size() > 300);
  CHECK(words.size() < 600);
  // What the tokenizer makes of them is what they are.
  for (size_t i = 0; i < 2000; ++i) {
    CHECK(WordTokenizer()(reviews[i].text) == WordTokenizer({.split_punctuation = false})(reviews[i].text));
  }
}

TEST_CASE("reviews: splits share no text, whatever the seeds", "[datasets][reviews][release]") {
  std::map<std::string, ReviewSplit> seen;
  for (ReviewSplit split : {ReviewSplit::kTrain, ReviewSplit::kDev, ReviewSplit::kTest}) {
    for (uint64_t seed : {1, 2}) {
      for (const ClassificationExample& review : generate_reviews({.count = 5000, .seed = seed, .split = split})) {
        if (seen.emplace(review.text, split).first->second != split) FAIL(review.text);
      }
    }
  }
}

TEST_CASE("reviews: the text alone tells the label", "[datasets][reviews][release]") {
  const Reader reader;
  std::map<std::string, int64_t> labels;
  for (ReviewSplit split : {ReviewSplit::kTrain, ReviewSplit::kDev}) {
    for (const ClassificationExample& review : generate_reviews({.count = 20000, .seed = 3, .split = split})) {
      if (labels.emplace(review.text, review.label).first->second != review.label) FAIL("both labels: " << review.text);
      if (reader.is_positive(review.text) != (review.label == 1)) {
        FAIL("label " << review.label << ", read otherwise: " << review.text);
      }
    }
  }
}

TEST_CASE("reviews: a bag of words does not get far", "[datasets][reviews][release]") {
  const auto train = generate_reviews({.count = 16000, .seed = 1});
  const auto dev = generate_reviews({.count = 2000, .seed = 1, .split = ReviewSplit::kDev});
  const WordTokenizer tokenizer;
  WordCounts counts;
  for (const ClassificationExample& review : train) counts.add(tokenizer(review.text));
  const Vocabulary vocabulary = counts.vocabulary();

  // Logistic regression on which words occur, by stochastic gradient descent with falling steps.
  std::vector<double> weights(static_cast<size_t>(vocabulary.size()));
  const auto score = [&](const std::vector<int64_t>& words) {
    double sum = 0;
    for (int64_t word : words) sum += weights[static_cast<size_t>(word)];
    return sum;
  };
  const auto accuracy = [&](const std::vector<ClassificationExample>& reviews) {
    int64_t right = 0;
    for (const ClassificationExample& review : reviews) {
      right += (score(vocabulary.encode(tokenizer(review.text))) > 0) == (review.label == 1) ? 1 : 0;
    }
    return static_cast<double>(right) / static_cast<double>(reviews.size());
  };
  std::vector<std::vector<int64_t>> encoded;
  for (const ClassificationExample& review : train) encoded.push_back(vocabulary.encode(tokenizer(review.text)));
  for (int epoch = 0; epoch < 8; ++epoch) {
    for (size_t i = 0; i < train.size(); ++i) {
      const double probability = 1 / (1 + std::exp(-score(encoded[i])));
      const double step = 0.05 / (1 + epoch) * (static_cast<double>(train[i].label) - probability);
      for (int64_t word : encoded[i]) weights[static_cast<size_t>(word)] += step;
    }
  }
  // It learns what there is to learn from single words, and that is little.
  CHECK(accuracy(train) > 0.55);
  CHECK(accuracy(train) < 0.75);
  CHECK(accuracy(dev) < 0.75);
}

}  // namespace
}  // namespace attune
