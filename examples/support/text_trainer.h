#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "autograd/optim/adam.h"
#include "autograd/optim/average.h"
#include "examples/support/graphs.h"
#include "examples/support/loaders.h"
#include "examples/support/step_figures.h"
#include "examples/support/text_training.h"
#include "examples/support/training_run.h"
#include "layers/module.h"

namespace attune::examples {

/// How a model does on validation data.
struct TextScores {
  double loss = 0;  ///< mean over the tokens of -log(probability), without label smoothing
  /// Scores of the texts that the model writes itself, higher is better; none where nothing but the loss is wanted.
  std::vector<std::pair<std::string, double>> figures{};

  double perplexity() const;
  std::optional<double> figure(std::string_view name) const;
};

/// A figure of TextScores as people read it: "BLEU 38.22".
struct ShownScore {
  const char* name;   ///< of the figure
  const char* title;  ///< "BLEU"
  double factor = 1;  ///< that it is multiplied by
  int digits = 2;     ///< after the point
};

/// Trains a model that writes text by teacher forcing: AdamW with a schedule, averages of weights, and evaluations that
/// say which weights are the best and when there is no more progress. What is read, and what of it is learned in which
/// way, is the program's.
class TextTrainer : public TrainerBase {
 public:
  struct Step {
    double loss = 0;     ///< mean over the tokens; see StepFigures
    int64_t tokens = 0;  ///< of the texts that are learned, without padding
    int64_t units = 0;   ///< of what unit() says
  };
  struct Evaluation {
    TextScores scores;
    double train_loss = 0;  ///< mean over the steps since the evaluation before
    /// Better than all before: by the figure that decides, then by a lower loss. Never where one of them is NaN.
    bool best = false;
  };

  /// The planned steps, or all epochs.
  int64_t total_steps() const override;
  int64_t steps_per_epoch() const override;
  double epochs() const override;
  double total_epochs() const override;
  /// Also once there was no progress for training.patience evaluations.
  bool done() const override;
  /// After every training.evaluate_every steps, or else after the steps that end an epoch; after the last step.
  bool evaluation_due() const override;
  double evaluations_per_step() const override;
  double save_every() const override { return config_.save_every; }

  Step train_step();
  /// Of the weights that weights() has.
  Evaluation evaluate();
  StepReport report_step() override;
  EvaluationReport report_evaluation() override;

  Checkpoint checkpoint() override;
  Checkpoint weights() override;
  void restore(const Checkpoint& checkpoint) override;
  void set_weights(const NamedTensors& weights) override;
  /// Patience begins anew.
  void extend() override { waited_ = 0; }

  bool has_best() const override { return best_.has_value(); }
  std::string summary() const override;
  nlohmann::ordered_json result() const override;

 protected:
  struct Options {
    const char* program;  ///< its name
    const TextTrainingConfig& training;
    int64_t steps = 0;                ///< planned; 0: all epochs
    ParameterList averaged;           ///< what averages are made of
    std::vector<ShownScore> shown{};  ///< figures of an evaluation that people see
    std::string decisive{};           ///< name of the figure that says which evaluation is best; of none: the loss
    GraphMode graphs = GraphMode::kOff;
  };
  /// The model is one that the program's trainer owns.
  TextTrainer(Module& model, const Options& options);

  /// What a batch was to the model; sums.
  struct Learned {
    Tensor loss;  ///< scalar on the model's device
    int64_t tokens = 0;
    int64_t units = 0;
  };
  /// Takes the next batch and adds the gradients of the sum of its tokens' losses.
  virtual Learned learn_batch() = 0;
  /// For the passes of learn_batch().
  StepGraphs& graphs() { return *graphs_; }
  virtual int64_t batches_per_epoch() const = 0;
  virtual DataPosition position() const = 0;
  virtual void seek(const DataPosition& position) = 0;
  /// How the weights do that the model has now. Goes through partial_evaluation(), and may throw Interrupted.
  virtual TextScores validate() = 0;

  /// Adds what it takes to use the weights: codecs.
  virtual void put_codecs(Checkpoint& checkpoint) const = 0;
  /// Adds what else the steps to come depend on, and takes it back.
  virtual void put_state(Checkpoint& /*checkpoint*/) const {}
  virtual void restore_state(const Checkpoint& /*checkpoint*/) {}

  /// "317,954 parameters; 100 steps of "
  std::string description_begun() const;

 private:
  int64_t batches_gone() const;
  int64_t batches_of_all_epochs() const { return config_.epochs * batches_per_epoch(); }
  double learning_rate() const;
  TextScores scores_of_weights();
  void check_last_step();
  bool take_checkpoint(double score, double loss);
  bool usable(const TextScores& scores) const;
  bool better(const TextScores& a, const TextScores& b) const;
  /// "loss 1.8423 perplexity 6.31 BLEU 38.22"
  std::string described(const TextScores& scores) const;
  std::string progress() const;
  void restore_progress(const std::string& json);

  const char* program_;
  TextTrainingConfig config_;
  int64_t planned_steps_;
  std::vector<ShownScore> shown_;
  std::string decisive_;
  Module& model_;
  AdamW optimizer_;
  std::unique_ptr<StepGraphs> graphs_;
  std::optional<WeightAverage> moving_;
  std::optional<CheckpointAverage> kept_;

  std::vector<PendingCopy> losses_;  // of the batches of the step
  StepFigures figures_;
  double loss_ = 0;  // of the step that was seen last

  // Sums since the last evaluation.
  double loss_sum_ = 0;
  int64_t tokens_ = 0;

  std::optional<TextScores> scores_;  // of the last evaluation
  std::optional<TextScores> best_;
  int64_t best_step_ = 0;
  int64_t waited_ = 0;         // evaluations since then
  std::optional<bool> taken_;  // into the average of checkpoints, in the evaluation that is under way
};

/// Gives `parameters` the average that a run keeps in its checkpoint, where it does: last.h5 has the weights of the
/// last step and what averages are made of, and evaluations look at the average. Throws ShapeError for another model's.
void use_saved_average(const ParameterList& parameters, const TextTrainingConfig& config, const Checkpoint& checkpoint);

}  // namespace attune::examples
