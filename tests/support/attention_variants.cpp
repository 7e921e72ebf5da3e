#include "tests/support/attention_variants.h"

#include "layers/attention/additive_scores.h"
#include "layers/attention/choice.h"
#include "layers/attention/global.h"
#include "layers/attention/history.h"
#include "layers/attention/image.h"
#include "layers/attention/local.h"
#include "layers/attention/location.h"
#include "layers/attention/monotonic.h"
#include "layers/attention/product_scores.h"
#include "layers/attention/scaled_dot_product.h"

namespace attune::testing {

const std::vector<AttentionVariant>& attention_variants() {
  static const std::vector<AttentionVariant> variants = [] {
    std::vector<AttentionVariant> all;
    add_score_variants(all);
    add_efficient_variants(all);
    return all;
  }();
  return variants;
}

void add_score_variants(std::vector<AttentionVariant>& variants) {
  using Variant = AttentionVariant;
  using Core = std::unique_ptr<AttentionCore>;
  const auto widths = [](int64_t heads) { return ScoreSizes{.query = 4, .key = 4, .heads = heads, .hidden = 3}; };
  const auto narrow_keys = [](int64_t heads) { return ScoreSizes{.query = 4, .key = 2, .heads = heads, .hidden = 3}; };

  for (const AttentionPath path : {AttentionPath::kFused, AttentionPath::kComposed}) {
    const char* name = path == AttentionPath::kFused ? "scaled dot, fused" : "scaled dot, composed";
    variants.push_back({.name = name, .make = [path](int64_t) -> Core {
                          return std::make_unique<ScaledDotProduct>(
                              ScaledDotProductOptions{.scale = 0.7, .path = path});
                        }});
  }
  const std::pair<const char*, ScoreKind> equal[] = {{"dot", ScoreKind::kDot},
                                                     {"cosine", ScoreKind::kCosine},
                                                     {"Keras dot", ScoreKind::kKerasDot},
                                                     {"Keras concat", ScoreKind::kKerasConcat},
                                                     {"Keras additive", ScoreKind::kKerasAdditive}};
  for (const auto& [name, kind] : equal) {
    const ScoreKind score = kind;
    variants.push_back({.name = name, .make = [=](int64_t heads) -> Core {
                          return std::make_unique<GlobalAttention>(make_score(score, widths(heads)));
                        }});
  }
  const std::pair<const char*, ScoreKind> unequal[] = {{"general", ScoreKind::kGeneral},
                                                       {"concat", ScoreKind::kConcat},
                                                       {"additive", ScoreKind::kAdditive},
                                                       {"additive, normalised", ScoreKind::kNormedAdditive}};
  for (const auto& [name, kind] : unequal) {
    const ScoreKind score = kind;
    variants.push_back({.name = name,
                        .make = [=](int64_t heads) -> Core {
                          return std::make_unique<GlobalAttention>(make_score(score, narrow_keys(heads)));
                        },
                        .key = 2});
  }
  variants.push_back({.name = "local-m", .make = [=](int64_t heads) -> Core {
                        return std::make_unique<LocalAttention>(
                            make_score(ScoreKind::kDot, widths(heads)),
                            LocalAttentionOptions{.kind = LocalKind::kMonotonic, .window = 2});
                      }});
  variants.push_back({.name = "local-p",
                      .make = [=](int64_t heads) -> Core {
                        return std::make_unique<LocalAttention>(make_score(ScoreKind::kGeneral, narrow_keys(heads)),
                                                                LocalAttentionOptions{.window = 2});
                      },
                      .key = 2,
                      .sum = Variant::Sum::kAtMostOne});
  variants.push_back({.name = "location", .make = [](int64_t heads) -> Core {
                        return std::make_unique<LocationAttention>(
                            LocationAttentionOptions{.query = 4, .heads = heads, .max_keys = 6});
                      }});
  variants.push_back({.name = "location-aware",
                      .make = [=](int64_t heads) -> Core {
                        return std::make_unique<LocationAwareAttention>(
                            LocationAwareOptions{.sizes = narrow_keys(heads), .filters = 2, .width = 3});
                      },
                      .key = 2});
  variants.push_back({.name = "coverage",
                      .make = [=](int64_t heads) -> Core {
                        return std::make_unique<CoverageAttention>(
                            HistoryAttentionOptions{.sizes = narrow_keys(heads)});
                      },
                      .key = 2});
  for (const bool hard : {false, true}) {
    variants.push_back({.name = hard ? "monotonic, hard" : "monotonic, expected",
                        .make = [=](int64_t heads) -> Core {
                          auto core =
                              std::make_unique<MonotonicAttention>(make_score(ScoreKind::kAdditive, narrow_keys(heads)),
                                                                   MonotonicAttentionOptions{.noise = 0});
                          core->train(!hard);
                          return core;
                        },
                        .key = 2,
                        .sum = Variant::Sum::kAtMostOne,
                        .weights = hard ? Variant::Weights::kChoice : Variant::Weights::kSmooth});
  }
  variants.push_back({.name = "soft image",
                      .make = [=](int64_t heads) -> Core {
                        return std::make_unique<ImageAttention>(make_score(ScoreKind::kAdditive, narrow_keys(heads)));
                      },
                      .key = 2,
                      .output = Variant::Output::kOther});
  variants.push_back({.name = "hard image, most probable region",
                      .make = [=](int64_t heads) -> Core {
                        auto core = std::make_unique<ImageAttention>(
                            make_score(ScoreKind::kAdditive, narrow_keys(heads)),
                            ImageAttentionOptions{.kind = ImageAttentionKind::kHard, .gate = false});
                        core->eval();
                        return core;
                      },
                      .key = 2,
                      .weights = Variant::Weights::kChoice});
}

}  // namespace attune::testing
