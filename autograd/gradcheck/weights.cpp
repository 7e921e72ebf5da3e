#include "autograd/gradcheck/weights.h"

#include "autograd/tape.h"
#include "framework/fail.h"

namespace attune::gradcheck_internal {

void OutputWeights::prepare(const Outputs& outputs) {
  if (weights_.empty()) {
    for (const Variable& y : outputs) {
      require<DTypeError>(y.dtype() == expected_, "gradcheck: an output is {}, expected {}", y.value(),
                          dtype_name(expected_));
      Tensor weights = random_.uniform(y.shape(), 0.5, 1.5, DType::kFloat64);
      for (double* w = weights.data<double>(); w != weights.data<double>() + weights.numel(); ++w) {
        if (random_.below(2) == 1) *w = -*w;
      }
      weights_.push_back(weights.to(DType::kBFloat16).to(DType::kFloat64));  // a number that every dtype holds
    }
  }
  require<ShapeError>(outputs.size() == weights_.size(), "gradcheck: the function gave {} outputs, then {}",
                      weights_.size(), outputs.size());
  for (size_t k = 0; k < outputs.size(); ++k) {
    require<ShapeError>(outputs[k].shape() == weights_[k].shape(),
                        "gradcheck: output {} had shape {}, then {} for inputs of the same shapes", k,
                        weights_[k].shape(), outputs[k].shape());
  }
}

void OutputWeights::apply(const Outputs& outputs, std::vector<double>& weighted) {
  prepare(outputs);
  weighted.clear();
  for (size_t k = 0; k < outputs.size(); ++k) {
    const Tensor y = outputs[k].value().to(Device::cpu()).to(DType::kFloat64).contiguous();
    const double* values = y.data<double>();
    const double* weights = weights_[k].data<double>();
    for (int64_t i = 0; i < y.numel(); ++i) weighted.push_back(weights[i] * values[i]);
  }
}

Variable OutputWeights::record(const Outputs& outputs, std::span<const Tensor> counted) const {
  std::vector<const Variable*> inputs;
  std::vector<Tensor> seeds;
  for (size_t k = 0; k < outputs.size(); ++k) {
    inputs.push_back(&outputs[k]);
    Tensor seed = weights_[k].clone();
    if (k < counted.size() && counted[k].defined()) {
      require<ShapeError>(counted[k].shape() == seed.shape(), "gradcheck: what counts of output {} is {}, expected {}",
                          k, counted[k].shape(), seed.shape());
      const Tensor counts = counted[k].contiguous();
      for (int64_t i = 0; i < counts.numel(); ++i) {
        if (!counts.data<bool>()[i]) seed.data<double>()[i] = 0;
      }
    }
    seeds.push_back(seed.to(outputs[k].dtype()).to(outputs[k].device()));
  }
  std::vector<Tensor> ys{Tensor::zeros({}, DType::kFloat64)};  // nobody reads its value
  return Tape::current().record_many("gradcheck", std::move(ys), inputs, [seeds = std::move(seeds)](Grads& grads) {
    for (size_t k = 0; k < seeds.size(); ++k) grads.add(static_cast<int>(k), seeds[k].clone());
  })[0];
}

}  // namespace attune::gradcheck_internal
