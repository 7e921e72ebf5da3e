#pragma once

#include "framework/math/scalar.h"
#include "framework/random.h"
#include "framework/tensor.h"

namespace attune {

// Tensors made of nothing but numbers. Beside these: Tensor::empty, zeros, full and from.

Tensor ones(const Shape& shape, DType dtype = DType::kFloat32, Device device = Device::cpu());
Tensor ones_like(const Tensor& other);
Tensor full_like(const Tensor& other, double value);

/// begin, begin + step, ... before end: [n]. int64 where all three are integers, float32 otherwise. Throws ValueError
/// for a step that does not lead from begin to end.
Tensor arange(Scalar begin, Scalar end, Scalar step = 1, Device device = Device::cpu());
Tensor arange(Scalar end, Device device = Device::cpu());
/// `count` numbers from begin to end, both among them, evenly spaced. float32 or float64.
Tensor linspace(double begin, double end, int64_t count, DType dtype = DType::kFloat32, Device device = Device::cpu());

/// 1 where row and column are equal, 0 elsewhere: [rows, columns]; columns < 0: as many as rows.
Tensor eye(int64_t rows, int64_t columns = -1, DType dtype = DType::kFloat32, Device device = Device::cpu());
/// ids int64 [...] -> [..., classes]: 1 at the id, 0 elsewhere. Throws ValueError for an id outside 0 ... classes - 1,
/// naming its position.
Tensor one_hot(const Tensor& ids, int64_t classes, DType dtype = DType::kInt64);

/// Uniform in [0, 1) and standard normal, drawn on the device from where the stream stands: the same numbers on every
/// device, to the last places, whose order is not that of RandomStream::uniform() and normal().
Tensor rand(const Shape& shape, DType dtype = DType::kFloat32, Device device = Device::cpu(),
            RandomStream& stream = default_stream());
Tensor randn(const Shape& shape, DType dtype = DType::kFloat32, Device device = Device::cpu(),
             RandomStream& stream = default_stream());

}  // namespace attune
