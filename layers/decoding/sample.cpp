#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "framework/fail.h"
#include "framework/math/index.h"
#include "framework/math/order.h"
#include "framework/math/reduce.h"
#include "layers/decoding/search.h"
#include "layers/decoding/stepper.h"

namespace attune {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();
constexpr int64_t kFewest = 64;  // tokens that are ranked at first
constexpr int64_t kMore = 8;     // times as many when they are not enough

/// x [N, V] -> its rows.
Tensor take_rows(const Tensor& x, const std::vector<int64_t>& rows) {
  return index_select(x, 0, Tensor::from(rows, {std::ssize(rows)}));
}

/// A sequence that is being drawn.
struct Draw {
  int64_t source;
  int64_t number;  // among the samples of the source
  int64_t row;     // of the generation
  RandomStream stream;
  Hypothesis written{};
  int64_t token = -1;  // the next one; -1: none is allowed
  double logit = 0;    // of it
};

/// The most probable tokens of a row, most probable first, with what their probabilities are relative to.
struct Ranked {
  std::span<const double> logits;
  double log_sum;  // log sum exp(logits / temperature) of all
  bool all;        // no other can be drawn
};

/// Which of the ranked tokens the draw falls on by the inverse of the distribution function; -1: more of them are
/// needed to tell.
int64_t choose(const Ranked& ranked, const SamplingOptions& options, double uniform) {
  const auto probability = [&](size_t j) { return std::exp(ranked.logits[j] / options.temperature - ranked.log_sum); };
  double share = 1;
  if (options.top_k > 0) {
    share = 0;
    for (size_t j = 0; j < ranked.logits.size(); ++j) share += probability(j);
  }
  if (options.top_p < 1) {
    const double enough = options.top_p * share;
    double nucleus = 0;
    for (size_t j = 0; j < ranked.logits.size() && nucleus < enough; ++j) nucleus += probability(j);
    if (nucleus < enough && !ranked.all) return -1;
    share = nucleus;
  }
  double sum = 0;
  int64_t last = -1;
  for (size_t j = 0; j < ranked.logits.size(); ++j) {
    const double p = probability(j);
    if (p == 0) break;
    sum += p;
    last = static_cast<int64_t>(j);
    if (sum > uniform * share) return last;
  }
  return ranked.all ? last : -1;  // rounding may leave the sum a little below 1
}

class Sampler {
 public:
  Sampler(Generation& generation, const DecodingOptions& options, const SamplingOptions& sampling,
          RandomStream& stream);

  std::vector<std::vector<Hypothesis>> run();

 private:
  std::vector<int64_t> next_tokens() const;
  /// Logits of each draw, float64 [draws, V], -infinity where a token is banned.
  Tensor allowed(const Tensor& logits) const;
  void draw_tokens(const Tensor& logits);
  /// Adds the token to what is written. False: the sequence has ended.
  bool write(Draw& draw, double log_probability) const;

  Stepper stepper_;
  SamplingOptions options_;
  std::vector<Draw> draws_;  // those that go on
  bool begun_ = false;
};

Sampler::Sampler(Generation& generation, const DecodingOptions& options, const SamplingOptions& sampling,
                 RandomStream& stream)
    : stepper_("sample", generation, options), options_(sampling) {
  require<ValueError>(sampling.samples > 0, "sample: {} samples of a source, expected 1 or more", sampling.samples);
  require<ValueError>(sampling.temperature > 0 && std::isfinite(sampling.temperature),
                      "sample: temperature is {}, expected above 0; greedy_search is the limit at 0",
                      sampling.temperature);
  require<ValueError>(sampling.top_k >= 0, "sample: top_k is {}, expected 0 or more", sampling.top_k);
  require<ValueError>(sampling.top_p > 0 && sampling.top_p <= 1, "sample: top_p is {}, expected above 0 and at most 1",
                      sampling.top_p);
  for (int64_t source = 0; source < stepper_.sources(); ++source) {
    for (int64_t i = 0; i < sampling.samples; ++i) {
      const uint64_t high = stream.next_uint32();
      draws_.push_back({source, i, source, RandomStream((high << 32) | stream.next_uint32())});
    }
  }
}

std::vector<int64_t> Sampler::next_tokens() const {
  // The samples of a source share a row until their first tokens are drawn.
  if (!begun_) return std::vector<int64_t>(static_cast<size_t>(stepper_.sources()), stepper_.bos());
  std::vector<int64_t> tokens;
  for (const Draw& draw : draws_) tokens.push_back(draw.token);
  return tokens;
}

Tensor Sampler::allowed(const Tensor& logits) const {
  std::vector<int64_t> rows;
  for (const Draw& draw : draws_) rows.push_back(draw.row);
  Tensor own = take_rows(logits.to(DType::kFloat64), rows);
  std::vector<int64_t> banned;
  double* row = own.data<double>();
  for (const Draw& draw : draws_) {
    stepper_.banned(std::ssize(draw.written.tokens), draw.written.tokens, banned);
    for (const int64_t token : banned) row[token] = kNever;
    row += stepper_.vocabulary();
  }
  return own;
}

void Sampler::draw_tokens(const Tensor& logits) {
  Tensor x = allowed(logits);
  const std::vector<double> sums = log_normalizer(x, options_.temperature).to_vector<double>();
  struct Pending {
    Draw* draw;
    double uniform;
    double log_sum;
  };
  std::vector<Pending> pending;
  for (size_t i = 0; i < draws_.size(); ++i) {
    draws_[i].token = -1;
    pending.push_back({&draws_[i], draws_[i].stream.uniform(), sums[i]});
  }
  // Few of the most probable tokens are enough for most draws.
  int64_t k = std::min(stepper_.vocabulary(), options_.top_k > 0 ? options_.top_k : kFewest);
  for (;;) {
    const auto rows = std::ssize(pending);
    const auto [values, tokens] = topk(x, k);
    std::vector<Pending> open;
    std::vector<int64_t> open_rows;
    for (int64_t i = 0; i < rows; ++i) {
      const Pending& one = pending[static_cast<size_t>(i)];
      if (std::isnan(one.log_sum)) continue;
      const Ranked ranked{.logits = std::span(values.data<double>() + i * k, static_cast<size_t>(k)),
                          .log_sum = one.log_sum,
                          .all = options_.top_k > 0 || k == stepper_.vocabulary()};
      const int64_t chosen = choose(ranked, options_, one.uniform);
      if (chosen >= 0) {
        one.draw->token = tokens.data<int64_t>()[i * k + chosen];
        one.draw->logit = ranked.logits[static_cast<size_t>(chosen)];
      } else {
        open.push_back(one);
        open_rows.push_back(i);
      }
    }
    if (open.empty()) return;
    x = take_rows(x, open_rows);
    pending = std::move(open);
    k = std::min(stepper_.vocabulary(), k * kMore);
  }
}

bool Sampler::write(Draw& draw, double log_probability) const {
  if (draw.token < 0) return false;
  Hypothesis& written = draw.written;
  written.log_probability += log_probability;
  written.score = written.log_probability;
  written.finished = draw.token == stepper_.eos();
  if (written.finished) return false;
  written.tokens.push_back(draw.token);
  return std::ssize(written.tokens) < stepper_.limit(draw.source);
}

std::vector<std::vector<Hypothesis>> Sampler::run() {
  std::vector<std::vector<Hypothesis>> results(static_cast<size_t>(stepper_.sources()));
  for (std::vector<Hypothesis>& samples : results) samples.resize(static_cast<size_t>(options_.samples));
  while (!draws_.empty()) {
    const Tensor logits = stepper_.step(next_tokens());
    begun_ = true;
    const std::vector<double> log_sums = stepper_.log_sums(logits);
    draw_tokens(logits);
    std::vector<Draw> open;
    std::vector<int64_t> rows;
    for (Draw& draw : draws_) {
      if (!write(draw, draw.logit - log_sums[static_cast<size_t>(draw.row)])) {
        results[static_cast<size_t>(draw.source)][static_cast<size_t>(draw.number)] = std::move(draw.written);
        continue;
      }
      rows.push_back(draw.row);
      draw.row = std::ssize(open);
      open.push_back(std::move(draw));
    }
    draws_ = std::move(open);
    if (!draws_.empty()) stepper_.select(rows);
  }
  return results;
}

}  // namespace

std::vector<std::vector<Hypothesis>> sample(Generation& generation, const DecodingOptions& options,
                                            const SamplingOptions& sampling, RandomStream& stream) {
  return Sampler(generation, options, sampling, stream).run();
}

}  // namespace attune
