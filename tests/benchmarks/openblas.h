#pragma once

#include <string>

#include "framework/tensor.h"

namespace attune::bench {

/// OpenBLAS as a peer, opened at run time: the library does not need it. Uses as many threads as Attune.
class OpenBlas {
 public:
  OpenBlas();
  ~OpenBlas();
  OpenBlas(const OpenBlas&) = delete;
  OpenBlas& operator=(const OpenBlas&) = delete;

  /// "OpenBLAS 0.3.21 ..., kernels for SkylakeX, 2 threads", or why there is none.
  std::string description() const;
  /// GFLOP/s of C = op(a) op(b) for contiguous float32 matrices; 0 without OpenBLAS.
  double rate(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b, Tensor& c, double operations) const;

 private:
  void* library_ = nullptr;
};

}  // namespace attune::bench
