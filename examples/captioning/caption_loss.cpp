#include "examples/captioning/caption_loss.h"

#include "autograd/ops/ops.h"
#include "examples/captioning/attention_loss.h"

namespace attune::examples::captioning {

CaptionLoss::CaptionLoss(const Config& config)
    : cross_entropy_({.label_smoothing = config.training.label_smoothing,
                      .ignore_index = TextCodec::kPad,
                      .reduction = Reduction::kSum}),
      doubly_stochastic_(config.training.doubly_stochastic),
      words_(config.model.blind ? 0 : config.training.words) {
  const TrainingConfig& training = config.training;
  if (!has_hard_attention(config.model)) return;
  reinforce_ = &child<ReinforceLoss>(
      "reinforce",
      ReinforceLossOptions{.reward = training.reward, .entropy = training.entropy, .decay = training.baseline_decay});
}

CaptionLoss::Result CaptionLoss::operator()(CaptioningModel& model, const CaptionBatch& batch) {
  const EncoderOutput pictures = model.read(batch.pictures);
  Result result = decode(model, for_captions(pictures, batch.picture_of), batch);
  if (words_ == 0) return result;
  const Variable logits = model.decoder().head()(mean(pictures.states, {1}));  // [P, V]
  const Variable likelihood = word_likelihood(logits, batch.picture_of, batch.target_out, batch.target_lengths);
  result.loss = result.loss - likelihood * words_;
  return result;
}

CaptionLoss::Result CaptionLoss::decode(CaptioningModel& model, const EncoderOutput& source,
                                        const CaptionBatch& batch) {
  if (reinforce_ != nullptr) return reward_choices(model, source, batch);
  const Linear& head = model.decoder().head();
  if (doubly_stochastic_ == 0) {
    const Variable features = model.decoder()(source, batch.target_in);  // [B, T, D]
    const Variable loss = cross_entropy_(features, head, batch.target_out);
    return {.loss = loss, .cross_entropy = loss.value()};
  }
  TaughtAttention taught;
  const Variable features = model.teach(source, batch.target_in, taught);
  const Variable loss = cross_entropy_(features, head, batch.target_out);
  const Variable penalty =
      doubly_stochastic_penalty(without_padding(taught.weights, batch.target_lengths), doubly_stochastic_);
  const auto captions = static_cast<double>(batch.target_lengths.numel());
  return {.loss = loss + penalty * captions, .cross_entropy = loss.value()};
}

CaptionLoss::Result CaptionLoss::reward_choices(CaptioningModel& model, const EncoderOutput& source,
                                                const CaptionBatch& batch) {
  TaughtAttention taught;
  const Variable features = model.teach(source, batch.target_in, taught);
  const Variable logits = model.decoder().head()(features);  // [B, T, V]
  const Variable likelihood = log_likelihood(logits, batch.target_out, batch.target_lengths);
  const Variable loss = (*reinforce_)(likelihood, state_after(taught, batch.target_lengths));
  const auto captions = static_cast<double>(batch.target_lengths.numel());
  return {.loss = loss * captions, .cross_entropy = (-sum(likelihood.detach())).value()};
}

}  // namespace attune::examples::captioning
