#pragma once

// For the ops' .cpp files: what recurrent ops have in common.
#include <utility>
#include <vector>

#include "autograd/ops/checks.h"
#include "autograd/ops/ops.h"
#include "autograd/ops/recurrent.h"

namespace attune {

struct RecurrentSizes {
  int64_t batch, steps, inputs, width, directions;
};

/// The operands of a layer with `gates` gates. Throws as gru() says.
RecurrentSizes check_recurrent(const char* op, int64_t gates, const Variable& x, const Variable& h0, const Variable& c0,
                               std::span<const RecurrentParameters> directions);
/// gates [B, S, blocks H], or undefined.
void check_recurrent_gates(const char* op, int64_t blocks, const Variable& gates, const Variable& x,
                           const RecurrentSizes& sizes);
/// Lengths on the host, contiguous.
Tensor check_lengths(const char* op, const Tensor& lengths, const RecurrentSizes& sizes);

/// Operands in what sums are kept in.
struct WideRecurrent {
  Variable x, h0, c0, gates;
  std::vector<RecurrentParameters> directions;
};
WideRecurrent widened(const Variable& x, const Variable& h0, const Variable& c0,
                      std::span<const RecurrentParameters> directions, const Variable& gates);

/// run(operands) in float32. States add up over many steps: bfloat16 is widened for the whole layer, not at every step.
/// Parameters and states may be float32 already; last states come in the dtype of the first ones.
template <class Run>
RecurrentResult run_recurrent_wide(const Variable& x, const Variable& h0, const Variable& c0,
                                   std::span<const RecurrentParameters> directions, const Variable& gates,
                                   const Run& run) {
  const auto to = [](const Variable& v, DType dtype) { return v.defined() ? cast(v, dtype) : v; };
  const auto dtype_of = [&](const Variable& state) { return state.defined() ? state.dtype() : x.dtype(); };
  const RecurrentResult result = run(widened(x, h0, c0, directions, gates));
  return {to(result.output, x.dtype()), to(result.hidden, dtype_of(h0)), to(result.cell, dtype_of(c0))};
}

/// gru() with GruOptions::reset_after = false.
RecurrentResult gru_reset_before(const Variable& x, const Variable& h0, std::span<const RecurrentParameters> directions,
                                 const Tensor& lengths, const Variable& gates);

}  // namespace attune
