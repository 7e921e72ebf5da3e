#pragma once

#include <cstdint>

#include "framework/kernels/conv.h"
#include "framework/kernels/cuda/context.h"

namespace attune::cuda {

enum class ConvPass : int64_t { kForward, kInput, kWeight };

/// y = x * weight, dx (in x) from y's gradient, or dweight (in weight), in cuDNN. false: nothing has been computed,
/// since cuDNN is not there or has nothing for it. Of float32 and bfloat16, and of pictures: rows of one pixel's height
/// are texts, for whose every length a plan would cost more than it saves. float32 is computed in float32, sums are in
/// a fixed order.
bool conv_in_cudnn(const Context& context, ConvPass pass, const ConvSpec& spec, const Tensor& x, const Tensor& weight,
                   const Tensor& y);

}  // namespace attune::cuda
