#pragma once

#include <cstdint>
#include <vector>

#include "framework/random.h"
#include "layers/seq2seq/generation.h"

namespace attune {

/// A sequence that a search has written.
struct Hypothesis {
  std::vector<int64_t> tokens;  ///< without <bos> and <eos>
  double log_probability = 0;   ///< sum of ln P(y_t | y_<t, source) over all that was written, <eos> included
  double score = 0;             ///< log_probability after the penalties
  bool finished = false;        ///< <eos> was written; otherwise the limit came first, or nothing was left to write
};

/// What any search may write. Probabilities are the model's own: what is forbidden takes none away from the rest.
struct DecodingOptions {
  int64_t bos = 2;                      ///< what a sequence begins with; never written, unless it is eos too
  int64_t eos = 3;                      ///< what ends a sequence
  std::vector<int64_t> forbidden = {};  ///< never written: padding, the unknown token
  /// Tokens written at most, <eos> counted, so that a model with as many positions can read all of them: one for each
  /// source, or one for all.
  std::vector<int64_t> max_length = {128};
  int64_t min_length = 0;       ///< tokens before <eos>
  int64_t no_repeat_ngram = 0;  ///< no n tokens come twice in a row of this length (Paulus et al., 2018); 0: they may
};

/// What log P(Y | X) is divided by so that long sequences can win; n = |Y|, <eos> counted.
enum class LengthPenalty : uint8_t {
  kNone,   ///< 1
  kPower,  ///< n^alpha; the mean of a token for alpha = 1
  kWu,     ///< ((5 + n) / 6)^alpha (Wu et al., 2016, equation 14)
};

/// When the search for a source ends, besides at the limit and where nothing that goes on can beat the worst of the
/// n_best finished hypotheses, however long it becomes: that is never worth a step.
enum class BeamEnd : uint8_t {
  kWidth,  ///< as many hypotheses as the beam is wide have finished (Ott et al., 2019)
  kBound,  ///< only then: slower, and another search than greedy_search for a width of 1
};

struct BeamOptions {
  int64_t width = 5;   ///< W, hypotheses that go on of each source
  int64_t n_best = 1;  ///< hypotheses returned of each source, at most `width`
  LengthPenalty length_penalty = LengthPenalty::kWu;
  double alpha = 0;
  /// beta of cp(X, Y) = beta sum_i log(min(sum_j p_ij, 1)), p_ij what token j looked at source position i (Wu et al.,
  /// 2016, equation 14; sums below 1e-9 count as that); needs Generation::attention().
  double coverage_penalty = 0;
  /// Source positions that the coverage penalty looks at, of each source; empty: all S, padding too.
  std::vector<int64_t> source_lengths = {};
  BeamEnd end = BeamEnd::kWidth;
};

/// How a token is drawn: from softmax(logits / temperature) over what is allowed, cut to the top_k most probable tokens
/// (Fan et al., 2018), then to the smallest set of the most probable ones that holds a share of top_p of the rest
/// (nucleus sampling; Holtzman et al., 2020, section 3.1).
struct SamplingOptions {
  int64_t samples = 1;  ///< sequences drawn of each source, independently
  double temperature = 1;
  int64_t top_k = 0;  ///< 0: all
  double top_p = 1;   ///< 1: all
};

// Each search writes all B sources of a generation that has not begun, together, and gives a list of hypotheses for
// each, never an empty one. Rows of what has ended are dropped with Generation::select, so that late steps are small;
// those of a source stay beside each other. Throws ValueError for options out of range and for logits that are NaN or
// infinite, naming step and row, and ShapeError for logits that are not [rows, V].

/// The most probable token, again and again: beam_search with a width of 1. One hypothesis of each source; its score is
/// its log probability.
std::vector<std::vector<Hypothesis>> greedy_search(Generation& generation, const DecodingOptions& options);

/// Beam search: of all continuations by one token of the W hypotheses of a source, those that are among the W most
/// probable and end with <eos> have finished, and the W most probable others go on. Finished hypotheses are ordered by
///
///     score(Y, X) = log P(Y | X) / lp(Y) + cp(X, Y)        (Wu et al., 2016, equation 14)
///
/// best first; unfinished ones stand behind all finished ones, and are returned only where fewer than n_best finished.
std::vector<std::vector<Hypothesis>> beam_search(Generation& generation, const DecodingOptions& options,
                                                 const BeamOptions& beam = {});

/// Draws sequences, returned in the order drawn; their score is their log probability (at temperature 1, over all
/// tokens). Every sequence has random numbers of its own, taken from `stream` in the order of the sources: what is
/// drawn for a source does not depend on the others of its batch.
std::vector<std::vector<Hypothesis>> sample(Generation& generation, const DecodingOptions& options,
                                            const SamplingOptions& sampling, RandomStream& stream);

}  // namespace attune
