#pragma once

// How the steps of a recurrent layer are laid out, dealt out to threads and run.

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "framework/kernels/cpu/packed_matrix.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/kernels/recurrent.h"

namespace attune::cpu {

struct Steps {
  explicit Steps(const PackedSequences& s)
      : samples(s.samples.data<int64_t>()),
        lengths(s.lengths.data<int64_t>()),
        begins(s.begins.data<int64_t>()),
        batch(s.samples.numel()),
        count(s.begins.numel() - 1),
        total(begins[count]) {}

  /// Sequences that have a step t: those at positions 0 ... rows(t) - 1.
  int64_t rows(int64_t t) const { return t >= 0 && t < count ? begins[t + 1] - begins[t] : 0; }

  const int64_t* samples;
  const int64_t* lengths;
  const int64_t* begins;
  int64_t batch;
  int64_t count;
  int64_t total;
};

/// c (+)= a B with one B for all steps: packed once, unless there is a single step, whose product is split over the
/// threads.
template <class T>
class StepProduct {
 public:
  StepProduct(const Operand<T>& b, int64_t k, int64_t n, int64_t steps) : b_(b), k_(k), n_(n) {
    if (steps != 1) packed_.emplace(b, k, n);
  }

  void operator()(const Operand<T>& a, int64_t m, T* c, int64_t ldc, bool accumulate) const {
    if (packed_) return packed_->multiply(a, m, c, ldc, accumulate);
    Product<T> product;
    product.m = m;
    product.n = n_;
    product.k = k_;
    product.a = a;
    product.b = b_;
    product.c = c;
    product.ldc = ldc;
    product.accumulate = accumulate;
    parallel_gemm(product);
  }

 private:
  Operand<T> b_;
  int64_t k_;
  int64_t n_;
  std::optional<PackedMatrix<T>> packed_;
};

/// The rows of a step that one task computes: first, first + every, ... Sequences are dealt out, so that every task has
/// as many long ones, and no task ever waits for another.
struct Share {
  int64_t first;
  int64_t every;

  int64_t of(int64_t rows) const { return (rows - first + every - 1) / every; }
};

// Tasks per direction. A share of a few rows costs as much as the weights it reads.
inline int64_t share_count(const Steps& steps, int64_t directions, int64_t width) {
  constexpr int64_t kRows = 4;
  constexpr int64_t kWork = 200'000;
  if (directions * steps.total * width * width < kWork) return 1;
  return std::clamp<int64_t>(steps.batch / kRows, 1, std::max<int64_t>(1, num_threads() / directions));
}

template <class T>
const T* pointer(const Tensor& x) {
  return x.defined() ? x.data<T>() : nullptr;
}
template <class T>
T* pointer(Tensor& x) {
  return x.defined() ? x.data<T>() : nullptr;
}

/// One direction of a layer: what both passes know about it.
template <class T>
struct Direction {
  Direction(const RecurrentLayer& layer, const Steps& all, std::array<RecurrentTrace, 2>& traces, int64_t which)
      : cell(layer.cell), steps(all), weights(layer.weights[static_cast<size_t>(which)]), index(which) {
    RecurrentTrace& trace = traces[static_cast<size_t>(which)];
    gates = trace.gates.data<T>();
    hidden = trace.hidden.data<T>();
    cells = pointer<T>(trace.cell);
    width = weights.weight_hh.dim(1);
    inputs = weights.weight_ih.dim(1);
    y_row = layer.directions * width;
  }

  /// Time of the k-th step that is computed.
  int64_t time(int64_t k) const { return index == 0 ? k : steps.count - 1 - k; }
  int64_t next(int64_t t) const { return index == 0 ? t + 1 : t - 1; }
  /// Row of the first step of the sequence at a position.
  int64_t first_row(int64_t position) const {
    return (index == 0 ? 0 : steps.begins[steps.lengths[position] - 1]) + position;
  }
  int64_t y_offset(int64_t t) const { return t * y_row + index * width; }
  /// Of a share's first row: the gates' columns that the hidden product makes. The next row of the share: gates_row.
  T* hidden_gates(int64_t t, Share share) const {
    return gates + ((steps.begins[t] + share.first) * 4 + hidden_blocks(cell).column) * width;
  }
  int64_t gates_row(Share share) const { return share.every * 4 * width; }

  RecurrentCell cell;
  const Steps& steps;
  const RecurrentWeights& weights;
  int64_t index;
  T* gates;
  T* hidden;
  T* cells;
  int64_t width;   // H
  int64_t inputs;  // D
  int64_t y_row;
};

template <class Pass>
using Passes = std::array<std::optional<Pass>, 2>;

/// All steps of every pass, each share of the sequences in a thread from the first step to the last. A single step's
/// product is split over the threads instead.
template <class Pass>
void run_steps(const Passes<Pass>& passes, int64_t directions, int64_t shares, int64_t count) {
  const bool split = count == 1;
  const auto single_product = [&] {
    for (int64_t i = 0; i < directions; ++i) passes[static_cast<size_t>(i)]->multiply(0, {0, 1});
  };
  if (split && Pass::kProductFirst) single_product();
  parallel_tasks(directions * shares, [&](int64_t task) {
    const Pass& pass = *passes[static_cast<size_t>(task / shares)];
    const Share share{task % shares, shares};
    for (int64_t k = 0; k < count; ++k) {
      const int64_t t = pass.time(k);
      if (!split && Pass::kProductFirst) pass.multiply(t, share);
      pass.activate(t, share);
      if (!split && !Pass::kProductFirst) pass.multiply(t, share);
    }
  });
  if (split && !Pass::kProductFirst) single_product();
}

}  // namespace attune::cpu
