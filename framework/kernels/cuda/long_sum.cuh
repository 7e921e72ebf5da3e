#pragma once

namespace attune::cuda {

/// A sum of any number of terms: partial sums of C take at most kTerms of them and are added up in double precision,
/// as those of the CPU's column_sums.h. In C alone a sum of a million float32 terms is off by up to a per cent.
template <class C>
class LongSum {
 public:
  __device__ void add(C x) {
    part_ += x;
    if (++terms_ < kTerms) return;
    total_ += static_cast<double>(part_);
    part_ = 0;
    terms_ = 0;
  }
  __device__ double value() const { return total_ + static_cast<double>(part_); }

 private:
  static constexpr int kTerms = 128;

  C part_ = 0;
  int terms_ = 0;
  double total_ = 0;
};

}  // namespace attune::cuda
