#include "layers/dropout.h"

#include "autograd/ops/ops.h"
#include "framework/fail.h"

namespace attune {

Dropout::Dropout(double p) : p_(p) {
  require<ValueError>(p >= 0 && p < 1, "Dropout: p {} given, expected 0 <= p < 1", p);
}

Variable Dropout::operator()(const Variable& x) const { return result(training() && p_ > 0 ? dropout(x, p_) : x); }

}  // namespace attune
