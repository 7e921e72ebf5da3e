#include "examples/sentiment/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "examples/support/placement.h"
#include "examples/support/program.h"
#include "framework/fail.h"
#include "layers/attention/registry.h"

namespace attune::examples {

std::vector<std::string> preset_names() { return {"reviews", "sst2"}; }

Config preset(std::string_view name) {
  Config config;
  if (name == "reviews") {
    config.training.epochs = 8;
    config.training.learning_rate = 2e-3;
    return config;
  }
  if (name == "sst2") {
    config.text.min_count = 2;
    config.model.members = 4;
    config.model.blocks = 1;
    config.model.neighbours = 1;
    config.model.positions = "none";  // neighbours know the order
    config.model.embedding_stddev = 0.1;
    config.model.embedding_dropout = 0.3;
    config.model.dropout = 0.3;
    config.model.head_dropout = 0.3;
    config.training.epochs = 2;
    config.training.weight_decay = 0.1;
    config.training.word_dropout = 0.2;
    config.training.average_decay = 0.999;
    config.training.evaluations_per_epoch = 4;
    return config;
  }
  throw UsageError(fmt::format("preset '{}' is not known, expected one of {}", name, fmt::join(preset_names(), ", ")));
}

Settings settings_of(Config& config) {
  return Settings(
      "attune-sentiment",
      {
          {"text", "lower_case", SwitchSetting{&config.text.lower_case}},
          {"text", "split_punctuation", SwitchSetting{&config.text.split_punctuation}},
          {"text", "min_count", WholeSetting{&config.text.min_count, 1}},
          {"text", "max_vocabulary", WholeSetting{&config.text.max_vocabulary, 0}},
          {"text", "max_length", WholeSetting{&config.text.max_length, 1, 65536}},
          {"text", "truncate", SwitchSetting{&config.text.truncate}},
          {"model", "members", WholeSetting{&config.model.members, 1, 64}},
          {"model", "dim", WholeSetting{&config.model.dim, 1, 8192}},
          {"model", "heads", WholeSetting{&config.model.heads, 1, 1024}},
          {"model", "blocks", WholeSetting{&config.model.blocks, 1, 1024}},
          {"model", "ffn_dim", WholeSetting{&config.model.ffn_dim, 1, 65536}},
          {"model", "norm_first", SwitchSetting{&config.model.norm_first}},
          {"model", "attention", TextSetting{&config.model.attention, attention_names()}},
          {"model", "neighbours", WholeSetting{&config.model.neighbours, 0, 4}},
          {"model", "positions", TextSetting{&config.model.positions, {"learned", "sinusoidal", "none"}}},
          {"model", "pooling", TextSetting{&config.model.pooling, {"attention", "mean", "first"}}},
          {"model", "embedding_stddev", NumberSetting{&config.model.embedding_stddev, 0}},
          {"model", "embedding_dropout", NumberSetting{&config.model.embedding_dropout, 0, 1}},
          {"model", "dropout", NumberSetting{&config.model.dropout, 0, 1}},
          {"model", "head_dropout", NumberSetting{&config.model.head_dropout, 0, 1}},
          {"training", "epochs", WholeSetting{&config.training.epochs, 1}},
          {"training", "batch_size", WholeSetting{&config.training.batch_size, 1}},
          {"training", "optimizer", TextSetting{&config.training.optimizer, {"adam", "adamw"}}},
          {"training", "learning_rate", NumberSetting{&config.training.learning_rate, 0}},
          {"training", "beta2", NumberSetting{&config.training.beta2, 0, 1}},
          {"training", "schedule", TextSetting{&config.training.schedule, {"cosine", "inverse_sqrt", "constant"}}},
          {"training", "warmup", NumberSetting{&config.training.warmup, 0, 1}},
          {"training", "weight_decay", NumberSetting{&config.training.weight_decay, 0}},
          {"training", "clip_norm", NumberSetting{&config.training.clip_norm, 0}},
          {"training", "label_smoothing", NumberSetting{&config.training.label_smoothing, 0, 1}},
          {"training", "word_dropout", NumberSetting{&config.training.word_dropout, 0, 1}},
          {"training", "average_decay", NumberSetting{&config.training.average_decay, 0, 1}},
          {"training", "evaluations_per_epoch", WholeSetting{&config.training.evaluations_per_epoch, 1}},
          {"training", "save_every", NumberSetting{&config.training.save_every, 0}},
          {"run", "data", TextSetting{&config.run.data}},
          {"run", "dev", TextSetting{&config.run.dev}},
          {"run", "seed", SeedSetting{&config.run.seed}},
          {"run", "threads", WholeSetting{&config.run.threads, 0, 1024}},
          {"run", "precision", TextSetting{&config.run.precision, precision_names()}},
          {"run", "steps", WholeSetting{&config.run.steps, 0}},
          {"run", "init", TextSetting{&config.run.init}},
      });
}

std::string to_json(Config config) { return settings_of(config).to_json(); }

void check(const Config& config, const std::string& origin) {
  require<FormatError>(config.model.dim % config.model.heads == 0,
                       "{}: model.dim is {} and model.heads {}, expected heads that divide dim", origin,
                       config.model.dim, config.model.heads);
  const int64_t width = config.model.dim / config.model.heads;
  const std::string unfit = why_unfit(registered_attention(config.model.attention), {.query = width, .bounded = true});
  require<FormatError>(unfit.empty(), "{}: model.attention is {}, which does not fit: {}", origin,
                       config.model.attention, unfit);
  require<FormatError>(config.training.learning_rate > 0, "{}: training.learning_rate is 0, expected a number above 0",
                       origin);
}

}  // namespace attune::examples
