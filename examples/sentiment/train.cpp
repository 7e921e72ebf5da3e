#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "examples/sentiment/commands.h"
#include "examples/sentiment/corpus.h"
#include "examples/sentiment/request.h"
#include "examples/sentiment/snapshot.h"
#include "examples/sentiment/trainer.h"
#include "examples/support/progress.h"
#include "examples/support/run_directory.h"
#include "examples/support/table.h"
#include "framework/device.h"
#include "framework/fail.h"

namespace attune::examples {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

std::string resume_command(const TrainOptions& options) {
  return fmt::format("attune-sentiment train --resume --out {}", options.out);
}

/// Everything that a run is made of, ready to train.
struct Session {
  Config config;
  Vocabulary vocabulary;
  LabelledSequences train;
  LabelledSequences dev;

  std::unique_ptr<Trainer> trainer() const { return std::make_unique<Trainer>(config, vocabulary, train, dev); }
};

/// Steps that fit into `seconds`, from the time that a few steps and an evaluation take: they are thrown away, so that
/// the run's weights depend on the plan and not on how it was made.
int64_t affordable_steps(const Session& session, double seconds) {
  constexpr double kMeasure = 2;     // seconds, at most
  constexpr int64_t kWarmup = 5;     // steps that still fill caches
  constexpr double kReserve = 0.93;  // the machine may get slower
  const auto trainer = session.trainer();
  const int64_t most = std::min(trainer->total_steps(), trainer->steps_per_epoch());
  const double limit = std::min(kMeasure, seconds / 5);
  const Clock::time_point begin = Clock::now();
  Clock::time_point warm = begin;
  int64_t measured = 0;
  for (int64_t i = 0; i < most && (i <= kWarmup || seconds_since(begin) < limit); ++i) {
    if (i == kWarmup) warm = Clock::now();
    trainer->train_step();
    if (i >= kWarmup) ++measured;
  }
  if (measured == 0) return most;
  const double step = seconds_since(warm) / static_cast<double>(measured);
  const Clock::time_point evaluating = Clock::now();
  trainer->evaluate();
  const double evaluation = seconds_since(evaluating);
  const double evaluations = static_cast<double>(session.config.training.evaluations_per_epoch) /
                             static_cast<double>(trainer->steps_per_epoch());
  const double left = seconds * kReserve - seconds_since(begin) - evaluation;
  return static_cast<int64_t>(left / (step + evaluation * evaluations));
}

class Run {
 public:
  Run(const TrainOptions& options, const RunDirectory& folder, Trainer& trainer, double deadline)
      : options_(options),
        folder_(folder),
        trainer_(trainer),
        deadline_(deadline),
        progress_(trainer.total_steps(), "tokens"),
        saved_(Clock::now()) {
    progress_.start_at(trainer.step());
  }

  /// Exit status.
  int go(Clock::time_point begin) {
    const int64_t first = trainer_.step();
    while (!trainer_.done() && !stopped_ && !interrupted()) {
      show(trainer_.train_step());
      stopped_ = deadline_ > 0 && seconds_since(begin) > deadline_ && !trainer_.done();
      if (trainer_.evaluation_due()) {
        evaluate();
      } else if (seconds_since(saved_) >= trainer_.config().training.save_every) {
        save();
      }
    }
    progress_.finish();
    save();
    if (!trainer_.done() && !stopped_) {
      fmt::print(stderr, "interrupted at step {} of {}; go on with: {}\n", trainer_.step(), trainer_.total_steps(),
                 resume_command(options_));
      return kInterrupted;
    }
    if (stopped_) {
      fmt::print(stderr, "the machine was slower than planned: stopped at step {} of {}; go on with: {}\n",
                 trainer_.step(), trainer_.total_steps(), resume_command(options_));
    }
    const double seconds = seconds_since(begin);
    summarize(seconds, trainer_.step() - first);
    return 0;
  }

 private:
  void show(const Trainer::Step& step) {
    // Of the last hundred steps or so.
    const double weight = tokens_ == 0 ? 1 : 0.02;
    loss_ += weight * (step.loss - loss_);
    accuracy_ += weight * (100.0 * static_cast<double>(step.correct) / static_cast<double>(step.examples) - accuracy_);
    tokens_ += step.tokens;
    if (const int64_t epoch = (trainer_.step() - 1) / trainer_.steps_per_epoch() + 1; epoch != epoch_) {
      epoch_ = epoch;
      const int64_t epochs = (trainer_.total_steps() - 1) / trainer_.steps_per_epoch() + 1;
      title_ = fmt::format("epoch {}/{}", epoch, epochs);
    }
    progress_.update(trainer_.step(), step.tokens, title_, {{"loss", loss_, 4}, {"accuracy", accuracy_, 1, "%"}});
  }

  void evaluate() {
    const Trainer::Evaluation found = trainer_.evaluate();
    // In this order a run that is killed in between comes here again and does the same.
    if (found.best) trainer_.weights().save(folder_.best());
    folder_.append_log(found.log);
    save();
    progress_.print(
        fmt::format("step {:6}  train loss {:.4f} accuracy {:5.2f}%  |  development loss {:.4f} accuracy {:5.2f}%{}",
                    trainer_.step(), found.train_loss, 100 * found.train_accuracy, found.scores.loss,
                    100 * found.scores.confusion.accuracy(), found.best ? "  best" : ""));
  }

  void save() {
    trainer_.checkpoint().save(folder_.last());
    saved_ = Clock::now();
  }

  void summarize(double seconds, int64_t steps) const {
    fmt::print("best development accuracy {:.2f}% at step {}; {} steps in {}, {} tokens/s; {}\n",
               100 * trainer_.best_accuracy(), trainer_.best_step(), steps, readable_time(seconds),
               readable_count(static_cast<double>(tokens_) / std::max(seconds, 1e-9)), folder_.best().string());
    if (!options_.json) return;
    fmt::print("{}\n", nlohmann::ordered_json{{"accuracy", trainer_.best_accuracy()},
                                              {"best_step", trainer_.best_step()},
                                              {"steps", trainer_.step()},
                                              {"parameters", trainer_.model().parameter_count()},
                                              {"seconds", seconds},
                                              {"complete", trainer_.done()}}
                           .dump());
  }

  const TrainOptions& options_;
  const RunDirectory& folder_;
  Trainer& trainer_;
  double deadline_;
  Progress progress_;
  Clock::time_point saved_;
  bool stopped_ = false;
  double loss_ = 0;
  double accuracy_ = 0;
  int64_t tokens_ = 0;
  int64_t epoch_ = 0;
  std::string title_;
};

/// Names the file for what does not fit.
void restore(Trainer& trainer, const Checkpoint& checkpoint, const std::string& path) {
  try {
    trainer.restore(checkpoint);
  } catch (const Error& error) {
    fail<FormatError>("{}: cannot be resumed: {}", path, error.what());
  }
}

}  // namespace

int train(const TrainOptions& options) {
  const Clock::time_point begin = Clock::now();
  catch_interrupts();
  if (!options.resume) requested_config(options, {});  // what is wrong in it comes before any folder is made
  const RunDirectory folder(options.out);
  require<IoError>(options.resume || !folder.holds_run(),
                   "--out {}: holds a run already; go on with it by --resume, or name another folder", options.out);

  std::optional<Checkpoint> saved;
  std::optional<Config> saved_config;
  const std::string last = folder.last().string();
  if (folder.holds_run()) {
    saved = Checkpoint::load(last);
    saved_config = config_of(*saved, last);
  }
  Session session{requested_config(options, saved_config), {}, {}, {}};
  Config& config = session.config;
  if (config.run.threads == 0) config.run.threads = num_threads();
  set_num_threads(static_cast<int>(config.run.threads));

  const Corpus corpus = load_corpus(config.run);
  session.vocabulary = saved ? vocabulary_of(*saved, last) : make_vocabulary(config.text, corpus.train);
  session.train = encode(config.text, session.vocabulary, corpus.train).sequences;
  const EncodedClassification dev = encode(config.text, session.vocabulary, corpus.dev);
  session.dev = dev.sequences;

  std::unique_ptr<Trainer> trainer = session.trainer();
  if (!saved) {
    config.run.steps = trainer->total_steps();
    if (options.budget) {
      trainer.reset();
      const int64_t affordable = affordable_steps(session, *options.budget - seconds_since(begin));
      if (affordable < 1) {
        throw UsageError(
            fmt::format("--budget {} s is too short for a single step and its evaluation", *options.budget));
      }
      config.run.steps = std::min(config.run.steps, affordable);
    }
    trainer = session.trainer();
    folder.write_config(to_json(config));
  } else {
    restore(*trainer, *saved, last);
    saved.reset();
  }
  folder.reset_log(trainer->history());
  // Not before everything has been accepted: what is wrong is a line of its own.
  fmt::print(stderr, "{}\n{} tokens, vocabulary {}, {:.2f}% of the development words unknown\n", corpus.description,
             with_commas(session.train.token_count()), with_commas(session.vocabulary.size()),
             100.0 * static_cast<double>(dev.unknown) / static_cast<double>(dev.sequences.token_count()));
  fmt::print(stderr, "{} parameters; {} steps of {} texts, {} an epoch; {}\n",
             with_commas(trainer->model().parameter_count()), with_commas(trainer->total_steps()),
             config.training.batch_size, with_commas(trainer->steps_per_epoch()), cpu_summary());
  if (saved_config) fmt::print(stderr, "resumed at step {}\n", trainer->step());

  Run run(options, folder, *trainer, options.budget.value_or(0));
  return run.go(begin);
}

}  // namespace attune::examples
