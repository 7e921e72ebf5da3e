#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <limits>

#include "autograd/ops/ops.h"
#include "tests/support/devices.h"
#include "tests/support/tensors.h"

namespace attune::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Result {
  std::vector<double> y, dx;
};

Result run(const std::vector<double>& x, const std::vector<int64_t>& keep, const std::vector<double>& dy, DType dtype,
           Device device) {
  const Shape shape{1, static_cast<int64_t>(x.size())};
  const Variable in(Tensor::from(x, shape).to(dtype).to(device), true);
  const Variable y = masked_softmax(in, Tensor::from(keep, shape).to(DType::kBool));
  y.backward(Tensor::from(dy, shape).to(dtype).to(device));
  return {values(y.value().to(Device::cpu())), values(in.grad().to(Device::cpu()))};
}

void check_rows(Device device) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kBFloat16}) {
    // Shorter and longer than vectors and warps, and than a block of threads.
    for (const int64_t n : {1, 3, 8, 37, 300, 1500}) {
      INFO(dtype_name(dtype) << ", " << n);
      const auto count = static_cast<size_t>(n);
      const std::vector<double> all_forbidden(count, -kInfinity), dy(count, kNan);
      const std::vector<int64_t> keep(count, 1);
      // -infinity in a row by itself is no key.
      const Result none = run(all_forbidden, keep, dy, dtype, device);
      CHECK(none.y == std::vector<double>(count, 0));
      CHECK(none.dx == std::vector<double>(count, 0));
      // Together with keep: each forbids what the other leaves.
      std::vector<double> x(count, -kInfinity);
      std::vector<int64_t> half = keep;
      for (size_t i = 0; i < count; i += 2) {
        x[i] = i % 4 == 0 ? kNan : 3;
        half[i] = 0;
      }
      CHECK(run(x, half, dy, dtype, device).y == std::vector<double>(count, 0));
      CHECK(run(x, half, dy, dtype, device).dx == std::vector<double>(count, 0));
      if (n < 3) continue;
      // Two keys are left of many: the same as without the others, whatever gradient comes back for those.
      x.assign(count, -kInfinity);
      std::vector<double> upstream(count, kNan);
      x[0] = 0.5;
      x[count - 1] = 1.5;
      upstream[0] = 1;
      upstream[count - 1] = -2;
      const Result two = run(x, keep, upstream, dtype, device);
      const double p = 1 / (1 + std::exp(1.0));
      const double tolerance = dtype == DType::kBFloat16 ? 1e-2 : 1e-6;
      CHECK(std::abs(two.y[0] - p) < tolerance);
      CHECK(std::abs(two.y[count - 1] - (1 - p)) < tolerance);
      CHECK(std::abs(two.dx[0] - 3 * p * (1 - p)) < 2 * tolerance);
      CHECK(std::abs(two.dx[count - 1] + 3 * p * (1 - p)) < 2 * tolerance);
      for (size_t i = 1; i + 1 < count; ++i) {
        if (two.y[i] != 0 || two.dx[i] != 0) FAIL_CHECK(i << ": " << two.y[i] << ", " << two.dx[i]);
      }
      // NaN and +infinity in keys that count keep their meaning; -infinity stays 0 beside them.
      for (const double odd : {kNan, kInfinity}) {
        x[0] = odd;
        const Result spoiled = run(x, keep, upstream, dtype, device);
        CHECK(std::isnan(spoiled.y[0]));
        CHECK(spoiled.y[1] == 0);
      }
    }
  }
}

TEST_CASE("masked softmax: a score of -infinity forbids its key as a mask does", "[ops][softmax]") {
  check_rows(Device::cpu());
}

TEST_CASE("masked softmax: a score of -infinity forbids its key on a CUDA device too", "[ops][softmax][cuda]") {
  check_rows(cuda_or_skip());
}

}  // namespace
}  // namespace attune::testing
