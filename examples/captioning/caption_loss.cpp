#include "examples/captioning/caption_loss.h"

#include "autograd/ops/ops.h"
#include "examples/captioning/attention_loss.h"

namespace attune::examples::captioning {

CaptionLoss::CaptionLoss(const Config& config)
    : cross_entropy_({.label_smoothing = config.training.label_smoothing,
                      .ignore_index = TextCodec::kPad,
                      .reduction = Reduction::kSum}),
      doubly_stochastic_(config.training.doubly_stochastic) {
  const TrainingConfig& training = config.training;
  if (!has_hard_attention(config.model)) return;
  reinforce_ = &child<ReinforceLoss>(
      "reinforce",
      ReinforceLossOptions{.reward = training.reward, .entropy = training.entropy, .decay = training.baseline_decay});
}

CaptionLoss::Result CaptionLoss::operator()(CaptioningModel& model, const CaptionBatch& batch) {
  if (reinforce_ != nullptr) return reward_choices(model, batch);
  const Linear& head = model.decoder().head();
  if (doubly_stochastic_ == 0) {
    const Variable features = model(batch.pictures, batch.picture_of, batch.target_in);  // [B, T, D]
    const Variable loss = cross_entropy_(features, head, batch.target_out);
    return {.loss = loss, .cross_entropy = loss.item()};
  }
  TaughtAttention taught;
  const Variable features = model.teach(batch.pictures, batch.picture_of, batch.target_in, taught);
  const Variable loss = cross_entropy_(features, head, batch.target_out);
  const Variable penalty =
      doubly_stochastic_penalty(without_padding(taught.weights, batch.target_lengths), doubly_stochastic_);
  const auto captions = static_cast<double>(batch.target_lengths.numel());
  return {.loss = loss + penalty * captions, .cross_entropy = loss.item()};
}

CaptionLoss::Result CaptionLoss::reward_choices(CaptioningModel& model, const CaptionBatch& batch) {
  TaughtAttention taught;
  const Variable features = model.teach(batch.pictures, batch.picture_of, batch.target_in, taught);
  const Variable logits = model.decoder().head()(features);  // [B, T, V]
  const Variable likelihood = log_likelihood(logits, batch.target_out, batch.target_lengths);
  const Variable loss = (*reinforce_)(likelihood, state_after(taught, batch.target_lengths));
  const auto captions = static_cast<double>(batch.target_lengths.numel());
  return {.loss = loss * captions, .cross_entropy = -sum(likelihood.detach()).item()};
}

}  // namespace attune::examples::captioning
