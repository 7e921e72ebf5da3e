#include "examples/support/text_training.h"

#include "framework/fail.h"

namespace attune::examples {

std::vector<Setting> training_settings(TextTrainingConfig& config) {
  return {
      {"training", "epochs", WholeSetting{&config.epochs, 1}},
      {"training", "accumulation", WholeSetting{&config.accumulation, 1, 65536}},
      {"training", "label_smoothing", NumberSetting{&config.label_smoothing, 0, 1}},
      {"training", "learning_rate", NumberSetting{&config.learning_rate, 0}},
      {"training", "warmup", WholeSetting{&config.warmup, 0}},
      {"training", "schedule", TextSetting{&config.schedule, {"inverse_sqrt", "cosine"}}},
      {"training", "beta1", NumberSetting{&config.beta1, 0, 1}},
      {"training", "beta2", NumberSetting{&config.beta2, 0, 1}},
      {"training", "weight_decay", NumberSetting{&config.weight_decay, 0}},
      {"training", "clip_norm", NumberSetting{&config.clip_norm, 0}},
      {"training", "average_decay", NumberSetting{&config.average_decay, 0, 1}},
      {"training", "average_last", WholeSetting{&config.average_last, 0, 1000}},
      {"training", "average_best", WholeSetting{&config.average_best, 0, 1000}},
      {"training", "evaluate_every", WholeSetting{&config.evaluate_every, 0}},
      {"training", "patience", WholeSetting{&config.patience, 0}},
      {"training", "save_every", NumberSetting{&config.save_every, 0}},
  };
}

void check_training(const TextTrainingConfig& config, const std::string& origin) {
  require<FormatError>(config.learning_rate > 0, "{}: training.learning_rate is 0, expected a number above 0", origin);
  require<FormatError>(config.average_last == 0 || config.average_best == 0,
                       "{}: training.average_last is {} and training.average_best {}, expected one of them to be 0",
                       origin, config.average_last, config.average_best);
}

}  // namespace attune::examples
