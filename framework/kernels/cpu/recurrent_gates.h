#pragma once

#include <cstdint>

#include "framework/kernels/recurrent.h"

namespace attune::cpu {

/// Rows first, first + every, first + 2 every, ... below `rows` of one time step. Row i belongs to sample sample[i].
template <class T>
struct GateStep {
  int64_t width = 0;  // H
  int64_t first = 0;
  int64_t every = 1;
  int64_t rows = 0;
  const int64_t* sample = nullptr;

  T* gates = nullptr;         // [rows, 4 H]: before activation -> activated
  const T* hidden = nullptr;  // [rows, H]: before the step
  const T* cell = nullptr;    // [rows, H]

  // The states behind the step: of the first next_rows rows where the next step reads them, of the others by sample.
  int64_t next_rows = 0;
  T* next_hidden = nullptr;
  T* next_cell = nullptr;
  T* last_hidden = nullptr;
  T* last_cell = nullptr;

  T* y = nullptr;
  int64_t y_sample = 0;  // elements from sample to sample
};

/// The way back: gates: activated -> gradients before activation.
template <class T>
struct GateStepBackward {
  int64_t width = 0;
  int64_t first = 0;
  int64_t every = 1;
  int64_t rows = 0;
  const int64_t* sample = nullptr;

  T* gates = nullptr;
  const T* hidden = nullptr;
  const T* cell = nullptr;

  const T* dy = nullptr;  // optional
  int64_t dy_sample = 0;
  // [rows, H]: gradients of the states behind the step -> of those before it, without what comes through the product.
  T* dhidden = nullptr;
  T* dcell = nullptr;
  T* sums = nullptr;  // [4 H]: the gates' gradients are added
};

/// GRU (Cho et al., 2014; the reset gate behind the product, as in cuDNN and PyTorch), gates' columns n, r, z and p,
/// the hidden product of n with its bias:  n = tanh(n + r p),  h = n + z (h' - n) LSTM (Hochreiter and Schmidhuber,
/// 1997; forget gate of Gers et al., 2000), gates' columns i, f, g, o:
///     c = f c' + i g,  h = o tanh(c)
void gate_step(RecurrentCell cell, const GateStep<float>& step);
void gate_step(RecurrentCell cell, const GateStep<double>& step);
void gate_step_backward(RecurrentCell cell, const GateStepBackward<float>& step);
void gate_step_backward(RecurrentCell cell, const GateStepBackward<double>& step);

}  // namespace attune::cpu
