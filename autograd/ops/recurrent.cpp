#include "autograd/ops/recurrent.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>
#include <vector>

#include "autograd/ops/ops.h"
#include "autograd/ops/recurrent_checks.h"
#include "autograd/tape.h"
#include "framework/kernels/recurrent.h"

namespace attune {
namespace {

// Sorts by counting: begins[t] first counts the samples of a length above t, then the rows before step t.
PackedSequences arrange(const char* op, const Tensor& given, const RecurrentSizes& sizes) {
  const int64_t batch = sizes.batch;
  const int64_t steps = sizes.steps;
  PackedSequences out;
  out.samples = Tensor::empty({batch}, DType::kInt64);
  out.lengths = Tensor::full({batch}, static_cast<double>(steps), DType::kInt64);
  out.begins = Tensor::full({steps + 1}, 0, DType::kInt64);
  auto* samples = out.samples.data<int64_t>();
  auto* lengths = out.lengths.data<int64_t>();
  auto* begins = out.begins.data<int64_t>();
  if (!given.defined()) {
    std::iota(samples, samples + batch, int64_t{0});
    for (int64_t t = 0; t <= steps; ++t) begins[t] = t * batch;
    return out;
  }
  const Tensor contiguous = check_lengths(op, given, sizes);
  const auto* length = contiguous.data<int64_t>();
  for (int64_t b = 0; b < batch; ++b) {
    if (length[b] > 0) ++begins[length[b] - 1];
  }
  for (int64_t t = steps - 1; t > 0; --t) begins[t - 1] += begins[t];
  // A sample of length n stands behind all longer ones.
  Tensor position = out.begins.clone();
  auto* next = position.data<int64_t>();
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t at = next[length[b]]++;
    samples[at] = b;
    lengths[at] = length[b];
  }
  int64_t row = 0;
  for (int64_t t = 0; t <= steps; ++t) row += std::exchange(begins[t], row);
  return out;
}

constexpr int kFirstParameter = 3;  // behind x, h0, c0
constexpr int kParameters = 4;      // of one direction
constexpr int kGates = kFirstParameter + 2 * kParameters;

/// Calls f(columns of a trace's gates, columns of rows [N, G H] in the order of the weights) for the input's blocks.
template <class F>
void over_input_blocks(RecurrentCell cell, const Tensor& trace, const Tensor& rows, int64_t width, F&& f) {
  for (const GateBlocks& block : input_blocks(cell)) {
    f(trace.slice(1, block.column * width, (block.column + block.count) * width),
      rows.slice(1, block.row * width, (block.row + block.count) * width));
  }
}

RecurrentGradient gradient_of(Grads& g, int input) {
  if (!g.needs(input)) return {};
  GradTarget target = g.target(input);
  return {std::move(target.tensor), target.accumulate};
}

RecurrentResult run(const char* op, RecurrentCell cell, const Variable& x, const Variable& h0, const Variable& c0,
                    std::span<const RecurrentParameters> directions, const Tensor& given_lengths,
                    const Variable& input_gates) {
  const bool has_cells = cell == RecurrentCell::kLstm;
  const int64_t blocks = has_cells ? 4 : 3;
  if (x.dtype() == DType::kBFloat16) {
    return run_recurrent_wide(x, h0, c0, directions, input_gates, [&](const auto& wide) {
      return run(op, cell, wide.x, wide.h0, wide.c0, wide.directions, given_lengths, wide.gates);
    });
  }
  const RecurrentSizes sizes = check_recurrent(op, blocks, x, h0, c0, directions);
  check_recurrent_gates(op, blocks, input_gates, x, sizes);
  const PackedSequences sequences = arrange(op, given_lengths, sizes);
  const DType dtype = x.dtype();
  const Device device = x.device();
  const int64_t rows = sequences.begins.data<int64_t>()[sizes.steps];

  // The rows of one step, or of one sample, stand packed already.
  const Tensor in = x.value().contiguous();
  const bool packed = rows == sizes.batch * sizes.steps && (sizes.batch == 1 || sizes.steps == 1);
  const auto pack = [&](const Tensor& padded, int64_t width) {
    if (packed) return padded.view({rows, width});
    Tensor steps = Tensor::empty({rows, width}, dtype, device);
    kernels::pack_steps(padded, sequences, steps);
    return steps;
  };
  const Tensor packed_x = pack(in, sizes.inputs);

  RecurrentLayer layer{cell, sizes.directions, {}, input_gates.defined()};
  std::array<RecurrentTrace, 2> traces;
  for (size_t i = 0; i < directions.size(); ++i) {
    const RecurrentParameters& p = directions[i];
    layer.weights[i] = {p.weight_ih.value().contiguous(), p.weight_hh.value().contiguous(),
                        p.bias_ih.value().contiguous(), p.bias_hh.value().contiguous()};
    traces[i].gates = Tensor::empty({rows, 4 * sizes.width}, dtype, device);
    traces[i].hidden = Tensor::empty({rows, sizes.width}, dtype, device);
    if (has_cells) traces[i].cell = Tensor::empty({rows, sizes.width}, dtype, device);
  }
  if (layer.adds_gates) {
    const Tensor given = pack(input_gates.value().contiguous(), blocks * sizes.width);
    over_input_blocks(cell, traces[0].gates, given, sizes.width, [](Tensor to, const Tensor& from) { to.copy_(from); });
  }
  const Shape states{sizes.directions, sizes.batch, sizes.width};
  Tensor y = Tensor::empty({sizes.batch, sizes.steps, sizes.directions * sizes.width}, dtype, device);
  Tensor h_n = Tensor::empty(states, dtype, device);
  Tensor c_n = has_cells ? Tensor::empty(states, dtype, device) : Tensor();
  kernels::recurrent(layer, sequences, packed_x, h0.value().contiguous(), c0.value().contiguous(), traces, y, h_n, c_n);

  std::array<SavedTensor, 4> weights;
  for (size_t i = 0; i < directions.size(); ++i) {
    weights[2 * i] = SavedTensor(layer.weights[i].weight_ih);
    weights[2 * i + 1] = SavedTensor(layer.weights[i].weight_hh);
  }
  auto backward = [cell, blocks, sizes, sequences, packed, packed_x = SavedTensor(packed_x), weights,
                   traces](Grads& g) {
    // Gates become their gradients in place, unless they are needed again.
    std::array<RecurrentTrace, 2> used = traces;
    for (RecurrentTrace& trace : used) {
      if (g.retained() && trace.gates.defined()) trace.gates = trace.gates.clone();
    }
    RecurrentLayer kept{cell, sizes.directions, {}, false};
    std::array<RecurrentGradients, 2> gradients;
    for (size_t i = 0; i < static_cast<size_t>(sizes.directions); ++i) {
      kept.weights[i].weight_ih = weights[2 * i].get();
      kept.weights[i].weight_hh = weights[2 * i + 1].get();
      const int first = kFirstParameter + static_cast<int>(i) * kParameters;
      gradients[i] = {gradient_of(g, first), gradient_of(g, first + 1), gradient_of(g, first + 2),
                      gradient_of(g, first + 3)};
    }
    const Tensor& steps = packed_x.get();
    const auto unpack = [&](const Tensor& gradient) {
      const Shape padded{sizes.batch, sizes.steps, gradient.dim(1)};
      if (packed) return gradient.view(padded);
      Tensor dx = Tensor::empty(padded, steps.dtype(), steps.device());
      kernels::unpack_steps(gradient, sequences, dx);
      return dx;
    };
    const Shape state_shape{sizes.directions, sizes.batch, sizes.width};
    Tensor dpacked;
    if (g.needs(0)) dpacked = Tensor::empty_like(steps);
    Tensor dh0 = Tensor::empty(state_shape, steps.dtype(), steps.device());
    Tensor dc0;
    Tensor dc_n;
    if (cell == RecurrentCell::kLstm) {
      dc0 = Tensor::empty_like(dh0);
      dc_n = g.dy(2);
    }
    kernels::recurrent_backward(kept, sequences, steps, used, g.dy(0), g.dy(1), dc_n, dpacked, dh0, dc0, gradients);
    if (dpacked.defined()) g.add(0, unpack(dpacked));
    g.add(1, std::move(dh0));
    if (dc0.defined()) g.add(2, std::move(dc0));
    if (g.needs(kGates)) {
      const Tensor dgates = Tensor::empty({steps.dim(0), blocks * sizes.width}, steps.dtype(), steps.device());
      over_input_blocks(cell, used[0].gates, dgates, sizes.width,
                        [](const Tensor& from, Tensor to) { to.copy_(from); });
      g.add(kGates, unpack(dgates));
    }
  };

  const RecurrentParameters none;
  const RecurrentParameters& a = directions.front();
  const RecurrentParameters& b = directions.size() == 2 ? directions.back() : none;
  const std::initializer_list<const Variable*> inputs = {&x,           &h0,        &c0,        &a.weight_ih,
                                                         &a.weight_hh, &a.bias_ih, &a.bias_hh, &b.weight_ih,
                                                         &b.weight_hh, &b.bias_ih, &b.bias_hh, &input_gates};
  Tape& tape = Tape::current();
  if (has_cells) {
    auto outs =
        tape.record_array<3>(op, std::array{std::move(y), std::move(h_n), std::move(c_n)}, inputs, std::move(backward));
    return {std::move(outs[0]), std::move(outs[1]), std::move(outs[2])};
  }
  auto outs = tape.record_array<2>(op, std::array{std::move(y), std::move(h_n)}, inputs, std::move(backward));
  return {std::move(outs[0]), std::move(outs[1]), Variable()};
}

}  // namespace

RecurrentResult gru(const Variable& x, const Variable& h0, std::span<const RecurrentParameters> directions,
                    const Tensor& lengths, const Variable& gates, const GruOptions& options) {
  if (!options.reset_after) return gru_reset_before(x, h0, directions, lengths, gates);
  return run("gru", RecurrentCell::kGru, x, h0, Variable(), directions, lengths, gates);
}

RecurrentResult lstm(const Variable& x, const Variable& h0, const Variable& c0,
                     std::span<const RecurrentParameters> directions, const Tensor& lengths, const Variable& gates) {
  return run("lstm", RecurrentCell::kLstm, x, h0, c0, directions, lengths, gates);
}

}  // namespace attune
