#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "framework/kernels/kernel.h"

namespace attune {

enum class RecurrentCell : uint8_t { kGru, kLstm };

/// Sequences by falling length, step by step and without padding: row begins[t] + i of N rows is step t of the sequence
/// at position i.
struct PackedSequences {
  Tensor samples;  ///< int64 [B]: the sample at position i
  Tensor lengths;  ///< int64 [B]: its length
  Tensor begins;   ///< int64 [S + 1]: first row of every step, and N
};

/// packed [N, D] = the real steps of x [B, S, D]. Both contiguous.
ATTUNE_WIDE_KERNEL(pack_steps, const Tensor& x, const PackedSequences& sequences, Tensor& packed);

/// The reverse: what lies behind a length becomes 0.
ATTUNE_WIDE_KERNEL(unpack_steps, const Tensor& packed, const PackedSequences& sequences, Tensor& x);

/// Parameters of one direction, blocks of H rows per gate in PyTorch's order: reset, update, new or input, forget,
/// cell, output. weight_ih [G H, D], weight_hh [G H, H], bias_ih and bias_hh [G H], both or none; G = 3 or 4.
struct RecurrentWeights {
  Tensor weight_ih, weight_hh, bias_ih, bias_hh;
};

/// Blocks of H columns of the gates of a trace, and the blocks of H rows of a weight that make them.
struct GateBlocks {
  int64_t column;
  int64_t row;
  int64_t count;
};

inline std::span<const GateBlocks> input_blocks(RecurrentCell cell) {
  static constexpr GateBlocks kGru[] = {{1, 0, 2}, {0, 2, 1}};
  static constexpr GateBlocks kLstm[] = {{0, 0, 4}};
  return cell == RecurrentCell::kGru ? std::span<const GateBlocks>(kGru) : std::span<const GateBlocks>(kLstm);
}

inline GateBlocks hidden_blocks(RecurrentCell cell) {
  return cell == RecurrentCell::kGru ? GateBlocks{1, 0, 3} : GateBlocks{0, 0, 4};
}

/// What backward needs of one direction.
struct RecurrentTrace {
  Tensor gates;   ///< [N, 4 H], activated: new, reset, update, hidden product of new; or input, forget, cell, output
  Tensor hidden;  ///< [N, H]: state before every step
  Tensor cell;    ///< [N, H]: the same of an LSTM's cells
};

/// A layer in one direction or two; the second one begins at every sequence's last real step.
struct RecurrentLayer {
  RecurrentCell cell = RecurrentCell::kGru;
  int64_t directions = 1;
  std::array<RecurrentWeights, 2> weights;
  bool adds_gates = false;  ///< the input blocks of the traces' gates hold what the input's product is added to
};

/// All steps of a layer. packed_x [N, D]; h0, c0 [directions, B, H] (optional: 0); traces, y [B, S, directions H] (0
/// behind the lengths), h_n and c_n [directions, B, H] are written. All contiguous; c0 and c_n for LSTMs.
ATTUNE_KERNEL(recurrent, const RecurrentLayer& layer, const PackedSequences& sequences, const Tensor& packed_x,
              const Tensor& h0, const Tensor& c0, std::array<RecurrentTrace, 2>& traces, Tensor& y, Tensor& h_n,
              Tensor& c_n);

/// Where a parameter's gradient goes, if anywhere: written, or added to when accumulate.
struct RecurrentGradient {
  Tensor tensor;
  bool accumulate = false;
};
struct RecurrentGradients {
  RecurrentGradient weight_ih, weight_hh, bias_ih, bias_hh;
};

/// Gradients of `recurrent`. dy, dh_n, dc_n: optional; gates of the traces become their gradients before activation;
/// dpacked_x [N, D] (optional), dh0 and dc0 [directions, B, H] are written.
ATTUNE_KERNEL(recurrent_backward, const RecurrentLayer& layer, const PackedSequences& sequences, const Tensor& packed_x,
              std::array<RecurrentTrace, 2>& traces, const Tensor& dy, const Tensor& dh_n, const Tensor& dc_n,
              Tensor& dpacked_x, Tensor& dh0, Tensor& dc0, std::array<RecurrentGradients, 2>& gradients);

}  // namespace attune
