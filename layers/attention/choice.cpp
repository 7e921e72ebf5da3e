#include "layers/attention/choice.h"

#include "framework/fail.h"
#include "layers/attention/global.h"
#include "layers/attention/history.h"
#include "layers/attention/image.h"
#include "layers/attention/local.h"
#include "layers/attention/location.h"
#include "layers/attention/monotonic.h"
#include "layers/attention/scaled_dot_product.h"

namespace attune {
namespace {

struct Named {
  const char* name;
  AttentionKind kind;
  ScoreKind score;
};

constexpr Named kNamed[] = {
    {"dot", AttentionKind::kGlobal, ScoreKind::kDot},
    {"scaled-dot", AttentionKind::kGlobal, ScoreKind::kScaledDot},
    {"general", AttentionKind::kGlobal, ScoreKind::kGeneral},
    {"concat", AttentionKind::kGlobal, ScoreKind::kConcat},
    {"additive", AttentionKind::kGlobal, ScoreKind::kAdditive},
    {"normed-additive", AttentionKind::kGlobal, ScoreKind::kNormedAdditive},
    {"cosine", AttentionKind::kGlobal, ScoreKind::kCosine},
    {"keras-dot", AttentionKind::kGlobal, ScoreKind::kKerasDot},
    {"keras-concat", AttentionKind::kGlobal, ScoreKind::kKerasConcat},
    {"keras-additive", AttentionKind::kGlobal, ScoreKind::kKerasAdditive},
    {"local-m", AttentionKind::kLocalM, ScoreKind::kGeneral},
    {"local-p", AttentionKind::kLocalP, ScoreKind::kGeneral},
    {"location", AttentionKind::kLocation, ScoreKind::kAdditive},
    {"location-aware", AttentionKind::kLocationAware, ScoreKind::kAdditive},
    {"coverage", AttentionKind::kCoverage, ScoreKind::kAdditive},
    {"monotonic", AttentionKind::kMonotonic, ScoreKind::kNormedAdditive},
    {"soft-image", AttentionKind::kSoftImage, ScoreKind::kAdditive},
    {"hard-image", AttentionKind::kHardImage, ScoreKind::kAdditive},
};

std::unique_ptr<AttentionCore> make_global(const AttentionChoice& choice) {
  if (choice.score == ScoreKind::kDot || choice.score == ScoreKind::kScaledDot) {
    const ScoreSizes& sizes = choice.sizes;
    require<ValueError>(sizes.key == 0 || sizes.key == sizes.query,
                        "make_attention: width of query {} and key {} given, expected equal ones for products of both",
                        sizes.query, sizes.key);
    const double scale = choice.score == ScoreKind::kDot ? 1 : 0;
    return std::make_unique<ScaledDotProduct>(ScaledDotProductOptions{.scale = scale, .dropout = choice.dropout});
  }
  return std::make_unique<GlobalAttention>(make_score(choice.score, choice.sizes),
                                           GlobalAttentionOptions{.dropout = choice.dropout});
}

}  // namespace

AttentionChoice attention_named(std::string_view name) {
  for (const Named& known : kNamed) {
    if (name == known.name) return {.kind = known.kind, .score = known.score};
  }
  fail<ValueError>("attention_named: there is no '{}', expected one of {}", name, fmt::join(attention_names(), ", "));
}

const std::vector<std::string>& attention_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Named& known : kNamed) all.emplace_back(known.name);
    return all;
  }();
  return names;
}

std::unique_ptr<AttentionCore> make_attention(const AttentionChoice& choice) {
  const auto local = [&](LocalKind kind) {
    return std::make_unique<LocalAttention>(
        make_score(choice.score, choice.sizes),
        LocalAttentionOptions{.kind = kind, .window = choice.window, .dropout = choice.dropout});
  };
  const auto image = [&](ImageAttentionKind kind) {
    return std::make_unique<ImageAttention>(make_score(choice.score, choice.sizes),
                                            ImageAttentionOptions{.kind = kind, .dropout = choice.dropout});
  };
  switch (choice.kind) {
    case AttentionKind::kGlobal:
      return make_global(choice);
    case AttentionKind::kLocalM:
      return local(LocalKind::kMonotonic);
    case AttentionKind::kLocalP:
      return local(LocalKind::kPredictive);
    case AttentionKind::kLocation:
      return std::make_unique<LocationAttention>(LocationAttentionOptions{.query = choice.sizes.query,
                                                                          .heads = choice.sizes.heads,
                                                                          .max_keys = choice.max_keys,
                                                                          .dropout = choice.dropout});
    case AttentionKind::kLocationAware:
      return std::make_unique<LocationAwareAttention>(
          LocationAwareOptions{.sizes = choice.sizes, .dropout = choice.dropout});
    case AttentionKind::kCoverage:
      return std::make_unique<CoverageAttention>(
          HistoryAttentionOptions{.sizes = choice.sizes, .dropout = choice.dropout});
    case AttentionKind::kMonotonic:
      return std::make_unique<MonotonicAttention>(make_score(choice.score, choice.sizes),
                                                  MonotonicAttentionOptions{.dropout = choice.dropout});
    case AttentionKind::kSoftImage:
      return image(ImageAttentionKind::kSoft);
    case AttentionKind::kHardImage:
      return image(ImageAttentionKind::kHard);
  }
  fail<ValueError>("make_attention: {} is no AttentionKind", static_cast<int>(choice.kind));
}

}  // namespace attune
