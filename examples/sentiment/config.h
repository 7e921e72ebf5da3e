#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "examples/support/settings.h"

namespace attune::examples {

/// How text becomes tokens.
struct TextConfig {
  bool lower_case = true;
  bool split_punctuation = true;
  int64_t min_count = 1;       ///< rarer words are unknown
  int64_t max_vocabulary = 0;  ///< 0: no limit
  int64_t max_length = 256;    ///< tokens
  bool truncate = false;       ///< cut longer texts; false: they are an error

  bool operator==(const TextConfig&) const = default;
};

struct ModelConfig {
  int64_t members = 1;  ///< classifiers whose probabilities are averaged
  int64_t dim = 128;
  int64_t heads = 4;
  int64_t blocks = 2;
  int64_t ffn_dim = 256;
  bool norm_first = true;
  std::string attention = "scaled-dot";  ///< how heads attend: a name of attention_names()
  int64_t neighbours = 0;                ///< words on either side that are mixed in first; 0: none
  std::string positions = "sinusoidal";  ///< learned, sinusoidal or none
  std::string pooling = "attention";     ///< attention, mean or first
  double embedding_stddev = 1;           ///< of the words' vectors at first
  double embedding_dropout = 0.1;
  double dropout = 0.1;
  double head_dropout = 0.1;

  bool operator==(const ModelConfig&) const = default;
};

struct TrainingConfig {
  int64_t epochs = 6;
  int64_t batch_size = 64;
  std::string optimizer = "adamw";  ///< adam or adamw
  double learning_rate = 1e-3;
  double beta2 = 0.98;              ///< of Adam
  std::string schedule = "cosine";  ///< cosine, inverse_sqrt or constant
  double warmup = 0.05;             ///< share of all steps
  double weight_decay = 0.01;
  double clip_norm = 1;
  double label_smoothing = 0;
  double word_dropout = 0;            ///< share of the words that become unknown
  double average_decay = 0;           ///< of the weight average that is evaluated; 0: none
  int64_t evaluations_per_epoch = 1;  ///< on the development data
  double save_every = 30;             ///< seconds between saves of last.h5

  bool operator==(const TrainingConfig&) const = default;
};

/// What is trained on, and how: everything that decides about a run's weights.
struct RunConfig {
  std::string data;  ///< path; empty: the embedded reviews
  std::string dev;   ///< path; empty: a part of the data
  uint64_t seed = 1;
  int64_t threads = 0;                ///< sums are split by threads, so results depend on their number
  std::string precision = "float32";  ///< one of precision_names(), of activations and products
  int64_t steps = 0;                  ///< planned when the run began
  std::string init{};                 ///< checkpoint whose weights it began with; empty: drawn ones

  bool operator==(const RunConfig&) const = default;
};

struct Config {
  TextConfig text;
  ModelConfig model;
  TrainingConfig training;
  RunConfig run;

  bool operator==(const Config&) const = default;
};

/// "reviews" (the embedded data) and "sst2".
std::vector<std::string> preset_names();
/// Throws UsageError for another name.
Config preset(std::string_view name);

/// Refers to `config`.
Settings settings_of(Config& config);
/// Indented JSON, ended by a newline.
std::string to_json(Config config);

/// Throws FormatError that begins with `origin` when values do not fit each other.
void check(const Config& config, const std::string& origin);

}  // namespace attune::examples
