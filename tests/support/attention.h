#pragma once

// Masks of every kind with an independent statement of what they allow, and attention by its formula.

#include <functional>
#include <string>
#include <vector>

#include "layers/attention/mask.h"

namespace attune::testing {

struct Extents {
  int64_t batch = 2;
  int64_t heads = 2;
  int64_t queries = 5;
  int64_t keys = 7;
};

/// A mask for given extents, and by itself which keys it allows and what it adds.
struct MaskKind {
  std::string name;
  std::function<AttentionMask(const Extents&, DType)> make;
  std::function<bool(const Extents&, int64_t b, int64_t h, int64_t t, int64_t s)> allows;
  std::function<double(const Extents&, int64_t b, int64_t h, int64_t t, int64_t s)> adds;
};

/// Every constructor of AttentionMask by itself, and compositions; some leave queries and samples without any key.
const std::vector<MaskKind>& mask_kinds();

/// The addend of the kinds with a bias, [B, H, T, S]; the same that their masks hold.
double bias_at(int64_t b, int64_t h, int64_t t, int64_t s);
Tensor bias_tensor(const Shape& shape, DType dtype);

/// bool [B, H, T, S], true where the mask does not allow.
Tensor masked_positions(const MaskKind& kind, const Extents& e);
/// Writes `poison` (NaN, infinity) where `masked` (of the same shape) is true.
void poison_where(const Tensor& masked, double poison, Tensor& x);
/// x [B, S, H, K]: writes it into the keys that no query of the head may attend to.
void poison_unused_keys(const Tensor& masked, double poison, Tensor& x);

struct Attended {
  Tensor output;   // [B, T, H, Kv]
  Tensor weights;  // [B, H, T, S]
};

/// softmax(softcap(scale q k^T) + bias) v in float64, element by element. q [B, T, H, K], k [B, S, Hkv, K], v [B, S,
/// Hkv, Kv]. scale 0: 1 / sqrt(K); softcap 0: none.
Attended attend_by_formula(const Tensor& q, const Tensor& k, const Tensor& v, const MaskKind& kind, double scale = 0,
                           double softcap = 0);

}  // namespace attune::testing
