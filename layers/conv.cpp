#include "layers/conv.h"

#include "framework/fail.h"

namespace attune {
namespace {

void check_channels(const char* name, int64_t in, int64_t out, int64_t groups) {
  require<ValueError>(in > 0 && out > 0, "{}: {} -> {} channels given, expected at least 1 each", name, in, out);
  require<ValueError>(groups > 0 && in % groups == 0 && out % groups == 0,
                      "{}: {} groups given for {} -> {} channels; they must divide both", name, groups, in, out);
}

void check_window(const char* name, int64_t size) {
  require<ValueError>(size > 0, "{}: a window of {} given, expected at least 1", name, size);
}

}  // namespace

Conv2d::Conv2d(int64_t in, int64_t out, Extent2d window, Conv2dOptions options, bool bias,
               const init::Initializer& weight_init)
    : options_(options) {
  check_channels("Conv2d", in, out, options.groups);
  check_window("Conv2d", window.height);
  check_window("Conv2d", window.width);
  weight_ = parameter("weight", init::make(weight_init, {out, in / options.groups, window.height, window.width}));
  if (bias) bias_ = parameter("bias", init::zeros({out}));
}

Variable Conv2d::operator()(const Variable& x) const {
  const int64_t in = weight_.dim(1) * options_.groups;
  require<ShapeError>(x.rank() == 4 && x.dim(3) == in, "{}: input is {}, expected [B, H, W, {}]", who("Conv2d"),
                      x.shape(), in);
  return result(conv2d(x, weight_, bias_, options_));
}

Conv1d::Conv1d(int64_t in, int64_t out, int64_t window, Conv1dOptions options, bool bias,
               const init::Initializer& weight_init)
    : options_(options) {
  check_channels("Conv1d", in, out, options.groups);
  check_window("Conv1d", window);
  weight_ = parameter("weight", init::make(weight_init, {out, in / options.groups, window}));
  if (bias) bias_ = parameter("bias", init::zeros({out}));
}

Variable Conv1d::operator()(const Variable& x) const {
  const int64_t in = weight_.dim(1) * options_.groups;
  require<ShapeError>(x.rank() == 3 && x.dim(1) == in, "{}: input is {}, expected [B, {}, S]", who("Conv1d"), x.shape(),
                      in);
  return result(conv1d(x, weight_, bias_, options_));
}

}  // namespace attune
