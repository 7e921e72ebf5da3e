#include "layers/activation.h"

#include "framework/fail.h"
#include "layers/init.h"

namespace attune {

Elu::Elu(double alpha) : ParametricElementwise(elu, alpha) {
  require<ValueError>(alpha >= 0, "Elu: alpha {} given, expected 0 or more", alpha);
}

Celu::Celu(double alpha) : ParametricElementwise(celu, alpha) {
  require<ValueError>(alpha > 0, "Celu: alpha {} given, expected more than 0", alpha);
}

PRelu::PRelu(int64_t count, double slope) {
  require<ValueError>(count > 0, "PRelu: {} slopes given, expected at least 1", count);
  weight_ = parameter("weight", init::constant({count}, slope));
}

Variable PRelu::operator()(const Variable& x) const {
  const int64_t count = weight_.dim(0);
  require<ShapeError>(count == 1 || (x.rank() > 0 && x.dim(-1) == count), "{}: input is {}, expected [..., {}]",
                      who("PRelu"), x.shape(), count);
  return result(prelu(x, weight_));
}

}  // namespace attune
