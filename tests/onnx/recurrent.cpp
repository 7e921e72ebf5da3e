// Recurrent layers. ONNX has steps before samples, unless layout is 1, and other orders of gates.

#include "tests/onnx/case.h"

namespace attune::onnx {
namespace {

/// Blocks of H rows in another order: block i of the result is block order[i].
Variable reordered(const Tensor& x, const std::vector<int64_t>& order) {
  const int64_t rows = x.dim(0) / static_cast<int64_t>(order.size());
  std::vector<Tensor> blocks;
  for (const int64_t i : order) blocks.push_back(x.slice(0, i * rows, (i + 1) * rows));
  return Variable(concat(blocks, 0));
}

template <class F>
Ways recurrent(const Case& c, const std::vector<int64_t>& order, F run) {
  const bool batch_first = c.integer("layout", 0) != 0;
  const bool reverse = c.text("direction", "forward") == "reverse";
  Tensor x = batch_first ? c.in(0) : c.in(0).transpose(0, 1);  // [B, S, D]
  if (reverse) x = flip(x, 1);
  if (reverse && c.in(4).defined()) throw NotExpressible{"a reverse direction alone, with lengths"};
  std::vector<RecurrentParameters> directions;
  for (int64_t d = 0; d < c.in(1).dim(0); ++d) {
    RecurrentParameters p;
    p.weight_ih = reordered(c.in(1).select(0, d), order);
    p.weight_hh = reordered(c.in(2).select(0, d), order);
    if (c.in(3).defined()) {
      const Tensor bias = c.in(3).select(0, d);
      const int64_t half = bias.dim(0) / 2;
      p.bias_ih = reordered(bias.slice(0, 0, half), order);
      p.bias_hh = reordered(bias.slice(0, half, 2 * half), order);
    }
    directions.push_back(p);
  }
  const auto state = [&](size_t index) {
    if (!c.in(index).defined()) return Variable();
    return Variable(batch_first ? c.in(index).transpose(0, 1).contiguous() : c.in(index));
  };
  const Tensor lengths = c.in(4);
  const RecurrentResult result = run(Variable(x.contiguous()), state(5), state(6), directions, lengths);

  const auto count = static_cast<int64_t>(directions.size());
  Tensor y = result.output.value();
  if (reverse) y = flip(y, 1);
  y = y.reshape({y.dim(0), y.dim(1), count, y.dim(2) / count});  // [B, S, directions, H]
  if (!batch_first) y = y.permute({1, 2, 0, 3});
  const auto last = [&](const Variable& h) {
    return batch_first && h.defined() ? h.value().transpose(0, 1) : h.value();
  };
  return {{y, last(result.hidden), result.cell.defined() ? last(result.cell) : Tensor()}};
}

}  // namespace

void add_recurrent(Operators& ops) {
  ops["RNN"] = [](const Case& c) {
    return recurrent(c, {0},
                     [](const Variable& x, const Variable& h0, const Variable&, const auto& directions,
                        const Tensor& lengths) { return rnn(x, h0, directions, Activation::kTanh, lengths); });
  };
  ops["GRU"] = [](const Case& c) {
    const GruOptions options{.reset_after = c.integer("linear_before_reset", 0) != 0};
    return recurrent(c, {1, 0, 2},
                     [&](const Variable& x, const Variable& h0, const Variable&, const auto& directions,
                         const Tensor& lengths) { return gru(x, h0, directions, lengths, {}, options); });
  };
  ops["LSTM"] = [](const Case& c) {
    if (c.in(7).defined()) throw NotExpressible{"peephole weights of an LSTM"};
    return recurrent(c, {0, 2, 3, 1},
                     [](const Variable& x, const Variable& h0, const Variable& c0, const auto& directions,
                        const Tensor& lengths) { return lstm(x, h0, c0, directions, lengths); });
  };
}

}  // namespace attune::onnx
