#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "autograd/ops/recurrent.h"
#include "layers/init.h"
#include "layers/module.h"

namespace attune {

/// Initial values of the parameters of a recurrent layer; what is not given is drawn as PyTorch draws it, uniform over
/// +- 1 / sqrt(hidden). Each weight holds the blocks of all gates.
struct RecurrentInit {
  std::optional<init::Initializer> weight_ih{};  ///< init::XavierUniform{} in Keras
  std::optional<init::Initializer> weight_hh{};  ///< init::Orthogonal{} in Keras
  std::optional<init::Initializer> bias{};       ///< of both biases
};

struct RecurrentOptions {
  int64_t layers = 1;
  bool bidirectional = false;
  bool bias = true;
  double dropout = 0;  ///< of what passes from one layer to the next, in training only
  RecurrentInit init{};
};

/// What a recurrent layer may be given besides its input; undefined where it is not there.
struct RecurrentInputs {
  Tensor lengths{};   ///< int64 [B]; otherwise all S steps are real
  Variable hidden{};  ///< [layers * directions, B, hidden]: the first state; otherwise 0
  Variable cell{};    ///< the same of an LSTM's cells
  /// [B, S, G hidden], of one direction: added to W_i x + b_i of the first layer; see gru() of
  /// autograd/ops/recurrent.h.
  Variable gates{};
};

/// What Rnn, GRU and LSTM share. Parameters, named and drawn as PyTorch's: weight_ih_l0, weight_hh_l0, bias_ih_l0,
/// bias_hh_l0, with the suffix _reverse for the second direction and l1, l2, ... for further layers; uniform over +- 1
/// / sqrt(hidden).
class RecurrentLayers : public Module {
 public:
  /// x [B, S, in] -> what operator() of the kind gives.
  virtual RecurrentResult run(const Variable& x, const RecurrentInputs& inputs) const = 0;

  int64_t hidden_size() const { return hidden_; }
  const RecurrentOptions& options() const { return options_; }
  int64_t directions() const { return options_.bidirectional ? 2 : 1; }
  /// G: reset, update and new of a GRU, input, forget, cell and output of an LSTM, one of an Rnn.
  int64_t gates() const { return gates_; }

 protected:
  /// Throws ValueError for widths or layers below 1 and a dropout outside [0, 1).
  RecurrentLayers(const char* name, int64_t gates, int64_t in, int64_t hidden, const RecurrentOptions& options);

  /// layer(x, l, parameters of layer l) for all layers, with dropout between them.
  template <class Layer>
  RecurrentResult stack(const Variable& x, const Layer& layer) const;
  void check(const Variable& x, std::initializer_list<const Variable*> states) const;
  /// Layer l of a state [layers * directions, B, H]; undefined when that is.
  Variable state_of(const Variable& states, int64_t l) const;

 private:
  const char* name_;
  int64_t gates_;
  int64_t in_;
  int64_t hidden_;
  RecurrentOptions options_;
  std::vector<RecurrentParameters> parameters_;  // by layer, then by direction
};

/// A plain recurrent network (Elman, 1990), formula at rnn() of autograd/ops/recurrent.h; otherwise as GRU.
class Rnn : public RecurrentLayers {
 public:
  /// activation: kTanh or kRelu. Throws ValueError for others.
  Rnn(int64_t in, int64_t hidden, const RecurrentOptions& options = {}, Activation activation = Activation::kTanh);

  RecurrentResult operator()(const Variable& x, const Tensor& lengths = {}, const Variable& h0 = {}) const;
  RecurrentResult run(const Variable& x, const RecurrentInputs& inputs) const override;

 private:
  Activation activation_;
};

/// Gated recurrent units (Cho et al., 2014), formulas at gru() of autograd/ops/recurrent.h: x [B, S, in] ->
///
///     output [B, S, directions * hidden], 0 behind the lengths
///     hidden [layers * directions, B, hidden], the state behind every sample's last step
class GRU : public RecurrentLayers {
 public:
  GRU(int64_t in, int64_t hidden, const RecurrentOptions& options = {}, GruOptions gru = {});

  /// lengths: int64 [B], undefined: all S steps are real. h0: [layers * directions, B, hidden], undefined: 0. Throws
  /// ShapeError naming the module.
  RecurrentResult operator()(const Variable& x, const Tensor& lengths = {}, const Variable& h0 = {}) const;
  RecurrentResult run(const Variable& x, const RecurrentInputs& inputs) const override;

 private:
  GruOptions gru_;
};

/// Long short-term memory (Hochreiter and Schmidhuber, 1997), formulas at lstm() of autograd/ops/recurrent.h. As GRU,
/// with a second state `cell` of the shape of `hidden`.
class LSTM : public RecurrentLayers {
 public:
  LSTM(int64_t in, int64_t hidden, const RecurrentOptions& options = {});

  RecurrentResult operator()(const Variable& x, const Tensor& lengths = {}, const Variable& h0 = {},
                             const Variable& c0 = {}) const;
  RecurrentResult run(const Variable& x, const RecurrentInputs& inputs) const override;
};

/// A GRU or an LSTM, as an option of a model.
std::unique_ptr<RecurrentLayers> make_recurrent(RecurrentCell cell, int64_t in, int64_t hidden,
                                                const RecurrentOptions& options = {});

/// What RnnCell, GRUCell and LSTMCell share. Parameters, named and drawn as PyTorch's: weight_ih, weight_hh, bias_ih,
/// bias_hh.
class RecurrentStep : public Module {
 public:
  int64_t hidden_size() const { return hidden_; }

 protected:
  RecurrentStep(const char* name, int64_t gates, int64_t in, int64_t hidden, bool bias, const RecurrentInit& init);

  void check(const Variable& x, std::initializer_list<const Variable*> states) const;
  const RecurrentParameters& parameters_of_cell() const { return parameters_; }

 private:
  const char* name_;
  int64_t in_;
  int64_t hidden_;
  RecurrentParameters parameters_;
};

/// One step of a GRU, for decoders: x [B, in], h [B, hidden] -> the next h.
class GRUCell : public RecurrentStep {
 public:
  GRUCell(int64_t in, int64_t hidden, bool bias = true, GruOptions options = {}, const RecurrentInit& init = {});

  /// Throws ShapeError naming the module.
  Variable operator()(const Variable& x, const Variable& h) const;

 private:
  GruOptions options_;
};

/// One step of an Rnn, as GRUCell.
class RnnCell : public RecurrentStep {
 public:
  /// activation: kTanh or kRelu. Throws ValueError for others.
  RnnCell(int64_t in, int64_t hidden, bool bias = true, Activation activation = Activation::kTanh,
          const RecurrentInit& init = {});

  Variable operator()(const Variable& x, const Variable& h) const;

 private:
  Activation activation_;
};

/// One step of an LSTM, for decoders: x [B, in], h and c [B, hidden] -> the next {h, c}.
class LSTMCell : public RecurrentStep {
 public:
  LSTMCell(int64_t in, int64_t hidden, bool bias = true, const RecurrentInit& init = {});

  std::pair<Variable, Variable> operator()(const Variable& x, const Variable& h, const Variable& c) const;
};

}  // namespace attune
