#include "examples/captioning/config.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "examples/support/placement.h"
#include "examples/support/program.h"
#include "framework/fail.h"
#include "layers/attention/registry.h"

namespace attune::examples::captioning {
namespace {

constexpr const char* kNames[] = {"scenes", "show-attend-tell", "show-attend-tell-hard", "patch-transformer"};

constexpr const char* kNoAttention = "none";

std::vector<std::string> attentions() {
  std::vector<std::string> names = attention_names();
  names.insert(names.begin(), kNoAttention);
  return names;
}

int64_t encoder_dim(const ModelConfig& model) {
  return model.encoder == "conv" ? model.channels << (model.stages - 1) : model.dim;
}

/// Why the attention does not fit the decoder; empty where it does.
std::string why_unfit(const ModelConfig& model) {
  if (model.decoder != "recurrent" || model.attention == kNoAttention) return {};
  return attune::why_unfit(registered_attention(model.attention),
                           {.query = model.hidden, .key = encoder_dim(model), .bounded = true, .rewarded = true});
}

/// Nothing that captions speak of may change: no cuts and no flips, as they say where things are, and no colours.
Config scenes() {
  Config config;
  config.text.min_count = 1;
  config.model = {.encoder_dropout = 0,
                  .dropout = 0.1,
                  .stem = 16,
                  .channels = 32,
                  .stages = 2,
                  .dim = 64,
                  .attention_hidden = 64,
                  .hidden = 128};
  config.training.epochs = 25;
  config.training.label_smoothing = 0;
  config.training.learning_rate = 4e-3;
  config.training.warmup = 100;
  config.training.schedule = "cosine";
  config.training.average_decay = 0.98;
  config.run.image_size = 64;
  return config;
}

/// For some thousand photographs and no encoder that was trained before: whatever makes more of few pictures.
Config photographs() {
  Config config;
  TrainingConfig& training = config.training;
  training.epochs = 20;
  training.pictures = 48;
  training.captions_per_picture = 2;  // a picture is seen changed in more ways, and costs no more than they
  training.words = 0.3;
  training.learning_rate = 1e-3;
  training.warmup = 500;
  training.schedule = "cosine";
  training.weight_decay = 0.05;
  training.average_decay = 0.999;
  training.evaluate_every = 400;
  training.min_area = 0.6;
  training.max_stretch = 1.2;
  training.flip = 0.5;
  training.brightness = training.contrast = training.saturation = 0.2;
  return config;
}

/// Xu et al., 2015, with a smaller encoder, which learns with the decoder.
Config show_attend_tell() {
  Config config = photographs();
  config.training.doubly_stochastic = 1;
  return config;
}

Config show_attend_tell_hard() {
  Config config = photographs();
  config.model.attention = "hard-image";
  config.training.label_smoothing = 0;
  return config;
}

Config patch_transformer() {
  Config config = photographs();
  config.model.encoder = "patch";
  config.model.decoder = "transformer";
  config.model.dropout = 0.3;
  config.training.warmup = 1000;
  return config;
}

/// Numbers in the widest of the first layers for one picture: what its reading takes grows with them, and no weights
/// have their number.
int64_t widest_layer(const ModelConfig& model, int64_t size) {
  const auto pixels = [&](int64_t shrinking) { return (size / shrinking) * (size / shrinking); };
  if (model.encoder == "conv") return std::max(model.stem * pixels(2), model.channels * pixels(4));
  if (model.patch_stem == "linear") return model.dim * pixels(model.patch);
  return std::max<int64_t>(model.dim * 2 / model.patch, 1) * pixels(2);
}

}  // namespace

std::vector<std::string> preset_names() { return {std::begin(kNames), std::end(kNames)}; }

Config preset(std::string_view name) {
  if (name == "scenes") return scenes();
  if (name == "show-attend-tell") return show_attend_tell();
  if (name == "show-attend-tell-hard") return show_attend_tell_hard();
  if (name == "patch-transformer") return patch_transformer();
  throw UsageError(fmt::format("preset '{}' is not known, expected one of {}", name, fmt::join(preset_names(), ", ")));
}

bool has_hard_attention(const ModelConfig& model) {
  return model.decoder == "recurrent" && model.attention != kNoAttention &&
         registered_attention(model.attention).traits.rewarded;
}

Settings settings_of(Config& config) {
  TextConfig& text = config.text;
  ModelConfig& model = config.model;
  TrainingConfig& training = config.training;
  RunConfig& run = config.run;
  std::vector<Setting> settings = {
      {"text", "min_count", WholeSetting{&text.min_count, 1}},
      {"text", "max_length", WholeSetting{&text.max_length, 2, 65536}},
      {"model", "encoder", TextSetting{&model.encoder, {"conv", "patch"}}},
      {"model", "decoder", TextSetting{&model.decoder, {"recurrent", "transformer"}}},
      {"model", "blind", SwitchSetting{&model.blind}},
      {"model", "encoder_dropout", NumberSetting{&model.encoder_dropout, 0, 1}},
      {"model", "dropout", NumberSetting{&model.dropout, 0, 1}},
      {"model", "share_head", SwitchSetting{&model.share_head}},
      {"model", "stem", WholeSetting{&model.stem, 1, 4096}},
      {"model", "channels", WholeSetting{&model.channels, 1, 4096}},
      {"model", "stages", WholeSetting{&model.stages, 1, 8}},
      {"model", "stage_blocks", WholeSetting{&model.stage_blocks, 1, 64}},
      {"model", "patch", WholeSetting{&model.patch, 1, 1024}},
      {"model", "patch_stem", TextSetting{&model.patch_stem, {"linear", "convolutions"}}},
      {"model", "encoder_blocks", WholeSetting{&model.encoder_blocks, 1, 1024}},
      {"model", "dim", WholeSetting{&model.dim, 1, 8192}},
      {"model", "heads", WholeSetting{&model.heads, 1, 1024}},
      {"model", "ffn_dim", WholeSetting{&model.ffn_dim, 1, 65536}},
      {"model", "decoder_blocks", WholeSetting{&model.decoder_blocks, 1, 1024}},
      {"model", "attention", TextSetting{&model.attention, attentions()}},
      {"model", "attention_hidden", WholeSetting{&model.attention_hidden, 1, 16384}},
      {"model", "cell", TextSetting{&model.cell, {"gru", "lstm"}}},
      {"model", "hidden", WholeSetting{&model.hidden, 1, 16384}},
      {"training", "pictures", WholeSetting{&training.pictures, 1, 65536}},
      {"training", "captions_per_picture", WholeSetting{&training.captions_per_picture, 1, 65536}},
      {"training", "words", NumberSetting{&training.words, 0}},
      {"training", "doubly_stochastic", NumberSetting{&training.doubly_stochastic, 0}},
      {"training", "reward", NumberSetting{&training.reward, 0}},
      {"training", "entropy", NumberSetting{&training.entropy, 0}},
      {"training", "baseline_decay", NumberSetting{&training.baseline_decay, 0, 1}},
      {"training", "min_area", NumberSetting{&training.min_area, 0.01, 1.0001}},
      {"training", "max_stretch", NumberSetting{&training.max_stretch, 1, 100}},
      {"training", "flip", NumberSetting{&training.flip, 0, 1.0001}},
      {"training", "brightness", NumberSetting{&training.brightness, 0, 1.0001}},
      {"training", "contrast", NumberSetting{&training.contrast, 0, 1.0001}},
      {"training", "saturation", NumberSetting{&training.saturation, 0, 1.0001}},
      {"training", "select", TextSetting{&training.select, {"cider", "bleu4", "loss"}}},
      {"training", "validation_pictures", WholeSetting{&training.validation_pictures, 0}},
  };
  const std::vector<Setting> common = training_settings(training);
  settings.insert(settings.end(), common.begin(), common.end());
  settings.insert(settings.end(), {
                                      {"run", "data", TextSetting{&run.data}},
                                      {"run", "scenes", WholeSetting{&run.scenes, 1}},
                                      {"run", "image_size", WholeSetting{&run.image_size, 1, 4096}},
                                      {"run", "seed", SeedSetting{&run.seed}},
                                      {"run", "threads", WholeSetting{&run.threads, 0, 1024}},
                                      {"run", "precision", TextSetting{&run.precision, precision_names()}},
                                      {"run", "steps", WholeSetting{&run.steps, 0}},
                                      {"run", "init", TextSetting{&run.init}},
                                  });
  return Settings("attune-captioning", std::move(settings));
}

std::string to_json(Config config) { return settings_of(config).to_json(); }

void check(const Config& config, const std::string& origin) {
  const ModelConfig& model = config.model;
  const TrainingConfig& training = config.training;
  const bool transformer = model.encoder == "patch" || model.decoder == "transformer";
  require<FormatError>(!transformer || model.dim % model.heads == 0,
                       "{}: model.dim is {} and model.heads {}, expected heads that divide dim", origin, model.dim,
                       model.heads);
  const std::string unfit = why_unfit(model);
  require<FormatError>(unfit.empty(), "{}: model.attention is {}, which does not fit: {}", origin, model.attention,
                       unfit);
  const bool soft = model.decoder == "recurrent" && model.attention != kNoAttention && !has_hard_attention(model);
  require<FormatError>(training.doubly_stochastic == 0 || soft,
                       "{}: training.doubly_stochastic is {}, expected 0: a penalty is for the soft attention of a "
                       "recurrent decoder",
                       origin, training.doubly_stochastic);
  require<FormatError>(training.label_smoothing == 0 || !has_hard_attention(model),
                       "{}: training.label_smoothing is {}, expected 0: hard attention is rewarded for the likelihood "
                       "of the captions as they are",
                       origin, training.label_smoothing);
  require<FormatError>(training.words == 0 || encoder_dim(model) == model.dim,
                       "{}: training.words is {} and the encoder's states are {} wide, expected model.dim, {}, as the "
                       "head reads them",
                       origin, training.words, encoder_dim(model), model.dim);
  constexpr int64_t kMostNumbers = 1 << 24;
  require<FormatError>(
      widest_layer(model, config.run.image_size) <= kMostNumbers,
      "{}: run.image_size is {}, expected a smaller one: the first layers have {} numbers for a picture, "
      "at most {} are possible",
      origin, config.run.image_size, widest_layer(model, config.run.image_size), kMostNumbers);
  check_training(training, origin);
}

}  // namespace attune::examples::captioning
