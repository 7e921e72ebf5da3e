#pragma once

// For .cpp files only: what picture encoders have in common.

#include "framework/fail.h"
#include "layers/module.h"

namespace attune::examples::captioning {

inline void check_pictures(const Module& module, const char* layer, const Tensor& pictures, int64_t size) {
  require<ShapeError>(
      pictures.rank() == 4 && pictures.dim(1) == size && pictures.dim(2) == size && pictures.dim(3) == 3,
      "{}: pictures are {}, expected [B, {}, {}, 3]", module.who(layer), pictures.shape(), size, size);
}

}  // namespace attune::examples::captioning
