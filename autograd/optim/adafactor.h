#pragma once

#include <vector>

#include "autograd/optim/optimizer.h"

namespace attune {

struct AdafactorOptions {
  double learning_rate = 0.01;
  double beta2_decay = -0.8;
  double epsilon1 = 0;     ///< keeps squares of gradients from 0; 0: the rounding unit of the parameter's dtype
  double epsilon2 = 1e-3;  ///< keeps the size of a parameter from 0
  double clip = 1;         ///< d: the root mean square that an update may have
  double weight_decay = 0;
  std::vector<ParameterGroup> groups{};
};

/// Adafactor (Shazeer and Stern, 2018, algorithms 4 and 5), in PyTorch's terms. Squares of gradients are kept as the
/// means of rows and of columns of the last two axes, so that the memory is that of a row and a column:
///
///     b = 1 - t^beta2_decay
///     r = b * r + (1 - b) * row means of gradient^2,  c = b * c + (1 - b) * column means of gradient^2
///     v = r c / mean(r)                       (a parameter of rank below 2: b * v + (1 - b) * gradient^2)
///     u = gradient / sqrt(max(v, epsilon1^2))
///     s = min(learning_rate, 1 / sqrt(t)) * max(epsilon2, RMS(w))
///     w = w (1 - learning_rate * weight_decay) - s * u / max(1, RMS(u) / clip)
///
/// State: "<parameter>.row" and "<parameter>.column", or "<parameter>.v".
class Adafactor final : public Optimizer {
 public:
  explicit Adafactor(const ParameterList& parameters, const AdafactorOptions& options = {});

 private:
  void update(ParameterUpdate& p) override;

  AdafactorOptions options_;
};

}  // namespace attune
