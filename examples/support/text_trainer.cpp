#include "examples/support/text_trainer.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

#include "autograd/optim/schedule.h"
#include "examples/support/saved_progress.h"
#include "examples/support/table.h"
#include "framework/fail.h"
#include "framework/random.h"

namespace attune::examples {
namespace {

using Json = nlohmann::ordered_json;

AdamWOptions optimizer_options(const TextTrainingConfig& config) {
  return {.beta1 = config.beta1,
          .beta2 = config.beta2,
          .weight_decay = config.weight_decay,
          .groups = {no_decay_of_vectors()}};
}

CheckpointAverageOptions checkpoint_average(const TextTrainingConfig& config) {
  if (config.average_best > 0) return {.count = config.average_best, .keep = KeepCheckpoints::kBest};
  return {.count = config.average_last, .keep = KeepCheckpoints::kLast};
}

Json to_json(const TextScores& scores) {
  Json json = {{"loss", scores.loss}, {"perplexity", scores.perplexity()}};
  for (const auto& [name, value] : scores.figures) json[name] = value;
  return json;
}

/// None where there is no such member.
std::optional<TextScores> scores_of(const Json& json, const char* member) {
  if (!json.contains(member)) return {};
  TextScores scores{.loss = json.at(member).at("loss")};
  for (const auto& [name, value] : json.at(member).items()) {
    if (name != "loss" && name != "perplexity") scores.figures.emplace_back(name, value.get<double>());
  }
  return scores;
}

}  // namespace

double TextScores::perplexity() const { return std::exp(loss); }

std::optional<double> TextScores::figure(std::string_view name) const {
  for (const auto& [own, value] : figures) {
    if (own == name) return value;
  }
  return {};
}

TextTrainer::TextTrainer(Module& model, const Options& options)
    : program_(options.program),
      config_(options.training),
      planned_steps_(options.steps),
      shown_(options.shown),
      decisive_(options.decisive),
      model_(model),
      optimizer_(model.named_parameters(), optimizer_options(options.training)),
      graphs_(make_step_graphs(options.graphs, model.named_parameters())),
      figures_(options.averaged.entries().front().second.device()) {
  if (config_.average_decay > 0) moving_.emplace(options.averaged, config_.average_decay);
  if (config_.average_last + config_.average_best > 0) {
    kept_.emplace(options.averaged, checkpoint_average(config_));
  }
}

int64_t TextTrainer::steps_per_epoch() const { return (batches_per_epoch() - 1) / config_.accumulation + 1; }

int64_t TextTrainer::total_steps() const {
  if (planned_steps_ > 0) return planned_steps_;
  return (config_.epochs * batches_per_epoch() - 1) / config_.accumulation + 1;
}

int64_t TextTrainer::evaluate_every() const {
  return config_.evaluate_every > 0 ? config_.evaluate_every : steps_per_epoch();
}

bool TextTrainer::done() const {
  return step_ == total_steps() || (config_.patience > 0 && waited_ >= config_.patience);
}

bool TextTrainer::evaluation_due() const { return step_ % evaluate_every() == 0 || step_ == total_steps(); }

double TextTrainer::learning_rate() const {
  if (config_.schedule == "cosine") {
    return CosineSchedule{.peak = config_.learning_rate, .warmup = config_.warmup, .total = total_steps()}.at(step_);
  }
  return InverseSquareRootSchedule{config_.learning_rate, config_.warmup}.at(step_);
}

/// Losses are sums over the tokens and divided once by all of them, so that some batches together make the step that
/// one large batch would make.
TextTrainer::Step TextTrainer::train_step() {
  Step result;
  losses_.clear();
  for (int64_t i = 0; i < config_.accumulation; ++i) {
    const Learned learned = learn_batch();
    losses_.emplace_back(learned.loss);  // before the next batch overwrites it
    result.tokens += learned.tokens;
    result.units += learned.units;
  }
  const auto tokens = static_cast<double>(result.tokens);
  optimizer_.set_learning_rate(learning_rate());
  optimizer_.step({.gradient_scale = 1 / tokens, .clip_norm = config_.clip_norm});
  if (moving_) moving_->update();

  ++step_;
  figures_.add(losses_, [this, count = result.tokens](const std::vector<Tensor>& found) {
    double sum = 0;
    for (const Tensor& loss : found) sum += loss.item();
    loss_ = sum / static_cast<double>(count);
    loss_sum_ += sum;
    tokens_ += count;
  });
  result.loss = loss_;
  return result;
}

/// Where texts are equally good, or there are none, the loss decides.
bool TextTrainer::better(const TextScores& a, const TextScores& b) const {
  const std::optional<double> one = a.figure(decisive_), other = b.figure(decisive_);
  return one == other ? a.loss < b.loss : one > other;
}

/// Takes the weights into the average of checkpoints, where there is one.
TextScores TextTrainer::scores_of_weights() {
  std::optional<UseAverage> moving;
  if (moving_) moving.emplace(*moving_);
  if (!kept_) return validate();

  if (config_.average_best > 0) {
    const TextScores own = validate();
    const bool taken = kept_->add(own.figure(decisive_).value_or(-own.loss));
    if (!taken && scores_) return *scores_;  // the average is what it was
    if (kept_->size() == 1) return own;
  } else {
    kept_->add();
  }
  const UseAverage average(*kept_);
  return validate();
}

TextTrainer::Evaluation TextTrainer::evaluate() {
  figures_.settle();
  optimizer_.check_last_step();
  Evaluation result;
  result.scores = scores_of_weights();
  scores_ = result.scores;
  result.best = !best_ || better(result.scores, *best_);
  ++waited_;
  if (result.best) {
    best_ = result.scores;
    best_step_ = step_;
    waited_ = 0;
  }
  result.train_loss = loss_sum_ / static_cast<double>(std::max<int64_t>(tokens_, 1));
  loss_sum_ = 0;
  tokens_ = 0;

  Json line = {{"step", step_},
               {"epoch", static_cast<double>(step_) / static_cast<double>(steps_per_epoch())},
               {"learning_rate", optimizer_.learning_rate()},
               {"train_loss", result.train_loss}};
  line.update(to_json(result.scores));
  line["best"] = result.best;
  history_.push_back(line.dump());
  return result;
}

TrainerBase::StepReport TextTrainer::report_step() {
  const Step step = train_step();
  return {.units = step.units, .figures = {Figure{"loss", step.loss, 4}}};
}

TrainerBase::EvaluationReport TextTrainer::report_evaluation() {
  const Evaluation found = evaluate();
  EvaluationReport report{
      .best = found.best,
      .line = fmt::format("train loss {:.4f}  |  validation {}", found.train_loss, described(found.scores)),
      .figures = {Figure{"val ppl", found.scores.perplexity(), 2}}};
  for (const ShownScore& shown : shown_) {
    const std::optional<double> value = found.scores.figure(shown.name);
    if (value && shown.name == decisive_) report.figures[1] = {shown.title, shown.factor * *value, shown.digits};
  }
  return report;
}

Checkpoint TextTrainer::checkpoint() {
  figures_.settle();
  optimizer_.check_last_step();
  Checkpoint checkpoint;
  checkpoint.put_tensors("model", model_.state_dict());
  checkpoint.put_tensors("optimizer", optimizer_.state());
  if (moving_) checkpoint.put_tensors("average", moving_->state());
  if (kept_ && kept_->size() > 0) checkpoint.put_tensors("checkpoints", kept_->state());
  checkpoint.put_text("config", config_json());
  put_codecs(checkpoint);
  put_state(checkpoint);
  checkpoint.put_text("state/progress", progress());
  checkpoint.put_random("state/random/default", default_stream().state());
  checkpoint.put_list("history", history_);
  return checkpoint;
}

Checkpoint TextTrainer::weights() {
  std::optional<UseAverage> average;
  if (kept_ && kept_->size() > 0) {
    average.emplace(*kept_);
  } else if (moving_) {
    average.emplace(*moving_);
  }
  Checkpoint checkpoint;
  checkpoint.put_tensors("model", copies_of(model_.state_dict()));
  checkpoint.put_text("config", config_json());
  put_codecs(checkpoint);
  checkpoint.put_list("history", history_);
  return checkpoint;
}

std::string TextTrainer::progress() const {
  Json json = {{"step", step_},
               {"data", examples::to_json(position())},
               {"since_evaluation", {{"loss_sum", loss_sum_}, {"tokens", tokens_}}},
               {"best_step", best_step_},
               {"waited", waited_}};
  if (scores_) json["scores"] = to_json(*scores_);
  if (best_) json["best"] = to_json(*best_);
  return json.dump();
}

void TextTrainer::restore_progress(const std::string& text) {
  try {
    const Json json = progress_json(text, program_);
    seek(data_position(json.at("data")));
    step_ = json.at("step");
    const Json& since = json.at("since_evaluation");
    loss_sum_ = since.at("loss_sum");
    tokens_ = since.at("tokens");
    best_step_ = json.at("best_step");
    waited_ = json.at("waited");
    scores_ = scores_of(json, "scores");
    best_ = scores_of(json, "best");
  } catch (const Json::exception&) {
    fail<FormatError>("state/progress is not that of a run of {}", program_);
  }
  require<FormatError>(step_ >= 0 && step_ <= total_steps(), "state/progress: step {} is outside 0 to {}", step_,
                       total_steps());
}

void TextTrainer::restore(const Checkpoint& checkpoint) {
  figures_.forget();
  restore_progress(checkpoint.text("state/progress"));
  model_.load_state_dict(checkpoint.tensors("model"));
  optimizer_.load_state(checkpoint.tensors("optimizer"));
  if (moving_) moving_->load_state(checkpoint.tensors("average"));
  if (const NamedTensors kept = checkpoint.tensors("checkpoints"); kept_ && !kept.empty()) kept_->load_state(kept);
  restore_state(checkpoint);
  default_stream().set_state(checkpoint.random("state/random/default"));
  history_ = checkpoint.list("history");
}

std::string TextTrainer::description_begun() const {
  const std::string batches = config_.accumulation > 1 ? fmt::format("{} batches of ", config_.accumulation) : "";
  return fmt::format("{} parameters; {} steps of {}", with_commas(model_.parameter_count()), with_commas(total_steps()),
                     batches);
}

std::string TextTrainer::described(const TextScores& scores) const {
  std::string text = fmt::format("loss {:.4f} perplexity {:.2f}", scores.loss, scores.perplexity());
  for (const ShownScore& shown : shown_) {
    if (const std::optional<double> value = scores.figure(shown.name)) {
      text += fmt::format(" {} {:.{}f}", shown.title, shown.factor * *value, shown.digits);
    }
  }
  return text;
}

std::string TextTrainer::summary() const {
  if (!best_) return "no evaluation yet";
  return fmt::format("best validation {} at step {}", described(*best_), best_step_);
}

Json TextTrainer::result() const {
  Json json = best_ ? to_json(*best_) : Json::object();
  json["best_step"] = best_step_;
  json["parameters"] = model_.parameter_count();
  return json;
}

void use_saved_average(const ParameterList& parameters, const TextTrainingConfig& config,
                       const Checkpoint& checkpoint) {
  if (const NamedTensors state = checkpoint.tensors("average"); !state.empty()) {
    WeightAverage average(parameters, config.average_decay);
    average.load_state(state);
    if (average.updates() > 0) average.swap();
  }
  if (const NamedTensors state = checkpoint.tensors("checkpoints"); !state.empty()) {
    CheckpointAverage average(parameters, checkpoint_average(config));
    average.load_state(state);
    average.swap();
  }
}

}  // namespace attune::examples
