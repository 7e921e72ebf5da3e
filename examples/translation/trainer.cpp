#include "examples/translation/trainer.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

#include "autograd/optim/schedule.h"
#include "examples/support/table.h"
#include "framework/fail.h"

namespace attune::examples::translation {
namespace {

using Json = nlohmann::ordered_json;

std::unique_ptr<TranslationModel> seeded_model(const Config& config, const TextSides& sides, Device device) {
  manual_seed(config.run.seed);
  auto model = make_model(config, sides);
  model->to(device);
  return model;
}

AdamWOptions optimizer_options(const TrainingConfig& config) {
  return {.beta1 = config.beta1,
          .beta2 = config.beta2,
          .weight_decay = config.weight_decay,
          .groups = {no_decay_of_vectors()}};
}

Json to_json(const Scores& scores) {
  Json json = {{"loss", scores.loss}, {"perplexity", scores.perplexity()}};
  if (scores.bleu) json["bleu"] = *scores.bleu;
  return json;
}

/// "loss 1.8423 perplexity 6.31 BLEU 38.22"
std::string to_string(const Scores& scores) {
  const std::string bleu = scores.bleu ? fmt::format(" BLEU {:.2f}", *scores.bleu) : "";
  return fmt::format("loss {:.4f} perplexity {:.2f}{}", scores.loss, scores.perplexity(), bleu);
}

/// Where translations are equally good, or there are none, the loss decides.
bool better(const Scores& a, const Scores& b) { return a.bleu == b.bleu ? a.loss < b.loss : a.bleu > b.bleu; }

}  // namespace

Trainer::Trainer(const Config& config, TextSides sides, const TrainingData& data, Device device)
    : config_(config),
      sides_(std::move(sides)),
      model_(seeded_model(config, sides_, device)),
      optimizer_(model_->named_parameters(), optimizer_options(config.training)),
      loss_({.label_smoothing = config.training.label_smoothing,
             .ignore_index = TextCodec::kPad,
             .reduction = Reduction::kSum}),
      train_(data.train,
             {.batches = {.max_examples = 0, .max_tokens = config.training.max_tokens, .seed = config.run.seed}}),
      validate_(config, sides_, data.val) {
  const TrainingConfig& training = config_.training;
  if (training.average_decay > 0) moving_.emplace(model_->named_parameters(), training.average_decay);
  if (training.average_last + training.average_best > 0) {
    kept_.emplace(model_->named_parameters(), checkpoint_average(training));
  }
}

int64_t Trainer::steps_per_epoch() const {
  return (train_.batches_per_epoch() - 1) / config_.training.accumulation + 1;
}

int64_t Trainer::total_steps() const {
  if (config_.run.steps > 0) return config_.run.steps;
  return (config_.training.epochs * train_.batches_per_epoch() - 1) / config_.training.accumulation + 1;
}

int64_t Trainer::evaluate_every() const {
  return config_.training.evaluate_every > 0 ? config_.training.evaluate_every : steps_per_epoch();
}

bool Trainer::done() const {
  const int64_t patience = config_.training.patience;
  return step_ == total_steps() || (patience > 0 && waited_ >= patience);
}

bool Trainer::evaluation_due() const { return step_ % evaluate_every() == 0 || step_ == total_steps(); }

double Trainer::learning_rate() const {
  const TrainingConfig& c = config_.training;
  if (c.schedule == "cosine") {
    return CosineSchedule{.peak = c.learning_rate, .warmup = c.warmup, .total = total_steps()}.at(step_);
  }
  return InverseSquareRootSchedule{c.learning_rate, c.warmup}.at(step_);
}

const PairBatch& Trainer::next_batch() {
  const PairBatch* batch = train_.next();
  if (batch == nullptr) batch = train_.next();  // the next epoch
  return *batch;
}

/// Losses are sums over the tokens and divided once by all of them, so that some batches together make the step that
/// one large batch would make.
Trainer::Step Trainer::train_step() {
  Step result;
  double sum = 0;
  for (int64_t i = 0; i < config_.training.accumulation; ++i) {
    const PairBatch& batch = next_batch();
    const Variable features = (*model_)(batch.source, batch.source_lengths, batch.target_in);  // [B, T, D]
    const Variable loss = loss_(features, model_->decoder().head(), batch.target_out);
    sum += loss.item();
    result.source_tokens += batch.source_tokens;
    result.target_tokens += batch.target_tokens;
    loss.backward();
  }
  const auto tokens = static_cast<double>(result.target_tokens);
  optimizer_.set_learning_rate(learning_rate());
  optimizer_.step({.gradient_scale = 1 / tokens, .clip_norm = config_.training.clip_norm});
  if (moving_) moving_->update();

  ++step_;
  result.loss = sum / tokens;
  loss_sum_ += sum;
  tokens_ += result.target_tokens;
  return result;
}

/// Takes the weights into the average of checkpoints, where there is one.
Scores Trainer::scores_of_weights() {
  std::optional<UseAverage> moving;
  if (moving_) moving.emplace(*moving_);
  if (!kept_) return validate_(*model_);

  if (config_.training.average_best > 0) {
    const Scores own = validate_(*model_);
    const bool taken = kept_->add(own.bleu.value_or(-own.loss));
    if (!taken && scores_) return *scores_;  // the average is what it was
    if (kept_->size() == 1) return own;
  } else {
    kept_->add();
  }
  const UseAverage average(*kept_);
  return validate_(*model_);
}

Trainer::Evaluation Trainer::evaluate() {
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

TrainerBase::StepReport Trainer::report_step() {
  const Step step = train_step();
  return {.units = step.source_tokens + step.target_tokens, .figures = {Figure{"loss", step.loss, 4}}};
}

TrainerBase::EvaluationReport Trainer::report_evaluation() {
  const Evaluation found = evaluate();
  EvaluationReport report{
      .best = found.best,
      .line = fmt::format("train loss {:.4f}  |  validation {}", found.train_loss, to_string(found.scores)),
      .figures = {Figure{"val ppl", found.scores.perplexity(), 2}}};
  if (found.scores.bleu) report.figures[1] = {"BLEU", *found.scores.bleu, 2};
  return report;
}

void Trainer::rehearse_evaluation() { validate_.rehearse(*model_); }

Checkpoint Trainer::checkpoint() const {
  Checkpoint checkpoint;
  checkpoint.put_tensors("model", model_->state_dict());
  checkpoint.put_tensors("optimizer", optimizer_.state());
  if (moving_) checkpoint.put_tensors("average", moving_->state());
  if (kept_ && kept_->size() > 0) checkpoint.put_tensors("checkpoints", kept_->state());
  checkpoint.put_text("config", config_json());
  put_sides(checkpoint, sides_);
  checkpoint.put_text("state/progress", progress());
  checkpoint.put_random("state/random/default", default_stream().state());
  checkpoint.put_list("history", history_);
  return checkpoint;
}

Checkpoint Trainer::weights() {
  std::optional<UseAverage> average;
  if (kept_ && kept_->size() > 0) {
    average.emplace(*kept_);
  } else if (moving_) {
    average.emplace(*moving_);
  }
  Checkpoint checkpoint;
  checkpoint.put_tensors("model", copies_of(model_->state_dict()));
  checkpoint.put_text("config", config_json());
  put_sides(checkpoint, sides_);
  checkpoint.put_list("history", history_);
  return checkpoint;
}

std::string Trainer::progress() const {
  Json json = {{"step", step_},
               {"data", examples::to_json(train_.position())},
               {"since_evaluation", {{"loss_sum", loss_sum_}, {"tokens", tokens_}}},
               {"best_step", best_step_},
               {"waited", waited_}};
  if (scores_) json["scores"] = to_json(*scores_);
  if (best_) json["best"] = to_json(*best_);
  return json.dump();
}

void Trainer::restore_progress(const std::string& text) {
  const auto scores = [](const Json& json, const char* name) -> std::optional<Scores> {
    if (!json.contains(name)) return {};
    Scores found{.loss = json.at(name).at("loss"), .bleu = {}};
    if (json.at(name).contains("bleu")) found.bleu = json.at(name).at("bleu").get<double>();
    return found;
  };
  try {
    const Json json = Json::parse(text);
    train_.seek(data_position(json.at("data")));
    step_ = json.at("step");
    const Json& since = json.at("since_evaluation");
    loss_sum_ = since.at("loss_sum");
    tokens_ = since.at("tokens");
    best_step_ = json.at("best_step");
    waited_ = json.at("waited");
    scores_ = scores(json, "scores");
    best_ = scores(json, "best");
  } catch (const Json::exception&) {
    fail<FormatError>("state/progress is not that of a run of attune-translation");
  }
  require<FormatError>(step_ >= 0 && step_ <= total_steps(), "state/progress: step {} is outside 0 to {}", step_,
                       total_steps());
}

void Trainer::restore(const Checkpoint& checkpoint) {
  restore_progress(checkpoint.text("state/progress"));
  model_->load_state_dict(checkpoint.tensors("model"));
  optimizer_.load_state(checkpoint.tensors("optimizer"));
  if (moving_) moving_->load_state(checkpoint.tensors("average"));
  if (const NamedTensors kept = checkpoint.tensors("checkpoints"); kept_ && !kept.empty()) kept_->load_state(kept);
  default_stream().set_state(checkpoint.random("state/random/default"));
  history_ = checkpoint.list("history");
}

std::string Trainer::description() const {
  const int64_t accumulation = config_.training.accumulation;
  const std::string batches = accumulation > 1 ? fmt::format("{} batches of ", accumulation) : "";
  return fmt::format("{} parameters; {} steps of {}up to {} tokens, {} an epoch",
                     with_commas(model_->parameter_count()), with_commas(total_steps()), batches,
                     with_commas(config_.training.max_tokens), with_commas(steps_per_epoch()));
}

std::string Trainer::summary() const {
  if (!best_) return "no evaluation yet";
  return fmt::format("best validation {} at step {}", to_string(*best_), best_step_);
}

Json Trainer::result() const {
  Json json = best_ ? to_json(*best_) : Json::object();
  json["best_step"] = best_step_;
  json["parameters"] = model_->parameter_count();
  return json;
}

}  // namespace attune::examples::translation
