#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "examples/support/settings.h"

namespace attune::examples {

/// How a model that writes text is trained, whatever it reads; section "training" of a configuration, beside what is a
/// program's own.
struct TextTrainingConfig {
  int64_t epochs = 20;
  int64_t accumulation = 1;  ///< batches of a step
  double label_smoothing = 0.1;
  double learning_rate = 1e-3;            ///< the highest
  int64_t warmup = 400;                   ///< steps in which it rises
  std::string schedule = "inverse_sqrt";  ///< inverse_sqrt or cosine
  double beta1 = 0.9;                     ///< of Adam
  double beta2 = 0.98;
  double weight_decay = 0;
  double clip_norm = 1;
  double average_decay = 0;    ///< of a moving average of the weights, which then is evaluated; 0: none
  int64_t average_last = 0;    ///< evaluations whose weights are averaged; 0: none
  int64_t average_best = 0;    ///< the same, of the best evaluations so far
  int64_t evaluate_every = 0;  ///< steps; 0: an epoch
  int64_t patience = 0;        ///< evaluations without progress before training ends; 0: never
  double save_every = 120;     ///< seconds between saves of last.h5

  bool operator==(const TextTrainingConfig&) const = default;
};

/// Its settings. They refer to `config`.
std::vector<Setting> training_settings(TextTrainingConfig& config);

/// Throws FormatError that begins with `origin` when values do not fit each other.
void check_training(const TextTrainingConfig& config, const std::string& origin);

}  // namespace attune::examples
