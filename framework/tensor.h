#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
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
  /// Copies `values` in row-major order. Throws ShapeError when their number differs from the shape's.
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape, Device device = Device::cpu());
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape, Device device = Device::cpu()) {
    return from(std::span<const T>(values), shape, device);
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
  uint32_t version() const { return storage_ ? storage_->version : 0; }
  /// Marks the storage as changed in place. Kernels that write into an existing tensor call it through their op.
  void bump_version() {
    if (storage_) ++storage_->version;
  }
  const StorageRef& storage() const { return storage_; }
  int64_t offset() const { return offset_; }

  /// First element. Throws DTypeError when T is not the element type.
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
  std::byte* raw() { return storage_ ? storage_->data + offset_ * static_cast<int64_t>(dtype_size(dtype_)) : nullptr; }
  const std::byte* raw() const { return const_cast<Tensor*>(this)->raw(); }

  /// The single element, converted. Throws ShapeError unless numel() == 1. Waits for the device.
  double item() const;
  /// All elements in row-major order. Throws DTypeError when T is not the element type. Waits for the device.
  template <class T>
  std::vector<T> to_vector() const;

  // Views: no copy, shared storage.

  /// The same elements in another shape. Throws ShapeError when the strides do not allow a view.
  Tensor view(const Shape& shape) const;
  Tensor transpose(int axis_a, int axis_b) const;
  /// Axis i of the result is axis axes[i] of this.
  Tensor permute(std::span<const int> axes) const;
  Tensor permute(std::initializer_list<int> axes) const { return permute(std::span(axes.begin(), axes.size())); }
  /// Elements begin, begin + 1, ... end - 1 of an axis.
  Tensor slice(int axis, int64_t begin, int64_t end) const;
  /// Element `index` of an axis, which disappears.
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
  void check_dtype(DType expected) const;

  StorageRef storage_;
  int64_t offset_ = 0;  // in elements
  Shape shape_;
  Strides strides_;
  DType dtype_ = DType::kFloat32;
};

}  // namespace attune
