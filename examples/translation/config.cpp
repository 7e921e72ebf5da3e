#include "examples/translation/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>
#include <utility>

#include "examples/support/placement.h"
#include "examples/support/program.h"
#include "framework/fail.h"
#include "layers/activation_registry.h"
#include "layers/attention/registry.h"

namespace attune::examples::translation {
namespace {

constexpr std::string_view kRecurrent = "rnn-";

constexpr const char* kNoAttention = "none";

std::vector<std::string> attentions() {
  std::vector<std::string> names = attention_names();
  names.insert(names.begin(), kNoAttention);
  return names;
}

/// Why an attention does not fit the decoder, whose states are as wide as the encoder's; empty where it does.
std::string why_unfit(const std::string& attention, const ModelConfig& model) {
  if (attention == kNoAttention) return {};
  return attune::why_unfit(registered_attention(attention), {.query = model.hidden, .bounded = true});
}

/// Those that have a preset: all that fit.
std::vector<std::string> preset_attentions() {
  std::vector<std::string> names = attentions();
  std::erase_if(names, [](const std::string& name) { return !why_unfit(name, {}).empty(); });
  return names;
}

Config grammar() {
  Config config;
  config.text = {.codec = "words", .joint = false, .vocabulary = 0};
  config.model = {.dim = 64, .sharing = "target", .encoder_blocks = 2, .decoder_blocks = 2, .ffn_dim = 128};
  config.training.epochs = 30;
  config.training.max_tokens = 2048;
  config.training.learning_rate = 4e-3;
  config.training.warmup = 200;
  config.training.schedule = "cosine";
  return config;
}

/// The smallest of Wu et al., "Good for Misconceived Reasons" (2021), section 4.1, for Multi30k. They train with a rate
/// of 5e-3, which costs the encoder's first block its gradients: see README.md.
Config tiny() {
  Config config;
  config.text = {.lower_case = true, .normalize = true, .tokenize = true};
  config.model.dropout = 0.3;
  config.model.norm_first = false;
  config.training.epochs = 145;
  config.training.max_tokens = 2048;
  config.training.learning_rate = 3e-3;
  config.training.warmup = 1000;
  config.training.schedule = "cosine";
  config.training.evaluate_every = 480;
  config.training.average_last = 4;
  config.training.sentences = 200;
  config.training.select = "tokenised-bleu";
  return config;
}

Config small() {
  Config config = tiny();
  config.model.dim = 256;
  config.model.encoder_blocks = config.model.decoder_blocks = 3;
  config.model.ffn_dim = 512;
  config.model.heads = 8;
  config.training.learning_rate = 2e-3;
  return config;
}

Config recurrent(const std::string& attention) {
  Config config = tiny();
  config.model.kind = "recurrent";
  config.model.dim = 256;
  config.model.attention = attention;
  // As in the papers that the attentions are from: those of Luong et al. (2015) ask with the new state.
  static const std::set<std::string> kLuong = {"dot", "general", "concat", "local-m", "local-p", "location"};
  config.model.form = kLuong.contains(attention) ? "luong" : "bahdanau";
  config.training.learning_rate = 1e-3;
  config.training.warmup = 500;
  return config;
}

}  // namespace

std::vector<std::string> preset_names() {
  std::vector<std::string> names = {"grammar", "transformer-tiny", "transformer-small"};
  for (const std::string& attention : preset_attentions()) names.push_back(std::string(kRecurrent) + attention);
  return names;
}

Config preset(std::string_view name) {
  if (name == "grammar") return grammar();
  if (name == "transformer-tiny") return tiny();
  if (name == "transformer-small") return small();
  for (const std::string& attention : preset_attentions()) {
    if (name == std::string(kRecurrent) + attention) return recurrent(attention);
  }
  throw UsageError(fmt::format("preset '{}' is not known, expected one of {}", name, fmt::join(preset_names(), ", ")));
}

Settings settings_of(Config& config) {
  TextConfig& text = config.text;
  ModelConfig& model = config.model;
  TrainingConfig& training = config.training;
  RunConfig& run = config.run;
  std::vector<Setting> settings = {
      {"text", "codec", TextSetting{&text.codec, {"bpe", "unigram", "words"}}},
      {"text", "joint", SwitchSetting{&text.joint}},
      {"text", "vocabulary", WholeSetting{&text.vocabulary, 0, 1000000}},
      {"text", "min_count", WholeSetting{&text.min_count, 1}},
      {"text", "character_coverage", NumberSetting{&text.character_coverage, 0.98, 1.0001}},
      {"text", "lower_case", SwitchSetting{&text.lower_case}},
      {"text", "normalize", SwitchSetting{&text.normalize}},
      {"text", "tokenize", SwitchSetting{&text.tokenize}},
      {"text", "dropout", NumberSetting{&text.dropout, 0, 1}},
      {"text", "max_length", WholeSetting{&text.max_length, 2, 65536}},
      {"text", "overlong", TextSetting{&text.overlong, {"leave-out", "truncate", "error"}}},
      {"model", "kind", TextSetting{&model.kind, {"transformer", "recurrent"}}},
      {"model", "dim", WholeSetting{&model.dim, 1, 8192}},
      {"model", "dropout", NumberSetting{&model.dropout, 0, 1}},
      {"model", "sharing", TextSetting{&model.sharing, {"all", "target", "none"}}},
      {"model", "encoder_blocks", WholeSetting{&model.encoder_blocks, 1, 1024}},
      {"model", "decoder_blocks", WholeSetting{&model.decoder_blocks, 1, 1024}},
      {"model", "heads", WholeSetting{&model.heads, 1, 1024}},
      {"model", "ffn_dim", WholeSetting{&model.ffn_dim, 1, 65536}},
      {"model", "attention_dropout", NumberSetting{&model.attention_dropout, 0, 1}},
      {"model", "hidden_dropout", NumberSetting{&model.hidden_dropout, 0, 1}},
      {"model", "norm_first", SwitchSetting{&model.norm_first}},
      {"model", "positions", TextSetting{&model.positions, {"sinusoidal", "learned", "rotary"}}},
      {"model", "activation", TextSetting{&model.activation, activation_names()}},
      {"model", "cell", TextSetting{&model.cell, {"gru", "lstm"}}},
      {"model", "hidden", WholeSetting{&model.hidden, 2, 16384}},
      {"model", "layers", WholeSetting{&model.layers, 1, 64}},
      {"model", "form", TextSetting{&model.form, {"bahdanau", "luong"}}},
      {"model", "attention", TextSetting{&model.attention, attentions()}},
      {"model", "window", WholeSetting{&model.window, 1, 65536}},
      {"training", "max_tokens", WholeSetting{&training.max_tokens, 1}},
      {"training", "r_drop", NumberSetting{&training.r_drop, 0, 1000}},
      {"training", "select", TextSetting{&training.select, {"bleu", "tokenised-bleu", "loss"}}},
      {"training", "sentences", WholeSetting{&training.sentences, 0}},
  };
  const std::vector<Setting> common = training_settings(training);
  settings.insert(settings.end(), common.begin(), common.end());
  settings.insert(settings.end(), {
                                      {"run", "data", TextSetting{&run.data}},
                                      {"run", "source", TextSetting{&run.source}},
                                      {"run", "target", TextSetting{&run.target}},
                                      {"run", "seed", SeedSetting{&run.seed}},
                                      {"run", "threads", WholeSetting{&run.threads, 0, 1024}},
                                      {"run", "precision", TextSetting{&run.precision, precision_names()}},
                                      {"run", "steps", WholeSetting{&run.steps, 0}},
                                      {"run", "init", TextSetting{&run.init}},
                                  });
  return Settings("attune-translation", std::move(settings));
}

std::string to_json(Config config) { return settings_of(config).to_json(); }

void check(const Config& config, const std::string& origin) {
  const ModelConfig& model = config.model;
  const TrainingConfig& training = config.training;
  require<FormatError>(model.kind != "transformer" || model.dim % model.heads == 0,
                       "{}: model.dim is {} and model.heads {}, expected heads that divide dim", origin, model.dim,
                       model.heads);
  require<FormatError>(model.kind != "recurrent" || model.hidden % 2 == 0,
                       "{}: model.hidden is {}, expected an even number: half for each direction of the encoder",
                       origin, model.hidden);
  const std::string unfit = model.kind == "recurrent" ? why_unfit(model.attention, model) : "";
  require<FormatError>(unfit.empty(), "{}: model.attention is {}, which does not fit: {}", origin, model.attention,
                       unfit);
  require<FormatError>(model.sharing != "all" || config.text.joint,
                       "{}: model.sharing is all and text.joint false, expected target or none: separate vocabularies "
                       "have nothing to share",
                       origin);
  require<FormatError>(config.text.codec == "words" || config.text.vocabulary > 0,
                       "{}: text.vocabulary is 0, expected the number of {} pieces", origin, config.text.codec);
  require<FormatError>(
      config.text.codec == "bpe" || config.text.dropout == 0,
      "{}: text.dropout is {} and text.codec {}, expected bpe, whose merges are left out, or dropout 0", origin,
      config.text.dropout, config.text.codec);
  require<FormatError>(training.max_tokens >= config.text.max_length,
                       "{}: training.max_tokens is {} and text.max_length {}, expected room for a sentence", origin,
                       training.max_tokens, config.text.max_length);
  check_training(training, origin);
}

}  // namespace attune::examples::translation
