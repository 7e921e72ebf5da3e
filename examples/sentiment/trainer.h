#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "autograd/optim/adam.h"
#include "autograd/optim/average.h"
#include "datasets/loader.h"
#include "datasets/vocabulary.h"
#include "examples/sentiment/evaluate.h"
#include "examples/sentiment/model.h"
#include "examples/support/graphs.h"
#include "examples/support/step_figures.h"
#include "examples/support/training_run.h"
#include "framework/checkpoint.h"

namespace attune::examples {

/// Trains a SentimentModel.
class Trainer final : public TrainerBase {
 public:
  struct Step {
    double loss = 0;      ///< see StepFigures
    double accuracy = 0;  ///< of the same step
    int64_t tokens = 0;   ///< without padding
  };
  /// What an evaluation on the development data found.
  struct Evaluation {
    Scores scores;
    double train_loss = 0;  ///< mean over the steps since the evaluation before
    double train_accuracy = 0;
    bool best = false;  ///< more accurate than all before; with equal accuracy a smaller loss; never of a loss of NaN
  };

  /// Restarts default_stream() from the configuration's seed. config.run.steps may be 0 until it is planned.
  Trainer(const Config& config, Vocabulary vocabulary, LabelledSequences train, LabelledSequences dev,
          Device device = Device::cpu(), GraphMode graphs = GraphMode::kAuto);

  /// config.run.steps, or all epochs.
  int64_t total_steps() const override;
  int64_t steps_per_epoch() const override { return train_.batches_per_epoch(); }
  double epochs() const override { return epochs_of(step_); }
  double total_epochs() const override { return epochs_of(total_steps()); }
  bool evaluation_due() const override;
  double evaluations_per_step() const override;
  double save_every() const override { return config_.training.save_every; }

  Step train_step();
  Evaluation evaluate();
  StepReport report_step() override;
  EvaluationReport report_evaluation() override;
  void rehearse_evaluation() override { evaluate(); }
  void set_weights(const NamedTensors& weights) override { model_->load_state_dict(weights); }

  Checkpoint checkpoint() override;
  Checkpoint weights() override;
  void restore(const Checkpoint& checkpoint) override;

  std::string config_json() const override { return to_json(config_); }
  std::string description() const override;
  bool has_best() const override { return best_accuracy_ >= 0; }
  std::string summary() const override;
  nlohmann::ordered_json result() const override;

 private:
  double epochs_of(int64_t step) const { return static_cast<double>(step) / static_cast<double>(steps_per_epoch()); }
  double learning_rate() const;
  void check_last_step();
  Tensor with_unknown_words(const Batch& batch) const;
  void see(const Tensor& loss, const Tensor& logits, const Tensor& labels);
  std::string progress() const;
  void restore_progress(const std::string& json);

  Config config_;
  Vocabulary vocabulary_;
  std::unique_ptr<SentimentModel> model_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<StepGraphs> graphs_;
  std::optional<WeightAverage> average_;
  Loader train_;
  Loader dev_;

  std::vector<PendingCopy> copies_;  // of what the step found
  StepFigures figures_;
  double loss_ = 0;  // of the step that was seen last
  double accuracy_ = 0;

  // Sums since the last evaluation.
  double loss_sum_ = 0;
  int64_t examples_ = 0;
  int64_t correct_ = 0;

  double best_accuracy_ = -1;  // of none
  double best_loss_ = 0;
  int64_t best_step_ = 0;
};

}  // namespace attune::examples
