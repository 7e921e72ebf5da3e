#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "autograd/ops/attention.h"
#include "layers/module.h"

namespace attune {

/// Positions of N tokens of each sample, the first at offsets[b]: int64 [B] -> [B, N], on the CPU. Throws DTypeError,
/// ShapeError.
Tensor positions_from(const Tensor& offsets, int64_t count);

/// Positions that attention itself knows, so that nothing is added to its inputs: queries and keys are turned, or
/// something is added to their scores. An option of MultiHeadAttention, which counts keys from position 0 and queries
/// from `offset`: 0, or what the cache holds when decoding.
class AttentionPositions : public Module {
 public:
  /// q or k, x [B, N, H, K], at positions offset ... offset + N - 1; x itself where nothing is turned.
  virtual Variable turn(const Variable& x, int64_t offset = 0) const;
  /// What is added to the scores of T queries and S keys, [1, H, T, S]; undefined where nothing is. For a mask:
  ///
  ///     mask & AttentionMask::bias(positions.scores(T, S))
  virtual Variable scores(int64_t queries, int64_t keys, int64_t offset = 0) const;

  /// The same at positions of each sample's own, int64 [B, N].
  virtual Variable turn(const Variable& x, const Tensor& positions) const;
  /// The same with the first query of sample b at offsets[b], int64 [B]: [B, H, T, S].
  virtual Variable scores(int64_t queries, int64_t keys, const Tensor& offsets) const;
};

struct RotaryOptions {
  RotaryLayout layout = RotaryLayout::kInterleaved;
  int64_t size = 0;  ///< R, elements of the head that are turned, from the first on; 0: all K
  double base = 10000;
};

/// Rotary positions (Su et al., 2021, section 3.2.2, eq. 34): pair i of a query or key at position p is turned by the
/// angle p base^(-2i / R), so that scores depend on distances only:
///
///     y1 = x1 cos(angle) - x2 sin(angle),  y2 = x1 sin(angle) + x2 cos(angle)
///
/// Has no parameters.
class RotaryPositions : public AttentionPositions {
 public:
  /// head_size: K. Throws ValueError unless the turned size is even and within K, and the base above 0.
  explicit RotaryPositions(int64_t head_size, RotaryOptions options = {});

  /// Throws ShapeError naming the module.
  Variable turn(const Variable& x, int64_t offset = 0) const override;
  /// Throws ShapeError and DTypeError naming the module.
  Variable turn(const Variable& x, const Tensor& positions) const override;

 private:
  /// What a pair is turned by from one position to the next.
  struct Step {
    double frequency;
    double cosine;
    double sine;
  };

  /// Throws unless x is [B, N, H, K].
  void check(const Variable& x) const;
  /// x [., N, H, K], token n turned by the angles of position(n).
  template <class F>
  Variable turn_to(const Variable& x, const F& position) const;

  int64_t size_;  // of a head
  RotaryLayout layout_;
  std::vector<Step> steps_;  // of the pairs
};

/// The slopes of H heads (Press et al., 2022, section 3): 2^(-8 h / H), h = 1 ... H, where H is a power of two;
/// otherwise those of the next lower power n, then the first H - n of every other slope of 2n heads. Throws ValueError
/// for fewer than one head.
std::vector<double> alibi_slopes(int64_t heads);

struct AlibiOptions {};

/// ALiBi (Press et al., 2022, section 3): -slope_h |t + offset - s| is added to the scores of head h. Has no
/// parameters.
class AlibiPositions : public AttentionPositions {
 public:
  explicit AlibiPositions(int64_t heads, AlibiOptions options = {});

  Variable scores(int64_t queries, int64_t keys, int64_t offset = 0) const override;
  Variable scores(int64_t queries, int64_t keys, const Tensor& offsets) const override;

 private:
  std::vector<double> slopes_;  // float32 does not hold them all
  Variable like_;               // follows to(): what the scores' dtype and device are
};

struct RelativeBucketsOptions {
  int64_t buckets = 32;
  int64_t max_distance = 128;  ///< this and all greater distances share the last bucket
  bool bidirectional = true;   ///< half of the buckets for keys behind the query; otherwise those share bucket 0
};

/// The bucket of `distance`, the key's position less the query's (Raffel et al., 2020, section 2.1, and its code): of n
/// buckets (half of them for each direction when bidirectional, keys behind the query taking the upper half), the first
/// n / 2 hold one distance d each, the others ever more:
///
///     n / 2 + floor(log(d / (n / 2)) / log(max_distance / (n / 2)) n / 2), at most n - 1
int64_t relative_bucket(int64_t distance, const RelativeBucketsOptions& options = {});

/// T5's relative positions (Raffel et al., 2020, section 2.1): a learned number for each bucket of distances and head
/// is added to the scores. T5 itself does not scale scores (ScaledDotProductOptions::scale = 1) and has one table for
/// all blocks of a stack, which is given as a mask to the stack then.
/// Parameter: weight [buckets, H], normal with stddev 0.02.
class RelativeBuckets : public AttentionPositions {
 public:
  /// Throws ValueError for fewer than one head, for buckets that are not even (a multiple of 4 when bidirectional), and
  /// unless max_distance is beyond the buckets of one distance.
  explicit RelativeBuckets(int64_t heads, RelativeBucketsOptions options = {});

  Variable scores(int64_t queries, int64_t keys, int64_t offset = 0) const override;
  Variable scores(int64_t queries, int64_t keys, const Tensor& offsets) const override;

 private:
  RelativeBucketsOptions options_;
  Variable weight_;
};

/// Which positions attention knows by itself; none by default.
using PositionOptions = std::variant<std::monostate, RotaryOptions, AlibiOptions, RelativeBucketsOptions>;

/// nullptr for none.
std::unique_ptr<AttentionPositions> make_positions(const PositionOptions& options, int64_t heads, int64_t head_size);

}  // namespace attune
