#pragma once

#include <cstdint>
#include <functional>

#include "framework/random.h"
#include "framework/tensor.h"

/// Initial values of parameters: float32 tensors drawn from a stream.
///
/// fan_in and fan_out are the numbers of inputs that reach one output and of outputs that one input reaches: a weight
/// [out, in, ...] has fan_in = in * r and fan_out = out * r with r the product of the extents after the second (a
/// convolution's window). Rank 1 counts as [1, n]. Throws ShapeError for rank 0.
namespace attune::init {

Tensor zeros(const Shape& shape);
Tensor ones(const Shape& shape);
Tensor constant(const Shape& shape, double value);

/// Uniform over [low, high).
Tensor uniform(const Shape& shape, double low, double high, RandomStream& stream = default_stream());
Tensor normal(const Shape& shape, double mean, double stddev, RandomStream& stream = default_stream());
/// Normal, drawn again where it lies outside mean +- bound * stddev. Throws ValueError unless bound > 0.
Tensor truncated_normal(const Shape& shape, double mean, double stddev, double bound = 2,
                        RandomStream& stream = default_stream());

/// Uniform over +- gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010, eq. 16).
Tensor xavier_uniform(const Shape& shape, double gain = 1, RandomStream& stream = default_stream());
/// Normal with stddev gain sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio, 2010, eq. 12).
Tensor xavier_normal(const Shape& shape, double gain = 1, RandomStream& stream = default_stream());

/// Rows, or where there are more rows than columns the columns, orthogonal and of length gain: a normal draw made
/// orthogonal (Saxe et al., 2014). A shape of more axes counts as [first, the others]. Throws ShapeError below rank 2.
Tensor orthogonal(const Shape& shape, double gain = 1, RandomStream& stream = default_stream());

/// While it lives, what this thread would draw by the functions of this file stays uninitialised, and no stream moves:
/// for a model whose weights are loaded next.
class SkipInit {
 public:
  SkipInit();
  ~SkipInit();
  SkipInit(const SkipInit&) = delete;
  SkipInit& operator=(const SkipInit&) = delete;

 private:
  bool before_;
};

/// Which side keeps its variance: fan_in the activations', fan_out the gradients'.
enum class Fan : uint8_t { kIn, kOut };

/// Uniform over +- gain sqrt(3 / fan) (He et al., 2015, eq. 10). gain: sqrt(2) for relu.
Tensor kaiming_uniform(const Shape& shape, double gain = 1.4142135623730951, Fan fan = Fan::kIn,
                       RandomStream& stream = default_stream());
/// Normal with stddev gain / sqrt(fan) (He et al., 2015, eq. 10).
Tensor kaiming_normal(const Shape& shape, double gain = 1.4142135623730951, Fan fan = Fan::kIn,
                      RandomStream& stream = default_stream());

// Initial values as an option of a layer: LinearOptions{.weight_init = init::Normal{.stddev = 0.02}}.

struct Zeros {};
struct Ones {};
struct Constant {
  double value = 0;
};
struct Uniform {
  double low = -0.05;
  double high = 0.05;
};
struct Normal {
  double mean = 0;
  double stddev = 1;
};
struct TruncatedNormal {
  double mean = 0;
  double stddev = 1;
  double bound = 2;  ///< in stddevs
};
struct XavierUniform {
  double gain = 1;
};
struct XavierNormal {
  double gain = 1;
};
struct KaimingUniform {
  double gain = 1.4142135623730951;
  Fan fan = Fan::kIn;
};
struct KaimingNormal {
  double gain = 1.4142135623730951;
  Fan fan = Fan::kIn;
};
struct Orthogonal {
  double gain = 1;
};
/// One's own: shape -> float32 values.
using Function = std::function<Tensor(const Shape&)>;

/// Any of these. A class of its own: a variant of twelve takes each file that includes it longer to compile.
class Initializer {
 public:
  Initializer(Zeros rule);            // NOLINT(google-explicit-constructor): an option takes any
  Initializer(Ones rule);             // NOLINT(google-explicit-constructor): an option takes any
  Initializer(Constant rule);         // NOLINT(google-explicit-constructor): an option takes any
  Initializer(Uniform rule);          // NOLINT(google-explicit-constructor): an option takes any
  Initializer(Normal rule);           // NOLINT(google-explicit-constructor): an option takes any
  Initializer(TruncatedNormal rule);  // NOLINT(google-explicit-constructor): an option takes any
  Initializer(XavierUniform rule);    // NOLINT(google-explicit-constructor): an option takes any
  Initializer(XavierNormal rule);     // NOLINT(google-explicit-constructor): an option takes any
  Initializer(KaimingUniform rule);   // NOLINT(google-explicit-constructor): an option takes any
  Initializer(KaimingNormal rule);    // NOLINT(google-explicit-constructor): an option takes any
  Initializer(Orthogonal rule);       // NOLINT(google-explicit-constructor): an option takes any
  Initializer(Function rule);         // NOLINT(google-explicit-constructor): an option takes any

 private:
  friend Tensor make(const Initializer& initializer, const Shape& shape, RandomStream& stream);

  std::function<Tensor(const Shape&, RandomStream&)> make_;
};

/// Values of an initializer. Throws ShapeError where a Function gives another shape, and as the functions above.
Tensor make(const Initializer& initializer, const Shape& shape, RandomStream& stream = default_stream());

}  // namespace attune::init
