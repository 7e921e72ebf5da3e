#include "examples/support/training_run.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <system_error>
#include <utility>

#include "examples/support/finite.h"
#include "examples/support/interrupts.h"
#include "examples/support/notice.h"
#include "examples/support/table.h"
#include "framework/device.h"
#include "framework/fail.h"

namespace attune::examples {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

}  // namespace

Json to_json(const DataPosition& position) {
  return {{"seed", position.seed},
          {"epoch", position.epoch},
          {"batch", position.batch},
          {"fingerprint", position.fingerprint}};
}

DataPosition data_position(const Json& json) {
  return {json.at("seed"), json.at("epoch"), json.at("batch"), json.at("fingerprint")};
}

void begin_with(TrainerBase& trainer, const NamedTensors& weights, const std::string& path) {
  try {
    trainer.set_weights(weights);
  } catch (const ShapeError& error) {
    fail<FormatError>("--init {}: its weights do not fit this model: {}", path, error.what());
  }
}

TrainingRun::TrainingRun(const CommonTrainOptions& options, std::string program)
    : options_(options), program_(std::move(program)), begin_(Clock::now()), folder_(options.out), saved_at_(begin_) {
  if (!folder_.holds_run()) return;
  overwrites_ = options.overwrite;
  if (overwrites_) return;
  require<IoError>(options.resume,
                   "--out {}: holds a run already; go on with it by --resume, begin anew over it by --overwrite, or "
                   "name another folder",
                   options.out);
  if (folder_.holds_checkpoint()) {
    saved_ = Checkpoint::load(saved_path());
    return;
  }
  begins_again_ = folder_.holds_only_config();
  require<IoError>(begins_again_,
                   "--out {}: holds a run that cannot go on: its last.h5 is gone; begin anew over it by --overwrite, "
                   "with its best.h5 by --init and another folder, or name another folder",
                   options.out);
}

TrainingRun::~TrainingRun() {
  if (!announced_) return;
  std::error_code error;
  std::filesystem::remove(folder_.config(), error);
}

void TrainingRun::settle_threads(int64_t& threads) {
  if (threads == 0) threads = num_threads();
  set_num_threads(static_cast<int>(threads));
}

/// A new run is in its folder before the data are read: whoever resumes it has nothing else to go by.
void TrainingRun::announce(const std::string& config_json) {
  if (saved_ || begins_again_ || overwrites_) return;
  folder_.write_config(config_json);
  announced_ = true;
}

double TrainingRun::seconds() const { return seconds_since(begin_); }

std::string TrainingRun::resume_command() const {
  return fmt::format("{} train --resume --out {}", program_, options_.out);
}

/// Steps that fit into `seconds`, from the time that a few steps and an evaluation take: they are thrown away, so that
/// the run's weights depend on the plan and not on how it was made.
int64_t TrainingRun::affordable_steps(const MakeTrainer& make, double seconds) const {
  constexpr int64_t kWarmup = 5;          // steps that still fill caches
  constexpr double kReserve = 0.93;       // the machine may get slower
  constexpr double kLongestLook = 600;    // seconds
  constexpr double kUnlimited = 1 << 30;  // steps: more than can be asked for
  const auto trainer = make(0);
  const int64_t most = std::min(trainer->total_steps(), trainer->steps_per_epoch());
  // A longer run is worth a longer look: batches differ.
  const double limit = std::min({std::max(2.0, seconds / 120), seconds / 5, kLongestLook});
  const Clock::time_point begin = Clock::now();
  Clock::time_point warm = begin;
  int64_t measured = 0;
  try {
    for (int64_t i = 0; i < most && (i <= kWarmup || seconds_since(begin) < limit); ++i) {
      end_if_interrupted();
      if (i == kWarmup) warm = Clock::now();
      trainer->report_step();
      if (i >= kWarmup) ++measured;
    }
  } catch (const NotFinite& error) {
    fail<ValueError>("{}, while a plan was made; train with {}", error.what(), remedies(trainer->config_json()));
  }
  if (measured == 0) {  // an epoch of fewer steps than warm up: better than nothing
    warm = begin;
    measured = most;
  }
  const double step = seconds_since(warm) / static_cast<double>(measured);
  const Clock::time_point evaluating = Clock::now();
  trainer->rehearse_evaluation();
  const double evaluation = seconds_since(evaluating);
  const double left = seconds * kReserve - seconds_since(begin) - evaluation;
  const double steps = left / (step + evaluation * trainer->evaluations_per_step());
  return static_cast<int64_t>(std::min(steps, std::max(kUnlimited, static_cast<double>(trainer->total_steps()))));
}

/// The trainer as it was saved.
std::unique_ptr<TrainerBase> TrainingRun::restored(const MakeTrainer& make) const {
  const auto restore = [&](int64_t steps) {
    std::unique_ptr<TrainerBase> trainer = make(steps);
    try {
      trainer->restore(*saved_);
    } catch (const Error& error) {
      fail<FormatError>("{}: cannot be resumed: {}", saved_path(), error.what());
    }
    return trainer;
  };
  require_finite_weights(saved_->tensors("model"), fmt::format("{}: cannot be resumed", saved_path()));
  std::unique_ptr<TrainerBase> trainer = restore(0);
  if (planned_) return trainer;
  // More epochs than before: they are a part of the run like any plan.
  trainer = restore(trainer->total_steps());
  trainer->extend();
  return trainer;
}

std::unique_ptr<TrainerBase> TrainingRun::begun(const MakeTrainer& make) {
  std::unique_ptr<TrainerBase> trainer;
  if (saved_) {
    trainer = restored(make);
    std::error_code error;
    if (!planned_ || !std::filesystem::exists(folder_.config(), error)) folder_.write_config(trainer->config_json());
    return trainer;
  }
  trainer = make(0);
  int64_t steps = trainer->total_steps();
  trainer.reset();
  if (options_.budget && !planned_) {
    const int64_t affordable = affordable_steps(make, *options_.budget - seconds());
    if (affordable < 1) {
      throw UsageError(
          fmt::format("--budget {} s is too short for a single step and its evaluation", *options_.budget));
    }
    steps = std::min(steps, affordable);
  }
  trainer = make(steps);
  if (overwrites_) folder_.clear();
  folder_.write_config(trainer->config_json());
  announced_ = false;
  return trainer;
}

int TrainingRun::go(const MakeTrainer& make, const std::string& introduction) {
  catch_interrupts();
  try {
    const InterruptibleWork planning;
    trainer_ = begun(make);
  } catch (const Interrupted&) {
    announced_ = false;
    notice("interrupted before the first step; begin again with: {}", resume_command());
    return interrupt_status();
  }
  const bool resumed = saved_.has_value();
  saved_.reset();
  folder_.reset_log(trainer_->history());
  if (!trainer_->evaluation_pending()) folder_.remove_evaluation();
  // Not before everything has been accepted: what is wrong is a line of its own.
  notice("{}\n{}; {}", introduction, trainer_->description(), cpu_summary());
  if (resumed) notice("resumed at step {}", trainer_->step());
  if (begins_again_) notice("nothing had been saved yet: begun again as {} says", folder_.config().string());
  return loop();
}

int TrainingRun::loop() {
  Progress progress(trainer_->total_steps(), trainer_->unit());
  progress.start_at(trainer_->step());
  saved_at_ = Clock::now();
  const int64_t first = trainer_->step();
  bool stopped = false;
  try {
    stopped = train(progress);
    progress.finish();
    save();
  } catch (const NotFinite& error) {
    progress.finish();
    fail<ValueError>("{}; the run ends here; {}; train again with {}", error.what(), kept(),
                     remedies(trainer_->config_json()));
  }
  if (interrupted() && (!trainer_->done() || trainer_->evaluation_pending())) {
    notice("interrupted at step {} of {}; go on with: {}", trainer_->step(), trainer_->total_steps(), resume_command());
    return interrupt_status();
  }
  if (stopped) {
    notice("the machine was slower than planned: stopped at step {} of {}; go on with: {}", trainer_->step(),
           trainer_->total_steps(), resume_command());
  }
  summarize(seconds(), trainer_->step() - first);
  return 0;
}

/// Until the run is done, interrupted or beyond its budget. Whether that was the reason.
bool TrainingRun::train(Progress& progress) {
  const double deadline = options_.budget.value_or(0);
  bool stopped = false;
  try {
    for (;;) {
      if (trainer_->evaluation_pending() && !interrupted()) evaluate(progress);
      if (trainer_->done() || stopped || interrupted()) return stopped && !interrupted();
      show(trainer_->report_step(), progress);
      stopped = deadline > 0 && seconds() > deadline && !trainer_->done();
      if (trainer_->evaluation_pending()) {
        save_before_evaluation();
      } else if (seconds_since(saved_at_) >= trainer_->save_every()) {
        save();
      }
    }
  } catch (const Interrupted&) {
    trainer_->partial_evaluation().save();
    return false;
  }
}

void TrainingRun::show(const TrainerBase::StepReport& report, Progress& progress) {
  // Of the last hundred steps or so.
  const double weight = units_ == 0 ? 1 : 0.02;
  std::array<Figure, 4> figures;
  size_t count = 0;
  for (size_t i = 0; i < report.figures.size(); ++i) {
    const double before = smoothed_[i].value;
    smoothed_[i] = report.figures[i];
    smoothed_[i].value = before + weight * (report.figures[i].value - before);
    if (!smoothed_[i].name.empty()) figures[count++] = smoothed_[i];
  }
  for (const Figure& figure : evaluated_) {
    if (!figure.name.empty()) figures[count++] = figure;
  }
  units_ += report.units;
  if (const auto epoch = static_cast<int64_t>(std::ceil(trainer_->epochs())); epoch != epoch_) {
    epoch_ = epoch;
    title_ = fmt::format("epoch {}/{}", epoch, static_cast<int64_t>(std::ceil(trainer_->total_epochs())));
  }
  progress.update(trainer_->step(), report.units, title_, std::span(figures).first(count));
}

void TrainingRun::evaluate(Progress& progress) {
  const InterruptibleWork evaluation;
  trainer_->partial_evaluation().begin(folder_.evaluation(), trainer_->config_json(), trainer_->step(),
                                       trainer_->save_every());
  const TrainerBase::EvaluationReport report = trainer_->report_evaluation();
  // In this order a run that is killed in between comes here again and does the same.
  if (report.best) trainer_->weights().save(folder_.best());
  folder_.append_log(trainer_->history().back());
  save();
  trainer_->partial_evaluation().end();
  evaluated_ = report.figures;
  progress.print(fmt::format("step {:6}  {}{}", trainer_->step(), report.line, report.best ? "  best" : ""));
}

/// Evaluations may take long, and what was learned before them is not to be learned again. The first time in any case:
/// a folder with best.h5 is one with last.h5.
void TrainingRun::save_before_evaluation() {
  if (seconds_since(saved_at_) >= trainer_->save_every() || !folder_.holds_checkpoint()) save();
}

void TrainingRun::save() {
  const Checkpoint checkpoint = trainer_->checkpoint();
  if (const std::string bad = first_not_finite(checkpoint.tensors("model")); !bad.empty()) {
    throw NotFinite(fmt::format("step {}: {} of the model holds NaN or infinity", trainer_->step(), bad));
  }
  checkpoint.save(folder_.last());
  saved_at_ = Clock::now();
}

/// Which weights there are after a failure.
std::string TrainingRun::kept() const {
  std::vector<std::string> files;
  for (const auto& file : {folder_.last(), folder_.best()}) {
    std::error_code error;
    if (std::filesystem::exists(file, error)) files.push_back(file.string());
  }
  if (files.empty()) return "nothing had been saved yet";
  return fmt::format("{} stay{} as saved before", fmt::join(files, " and "), files.size() == 1 ? "s" : "");
}

void TrainingRun::summarize(double seconds, int64_t steps) const {
  fmt::print("{}; {} steps in {}, {} {}/s; {}\n", trainer_->summary(), steps, readable_time(seconds),
             readable_count(static_cast<double>(units_) / std::max(seconds, 1e-9)), trainer_->unit(),
             (trainer_->has_best() ? folder_.best() : folder_.last()).string());
  if (!options_.json) return;
  Json json = trainer_->result();
  json["steps"] = trainer_->step();
  json["seconds"] = seconds;
  json["complete"] = trainer_->done();
  fmt::print("{}\n", json.dump());
}

}  // namespace attune::examples
