#pragma once

#include "datasets/caption_loader.h"
#include "examples/captioning/config.h"
#include "examples/captioning/model.h"
#include "layers/attention/image.h"
#include "layers/loss.h"

namespace attune::examples::captioning {

/// What a model is trained by, as its configuration asks; sums over the captions of a batch:
///
///     cross-entropy                                                 Transformers, and attention of any kind
///     cross-entropy + doubly stochastic penalty                     with training.doubly_stochastic
///     -(log p(y | s) + lambda_r (log p(y | s) - b) log alpha(s) + lambda_e entropy)      hard attention
///
/// Xu et al., "Show, Attend and Tell", 2015, sections 4.1 and 4.2. To each comes training.words times what it costs to
/// name the captions' words from the picture as a whole, in any order: -sum_t log softmax(head(mean_s states))_{y_t}
/// (Joulin et al., "Learning Visual Features from Large Weakly Supervised Data", 2016, section 3.2), with the head and
/// so the word vectors of the decoder. It teaches an encoder of few pictures to see before the decoder asks it to.
/// Child: reinforce, of hard attention, whose baseline belongs into checkpoints.
class CaptionLoss : public Module {
 public:
  explicit CaptionLoss(const Config& config);

  struct Result {
    Variable loss;         ///< scalar, to be divided by the tokens
    Tensor cross_entropy;  ///< scalar: sum over the tokens, with the labels smoothed; of hard attention as they are
  };
  Result operator()(CaptioningModel& model, const CaptionBatch& batch);

 private:
  Result decode(CaptioningModel& model, const EncoderOutput& source, const CaptionBatch& batch);
  Result reward_choices(CaptioningModel& model, const EncoderOutput& source, const CaptionBatch& batch);

  CrossEntropyLoss cross_entropy_;
  double doubly_stochastic_;
  double words_;
  ReinforceLoss* reinforce_ = nullptr;
};

}  // namespace attune::examples::captioning
