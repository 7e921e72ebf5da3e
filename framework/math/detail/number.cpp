#include "framework/math/detail/number.h"

#include <vector>

namespace attune {

Tensor number_tensor(Scalar number, DType dtype, Device device) {
  // Tensor::full takes a double, which does not hold every integer.
  constexpr int64_t kExact = int64_t{1} << 53;
  if (dtype == DType::kInt64 && number.is_integral() && (number.integer() > kExact || number.integer() < -kExact)) {
    return Tensor::from(std::vector<int64_t>{number.integer()}, {}, device);
  }
  return Tensor::full({}, number.number(), dtype, device);
}

std::pair<Tensor, Tensor> beside_number(const Tensor& x, Scalar number) {
  const bool widens = is_integer(x.dtype()) && !number.is_integral();
  const Tensor operand = widens ? x.to(DType::kFloat32) : x;
  return {operand, number_tensor(number, operand.dtype(), operand.device())};
}

}  // namespace attune
