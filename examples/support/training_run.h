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
#include "examples/support/progress.h"
#include "examples/support/run_directory.h"
#include "examples/support/train_options.h"
#include "framework/checkpoint.h"

namespace attune::examples {

/// Exit status of a run that was interrupted and can be resumed: 128 + SIGINT.
constexpr int kInterrupted = 130;

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
  virtual int64_t steps_per_epoch() const = 0;
  virtual bool done() const { return step_ == total_steps(); }
  /// After this step it is time for report_evaluation().
  virtual bool evaluation_due() const = 0;
  virtual double evaluations_per_step() const = 0;
  /// What the speed of a run is counted in, such as tokens without padding.
  virtual const char* unit() const { return "tokens"; }
  /// Seconds between saves of the run as it stands.
  virtual double save_every() const = 0;

  virtual StepReport report_step() = 0;
  /// Adds a line to history().
  virtual EvaluationReport report_evaluation() = 0;
  /// Takes as long as an evaluation of a trained model: for a plan. The trainer is of no use afterwards.
  virtual void rehearse_evaluation() = 0;

  /// The run as it stands.
  virtual Checkpoint checkpoint() = 0;
  /// The weights that evaluations look at, for use: without the state of the training.
  virtual Checkpoint weights() = 0;
  /// Throws FormatError, ShapeError or ValueError when the checkpoint is not of this configuration and data.
  virtual void restore(const Checkpoint& checkpoint) = 0;

  /// A JSON object for each evaluation so far.
  const std::vector<std::string>& history() const { return history_; }

  // What the run says of itself.

  /// The configuration as JSON.
  virtual std::string config_json() const = 0;
  /// "317,954 parameters; 100 steps of 64 texts, 10 an epoch"
  virtual std::string description() const = 0;
  /// "best development accuracy 97.95% at step 1400"
  virtual std::string summary() const = 0;
  /// The same as a JSON object.
  virtual nlohmann::ordered_json result() const = 0;

 protected:
  TrainerBase() = default;

  int64_t step_ = 0;
  std::vector<std::string> history_;
};

/// A position in the data as a JSON object, and back; throws nlohmann::json::exception for others.
nlohmann::ordered_json to_json(const DataPosition& position);
DataPosition data_position(const nlohmann::ordered_json& json);

/// For a checkpoint of weights that change before it is saved. Tensors that are one stay one.
NamedTensors copies_of(const NamedTensors& tensors);

/// A run of `train` in its folder: what is resumed, the plan, and the loop of steps, evaluations and saves.
class TrainingRun {
 public:
  /// Makes the trainer; steps 0: as many as its configuration says. Called several times where a budget is planned.
  using MakeTrainer = std::function<std::unique_ptr<TrainerBase>(int64_t steps)>;

  /// Opens --out, from now on catches interrupts. program: its name. Throws IoError and FormatError, among them for a
  /// folder that holds a run when none is to be resumed.
  TrainingRun(const CommonTrainOptions& options, std::string program);

  /// What is to be resumed; none for a new run.
  const std::optional<Checkpoint>& saved() const { return saved_; }
  /// Where it lies, for messages.
  std::string saved_path() const { return folder_.last().string(); }

  /// The configuration of this run, and sets its number of threads. request(saved): what is asked for, on top of the
  /// configuration that was saved with the run where one is resumed; see requested_config().
  template <class Config, class Request>
  Config configured(const Request& request) const {
    std::optional<Config> saved;
    if (saved_) saved = saved_config<Config>(*saved_, saved_path());
    Config config = request(saved);
    settle_threads(config.run.threads);
    return config;
  }

  /// Plans, trains, evaluates, saves. introduction: lines about the data, shown once everything has been accepted.
  /// Returns the exit status.
  int go(const MakeTrainer& make, const std::string& introduction);

 private:
  using Clock = std::chrono::steady_clock;

  /// 0 becomes the number of cores.
  static void settle_threads(int64_t& threads);
  std::unique_ptr<TrainerBase> begun(const MakeTrainer& make) const;
  int64_t affordable_steps(const MakeTrainer& make, double seconds) const;
  int loop();
  void show(const TrainerBase::StepReport& report, Progress& progress);
  void evaluate(Progress& progress);
  void save();
  void summarize(double seconds, int64_t steps) const;
  std::string resume_command() const;
  double seconds() const;

  const CommonTrainOptions& options_;
  std::string program_;
  Clock::time_point begin_;
  RunDirectory folder_;
  std::optional<Checkpoint> saved_;
  std::unique_ptr<TrainerBase> trainer_;

  Clock::time_point saved_at_;
  std::array<Figure, 2> smoothed_{};
  std::array<Figure, 2> evaluated_{};
  int64_t units_ = 0;
  int64_t epoch_ = 0;
  std::string title_;
};

}  // namespace attune::examples
