#include "layers/init.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "framework/fail.h"
#include "framework/math/arithmetic.h"
#include "framework/math/reduce.h"
#include "layers/orthogonal.h"

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

Tensor orthogonal(const Shape& shape, double gain, RandomStream& stream) {
  require<ShapeError>(shape.rank() >= 2, "orthogonal: shape {} given, expected two axes at least", shape);
  if (skipping || shape.numel() == 0) return Tensor::empty(shape);
  const int64_t rows = shape[0], columns = shape.numel() / rows;
  const int64_t count = std::min(rows, columns), size = std::max(rows, columns);
  Tensor drawn = stream.normal({count, size}, 0, 1, DType::kFloat64);
  orthogonalise_rows(drawn.data<double>(), count, size);
  drawn = drawn / norm(drawn, {1}, true) * gain;
  return (rows > columns ? drawn.transpose(0, 1) : drawn).to(DType::kFloat32).contiguous().view(shape);
}

Initializer::Initializer(Zeros) : make_([](const Shape& shape, RandomStream&) { return zeros(shape); }) {}
Initializer::Initializer(Ones) : make_([](const Shape& shape, RandomStream&) { return ones(shape); }) {}
Initializer::Initializer(Constant i)
    : make_([i](const Shape& shape, RandomStream&) { return constant(shape, i.value); }) {}
Initializer::Initializer(Uniform i)
    : make_([i](const Shape& shape, RandomStream& stream) { return uniform(shape, i.low, i.high, stream); }) {}
Initializer::Initializer(Normal i)
    : make_([i](const Shape& shape, RandomStream& stream) { return normal(shape, i.mean, i.stddev, stream); }) {}
Initializer::Initializer(TruncatedNormal i)
    : make_([i](const Shape& shape, RandomStream& stream) {
        return truncated_normal(shape, i.mean, i.stddev, i.bound, stream);
      }) {}
Initializer::Initializer(XavierUniform i)
    : make_([i](const Shape& shape, RandomStream& stream) { return xavier_uniform(shape, i.gain, stream); }) {}
Initializer::Initializer(XavierNormal i)
    : make_([i](const Shape& shape, RandomStream& stream) { return xavier_normal(shape, i.gain, stream); }) {}
Initializer::Initializer(KaimingUniform i)
    : make_([i](const Shape& shape, RandomStream& stream) { return kaiming_uniform(shape, i.gain, i.fan, stream); }) {}
Initializer::Initializer(KaimingNormal i)
    : make_([i](const Shape& shape, RandomStream& stream) { return kaiming_normal(shape, i.gain, i.fan, stream); }) {}
Initializer::Initializer(Orthogonal i)
    : make_([i](const Shape& shape, RandomStream& stream) { return orthogonal(shape, i.gain, stream); }) {}
Initializer::Initializer(Function f)
    : make_([f = std::move(f)](const Shape& shape, RandomStream&) {
        require<ValueError>(static_cast<bool>(f), "init: the function for shape {} is empty", shape);
        Tensor values = f(shape);
        require<ShapeError>(values.shape() == shape && values.dtype() == DType::kFloat32,
                            "init: the function gave {}, expected float32 {}", values, shape);
        return values;
      }) {}

Tensor make(const Initializer& initializer, const Shape& shape, RandomStream& stream) {
  return initializer.make_(shape, stream);
}

}  // namespace attune::init
