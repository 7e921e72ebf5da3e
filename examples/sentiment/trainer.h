#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "autograd/optim/adam.h"
#include "autograd/optim/average.h"
#include "datasets/loader.h"
#include "datasets/vocabulary.h"
#include "examples/sentiment/evaluate.h"
#include "examples/sentiment/model.h"
#include "framework/checkpoint.h"

namespace attune::examples {

/// One training run as a sequence of steps. Everything that the steps to come depend on is in checkpoint(): a run that
/// is restored from one ends with bitwise the weights of a run that was left alone, on the same number of threads.
class Trainer {
 public:
  struct Step {
    double loss = 0;
    int64_t examples = 0;
    int64_t correct = 0;
    int64_t tokens = 0;  ///< without padding
  };
  /// What an evaluation on the development data found.
  struct Evaluation {
    Scores scores;
    double train_loss = 0;  ///< mean over the steps since the evaluation before
    double train_accuracy = 0;
    bool best = false;  ///< more accurate than all before; with equal accuracy a smaller loss
    std::string log;    ///< the line of log.jsonl
  };

  /// Restarts default_stream() from the configuration's seed. config.run.steps may be 0 until it is planned.
  Trainer(const Config& config, Vocabulary vocabulary, LabelledSequences train, LabelledSequences dev);

  const Config& config() const { return config_; }
  SentimentModel& model() { return *model_; }
  int64_t step() const { return step_; }
  /// config.run.steps, or all epochs.
  int64_t total_steps() const;
  int64_t steps_per_epoch() const { return train_.batches_per_epoch(); }
  bool done() const { return step_ == total_steps(); }
  /// From 1.
  int64_t epoch() const { return step_ / steps_per_epoch() + 1; }
  /// After this step it is time for evaluate().
  bool evaluation_due() const;

  Step train_step();
  Evaluation evaluate();

  /// The run as it stands.
  Checkpoint checkpoint() const;
  /// The weights that evaluate() looks at, for use: without the state of the training.
  Checkpoint weights();
  /// Throws FormatError, ShapeError or ValueError when the checkpoint is not of this configuration and data.
  void restore(const Checkpoint& checkpoint);

  /// A JSON object for each evaluation so far.
  const std::vector<std::string>& history() const { return history_; }
  double best_accuracy() const { return best_accuracy_; }
  int64_t best_step() const { return best_step_; }

 private:
  double learning_rate() const;
  Tensor with_unknown_words(const Batch& batch) const;
  Variable loss_of(const Variable& logits, const Tensor& labels) const;
  std::string progress() const;
  void restore_progress(const std::string& json);

  Config config_;
  Vocabulary vocabulary_;
  std::unique_ptr<SentimentModel> model_;
  std::unique_ptr<Optimizer> optimizer_;
  std::optional<WeightAverage> average_;
  Loader train_;
  Loader dev_;

  int64_t step_ = 0;
  // Sums since the last evaluation.
  double loss_sum_ = 0;
  int64_t examples_ = 0;
  int64_t correct_ = 0;

  double best_accuracy_ = -1;
  double best_loss_ = 0;
  int64_t best_step_ = 0;
  std::vector<std::string> history_;
};

}  // namespace attune::examples
