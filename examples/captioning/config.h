#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "examples/support/settings.h"
#include "examples/support/text_training.h"

namespace attune::examples::captioning {

/// How captions become tokens: whole words, lower case.
struct TextConfig {
  int64_t min_count = 5;    ///< rarer words are unknown
  int64_t max_length = 40;  ///< tokens of a caption, <eos> included; longer ones are left out of the training

  bool operator==(const TextConfig&) const = default;
};

struct ModelConfig {
  std::string encoder = "conv";       ///< conv or patch
  std::string decoder = "recurrent";  ///< recurrent or transformer
  bool blind = false;                 ///< the decoder is shown nothing: the control, a language model of captions
  double encoder_dropout = 0.1;       ///< of the states of a conv encoder, everywhere in a patch encoder
  double dropout = 0.4;               ///< of the decoder: embeddings, branches or features
  bool share_head = true;             ///< the output layer has the weights of the embeddings

  // Of a conv encoder.
  int64_t stem = 32;      ///< channels of the first convolution
  int64_t channels = 64;  ///< of the first stage; each further one has twice as many
  int64_t stages = 3;
  int64_t stage_blocks = 1;

  // Of a patch encoder.
  int64_t patch = 16;                       ///< height and width of a patch
  std::string patch_stem = "convolutions";  ///< linear or convolutions
  int64_t encoder_blocks = 4;

  // Of embeddings and features; also of the states of Transformers and of the patch encoder.
  int64_t dim = 256;

  // Of Transformers.
  int64_t heads = 4;
  int64_t ffn_dim = 1024;
  int64_t decoder_blocks = 3;

  // Of a recurrent decoder.
  std::string attention = "soft-image";  ///< a name of attention_names(), or none
  int64_t attention_hidden = 256;        ///< width of the layer inside an additive score
  std::string cell = "lstm";             ///< gru or lstm
  int64_t hidden = 512;                  ///< of its states

  bool operator==(const ModelConfig&) const = default;
};

struct TrainingConfig : TextTrainingConfig {
  int64_t pictures = 32;             ///< of a batch
  int64_t captions_per_picture = 5;  ///< that share a picture in a batch, which is changed in one way for all of them

  double words = 0;              ///< weight of naming words from the whole picture: see CaptionLoss
  double doubly_stochastic = 0;  ///< lambda of the penalty of "Show, Attend and Tell", eq. 14
  double reward = 1;             ///< lambda_r, of hard attention: see ReinforceLoss
  double entropy = 0.01;         ///< lambda_e
  double baseline_decay = 0.9;   ///< of the mean likelihood that rewards are compared with

  // What is changed at random in a picture: see ImageAugmentation.
  double min_area = 1;
  double max_stretch = 1;
  double flip = 0;
  double brightness = 0;
  double contrast = 0;
  double saturation = 0;

  std::string select = "cider";     ///< what decides which evaluation is best: cider, bleu4 or loss
  int64_t validation_pictures = 0;  ///< of the validation data that captions are written for; 0: all

  bool operator==(const TrainingConfig&) const = default;
};

/// Hard attention is trained by rewards, see CaptionLoss.
bool has_hard_attention(const ModelConfig& model);

/// What is trained on, and how: everything that decides about a run's weights.
struct RunConfig {
  std::string data;          ///< folder; empty: the embedded scenes
  int64_t scenes = 2000;     ///< embedded scenes to learn from
  int64_t image_size = 128;  ///< height and width of the pictures as the model sees them
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

/// "scenes" (the embedded data), "show-attend-tell", "show-attend-tell-hard" and "patch-transformer".
std::vector<std::string> preset_names();
/// Throws UsageError for another name.
Config preset(std::string_view name);

/// Refers to `config`.
Settings settings_of(Config& config);
/// Indented JSON, ended by a newline.
std::string to_json(Config config);

/// Throws FormatError that begins with `origin` when values do not fit each other.
void check(const Config& config, const std::string& origin);

}  // namespace attune::examples::captioning
