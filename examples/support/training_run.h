#pragma once

#include <nlohmann/json_fwd.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "datasets/loader.h"
#include "examples/support/partial_evaluation.h"
#include "examples/support/progress.h"
#include "examples/support/run_directory.h"
#include "examples/support/train_options.h"
#include "framework/checkpoint.h"

namespace attune::examples {

/// One training run as a sequence of steps, whatever is learned. Everything that the steps to come depend on is in
/// checkpoint(): a run that is restored from one ends with bitwise the weights of a run that was left alone, on the
/// same number of threads.
class TrainerBase {
 public:
  struct StepReport {
    int64_t units = 0;                ///< of what unit() says
    std::array<Figure, 2> figures{};  ///< of this step; those without a name are none
  };
  /// What an evaluation found.
  struct EvaluationReport {
    bool best = false;                ///< better than all before: weights() are to be kept
    std::string line;                 ///< for people
    std::array<Figure, 2> figures{};  ///< to be shown until the next one
  };

  virtual ~TrainerBase() = default;
  TrainerBase(const TrainerBase&) = delete;
  TrainerBase& operator=(const TrainerBase&) = delete;

  int64_t step() const { return step_; }
  virtual int64_t total_steps() const = 0;
  /// Steps in which the data have been gone through, rounded up.
  virtual int64_t steps_per_epoch() const = 0;
  /// How often the data have been gone through so far, and will have been after total_steps().
  virtual double epochs() const = 0;
  virtual double total_epochs() const = 0;
  virtual bool done() const { return step_ == total_steps(); }
  /// After this step it is time for report_evaluation().
  virtual bool evaluation_due() const = 0;
  /// It has not been made yet: of a run that was killed in between, or interrupted.
  bool evaluation_pending() const { return step_ > 0 && evaluated_step_ != step_ && evaluation_due(); }
  virtual double evaluations_per_step() const = 0;
  /// What the speed of a run is counted in, such as tokens without padding.
  virtual const char* unit() const { return "tokens"; }
  /// Seconds between saves of the run as it stands.
  virtual double save_every() const = 0;

  /// Throws NotFinite for a step that is not finite, of which nothing may be saved; on a CUDA device with the step
  /// after it, or checkpoint().
  virtual StepReport report_step() = 0;
  /// Adds a line to history(). After Interrupted it can be called again, or checkpoint().
  virtual EvaluationReport report_evaluation() = 0;
  /// Takes as long as an evaluation of a trained model: for a plan. The trainer is of no use afterwards.
  virtual void rehearse_evaluation() = 0;
  /// What evaluations have found of the parts that they are made of.
  PartialEvaluation& partial_evaluation() { return partial_; }

  /// The run as it stands.
  virtual Checkpoint checkpoint() = 0;
  /// The weights that evaluations look at, for use: without the state of the training.
  virtual Checkpoint weights() = 0;
  /// Throws FormatError, ShapeError or ValueError when the checkpoint is not of this configuration and data.
  virtual void restore(const Checkpoint& checkpoint) = 0;
  /// Begins with these weights instead of drawn ones. Throws ShapeError listing everything that does not fit.
  virtual void set_weights(const NamedTensors& weights) = 0;
  /// A run that has ended goes on: it was restored with more epochs than it had.
  virtual void extend() {}

  /// A JSON object for each evaluation so far.
  const std::vector<std::string>& history() const { return history_; }

  // What the run says of itself.

  /// The configuration as JSON.
  virtual std::string config_json() const = 0;
  /// "317,954 parameters; 100 steps of 64 texts, 10 an epoch"
  virtual std::string description() const = 0;
  /// An evaluation was the best: weights() have been kept.
  virtual bool has_best() const = 0;
  /// "best development accuracy 97.95% at step 1400"
  virtual std::string summary() const = 0;
  /// The same as a JSON object; null for what there is not.
  virtual nlohmann::ordered_json result() const = 0;

 protected:
  TrainerBase() = default;

  int64_t step_ = 0;
  int64_t evaluated_step_ = 0;  // of the last evaluation
  std::vector<std::string> history_;
  PartialEvaluation partial_;
};

/// A position in the data as a JSON object, and back; throws nlohmann::json::exception for others.
nlohmann::ordered_json to_json(const DataPosition& position);
DataPosition data_position(const nlohmann::ordered_json& json);

/// Begins with the weights of `path`, which --init names, instead of drawn ones. Throws FormatError listing everything
/// that does not fit.
void begin_with(TrainerBase& trainer, const NamedTensors& weights, const std::string& path);

/// A run of `train` in its folder: what is resumed, the plan, and the loop of steps, evaluations and saves.
class TrainingRun {
 public:
  /// Makes the trainer; steps 0: as many as its configuration says. Called several times where steps are planned.
  using MakeTrainer = std::function<std::unique_ptr<TrainerBase>(int64_t steps)>;

  /// Opens --out. program: its name. Throws IoError and FormatError, among them for a folder that holds a run when that
  /// is neither to be resumed nor overwritten, and for a run that cannot be resumed.
  TrainingRun(const CommonTrainOptions& options, std::string program);
  /// Takes back config.json of a run that was not accepted.
  ~TrainingRun();
  TrainingRun(const TrainingRun&) = delete;
  TrainingRun& operator=(const TrainingRun&) = delete;

  /// What is to be resumed; none for a new run, and for one that had not been saved yet.
  const std::optional<Checkpoint>& saved() const { return saved_; }
  /// Where it lies, for messages.
  std::string saved_path() const { return folder_.last().string(); }

  /// The configuration of this run, and sets its number of threads. request(saved): what is asked for, on top of the
  /// configuration of the run where one is resumed; see requested_config(). Of a new run it is in the folder from now
  /// on: whatever takes long comes afterwards.
  template <class Config, class Request>
  Config configured(const Request& request) {
    std::optional<Config> saved;
    if (saved_) {
      saved = saved_config<Config>(*saved_, saved_path());
    } else if (begins_again_) {
      saved.emplace();
      settings_of(*saved).update_from_file(folder_.config().string());
      check(*saved, folder_.config().string());
    }
    Config config = request(saved);
    settle_threads(config.run.threads);
    planned_ = config.run.steps > 0;
    announce(to_json(config));
    return config;
  }

  /// Plans, trains, evaluates, saves; from now on catches interrupts. introduction: lines about the data, shown once
  /// everything has been accepted. Returns the exit status.
  int go(const MakeTrainer& make, const std::string& introduction);

 private:
  using Clock = std::chrono::steady_clock;

  /// 0 becomes the number of cores.
  static void settle_threads(int64_t& threads);
  void announce(const std::string& config_json);
  std::unique_ptr<TrainerBase> restored(const MakeTrainer& make) const;
  std::unique_ptr<TrainerBase> begun(const MakeTrainer& make);
  int64_t affordable_steps(const MakeTrainer& make, double seconds) const;
  int loop();
  bool train(Progress& progress);
  void show(const TrainerBase::StepReport& report, Progress& progress);
  void evaluate(Progress& progress);
  void save_before_evaluation();
  void save();
  void summarize(double seconds, int64_t steps) const;
  std::string kept() const;
  std::string resume_command() const;
  double seconds() const;

  const CommonTrainOptions& options_;
  std::string program_;
  Clock::time_point begin_;
  RunDirectory folder_;
  std::optional<Checkpoint> saved_;
  bool begins_again_ = false;  // from config.json of a run that left nothing else
  bool overwrites_ = false;    // the files of another run, which are there until this one has been accepted
  bool planned_ = false;       // run.steps is known already
  bool announced_ = false;     // config.json was written, and nothing has been accepted yet
  std::unique_ptr<TrainerBase> trainer_;

  Clock::time_point saved_at_;
  std::array<Figure, 2> smoothed_{};
  std::array<Figure, 2> evaluated_{};
  int64_t units_ = 0;
  int64_t epoch_ = 0;
  std::string title_;
};

}  // namespace attune::examples
