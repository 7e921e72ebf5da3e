#include "framework/kernels/recurrent.h"

#include <algorithm>
#include <utility>

#include "framework/kernels/cpu/column_sums.h"
#include "framework/kernels/cpu/recurrent_gates.h"
#include "framework/kernels/cpu/recurrent_steps.h"

namespace attune::cpu {
namespace {

/// Biases as the gates' columns take them: both where only their sum matters.
template <class T>
Tensor gate_bias(const Direction<T>& d) {
  const int64_t n = d.width;
  Tensor bias = Tensor::zeros({4 * n}, kDTypeOf<T>);
  if (!d.weights.bias_ih.defined()) return bias;
  T* out = bias.template data<T>();
  const auto add = [&](const Tensor& from, GateBlocks blocks) {
    const T* values = from.data<T>() + blocks.row * n;
    for (int64_t j = 0; j < blocks.count * n; ++j) out[blocks.column * n + j] += values[j];
  };
  for (const GateBlocks& blocks : input_blocks(d.cell)) add(d.weights.bias_ih, blocks);
  add(d.weights.bias_hh, hidden_blocks(d.cell));
  return bias;
}

/// Copies states of samples to where their sequences begin, or at once to the end for those without a step.
template <class T>
void begin_states(const Direction<T>& d, const T* initial, T* rows, T* last) {
  for (int64_t i = 0; i < d.steps.batch; ++i) {
    const int64_t sample = d.steps.samples[i];
    T* to = d.steps.lengths[i] > 0 ? rows + d.first_row(i) * d.width : last + sample * d.width;
    if (initial != nullptr) {
      std::copy_n(initial + sample * d.width, d.width, to);
    } else {
      std::fill_n(to, d.width, T{0});
    }
  }
}

template <class T>
void input_product(const Direction<T>& d, const T* x, const T* bias, bool accumulate) {
  for (const GateBlocks& blocks : input_blocks(d.cell)) {
    Product<T> product;
    product.m = d.steps.total;
    product.n = blocks.count * d.width;
    product.k = d.inputs;
    product.a = {x, d.inputs, 1};
    product.b = {d.weights.weight_ih.template data<T>() + blocks.row * d.width * d.inputs, 1, d.inputs};
    product.c = d.gates + blocks.column * d.width;
    product.ldc = 4 * d.width;
    product.bias = bias + blocks.column * d.width;
    product.accumulate = accumulate;
    parallel_gemm(product);
  }
  if (d.cell == RecurrentCell::kLstm) return;
  // The hidden product is added to its bias.
  parallel_for(d.steps.total, std::max<int64_t>(1, 8192 / d.width), [&](int64_t begin, int64_t end, int64_t) {
    for (int64_t row = begin; row < end; ++row) {
      std::copy_n(bias + 3 * d.width, d.width, d.gates + (4 * row + 3) * d.width);
    }
  });
}

/// One direction forward.
template <class T>
struct ForwardPass {
  static constexpr bool kProductFirst = true;

  int64_t time(int64_t k) const { return d.time(k); }

  void multiply(int64_t t, Share share) const {
    const Operand<T> before{d.hidden + (d.steps.begins[t] + share.first) * d.width, share.every * d.width, 1};
    product(before, share.of(d.steps.rows(t)), d.hidden_gates(t, share), d.gates_row(share), true);
  }

  void activate(int64_t t, Share share) const {
    GateStep<T> step;
    step.width = d.width;
    step.first = share.first;
    step.every = share.every;
    step.rows = d.steps.rows(t);
    step.sample = d.steps.samples;
    const int64_t row = d.steps.begins[t] * d.width;
    step.gates = d.gates + 4 * row;
    step.hidden = d.hidden + row;
    step.next_rows = std::min(step.rows, d.steps.rows(d.next(t)));
    if (step.next_rows > 0) step.next_hidden = d.hidden + d.steps.begins[d.next(t)] * d.width;
    step.last_hidden = h_n;
    if (d.cells != nullptr) {
      step.cell = d.cells + row;
      step.last_cell = c_n;
      if (step.next_rows > 0) step.next_cell = d.cells + d.steps.begins[d.next(t)] * d.width;
    }
    step.y = y + d.y_offset(t);
    step.y_sample = y_sample;
    gate_step(d.cell, step);
  }

  Direction<T> d;
  StepProduct<T> product;
  T* h_n;
  T* c_n;
  T* y;
  int64_t y_sample;
};

/// One direction backward.
template <class T>
struct BackwardPass {
  static constexpr bool kProductFirst = false;

  int64_t time(int64_t k) const { return d.time(d.steps.count - 1 - k); }

  void activate(int64_t t, Share share) const {
    GateStepBackward<T> step;
    step.width = d.width;
    step.first = share.first;
    step.every = share.every;
    step.rows = d.steps.rows(t);
    step.sample = d.steps.samples;
    const int64_t row = d.steps.begins[t] * d.width;
    step.gates = d.gates + 4 * row;
    step.hidden = d.hidden + row;
    if (d.cells != nullptr) step.cell = d.cells + row;
    if (dy != nullptr) step.dy = dy + d.y_offset(t);
    step.dy_sample = dy_sample;
    step.dhidden = dhidden;
    step.dcell = dcell;
    ColumnSums<T> own = sums->share(share.first, first_sum(), 4 * d.width);
    step.sums = own.part;
    for (const int64_t end = step.rows; step.first < end; step.first += kSumRows * step.every) {
      step.rows = std::min(end, step.first + kSumRows * step.every);
      gate_step_backward(d.cell, step);
      own.flush();
    }
  }

  // A GRU's state also reaches the next one past the product.
  void multiply(int64_t t, Share share) const {
    const Operand<T> dgates{d.hidden_gates(t, share), d.gates_row(share), 1};
    product(dgates, share.of(d.steps.rows(t)), dhidden + share.first * d.width, share.every * d.width,
            d.cell == RecurrentCell::kGru);
  }

  Direction<T> d;
  StepProduct<T> product;
  const T* dy;
  int64_t dy_sample;
  T* dhidden;  // [B, H] by position
  T* dcell;
  SharedColumnSums<T>* sums;  // [directions, 4 H] of every share

  int64_t first_sum() const { return d.index * 4 * d.width; }
};

template <class T>
void write_sums(const BackwardPass<T>& pass, RecurrentGradient& to, std::span<const GateBlocks> blocks) {
  if (!to.tensor.defined()) return;
  const int64_t n = pass.d.width;
  for (const GateBlocks& block : blocks) {
    pass.sums->write(pass.first_sum() + block.column * n, block.count * n, to.accumulate,
                     to.tensor.data<T>() + block.row * n);
  }
}

/// dweight = gates^T in, the gates' gradients of all steps at once.
template <class T>
void weight_gradient(const Direction<T>& d, const T* in, int64_t inputs, RecurrentGradient& to,
                     std::span<const GateBlocks> blocks) {
  if (!to.tensor.defined()) return;
  for (const GateBlocks& block : blocks) {
    Product<T> product;
    product.m = block.count * d.width;
    product.n = inputs;
    product.k = d.steps.total;
    product.a = {d.gates + block.column * d.width, 1, 4 * d.width};
    product.b = {in, inputs, 1};
    product.c = to.tensor.data<T>() + block.row * d.width * inputs;
    product.ldc = inputs;
    product.accumulate = to.accumulate;
    parallel_gemm(product);
  }
}

/// dx (+)= gates weight_ih
template <class T>
void input_gradient(const Direction<T>& d, T* dx, bool accumulate) {
  for (const GateBlocks& block : input_blocks(d.cell)) {
    Product<T> product;
    product.m = d.steps.total;
    product.n = d.inputs;
    product.k = block.count * d.width;
    product.a = {d.gates + block.column * d.width, 4 * d.width, 1};
    product.b = {d.weights.weight_ih.template data<T>() + block.row * d.width * d.inputs, d.inputs, 1};
    product.c = dx;
    product.ldc = d.inputs;
    product.accumulate = accumulate;
    parallel_gemm(product);
    accumulate = true;
  }
}

// Rows of samples [B, H] by position, and back.
template <class T>
void by_position(const Steps& steps, const T* samples, int64_t width, T* rows) {
  for (int64_t i = 0; i < steps.batch; ++i) {
    if (samples != nullptr) {
      std::copy_n(samples + steps.samples[i] * width, width, rows + i * width);
    } else {
      std::fill_n(rows + i * width, width, T{0});
    }
  }
}
template <class T>
void by_sample(const Steps& steps, const T* rows, int64_t width, T* samples) {
  for (int64_t i = 0; i < steps.batch; ++i) {
    std::copy_n(rows + i * width, width, samples + steps.samples[i] * width);
  }
}

template <class T>
T* part_of(T* states, int64_t direction, const Steps& steps, int64_t width) {
  return states == nullptr ? nullptr : states + direction * steps.batch * width;
}

template <class T>
void forward(const RecurrentLayer& layer, const Steps& steps, const Tensor& packed_x, const Tensor& h0,
             const Tensor& c0, std::array<RecurrentTrace, 2>& traces, Tensor& y, Tensor& h_n, Tensor& c_n) {
  T* out = y.data<T>();
  const int64_t y_sample = y.dim(1) * y.dim(2);
  for (int64_t i = 0; i < steps.batch; ++i) {
    T* sample = out + steps.samples[i] * y_sample;
    std::fill(sample + steps.lengths[i] * y.dim(2), sample + y_sample, T{0});
  }
  Passes<ForwardPass<T>> passes;
  int64_t width = 0;
  for (int64_t i = 0; i < layer.directions; ++i) {
    const Direction<T> d(layer, steps, traces, i);
    width = d.width;
    T* last_hidden = part_of(h_n.data<T>(), i, steps, width);
    T* last_cell = part_of(pointer<T>(c_n), i, steps, width);
    begin_states(d, part_of(pointer<T>(h0), i, steps, width), d.hidden, last_hidden);
    if (d.cells != nullptr) begin_states(d, part_of(pointer<T>(c0), i, steps, width), d.cells, last_cell);
    input_product(d, packed_x.data<T>(), gate_bias(d).template data<T>(), layer.adds_gates);
    const Operand<T> weight{d.weights.weight_hh.template data<T>(), width, 1};
    StepProduct<T> product(weight.transposed(), width, hidden_blocks(d.cell).count * width, steps.count);
    passes[static_cast<size_t>(i)].emplace(
        ForwardPass<T>{d, std::move(product), last_hidden, last_cell, out, y_sample});
  }
  run_steps(passes, layer.directions, share_count(steps, layer.directions, width), steps.count);
}

template <class T>
void backward(const RecurrentLayer& layer, const Steps& steps, const Tensor& packed_x,
              std::array<RecurrentTrace, 2>& traces, const Tensor& dy, const Tensor& dh_n, const Tensor& dc_n,
              Tensor& dpacked_x, Tensor& dh0, Tensor& dc0, std::array<RecurrentGradients, 2>& gradients) {
  const int64_t width = layer.weights[0].weight_hh.dim(1);
  const int64_t shares = share_count(steps, layer.directions, width);
  const Shape states{layer.directions, steps.batch, width};
  Tensor dhidden = Tensor::empty(states, packed_x.dtype());
  Tensor dcell = layer.cell == RecurrentCell::kLstm ? Tensor::empty(states, packed_x.dtype()) : Tensor();
  SharedColumnSums<T> sums(steps.total, layer.directions * 4 * width, shares);
  Passes<BackwardPass<T>> passes;
  for (int64_t i = 0; i < layer.directions; ++i) {
    const Direction<T> d(layer, steps, traces, i);
    T* dh = part_of(dhidden.data<T>(), i, steps, width);
    T* dc = part_of(pointer<T>(dcell), i, steps, width);
    by_position(steps, part_of(pointer<T>(dh_n), i, steps, width), width, dh);
    if (dc != nullptr) by_position(steps, part_of(pointer<T>(dc_n), i, steps, width), width, dc);
    const Operand<T> weight{d.weights.weight_hh.template data<T>(), width, 1};
    StepProduct<T> product(weight, hidden_blocks(d.cell).count * width, width, steps.count);
    passes[static_cast<size_t>(i)].emplace(
        BackwardPass<T>{d, std::move(product), pointer<T>(dy), steps.count * layer.directions * width, dh, dc, &sums});
  }
  run_steps(passes, layer.directions, shares, steps.count);
  for (int64_t i = 0; i < layer.directions; ++i) {
    const BackwardPass<T>& pass = *passes[static_cast<size_t>(i)];
    const Direction<T>& d = pass.d;
    RecurrentGradients& to = gradients[static_cast<size_t>(i)];
    by_sample(steps, pass.dhidden, width, part_of(dh0.data<T>(), i, steps, width));
    if (pass.dcell != nullptr) by_sample(steps, pass.dcell, width, part_of(dc0.data<T>(), i, steps, width));
    const GateBlocks hidden[] = {hidden_blocks(d.cell)};
    write_sums<T>(pass, to.bias_ih, input_blocks(d.cell));
    write_sums<T>(pass, to.bias_hh, hidden);
    weight_gradient(d, packed_x.data<T>(), d.inputs, to.weight_ih, input_blocks(d.cell));
    weight_gradient<T>(d, d.hidden, width, to.weight_hh, hidden);
    if (dpacked_x.defined()) input_gradient(d, dpacked_x.data<T>(), i > 0);
  }
}

}  // namespace

void recurrent(const RecurrentLayer& layer, const PackedSequences& sequences, const Tensor& packed_x, const Tensor& h0,
               const Tensor& c0, std::array<RecurrentTrace, 2>& traces, Tensor& y, Tensor& h_n, Tensor& c_n) {
  visit_floating(y.dtype(), "recurrent",
                 [&]<class T>(T) { forward<T>(layer, Steps(sequences), packed_x, h0, c0, traces, y, h_n, c_n); });
}

void recurrent_backward(const RecurrentLayer& layer, const PackedSequences& sequences, const Tensor& packed_x,
                        std::array<RecurrentTrace, 2>& traces, const Tensor& dy, const Tensor& dh_n, const Tensor& dc_n,
                        Tensor& dpacked_x, Tensor& dh0, Tensor& dc0, std::array<RecurrentGradients, 2>& gradients) {
  visit_floating(packed_x.dtype(), "recurrent", [&]<class T>(T) {
    backward<T>(layer, Steps(sequences), packed_x, traces, dy, dh_n, dc_n, dpacked_x, dh0, dc0, gradients);
  });
}

namespace {

// move(row of the packed tensor, row of the padded one) for every real step, over the threads by position.
template <class F>
void for_each_row(const Steps& steps, int64_t width, F&& move) {
  constexpr int64_t kGrain = 16384;
  parallel_for(steps.batch, std::max<int64_t>(1, kGrain / std::max<int64_t>(steps.count * width, 1)),
               [&](int64_t begin, int64_t end, int64_t) {
                 for (int64_t i = begin; i < end; ++i) {
                   for (int64_t t = 0; t < steps.lengths[i]; ++t) {
                     move(steps.begins[t] + i, steps.samples[i] * steps.count + t);
                   }
                 }
               });
}

}  // namespace

void pack_steps(const Tensor& x, const PackedSequences& sequences, Tensor& packed) {
  visit_floating(x.dtype(), "pack_steps", [&]<class T>(T) {
    const int64_t width = x.dim(2);
    const T* from = x.data<T>();
    T* to = packed.data<T>();
    for_each_row(Steps(sequences), width,
                 [=](int64_t row, int64_t step) { std::copy_n(from + step * width, width, to + row * width); });
  });
}

void unpack_steps(const Tensor& packed, const PackedSequences& sequences, Tensor& x) {
  visit_floating(x.dtype(), "unpack_steps", [&]<class T>(T) {
    const Steps steps(sequences);
    const int64_t width = x.dim(2);
    const T* from = packed.data<T>();
    T* to = x.data<T>();
    for (int64_t i = 0; i < steps.batch; ++i) {
      const int64_t sample = steps.samples[i] * steps.count;
      std::fill(to + (sample + steps.lengths[i]) * width, to + (sample + steps.count) * width, T{0});
    }
    for_each_row(steps, width,
                 [=](int64_t row, int64_t step) { std::copy_n(from + row * width, width, to + step * width); });
  });
}

}  // namespace attune::cpu
