#include "framework/tensor.h"

#include <algorithm>
#include <cstring>

#include "framework/cuda_plugin.h"
#include "framework/fail.h"
#include "framework/kernels/copy.h"
#include "framework/step_capture.h"

namespace attune {

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  auto bytes = static_cast<int64_t>(dtype_size(dtype));
  for (int64_t dim : shape) {
    require<ShapeError>(!__builtin_mul_overflow(bytes, dim, &bytes),
                        "Tensor::empty: shape {} of {} has more bytes than can be counted", shape, dtype_name(dtype));
  }
  Tensor out;
  out.shape_ = shape;
  out.strides_ = contiguous_strides(shape);
  out.dtype_ = dtype;
  out.storage_ = StorageRef::allocate(static_cast<size_t>(bytes), device);
  return out;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) { return full(shape, 0, dtype, device); }

Tensor Tensor::full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor out = empty(shape, dtype, device);
  kernels::fill(out, value);
  return out;
}

template <class T>
Tensor Tensor::copy_of(std::span<const T> values, const Shape& shape, Device device) {
  require<ShapeError>(static_cast<int64_t>(values.size()) == shape.numel(),
                      "Tensor::from: {} values given for shape {}, which holds {}", values.size(), shape,
                      shape.numel());
  Tensor out = empty(shape, kDTypeOf<T>);
  if (!values.empty()) std::memcpy(out.raw(), values.data(), values.size_bytes());
  return device.is_cpu() ? out : out.to(device);
}

template <class T>
std::vector<T> Tensor::copy_to_vector() const {
  check_defined("to_vector");
  if constexpr (std::is_same_v<T, int64_t>) {
    if (is_integer(dtype_) && dtype_ != DType::kInt64) return to(DType::kInt64).copy_to_vector<T>();
  }
  const Tensor host = to(Device::cpu()).contiguous();
  const T* begin = host.data<T>();
  return std::vector<T>(begin, begin + host.numel());
}

template Tensor Tensor::copy_of(std::span<const float>, const Shape&, Device);
template Tensor Tensor::copy_of(std::span<const double>, const Shape&, Device);
template Tensor Tensor::copy_of(std::span<const bfloat16>, const Shape&, Device);
template Tensor Tensor::copy_of(std::span<const int64_t>, const Shape&, Device);
template Tensor Tensor::copy_of(std::span<const bool>, const Shape&, Device);
template std::vector<float> Tensor::copy_to_vector() const;
template std::vector<double> Tensor::copy_to_vector() const;
template std::vector<bfloat16> Tensor::copy_to_vector() const;
template std::vector<int64_t> Tensor::copy_to_vector() const;
template std::vector<bool> Tensor::copy_to_vector() const;

void Tensor::fail_range(const char* who, size_t index, const char* type) {
  fail<ValueError>("{}: element {} is outside what {} holds", who, index, type);
}

// In another dtype, which must hold every integer.
Tensor Tensor::narrowed(DType dtype) const {
  Tensor out = to(dtype);
  if (dtype_ != DType::kInt64 || !is_integer(dtype)) return out;
  const std::vector<int64_t> wanted = to_vector<int64_t>();
  const std::vector<int64_t> held = out.to_vector<int64_t>();
  const auto [lost, other] = std::mismatch(wanted.begin(), wanted.end(), held.begin());
  if (lost != wanted.end()) fail_range("Tensor::from", static_cast<size_t>(lost - wanted.begin()), dtype_name(dtype));
  return out;
}

double Tensor::item() const {
  check_defined("item");
  require<ShapeError>(numel() == 1, "Tensor::item: shape {} holds {} elements, expected 1", shape_, numel());
  const Tensor value = to(Device::cpu()).to(DType::kFloat64);
  return *value.data<double>();
}

Tensor Tensor::view(const Shape& shape) const {
  check_defined("view");
  require<ShapeError>(shape.numel() == numel(), "Tensor::view: shape {} holds {} elements, {} holds {}", shape_,
                      numel(), shape, shape.numel());
  Tensor out = *this;
  out.shape_ = shape;
  out.strides_ = contiguous_strides(shape);
  if (is_contiguous()) return out;
  // Match runs of old axes that lie contiguously behind each other with runs of new axes of the same extent.
  int old_axis = rank() - 1;
  int new_axis = shape.rank() - 1;
  while (new_axis >= 0) {
    while (old_axis >= 0 && shape_[old_axis] == 1) --old_axis;
    if (old_axis < 0) {
      for (; new_axis >= 0; --new_axis) out.strides_[new_axis] = 1;
      break;
    }
    int64_t block = shape_[old_axis];
    const int64_t step = strides_[old_axis];
    int64_t reach = step * block;
    while (old_axis > 0 && (shape_[old_axis - 1] == 1 || strides_[old_axis - 1] == reach)) {
      --old_axis;
      block *= shape_[old_axis];
      reach *= shape_[old_axis];
    }
    --old_axis;
    int64_t filled = 1;
    while (new_axis >= 0 && (filled < block || shape[new_axis] == 1)) {
      out.strides_[new_axis] = step * filled;
      filled *= shape[new_axis];
      --new_axis;
    }
    require<ShapeError>(filled == block,
                        "Tensor::view: shape {} with strides {} cannot be seen as {}; use reshape, which copies",
                        shape_, strides_, shape);
  }
  return out;
}

Tensor Tensor::transpose(int axis_a, int axis_b) const {
  Tensor out = *this;
  const int a = shape_.axis(axis_a);
  const int b = shape_.axis(axis_b);
  std::swap(out.shape_[a], out.shape_[b]);
  std::swap(out.strides_[a], out.strides_[b]);
  return out;
}

Tensor Tensor::permute(std::span<const int> axes) const {
  check_defined("permute");
  require<ShapeError>(static_cast<int>(axes.size()) == rank(), "Tensor::permute: {} axes given for shape {}",
                      axes.size(), shape_);
  Tensor out = *this;
  unsigned seen = 0;
  for (int i = 0; i < rank(); ++i) {
    const int from = shape_.axis(axes[static_cast<size_t>(i)]);
    out.shape_[i] = shape_[from];
    out.strides_[i] = strides_[from];
    seen |= 1u << from;
  }
  require<ShapeError>(seen == (1u << rank()) - 1, "Tensor::permute: axes [{}] name an axis of {} twice",
                      fmt::join(axes, ", "), shape_);
  return out;
}

Tensor Tensor::slice(int axis, int64_t begin, int64_t end, int64_t step) const {
  axis = shape_.axis(axis);
  const int64_t first = from_end(begin, shape_[axis]);
  const int64_t last = from_end(end, shape_[axis]);
  require<ShapeError>(0 <= first && first <= last && last <= shape_[axis],
                      "Tensor::slice: range {} ... {} is outside axis {} of shape {}", begin, end, axis, shape_);
  require<ShapeError>(step >= 1, "Tensor::slice: step {} given, expected at least 1; flip() turns an axis around",
                      step);
  Tensor out = *this;
  out.offset_ += first * strides_[axis];
  out.shape_[axis] = (last - first) / step + ((last - first) % step != 0 ? 1 : 0);
  if (out.shape_[axis] > 1) out.strides_[axis] *= step;
  return out;
}

Tensor Tensor::select(int axis, int64_t index) const {
  axis = shape_.axis(axis);
  const int64_t at = from_end(index, shape_[axis]);
  require<ShapeError>(0 <= at && at < shape_[axis], "Tensor::select: index {} is outside axis {} of shape {}", index,
                      axis, shape_);
  Tensor out = *this;
  out.offset_ += at * strides_[axis];
  out.shape_.erase(axis);
  out.strides_.erase(axis);
  return out;
}

Tensor Tensor::expand(const Shape& shape) const {
  require<ShapeError>(broadcast_shapes(shape_, shape, "Tensor::expand") == shape,
                      "Tensor::expand: shape {} cannot be expanded to {}", shape_, shape);
  check_defined("expand");
  (void)shape.numel();  // refuses what cannot be counted
  Tensor out = *this;
  out.shape_ = shape;
  out.strides_ = shape;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const int own = axis - (shape.rank() - rank());
    out.strides_[axis] = own < 0 || shape_[own] == 1 ? 0 : strides_[own];
  }
  return out;
}

Tensor Tensor::unsqueeze(int axis) const {
  check_defined("unsqueeze");
  Tensor out = *this;
  const int at = axis < 0 ? axis + rank() + 1 : axis;
  require<ShapeError>(at >= 0 && at <= rank(), "Tensor::unsqueeze: axis {} is outside shape {}", axis, shape_);
  out.shape_.insert(at, 1);
  out.strides_.insert(at, at < rank() ? strides_[at] * shape_[at] : 1);
  return out;
}

Tensor Tensor::squeeze(int axis) const {
  axis = shape_.axis(axis);
  require<ShapeError>(shape_[axis] == 1, "Tensor::squeeze: axis {} of shape {} is not 1", axis, shape_);
  return select(axis, 0);
}

Tensor Tensor::as_strided(const Shape& shape, const Strides& strides, int64_t offset) const {
  check_defined("as_strided");
  Tensor out = *this;
  out.shape_ = shape;
  out.strides_ = strides;
  out.offset_ += offset;
  return out;
}

Tensor Tensor::reshape(const Shape& shape) const {
  if (is_contiguous() || shape == shape_) return view(shape);
  return contiguous().view(shape);
}

Tensor Tensor::contiguous() const { return is_contiguous() ? *this : clone(); }  // of undefined: undefined

Tensor Tensor::clone() const {
  check_defined("clone");
  Tensor out = empty(shape_, dtype_, device());
  kernels::copy(*this, out);
  return out;
}

Tensor Tensor::to(DType dtype) const {
  check_defined("to");
  if (dtype == dtype_) return *this;
  Tensor out = empty(shape_, dtype, device());
  kernels::copy(*this, out);
  return out;
}

Tensor Tensor::to(Device target) const {
  check_defined("to");
  if (target == device()) return *this;
  const Tensor from = contiguous();
  const size_t bytes = static_cast<size_t>(numel()) * dtype_size(dtype_);
  if (!device().is_cpu() && !target.is_cpu()) return to(Device::cpu()).to(target);
  if (const StepCapture* capture = StepCapture::current(); capture != nullptr && device().is_cpu()) {
    if (Tensor copy = capture->copy_of(*this); copy.defined()) return copy;
  }
  Tensor out = empty(shape_, dtype_, target);
  if (bytes == 0) return out;
  if (target.is_cpu()) {
    cuda_plugin().to_host(out.raw(), from.raw(), bytes, device().index);
  } else {
    cuda_plugin().to_device(out.raw(), from.raw(), bytes, target.index);
  }
  return out;
}

void Tensor::fill_(double value) {
  check_defined("fill_");
  kernels::fill(*this, value);
  bump_version();
}

void Tensor::copy_(const Tensor& source) {
  check_defined("copy_");
  require<ValueError>(source.defined(), "Tensor::copy_: the source is an undefined tensor; there is nothing to copy");
  const Tensor near = source.to(device());
  kernels::copy(near.shape() == shape_ ? near : near.expand(shape_), *this);
  bump_version();
}

std::string Tensor::to_string() const {
  if (!defined()) return "undefined tensor";
  return fmt::format("{} {} on {}", dtype_name(dtype_), shape_, device());
}

void Tensor::check_defined(const char* who) const {
  require<ValueError>(
      defined(),
      "Tensor::{}: the tensor is undefined; it was made by Tensor(), or it is the gradient of a leaf that "
      "has none (defined() tells)",
      who);
}

void Tensor::check_dtype(DType expected) const {
  require<DTypeError>(dtype_ == expected, "Tensor::data: element type {} asked for, the tensor holds {}",
                      dtype_name(expected), dtype_name(dtype_));
}

}  // namespace attune
