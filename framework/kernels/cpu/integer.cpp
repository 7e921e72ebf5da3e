#include "framework/kernels/integer.h"

#include "framework/kernels/cpu/strided.h"

namespace attune::cpu {
namespace {

using IntegerFormula = int64_t (*)(int64_t, int64_t);

template <IntegerFormula kFormula>
void map_integers(const Tensor& a, const Tensor& b, Tensor& y) {
  const StridedLoop<3> loop(y.shape(), {&a, &b, &y});
  const int64_t* from_a = a.data<int64_t>();
  const int64_t* from_b = b.data<int64_t>();
  auto* out = y.data<int64_t>();
  constexpr int64_t kGrain = 8192;
  loop.parallel_runs(kGrain, [&](const auto& offset, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      out[offset[2] + i * loop.step(2)] =
          kFormula(from_a[offset[0] + i * loop.step(0)], from_b[offset[1] + i * loop.step(1)]);
    }
  });
}

}  // namespace

void integer(const Tensor& a, const Tensor& b, IntegerOp op, Tensor& y) {
  switch (op) {
    case IntegerOp::kAdd:
      return map_integers<integers::add>(a, b, y);
    case IntegerOp::kSub:
      return map_integers<integers::sub>(a, b, y);
    case IntegerOp::kMul:
      return map_integers<integers::mul>(a, b, y);
    case IntegerOp::kFloorDivide:
      return map_integers<integers::floor_divide>(a, b, y);
    case IntegerOp::kRemainder:
      return map_integers<integers::remainder>(a, b, y);
    case IntegerOp::kPow:
      return map_integers<integers::pow>(a, b, y);
  }
}

}  // namespace attune::cpu
