#include "tests/support/tensors.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace attune::testing {

double max_difference(const Tensor& a, const Tensor& b) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (a.shape() != b.shape()) return kInfinity;
  const std::vector<double> x = values(a);
  const std::vector<double> y = values(b);
  double largest = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (x[i] == y[i]) continue;
    const double difference = std::abs(x[i] - y[i]);
    largest = std::isnan(difference) ? kInfinity : std::max(largest, difference);
  }
  return largest;
}

bool same_values(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) return false;
  const std::vector<double> x = values(a);
  const std::vector<double> y = values(b);
  return std::equal(x.begin(), x.end(), y.begin(),
                    [](double u, double v) { return u == v || (std::isnan(u) && std::isnan(v)); });
}

bool all_zero(const Tensor& tensor) {
  const std::vector<double> x = values(tensor);
  return std::all_of(x.begin(), x.end(), [](double v) { return v == 0; });
}

}  // namespace attune::testing
