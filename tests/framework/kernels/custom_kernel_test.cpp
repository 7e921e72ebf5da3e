#include <catch2/catch_test_macros.hpp>

#include <vector>

#include "framework/error.h"
#include "framework/kernels/kernel.h"
#include "framework/math/arithmetic.h"
#include "framework/tensor.h"
#include "tests/support/devices.h"
#include "tests/support/errors.h"

namespace attune {
namespace {

using testing::cuda_or_skip;
using testing::error_text;

void double_it(const Tensor& x, double plus, Tensor& y) { y.copy_(2.0 * x + plus); }

int on_cuda = 0;

/// Stands for a launch, on real and emulated devices: through the host.
void double_it_cuda(const Tensor& x, double plus, Tensor& y) {
  ++on_cuda;
  CHECK(cuda_stream(x.device()) != nullptr);
  CHECK(x.dtype() != DType::kBFloat16);
  y.copy_(2.0 * x.to(Device::cpu()) + plus);
}

constexpr auto kDouble = custom_kernel("double_it", double_it, double_it_cuda);
constexpr auto kDoubleOnCpu = custom_kernel("exp", double_it);  // the backend has one of that name

}  // namespace

TEST_CASE("a custom kernel computes in float32 or float64", "[kernels][custom]") {
  for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kBFloat16}) {
    const Tensor x = Tensor::from(std::vector<float>{1, 2, 3}, {3}, dtype);
    Tensor y = Tensor::empty_like(x);
    kDouble(x, 0.5, y);
    CHECK(y.to(DType::kFloat64).to_vector<double>() == std::vector<double>{2.5, 4.5, 6.5});
  }
}

TEST_CASE("a custom kernel has a function for each device", "[kernels][custom][device][cuda][errors]") {
  const Device cuda = cuda_or_skip();
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    const Tensor x = Tensor::from(std::vector<float>{1, 2, 3}, {3}, dtype, cuda);
    Tensor y = Tensor::empty_like(x);
    const int before = on_cuda;
    kDouble(x, 0.5, y);
    CHECK(on_cuda == before + 1);
    CHECK(y.to(DType::kFloat64).to_vector<double>() == std::vector<double>{2.5, 4.5, 6.5});
    CHECK(error_text<DeviceError>([&] { kDoubleOnCpu(x, 0, y); }) ==
          "exp: operands are on cuda:0, and custom_kernel() was given no function for CUDA; use the cpu device");
    Tensor host = y.to(Device::cpu());
    CHECK(error_text<DeviceError>([&] { kDouble(x, 0, host); }) ==
          "double_it: operands are on cuda:0 and on cpu; move one with Tensor::to");
  }
}

TEST_CASE("the CPU has no CUDA stream", "[device][errors]") {
  CHECK(error_text<DeviceError>([] { cuda_stream(Device::cpu()); }) ==
        "cuda_stream: cpu given, expected a CUDA device");
}

}  // namespace attune
