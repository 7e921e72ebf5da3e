// Pooling of lines and pictures; channels last here, second there.

#include <algorithm>
#include <limits>

#include "tests/onnx/case.h"

namespace attune::onnx {
namespace {

/// What ONNX's attributes come down to for a picture; lines are pictures of height 1.
struct Pool {
  Tensor x;  // [B, H, W, C], floating
  bool line = false;
  std::vector<int64_t> window{1, 1};
  std::vector<int64_t> stride{1, 1};
  std::vector<int64_t> dilation{1, 1};
  std::vector<int64_t> pads{0, 0, 0, 0};  // top, left, bottom, right
  std::vector<int64_t> behind{0, 0};      // what ceil_mode adds at the bottom and on the right

  Extent2d window2d() const { return {window[0], window[1]}; }
  Extent2d stride2d() const { return {stride[0], stride[1]}; }
  /// As PoolOptions has it: the same on both sides, at most half of a window, no more behind.
  bool plain() const {
    return pads[0] == pads[2] && pads[1] == pads[3] && 2 * pads[0] <= window[0] && 2 * pads[1] <= window[1] &&
           behind[0] == 0 && behind[1] == 0;
  }
  Tensor padded(const Tensor& picture, double inside, double outside) const {
    const Tensor y = pad(picture, {{0, 0}, {pads[0], pads[2]}, {pads[1], pads[3]}, {0, 0}}, inside);
    return pad(y, {{0, 0}, {0, behind[0]}, {0, behind[1]}, {0, 0}}, outside);
  }
  Tensor result(const Variable& y, DType dtype) const {
    const Tensor out = y.value().permute({0, 3, 1, 2});
    return (line ? out.squeeze(2) : out).to(dtype);
  }
};

Pool pool_of(const Case& c) {
  if (c.in(0).rank() > 4) throw NotExpressible{"pooling in three dimensions"};
  Pool pool;
  Tensor x = is_floating(c.in(0).dtype()) ? c.in(0) : c.in(0).to(DType::kFloat32);
  pool.line = x.rank() == 3;
  if (pool.line) {
    x = x.unsqueeze(2);
    pool.window[1] = c.integers_of("kernel_shape", {})[0];
  } else {
    pool.window = c.integers_of("kernel_shape", {});
    pool.stride = c.integers_of("strides", pool.stride);
    pool.dilation = c.integers_of("dilations", pool.dilation);
    pool.pads = c.integers_of("pads", pool.pads);
  }
  const std::string mode = c.text("auto_pad", "NOTSET");
  for (size_t i = 0; i < 2; ++i) {
    const int64_t in = x.dim(static_cast<int>(i) + 2), step = pool.stride[i];
    const int64_t window = (pool.window[i] - 1) * pool.dilation[i] + 1;
    if (mode == "SAME_UPPER" || mode == "SAME_LOWER") {
      const int64_t all = std::max<int64_t>(((in + step - 1) / step - 1) * step + window - in, 0);
      pool.pads[i] = mode == "SAME_UPPER" ? all / 2 : all - all / 2;
      pool.pads[i + 2] = all - pool.pads[i];
    }
    if (c.integer("ceil_mode", 0) != 0) {
      const int64_t room = in + pool.pads[i] + pool.pads[i + 2];
      int64_t out = (room - window + step - 1) / step + 1;
      if ((out - 1) * step >= in + pool.pads[i]) --out;  // it would begin in the padding
      pool.behind[i] = std::max<int64_t>((out - 1) * step + window - room, 0);
    }
  }
  pool.x = x.permute({0, 2, 3, 1}).contiguous();
  return pool;
}

Ways largest(const Case& c) {
  if (c.wants(1)) throw NotExpressible{"indices of max_pool2d's largest elements"};
  const Pool pool = pool_of(c);
  if (pool.dilation != std::vector<int64_t>{1, 1}) throw NotExpressible{"dilated pooling"};
  const DType dtype = c.in(0).dtype();
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  const Variable x(pool.padded(pool.x, kNone, kNone));
  Ways ways{{pool.result(max_pool2d(x, pool.window2d(), {.stride = pool.stride2d()}), dtype)}};
  if (pool.plain()) {
    const PoolOptions options{.stride = pool.stride2d(), .padding = {pool.pads[0], pool.pads[1]}};
    ways.push_back({pool.result(max_pool2d(Variable(pool.x), pool.window2d(), options), dtype)});
  }
  return ways;
}

Ways average(const Case& c) {
  const Pool pool = pool_of(c);
  const bool counts = c.integer("count_include_pad", 0) != 0;
  const DType dtype = c.in(0).dtype();
  if (pool.dilation != std::vector<int64_t>{1, 1}) {
    if (std::any_of(pool.pads.begin(), pool.pads.end(), [](int64_t n) { return n != 0; })) {
      throw NotExpressible{"dilated pooling with padding"};
    }
    // A convolution by channel with equal weights.
    const double share = 1 / static_cast<double>(pool.window[0] * pool.window[1]);
    const Variable weight(Tensor::full({pool.x.dim(3), 1, pool.window[0], pool.window[1]}, share, dtype));
    const Conv2dOptions options{
        .stride = pool.stride2d(), .dilation = {pool.dilation[0], pool.dilation[1]}, .groups = pool.x.dim(3)};
    return {{pool.result(conv2d(Variable(pool.x), weight, {}, options), dtype)}};
  }
  const PoolOptions inner{.stride = pool.stride2d()};
  const Variable sums(pool.padded(pool.x, 0, 0));
  const Variable seen(pool.padded(ones_like(pool.x), counts ? 1 : 0, 0));
  Ways ways{{pool.result(average_pool2d(sums, pool.window2d(), inner) / average_pool2d(seen, pool.window2d(), inner),
                         dtype)}};
  if (pool.plain()) {
    const PoolOptions options{
        .stride = pool.stride2d(), .padding = {pool.pads[0], pool.pads[1]}, .count_padding = counts};
    ways.push_back({pool.result(average_pool2d(Variable(pool.x), pool.window2d(), options), dtype)});
  }
  return ways;
}

}  // namespace

void add_pooling(Operators& ops) {
  ops["MaxPool"] = largest;
  ops["AveragePool"] = average;
  ops["GlobalMaxPool"] = [](const Case& c) { return Ways{{max(c.var(0), {2, 3}, true).value()}}; };
  ops["GlobalAveragePool"] = [](const Case& c) {
    return Ways{{mean(c.var(0), {2, 3}, true).value()},
                {channels_second(adaptive_average_pool2d(channels_last(c.var(0)), 1)).value()}};
  };
}

}  // namespace attune::onnx
