#pragma once

#include "framework/kernels/cuda/attention.cuh"

namespace attune::cuda {

// Attention of bfloat16 in cuDNN. false: nothing has been computed, since cuDNN is not there or has nothing for it:
// masks but causal ones, biases, dropout (whose draws are ours), groups of query heads, and fewer than kFewest queries
// or keys, as plans for every length of a decoded text would cost more than they save. What is not finite reaches
// masked places here, as it does not in our own kernels. And where those keep two numbers for a row, here is one, the
// log of the sum of exponentials, which is as coarse as scores of its size are: *coarse becomes 1 where that shows.

constexpr int64_t kFewest = 256;
/// Up to so many bytes of scores, sums of dq are in a fixed order, with that much memory besides.
constexpr int64_t kOrderedBytes = int64_t{256} << 20;

/// Whether there may be something for it.
bool fits_cudnn(const Attention<bfloat16>& a);
bool forward_in_cudnn(const Context& context, const Attention<bfloat16>& a, bfloat16* y, float* stats, int* coarse);
/// deterministic: only by kernels that give the same gradients in every run.
bool backward_in_cudnn(const Context& context, const Attention<bfloat16>& a, const Upstream<bfloat16>& up,
                       const StridedGradient<bfloat16>& dq, const StridedGradient<bfloat16>& dk,
                       const StridedGradient<bfloat16>& dv, bool deterministic, int* coarse);

}  // namespace attune::cuda
