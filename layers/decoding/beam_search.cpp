#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "framework/fail.h"
#include "framework/math/order.h"
#include "layers/decoding/search.h"
#include "layers/decoding/stepper.h"

namespace attune {
namespace {

constexpr double kLeastCoverage = 1e-9;

double length_penalty(const BeamOptions& options, int64_t length) {
  const auto n = static_cast<double>(length);
  switch (options.length_penalty) {
    case LengthPenalty::kPower:
      return std::pow(n, options.alpha);
    case LengthPenalty::kWu:
      return std::pow((5 + n) / 6, options.alpha);
    case LengthPenalty::kNone:
      break;
  }
  return 1;
}

/// A token behind a prefix of the same source.
struct Node {
  int64_t parent;  // -1: it begins the sequence
  int64_t token;
};

struct Prefix {
  int64_t node;  // -1: nothing written
  double log_probability;
};

struct Ended {
  int64_t node;
  double log_probability;
  double score;
  bool finished;
};

struct Candidate {
  double log_probability;
  int64_t row;
  int64_t token;

  /// More probable; the first row and then the first token of equals.
  friend bool operator<(const Candidate& a, const Candidate& b) {
    if (a.log_probability != b.log_probability) return a.log_probability > b.log_probability;
    return std::pair(a.row, a.token) < std::pair(b.row, b.token);
  }
};

/// The search for one source.
struct Beam {
  int64_t source;
  std::vector<Prefix> live{{-1, 0}};  // most probable first
  std::vector<Node> nodes{};          // of all prefixes: what they share is there once
  std::vector<Ended> ended{};         // best first, n_best at most
  int64_t finished = 0;               // hypotheses, those that were not kept too

  std::vector<int64_t> tokens(int64_t node) const {
    std::vector<int64_t> written;
    for (; node >= 0; node = nodes[static_cast<size_t>(node)].parent) {
      written.push_back(nodes[static_cast<size_t>(node)].token);
    }
    std::reverse(written.begin(), written.end());
    return written;
  }
};

/// The most probable tokens of every row.
struct Best {
  std::vector<double> values;    // [rows, k]
  std::vector<int64_t> tokens;   // [rows, k]
  std::vector<double> log_sums;  // [rows]
  int64_t k = 0;
};

class BeamSearch {
 public:
  BeamSearch(const char* who, Generation& generation, const DecodingOptions& options, const BeamOptions& beam);

  std::vector<std::vector<Hypothesis>> run();

 private:
  std::vector<int64_t> next_tokens() const;
  void add_attention(int64_t rows);
  void find_banned();
  Best find_best(const Tensor& logits) const;
  std::vector<Candidate> candidates(const Beam& beam, int64_t first_row, const Best& best) const;
  /// Writes a token in every prefix of the beam, whose rows begin at first_row. False: the source is done. Otherwise
  /// the row that each new prefix goes on from is appended to rows.
  bool advance(Beam& beam, int64_t first_row, const Best& best, std::vector<int64_t>& rows);
  void end(Beam& beam, const Prefix& prefix, int64_t row, int64_t length, bool finished) const;
  double coverage_penalty(int64_t source, int64_t row) const;
  void select(const std::vector<int64_t>& rows);
  std::vector<Hypothesis> hypotheses(const Beam& beam) const;

  Generation& generation_;
  Stepper stepper_;
  BeamOptions options_;
  std::vector<Beam> open_;                    // sources that go on, in order; a row for each prefix
  int64_t written_ = 0;                       // tokens of every prefix that goes on, the one being chosen included
  std::vector<std::vector<int64_t>> banned_;  // of each row
  int64_t positions_ = 0;                     // S, with a coverage penalty
  std::vector<double> coverage_;              // [rows, S], sum of what the tokens looked at
};

BeamSearch::BeamSearch(const char* who, Generation& generation, const DecodingOptions& options, const BeamOptions& beam)
    : generation_(generation), stepper_(who, generation, options), options_(beam) {
  require<ValueError>(beam.width > 0 && beam.n_best > 0 && beam.n_best <= beam.width,
                      "{}: the best {} of {} hypotheses asked for, expected 1 or more of as many at least", who,
                      beam.n_best, beam.width);
  for (const auto& [name, value] : {std::pair("alpha", beam.alpha), {"coverage_penalty", beam.coverage_penalty}}) {
    require<ValueError>(value >= 0 && std::isfinite(value), "{}: {} is {}, expected 0 or more", who, name, value);
  }
  const auto lengths = std::ssize(beam.source_lengths);
  require<ValueError>(lengths == 0 || lengths == stepper_.sources(), "{}: {} source lengths for {} sources", who,
                      lengths, stepper_.sources());
  for (int64_t source = 0; source < stepper_.sources(); ++source) open_.push_back({source});
}

std::vector<std::vector<Hypothesis>> BeamSearch::run() {
  std::vector<std::vector<Hypothesis>> results(open_.size());
  while (!open_.empty()) {
    const Tensor logits = stepper_.step(next_tokens());
    ++written_;
    add_attention(logits.dim(0));
    find_banned();
    const Best best = find_best(logits);
    std::vector<int64_t> rows;
    std::vector<Beam> open;
    int64_t first_row = 0;
    for (Beam& beam : open_) {
      const auto count = std::ssize(beam.live);
      if (advance(beam, first_row, best, rows)) {
        open.push_back(std::move(beam));
      } else {
        results[static_cast<size_t>(beam.source)] = hypotheses(beam);
      }
      first_row += count;
    }
    open_ = std::move(open);
    if (!open_.empty()) select(rows);
  }
  return results;
}

std::vector<int64_t> BeamSearch::next_tokens() const {
  std::vector<int64_t> tokens;
  for (const Beam& beam : open_) {
    for (const Prefix& prefix : beam.live) {
      tokens.push_back(prefix.node < 0 ? stepper_.bos() : beam.nodes[static_cast<size_t>(prefix.node)].token);
    }
  }
  return tokens;
}

void BeamSearch::add_attention(int64_t rows) {
  if (options_.coverage_penalty == 0) return;
  const Tensor weights = generation_.attention();
  require<ValueError>(weights.defined(),
                      "{}: a coverage penalty of {} needs attention, this generation has none; start it with "
                      "GenerationOptions{{.attention = true}} or leave the penalty 0",
                      stepper_.who(), options_.coverage_penalty);
  require<ShapeError>(weights.rank() == 2 && weights.dim(0) == rows && (written_ == 1 || weights.dim(1) == positions_),
                      "{}: attention of step {} is {}, expected {} rows with a weight for each source position",
                      stepper_.who(), written_, weights.shape(), rows);
  const std::vector<double> values = weights.to(DType::kFloat64).to_vector<double>();
  if (written_ == 1) {
    positions_ = weights.dim(1);
    coverage_.assign(values.size(), 0);
    for (const int64_t length : options_.source_lengths) {
      require<ValueError>(length >= 0 && length <= positions_, "{}: a source of {} positions, attention has {}",
                          stepper_.who(), length, positions_);
    }
  }
  for (size_t i = 0; i < values.size(); ++i) coverage_[i] += values[i];
}

void BeamSearch::find_banned() {
  size_t row = 0;
  for (const Beam& beam : open_) {
    for (const Prefix& prefix : beam.live) {
      if (row == banned_.size()) banned_.emplace_back();
      const std::vector<int64_t> history = stepper_.reads_history() ? beam.tokens(prefix.node) : std::vector<int64_t>();
      stepper_.banned(written_ - 1, history, banned_[row++]);
    }
  }
  banned_.resize(row);
}

Best BeamSearch::find_best(const Tensor& logits) const {
  // At most W tokens of a row are chosen besides <eos>; what is banned may be among the largest.
  size_t most_banned = 0;
  for (const std::vector<int64_t>& banned : banned_) most_banned = std::max(most_banned, banned.size());
  const int64_t k = std::min(stepper_.vocabulary(), options_.width + 1 + static_cast<int64_t>(most_banned));
  std::vector<double> log_sums = stepper_.log_sums(logits);
  const auto [values, tokens] = topk(logits, k);
  return {values.to(DType::kFloat64).to_vector<double>(), tokens.to_vector<int64_t>(), std::move(log_sums), k};
}

std::vector<Candidate> BeamSearch::candidates(const Beam& beam, int64_t first_row, const Best& best) const {
  std::vector<Candidate> found;
  for (int64_t i = 0; i < std::ssize(beam.live); ++i) {
    const auto row = static_cast<size_t>(first_row + i);
    const std::vector<int64_t>& banned = banned_[row];
    int64_t room = options_.width + 1;
    for (size_t at = row * static_cast<size_t>(best.k); at < (row + 1) * static_cast<size_t>(best.k) && room > 0;
         ++at) {
      const int64_t token = best.tokens[at];
      if (best.values[at] == -std::numeric_limits<double>::infinity()) break;
      if (std::find(banned.begin(), banned.end(), token) != banned.end()) continue;
      const double log_probability =
          beam.live[static_cast<size_t>(i)].log_probability + (best.values[at] - best.log_sums[row]);
      found.push_back({log_probability, first_row + i, token});
      --room;
    }
  }
  // Beside the W that go on, every row may have an <eos>.
  const auto needed = std::min(std::ssize(found), options_.width + std::ssize(beam.live));
  std::partial_sort(found.begin(), found.begin() + needed, found.end());
  found.resize(static_cast<size_t>(needed));
  return found;
}

bool BeamSearch::advance(Beam& beam, int64_t first_row, const Best& best, std::vector<int64_t>& rows) {
  const std::vector<Candidate> found = candidates(beam, first_row, best);
  std::vector<Prefix> next;
  std::vector<int64_t> next_rows;
  for (int64_t rank = 0; rank < std::ssize(found) && std::ssize(next) < options_.width; ++rank) {
    const Candidate& candidate = found[static_cast<size_t>(rank)];
    const int64_t parent = beam.live[static_cast<size_t>(candidate.row - first_row)].node;
    if (candidate.token != stepper_.eos()) {
      next.push_back({std::ssize(beam.nodes), candidate.log_probability});
      next_rows.push_back(candidate.row);
      beam.nodes.push_back({parent, candidate.token});
    } else if (rank < options_.width) {
      end(beam, {parent, candidate.log_probability}, candidate.row, written_, true);
      ++beam.finished;
    }
  }

  if (options_.end == BeamEnd::kWidth && beam.finished >= options_.width) return false;
  const int64_t limit = stepper_.limit(beam.source);
  if (written_ == limit) {
    for (size_t i = 0; i < next.size(); ++i) end(beam, next[i], next_rows[i], written_, false);
  }
  if (next.empty() && beam.ended.empty()) {
    // Everything that could follow is forbidden: what there is remains as it is.
    for (int64_t i = 0; i < std::ssize(beam.live); ++i) {
      end(beam, beam.live[static_cast<size_t>(i)], first_row + i, written_ - 1, false);
    }
  }
  if (next.empty() || written_ == limit) return false;
  if (std::ssize(beam.ended) == options_.n_best) {
    // Logarithms of probabilities only fall, and are divided by no more than the penalty of the longest sequence.
    const double bound = next.front().log_probability / length_penalty(options_, limit);
    if (bound <= beam.ended.back().score) return false;
  }
  beam.live = std::move(next);
  rows.insert(rows.end(), next_rows.begin(), next_rows.end());
  return true;
}

void BeamSearch::end(Beam& beam, const Prefix& prefix, int64_t row, int64_t length, bool finished) const {
  const double penalty = length > 0 ? length_penalty(options_, length) : 1;
  const double score = prefix.log_probability / penalty + coverage_penalty(beam.source, row);
  const Ended ended{prefix.node, prefix.log_probability, score, finished};
  const auto better = [](const Ended& a, const Ended& b) {
    return a.finished != b.finished ? a.finished : a.score > b.score;
  };
  beam.ended.insert(std::upper_bound(beam.ended.begin(), beam.ended.end(), ended, better), ended);
  if (std::ssize(beam.ended) > options_.n_best) beam.ended.pop_back();
}

double BeamSearch::coverage_penalty(int64_t source, int64_t row) const {
  if (options_.coverage_penalty == 0) return 0;
  const int64_t length =
      options_.source_lengths.empty() ? positions_ : options_.source_lengths[static_cast<size_t>(source)];
  const double* covered = coverage_.data() + row * positions_;
  const double sum = std::accumulate(covered, covered + length, 0.0, [](double total, double seen) {
    return total + std::log(std::clamp(seen, kLeastCoverage, 1.0));
  });
  return options_.coverage_penalty * sum;
}

void BeamSearch::select(const std::vector<int64_t>& rows) {
  stepper_.select(rows);
  if (options_.coverage_penalty == 0) return;
  std::vector<double> coverage;
  coverage.reserve(rows.size() * static_cast<size_t>(positions_));
  for (const int64_t row : rows) {
    const double* begin = coverage_.data() + row * positions_;
    coverage.insert(coverage.end(), begin, begin + positions_);
  }
  coverage_ = std::move(coverage);
}

std::vector<Hypothesis> BeamSearch::hypotheses(const Beam& beam) const {
  std::vector<Hypothesis> list;
  for (const Ended& ended : beam.ended) {
    list.push_back({beam.tokens(ended.node), ended.log_probability, ended.score, ended.finished});
  }
  return list;
}

}  // namespace

std::vector<std::vector<Hypothesis>> greedy_search(Generation& generation, const DecodingOptions& options) {
  return BeamSearch("greedy_search", generation, options, {.width = 1}).run();
}

std::vector<std::vector<Hypothesis>> beam_search(Generation& generation, const DecodingOptions& options,
                                                 const BeamOptions& beam) {
  return BeamSearch("beam_search", generation, options, beam).run();
}

}  // namespace attune
