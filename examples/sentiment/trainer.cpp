#include "examples/sentiment/trainer.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

#include "autograd/ops/ops.h"
#include "autograd/optim/schedule.h"
#include "examples/sentiment/corpus.h"
#include "examples/support/finite.h"
#include "examples/support/placement.h"
#include "examples/support/saved_progress.h"
#include "examples/support/table.h"
#include "framework/fail.h"
#include "framework/math/compare.h"
#include "framework/math/reduce.h"

namespace attune::examples {
namespace {

using Json = nlohmann::ordered_json;

std::unique_ptr<SentimentModel> make_model(const Config& config, const Vocabulary& vocabulary, Device device) {
  manual_seed(config.run.seed);
  auto model = std::make_unique<SentimentModel>(config.model, vocabulary.size(), config.text.max_length);
  place(*model, {device, parse_precision(config.run.precision)});
  return model;
}

std::unique_ptr<Optimizer> make_optimizer(const TrainingConfig& config, const SentimentModel& model) {
  const auto parameters = model.named_parameters();
  if (config.optimizer == "adam") {
    return std::make_unique<Adam>(
        parameters,
        AdamOptions{.beta2 = config.beta2, .weight_decay = config.weight_decay, .groups = {no_decay_of_vectors()}});
  }
  return std::make_unique<AdamW>(
      parameters,
      AdamWOptions{.beta2 = config.beta2, .weight_decay = config.weight_decay, .groups = {no_decay_of_vectors()}});
}

}  // namespace

Trainer::Trainer(const Config& config, Vocabulary vocabulary, LabelledSequences train, LabelledSequences dev,
                 Device device, GraphMode graphs)
    : config_(config),
      vocabulary_(std::move(vocabulary)),
      model_(make_model(config, vocabulary_, device)),
      optimizer_(make_optimizer(config.training, *model_)),
      graphs_(make_step_graphs(graphs, model_->named_parameters())),
      train_(std::move(train),
             {.batches = {.max_examples = config.training.batch_size, .seed = config.run.seed}, .prefetch = 2}),
      dev_(evaluation_loader(std::move(dev))),
      figures_(device) {
  if (config.training.average_decay > 0) average_.emplace(model_->named_parameters(), config.training.average_decay);
}

int64_t Trainer::total_steps() const {
  return config_.run.steps > 0 ? config_.run.steps : config_.training.epochs * steps_per_epoch();
}

bool Trainer::evaluation_due() const {
  const int64_t every = std::max<int64_t>(steps_per_epoch() / config_.training.evaluations_per_epoch, 1);
  return step_ % every == 0 || done();
}

double Trainer::evaluations_per_step() const {
  return static_cast<double>(config_.training.evaluations_per_epoch) / static_cast<double>(steps_per_epoch());
}

double Trainer::learning_rate() const {
  const TrainingConfig& c = config_.training;
  const auto total = static_cast<double>(total_steps());
  const auto warmup = static_cast<int64_t>(std::llround(c.warmup * total));
  if (c.schedule == "cosine") {
    return CosineSchedule{.peak = c.learning_rate, .warmup = warmup, .total = total_steps()}.at(step_);
  }
  if (c.schedule == "inverse_sqrt") return InverseSquareRootSchedule{c.learning_rate, warmup}.at(step_);
  return step_ < warmup ? c.learning_rate * static_cast<double>(step_ + 1) / static_cast<double>(warmup)
                        : c.learning_rate;
}

/// Words become unknown at random, so that the vector of unknown words is trained and no word is relied on alone
/// (Iyyer et al., 2015, section 4.1, drop them; Gal and Ghahramani, 2016, section 4.2).
Tensor Trainer::with_unknown_words(const Batch& batch) const {
  const double p = config_.training.word_dropout;
  if (p == 0) return batch.tokens;
  const Tensor draws = default_stream().uniform(batch.tokens.shape(), 0, 1);
  return where((draws < p) & (batch.tokens != Vocabulary::kPad), Vocabulary::kUnknown, batch.tokens);
}

Trainer::Step Trainer::train_step() {
  const Batch* batch = train_.next();
  if (batch == nullptr) batch = train_.next();  // the next epoch
  optimizer_->set_learning_rate(learning_rate());
  const int64_t members = model_->members();
  const Tensor tokens = with_unknown_words(*batch);                                                        // [B, T]
  const Tensor targets = batch->labels.unsqueeze(0).expand({members, batch->labels.dim(0)}).contiguous();  // [M, B]
  const CrossEntropyOptions options{.label_smoothing = config_.training.label_smoothing};
  const Tensor inputs[] = {tokens, batch->lengths, targets};
  const std::vector<Tensor>& found = graphs_->run(inputs, [&](std::vector<Tensor>& results) {
    const Variable logits = (*model_)(tokens, batch->lengths);  // [M, B, 2]
    // The sum over the members of their mean losses: each learns as if it were alone.
    const Variable loss = cross_entropy(logits, targets, options) * static_cast<double>(members);
    loss.backward();
    results.insert(results.end(), {loss.value(), logits.value()});
  });
  // Looked at before the weights learn from it, where that is possible without waiting.
  copies_.clear();
  for (const Tensor& tensor : found) copies_.emplace_back(tensor);
  figures_.add(step_ + 1, copies_, [this, labels = batch->labels](int64_t step, const std::vector<Tensor>& seen) {
    see(seen[0], seen[1], labels);
    require_finite_loss(loss_, step);
  });
  // Gradients of M members side by side are sqrt(M) times as long as those of one.
  const double clip_norm = config_.training.clip_norm * std::sqrt(static_cast<double>(members));
  with_step(step_ + 1, [&] { optimizer_->step({.clip_norm = clip_norm}); });
  if (average_) average_->update();

  ++step_;
  return {.loss = loss_, .accuracy = accuracy_, .tokens = batch->token_count};
}

/// What a step found: the members' losses, and the logits for each.
void Trainer::see(const Tensor& loss, const Tensor& logits, const Tensor& labels) {
  const int64_t examples = labels.numel();
  const Tensor positive = SentimentModel::probabilities(logits) > 0.5;
  const auto correct = static_cast<int64_t>(count_nonzero(positive == (labels == 1)).item());
  loss_ = loss.item() / static_cast<double>(model_->members());
  accuracy_ = static_cast<double>(correct) / static_cast<double>(examples);
  loss_sum_ += loss_ * static_cast<double>(examples);
  examples_ += examples;
  correct_ += correct;
}

/// What is known of the last step only by now.
void Trainer::check_last_step() {
  figures_.settle();
  with_step(step_, [&] { optimizer_->check_last_step(); });
}

Trainer::Evaluation Trainer::evaluate() {
  check_last_step();
  Evaluation result;
  {
    std::optional<UseAverage> use;
    if (average_) use.emplace(*average_);
    result.scores = examples::evaluate(*model_, dev_, partial_);
  }
  evaluated_step_ = step_;
  const double accuracy = result.scores.confusion.accuracy();
  result.best = std::isfinite(result.scores.loss) &&
                (accuracy > best_accuracy_ || (accuracy == best_accuracy_ && result.scores.loss < best_loss_));
  if (result.best) {
    best_accuracy_ = accuracy;
    best_loss_ = result.scores.loss;
    best_step_ = step_;
  }
  const auto examples = static_cast<double>(std::max<int64_t>(examples_, 1));
  result.train_loss = loss_sum_ / examples;
  result.train_accuracy = static_cast<double>(correct_) / examples;
  loss_sum_ = 0;
  examples_ = correct_ = 0;
  history_.push_back(Json{
      {"step", step_},
      {"epoch", epochs()},
      {"learning_rate", optimizer_->learning_rate()},
      {"train_loss", result.train_loss},
      {"train_accuracy", result.train_accuracy},
      {"loss", result.scores.loss},
      {"accuracy", accuracy},
      {"f1", result.scores.confusion.f1()},
      {"best",
       result.best}}.dump());
  return result;
}

TrainerBase::StepReport Trainer::report_step() {
  const Step step = train_step();
  return {.units = step.tokens,
          .figures = {Figure{"loss", step.loss, 4}, Figure{"accuracy", 100 * step.accuracy, 1, "%"}}};
}

TrainerBase::EvaluationReport Trainer::report_evaluation() {
  const Evaluation found = evaluate();
  return {.best = found.best,
          .line = fmt::format("train loss {:.4f} accuracy {:5.2f}%  |  development loss {:.4f} accuracy {:5.2f}%",
                              found.train_loss, 100 * found.train_accuracy, found.scores.loss,
                              100 * found.scores.confusion.accuracy())};
}

Checkpoint Trainer::checkpoint() {
  check_last_step();
  Checkpoint checkpoint;
  checkpoint.put_tensors("model", model_->state_dict());
  checkpoint.put_tensors("optimizer", optimizer_->state());
  if (average_) checkpoint.put_tensors("average", average_->state());
  checkpoint.put_text("config", to_json(config_));
  checkpoint.put_list("vocabulary", vocabulary_.tokens());
  checkpoint.put_text("state/progress", progress());
  checkpoint.put_random("state/random/default", default_stream().state());
  checkpoint.put_list("history", history_);
  return checkpoint;
}

Checkpoint Trainer::weights() {
  std::optional<UseAverage> use;
  if (average_) use.emplace(*average_);
  Checkpoint checkpoint;
  checkpoint.put_tensors("model", clone(model_->state_dict()));
  checkpoint.put_text("config", to_json(config_));
  checkpoint.put_list("vocabulary", vocabulary_.tokens());
  checkpoint.put_list("history", history_);
  return checkpoint;
}

std::string Trainer::progress() const {
  return Json{{"step", step_},
              {"data", to_json(train_.position())},
              {"since_evaluation", {{"loss_sum", loss_sum_}, {"examples", examples_}, {"correct", correct_}}},
              {"evaluated_step", evaluated_step_},
              {"best", {{"accuracy", best_accuracy_}, {"loss", best_loss_}, {"step", best_step_}}}}
      .dump();
}

void Trainer::restore_progress(const std::string& text) {
  try {
    const Json json = progress_json(text, "attune-sentiment");
    train_.seek(data_position(json.at("data")));
    step_ = json.at("step");
    const Json& since = json.at("since_evaluation");
    loss_sum_ = number_or_nan(since.at("loss_sum"));
    examples_ = since.at("examples");
    correct_ = since.at("correct");
    const Json& best = json.at("best");
    best_accuracy_ = best.at("accuracy");
    best_loss_ = number_or_nan(best.at("loss"));
    if (std::isnan(best_loss_)) best_accuracy_ = -1;  // no best at all
    // Runs of before this was kept were saved after evaluations, never in between.
    evaluated_step_ = json.value("evaluated_step", step_);
    best_step_ = best.at("step");
  } catch (const Json::exception&) {
    fail<FormatError>("state/progress is not that of a run of attune-sentiment");
  }
  require<FormatError>(step_ >= 0 && step_ <= total_steps(), "state/progress: step {} is outside 0 to {}", step_,
                       total_steps());
}

void Trainer::restore(const Checkpoint& checkpoint) {
  figures_.forget();
  restore_progress(checkpoint.text("state/progress"));
  model_->load_state_dict(checkpoint.tensors("model"));
  optimizer_->load_state(checkpoint.tensors("optimizer"));
  if (average_) average_->load_state(checkpoint.tensors("average"));
  default_stream().set_state(checkpoint.random("state/random/default"));
  history_ = checkpoint.list("history");
}

std::string Trainer::description() const {
  return fmt::format("{} parameters; {} steps of {} texts, {} an epoch", with_commas(model_->parameter_count()),
                     with_commas(total_steps()), config_.training.batch_size, with_commas(steps_per_epoch()));
}

std::string Trainer::summary() const {
  if (!has_best()) return "no evaluation yet that could be the best";
  return fmt::format("best development accuracy {:.2f}% at step {}", 100 * best_accuracy_, best_step_);
}

Json Trainer::result() const {
  return {{"accuracy", has_best() ? Json(best_accuracy_) : Json()},
          {"best_step", has_best() ? Json(best_step_) : Json()},
          {"parameters", model_->parameter_count()}};
}

}  // namespace attune::examples
