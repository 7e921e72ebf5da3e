#include <algorithm>
#include <utility>

#include "framework/kernels/cuda/columns.cuh"
#include "framework/kernels/cuda/launch.cuh"
#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/product.h"
#include "framework/kernels/functors.h"
#include "framework/kernels/recurrent.h"

namespace attune::cuda {
namespace {

/// Packed sequences: counts where the host wants them, samples and lengths where the device does.
class Steps {
 public:
  Steps(const Context& c, const PackedSequences& s)
      : begins(reinterpret_cast<const int64_t*>(s.begins.raw())),
        batch(s.samples.numel()),
        count(s.begins.numel() - 1),
        total(begins[count]),
        memory_(c, static_cast<size_t>(2 * batch + count + 1) * sizeof(int64_t)) {
    const auto bring = [&](const Tensor& from, int64_t at, int64_t n) {
      ATTUNE_CUDA(cudaMemcpyAsync(memory_.data<int64_t>() + at, from.raw(), static_cast<size_t>(n) * sizeof(int64_t),
                                  cudaMemcpyHostToDevice, c.stream));
    };
    bring(s.samples, 0, batch);
    bring(s.lengths, batch, batch);
    bring(s.begins, 2 * batch, count + 1);
  }

  const int64_t* samples() const { return memory_.data<int64_t>(); }
  const int64_t* lengths() const { return memory_.data<int64_t>() + batch; }
  const int64_t* device_begins() const { return memory_.data<int64_t>() + 2 * batch; }
  /// Sequences that have a step t: those at positions 0 ... rows(t) - 1.
  int64_t rows(int64_t t) const { return t >= 0 && t < count ? begins[t + 1] - begins[t] : 0; }

  const int64_t* begins;
  int64_t batch;
  int64_t count;
  int64_t total;

 private:
  Scratch memory_;
};

template <class T>
T* part_of(Tensor& states, int64_t direction, int64_t elements) {
  return states.defined() ? data<T>(states) + direction * elements : nullptr;
}
template <class T>
const T* part_of(const Tensor& states, int64_t direction, int64_t elements) {
  return states.defined() ? data<T>(states) + direction * elements : nullptr;
}

/// One direction of a layer.
template <class T>
struct Direction {
  Direction(const RecurrentLayer& layer, std::array<RecurrentTrace, 2>& traces, int64_t which)
      : cell(layer.cell), weights(layer.weights[static_cast<size_t>(which)]), index(which) {
    RecurrentTrace& trace = traces[static_cast<size_t>(which)];
    gates = data<T>(trace.gates);
    hidden = data<T>(trace.hidden);
    cells = data<T>(trace.cell);
    width = weights.weight_hh.dim(1);
    inputs = weights.weight_ih.dim(1);
  }

  /// Time of the k-th step that is computed, and of the one after.
  int64_t time(int64_t k, const Steps& steps) const { return index == 0 ? k : steps.count - 1 - k; }
  int64_t next(int64_t t) const { return index == 0 ? t + 1 : t - 1; }

  RecurrentCell cell;
  const RecurrentWeights& weights;
  int64_t index;
  T* gates;
  T* hidden;
  T* cells;
  int64_t width;
  int64_t inputs;
};

/// States of samples to where their sequences begin, or at once to the end for those without a step. begin: of the
/// second direction, a sequence's last step. A thread for every element.
template <class T>
__global__ void begin_states(const T* initial, const int64_t* samples, const int64_t* lengths, const int64_t* begins,
                             bool backwards, int64_t width, T* rows, T* last, int64_t count) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t i = at / width;
  const int64_t j = at % width;
  const int64_t length = lengths[i];
  const int64_t first = (backwards && length > 0 ? begins[length - 1] : 0) + i;
  T* to = length > 0 ? rows + first * width : last + samples[i] * width;
  to[j] = initial != nullptr ? initial[samples[i] * width + j] : T(0);
}

/// Biases as the gates' columns take them: both where only their sum matters. Columns 3 H ... 4 H of a GRU, which the
/// hidden product is added to, begin with them.
template <class T>
__global__ void add_biases(const T* bias_ih, const T* bias_hh, bool gru, int64_t width, T* gates, int64_t count) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t column = at % (4 * width);
  T bias = 0;
  if (bias_ih != nullptr && !gru) bias = bias_ih[column] + bias_hh[column];
  if (bias_ih != nullptr && gru) {
    // Columns: new, reset, update, hidden product of new. Rows of the parameters: reset, update, new.
    if (column < width) {
      bias = bias_ih[2 * width + column];
    } else if (column < 3 * width) {
      bias = bias_ih[column - width] + bias_hh[column - width];
    } else {
      bias = bias_hh[column - width];
    }
  }
  gates[at] = gru && column >= 3 * width ? bias : gates[at] + bias;
}

/// One step: rows of sequences that have it. The first next_rows of them go on.
template <class T>
struct Step {
  int64_t width;
  int64_t rows;
  const int64_t* samples;
  T* gates;         ///< [rows, 4 H]
  const T* hidden;  ///< [rows, H]: before the step
  const T* cell;
  int64_t next_rows;
  T* next_hidden;
  T* next_cell;
  T* last_hidden;  ///< by sample
  T* last_cell;
  T* y;
  int64_t y_sample;
};

// The formulas are those of cpu/recurrent_gates.cpp.

template <class T>
__global__ void step_forward(Step<T> s, bool gru) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= s.rows * s.width) return;
  const int64_t n = s.width;
  const int64_t i = at / n;
  const int64_t j = at % n;
  T* gates = s.gates + i * 4 * n + j;
  const bool goes_on = i < s.next_rows;
  T h = 0;
  if (gru) {
    const T r = functors::sigmoid(gates[n]);
    const T z = functors::sigmoid(gates[2 * n]);
    const T f = functors::Tanh().forward(gates[0] + r * gates[3 * n]);
    h = f + z * (s.hidden[at] - f);
    gates[0] = f;
    gates[n] = r;
    gates[2 * n] = z;
  } else {
    const T in = functors::sigmoid(gates[0]);
    const T f = functors::sigmoid(gates[n]);
    const T g = functors::Tanh().forward(gates[2 * n]);
    const T o = functors::sigmoid(gates[3 * n]);
    const T c = f * s.cell[at] + in * g;
    h = o * functors::Tanh().forward(c);
    gates[0] = in;
    gates[n] = f;
    gates[2 * n] = g;
    gates[3 * n] = o;
    *(goes_on ? s.next_cell + at : s.last_cell + s.samples[i] * n + j) = c;
  }
  *(goes_on ? s.next_hidden + at : s.last_hidden + s.samples[i] * n + j) = h;
  s.y[s.samples[i] * s.y_sample + j] = h;
}

template <class T>
struct StepBackward {
  int64_t width;
  int64_t rows;
  const int64_t* samples;
  T* gates;
  const T* hidden;
  const T* cell;
  const T* dy;  ///< optional
  int64_t dy_sample;
  T* dhidden;  ///< [rows, H]: of the states behind the step -> of those before it, without what the product adds
  T* dcell;
};

template <class T>
__global__ void step_backward(StepBackward<T> s, bool gru) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= s.rows * s.width) return;
  const int64_t n = s.width;
  const int64_t i = at / n;
  const int64_t j = at % n;
  T* gates = s.gates + i * 4 * n + j;
  T dh = s.dhidden[at];
  if (s.dy != nullptr) dh += s.dy[s.samples[i] * s.dy_sample + j];
  if (gru) {
    const T f = gates[0], r = gates[n], z = gates[2 * n], product = gates[3 * n];
    const T da = dh * (1 - z) * (1 - f * f);
    s.dhidden[at] = dh * z;
    gates[0] = da;
    gates[n] = da * product * (r * (1 - r));
    gates[2 * n] = dh * (s.hidden[at] - f) * (z * (1 - z));
    gates[3 * n] = da * r;
  } else {
    const T in = gates[0], f = gates[n], g = gates[2 * n], o = gates[3 * n];
    const T before = s.cell[at];
    const T bent = functors::Tanh().forward(f * before + in * g);
    const T dc = dh * o * (1 - bent * bent) + s.dcell[at];
    s.dcell[at] = dc * f;
    gates[0] = dc * g * (in * (1 - in));
    gates[n] = dc * before * (f * (1 - f));
    gates[2 * n] = dc * in * (1 - g * g);
    gates[3 * n] = dh * bent * (o * (1 - o));
  }
}

/// to[i] = from[samples[i]] (0 without from), or with kBack to[samples[i]] = from[i].
template <bool kBack, class T>
__global__ void reorder(const T* from, const int64_t* samples, int64_t width, T* to, int64_t count) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t other = samples[at / width] * width + at % width;
  if (kBack) {
    to[other] = from[at];
  } else {
    to[at] = from != nullptr ? from[other] : T(0);
  }
}

/// A block for every part of the rows of 32 columns.
template <class T>
__global__ void sum_gates(const T* gates, int64_t rows, int64_t n, int64_t tiles, int64_t parts, T* out) {
  const int64_t part = blockIdx.x / tiles;
  const int64_t column = blockIdx.x % tiles * kColumns + threadIdx.x % kColumns;
  const T sum = sum_of_column<T>(rows * part / parts, rows * (part + 1) / parts, column < n,
                                 [&](int64_t row) { return gates[row * n + column]; });
  if (threadIdx.x < kColumns && column < n) out[part * n + column] = sum;
}

template <class T>
void input_product(const Context& c, const Direction<T>& d, const Steps& steps, const Tensor& x, bool accumulate) {
  for (const GateBlocks& blocks : input_blocks(d.cell)) {
    Product p;
    p.dtype = x.dtype();
    p.m = steps.total;
    p.n = blocks.count * d.width;
    p.k = d.inputs;
    p.a = {x.raw(), d.inputs, 1, 0};
    p.b = {data<T>(d.weights.weight_ih) + blocks.row * d.width * d.inputs, 1, d.inputs, 0};
    p.c = d.gates + blocks.column * d.width;
    p.c_rows = 4 * d.width;
    p.accumulate = accumulate;
    multiply(c, "recurrent", p);
  }
  const int64_t count = steps.total * 4 * d.width;
  launch(c, "recurrent", add_biases<T>, thread_each(count), data<T>(d.weights.bias_ih), data<T>(d.weights.bias_hh),
         d.cell == RecurrentCell::kGru, d.width, d.gates, count);
}

template <class T>
void forward(const Context& c, const RecurrentLayer& layer, const Steps& steps, const Tensor& packed_x,
             const Tensor& h0, const Tensor& c0, std::array<RecurrentTrace, 2>& traces, Tensor& y, Tensor& h_n,
             Tensor& c_n) {
  ATTUNE_CUDA(cudaMemsetAsync(y.raw(), 0, static_cast<size_t>(y.numel()) * sizeof(T), c.stream));
  for (int64_t which = 0; which < layer.directions; ++which) {
    const Direction<T> d(layer, traces, which);
    const int64_t states = steps.batch * d.width;
    T* last_hidden = part_of<T>(h_n, which, states);
    T* last_cell = part_of<T>(c_n, which, states);
    const auto begin = [&](const T* initial, T* rows, T* last) {
      launch(c, "recurrent", begin_states<T>, thread_each(states), initial, steps.samples(), steps.lengths(),
             steps.device_begins(), which == 1, d.width, rows, last, states);
    };
    begin(part_of<T>(h0, which, states), d.hidden, last_hidden);
    if (d.cells != nullptr) begin(part_of<T>(c0, which, states), d.cells, last_cell);
    input_product(c, d, steps, packed_x, layer.adds_gates);
    const GateBlocks blocks = hidden_blocks(d.cell);
    for (int64_t k = 0; k < steps.count; ++k) {
      const int64_t t = d.time(k, steps);
      const int64_t rows = steps.rows(t);
      if (rows == 0) continue;
      const int64_t row = steps.begins[t];
      Product p;
      p.dtype = packed_x.dtype();
      p.m = rows;
      p.n = blocks.count * d.width;
      p.k = d.width;
      p.a = {d.hidden + row * d.width, d.width, 1, 0};
      p.b = {data<T>(d.weights.weight_hh), 1, d.width, 0};
      p.c = d.gates + (row * 4 + blocks.column) * d.width;
      p.c_rows = 4 * d.width;
      p.accumulate = true;
      multiply(c, "recurrent", p);
      const int64_t next_rows = std::min(rows, steps.rows(d.next(t)));
      const int64_t next = next_rows > 0 ? steps.begins[d.next(t)] * d.width : 0;
      const Step<T> step{d.width,
                         rows,
                         steps.samples(),
                         d.gates + 4 * row * d.width,
                         d.hidden + row * d.width,
                         d.cells != nullptr ? d.cells + row * d.width : nullptr,
                         next_rows,
                         d.hidden + next,
                         d.cells != nullptr ? d.cells + next : nullptr,
                         last_hidden,
                         last_cell,
                         data<T>(y) + (t * layer.directions + which) * d.width,
                         y.dim(1) * y.dim(2)};
      launch(c, "recurrent", step_forward<T>, thread_each(rows * d.width), step, d.cell == RecurrentCell::kGru);
    }
  }
}

/// Sums of the gates' gradients, for the biases.
template <class T>
void bias_gradients(const Context& c, const Direction<T>& d, const Steps& steps, RecurrentGradients& to) {
  if (!to.bias_ih.tensor.defined() && !to.bias_hh.tensor.defined()) return;
  const int64_t n = 4 * d.width;
  const int64_t tiles = ceil_div(n, kColumns);
  const int64_t parts = parts_of_rows(c, steps.total, tiles);
  const Scratch scratch(c, static_cast<size_t>(parts * n) * sizeof(T));
  T* out = scratch.data<T>();
  launch(c, "recurrent", sum_gates<T>, Grid{tiles * parts, 256}, d.gates, steps.total, n, tiles, parts, out);
  const auto write = [&](RecurrentGradient& gradient, const GateBlocks& blocks) {
    if (!gradient.tensor.defined()) return;
    launch(c, "recurrent", add_parts<T, T>, thread_each(blocks.count * d.width), out + blocks.column * d.width, parts,
           blocks.count * d.width, n, gradient.accumulate, data<T>(gradient.tensor) + blocks.row * d.width);
  };
  for (const GateBlocks& blocks : input_blocks(d.cell)) write(to.bias_ih, blocks);
  write(to.bias_hh, hidden_blocks(d.cell));
}

/// dweight = gates^T in, the gates' gradients of all steps at once.
template <class T>
void weight_gradient(const Context& c, const Direction<T>& d, const Steps& steps, DType dtype, const void* in,
                     int64_t inputs, RecurrentGradient& to, const GateBlocks& blocks) {
  if (!to.tensor.defined()) return;
  Product p;
  p.dtype = dtype;
  p.m = blocks.count * d.width;
  p.n = inputs;
  p.k = steps.total;
  p.a = {d.gates + blocks.column * d.width, 1, 4 * d.width, 0};
  p.b = {in, inputs, 1, 0};
  p.c = data<T>(to.tensor) + blocks.row * d.width * inputs;
  p.accumulate = to.accumulate;
  multiply(c, "recurrent", p);
}

template <class T>
void backward(const Context& c, const RecurrentLayer& layer, const Steps& steps, const Tensor& packed_x,
              std::array<RecurrentTrace, 2>& traces, const Tensor& dy, const Tensor& dh_n, const Tensor& dc_n,
              Tensor& dpacked_x, Tensor& dh0, Tensor& dc0, std::array<RecurrentGradients, 2>& gradients) {
  const DType dtype = packed_x.dtype();
  for (int64_t which = 0; which < layer.directions; ++which) {
    const Direction<T> d(layer, traces, which);
    const bool gru = d.cell == RecurrentCell::kGru;
    const int64_t states = steps.batch * d.width;
    const Scratch hidden_memory(c, static_cast<size_t>(states) * sizeof(T));
    const Scratch cell_memory(c, static_cast<size_t>(gru ? 0 : states) * sizeof(T));
    T* dhidden = hidden_memory.data<T>();
    T* dcell = gru ? nullptr : cell_memory.data<T>();
    const auto by_position = [&](const T* from, T* to) {
      launch(c, "recurrent", reorder<false, T>, thread_each(states), from, steps.samples(), d.width, to, states);
    };
    const auto by_sample = [&](const T* from, T* to) {
      launch(c, "recurrent", reorder<true, T>, thread_each(states), from, steps.samples(), d.width, to, states);
    };
    by_position(part_of<T>(dh_n, which, states), dhidden);
    if (!gru) by_position(part_of<T>(dc_n, which, states), dcell);
    const GateBlocks blocks = hidden_blocks(d.cell);
    for (int64_t k = steps.count - 1; k >= 0; --k) {
      const int64_t t = d.time(k, steps);
      const int64_t rows = steps.rows(t);
      if (rows == 0) continue;
      const int64_t row = steps.begins[t];
      const StepBackward<T> step{d.width,
                                 rows,
                                 steps.samples(),
                                 d.gates + 4 * row * d.width,
                                 d.hidden + row * d.width,
                                 gru ? nullptr : d.cells + row * d.width,
                                 dy.defined() ? data<T>(dy) + (t * layer.directions + which) * d.width : nullptr,
                                 steps.count * layer.directions * d.width,
                                 dhidden,
                                 dcell};
      launch(c, "recurrent", step_backward<T>, thread_each(rows * d.width), step, gru);
      // A GRU's state also reaches the next one past the product.
      Product p;
      p.dtype = dtype;
      p.m = rows;
      p.n = d.width;
      p.k = blocks.count * d.width;
      p.a = {d.gates + (row * 4 + blocks.column) * d.width, 4 * d.width, 1, 0};
      p.b = {data<T>(d.weights.weight_hh), d.width, 1, 0};
      p.c = dhidden;
      p.accumulate = gru;
      multiply(c, "recurrent", p);
    }
    by_sample(dhidden, part_of<T>(dh0, which, states));
    if (!gru) by_sample(dcell, part_of<T>(dc0, which, states));
    RecurrentGradients& to = gradients[static_cast<size_t>(which)];
    bias_gradients(c, d, steps, to);
    for (const GateBlocks& of_input : input_blocks(d.cell)) {
      weight_gradient(c, d, steps, dtype, packed_x.raw(), d.inputs, to.weight_ih, of_input);
    }
    weight_gradient(c, d, steps, dtype, d.hidden, d.width, to.weight_hh, blocks);
    if (!dpacked_x.defined()) continue;
    bool accumulate = which > 0;
    for (const GateBlocks& of_input : input_blocks(d.cell)) {
      // dx (+)= gates weight_ih
      Product p;
      p.dtype = dtype;
      p.m = steps.total;
      p.n = d.inputs;
      p.k = of_input.count * d.width;
      p.a = {d.gates + of_input.column * d.width, 4 * d.width, 1, 0};
      p.b = {data<T>(d.weights.weight_ih) + of_input.row * d.width * d.inputs, d.inputs, 1, 0};
      p.c = dpacked_x.raw();
      p.accumulate = std::exchange(accumulate, true);
      multiply(c, "recurrent", p);
    }
  }
}

/// With kPack packed rows = the real steps of x, otherwise x = those rows, and 0 behind. A thread for every element of
/// x [B, S, D].
template <bool kPack, class T>
__global__ void move_steps(T* x, const int64_t* samples, const int64_t* lengths, const int64_t* begins, int64_t steps,
                           int64_t width, T* packed, int64_t count) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t j = at % width;
  const int64_t t = at / width % steps;
  const int64_t i = at / width / steps;
  const bool real = t < lengths[i];
  T* outside = x + (samples[i] * steps + t) * width + j;
  if (kPack) {
    if (real) packed[(begins[t] + i) * width + j] = *outside;
  } else {
    *outside = real ? packed[(begins[t] + i) * width + j] : store<T>(Compute<T>(0));
  }
}

}  // namespace

void recurrent(const RecurrentLayer& layer, const PackedSequences& sequences, const Tensor& packed_x, const Tensor& h0,
               const Tensor& c0, std::array<RecurrentTrace, 2>& traces, Tensor& y, Tensor& h_n, Tensor& c_n) {
  const Context& c = context(y);
  const Steps steps(c, sequences);
  visit_floating(y.dtype(), "recurrent",
                 [&]<class T>(T) { forward<T>(c, layer, steps, packed_x, h0, c0, traces, y, h_n, c_n); });
}

void recurrent_backward(const RecurrentLayer& layer, const PackedSequences& sequences, const Tensor& packed_x,
                        std::array<RecurrentTrace, 2>& traces, const Tensor& dy, const Tensor& dh_n, const Tensor& dc_n,
                        Tensor& dpacked_x, Tensor& dh0, Tensor& dc0, std::array<RecurrentGradients, 2>& gradients) {
  const Context& c = context(packed_x);
  const Steps steps(c, sequences);
  visit_floating(packed_x.dtype(), "recurrent", [&]<class T>(T) {
    backward<T>(c, layer, steps, packed_x, traces, dy, dh_n, dc_n, dpacked_x, dh0, dc0, gradients);
  });
}

void pack_steps(const Tensor& x, const PackedSequences& sequences, Tensor& packed) {
  const Context& c = context(x);
  const Steps steps(c, sequences);
  visit_stored(x.dtype(), "pack_steps", [&]<class T>(T) {
    launch(c, "pack_steps", move_steps<true, T>, thread_each(x.numel()), const_cast<T*>(data<T>(x)), steps.samples(),
           steps.lengths(), steps.device_begins(), x.dim(1), x.dim(2), data<T>(packed), x.numel());
  });
}

void unpack_steps(const Tensor& packed, const PackedSequences& sequences, Tensor& x) {
  const Context& c = context(x);
  const Steps steps(c, sequences);
  visit_stored(x.dtype(), "unpack_steps", [&]<class T>(T) {
    launch(c, "unpack_steps", move_steps<false, T>, thread_each(x.numel()), data<T>(x), steps.samples(),
           steps.lengths(), steps.device_begins(), x.dim(1), x.dim(2), const_cast<T*>(data<T>(packed)), x.numel());
  });
}

}  // namespace attune::cuda
