#include "examples/support/text_trainer.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

#include "autograd/optim/schedule.h"
#include "examples/support/finite.h"
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
  TextScores scores{.loss = number_or_nan(json.at(member).at("loss"))};
  for (const auto& [name, value] : json.at(member).items()) {
    if (name != "loss" && name != "perplexity") scores.figures.emplace_back(name, number_or_nan(value));
  }
  return scores;
}

}  // namespace

void TextTrainer::set_weights(const NamedTensors& weights) { model_.load_state_dict(weights); }

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

int64_t TextTrainer::batches_gone() const {
  const DataPosition now = position();
  return now.epoch * batches_per_epoch() + now.batch;
}

double TextTrainer::epochs() const {
  return static_cast<double>(batches_gone()) / static_cast<double>(batches_per_epoch());
}

double TextTrainer::total_epochs() const {
  const auto batches = static_cast<double>(batches_per_epoch());
  const auto steps_left = static_cast<double>(total_steps() - step_);
  return std::min(epochs() + steps_left * static_cast<double>(config_.accumulation) / batches,
                  std::max(epochs(), static_cast<double>(config_.epochs)));
}

/// Steps go on from one epoch into the next; the last one has what batches are left.
int64_t TextTrainer::total_steps() const {
  if (planned_steps_ > 0) return planned_steps_;
  const int64_t left = std::max<int64_t>(batches_of_all_epochs() - batches_gone(), 0);
  return step_ + (left + config_.accumulation - 1) / config_.accumulation;
}

bool TextTrainer::done() const {
  return step_ == total_steps() || (config_.patience > 0 && waited_ >= config_.patience);
}

bool TextTrainer::evaluation_due() const {
  if (step_ == total_steps()) return true;
  if (config_.evaluate_every > 0) return step_ % config_.evaluate_every == 0;
  // A step that ends an epoch has taken at most `accumulation` batches since its end.
  return step_ > 0 && batches_gone() >= batches_per_epoch() &&
         (batches_gone() % batches_per_epoch()) < config_.accumulation;
}

double TextTrainer::evaluations_per_step() const {
  if (config_.evaluate_every > 0) return 1 / static_cast<double>(config_.evaluate_every);
  return std::min(1.0, static_cast<double>(config_.accumulation) / static_cast<double>(batches_per_epoch()));
}

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
  const double rate = learning_rate();
  // Of all epochs no batch is left over, and none is taken of another.
  const int64_t left = batches_of_all_epochs() - batches_gone();
  const int64_t batches = std::clamp<int64_t>(left, 1, config_.accumulation);
  for (int64_t i = 0; i < batches; ++i) {
    const Learned learned = learn_batch();
    losses_.emplace_back(learned.loss);  // before the next batch overwrites it
    result.tokens += learned.tokens;
    result.units += learned.units;
  }
  // Looked at before the weights learn from it, where that is possible without waiting.
  figures_.add(step_ + 1, losses_, [this, count = result.tokens](int64_t step, const std::vector<Tensor>& found) {
    double sum = 0;
    for (const Tensor& loss : found) sum += loss.item();
    loss_ = sum / static_cast<double>(count);
    require_finite_loss(loss_, step);
    loss_sum_ += sum;
    tokens_ += count;
  });
  const auto tokens = static_cast<double>(result.tokens);
  optimizer_.set_learning_rate(rate);
  with_step(step_ + 1, [&] { optimizer_.step({.gradient_scale = 1 / tokens, .clip_norm = config_.clip_norm}); });
  if (moving_) moving_->update();

  ++step_;
  result.loss = loss_;
  return result;
}

/// NaN can be compared with nothing.
bool TextTrainer::usable(const TextScores& scores) const {
  return std::isfinite(scores.loss) && !std::isnan(scores.figure(decisive_).value_or(0));
}

/// Where texts are equally good, or there are none, the loss decides.
bool TextTrainer::better(const TextScores& a, const TextScores& b) const {
  const std::optional<double> one = a.figure(decisive_), other = b.figure(decisive_);
  return one == other ? a.loss < b.loss : one > other;
}

/// Takes the weights in once, however often the evaluation is begun. Whether the average has changed.
bool TextTrainer::take_checkpoint(double score, double loss) {
  if (!taken_) taken_ = kept_->add(score, loss);
  return *taken_;
}

/// Takes the weights into the average of checkpoints, where there is one.
TextScores TextTrainer::scores_of_weights() {
  std::optional<UseAverage> moving;
  if (moving_) moving.emplace(*moving_);
  partial_.set_prefix("own/");
  if (!kept_) return validate();

  if (config_.average_best > 0) {
    const TextScores own = validate();
    const bool taken = take_checkpoint(own.figure(decisive_).value_or(-own.loss), own.loss);
    if (!taken && scores_) return *scores_;  // the average is what it was
    if (kept_->size() == 1) return own;
  } else {
    take_checkpoint(0, 0);
  }
  partial_.set_prefix("average/");
  const UseAverage average(*kept_);
  return validate();
}

TextTrainer::Evaluation TextTrainer::evaluate() {
  check_last_step();
  Evaluation result;
  result.scores = scores_of_weights();
  taken_.reset();
  evaluated_step_ = step_;
  scores_ = result.scores;
  result.best = usable(result.scores) && (!best_ || better(result.scores, *best_));
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
               {"epoch", epochs()},
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

/// What is known of the last step only by now. Step numbers are 1 and up.
void TextTrainer::check_last_step() {
  figures_.settle();
  with_step(step_, [&] { optimizer_.check_last_step(); });
}

Checkpoint TextTrainer::checkpoint() {
  check_last_step();
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
  checkpoint.put_tensors("model", clone(model_.state_dict()));
  checkpoint.put_text("config", config_json());
  put_codecs(checkpoint);
  checkpoint.put_list("history", history_);
  return checkpoint;
}

std::string TextTrainer::progress() const {
  Json json = {{"step", step_},
               {"data", examples::to_json(position())},
               {"since_evaluation", {{"loss_sum", loss_sum_}, {"tokens", tokens_}}},
               {"evaluated_step", evaluated_step_},
               {"best_step", best_step_},
               {"waited", waited_}};
  if (taken_) json["taken"] = *taken_;
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
    loss_sum_ = number_or_nan(since.at("loss_sum"));
    tokens_ = since.at("tokens");
    // Runs of before this was kept were saved after evaluations, never in between.
    evaluated_step_ = json.value("evaluated_step", step_);
    taken_ = json.contains("taken") ? std::optional(json.at("taken").get<bool>()) : std::nullopt;
    best_step_ = json.at("best_step");
    waited_ = json.at("waited");
    scores_ = scores_of(json, "scores");
    best_ = scores_of(json, "best");
    if (best_ && !usable(*best_)) best_.reset();
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
  if (!best_) return "no evaluation yet that could be the best";
  return fmt::format("best validation {} at step {}", described(*best_), best_step_);
}

Json TextTrainer::result() const {
  Json json = best_ ? to_json(*best_) : Json::object();
  json["best_step"] = best_ ? Json(best_step_) : Json();
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
