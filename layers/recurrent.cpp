#include "layers/recurrent.h"

#include <cmath>

#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "layers/init.h"

namespace attune {
namespace {

void check_widths(const char* name, int64_t in, int64_t hidden) {
  require<ValueError>(in > 0 && hidden > 0, "{}: widths {} -> {} given, expected at least 1 each", name, in, hidden);
}

Activation check_activation(const char* name, Activation activation) {
  require<ValueError>(activation == Activation::kTanh || activation == Activation::kRelu,
                      "{}: activation {} given, expected Activation::kTanh or kRelu", name,
                      static_cast<int>(activation));
  return activation;
}

/// Draws the parameters of one direction and hands each to enter(name, tensor).
template <class Enter>
RecurrentParameters draw(int64_t gates, int64_t in, int64_t hidden, bool bias, const RecurrentInit& init,
                         const std::string& suffix, const Enter& enter) {
  const double limit = 1 / std::sqrt(static_cast<double>(hidden));
  const auto values = [&](const std::optional<init::Initializer>& given, const Shape& shape) {
    return init::make(given.value_or(init::Uniform{.low = -limit, .high = limit}), shape);
  };
  const int64_t rows = gates * hidden;
  RecurrentParameters p;
  p.weight_ih = enter("weight_ih" + suffix, values(init.weight_ih, {rows, in}));
  p.weight_hh = enter("weight_hh" + suffix, values(init.weight_hh, {rows, hidden}));
  if (bias) {
    p.bias_ih = enter("bias_ih" + suffix, values(init.bias, {rows}));
    p.bias_hh = enter("bias_hh" + suffix, values(init.bias, {rows}));
  }
  return p;
}

/// One step as a sequence of length 1: x [B, in] -> [B, 1, in], a state [B, H] -> [1, B, H].
Variable as_sequence(const Variable& x) { return reshape(x, {x.dim(0), 1, x.dim(1)}); }
Variable as_states(const Variable& h) { return reshape(h, {1, h.dim(0), h.dim(1)}); }
Variable as_step(const Variable& states) { return reshape(states, {states.dim(1), states.dim(2)}); }

}  // namespace

RecurrentLayers::RecurrentLayers(const char* name, int64_t gates, int64_t in, int64_t hidden,
                                 const RecurrentOptions& options)
    : name_(name), gates_(gates), in_(in), hidden_(hidden), options_(options) {
  check_widths(name, in, hidden);
  require<ValueError>(options.layers > 0, "{}: {} layers given, expected at least 1", name, options.layers);
  require<ValueError>(options.dropout >= 0 && options.dropout < 1, "{}: dropout {} given, expected 0 <= p < 1", name,
                      options.dropout);
  const auto enter = [this](std::string entry, Tensor initial) {
    return parameter(std::move(entry), std::move(initial));
  };
  for (int64_t l = 0; l < options.layers; ++l) {
    const int64_t inputs = l == 0 ? in : directions() * hidden;
    for (int64_t d = 0; d < directions(); ++d) {
      const std::string suffix = "_l" + std::to_string(l) + (d == 0 ? "" : "_reverse");
      parameters_.push_back(draw(gates, inputs, hidden, options.bias, options.init, suffix, enter));
    }
  }
}

void RecurrentLayers::check(const Variable& x, std::initializer_list<const Variable*> states) const {
  require<ShapeError>(x.rank() == 3 && x.dim(2) == in_, "{}: input is {}, expected [B, S, {}]", who(name_), x.shape(),
                      in_);
  const Shape wanted{options_.layers * directions(), x.dim(0), hidden_};
  for (const Variable* state : states) {
    require<ShapeError>(!state->defined() || state->shape() == wanted,
                        "{}: an initial state is {}, expected [layers * directions, B, hidden] = {}", who(name_),
                        state->shape(), wanted);
  }
}

Variable RecurrentLayers::state_of(const Variable& states, int64_t l) const {
  if (!states.defined() || options_.layers == 1) return states;
  return slice(states, 0, l * directions(), (l + 1) * directions());
}

template <class Layer>
RecurrentResult RecurrentLayers::stack(const Variable& x, const Layer& layer) const {
  const auto count = static_cast<size_t>(directions());
  const auto parameters_of = [&](int64_t l) {
    return std::span(parameters_).subspan(static_cast<size_t>(l) * count, count);
  };
  RecurrentResult last = layer(x, 0, parameters_of(0));
  if (options_.layers == 1) {
    last.output = result(last.output);
    return last;
  }
  std::vector<Variable> hidden = {last.hidden};
  std::vector<Variable> cell = {last.cell};
  for (int64_t l = 1; l < options_.layers; ++l) {
    const bool drops = training() && options_.dropout > 0;
    const Variable in = drops ? dropout(last.output, options_.dropout) : last.output;
    last = layer(in, l, parameters_of(l));
    hidden.push_back(last.hidden);
    cell.push_back(last.cell);
  }
  last.output = result(last.output);
  last.hidden = concat(hidden, 0);
  if (last.cell.defined()) last.cell = concat(cell, 0);
  return last;
}

Rnn::Rnn(int64_t in, int64_t hidden, const RecurrentOptions& options, Activation activation)
    : RecurrentLayers("Rnn", 1, in, hidden, options), activation_(check_activation("Rnn", activation)) {}

RecurrentResult Rnn::operator()(const Variable& x, const Tensor& lengths, const Variable& h0) const {
  return run(x, {.lengths = lengths, .hidden = h0});
}

RecurrentResult Rnn::run(const Variable& x, const RecurrentInputs& inputs) const {
  check(x, {&inputs.hidden});
  return stack(x, [&](const Variable& in, int64_t l, std::span<const RecurrentParameters> parameters) {
    return rnn(in, state_of(inputs.hidden, l), parameters, activation_, inputs.lengths,
               l == 0 ? inputs.gates : Variable());
  });
}

GRU::GRU(int64_t in, int64_t hidden, const RecurrentOptions& options, GruOptions gru)
    : RecurrentLayers("GRU", 3, in, hidden, options), gru_(gru) {}

RecurrentResult GRU::operator()(const Variable& x, const Tensor& lengths, const Variable& h0) const {
  return run(x, {.lengths = lengths, .hidden = h0});
}

RecurrentResult GRU::run(const Variable& x, const RecurrentInputs& inputs) const {
  check(x, {&inputs.hidden});
  return stack(x, [&](const Variable& in, int64_t l, std::span<const RecurrentParameters> parameters) {
    return gru(in, state_of(inputs.hidden, l), parameters, inputs.lengths, l == 0 ? inputs.gates : Variable(), gru_);
  });
}

LSTM::LSTM(int64_t in, int64_t hidden, const RecurrentOptions& options)
    : RecurrentLayers("LSTM", 4, in, hidden, options) {}

RecurrentResult LSTM::operator()(const Variable& x, const Tensor& lengths, const Variable& h0,
                                 const Variable& c0) const {
  return run(x, {.lengths = lengths, .hidden = h0, .cell = c0});
}

RecurrentResult LSTM::run(const Variable& x, const RecurrentInputs& inputs) const {
  check(x, {&inputs.hidden, &inputs.cell});
  return stack(x, [&](const Variable& in, int64_t l, std::span<const RecurrentParameters> parameters) {
    return lstm(in, state_of(inputs.hidden, l), state_of(inputs.cell, l), parameters, inputs.lengths,
                l == 0 ? inputs.gates : Variable());
  });
}

std::unique_ptr<RecurrentLayers> make_recurrent(RecurrentCell cell, int64_t in, int64_t hidden,
                                                const RecurrentOptions& options) {
  if (cell == RecurrentCell::kGru) return std::make_unique<GRU>(in, hidden, options);
  return std::make_unique<LSTM>(in, hidden, options);
}

RecurrentStep::RecurrentStep(const char* name, int64_t gates, int64_t in, int64_t hidden, bool bias,
                             const RecurrentInit& init)
    : name_(name), in_(in), hidden_(hidden) {
  check_widths(name, in, hidden);
  parameters_ = draw(gates, in, hidden, bias, init, "", [this](std::string entry, Tensor initial) {
    return parameter(std::move(entry), std::move(initial));
  });
}

void RecurrentStep::check(const Variable& x, std::initializer_list<const Variable*> states) const {
  require<ShapeError>(x.rank() == 2 && x.dim(1) == in_, "{}: input is {}, expected [B, {}]", who(name_), x.shape(),
                      in_);
  const Shape wanted{x.dim(0), hidden_};
  for (const Variable* state : states) {
    require<ShapeError>(state->shape() == wanted, "{}: a state is {}, expected {}", who(name_), state->shape(), wanted);
  }
}

GRUCell::GRUCell(int64_t in, int64_t hidden, bool bias, GruOptions options, const RecurrentInit& init)
    : RecurrentStep("GRUCell", 3, in, hidden, bias, init), options_(options) {}

Variable GRUCell::operator()(const Variable& x, const Variable& h) const {
  check(x, {&h});
  return result(
      as_step(gru(as_sequence(x), as_states(h), std::span(&parameters_of_cell(), 1), {}, {}, options_).hidden));
}

RnnCell::RnnCell(int64_t in, int64_t hidden, bool bias, Activation activation, const RecurrentInit& init)
    : RecurrentStep("RnnCell", 1, in, hidden, bias, init), activation_(check_activation("RnnCell", activation)) {}

Variable RnnCell::operator()(const Variable& x, const Variable& h) const {
  check(x, {&h});
  return result(as_step(rnn(as_sequence(x), as_states(h), std::span(&parameters_of_cell(), 1), activation_).hidden));
}

LSTMCell::LSTMCell(int64_t in, int64_t hidden, bool bias, const RecurrentInit& init)
    : RecurrentStep("LSTMCell", 4, in, hidden, bias, init) {}

std::pair<Variable, Variable> LSTMCell::operator()(const Variable& x, const Variable& h, const Variable& c) const {
  check(x, {&h, &c});
  const RecurrentResult next = lstm(as_sequence(x), as_states(h), as_states(c), std::span(&parameters_of_cell(), 1));
  return {result(as_step(next.hidden)), as_step(next.cell)};
}

}  // namespace attune
