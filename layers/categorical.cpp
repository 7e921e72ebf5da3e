#include "layers/categorical.h"

#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/fail.h"

namespace attune {
namespace {

/// Rows of the last axis on the host.
class Rows {
 public:
  explicit Rows(const Tensor& x)
      : width_(static_cast<size_t>(x.dim(-1))),
        values_(x.to(Device::cpu()).to(DType::kFloat64).contiguous().to_vector<double>()) {}

  size_t size() const { return values_.size() / width_; }
  std::span<const double> operator[](size_t row) const { return std::span(values_).subspan(row * width_, width_); }

 private:
  size_t width_;
  std::vector<double> values_;
};

Variable wide_rows(const char* what, const Variable& x) {
  require<ValueError>(x.defined() && is_floating(x.dtype()), "Categorical: {} are {}, expected a floating dtype", what,
                      x.value());
  require<ShapeError>(x.rank() > 0 && x.dim(-1) > 0, "Categorical: {} have shape {}, expected [..., V], V > 0", what,
                      x.shape());
  return cast(x, accumulation_dtype(x.dtype()));
}

// The outcome on which a number of [0, 1) falls by the inverse of the distribution function.
int64_t draw(std::span<const double> log_p, double uniform) {
  double total = 0;
  for (const double v : log_p) total += std::exp(v);
  double sum = 0;
  int64_t last = 0;
  for (size_t i = 0; i < log_p.size(); ++i) {
    const double p = std::exp(log_p[i]);
    if (p == 0) continue;
    sum += p;
    last = static_cast<int64_t>(i);
    if (sum > uniform * total) break;
  }
  return last;
}

}  // namespace

Categorical Categorical::from_logits(const Variable& logits) {
  const Variable wide = wide_rows("logits", logits);
  const Rows rows(wide.value());
  for (size_t row = 0; row < rows.size(); ++row) {
    double largest = -std::numeric_limits<double>::infinity();
    for (const double v : rows[row]) largest = v > largest || std::isnan(v) ? v : largest;
    require<ValueError>(std::isfinite(largest),
                        "Categorical: {} is the largest logit of distribution {} of {}, expected a finite one", largest,
                        row, rows.size());
  }
  return Categorical(log_softmax(wide));
}

Categorical Categorical::from_probabilities(const Variable& probabilities) {
  const Variable wide = wide_rows("probabilities", probabilities);
  const Rows rows(wide.value());
  for (size_t row = 0; row < rows.size(); ++row) {
    double total = 0;
    for (const double p : rows[row]) {
      require<ValueError>(p >= 0 && std::isfinite(p),
                          "Categorical: distribution {} of {} has a probability of {}, "
                          "expected 0 or more",
                          row, rows.size(), p);
      total += p;
    }
    require<ValueError>(total > 0, "Categorical: probabilities of distribution {} of {} are all 0", row, rows.size());
  }
  return Categorical(log(wide / sum(wide, {-1}, true)));
}

Tensor Categorical::sample(RandomStream& stream) const {
  const Rows rows(log_p_.value());
  std::vector<int64_t> outcomes;
  outcomes.reserve(rows.size());
  for (size_t row = 0; row < rows.size(); ++row) outcomes.push_back(draw(rows[row], stream.uniform()));
  Shape shape = log_p_.shape();
  shape.erase(shape.rank() - 1);
  return Tensor::from(outcomes, shape, log_p_.device());
}

Variable Categorical::log_prob(const Tensor& outcomes) const {
  constexpr const char* kWho = "Categorical::log_prob";
  Shape shape = log_p_.shape();
  shape.erase(shape.rank() - 1);
  require<DTypeError>(outcomes.dtype() == DType::kInt64, "{}: outcomes are {}, expected int64", kWho, outcomes);
  require<ShapeError>(outcomes.shape() == shape, "{}: outcomes have shape {}, expected {} for {}", kWho,
                      outcomes.shape(), shape, log_p_.shape());
  const std::vector<int64_t> host = outcomes.to_vector<int64_t>();
  for (size_t i = 0; i < host.size(); ++i) {
    require<ValueError>(host[i] >= 0 && host[i] < log_p_.dim(-1), "{}: outcome {} at position {} is outside 0 ... {}",
                        kWho, host[i], i, log_p_.dim(-1) - 1);
  }
  const Tensor index = outcomes.unsqueeze(outcomes.rank()).to(log_p_.device());
  return reshape(gather(log_p_, -1, index), shape);
}

Variable Categorical::entropy() const {
  // Below this exp() is exactly 0 in every dtype: -infinity times 0 does not come up, in the gradient either.
  constexpr double kImpossible = -1e4;
  const Variable bounded = clamp(log_p_, kImpossible, std::numeric_limits<double>::infinity());
  return -sum(exp(log_p_) * bounded, {-1});
}

}  // namespace attune
