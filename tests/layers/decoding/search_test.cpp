#include "layers/decoding/search.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "framework/error.h"
#include "tests/support/errors.h"

using namespace attune;
using namespace attune::testing;

namespace {

using Tokens = std::vector<int64_t>;
using Numbers = std::vector<double>;
using Lists = std::vector<std::vector<Hypothesis>>;

constexpr int64_t kPad = 0, kUnknown = 1, kBos = 2, kEos = 3, kWord = 4;  // words: 4 ... V - 1
const DecodingOptions kRules{.bos = kBos, .eos = kEos, .forbidden = {kPad, kUnknown}, .max_length = {4}};

Numbers log_softmax(const Numbers& x) {
  double total = 0;
  for (double value : x) total += std::exp(value);
  Numbers y = x;
  for (double& value : y) value -= std::log(total);
  return y;
}

/// What a toy model says after a prefix.
struct Toy {
  int64_t vocabulary = 7;
  int64_t positions = 0;  ///< of the source; 0: nothing is looked at
  DType dtype = DType::kFloat64;
  std::function<Numbers(int64_t source, const Tokens& prefix)> logits{};

  Numbers attention(int64_t source, const Tokens& prefix) const;
};

/// Numbers that depend on the source and all of the prefix.
Numbers hashed_normals(uint64_t seed, int64_t source, const Tokens& prefix, int64_t n, double spread) {
  for (const int64_t token : prefix) seed = seed * 1000003 + static_cast<uint64_t>(token) + 17;
  RandomStream stream(seed * 31 + static_cast<uint64_t>(source));
  Numbers x(static_cast<size_t>(n));
  for (double& value : x) value = spread * stream.normal();
  return x;
}

Numbers Toy::attention(int64_t source, const Tokens& prefix) const {
  Numbers weights = log_softmax(hashed_normals(99, source, prefix, positions, 2));
  for (double& weight : weights) weight = std::exp(weight);
  return weights;
}

Toy automaton(uint64_t seed, int64_t vocabulary = 7, double spread = 1) {
  return {.vocabulary = vocabulary, .logits = [=](int64_t source, const Tokens& prefix) {
            return hashed_normals(seed, source, prefix, vocabulary, spread);
          }};
}

/// The next token depends on the last one only.
Toy markov(const std::map<int64_t, Numbers>& table) {
  return {.vocabulary = std::ssize(table.begin()->second),
          .logits = [=](int64_t, const Tokens& prefix) { return table.at(prefix.empty() ? kBos : prefix.back()); }};
}

class ToyGeneration : public Generation {
 public:
  ToyGeneration(Toy toy, Tokens sources) : toy_(std::move(toy)), sources_(std::move(sources)) {
    prefixes_.resize(sources_.size());
  }

  int64_t batch() const override { return std::ssize(sources_); }
  int64_t vocabulary() const override { return toy_.vocabulary; }
  Tensor step(const Tensor& tokens) override {
    Numbers logits, weights;
    for (size_t b = 0; b < sources_.size(); ++b) {
      const int64_t token = tokens.data<int64_t>()[b];
      if (rows.empty()) {
        CHECK(token == kBos);
      } else {
        prefixes_[b].push_back(token);
      }
      const Numbers row = toy_.logits(sources_[b], prefixes_[b]);
      logits.insert(logits.end(), row.begin(), row.end());
      if (toy_.positions == 0) continue;
      const Numbers looked = toy_.attention(sources_[b], prefixes_[b]);
      weights.insert(weights.end(), looked.begin(), looked.end());
    }
    rows.push_back(batch());
    orders.push_back(sources_);
    if (toy_.positions > 0) attention_ = Tensor::from(weights, {batch(), toy_.positions});
    return Tensor::from(logits, {batch(), toy_.vocabulary}).to(toy_.dtype);
  }
  void select(const Tensor& chosen) override {
    Tokens sources;
    std::vector<Tokens> prefixes;
    for (const int64_t row : chosen.to_vector<int64_t>()) {
      sources.push_back(sources_.at(static_cast<size_t>(row)));
      prefixes.push_back(prefixes_.at(static_cast<size_t>(row)));
    }
    sources_ = std::move(sources);
    prefixes_ = std::move(prefixes);
  }
  Tensor attention() const override { return attention_; }

  Tokens rows;                 ///< of each step
  std::vector<Tokens> orders;  ///< the sources of the rows of each step

 private:
  Toy toy_;
  Tokens sources_;
  std::vector<Tokens> prefixes_;
  Tensor attention_;
};

Tokens range(int64_t n) {
  Tokens numbers(static_cast<size_t>(n));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

Lists beam_search_of(const Toy& toy, int64_t sources, const DecodingOptions& rules, const BeamOptions& beam = {}) {
  ToyGeneration generation(toy, range(sources));
  return beam_search(generation, rules, beam);
}

Lists sample_of(const Toy& toy, const Tokens& sources, const DecodingOptions& rules, const SamplingOptions& sampling,
                RandomStream& stream) {
  ToyGeneration generation(toy, sources);
  return sample(generation, rules, sampling, stream);
}

/// All sequences that a source has, best first, by the formulas of the headers and nothing else.
std::vector<Hypothesis> enumerate(const Toy& toy, int64_t source, int64_t limit, const BeamOptions& options) {
  std::vector<Hypothesis> all;
  const std::function<void(const Tokens&, double, Numbers)> extend = [&](const Tokens& prefix, double before,
                                                                         Numbers covered) {
    const Numbers p = log_softmax(toy.logits(source, prefix));
    if (toy.positions > 0) {
      const Numbers looked = toy.attention(source, prefix);
      for (size_t i = 0; i < looked.size(); ++i) covered[i] += looked[i];
    }
    const auto n = static_cast<double>(prefix.size() + 1);
    double lp = 1;
    if (options.length_penalty == LengthPenalty::kPower) lp = std::pow(n, options.alpha);
    if (options.length_penalty == LengthPenalty::kWu) lp = std::pow(5 + n, options.alpha) / std::pow(6, options.alpha);
    double cp = 0;
    for (size_t i = 0; i < covered.size(); ++i) {
      const bool real = options.source_lengths.empty() || static_cast<int64_t>(i) < options.source_lengths[0];
      if (real) cp += options.coverage_penalty * std::log(std::min(covered[i], 1.0));
    }
    for (int64_t token = kEos; token < toy.vocabulary; ++token) {
      const double total = before + p[static_cast<size_t>(token)];
      Tokens next = prefix;
      if (token == kEos) {
        all.push_back({next, total, total / lp + cp, true});
        continue;
      }
      next.push_back(token);
      if (std::ssize(next) == limit) {
        all.push_back({next, total, total / lp + cp, false});
      } else {
        extend(next, total, covered);
      }
    }
  };
  extend({}, 0, Numbers(static_cast<size_t>(toy.positions), 0.0));
  std::sort(all.begin(), all.end(), [](const Hypothesis& a, const Hypothesis& b) {
    return a.finished != b.finished ? a.finished : a.score > b.score;
  });
  return all;
}

bool same(const Hypothesis& a, const Hypothesis& b, double tolerance = 0) {
  return a.tokens == b.tokens && a.finished == b.finished && std::abs(a.score - b.score) <= tolerance &&
         std::abs(a.log_probability - b.log_probability) <= tolerance;
}

bool same(const Lists& a, const Lists& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end(),
                      [](const Hypothesis& one, const Hypothesis& other) { return same(one, other); });
  });
}

/// The most probable token again and again, without any of the library.
Hypothesis plain_greedy(const Toy& toy, int64_t source, int64_t limit) {
  Hypothesis result;
  while (!result.finished && std::ssize(result.tokens) < limit) {
    const Numbers p = log_softmax(toy.logits(source, result.tokens));
    const auto best = std::max_element(p.begin() + kEos, p.end()) - p.begin();
    result.log_probability += p[static_cast<size_t>(best)];
    result.finished = best == kEos;
    if (!result.finished) result.tokens.push_back(best);
  }
  result.score = result.log_probability;
  return result;
}

/// Source b ends after b words.
Toy counting(int64_t vocabulary = 7) {
  return {.vocabulary = vocabulary, .logits = [=](int64_t source, const Tokens& prefix) {
            Numbers x = hashed_normals(5, source, prefix, vocabulary, 0.1);
            x[kEos] = std::ssize(prefix) >= source ? 30 : -30;
            return x;
          }};
}

/// Pearson's statistic X^2 = sum (count - n p)^2 / (n p) as deviations from its mean; infinite where p = 0 occurs.
double chi_square_deviation(const std::map<int64_t, int64_t>& counts, const Numbers& p, int64_t n) {
  double statistic = 0, freedom = -1, variance = 0;
  for (size_t token = 0; token < p.size(); ++token) {
    const auto found = counts.find(static_cast<int64_t>(token));
    const double count = found == counts.end() ? 0 : static_cast<double>(found->second);
    const double mean = static_cast<double>(n) * p[token];
    if (p[token] == 0 && count > 0) return std::numeric_limits<double>::infinity();
    if (p[token] == 0) continue;
    statistic += (count - mean) * (count - mean) / mean;
    variance += 2 + 1 / mean;
    freedom += 1;
  }
  return std::abs(statistic - freedom) / std::sqrt(variance);
}

/// How often each token comes first.
std::map<int64_t, int64_t> first_tokens(const std::vector<Hypothesis>& samples) {
  std::map<int64_t, int64_t> counts;
  for (const Hypothesis& one : samples) ++counts[one.finished ? kEos : one.tokens.at(0)];
  return counts;
}

}  // namespace

TEST_CASE("a beam as wide as there are sequences finds the best of all", "[decoding]") {
  const std::vector<BeamOptions> penalties = {
      {.alpha = 0},
      {.length_penalty = LengthPenalty::kNone, .alpha = 3},
      {.length_penalty = LengthPenalty::kPower, .alpha = 1},
      {.length_penalty = LengthPenalty::kWu, .alpha = 0.6},
      {.alpha = 2, .coverage_penalty = 0.3},
      {.length_penalty = LengthPenalty::kPower, .alpha = 0.7, .coverage_penalty = 1, .source_lengths = {2}},
  };
  for (uint64_t seed = 0; seed < 4; ++seed) {
    Toy toy = automaton(seed);
    toy.positions = 3;
    for (BeamOptions beam : penalties) {
      beam.width = 130;
      for (const int64_t n_best : {1, 7, 130}) {
        for (const BeamEnd end : {BeamEnd::kWidth, BeamEnd::kBound}) {
          beam.n_best = n_best;
          beam.end = end;
          const std::vector<Hypothesis> expected = enumerate(toy, 0, 4, beam);
          const std::vector<Hypothesis> found = beam_search_of(toy, 1, kRules, beam).at(0);
          REQUIRE(std::ssize(found) == std::min(n_best, std::ssize(expected)));
          for (size_t i = 0; i < found.size(); ++i) CHECK(same(found[i], expected[i], 1e-12));
        }
      }
    }
  }
}

TEST_CASE("a beam of one is greedy search, whatever the penalties", "[decoding]") {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    const Toy toy = automaton(seed, 9, 2);
    DecodingOptions rules = kRules;
    rules.max_length = {9};
    ToyGeneration generation(toy, range(5));
    const Lists greedy = greedy_search(generation, rules);
    Lists one = beam_search_of(toy, 5, rules, {.width = 1, .length_penalty = LengthPenalty::kPower, .alpha = 1});
    REQUIRE(greedy.size() == 5);
    for (size_t b = 0; b < greedy.size(); ++b) {
      REQUIRE(greedy[b].size() == 1);
      CHECK(same(greedy[b][0], plain_greedy(toy, static_cast<int64_t>(b), 9), 1e-12));
      const auto written = static_cast<double>(one[b][0].tokens.size() + (one[b][0].finished ? 1 : 0));
      CHECK(std::abs(one[b][0].score - one[b][0].log_probability / written) < 1e-12);
      one[b][0].score = one[b][0].log_probability;
    }
    CHECK(same(greedy, one));
  }
}

TEST_CASE("n-best lists are ordered and hold no hypothesis twice", "[decoding]") {
  for (const BeamEnd end : {BeamEnd::kWidth, BeamEnd::kBound}) {
    DecodingOptions rules = kRules;
    rules.max_length = {12};
    const Lists lists = beam_search_of(automaton(3, 8), 6, rules, {.width = 4, .n_best = 4, .alpha = 1, .end = end});
    for (const std::vector<Hypothesis>& list : lists) {
      REQUIRE(list.size() == 4);
      std::set<std::pair<Tokens, bool>> distinct;
      for (size_t i = 0; i < list.size(); ++i) {
        distinct.emplace(list[i].tokens, list[i].finished);
        const bool falls = i == 0 || list[i - 1].finished > list[i].finished ||
                           (list[i - 1].finished == list[i].finished && list[i - 1].score >= list[i].score);
        CHECK(falls);
        for (const int64_t token : list[i].tokens) CHECK(token >= kWord);
      }
      CHECK(distinct.size() == 4);
    }
  }
}

TEST_CASE("sources of a batch do not meet", "[decoding]") {
  Toy toy = automaton(11, 30, 2);
  toy.positions = 4;
  DecodingOptions rules = kRules;
  rules.max_length = {3, 1, 8, 12, 5, 7};
  BeamOptions beam{
      .width = 4, .n_best = 3, .alpha = 0.8, .coverage_penalty = 0.2, .source_lengths = {4, 3, 2, 1, 4, 3}};
  const Lists together = beam_search_of(toy, 6, rules, beam);
  for (int64_t b = 0; b < 6; ++b) {
    ToyGeneration alone(toy, {b});
    DecodingOptions own_rules = rules;
    own_rules.max_length = {rules.max_length[static_cast<size_t>(b)]};
    BeamOptions own = beam;
    own.source_lengths = {beam.source_lengths[static_cast<size_t>(b)]};
    CHECK(same(beam_search(alone, own_rules, own), {together[static_cast<size_t>(b)]}));
  }
}

TEST_CASE("rows of what has ended are dropped, and those of a source are neighbours", "[decoding]") {
  DecodingOptions rules = kRules;
  rules.max_length = {20};
  ToyGeneration greedy(counting(), range(5));
  const Lists lists = greedy_search(greedy, rules);
  for (size_t b = 0; b < 5; ++b) CHECK(lists[b][0].tokens.size() == b);
  CHECK(greedy.rows == Tokens{5, 4, 3, 2, 1});

  ToyGeneration beam(counting(), range(5));
  beam_search(beam, rules, {.width = 3});
  CHECK(beam.rows == Tokens{5, 12, 9, 6, 3});
  for (const Tokens& order : beam.orders) CHECK(std::is_sorted(order.begin(), order.end()));

  RandomStream stream(1);
  ToyGeneration samples(counting(), range(3));
  sample(samples, rules, {.samples = 4}, stream);
  CHECK(samples.rows == Tokens{3, 8, 4});
}

TEST_CASE("a search goes on while something can still win, if asked to", "[decoding]") {
  // <eos> at once with 0.6; else a long chain of certainty, whose mean is better.
  Numbers begin(7, -1e9), chain(7, -1e9);
  begin[kEos] = std::log(0.6);
  begin[4] = std::log(0.4);
  chain[kEos] = std::log(0.1);
  chain[5] = std::log(0.9);
  const Toy toy = markov({{kBos, begin}, {4, chain}, {5, chain}});
  DecodingOptions rules = kRules;
  rules.max_length = {40};
  BeamOptions beam{.width = 1, .length_penalty = LengthPenalty::kPower, .alpha = 1};
  CHECK(beam_search_of(toy, 1, rules, beam)[0][0].tokens.empty());
  beam.end = BeamEnd::kBound;
  beam.width = 2;
  const Hypothesis best = beam_search_of(toy, 1, rules, beam)[0][0];
  REQUIRE(best.finished);
  CHECK(best.tokens.size() > 5);
  CHECK(best.score > std::log(0.6));

  // Without a length penalty nothing that has lost can win again: the chain is given up once it is below 0.6.
  beam.length_penalty = LengthPenalty::kNone;
  ToyGeneration generation(toy, {0});
  CHECK(beam_search(generation, rules, beam)[0][0].tokens.empty());
  CHECK(generation.rows == Tokens{1});
}

TEST_CASE("limits on the length", "[decoding]") {
  DecodingOptions rules = kRules;
  SECTION("what has not ended at the limit is returned and says so") {
    rules.max_length = {3};
    const Lists lists = beam_search_of(counting(), 10, rules, {.width = 3, .n_best = 3});
    for (const Hypothesis& one : lists[9]) {
      CHECK(one.tokens.size() == 3);
      CHECK_FALSE(one.finished);
    }
    rules.max_length = {1};
    ToyGeneration generation(counting(), range(2));
    const Lists greedy = greedy_search(generation, rules);
    CHECK(greedy[0][0].finished);
    CHECK(greedy[1][0].tokens.size() == 1);
    CHECK(generation.rows == Tokens{2});
  }
  SECTION("no <eos> before the least length") {
    rules.max_length = {8};
    rules.min_length = 3;
    const Lists lists = beam_search_of(counting(), 5, rules, {.width = 2});
    for (size_t b = 0; b < 5; ++b) CHECK(lists[b][0].tokens.size() == std::max<size_t>(b, 3));
    RandomStream stream(2);
    const Lists drawn = sample_of(counting(), {0}, rules, {.samples = 50}, stream);
    for (const Hypothesis& one : drawn[0]) {
      CHECK(one.tokens.size() == 3);
    }
  }
  SECTION("where nothing may follow, what there is remains") {
    rules.max_length = {8};
    rules.no_repeat_ngram = 1;
    rules.min_length = 8;
    const Lists lists = beam_search_of(automaton(1), 2, rules, {.width = 2, .n_best = 2});
    RandomStream stream(3);
    const Lists drawn = sample_of(automaton(1), {0, 1}, rules, {.samples = 2}, stream);
    for (const Lists& both : {lists, drawn}) {
      for (const std::vector<Hypothesis>& list : both) {
        REQUIRE(list.size() == 2);
        for (const Hypothesis& one : list) {
          CHECK(std::set<int64_t>(one.tokens.begin(), one.tokens.end()) == std::set<int64_t>{4, 5, 6});
          CHECK(one.tokens.size() == 3);
          CHECK_FALSE(one.finished);
        }
      }
    }
  }
}

TEST_CASE("no n-gram comes twice", "[decoding]") {
  DecodingOptions rules = kRules;
  rules.max_length = {30};
  Toy toy = automaton(4, 8, 3);
  const auto logits = toy.logits;
  toy.logits = [=](int64_t source, const Tokens& prefix) {
    Numbers x = logits(source, prefix.empty() ? prefix : Tokens{prefix.back()});  // goes in circles
    x[kEos] = -20;
    return x;
  };
  const auto repeats = [](const Tokens& tokens, int64_t n) {
    std::set<Tokens> seen;
    for (auto at = tokens.begin(); at + n <= tokens.end(); ++at) {
      if (!seen.insert(Tokens(at, at + n)).second) return true;
    }
    return false;
  };
  for (const int64_t n : {2, 3}) {
    CHECK(repeats(beam_search_of(toy, 1, rules, {.width = 2})[0][0].tokens, n));
    DecodingOptions once = rules;
    once.no_repeat_ngram = n;
    for (const auto& list : beam_search_of(toy, 3, once, {.width = 3, .n_best = 3})) {
      for (const Hypothesis& one : list) CHECK_FALSE(repeats(one.tokens, n));
    }
    RandomStream stream(8);
    const Lists drawn = sample_of(toy, {0}, once, {.samples = 5}, stream);
    for (const Hypothesis& one : drawn[0]) {
      CHECK_FALSE(repeats(one.tokens, n));
    }
  }
}

TEST_CASE("samples follow the distribution", "[decoding]") {
  const int64_t n = 4000;
  DecodingOptions rules = kRules;
  rules.max_length = {1};
  for (const int64_t vocabulary : {9, 700}) {  // more than are ranked at first
    const Toy toy = automaton(6, vocabulary, vocabulary > 9 ? 0.5 : 1.5);
    const Numbers logits = toy.logits(0, {});
    for (const SamplingOptions& options : std::vector<SamplingOptions>{{},
                                                                       {.temperature = 0.5},
                                                                       {.temperature = 3},
                                                                       {.top_k = 3},
                                                                       {.temperature = 2, .top_k = 5, .top_p = 0.6},
                                                                       {.top_p = 0.55},
                                                                       {.top_p = 1e-9}}) {
      // The distribution by its definition.
      std::vector<size_t> order;
      for (size_t token = kEos; token < logits.size(); ++token) order.push_back(token);
      std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
      if (options.top_k > 0) order.resize(static_cast<size_t>(options.top_k));
      const auto weight = [&](size_t token) { return std::exp(logits[token] / options.temperature); };
      double total = 0, kept = 0;
      for (const size_t token : order) total += weight(token);
      Numbers p(logits.size(), 0.0);
      for (const size_t token : order) {
        if (kept >= options.top_p * total) break;
        p[token] = weight(token);
        kept += p[token];
      }
      for (double& value : p) value /= kept;

      SamplingOptions many = options;
      many.samples = n;
      RandomStream stream(77);
      const std::vector<Hypothesis> drawn = sample_of(toy, {0}, rules, many, stream).at(0);
      REQUIRE(std::ssize(drawn) == n);
      CHECK(chi_square_deviation(first_tokens(drawn), p, n) < 4);
      const Numbers model = log_softmax(logits);
      for (const Hypothesis& one : drawn) {
        const auto token = static_cast<size_t>(one.finished ? kEos : one.tokens[0]);
        if (std::abs(one.log_probability - model[token]) > 1e-12 || one.score != one.log_probability) {
          FAIL("log probability of token " << token << " is " << one.log_probability);
        }
      }
    }
  }
}

TEST_CASE("samples are reproducible, and independent of the batch", "[decoding]") {
  const Toy toy = automaton(9, 40, 1);
  DecodingOptions rules = kRules;
  rules.max_length = {15};
  const SamplingOptions options{.samples = 3, .top_p = 0.95};
  RandomStream stream(4), again(4), singly(4), other(5);
  const Lists first = sample_of(toy, range(4), rules, options, stream);
  CHECK(same(first, sample_of(toy, range(4), rules, options, again)));
  CHECK_FALSE(same(first, sample_of(toy, range(4), rules, options, other)));
  CHECK_FALSE(same(first, sample_of(toy, range(4), rules, options, stream)));
  std::set<Tokens> distinct;
  for (int64_t b = 0; b < 4; ++b) {
    const auto& list = first[static_cast<size_t>(b)];
    CHECK(same(sample_of(toy, {b}, rules, options, singly), {list}));
    for (const Hypothesis& one : list) distinct.insert(one.tokens);
  }
  CHECK(distinct.size() > 6);
}

TEST_CASE("logits of any floating dtype, a batch of nothing", "[decoding]") {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    Toy toy = counting();
    toy.dtype = dtype;
    const Lists lists = beam_search_of(toy, 3, kRules, {.width = 2});
    for (size_t b = 0; b < 3; ++b) CHECK(lists[b][0].tokens.size() == b);
    RandomStream stream(1);
    CHECK(sample_of(toy, {2}, kRules, {}, stream)[0][0].tokens.size() == 2);
  }
  ToyGeneration nothing(automaton(1), {});
  RandomStream stream(1);
  CHECK(greedy_search(nothing, kRules).empty());
  CHECK(beam_search(nothing, kRules).empty());
  CHECK(sample(nothing, kRules, {}, stream).empty());
  CHECK(nothing.rows.empty());
}

TEST_CASE("a constant added to large logits changes no score", "[decoding][large_numbers]") {
  const auto sixteenths = [](double constant) {
    return Toy{.dtype = DType::kFloat32, .logits = [=](int64_t source, const Tokens& prefix) {
                 Numbers x = hashed_normals(8, source, prefix, 7, 1);
                 for (double& value : x) value = std::round(value * 16) / 16 + constant;
                 return x;
               }};
  };
  const Lists plain = beam_search_of(sixteenths(0), 2, kRules, {.width = 4, .n_best = 4});
  for (const double constant : {1e4, -1e4, 1e6}) {
    const Lists shifted = beam_search_of(sixteenths(constant), 2, kRules, {.width = 4, .n_best = 4});
    for (size_t source : {0, 1}) {
      REQUIRE(shifted[source].size() == plain[source].size());
      for (size_t i = 0; i < plain[source].size(); ++i) {
        CHECK(shifted[source][i].tokens == plain[source][i].tokens);
        CHECK(std::abs(shifted[source][i].log_probability - plain[source][i].log_probability) < 2e-6);
      }
    }
    RandomStream one(3), other(3);
    const Lists drawn = sample_of(sixteenths(0), {0, 1}, kRules, {.samples = 3}, one);
    const Lists again = sample_of(sixteenths(constant), {0, 1}, kRules, {.samples = 3}, other);
    for (size_t source : {0, 1}) {
      for (size_t i = 0; i < 3; ++i) {
        CHECK(again[source][i].tokens == drawn[source][i].tokens);
        CHECK(std::abs(again[source][i].log_probability - drawn[source][i].log_probability) < 2e-6);
      }
    }
  }
}

TEST_CASE("errors of a search name it and what is wrong", "[decoding][errors]") {
  const auto beam_error = [](const Toy& toy, const DecodingOptions& rules, const BeamOptions& beam) {
    return error_text<ValueError>([&] { beam_search_of(toy, 2, rules, beam); });
  };
  const auto rules_error = [&](const std::function<void(DecodingOptions&)>& spoil) {
    DecodingOptions rules = kRules;
    spoil(rules);
    return beam_error(automaton(1), rules, {});
  };
  CHECK(rules_error([](auto& rules) { rules.bos = 7; }) == "beam_search: bos is 7, expected a token, 0 to 6");
  CHECK(rules_error([](auto& rules) { rules.eos = -1; }) == "beam_search: eos is -1, expected a token, 0 to 6");
  CHECK(rules_error([](auto& rules) {
          rules.forbidden = {0, 9};
        }) == "beam_search: a forbidden token is 9, expected a token, 0 to 6");
  CHECK(rules_error([](auto& rules) { rules.forbidden = {3}; }) ==
        "beam_search: eos = 3 is forbidden; no sequence could end");
  CHECK(rules_error([](auto& rules) {
          rules.max_length = {1, 2, 3};
        }) == "beam_search: 3 maximum lengths for 2 sources, expected one for each, or one for all");
  CHECK(rules_error([](auto& rules) {
          rules.max_length = {4, 0};
        }) == "beam_search: a maximum length of 0, expected 1 or more");
  CHECK(rules_error([](auto& rules) { rules.min_length = -1; }) == "beam_search: min_length is -1, expected 0 or more");
  CHECK(rules_error([](auto& rules) { rules.no_repeat_ngram = -2; }) ==
        "beam_search: no_repeat_ngram is -2, expected 0 or more");
  CHECK(beam_error(automaton(1), kRules, {.width = 2, .n_best = 3}) ==
        "beam_search: the best 3 of 2 hypotheses asked for, expected 1 or more of as many at least");
  CHECK(beam_error(automaton(1), kRules, {.alpha = -1}) == "beam_search: alpha is -1, expected 0 or more");
  CHECK(beam_error(automaton(1), kRules, {.source_lengths = {1}}) == "beam_search: 1 source lengths for 2 sources");
  CHECK(beam_error(automaton(1), kRules, {.coverage_penalty = 0.5}) ==
        "beam_search: a coverage penalty of 0.5 needs attention, this generation has none; start it with "
        "GenerationOptions{.attention = true} or leave the penalty 0");
  Toy looking = automaton(1);
  looking.positions = 3;
  CHECK(beam_error(looking, kRules, {.coverage_penalty = 0.5, .source_lengths = {3, 4}}) ==
        "beam_search: a source of 4 positions, attention has 3");

  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Toy spoilt = counting();
    const auto logits = spoilt.logits;
    spoilt.logits = [=](int64_t source, const Tokens& prefix) {
      Numbers x = logits(source, prefix);
      if (source == 3 && prefix.size() == 2) x[5] = bad;
      return x;
    };
    const std::string what =
        ": the logits of step 3, row 1 hold NaN, +infinity or nothing but -infinity; the model's parameters or its "
        "input are not finite";
    ToyGeneration generation(spoilt, range(4));
    CHECK(error_text<ValueError>([&] { greedy_search(generation, kRules); }) == "greedy_search" + what);
    RandomStream stream(1);
    CHECK(error_text<ValueError>([&] { sample_of(spoilt, range(4), kRules, {}, stream); }) == "sample" + what);
  }
  Toy narrow = automaton(1, 6);
  narrow.vocabulary = 7;
  narrow.logits = [](int64_t, const Tokens&) { return Numbers(14, 0.0); };
  CHECK_THROWS(beam_search_of(narrow, 1, kRules));

  const auto sample_error = [](const SamplingOptions& options) {
    RandomStream stream(1);
    return error_text<ValueError>([&] { sample_of(automaton(1), {0}, kRules, options, stream); });
  };
  CHECK(sample_error({.samples = 0}) == "sample: 0 samples of a source, expected 1 or more");
  CHECK(sample_error({.temperature = 0}) ==
        "sample: temperature is 0, expected above 0; greedy_search is the limit at 0");
  CHECK(sample_error({.top_k = -1}) == "sample: top_k is -1, expected 0 or more");
  CHECK(sample_error({.top_p = 0}) == "sample: top_p is 0, expected above 0 and at most 1");
  CHECK(sample_error({.top_p = 1.5}) == "sample: top_p is 1.5, expected above 0 and at most 1");
}
