#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "examples/support/settings.h"
#include "examples/support/text_training.h"

namespace attune::examples::translation {

/// How sentences become tokens.
struct TextConfig {
  std::string codec = "bpe";      ///< bpe, unigram or words
  bool joint = true;              ///< one vocabulary for both languages
  int64_t vocabulary = 10000;     ///< tokens; of words at most, 0: no limit
  int64_t min_count = 1;          ///< rarer words are unknown
  double character_coverage = 1;  ///< of subwords, see CodecOptions
  bool lower_case = false;
  bool normalize = false;              ///< punctuation becomes plain
  bool tokenize = false;               ///< Moses' tokens
  double dropout = 0;                  ///< of merges of bpe while training, see BpeDropout
  int64_t max_length = 256;            ///< tokens of a side, <eos> included
  std::string overlong = "leave-out";  ///< pairs of the training data that are longer: leave-out, truncate or error

  bool operator==(const TextConfig&) const = default;
};

struct ModelConfig {
  std::string kind = "transformer";  ///< transformer or recurrent
  int64_t dim = 128;                 ///< of embeddings and features
  double dropout = 0.1;              ///< of embeddings and branches
  std::string sharing = "all";       ///< of embeddings: all (output as well), target (its output) or none

  // Of a Transformer.
  int64_t encoder_blocks = 4;
  int64_t decoder_blocks = 4;
  int64_t heads = 4;
  int64_t ffn_dim = 256;
  double attention_dropout = 0;  ///< of the attention weights
  double hidden_dropout = 0;     ///< of the hidden layers
  bool norm_first = true;
  std::string positions = "sinusoidal";  ///< sinusoidal, learned or rotary
  std::string activation = "relu";       ///< a name of activation_names()

  // Of a recurrent model.
  std::string cell = "gru";            ///< gru or lstm
  int64_t hidden = 512;                ///< states of the decoder, and of the encoder's two directions together
  int64_t layers = 1;                  ///< of the encoder and of the decoder
  std::string form = "bahdanau";       ///< bahdanau or luong: see RecurrentForm
  std::string attention = "additive";  ///< a name of attention_names(), or none
  int64_t window = 10;                 ///< of local-m and local-p, to each side

  bool operator==(const ModelConfig&) const = default;
};

struct TrainingConfig : TextTrainingConfig {
  int64_t max_tokens = 4096;    ///< of a batch, on either side, padding included
  double r_drop = 0;            ///< alpha of R-Drop, see CrossEntropyOptions; above 0 a batch is learned twice at once
  std::string select = "bleu";  ///< what decides which evaluation is best: bleu, tokenised-bleu or loss
  int64_t sentences = 0;        ///< of the validation data that are translated for BLEU; 0: all

  bool operator==(const TrainingConfig&) const = default;
};

/// What is trained on, and how: everything that decides about a run's weights.
struct RunConfig {
  std::string data;    ///< folder; empty: the embedded grammar
  std::string source;  ///< languages
  std::string target;
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

/// "grammar" (the embedded data), "transformer-tiny", "transformer-small", and "rnn-<attention>" for every attention of
/// the library that fits, and for none.
std::vector<std::string> preset_names();
/// Throws UsageError for another name.
Config preset(std::string_view name);

/// Refers to `config`.
Settings settings_of(Config& config);
/// Indented JSON, ended by a newline.
std::string to_json(Config config);

/// Throws FormatError that begins with `origin` when values do not fit each other.
void check(const Config& config, const std::string& origin);

}  // namespace attune::examples::translation
