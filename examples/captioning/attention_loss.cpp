#include "examples/captioning/attention_loss.h"

#include <vector>

#include "autograd/ops/ops.h"
#include "framework/fail.h"

namespace attune::examples::captioning {
namespace {

/// Losses are float32: of bfloat16 they are widened.
Variable widened(const Variable& x) { return cast(x, accumulation_dtype(x.dtype())); }

/// [B, T], with dtype and device of `like`: 1 for the words of each caption, 0 behind.
Tensor words_of(const Tensor& lengths, int64_t steps, const Variable& like) {
  const std::vector<int64_t> counts = lengths.to_vector<int64_t>();
  const auto batch = static_cast<int64_t>(counts.size());
  Tensor mask = Tensor::zeros({batch, steps});
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t count = counts[static_cast<size_t>(b)];
    require<ValueError>(count >= 1 && count <= steps, "captions: length {} of caption {}, expected 1 to {}", count, b,
                        steps);
    mask.select(0, b).slice(0, 0, count).fill_(1);
  }
  return mask.to(like.dtype()).to(like.device());
}

}  // namespace

Variable without_padding(const Variable& weights, const Tensor& lengths) {
  const Variable wide = widened(weights);
  const Tensor words = words_of(lengths, wide.dim(2), wide);
  return wide * Variable(words.unsqueeze(1).unsqueeze(3));
}

Variable log_likelihood(const Variable& logits, const Tensor& targets, const Tensor& lengths) {
  const Variable chosen = gather(log_softmax(widened(logits)), 2, targets.unsqueeze(2));  // [B, T, 1]
  const Tensor words = words_of(lengths, targets.dim(1), chosen);
  return sum(chosen * Variable(words.unsqueeze(2)), {1, 2});
}

Variable word_likelihood(const Variable& logits, const Tensor& picture_of, const Tensor& targets,
                         const Tensor& lengths) {
  const Variable of_captions = index_select(log_softmax(widened(logits)), 0, picture_of);  // [B, V]
  const Tensor words = words_of(lengths, targets.dim(1), of_captions);
  return sum(gather(of_captions, 1, targets) * Variable(words));
}

AttentionState state_after(const TaughtAttention& taught, const Tensor& lengths) {
  require<ValueError>(taught.log_probability.defined(),
                      "captions: the loss of hard attention asks for choices, and this attention makes none");
  std::vector<int64_t> last = lengths.to_vector<int64_t>();
  for (int64_t& step : last) --step;
  const Tensor steps = Tensor::from(last, {static_cast<int64_t>(last.size()), 1});
  AttentionState state;
  state.position = taught.log_probability.dim(1);
  state.log_probability = gather(taught.log_probability, 1, steps);  // [B, 1]
  state.entropy = gather(taught.entropy, 1, steps);
  return state;
}

}  // namespace attune::examples::captioning
