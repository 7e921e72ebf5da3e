#include <fmt/format.h>

#include "examples/gradcheck/rows.h"
#include "layers/batch_norm.h"
#include "layers/conv.h"
#include "layers/pool2d.h"

namespace attune::examples {
namespace {

using Inputs = std::span<const Variable>;

/// A case of one module called with one picture x [B, H, W, C].
template <class Layer>
Case picture(std::unique_ptr<Layer> layer, std::string declaration, const Draw& d, int64_t channels) {
  Case made;
  made.call = [&module = *layer](Inputs in) { return std::vector<Variable>{module(in[0])}; };
  made.module = std::move(layer);
  made.inputs.push_back({"x", "B H W C", {d["B"], d["Y"], d["X"], channels}});
  made.declaration = std::move(declaration);
  made.body = returns("layer(x)");
  return made;
}

/// Windows are at most as large as the smallest picture.
constexpr int64_t kSmallest = 3;

Case make_conv2d(const Options& o, const Draw& d) {
  const int64_t groups = o.whole("groups"), window = o.whole("window");
  Conv2dOptions options;
  options.stride = o.whole("stride");
  options.padding = o.whole("padding");
  options.groups = groups;
  const int64_t in = d["I"] * groups, out = d["O"] * groups;
  return picture(std::make_unique<Conv2d>(in, out, window, options, o.flag("bias")),
                 fmt::format("Conv2d layer({}, {}, {}, {{.stride = {}, .padding = {}, .groups = {}}}, {});", in, out,
                             window, o.whole("stride"), o.whole("padding"), groups, o.flag("bias")),
                 d, in);
}

Case make_conv1d(const Options& o, const Draw& d) {
  const int64_t groups = o.whole("groups"), window = o.whole("window");
  const Conv1dOptions options{o.whole("stride"), o.whole("padding"), 1, groups};
  const int64_t in = d["I"] * groups, out = d["O"] * groups;
  auto layer = std::make_unique<Conv1d>(in, out, window, options, o.flag("bias"));
  Case made;
  made.call = [&module = *layer](Inputs x) { return std::vector<Variable>{module(x[0])}; };
  made.module = std::move(layer);
  made.inputs.push_back({"x", "B C S", {d["B"], in, d["S"]}});
  made.declaration = fmt::format("Conv1d layer({}, {}, {}, {{.stride = {}, .padding = {}, .groups = {}}}, {});", in,
                                 out, window, options.stride, options.padding, groups, o.flag("bias"));
  made.body = returns("layer(x)");
  return made;
}

PoolOptions pool_options(const Options& o) {
  PoolOptions options;
  options.stride = o.whole("stride");
  options.padding = o.whole("padding");
  return options;
}

template <class Layer>
Case make_pool(const char* name, const Options& o, const Draw& d) {
  return picture(std::make_unique<Layer>(o.whole("window"), pool_options(o)),
                 fmt::format("{} layer({}, {{.stride = {}, .padding = {}}});", name, o.whole("window"),
                             o.whole("stride"), o.whole("padding")),
                 d, d["C"]);
}

Case make_adaptive(const Options& o, const Draw& d) {
  return picture(std::make_unique<AdaptiveAveragePool2d>(o.whole("out")),
                 fmt::format("AdaptiveAveragePool2d layer({});", o.whole("out")), d, d["C"]);
}

Case make_batch_norm(const Options& o, const Draw& d) {
  Case made = picture(std::make_unique<BatchNorm2d>(d["C"], BatchNormOptions{.eps = o.number("eps")}),
                      fmt::format("BatchNorm2d layer({}, {{.eps = {}}});\n  layer.train({});", d["C"], o.number("eps"),
                                  o.flag("training")),
                      d, d["C"]);
  made.module->train(o.flag("training"));
  return made;
}

Case make_group_norm(const Options& o, const Draw& d) {
  const int64_t channels = o.whole("groups") * d["C"];
  return picture(std::make_unique<GroupNorm>(o.whole("groups"), channels, o.number("eps")),
                 fmt::format("GroupNorm layer({}, {}, {});", o.whole("groups"), channels, o.number("eps")), d,
                 channels);
}

}  // namespace

void add_picture_rows(std::vector<LayerRow>& rows) {
  const auto whole = [](const char* name, int64_t initial, std::vector<OptionValue> choices) {
    return OptionRow{name, initial, std::move(choices)};
  };
  const OptionRow bias = flag_option("bias", true);
  const OptionRow window = whole("window", 2, {int64_t{1}, int64_t{2}, kSmallest});
  const OptionRow stride = whole("stride", 1, {int64_t{1}, int64_t{2}});
  const OptionRow padding = whole("padding", 0, {int64_t{0}, int64_t{1}});
  const OptionRow groups = whole("groups", 1, {int64_t{1}, int64_t{2}});
  const OptionRow eps{"eps", 1e-5, {1e-5, 1e-3, 0.1}};
  const OptionRow pool_window = whole("window", 2, {int64_t{2}, kSmallest});
  const std::vector<ExtentRow> channels = {{"B", 1, 2}, {"Y", kSmallest, 5}, {"X", kSmallest, 5}, {"C", 1, 3}};
  rows.push_back({"Conv2d",
                  "two-dimensional convolution, channels last",
                  {window, stride, padding, groups, bias},
                  {{"B", 1, 2}, {"Y", kSmallest, 5}, {"X", kSmallest, 5}, {"I", 1, 2}, {"O", 1, 2}},
                  {},
                  make_conv2d});
  rows.push_back({"Conv1d",
                  "convolution along one axis, channels first",
                  {window, stride, padding, groups, bias},
                  {{"B", 1, 2}, {"S", kSmallest, 6}, {"I", 1, 2}, {"O", 1, 2}},
                  {},
                  make_conv1d});
  rows.push_back({"MaxPool2d",
                  "largest element of every window",
                  {pool_window, stride, padding},
                  channels,
                  {},
                  [](const Options& o, const Draw& d) { return make_pool<MaxPool2d>("MaxPool2d", o, d); }});
  rows.push_back({"AveragePool2d",
                  "mean of every window",
                  {pool_window, stride, padding},
                  channels,
                  {},
                  [](const Options& o, const Draw& d) { return make_pool<AveragePool2d>("AveragePool2d", o, d); }});
  rows.push_back({"AdaptiveAveragePool2d",
                  "means over so many windows",
                  {whole("out", 2, {int64_t{1}, int64_t{2}, kSmallest})},
                  channels,
                  {},
                  make_adaptive});
  rows.push_back({"BatchNorm2d",
                  "batch normalisation by channel",
                  {eps, flag_option("training", true)},
                  channels,
                  {},
                  make_batch_norm});
  rows.push_back({"GroupNorm", "normalisation over groups of channels", {groups, eps}, channels, {}, make_group_norm});
}

}  // namespace attune::examples
