#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "framework/device.h"
#include "framework/dtype.h"
#include "framework/shape.h"
#include "framework/storage.h"

namespace attune {

/// Counted storage seen through a shape, strides and an element type. Copying a Tensor copies the handle, not the data;
/// views share storage. Knows nothing about gradients (see autograd/variable.h).
class Tensor {
 public:
  /// Undefined: no storage, rank 0.
  Tensor() = default;

  /// Uninitialised, contiguous.
  static Tensor empty(const Shape& shape, DType dtype = DType::kFloat32, Device device = Device::cpu());
  static Tensor zeros(const Shape& shape, DType dtype = DType::kFloat32, Device device = Device::cpu());
  static Tensor full(const Shape& shape, double value, DType dtype = DType::kFloat32, Device device = Device::cpu());
  /// Copies `values` in row-major order. Integers of other widths than 64 bits become int64. Throws ShapeError when
  /// their number differs from the shape's, ValueError for an integer that the dtype does not hold.
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape, Device device = Device::cpu());
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape, Device device = Device::cpu());
  /// The same, converted to `dtype`.
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape, DType dtype, Device device = Device::cpu()) {
    return from(values, shape).narrowed(dtype).to(device);
  }
  /// Uninitialised, contiguous, with the shape, dtype and device of `other`.
  static Tensor empty_like(const Tensor& other) { return empty(other.shape_, other.dtype_, other.device()); }
  static Tensor zeros_like(const Tensor& other) { return zeros(other.shape_, other.dtype_, other.device()); }

  bool defined() const { return static_cast<bool>(storage_); }
  const Shape& shape() const { return shape_; }
  const Strides& strides() const { return strides_; }
  int rank() const { return shape_.rank(); }
  int64_t dim(int axis) const { return shape_.dim(axis); }
  int64_t stride(int axis) const { return strides_[shape_.axis(axis)]; }
  int64_t numel() const { return shape_.numel(); }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_ ? storage_->device : Device::cpu(); }
  bool is_contiguous() const {
    int64_t step = 1;
    for (int axis = rank() - 1; axis >= 0; --axis) {
      if (shape_[axis] != 1 && strides_[axis] != step) return numel() == 0;
      step *= shape_[axis];
    }
    return true;
  }
  /// Raised by every in-place change to the storage, through any view of it.
  uint32_t version() const { return storage_ ? storage_->version.load(std::memory_order_relaxed) : 0; }
  /// Marks the storage as changed in place.
  void bump_version() {
    if (storage_) storage_->bump_version();
  }
  const StorageRef& storage() const { return storage_; }
  int64_t offset() const { return offset_; }

  /// Pointer to the first element; nullptr for an undefined tensor. Throws DTypeError when T is not the element type.
  ///
  /// The pointer of a tensor that is not const is there to be written through: taking it raises version(). Write
  /// at once, and take the pointer anew after the tensor has been used in an op; read through a const tensor.
  template <class T>
  T* data() {
    check_dtype(kDTypeOf<T>);
    return reinterpret_cast<T*>(raw());
  }
  template <class T>
  const T* data() const {
    check_dtype(kDTypeOf<T>);
    return reinterpret_cast<const T*>(raw());
  }
  std::byte* raw() {
    bump_version();
    return const_cast<std::byte*>(std::as_const(*this).raw());
  }
  const std::byte* raw() const {
    return storage_ ? storage_->data + offset_ * static_cast<int64_t>(dtype_size(dtype_)) : nullptr;
  }

  /// The single element, converted. Throws ShapeError unless numel() == 1. Waits for the device.
  double item() const;
  /// All elements in row-major order. T: the element type, or an integer type for a tensor of integers. Throws
  /// DTypeError when T is another type, ValueError for an element that T does not hold. Waits for the device.
  template <class T>
  std::vector<T> to_vector() const;

  // Views: no copy, shared storage.

  /// The same elements in another shape. Throws ShapeError when the strides do not allow a view.
  Tensor view(const Shape& shape) const;
  Tensor transpose(int axis_a, int axis_b) const;
  /// Axis i of the result is axis axes[i] of this.
  Tensor permute(std::span<const int> axes) const;
  Tensor permute(std::initializer_list<int> axes) const { return permute(std::span(axes.begin(), axes.size())); }
  /// Elements begin, begin + step, ... before end of an axis. Negative begin and end count from the end of the axis.
  /// Throws ShapeError outside the axis and for a step below 1.
  Tensor slice(int axis, int64_t begin, int64_t end, int64_t step = 1) const;
  /// Element `index` of an axis, which disappears. A negative index counts from the end.
  Tensor select(int axis, int64_t index) const;
  /// Repeats extents of 1 without copying (stride 0).
  Tensor expand(const Shape& shape) const;
  Tensor unsqueeze(int axis) const;
  Tensor squeeze(int axis) const;
  /// A view with explicit shape and strides over the same storage, `offset` elements further. No bounds are checked.
  Tensor as_strided(const Shape& shape, const Strides& strides, int64_t offset = 0) const;

  // Copies.

  /// A view where possible, a contiguous copy otherwise.
  Tensor reshape(const Shape& shape) const;
  /// This tensor when it is contiguous already, a contiguous copy otherwise.
  Tensor contiguous() const;
  Tensor clone() const;
  Tensor to(DType dtype) const;
  /// On another device; contiguous where it is a copy. Waits for the device that it leaves.
  Tensor to(Device device) const;

  // In place; each raises version().

  void fill_(double value);
  void zero_() { fill_(0); }
  /// Copies elements (broadcasting and converting) from `source`, which may be on another device.
  void copy_(const Tensor& source);

  /// "float32 [2, 3] on cpu"
  std::string to_string() const;

 private:
  template <class T>
  static Tensor copy_of(std::span<const T> values, const Shape& shape, Device device);
  template <class T>
  std::vector<T> copy_to_vector() const;
  Tensor narrowed(DType dtype) const;
  [[noreturn]] static void fail_range(const char* who, size_t index, const char* type);
  void check_dtype(DType expected) const;
  void check_defined(const char* who) const;

  StorageRef storage_;
  int64_t offset_ = 0;  // in elements
  Shape shape_;
  Strides strides_;
  DType dtype_ = DType::kFloat32;
};

namespace detail {

/// A C++ type that is an element type of tensors.
template <class T>
inline constexpr bool kIsElement = std::is_same_v<T, float> || std::is_same_v<T, double> ||
                                   std::is_same_v<T, bfloat16> || std::is_same_v<T, int64_t> || std::is_same_v<T, bool>;

/// An integer type that is converted to and from int64.
template <class T>
inline constexpr bool kIsOtherInteger =
    std::is_integral_v<T> && !kIsElement<T> && !std::is_same_v<T, char> && !std::is_same_v<T, wchar_t> &&
    !std::is_same_v<T, char8_t> && !std::is_same_v<T, char16_t> && !std::is_same_v<T, char32_t>;

template <class T>
constexpr void require_element() {
  static_assert(kIsElement<T> || kIsOtherInteger<T>,
                "a Tensor holds float, double, bfloat16, int64_t or bool; other integers are converted to int64_t");
}

}  // namespace detail

template <class T>
Tensor Tensor::from(std::span<const T> values, const Shape& shape, Device device) {
  detail::require_element<T>();
  if constexpr (detail::kIsElement<T>) {
    return copy_of(values, shape, device);
  } else if constexpr (detail::kIsOtherInteger<T>) {
    std::vector<int64_t> wide(values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      if (!std::in_range<int64_t>(values[i])) fail_range("Tensor::from", i, "int64");
      wide[i] = static_cast<int64_t>(values[i]);
    }
    return copy_of(std::span<const int64_t>(wide), shape, device);
  }
}

template <class T>
Tensor Tensor::from(const std::vector<T>& values, const Shape& shape, Device device) {
  if constexpr (std::is_same_v<T, bool>) {  // holds bits, not an array of bool
    const auto copy = std::make_unique<bool[]>(values.size());
    for (size_t i = 0; i < values.size(); ++i) copy[i] = values[i];
    return copy_of(std::span<const bool>(copy.get(), values.size()), shape, device);
  } else {
    return from(std::span<const T>(values), shape, device);
  }
}

template <class T>
std::vector<T> Tensor::to_vector() const {
  detail::require_element<T>();
  if constexpr (detail::kIsElement<T>) {
    return copy_to_vector<T>();
  } else if constexpr (detail::kIsOtherInteger<T>) {
    std::vector<T> narrow;
    for (const int64_t value : copy_to_vector<int64_t>()) {
      if (!std::in_range<T>(value)) fail_range("Tensor::to_vector", narrow.size(), "the type asked for");
      narrow.push_back(static_cast<T>(value));
    }
    return narrow;
  }
}

}  // namespace attune
