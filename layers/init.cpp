#include "layers/init.h"

#include <cmath>
#include <utility>

#include "framework/fail.h"

namespace attune::init {
namespace {

thread_local bool skipping = false;

struct Fans {
  double in;
  double out;
};

Fans fans(const Shape& shape, const char* who) {
  require<ShapeError>(shape.rank() >= 1, "{}: shape {} has no fan in and fan out, expected rank 1 at least", who,
                      shape);
  if (shape.rank() == 1) return {static_cast<double>(shape[0]), 1};
  double window = 1;
  for (int axis = 2; axis < shape.rank(); ++axis) window *= static_cast<double>(shape[axis]);
  return {static_cast<double>(shape[1]) * window, static_cast<double>(shape[0]) * window};
}

double one_fan(const Shape& shape, Fan fan, const char* who) {
  const Fans both = fans(shape, who);
  return fan == Fan::kIn ? both.in : both.out;
}

}  // namespace

SkipInit::SkipInit() : before_(std::exchange(skipping, true)) {}
SkipInit::~SkipInit() { skipping = before_; }

Tensor zeros(const Shape& shape) { return Tensor::zeros(shape); }
Tensor ones(const Shape& shape) { return Tensor::full(shape, 1); }
Tensor constant(const Shape& shape, double value) { return Tensor::full(shape, value); }

Tensor uniform(const Shape& shape, double low, double high, RandomStream& stream) {
  return skipping ? Tensor::empty(shape) : stream.uniform(shape, low, high);
}

Tensor normal(const Shape& shape, double mean, double stddev, RandomStream& stream) {
  return skipping ? Tensor::empty(shape) : stream.normal(shape, mean, stddev);
}

Tensor truncated_normal(const Shape& shape, double mean, double stddev, double bound, RandomStream& stream) {
  require<ValueError>(bound > 0, "truncated_normal: bound {} given, expected more than 0", bound);
  Tensor out = Tensor::empty(shape);
  if (skipping) return out;
  float* data = out.data<float>();
  for (int64_t i = 0; i < out.numel(); ++i) {
    double draw = stream.normal();
    while (std::abs(draw) > bound) draw = stream.normal();
    data[i] = static_cast<float>(mean + stddev * draw);
  }
  return out;
}

Tensor xavier_uniform(const Shape& shape, double gain, RandomStream& stream) {
  const Fans fan = fans(shape, "xavier_uniform");
  const double limit = gain * std::sqrt(6 / (fan.in + fan.out));
  return uniform(shape, -limit, limit, stream);
}

Tensor xavier_normal(const Shape& shape, double gain, RandomStream& stream) {
  const Fans fan = fans(shape, "xavier_normal");
  return normal(shape, 0, gain * std::sqrt(2 / (fan.in + fan.out)), stream);
}

Tensor kaiming_uniform(const Shape& shape, double gain, Fan fan, RandomStream& stream) {
  const double limit = gain * std::sqrt(3 / one_fan(shape, fan, "kaiming_uniform"));
  return uniform(shape, -limit, limit, stream);
}

Tensor kaiming_normal(const Shape& shape, double gain, Fan fan, RandomStream& stream) {
  return normal(shape, 0, gain / std::sqrt(one_fan(shape, fan, "kaiming_normal")), stream);
}

namespace {

struct Maker {
  const Shape& shape;
  RandomStream& stream;

  Tensor operator()(Zeros) const { return zeros(shape); }
  Tensor operator()(Ones) const { return ones(shape); }
  Tensor operator()(Constant i) const { return constant(shape, i.value); }
  Tensor operator()(Uniform i) const { return uniform(shape, i.low, i.high, stream); }
  Tensor operator()(Normal i) const { return normal(shape, i.mean, i.stddev, stream); }
  Tensor operator()(TruncatedNormal i) const { return truncated_normal(shape, i.mean, i.stddev, i.bound, stream); }
  Tensor operator()(XavierUniform i) const { return xavier_uniform(shape, i.gain, stream); }
  Tensor operator()(XavierNormal i) const { return xavier_normal(shape, i.gain, stream); }
  Tensor operator()(KaimingUniform i) const { return kaiming_uniform(shape, i.gain, i.fan, stream); }
  Tensor operator()(KaimingNormal i) const { return kaiming_normal(shape, i.gain, i.fan, stream); }
  Tensor operator()(const Function& f) const {
    require<ValueError>(static_cast<bool>(f), "init: the function for shape {} is empty", shape);
    Tensor values = f(shape);
    require<ShapeError>(values.shape() == shape && values.dtype() == DType::kFloat32,
                        "init: the function gave {}, expected float32 {}", values, shape);
    return values;
  }
};

}  // namespace

Tensor make(const Initializer& initializer, const Shape& shape, RandomStream& stream) {
  return std::visit(Maker{shape, stream}, initializer);
}

}  // namespace attune::init
