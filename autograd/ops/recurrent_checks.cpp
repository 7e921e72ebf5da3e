#include "autograd/ops/recurrent_checks.h"

#include "autograd/ops/ops.h"

namespace attune {
namespace {

void check_recurrent_shape(const char* op, const char* name, int64_t direction, const Variable& x, const Variable& like,
                           const Shape& wanted) {
  require<ShapeError>(x.shape() == wanted, "{}: {} of direction {} has shape {}, expected {}", op, name, direction,
                      x.shape(), wanted);
  check_same_dtype(op, x, name, like, "x");
}

void check_recurrent_state(const char* op, const char* name, const Variable& state, const Variable& x,
                           const RecurrentSizes& sizes) {
  if (!state.defined()) return;
  const Shape wanted{sizes.directions, sizes.batch, sizes.width};
  require<ShapeError>(state.shape() == wanted, "{}: {} has shape {}, expected [directions, B, H] = {} for x {}", op,
                      name, state.shape(), wanted, x.shape());
  check_same_dtype(op, state, name, x, "x");
}

Variable widened(const Variable& v) { return v.defined() ? cast(v, accumulation_dtype(v.dtype())) : v; }

}  // namespace

RecurrentSizes check_recurrent(const char* op, int64_t gates, const Variable& x, const Variable& h0, const Variable& c0,
                               std::span<const RecurrentParameters> directions) {
  check_operand(op, "x", x);
  require<ShapeError>(x.rank() == 3, "{}: x has shape {}, expected [B, S, D]", op, x.shape());
  require<ValueError>(directions.size() == 1 || directions.size() == 2, "{}: {} directions given, expected 1 or 2", op,
                      directions.size());
  const Variable& recurrent = directions[0].weight_hh;
  require<ShapeError>(recurrent.rank() == 2 && recurrent.dim(1) > 0 && recurrent.dim(0) == gates * recurrent.dim(1),
                      "{}: weight_hh has shape {}, expected [{} H, H]", op, recurrent.shape(), gates);
  const RecurrentSizes sizes{x.dim(0), x.dim(1), x.dim(2), recurrent.dim(1), static_cast<int64_t>(directions.size())};
  for (int64_t i = 0; i < sizes.directions; ++i) {
    const RecurrentParameters& p = directions[static_cast<size_t>(i)];
    const int64_t rows = gates * sizes.width;
    check_recurrent_shape(op, "weight_ih", i, p.weight_ih, x, {rows, sizes.inputs});
    check_recurrent_shape(op, "weight_hh", i, p.weight_hh, x, {rows, sizes.width});
    require<ValueError>(p.bias_ih.defined() == p.bias_hh.defined(),
                        "{}: direction {} has one bias only, expected both or neither", op, i);
    if (!p.bias_ih.defined()) continue;
    check_recurrent_shape(op, "bias_ih", i, p.bias_ih, x, {rows});
    check_recurrent_shape(op, "bias_hh", i, p.bias_hh, x, {rows});
  }
  check_recurrent_state(op, "h0", h0, x, sizes);
  check_recurrent_state(op, "c0", c0, x, sizes);
  return sizes;
}

void check_recurrent_gates(const char* op, int64_t blocks, const Variable& gates, const Variable& x,
                           const RecurrentSizes& sizes) {
  if (!gates.defined()) return;
  require<ValueError>(sizes.directions == 1, "{}: gates given with {} directions, expected 1", op, sizes.directions);
  const Shape wanted{sizes.batch, sizes.steps, blocks * sizes.width};
  require<ShapeError>(gates.shape() == wanted, "{}: gates have shape {}, expected [B, S, {} H] = {} for x {}", op,
                      gates.shape(), blocks, wanted, x.shape());
  check_same_dtype(op, gates, "gates", x, "x");
}

Tensor check_lengths(const char* op, const Tensor& lengths, const RecurrentSizes& sizes) {
  require<DTypeError>(lengths.dtype() == DType::kInt64, "{}: lengths are {}, expected int64", op, lengths);
  require<ShapeError>(lengths.shape() == Shape{sizes.batch}, "{}: lengths have shape {}, expected [{}]", op,
                      lengths.shape(), sizes.batch);
  Tensor host = lengths.to(Device::cpu()).contiguous();
  const auto* length = std::as_const(host).data<int64_t>();
  for (int64_t b = 0; b < sizes.batch; ++b) {
    require<ValueError>(length[b] >= 0 && length[b] <= sizes.steps,
                        "{}: sample {} has length {}, expected 0 ... {} steps", op, b, length[b], sizes.steps);
  }
  return host;
}

WideRecurrent widened(const Variable& x, const Variable& h0, const Variable& c0,
                      std::span<const RecurrentParameters> directions, const Variable& gates) {
  WideRecurrent wide{widened(x), widened(h0), widened(c0), widened(gates), {}};
  for (const RecurrentParameters& p : directions) {
    wide.directions.push_back({widened(p.weight_ih), widened(p.weight_hh), widened(p.bias_ih), widened(p.bias_hh)});
  }
  return wide;
}

}  // namespace attune
