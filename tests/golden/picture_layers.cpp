#include "autograd/ops/ops.h"
#include "framework/error.h"
#include "layers/conv.h"
#include "tests/golden/layers.h"

namespace attune::golden {
namespace {

/// A number, or one for the height and one for the width.
Extent2d extent(Options& options, const std::string& name, int64_t otherwise) {
  try {
    return options.get<int64_t>(name, otherwise);
  } catch (const FormatError&) {
    const auto both = options.get(name, std::vector<int64_t>{});
    if (both.size() != 2) throw;
    return {both[0], both[1]};
  }
}

/// PyTorch has the channels behind the batch, Attune last.
Variable channels_last(const Variable& x) {
  if (x.rank() != 4) throw Skip("pictures without a batch are not in Attune");
  return permute(x, {0, 2, 3, 1});
}

void run_conv2d(Session& session, Options& options, AttentionPath) {
  Conv2dOptions conv;
  conv.stride = extent(options, "stride", 1);
  conv.padding = extent(options, "padding", 0);
  conv.dilation = extent(options, "dilation", 1);
  conv.groups = options.get<int64_t>("groups", 1);
  options.only("padding_mode", "zeros");
  Conv2d layer(options.required("in_channels"), options.required("out_channels"), extent(options, "kernel_size", 0),
               conv, options.get("bias", true));
  session.load(layer, {{"weight", "weight"}, {"bias", "bias"}});
  session.output("output", permute(layer(channels_last(session.input("input"))), {0, 3, 1, 2}));
}

}  // namespace

const std::vector<Layer> kPictureLayers = {
    {"Conv2d", &run_conv2d, false},
};

}  // namespace attune::golden
