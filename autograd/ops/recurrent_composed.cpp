#include "autograd/ops/recurrent_checks.h"

namespace attune {
namespace {

// bool [S, B, 1] on the device: whether a sample has a step t. Undefined where all have all.
Tensor real_steps(const char* op, const Tensor& lengths, const RecurrentSizes& sizes, Device device) {
  if (!lengths.defined()) return {};
  const Tensor host = check_lengths(op, lengths, sizes);
  const auto* length = host.data<int64_t>();
  Tensor real = Tensor::empty({sizes.steps, sizes.batch, 1}, DType::kBool);
  bool* at = real.data<bool>();
  for (int64_t t = 0; t < sizes.steps; ++t) {
    for (int64_t b = 0; b < sizes.batch; ++b) *at++ = t < length[b];
  }
  return real.to(device);
}

/// A direction's states behind every step, by time, and the last.
struct States {
  std::vector<Variable> steps;
  Variable last;
};

// next(gates [B, G H], state [B, H]) -> [B, H], for all steps of a direction.
template <class Next>
States run_direction(const Variable& gates, const Variable& first, const Tensor& real, bool backwards,
                     const Next& next) {
  const int64_t steps = gates.dim(1);
  const Variable zero(Tensor::zeros({}, gates.dtype(), gates.device()));
  States states{std::vector<Variable>(static_cast<size_t>(steps)), first};
  for (int64_t k = 0; k < steps; ++k) {
    const int64_t t = backwards ? steps - 1 - k : k;
    Variable h = next(select(gates, 1, t), states.last);
    Variable& y = states.steps[static_cast<size_t>(t)];
    if (real.defined()) {
      const Tensor is_real = real.select(0, t);
      y = where(is_real, h, zero);
      states.last = where(is_real, h, states.last);
    } else {
      y = states.last = h;
    }
  }
  return states;
}

/// All steps of a layer. next_of(parameters): the step of a direction, as run_direction() takes it.
template <class NextOf>
RecurrentResult compose(const char* op, int64_t blocks, const Variable& x, const Variable& h0,
                        std::span<const RecurrentParameters> directions, const Tensor& lengths, const Variable& given,
                        const NextOf& next_of) {
  if (x.dtype() == DType::kBFloat16) {
    return run_recurrent_wide(x, h0, Variable(), directions, given, [&](const WideRecurrent& wide) {
      return compose(op, blocks, wide.x, wide.h0, wide.directions, lengths, wide.gates, next_of);
    });
  }
  const RecurrentSizes sizes = check_recurrent(op, blocks, x, h0, Variable(), directions);
  check_recurrent_gates(op, blocks, given, x, sizes);
  const Tensor real = real_steps(op, lengths, sizes, x.device());
  std::vector<Variable> outputs, hidden;
  for (size_t i = 0; i < directions.size(); ++i) {
    const RecurrentParameters& p = directions[i];
    Variable gates = linear(x, p.weight_ih, p.bias_ih);
    if (given.defined()) gates = gates + given;
    const Variable first = h0.defined() ? select(h0, 0, static_cast<int64_t>(i))
                                        : Variable(Tensor::zeros({sizes.batch, sizes.width}, x.dtype(), x.device()));
    const States states = run_direction(gates, first, real, i == 1, next_of(p));
    hidden.push_back(states.last);
    if (sizes.steps > 0) outputs.push_back(stack(states.steps, 1));
  }
  const Shape empty{sizes.batch, 0, sizes.directions * sizes.width};
  return {outputs.empty() ? Variable(Tensor::empty(empty, x.dtype(), x.device())) : concat(outputs, 2),
          stack(hidden, 0), Variable()};
}

Variable rows_of(const Variable& parameter, int64_t begin, int64_t end) {
  return parameter.defined() ? slice(parameter, 0, begin, end) : parameter;
}

}  // namespace

RecurrentResult rnn(const Variable& x, const Variable& h0, std::span<const RecurrentParameters> directions,
                    Activation activation, const Tensor& lengths, const Variable& gates) {
  require<ValueError>(activation == Activation::kTanh || activation == Activation::kRelu,
                      "rnn: activation {} given, expected Activation::kTanh or kRelu", static_cast<int>(activation));
  const auto next_of = [activation](const RecurrentParameters& p) {
    return [&p, activation](const Variable& in, const Variable& h) {
      const Variable z = in + linear(h, p.weight_hh, p.bias_hh);
      return activation == Activation::kTanh ? tanh(z) : relu(z);
    };
  };
  return compose("rnn", 1, x, h0, directions, lengths, gates, next_of);
}

RecurrentResult gru_reset_before(const Variable& x, const Variable& h0, std::span<const RecurrentParameters> directions,
                                 const Tensor& lengths, const Variable& gates) {
  const auto next_of = [](const RecurrentParameters& p) {
    const int64_t n = p.weight_hh.dim(1);
    const Variable gate_weight = rows_of(p.weight_hh, 0, 2 * n), gate_bias = rows_of(p.bias_hh, 0, 2 * n);
    const Variable new_weight = rows_of(p.weight_hh, 2 * n, 3 * n), new_bias = rows_of(p.bias_hh, 2 * n, 3 * n);
    return [=](const Variable& in, const Variable& h) {
      const Variable both = sigmoid(slice(in, 1, 0, 2 * n) + linear(h, gate_weight, gate_bias));
      const Variable r = slice(both, 1, 0, n), z = slice(both, 1, n, 2 * n);
      const Variable fresh = tanh(slice(in, 1, 2 * n, 3 * n) + linear(r * h, new_weight, new_bias));
      return fresh + z * (h - fresh);
    };
  };
  return compose("gru", 3, x, h0, directions, lengths, gates, next_of);
}

}  // namespace attune
