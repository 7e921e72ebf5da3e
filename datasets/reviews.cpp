#include "datasets/reviews.h"

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "datasets/hash.h"
#include "datasets/reviews_grammar.h"
#include "framework/fail.h"
#include "framework/random.h"

namespace attune {
namespace {

constexpr int64_t kFewestTokens = 5;
constexpr int64_t kMostTokens = 30;
constexpr int kRedraws = 4;

/// A run of words, or a symbol to expand.
struct Piece {
  std::string_view words;
  size_t symbol = 0;
  bool opposite = false;  // expanded with the opposite polarity
};

struct Choice {
  uint64_t weight_before = 0;  // sum of the weights of earlier choices
  std::vector<Piece> pieces;
};

struct Symbol {
  uint64_t weight = 0;
  std::vector<Choice> choices;             // of a symbol with rules
  std::vector<std::string_view> positive;  // of a symbol with words
  std::vector<std::string_view> negative;
};

std::vector<std::string_view> split_at_bars(std::string_view text) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t bar = std::min(text.find('|'), text.size());
    parts.push_back(text.substr(0, bar));
    text.remove_prefix(std::min(bar + 1, text.size()));
  }
  return parts;
}

/// The tables of reviews_grammar.h, with names resolved.
class Grammar {
 public:
  Grammar() {
    for (const reviews::Rule& rule : reviews::kRules) names_.emplace(rule.symbol, names_.size());
    for (const reviews::Words& words : reviews::kWords) names_.emplace(words.symbol, names_.size());
    symbols_.resize(names_.size());
    for (const reviews::Rule& rule : reviews::kRules) {
      Symbol& symbol = symbols_[find(rule.symbol)];
      symbol.choices.push_back({symbol.weight, parse(rule.text)});
      symbol.weight += static_cast<uint64_t>(rule.weight);
    }
    for (const reviews::Words& words : reviews::kWords) {
      Symbol& symbol = symbols_[find(words.symbol)];
      symbol.positive = split_at_bars(words.positive);
      symbol.negative = words.negative.empty() ? symbol.positive : split_at_bars(words.negative);
    }
  }

  size_t find(std::string_view name) const {
    const auto found = names_.find(name);
    require<FormatError>(found != names_.end(), "reviews: the grammar has no symbol <{}>", name);
    return found->second;
  }

  void expand(size_t symbol_number, bool positive, RandomStream& random, std::string& text) const {
    const Symbol& symbol = symbols_[symbol_number];
    if (symbol.choices.empty()) {
      const auto& words = positive ? symbol.positive : symbol.negative;
      size_t word = random.below(words.size());
      // Nobody says "not only silly but also silly": another draw for what stands there already.
      for (int i = 0; i < kRedraws && text.find(words[word]) != std::string::npos; ++i)
        word = random.below(words.size());
      append(words[word], text);
      return;
    }
    const uint64_t draw = random.below(symbol.weight);
    const auto chosen = std::find_if(symbol.choices.rbegin(), symbol.choices.rend(),
                                     [&](const Choice& choice) { return choice.weight_before <= draw; });
    for (const Piece& piece : chosen->pieces) {
      if (!piece.words.empty()) {
        append(piece.words, text);
      } else {
        expand(piece.symbol, positive != piece.opposite, random, text);
      }
    }
  }

 private:
  std::vector<Piece> parse(std::string_view text) const {
    std::vector<Piece> pieces;
    while (!text.empty()) {
      size_t end = std::min(text.find('<'), text.size());
      std::string_view words = text.substr(0, end);
      while (words.starts_with(' ')) words.remove_prefix(1);
      while (words.ends_with(' ')) words.remove_suffix(1);
      if (!words.empty()) pieces.push_back({words});
      text.remove_prefix(end);
      if (text.empty()) break;
      end = text.find('>');
      std::string_view name = text.substr(1, end - 1);
      const bool opposite = name.ends_with('-');
      if (opposite || name.ends_with('+')) name.remove_suffix(1);
      pieces.push_back({{}, find(name), opposite});
      text.remove_prefix(end + 1);
    }
    return pieces;
  }

  static void append(std::string_view words, std::string& text) {
    if (!text.empty()) {
      // The article before a vowel; "honest" is the only other word of the grammar that takes it.
      const bool article = text.ends_with(" a") || text == "a";
      if (article && (std::string_view("aeiou").find(words.front()) != std::string_view::npos || words == "honest")) {
        text += 'n';
      }
      text += ' ';
    }
    text += words;
  }

  std::map<std::string_view, size_t> names_;
  std::vector<Symbol> symbols_;
};

ReviewSplit review_split(std::string_view text) {
  const uint64_t tenth = stable_hash(text) % 10;
  return tenth < 8 ? ReviewSplit::kTrain : tenth == 8 ? ReviewSplit::kDev : ReviewSplit::kTest;
}

}  // namespace

std::vector<ClassificationExample> generate_reviews(const ReviewOptions& options) {
  require<ValueError>(options.count >= 0, "reviews: count is {}, expected 0 or more", options.count);
  static const Grammar grammar;
  static const size_t review = grammar.find("review");
  // Splits draw from far apart: the same seed must not try the same reviews for each of them.
  RandomStream random(RandomState{options.seed, static_cast<uint64_t>(options.split) << 60});
  std::vector<ClassificationExample> examples;
  examples.reserve(static_cast<size_t>(options.count));
  bool positive = false;
  while (static_cast<int64_t>(examples.size()) < options.count) {
    positive = examples.size() % 2 == 0 ? random.below(2) == 1 : !positive;
    std::string text;
    do {
      text.clear();
      grammar.expand(review, positive, random, text);
      text += random.below(8) == 0 ? " !" : " .";
      const auto tokens = 1 + std::count(text.begin(), text.end(), ' ');
      if (tokens < kFewestTokens || tokens > kMostTokens) text.clear();
    } while (text.empty() || review_split(text) != options.split);
    examples.push_back({std::move(text), positive ? 1 : 0});
  }
  return examples;
}

}  // namespace attune
