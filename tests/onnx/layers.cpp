// Norms, convolutions and dropout. Pictures have their channels last here, second there.

#include <algorithm>
#include <cmath>

#include "tests/onnx/case.h"

namespace attune::onnx {
namespace {

/// A layer's parameters and buffers by name, the others as they are.
void load(Module& module, const StateDict& values) {
  StateDict state = clone(module.state_dict());
  for (auto& [name, tensor] : state) {
    for (const auto& [given, value] : values) {
      if (given == name) tensor = value;
    }
  }
  module.load_state_dict(state);
}

Ways batch_normalization(const Case& c) {
  const double eps = c.number("epsilon", 1e-5);
  const Variable x = channels_last(c.var(0));
  BatchNorm2d layer(x.dim(-1), {.eps = eps, .momentum = 1 - c.number("momentum", 0.9)});
  load(layer, {{"weight", c.in(1)}, {"bias", c.in(2)}, {"running_mean", c.in(3)}, {"running_var", c.in(4)}});
  layer.train(c.integer("training_mode", 0) != 0);
  const Tensor y = channels_second(layer(x)).value();
  if (layer.training()) {
    const BatchNormResult direct = batch_norm(x, c.var(1), c.var(2), eps);
    return {{y, layer.running_mean().value(), layer.running_var().value()},
            {channels_second(direct.output).value(), {}, {}}};
  }
  return {{y}, {channels_second(batch_norm_by(x, c.in(3), c.in(4), c.var(1), c.var(2), eps)).value()}};
}

Ways group_normalization(const Case& c) {
  const Variable x = channels_last(c.var(0));
  GroupNorm layer(c.integer("num_groups", x.dim(-1)), x.dim(-1), c.number("epsilon", 1e-5));
  load(layer, {{"weight", c.in(1)}, {"bias", c.in(2)}});
  return {{channels_second(layer(x)).value()}};
}

/// Everything from `axis` on is one axis.
Variable normalized_axes(const Case& c, Shape& outer) {
  const Variable x = c.var(0);
  const int axis = x.shape().axis(static_cast<int>(c.integer("axis", -1)));
  for (int i = 0; i < x.rank(); ++i) outer.push_back(i < axis ? x.dim(i) : 1);
  return reshape(x, {outer.numel(), x.numel() / outer.numel()});
}

Ways layer_normalization(const Case& c) {
  const double eps = c.number("epsilon", 1e-5);
  Shape outer;
  const Variable x = normalized_axes(c, outer);
  const Variable shift = c.in(2).defined() ? flatten(c.var(2)) : Variable();
  const Variable y = layer_norm(x, flatten(c.var(1)), shift, eps);
  return {{y.value().reshape(c.in(0).shape()), mean(x.value(), -1).reshape(outer),
           rsqrt(var(x.value(), -1, false, 0) + eps).reshape(outer)}};
}

Ways rms_normalization(const Case& c) {
  Shape outer;
  const Variable x = normalized_axes(c, outer);
  return {{rms_norm(x, flatten(c.var(1)), c.number("epsilon", 1e-5)).value().reshape(c.in(0).shape())}};
}

Ways mean_variance_normalization(const Case& c) {
  const Variable x = channels_last(c.var(0));
  const Variable gain(ones({x.dim(-1)})), shift(Tensor::zeros({x.dim(-1)}));
  return {{channels_second(batch_norm(x, gain, shift, 1e-9).output).value()}};
}

Extent2d extent(const std::vector<int64_t>& both) { return {both[0], both[1]}; }

/// Zeros in front of and behind height and width, in ONNX's order: top, left, bottom, right.
std::vector<int64_t> pads_of(const Case& c, const Variable& x, const std::vector<int64_t>& window,
                             const std::vector<int64_t>& stride) {
  const std::string mode = c.text("auto_pad", "NOTSET");
  std::vector<int64_t> pads = c.integers_of("pads", {0, 0, 0, 0});
  if (mode == "SAME_UPPER" || mode == "SAME_LOWER") {
    for (size_t i = 0; i < 2; ++i) {
      const int64_t in = x.dim(static_cast<int>(i) + 2);
      const int64_t all = std::max<int64_t>(((in + stride[i] - 1) / stride[i] - 1) * stride[i] + window[i] - in, 0);
      pads[i] = mode == "SAME_UPPER" ? all / 2 : all - all / 2;
      pads[i + 2] = all - pads[i];
    }
  }
  return pads;
}

Ways convolution(const Case& c) {
  const Variable x = c.var(0);
  const auto stride = c.integers_of("strides", {1, 1});
  const auto pads = pads_of(c, x, {c.in(1).dim(2), c.in(1).dim(3)}, stride);
  if (pads[0] != pads[2] || pads[1] != pads[3]) throw NotExpressible{"different padding before and behind"};
  const Conv2dOptions options{.stride = extent(stride),
                              .padding = {pads[0], pads[1]},
                              .dilation = extent(c.integers_of("dilations", {1, 1})),
                              .groups = c.integer("group", 1)};
  return {{channels_second(conv2d(channels_last(x), c.var(1), c.var(2), options)).value()}};
}

/// A transposed convolution is the gradient of a convolution with respect to its picture.
Ways transposed_convolution(const Case& c) {
  Tensor x = c.in(0), weight = c.in(1);
  if (x.rank() > 4) throw NotExpressible{"convolution in three dimensions"};
  const bool line = x.rank() == 3;
  if (line) {
    x = x.unsqueeze(2);
    weight = weight.unsqueeze(2);
  }
  const auto stride = c.integers_of("strides", {1, 1});
  const auto dilation = c.integers_of("dilations", {1, 1});
  auto extra = c.integers_of("output_padding", {0, 0});
  auto pads = c.integers_of("pads", {0, 0, 0, 0});
  Shape picture{x.dim(0), 0, 0, c.integer("group", 1) * weight.dim(1)};
  for (size_t i = 0; i < 2; ++i) {
    const int axis = static_cast<int>(i) + 2;
    const int64_t full = (x.dim(axis) - 1) * stride[i] + (weight.dim(axis) - 1) * dilation[i] + 1;
    const bool same = c.text("auto_pad", "NOTSET") != "NOTSET";
    if (same || c.has("output_shape")) {
      const int64_t out = same ? x.dim(axis) * stride[i] : c.integers_of("output_shape", {})[i];
      const int64_t cut = full - out;
      extra[i] = std::max<int64_t>(-cut, 0);
      pads[i] = std::max<int64_t>(cut, 0) / 2;
      pads[i + 2] = std::max<int64_t>(cut, 0) - pads[i];
    }
    picture[axis - 1] = full + extra[i];
  }
  const Variable zeros(Tensor::zeros(picture), true);
  const Conv2dOptions options{.stride = extent(stride), .dilation = extent(dilation), .groups = c.integer("group", 1)};
  const Variable y = conv2d(zeros, Variable(weight), {}, options);
  Tensor out = grad(y, {zeros}, {.seed = x.permute({0, 2, 3, 1}).contiguous()}).at(0).permute({0, 3, 1, 2});
  out = out.slice(2, pads[0], out.dim(2) - pads[2]).slice(3, pads[1], out.dim(3) - pads[3]);
  return {{line ? out.squeeze(2) : out}};
}

Ways causal_convolution(const Case& c) {
  const Tensor x = c.in(0), weight = c.in(1);
  const int64_t kept = weight.dim(2) - 1;
  const Tensor past = c.in(3).defined() ? c.in(3) : Tensor::zeros({x.dim(0), x.dim(1), kept}, x.dtype());
  const Tensor all = concat({past, x}, 2);
  Variable y = conv1d(Variable(all), Variable(weight), c.var(2), {.groups = x.dim(1)});
  if (c.text("activation", "none") != "none") y = silu(y);
  return {{y.value(), all.slice(2, all.dim(2) - kept, all.dim(2))}};
}

/// Drawn numbers are not ONNX's: what is left must be x / (1 - ratio), about as much of it as the ratio says.
Ways dropped(const Case& c) {
  const bool training = c.in(2).defined() && c.in(2).item() != 0;
  const double ratio = training ? c.in(1).item() : 0;
  RandomStream stream(7), again(7);
  const Tensor y = dropout(c.var(0), ratio, stream).value();
  const Tensor mask = dropout(Variable(ones_like(c.in(0))), ratio, again).value() != 0;
  if (ratio == 0) return {{y, mask}};
  const bool scaled = allclose(y, where(mask, c.in(0) * (1 / (1 - ratio)), 0));
  const double share = sum(mask).item() / static_cast<double>(mask.numel());
  if (!scaled || std::abs(share - (1 - ratio)) > 0.2) return {{y, mask}};
  return {{c.outputs[0], c.wants(1) ? c.outputs[1] : Tensor()}};
}

}  // namespace

void add_layers(Operators& ops) {
  ops["BatchNormalization"] = batch_normalization;
  ops["GroupNormalization"] = group_normalization;
  ops["InstanceNormalization"] = group_normalization;
  ops["LayerNormalization"] = layer_normalization;
  ops["RMSNormalization"] = rms_normalization;
  ops["MeanVarianceNormalization"] = mean_variance_normalization;
  ops["Conv"] = convolution;
  ops["ConvTranspose"] = transposed_convolution;
  ops["CausalConvWithState"] = causal_convolution;
  ops["Dropout"] = dropped;
}

}  // namespace attune::onnx
