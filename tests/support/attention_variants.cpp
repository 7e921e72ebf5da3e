#include "tests/support/attention_variants.h"

#include "layers/attention/global.h"
#include "layers/attention/image.h"
#include "layers/attention/monotonic.h"
#include "layers/attention/registry.h"
#include "layers/attention/relative.h"
#include "layers/attention/scaled_dot_product.h"

namespace attune::testing {
namespace {

using Variant = AttentionVariant;
using Core = std::unique_ptr<AttentionCore>;

/// Keys are narrower than queries where they may be.
constexpr int64_t kQuery = 4, kNarrow = 2;

/// What the registry says of a variant. Those that draw are looked at as they choose: in evaluation.
Variant registered_variant(const RegisteredAttention& row) {
  const AttentionTraits& traits = row.traits;
  Variant variant{.name = row.name,
                  .make = {},
                  .key = traits.equal_widths ? kQuery : kNarrow,
                  .value = traits.equal_widths ? kQuery : 3,  // as in multi-head attention
                  .sum = traits.normalized ? Variant::Sum::kOne : Variant::Sum::kAtMostOne,
                  .output = traits.weighted_values ? Variant::Output::kWeightedValues : Variant::Output::kOther,
                  .weights = traits.draws ? Variant::Weights::kChoice : Variant::Weights::kSmooth};
  variant.make = [&row, key = variant.key, value = variant.value](int64_t heads) {
    AttentionConfig config = attention_config(row.name);
    config.sizes = {.query = kQuery, .key = key, .heads = heads, .hidden = 3};
    config.value_size = value;
    config.window = 2;
    config.max_keys = 6;
    config.max_distance = 2;
    config.align = Align::kFirst;
    manual_seed(8);  // of Performer's features
    Core core = make_attention(config);
    core->train(!row.traits.draws);
    return core;
  };
  return variant;
}

ScoreSizes narrow_keys(int64_t heads) { return {.query = kQuery, .key = kNarrow, .heads = heads, .hidden = 3}; }

/// Paths and options that no name has.
void add_more_variants(std::vector<Variant>& variants) {
  for (const AttentionPath path : {AttentionPath::kFused, AttentionPath::kComposed}) {
    const char* name = path == AttentionPath::kFused ? "scaled dot, fused" : "scaled dot, composed";
    variants.push_back({.name = name, .make = [path](int64_t) -> Core {
                          return std::make_unique<ScaledDotProduct>(
                              ScaledDotProductOptions{.scale = 0.7, .path = path});
                        }});
  }
  variants.push_back({.name = "dot, as a score", .make = [](int64_t heads) -> Core {
                        return std::make_unique<GlobalAttention>(
                            make_score(ScoreKind::kDot, {.query = kQuery, .heads = heads}));
                      }});
  variants.push_back({.name = "monotonic, expected",
                      .make = [](int64_t heads) -> Core {
                        return std::make_unique<MonotonicAttention>(
                            make_score(ScoreKind::kAdditive, narrow_keys(heads)),
                            MonotonicAttentionOptions{.noise = 0});
                      },
                      .key = kNarrow,
                      .sum = Variant::Sum::kAtMostOne});
  variants.push_back({.name = "hard image without a gate",
                      .make = [](int64_t heads) -> Core {
                        auto core = std::make_unique<ImageAttention>(
                            make_score(ScoreKind::kAdditive, narrow_keys(heads)),
                            ImageAttentionOptions{.kind = ImageAttentionKind::kHard, .gate = false});
                        core->eval();
                        return core;
                      },
                      .key = kNarrow,
                      .weights = Variant::Weights::kChoice});
  variants.push_back({.name = "relative, keys alone", .make = [](int64_t) -> Core {
                        return std::make_unique<RelativeAttention>(
                            kQuery,
                            RelativeAttentionOptions{.max_distance = 2, .values = false, .align = Align::kFirst});
                      }});
}

}  // namespace

const std::vector<AttentionVariant>& attention_variants() {
  static const std::vector<AttentionVariant> variants = [] {
    std::vector<AttentionVariant> all;
    add_more_variants(all);
    for (const RegisteredAttention& row : registered_attentions()) {
      // Every check adds a bias, which such variants refuse: linformer_test.cpp goes through the contract for them.
      if (!row.traits.same_mask) all.push_back(registered_variant(row));
    }
    return all;
  }();
  return variants;
}

}  // namespace attune::testing
