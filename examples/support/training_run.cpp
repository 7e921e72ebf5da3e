#include "examples/support/training_run.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

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

NamedTensors copies_of(const NamedTensors& tensors) {
  NamedTensors copies;
  for (const auto& [name, tensor] : tensors) {
    Tensor copy;
    for (size_t i = 0; i < copies.size() && !copy.defined(); ++i) {
      if (same_memory(tensors[i].second, tensor)) copy = copies[i].second;
    }
    copies.emplace_back(name, copy.defined() ? copy : tensor.clone());
  }
  return copies;
}

TrainingRun::TrainingRun(const CommonTrainOptions& options, std::string program)
    : options_(options), program_(std::move(program)), begin_(Clock::now()), folder_(options.out), saved_at_(begin_) {
  catch_interrupts();
  if (!folder_.holds_run()) return;
  require<IoError>(options.resume, "--out {}: holds a run already; go on with it by --resume, or name another folder",
                   options.out);
  saved_ = Checkpoint::load(saved_path());
}

void TrainingRun::settle_threads(int64_t& threads) {
  if (threads == 0) threads = num_threads();
  set_num_threads(static_cast<int>(threads));
}

double TrainingRun::seconds() const { return seconds_since(begin_); }

std::string TrainingRun::resume_command() const {
  return fmt::format("{} train --resume --out {}", program_, options_.out);
}

/// Steps that fit into `seconds`, from the time that a few steps and an evaluation take: they are thrown away, so that
/// the run's weights depend on the plan and not on how it was made.
int64_t TrainingRun::affordable_steps(const MakeTrainer& make, double seconds) const {
  constexpr int64_t kWarmup = 5;     // steps that still fill caches
  constexpr double kReserve = 0.93;  // the machine may get slower
  const auto trainer = make(0);
  const int64_t most = std::min(trainer->total_steps(), trainer->steps_per_epoch());
  // A longer run is worth a longer look: batches differ.
  const double limit = std::min(std::max(2.0, seconds / 120), seconds / 5);
  const Clock::time_point begin = Clock::now();
  Clock::time_point warm = begin;
  int64_t measured = 0;
  for (int64_t i = 0; i < most && (i <= kWarmup || seconds_since(begin) < limit); ++i) {
    if (i == kWarmup) warm = Clock::now();
    trainer->report_step();
    if (i >= kWarmup) ++measured;
  }
  if (measured == 0) return most;
  const double step = seconds_since(warm) / static_cast<double>(measured);
  const Clock::time_point evaluating = Clock::now();
  trainer->rehearse_evaluation();
  const double evaluation = seconds_since(evaluating);
  const double left = seconds * kReserve - seconds_since(begin) - evaluation;
  return static_cast<int64_t>(left / (step + evaluation * trainer->evaluations_per_step()));
}

std::unique_ptr<TrainerBase> TrainingRun::begun(const MakeTrainer& make) const {
  std::unique_ptr<TrainerBase> trainer = make(0);
  if (saved_) {
    try {
      trainer->restore(*saved_);
    } catch (const Error& error) {
      fail<FormatError>("{}: cannot be resumed: {}", saved_path(), error.what());
    }
    return trainer;
  }
  int64_t steps = trainer->total_steps();
  trainer.reset();
  if (options_.budget) {
    const int64_t affordable = affordable_steps(make, *options_.budget - seconds());
    if (affordable < 1) {
      throw UsageError(
          fmt::format("--budget {} s is too short for a single step and its evaluation", *options_.budget));
    }
    steps = std::min(steps, affordable);
  }
  trainer = make(steps);
  folder_.write_config(trainer->config_json());
  return trainer;
}

int TrainingRun::go(const MakeTrainer& make, const std::string& introduction) {
  trainer_ = begun(make);
  const bool resumed = saved_.has_value();
  saved_.reset();
  folder_.reset_log(trainer_->history());
  // Not before everything has been accepted: what is wrong is a line of its own.
  fmt::print(stderr, "{}\n{}; {}\n", introduction, trainer_->description(), cpu_summary());
  if (resumed) fmt::print(stderr, "resumed at step {}\n", trainer_->step());
  return loop();
}

int TrainingRun::loop() {
  Progress progress(trainer_->total_steps(), trainer_->unit());
  progress.start_at(trainer_->step());
  saved_at_ = Clock::now();
  const int64_t first = trainer_->step();
  const double deadline = options_.budget.value_or(0);
  bool stopped = false;
  while (!trainer_->done() && !stopped && !interrupted()) {
    show(trainer_->report_step(), progress);
    stopped = deadline > 0 && seconds() > deadline && !trainer_->done();
    if (trainer_->evaluation_due()) {
      evaluate(progress);
    } else if (seconds_since(saved_at_) >= trainer_->save_every()) {
      save();
    }
  }
  progress.finish();
  save();
  if (!trainer_->done() && !stopped) {
    fmt::print(stderr, "interrupted at step {} of {}; go on with: {}\n", trainer_->step(), trainer_->total_steps(),
               resume_command());
    return kInterrupted;
  }
  if (stopped) {
    fmt::print(stderr, "the machine was slower than planned: stopped at step {} of {}; go on with: {}\n",
               trainer_->step(), trainer_->total_steps(), resume_command());
  }
  summarize(seconds(), trainer_->step() - first);
  return 0;
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
  if (const int64_t epoch = (trainer_->step() - 1) / trainer_->steps_per_epoch() + 1; epoch != epoch_) {
    epoch_ = epoch;
    const int64_t epochs = (trainer_->total_steps() - 1) / trainer_->steps_per_epoch() + 1;
    title_ = fmt::format("epoch {}/{}", epoch, epochs);
  }
  progress.update(trainer_->step(), report.units, title_, std::span(figures).first(count));
}

void TrainingRun::evaluate(Progress& progress) {
  const TrainerBase::EvaluationReport report = trainer_->report_evaluation();
  // In this order a run that is killed in between comes here again and does the same.
  if (report.best) trainer_->weights().save(folder_.best());
  folder_.append_log(trainer_->history().back());
  save();
  evaluated_ = report.figures;
  progress.print(fmt::format("step {:6}  {}{}", trainer_->step(), report.line, report.best ? "  best" : ""));
}

void TrainingRun::save() {
  trainer_->checkpoint().save(folder_.last());
  saved_at_ = Clock::now();
}

void TrainingRun::summarize(double seconds, int64_t steps) const {
  fmt::print("{}; {} steps in {}, {} {}/s; {}\n", trainer_->summary(), steps, readable_time(seconds),
             readable_count(static_cast<double>(units_) / std::max(seconds, 1e-9)), trainer_->unit(),
             folder_.best().string());
  if (!options_.json) return;
  Json json = trainer_->result();
  json["steps"] = trainer_->step();
  json["seconds"] = seconds;
  json["complete"] = trainer_->done();
  fmt::print("{}\n", json.dump());
}

}  // namespace attune::examples
