#include "layers/linear.h"

#include <utility>

#include "framework/fail.h"

namespace attune {
namespace {

void check(const LinearOptions& options) {
  require<ValueError>(options.dropout >= 0 && options.dropout < 1, "Linear: dropout {} given, expected 0 <= p < 1",
                      options.dropout);
}

}  // namespace

Linear::Linear(int64_t in, int64_t out, LinearOptions options) : options_(std::move(options)) {
  require<ValueError>(in > 0 && out > 0, "Linear: widths {} -> {} given, expected at least 1 each", in, out);
  check(options_);
  weight_ = parameter("weight", init::make(options_.weight_init, {out, in}));
  if (options_.bias) bias_ = parameter("bias", init::make(options_.bias_init, {out}));
}

Linear::Linear(const Variable& weight, LinearOptions options) : options_(std::move(options)) {
  require<ShapeError>(weight.rank() == 2, "Linear: the weight is {}, expected [out, in]", weight.shape());
  check(options_);
  weight_ = share("weight", weight);
  if (options_.bias) bias_ = parameter("bias", init::make(options_.bias_init, {weight.dim(0)}));
}

Variable Linear::operator()(const Variable& x) const {
  if (x.rank() < 1 || x.dim(-1) != weight_.dim(1)) [[unlikely]] {
    fail<ShapeError>("{}: input is {}, expected [..., {}]", who("Linear"), x.shape(), weight_.dim(1));
  }
  return result(linear(x, weight_, bias_, options_.activation, training() ? options_.dropout : 0));
}

}  // namespace attune
