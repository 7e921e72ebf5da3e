#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "layers/attention/core.h"
#include "layers/attention/score.h"

namespace attune {

/// An attention as an option of a model: the variant by name, sizes by the model. What a variant has no use for is left
/// aside.
///
///     AttentionConfig config = attention_config("location-aware");
///     config.sizes = {.query = decoder, .key = encoder, .hidden = 64};
///     attention_(own("attention", make_attention(config)))
struct AttentionConfig {
  std::string name = "additive";     ///< one of attention_names()
  std::optional<ScoreKind> score{};  ///< in place of the variant's own: see AttentionTraits::any_score
  ScoreSizes sizes{};
  int64_t value_size = 0;      ///< width of a value's head; 0: as the key's
  double dropout = 0;          ///< of the weights, in training only; linear and performer have none to drop
  int64_t window = 10;         ///< D of local-m and local-p
  int64_t max_keys = 256;      ///< of location and linformer
  int64_t projected = 128;     ///< of linformer: keys that are left
  int64_t features = 0;        ///< of performer; 0: K log(K)
  int64_t max_distance = 16;   ///< of relative
  Align align = Align::kLast;  ///< of relative: which key the queries' positions are counted from
};

/// What a variant needs of the model around it, and what its weights are.
struct AttentionTraits {
  bool equal_widths = false;     ///< queries are compared with keys as they are: both are as wide
  bool any_score = false;        ///< AttentionConfig::score may be another
  bool fixed_length = false;     ///< there are at most AttentionConfig::max_keys keys
  bool same_mask = false;        ///< masks are the same for all queries: nothing causal, no window and no bias
  bool earlier_queries = false;  ///< weights draw on those of the queries before
  bool position = false;         ///< weights draw on where a query stands among all, or on how many keys there are
  bool draws = false;            ///< random numbers in training, hard choices in evaluation
  bool rewarded = false;         ///< trained by ReinforceLoss: no gradient flows through its choice
  bool normalized = true;        ///< weights of a query that has keys sum to 1; otherwise to at most 1, or to anything
  bool weighted_values = true;   ///< the output is weights times values, and nothing else
};

/// One variant of attention: a row of the registry.
struct RegisteredAttention {
  std::string name;   ///< lower case, words joined by '-'
  std::string what;   ///< a formula or half a sentence
  std::string paper;  ///< "Vaswani et al., 2017, eq. 1"
  AttentionTraits traits{};
  std::optional<ScoreKind> score{};  ///< its own, of variants that are made of one
  /// Makes one in the sizes of the config. Throws ValueError for sizes that do not fit.
  std::function<std::unique_ptr<AttentionCore>(const AttentionConfig&)> make;
};

/// Adds a variant to those that programs, gradient checks and tests find by name. To be called before models are made,
/// by one thread:
///
///     register_attention({.name = "nearest", .what = "the nearest key", .paper = "mine", .make = make_nearest});
///
/// Throws ValueError for a name that is there already or is empty, and without a factory.
void register_attention(RegisteredAttention attention);

/// All variants: those of the library first, then others in the order of their registration. References stay valid.
const std::deque<RegisteredAttention>& registered_attentions();
std::vector<std::string> attention_names();
/// Throws ValueError listing the names for any other.
const RegisteredAttention& registered_attention(std::string_view name);

/// The config of a variant, by name. Throws ValueError listing the names for any other.
AttentionConfig attention_config(std::string_view name);

/// Throws ValueError for a name that is not there, sizes that do not fit it, and a score where it has its own.
std::unique_ptr<AttentionCore> make_attention(const AttentionConfig& config);

/// What a model does with its attention.
struct AttentionUse {
  int64_t query = 0;      ///< width of a query's head
  int64_t key = 0;        ///< width of a key's head; 0: as the query's
  bool bounded = false;   ///< no sequence has more than AttentionConfig::max_keys keys
  bool causal = false;    ///< masks differ from query to query
  bool cached = false;    ///< MultiHeadAttention::step: each query is attended for by itself
  bool rewarded = false;  ///< the loss is ReinforceLoss
};

/// Why a variant does not fit, half a sentence for messages; empty where it does.
std::string why_unfit(const RegisteredAttention& attention, const AttentionUse& use);

}  // namespace attune
