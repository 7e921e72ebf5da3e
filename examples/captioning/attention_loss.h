#pragma once

#include "layers/attention/image.h"
#include "layers/seq2seq/recurrent_text.h"

// What the loss of naming words and those of "Show, Attend and Tell" (Xu et al., 2015, section 4) need of captions of
// different lengths:
//
//     soft:  cross-entropy + doubly_stochastic_penalty(without_padding(taught.weights, lengths), lambda)
//     hard:  reinforce(log_likelihood(logits, targets, lengths), state_after(taught, lengths))

namespace attune::examples::captioning {

/// Weights [B, H, T, S], those of the words behind the end of each caption zero. lengths int64 [B].
Variable without_padding(const Variable& weights, const Tensor& lengths);

/// log p(caption | picture) of every caption, [B]: sum over t < length of log softmax(logits)[target]. logits [B, T,
/// V], targets int64 [B, T], 0 ... V - 1 also behind the end.
Variable log_likelihood(const Variable& logits, const Tensor& targets, const Tensor& lengths);

/// Sum over all captions of log p(word | picture), the words in any order: of logits [P, V], those of each caption's
/// picture, picture_of int64 [B], its row.
Variable word_likelihood(const Variable& logits, const Tensor& picture_of, const Tensor& targets,
                         const Tensor& lengths);

/// The state of hard attention after the last word of every caption: what was chosen behind it does not count. Throws
/// ValueError for attention that makes no choices.
AttentionState state_after(const TaughtAttention& taught, const Tensor& lengths);

}  // namespace attune::examples::captioning
