#pragma once

// The front door: every public header of Attune. Nothing in the library includes it.

#include "autograd/ops/ops.h"
#include "autograd/saved_tensor.h"
#include "autograd/tape.h"
#include "autograd/variable.h"
#include "framework/device.h"
#include "framework/dtype.h"
#include "framework/error.h"
#include "framework/random.h"
#include "framework/shape.h"
#include "framework/storage.h"
#include "framework/tensor.h"
#include "layers/module.h"
