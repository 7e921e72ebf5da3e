#include "layers/attention/linformer.h"

#include <cmath>

#include "framework/fail.h"
#include "layers/attention/heads.h"
#include "layers/init.h"

namespace attune {
namespace {

/// bool [B, H, 1, P]: the projected keys that draw on a chosen key. e [P, S] or [Hkv, 1, P, S]; chosen as chosen_keys()
/// gives it.
Tensor drawn_keys(const Tensor& e, const Tensor& chosen, int64_t heads, int64_t key_heads) {
  const int64_t batch = chosen.dim(0);
  const int64_t projected = e.dim(-2);
  const int64_t keys = e.dim(-1);
  Tensor drawn = Tensor::zeros({batch, heads, 1, projected}, DType::kBool);
  bool* out = drawn.data<bool>();
  const Tensor coefficients = e.to(Device::cpu()).to(DType::kFloat64).contiguous();
  const bool shared_e = e.rank() == 2;
  const bool shared_keys = chosen.dim(1) * chosen.dim(2) != heads;
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t h = 0; h < heads; ++h) {
      const double* row = coefficients.data<double>() + (shared_e ? 0 : h / (heads / key_heads)) * projected * keys;
      const bool* key = chosen.data<bool>() + (shared_keys ? b : b * heads + h) * keys;
      for (int64_t p = 0; p < projected; ++p, row += keys, ++out) {
        for (int64_t s = 0; s < keys && !*out; ++s) *out = key[s] && row[s] != 0;
      }
    }
  }
  return drawn;
}

}  // namespace

Linformer::Linformer(LinformerOptions options) : options_(options) {
  const bool by_head = options.sharing == LinformerSharing::kNone;
  require<ValueError>(options.keys > 0 && options.projected > 0 && (!by_head || options.heads > 0),
                      "Linformer: {} keys, {} projected and {} heads given, expected at least 1 each", options.keys,
                      options.projected, options.heads);
  require<ValueError>(options.dropout >= 0 && options.dropout < 1, "Linformer: dropout {} given, expected 0 <= p < 1",
                      options.dropout);
  Shape shape{options.projected, options.keys};
  if (by_head) shape.insert(0, options.heads);
  const double stddev = 1 / std::sqrt(static_cast<double>(options.projected));
  e_ = parameter("e", init::normal(shape, 0, stddev));
  f_ = options.sharing == LinformerSharing::kKeyValue ? e_ : parameter("f", init::normal(shape, 0, stddev));
}

AttentionResult Linformer::attend(const Variable& q, const Variable& k, const Variable& v, const LoweredMask& mask,
                                  bool want_weights) {
  const MaskSpec& spec = mask.spec;
  const int64_t key_heads = k.dim(2);
  const Shape full{q.dim(0), q.dim(2), q.dim(1), k.dim(1)};  // [B, H, T, S]
  if (full[3] > options_.keys) [[unlikely]] {
    fail<ShapeError>("{}: k is {}, expected at most {} keys", who("Linformer"), k.shape(), options_.keys);
  }
  if (key_heads == 0 || full[1] % key_heads != 0 || (e_.rank() == 3 && key_heads != options_.heads)) [[unlikely]] {
    fail<ShapeError>("{}: q is {}, k {}; expected heads of q a multiple of those of k, and those as many as E has",
                     who("Linformer"), q.shape(), k.shape());
  }
  if (!is_by_key(spec, full[2]) || spec.causal || spec.window_left >= 0 || spec.window_right >= 0 ||
      mask.bias.defined()) [[unlikely]] {
    fail<ValueError>(
        "{}: all keys flow into each projected one; expected a mask that is the same for all queries, padding(...) or "
        "keep(...) of extents [B, H, 1, S]",
        who("Linformer"));
  }
  const int64_t group = full[1] / key_heads;
  const auto columns = [&](const Variable& whole) {  // [P, S] or [Hkv, 1, P, S]
    const Variable part = slice(whole, -1, 0, full[3]);
    return part.rank() == 2 ? part : reshape(part, {key_heads, 1, part.dim(1), full[3]});
  };
  const Tensor chosen = chosen_keys(spec, full[0], key_heads, group, full[3]);
  const auto projected = [&](const Variable& e, const Variable& x) {
    Variable rows = grouped(x, key_heads);  // [B, Hkv, 1, S, K]
    if (chosen.defined()) rows = where(chosen, rows, Variable(Tensor::zeros({1}, x.dtype(), x.device())));
    return ungrouped(matmul(e, rows));  // [B, P, Hkv or H, K]
  };
  const Variable e = columns(parameter_for(k, e_));
  const Variable f = columns(parameter_for(v, f_));
  MaskSpec drawn;
  if (chosen.defined() || full[3] < options_.keys) {
    const Tensor given = chosen.defined() ? chosen : Tensor::full({1, 1, 1, full[3], 1}, 1, DType::kBool);
    drawn.keep = drawn_keys(e.value(), given, full[1], key_heads);
  }
  AttentionResult result = attention(
      q, projected(e, k), projected(f, v), drawn, {},
      {.dropout = training() ? options_.dropout : 0, .stream = &default_stream(), .want_weights = want_weights});
  if (want_weights) {
    const Variable over_projected =
        reshape(result.weights, {full[0], key_heads, group, full[2], options_.projected});  // [B, Hkv, G, T, P]
    Variable weights = matmul(over_projected, f);
    if (chosen.defined()) {
      weights = where(chosen.transpose(3, 4), weights, Variable(Tensor::zeros({1}, q.dtype(), q.device())));
    }
    result.weights = reshape(weights, full);
  }
  return result;
}

}  // namespace attune
