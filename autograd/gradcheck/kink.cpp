#include "autograd/gradcheck/kink.h"

#include <cmath>
#include <limits>

#include "autograd/tape_hook.h"
#include "framework/fail.h"

namespace attune::gradcheck_internal {
namespace {

/// The outputs of every op, in the order of their computation.
class Recording : public TapeHook {
 public:
  struct Op {
    const char* name;
    Shape shape;
    std::vector<double> values;
  };

  void computed(const char* op, std::span<const Variable* const>, std::span<const Tensor* const> outputs) override {
    for (const Tensor* y : outputs) {
      if (!y->defined()) continue;
      ops.push_back({op, y->shape(), y->to(DType::kFloat64).to_vector<double>()});
    }
  }

  std::vector<Op> ops;
};

std::vector<Recording::Op> record(const std::function<void()>& replay) {
  Recording recording;
  replay();
  return std::move(recording.ops);
}

}  // namespace

Shape index_of(int64_t position, const Shape& shape) {
  Shape index = shape;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    index[axis] = position % shape[axis];
    position /= shape[axis];
  }
  return index;
}

std::string find_kink(const std::function<void()>& replay, const Move& move, double step) {
  const double steps[] = {step / 1024, step / 8192};
  const auto rest = record(replay);
  std::vector<Recording::Op> right[2], left[2];
  for (size_t k = 0; k < 2; ++k) {
    move(steps[k]);
    right[k] = record(replay);
    move(-steps[k]);
    left[k] = record(replay);
    if (right[k].size() != rest.size() || left[k].size() != rest.size()) {
      move(0);
      return "the number of ops that are computed";
    }
  }
  move(0);
  for (size_t op = 0; op < rest.size(); ++op) {
    for (size_t i = 0; i < rest[op].values.size(); ++i) {
      const double y = rest[op].values[i];
      double jump[2], slope = 0, noise = 0;
      for (size_t k = 0; k < 2; ++k) {
        const double above = right[k][op].values[i];
        const double below = left[k][op].values[i];
        jump[k] = std::abs(above - y - (y - below)) / steps[k];
        slope = std::abs(above - below) / steps[k];
        noise = std::numeric_limits<double>::epsilon() * (std::abs(above) + std::abs(below)) / steps[k];
      }
      if (persists(jump[1], jump[0], slope, noise)) {
        return fmt::format("{} at {} of {}", rest[op].name, index_of(static_cast<int64_t>(i), rest[op].shape),
                           rest[op].shape);
      }
    }
  }
  return {};
}

}  // namespace attune::gradcheck_internal
