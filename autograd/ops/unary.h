#pragma once

// For the ops' .cpp files: how an op of one operand, element by element, is recorded.
#include <utility>

#include "autograd/ops/checks.h"
#include "autograd/tape.h"

namespace attune {

/// dx = backward(dy), in dy's own memory where nobody else sees it.
template <class F>
void add_in_place(Grads& g, F&& backward) {
  Tensor dy = g.take_dy();
  if (dy.storage().unique()) {
    backward(dy, dy);
    g.add(0, std::move(dy));
  } else {
    Tensor dx = Tensor::empty_like(dy);
    backward(dy, dx);
    g.add(0, std::move(dx));
  }
}

enum class Keeps { kInput, kOutput };

/// y = forward(x, numbers ...); dx = backward(x or y, dy, numbers ...).
template <class Forward, class Backward, class... Numbers>
Variable unary(const char* name, const Variable& x, Keeps keeps, const Forward& forward, const Backward& backward,
               Numbers... numbers) {
  check_operand(name, "x", x);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  forward(x.value(), numbers..., y);
  SavedTensor kept(keeps == Keeps::kOutput ? y : x.value());
  return Tape::current().record(name, std::move(y), {&x}, [kept = std::move(kept), &backward, numbers...](Grads& g) {
    add_in_place(g, [&](const Tensor& dy, Tensor& dx) { backward(kept.get(), dy, numbers..., dx); });
  });
}

}  // namespace attune
