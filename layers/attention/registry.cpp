#include "layers/attention/registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "framework/fail.h"
#include "layers/attention/global.h"
#include "layers/attention/history.h"
#include "layers/attention/image.h"
#include "layers/attention/linear_attention.h"
#include "layers/attention/linformer.h"
#include "layers/attention/local.h"
#include "layers/attention/location.h"
#include "layers/attention/monotonic.h"
#include "layers/attention/performer.h"
#include "layers/attention/relative.h"
#include "layers/attention/scaled_dot_product.h"

namespace attune {
namespace {

using Core = std::unique_ptr<AttentionCore>;

void require_equal_widths(const AttentionConfig& config) {
  const ScoreSizes& sizes = config.sizes;
  require<ValueError>(sizes.query > 0 && (sizes.key == 0 || sizes.key == sizes.query),
                      "make_attention: {} for width of query {} and key {}, expected equal ones, at least 1",
                      config.name, sizes.query, sizes.key);
}

std::unique_ptr<Score> score_of(const AttentionConfig& config) { return make_score(*config.score, config.sizes); }

Core make_product(const AttentionConfig& config) {
  require_equal_widths(config);
  const double scale = config.name == "dot" ? 1 : 0;
  return std::make_unique<ScaledDotProduct>(ScaledDotProductOptions{.scale = scale, .dropout = config.dropout});
}

Core make_global(const AttentionConfig& config) {
  return std::make_unique<GlobalAttention>(score_of(config), GlobalAttentionOptions{.dropout = config.dropout});
}

template <LocalKind kKind>
Core make_local(const AttentionConfig& config) {
  return std::make_unique<LocalAttention>(
      score_of(config), LocalAttentionOptions{.kind = kKind, .window = config.window, .dropout = config.dropout});
}

Core make_location(const AttentionConfig& config) {
  return std::make_unique<LocationAttention>(LocationAttentionOptions{.query = config.sizes.query,
                                                                      .heads = config.sizes.heads,
                                                                      .max_keys = config.max_keys,
                                                                      .dropout = config.dropout});
}

Core make_location_aware(const AttentionConfig& config) {
  return std::make_unique<LocationAwareAttention>(
      LocationAwareOptions{.sizes = config.sizes, .dropout = config.dropout});
}

Core make_coverage(const AttentionConfig& config) {
  return std::make_unique<CoverageAttention>(HistoryAttentionOptions{.sizes = config.sizes, .dropout = config.dropout});
}

Core make_monotonic(const AttentionConfig& config) {
  return std::make_unique<MonotonicAttention>(score_of(config), MonotonicAttentionOptions{.dropout = config.dropout});
}

template <ImageAttentionKind kKind>
Core make_image(const AttentionConfig& config) {
  return std::make_unique<ImageAttention>(score_of(config),
                                          ImageAttentionOptions{.kind = kKind, .dropout = config.dropout});
}

Core make_linear(const AttentionConfig& config) {
  require_equal_widths(config);
  return std::make_unique<LinearAttention>();
}

Core make_performer(const AttentionConfig& config) {
  require_equal_widths(config);
  return std::make_unique<Performer>(config.sizes.query, PerformerOptions{.features = config.features});
}

Core make_linformer(const AttentionConfig& config) {
  require_equal_widths(config);
  return std::make_unique<Linformer>(
      LinformerOptions{.keys = config.max_keys, .projected = config.projected, .dropout = config.dropout});
}

Core make_relative(const AttentionConfig& config) {
  require_equal_widths(config);
  return std::make_unique<RelativeAttention>(config.sizes.query,
                                             RelativeAttentionOptions{.max_distance = config.max_distance,
                                                                      .value_size = config.value_size,
                                                                      .dropout = config.dropout,
                                                                      .align = config.align});
}

void add_scores(std::deque<RegisteredAttention>& rows) {
  const AttentionTraits equal{.equal_widths = true};
  rows.push_back({"dot", "softmax(q k)", "Luong et al., 2015, eq. 8", equal, {}, make_product});
  rows.push_back({"scaled-dot", "softmax(q k / sqrt(K))", "Vaswani et al., 2017, eq. 1", equal, {}, make_product});
  const auto add = [&](const char* name, const char* what, const char* paper, ScoreKind score, AttentionTraits traits) {
    rows.push_back({name, what, paper, traits, score, make_global});
  };
  add("general", "softmax(q W k)", "Luong et al., 2015, eq. 8", ScoreKind::kGeneral, {});
  add("concat", "softmax(v tanh(W [q; k]))", "Luong et al., 2015, eq. 8", ScoreKind::kConcat, {});
  add("additive", "softmax(v tanh(W q + U k))", "Bahdanau et al., 2015, appendix A.1.2", ScoreKind::kAdditive, {});
  add("normed-additive", "softmax(g v / norm(v) tanh(W q + U k + b))", "Salimans and Kingma, 2016, eq. 2",
      ScoreKind::kNormedAdditive, {});
  add("cosine", "softmax(beta cos(q, k))", "Graves et al., 2014, eq. 5 and 6", ScoreKind::kCosine, equal);
  add("keras-dot", "softmax(scale q k)", "Keras, Attention", ScoreKind::kKerasDot, equal);
  add("keras-concat", "softmax(weight sum(tanh(scale (q + k))))", "Keras, Attention", ScoreKind::kKerasConcat, equal);
  add("keras-additive", "softmax(sum(scale tanh(q + k)))", "Keras, AdditiveAttention", ScoreKind::kKerasAdditive,
      equal);
}

void add_alignments(std::deque<RegisteredAttention>& rows) {
  rows.push_back({"local-m",
                  "softmax over a window around the query's position",
                  "Luong et al., 2015, section 3.2",
                  {.any_score = true, .position = true},
                  ScoreKind::kGeneral,
                  make_local<LocalKind::kMonotonic>});
  rows.push_back({"local-p",
                  "a window around a predicted position, times a Gaussian",
                  "Luong et al., 2015, eq. 9 and 10",
                  {.any_score = true, .position = true, .normalized = false},
                  ScoreKind::kGeneral,
                  make_local<LocalKind::kPredictive>});
  rows.push_back({"location",
                  "softmax(W q), a row of W for each key",
                  "Luong et al., 2015, eq. 8",
                  {.fixed_length = true},
                  {},
                  make_location});
  rows.push_back({"location-aware",
                  "additive with convolved weights of the query before",
                  "Chorowski et al., 2015, eq. 8 and 9",
                  {.earlier_queries = true},
                  {},
                  make_location_aware});
  rows.push_back({"coverage",
                  "additive with the sum of earlier weights",
                  "See et al., 2017, eq. 10 and 11",
                  {.earlier_queries = true},
                  {},
                  make_coverage});
  rows.push_back({"monotonic",
                  "expected or hard monotonic alignment",
                  "Raffel et al., 2017, sections 2.2 and 2.3",
                  {.any_score = true, .earlier_queries = true, .draws = true, .normalized = false},
                  ScoreKind::kNormedAdditive,
                  make_monotonic});
  rows.push_back({"soft-image",
                  "weights over regions, gated by the query",
                  "Xu et al., 2015, section 4.2",
                  {.any_score = true, .weighted_values = false},
                  ScoreKind::kAdditive,
                  make_image<ImageAttentionKind::kSoft>});
  rows.push_back({"hard-image",
                  "one sampled region, gated by the query",
                  "Xu et al., 2015, section 4.1",
                  {.any_score = true, .draws = true, .rewarded = true, .weighted_values = false},
                  ScoreKind::kAdditive,
                  make_image<ImageAttentionKind::kHard>});
}

void add_efficient(std::deque<RegisteredAttention>& rows) {
  rows.push_back({"linear",
                  "phi(q) (phi(k) v) / phi(q) phi(k), phi = elu + 1",
                  "Katharopoulos et al., 2020, eq. 7",
                  {.equal_widths = true},
                  {},
                  make_linear});
  rows.push_back({"performer",
                  "linear attention by positive random features",
                  "Choromanski et al., 2021, section 2",
                  {.equal_widths = true},
                  {},
                  make_performer});
  rows.push_back({"linformer",
                  "softmax over projected keys and values",
                  "Wang et al., 2020, eq. 7",
                  {.equal_widths = true, .fixed_length = true, .same_mask = true, .normalized = false},
                  {},
                  make_linformer});
  rows.push_back({"relative",
                  "softmax(q (k + a) / sqrt(K)), a vector for each distance",
                  "Shaw et al., 2018, eq. 3 and 4",
                  {.equal_widths = true, .weighted_values = false},
                  {},
                  make_relative});
}

std::deque<RegisteredAttention>& rows() {
  static std::deque<RegisteredAttention> all = [] {
    std::deque<RegisteredAttention> built_in;
    add_scores(built_in);
    add_alignments(built_in);
    add_efficient(built_in);
    return built_in;
  }();
  return all;
}

const RegisteredAttention* find(std::string_view name) {
  const auto found = std::find_if(rows().begin(), rows().end(), [&](const auto& row) { return row.name == name; });
  return found == rows().end() ? nullptr : &*found;
}

const RegisteredAttention& require_row(const char* who, std::string_view name) {
  const RegisteredAttention* row = find(name);
  require<ValueError>(row != nullptr, "{}: there is no '{}', expected one of {}", who, name,
                      fmt::join(attention_names(), ", "));
  return *row;
}

}  // namespace

void register_attention(RegisteredAttention attention) {
  require<ValueError>(!attention.name.empty() && attention.make != nullptr,
                      "register_attention: '{}' {} a factory given, expected a name and a factory", attention.name,
                      attention.make == nullptr ? "without" : "with");
  require<ValueError>(find(attention.name) == nullptr,
                      "register_attention: '{}' is registered already, as \"{}\"; choose another name", attention.name,
                      find(attention.name) == nullptr ? "" : find(attention.name)->what);
  rows().push_back(std::move(attention));
}

const std::deque<RegisteredAttention>& registered_attentions() { return rows(); }

std::vector<std::string> attention_names() {
  std::vector<std::string> names;
  for (const RegisteredAttention& row : rows()) names.push_back(row.name);
  return names;
}

const RegisteredAttention& registered_attention(std::string_view name) {
  return require_row("registered_attention", name);
}

AttentionConfig attention_config(std::string_view name) { return {.name = require_row("attention_config", name).name}; }

std::unique_ptr<AttentionCore> make_attention(const AttentionConfig& config) {
  const RegisteredAttention& row = require_row("make_attention", config.name);
  require<ValueError>(!config.score.has_value() || row.traits.any_score,
                      "make_attention: a score given for {}, which has its own; leave it out", config.name);
  AttentionConfig whole = config;
  if (!whole.score) whole.score = row.score;
  return row.make(whole);
}

std::string why_unfit(const RegisteredAttention& attention, const AttentionUse& use) {
  const AttentionTraits& traits = attention.traits;
  const int64_t key = use.key == 0 ? use.query : use.key;
  if (traits.equal_widths && key != use.query) {
    return fmt::format("it compares queries of width {} with keys of width {}, expected equal ones", use.query, key);
  }
  if (traits.same_mask && use.causal)
    return "it needs a mask that is the same for all queries, which a causal one is not";
  if (traits.fixed_length && !use.bounded) return "it needs a fixed length, the most keys that a sequence has";
  if (traits.earlier_queries && use.cached) {
    return "it draws on the weights of earlier queries, which a cache of keys does not hold";
  }
  if (traits.position && use.cached) return "it draws on the whole sequence, of which a cache holds a part";
  if (traits.rewarded && !use.rewarded) return "it chooses, which has no gradient: its training needs ReinforceLoss";
  return {};
}

}  // namespace attune
