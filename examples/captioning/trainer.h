#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "autograd/optim/adam.h"
#include "autograd/optim/average.h"
#include "datasets/caption_loader.h"
#include "examples/captioning/caption_loss.h"
#include "examples/captioning/corpus.h"
#include "examples/captioning/model.h"
#include "examples/captioning/snapshot.h"
#include "examples/captioning/validation.h"
#include "examples/support/training_run.h"

namespace attune::examples::captioning {

/// Trains a CaptioningModel by teacher forcing.
class Trainer final : public TrainerBase {
 public:
  struct Step {
    double loss = 0;  ///< cross-entropy, mean over the captions' tokens, smoothed labels
    int64_t pictures = 0;
    int64_t target_tokens = 0;  ///< without padding
    double waiting = 0;         ///< share of its time that the step waited for pictures
  };
  struct Evaluation {
    Scores scores;
    double train_loss = 0;  ///< mean over the steps since the evaluation before
    bool best = false;      ///< better than all before: as training.select says, then a lower loss
  };

  /// Restarts default_stream() from the configuration's seed. config.run.steps may be 0 until it is planned.
  Trainer(const Config& config, std::shared_ptr<const TextCodec> codec, const TrainingData& data);

  CaptioningModel& model() { return *model_; }
  /// config.run.steps, or all epochs.
  int64_t total_steps() const override;
  int64_t steps_per_epoch() const override;
  /// Also once there was no progress for training.patience evaluations.
  bool done() const override;
  bool evaluation_due() const override;
  double evaluations_per_step() const override { return 1 / static_cast<double>(evaluate_every()); }
  const char* unit() const override { return "pictures"; }
  double save_every() const override { return config_.training.save_every; }

  Step train_step();
  /// Of the weights that weights() has.
  Evaluation evaluate();
  StepReport report_step() override;
  EvaluationReport report_evaluation() override;
  void rehearse_evaluation() override;

  Checkpoint checkpoint() const override;
  Checkpoint weights() override;
  void restore(const Checkpoint& checkpoint) override;

  std::string config_json() const override { return to_json(config_); }
  std::string description() const override;
  std::string summary() const override;
  nlohmann::ordered_json result() const override;

 private:
  int64_t evaluate_every() const;
  Scores scores_of_weights();
  std::string progress() const;
  void restore_progress(const std::string& json);

  Config config_;
  std::shared_ptr<const TextCodec> codec_;
  std::unique_ptr<CaptioningModel> model_;
  AdamW optimizer_;
  std::optional<WeightAverage> moving_;
  std::optional<CheckpointAverage> kept_;
  CaptionLoss loss_;
  CaptionLoader train_;
  Validator validate_;

  // Sums since the last evaluation.
  double loss_sum_ = 0;
  int64_t tokens_ = 0;

  std::optional<Scores> scores_;  // of the last evaluation
  std::optional<Scores> best_;
  int64_t best_step_ = 0;
  int64_t waited_ = 0;  // evaluations since then

  double seconds_ = 0;          // spent in steps, in this process
  double seconds_waiting_ = 0;  // of them for pictures
};

}  // namespace attune::examples::captioning
