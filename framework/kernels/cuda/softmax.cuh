#pragma once

#include "framework/kernels/cuda/number.cuh"
#include "framework/kernels/cuda/team.cuh"

namespace attune::cuda {

template <class C>
__device__ __forceinline__ C minus_infinity() {
  return -static_cast<C>(INFINITY);
}

/// The largest of some numbers and the sum of exp(number - largest), found in one pass (Milakov and Gimelshein, "Online
/// normalizer calculation for softmax", 2018). NaN makes the sum NaN.
template <class C>
struct LogSum {
  C largest = minus_infinity<C>();
  C sum = 0;

  __device__ LogSum() {}
  __device__ LogSum(C top, C total) : largest(top), sum(total) {}

  __device__ void add(C x) {
    if (x <= largest) {
      sum += x == largest ? C(1) : exp(x - largest);
    } else {  // larger, or NaN; x - x is 0 for finite numbers only
      sum = (sum == C(0) ? C(0) : sum * exp(largest - x)) + (C(1) + (x - x));
      if (x == x) largest = x;
    }
  }
  __device__ static LogSum merged(const LogSum& a, const LogSum& b) {
    if (a.sum == C(0)) return b;
    if (b.sum == C(0)) return a;
    const C top = a.largest > b.largest ? a.largest : b.largest;
    return {top, a.scaled(top) + b.scaled(top)};
  }
  /// log of the sum of exp(number - largest): NaN where there is nothing but -infinity. What follows subtracts
  /// `largest` and this one after the other: added up, they would be rounded to what a number as large can tell apart.
  __device__ C log_sum() const { return log(sum) + (largest - largest); }

  __device__ LogSum shuffled(int step) const {
    return {__shfl_xor_sync(~0u, largest, step), __shfl_xor_sync(~0u, sum, step)};
  }

 private:
  __device__ C scaled(C top) const { return largest == top ? sum : sum * exp(largest - top); }
};

}  // namespace attune::cuda
