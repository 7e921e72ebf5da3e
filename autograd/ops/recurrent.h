#pragma once

#include <span>

#include "autograd/variable.h"
#include "framework/kernels/activation.h"
#include "framework/kernels/recurrent.h"

namespace attune {

/// Parameters of one direction of a recurrent layer with G gates (GRU: reset, update, new; LSTM: input, forget, cell,
/// output; of a plain recurrent network one), each a block of H rows: weight_ih [G H, D], weight_hh [G H, H], bias_ih
/// and bias_hh [G H], both or neither.
struct RecurrentParameters {
  Variable weight_ih;
  Variable weight_hh;
  Variable bias_ih;
  Variable bias_hh;
};

struct RecurrentResult {
  Variable output;  ///< [B, S, directions H]: the state behind every step, exactly 0 behind a sample's length
  Variable hidden;  ///< [directions, B, H]: the state behind every sample's last step
  Variable cell;    ///< [directions, B, H]: the same of an LSTM's cells; undefined for a GRU
};

struct GruOptions {
  /// Whether the reset gate stands behind the product with the state, as Keras calls it. Otherwise before, as in the
  /// paper: n = tanh(W_in x + b_in + W_hn (r h') + b_hn). That form is composed of other ops, step by step.
  bool reset_after = true;
};

/// All steps of a layer of gated recurrent units (Cho et al., 2014; with the reset gate applied behind the product and
/// its bias, as PyTorch and cuDNN have it):
///
///     r = sigmoid(W_ir x + b_ir + W_hr h' + b_hr)     n = tanh(W_in x + b_in + r (W_hn h' + b_hn))
///     z = sigmoid(W_iz x + b_iz + W_hz h' + b_hz)     h = (1 - z) n + z h'
///
/// x [B, S, D]; h0 [directions, B, H], undefined: 0. One or two directions; the second begins at a sample's last step
/// and its states are the second half of the output. lengths: int64 [B], undefined: all S. A sample's state stops at
/// its length; what lies behind, NaN included, reaches neither a result nor a gradient. One node of the tape.
///
/// gates [B, S, G H], for one direction: added to W_i x + b_i, what a model has computed of other inputs already;
/// undefined: nothing.
///
/// Throws ShapeError, DTypeError, and ValueError for a length outside 0 ... S, naming the sample.
RecurrentResult gru(const Variable& x, const Variable& h0, std::span<const RecurrentParameters> directions,
                    const Tensor& lengths = {}, const Variable& gates = {}, const GruOptions& options = {});

/// The same for long short-term memory (Hochreiter and Schmidhuber, 1997; forget gate of Gers et al., 2000):
///
///     i = sigmoid(W_ii x + b_ii + W_hi h' + b_hi)     g = tanh(W_ig x + b_ig + W_hg h' + b_hg)
///     f = sigmoid(W_if x + b_if + W_hf h' + b_hf)     o = sigmoid(W_io x + b_io + W_ho h' + b_ho)
///     c = f c' + i g                                  h = o tanh(c)
///
/// h0 and c0 [directions, B, H], each undefined: 0.
RecurrentResult lstm(const Variable& x, const Variable& h0, const Variable& c0,
                     std::span<const RecurrentParameters> directions, const Tensor& lengths = {},
                     const Variable& gates = {});

/// The same for a plain recurrent network (Elman, 1990): h = activation(W_i x + b_i + W_h h' + b_h). activation: kTanh
/// or kRelu, ValueError for others. Composed of other ops, step by step.
RecurrentResult rnn(const Variable& x, const Variable& h0, std::span<const RecurrentParameters> directions,
                    Activation activation = Activation::kTanh, const Tensor& lengths = {}, const Variable& gates = {});

}  // namespace attune
