#pragma once

// Which gradients must be exactly 0, worked out from which keys a mask allows.

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "autograd/gradcheck.h"

namespace attune::examples {

/// A bool tensor by a statement about every index.
Tensor bool_tensor(const Shape& shape, const std::function<bool(std::span<const int64_t>)>& holds);

/// Whether element [b, t, s] of a tensor of who sees whom is true; for any head where there are four axes.
class Sight {
 public:
  /// bool [B, H, T, S]
  explicit Sight(const Tensor& allowed) : allowed_(allowed.contiguous()) {}

  int64_t batch() const { return allowed_.dim(0); }
  int64_t heads() const { return allowed_.dim(1); }
  int64_t queries() const { return allowed_.dim(2); }
  int64_t keys() const { return allowed_.dim(3); }

  bool sees(int64_t b, int64_t h, int64_t t, int64_t s) const;
  /// In any of the heads first ... last - 1.
  bool sees(int64_t b, int64_t first, int64_t last, int64_t t, int64_t s) const;
  bool any_head(int64_t b, int64_t t, int64_t s) const { return sees(b, 0, heads(), t, s); }

  /// Who sees whom over a position in the middle: this, then `next` from there. [B, 1, T, keys of next]
  Sight then(const Sight& next) const;
  /// T = S: what positions reach each other through so many layers of attention, each with a path around it. [B, 1, T,
  /// T]
  Sight through(int64_t blocks) const;

 private:
  Tensor allowed_;
};

/// How queries take part in each other's results.
enum class Coupling : uint8_t {
  kNone,     ///< row t depends on query t alone
  kEarlier,  ///< also on queries before it: coverage, earlier weights
};

/// Names of the leaves of an attention over heads, empty for one that is not there.
struct AttentionLeaves {
  std::string q, k, v, bias;
};

/// For an AttentionCore with outputs [B, T, H, Kv] and leaves q [B, T, H, K], k [B, S, Hkv, K], v [B, S, Hkv, Kv], bias
/// [1, H, T, S]: queries without keys, keys that nobody sees, and, where only row `row` of the output counts, all that
/// this row does not see. more_outputs: shapes of further outputs, none of which counts.
std::vector<GradcheckZeros> attention_zeros(const Sight& sight, const std::vector<Shape>& shapes,
                                            const AttentionLeaves& leaves, const Shape& output, int64_t row,
                                            Coupling coupling = Coupling::kNone,
                                            const std::vector<Shape>& more_outputs = {});

/// For outputs [B, T, ...] of which only row `row` counts: positions of leaf [B, S, ...] that it does not see. own:
/// position `row` of the leaf is also seen, as the query or around the attention.
GradcheckZeros unseen_positions(const std::string& what, const Sight& sight, const Shape& output,
                                const std::string& leaf, const Shape& leaf_shape, int64_t row, bool own);

}  // namespace attune::examples
