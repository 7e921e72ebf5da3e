#pragma once

#include "framework/kernels/cuda/context.h"

namespace attune::cuda {

/// x of any strides, broadcast to `shape`, into contiguous memory of the same element type.
void pack(const Context& context, const Tensor& x, const Shape& shape, std::byte* y);
/// The reverse, for the shape of y.
void unpack(const Context& context, const std::byte* x, Tensor& y);

/// An operand as contiguous memory: itself where it is that already, a copy otherwise.
class Packed {
 public:
  Packed(const Context& context, const Tensor& x) : Packed(context, x, x.shape()) {}
  Packed(const Context& context, const Tensor& x, const Shape& shape) : data_(x.raw()) {
    if (!x.defined() || (x.shape() == shape && x.is_contiguous())) return;
    copy_ = Scratch(context, static_cast<size_t>(shape.numel()) * dtype_size(x.dtype()));
    data_ = copy_.data<std::byte>();
    pack(context, x, shape, copy_.data<std::byte>());
  }

  template <class T>
  const T* data() const {
    return reinterpret_cast<const T*>(data_);
  }

 private:
  Scratch copy_;
  const std::byte* data_;
};

/// A result as contiguous memory, copied to where it belongs at the end of the scope unless it is there already.
class Unpacked {
 public:
  Unpacked(const Context& context, Tensor& y) : context_(context), y_(y), data_(y.raw()) {
    if (y.is_contiguous()) return;
    apart_ = true;
    copy_ = Scratch(context, static_cast<size_t>(y.numel()) * dtype_size(y.dtype()));
    data_ = copy_.data<std::byte>();
  }
  void finish() {
    if (apart_) unpack(context_, data_, y_);
  }

  template <class T>
  T* data() {
    return reinterpret_cast<T*>(data_);
  }

 private:
  const Context& context_;
  Tensor& y_;
  Scratch copy_;
  std::byte* data_;
  bool apart_ = false;
};

}  // namespace attune::cuda
