#include "autograd/ops/batch_norm.h"
#include "autograd/ops/conv.h"
#include "autograd/ops/pool.h"
#include "tests/ops/cases.h"

namespace attune::testing {
namespace {

using Vars = std::span<const Variable>;

}  // namespace

void add_picture_cases(std::vector<OpCase>& cases) {
  const auto row = [&](const char* op, std::string what, std::vector<Input> inputs, auto call) {
    cases.push_back({op, std::move(what), std::move(inputs), [call](Vars x) { return Outputs{call(x)}; }});
  };

  const auto conv = [&](std::string what, const Shape& x, const Shape& weight, const Conv2dOptions& options) {
    row("conv2d", std::move(what), {{x}, {weight, -1, 1}, {{weight[0]}}},
        [options](Vars v) { return conv2d(v[0], v[1], v[2], options); });
  };
  conv("window of 3 x 2", {2, 4, 5, 3}, {4, 3, 3, 2}, {});
  conv("stride and padding", {2, 5, 6, 2}, {3, 2, 3, 4}, {.stride = {2, 3}, .padding = {2, 1}});
  conv("dilation", {1, 6, 7, 2}, {3, 2, 2, 3}, {.padding = 1, .dilation = {3, 2}});
  conv("groups", {2, 4, 3, 6}, {4, 3, 2, 2}, {.padding = 1, .groups = 2});
  conv("a group per channel", {1, 4, 4, 3}, {6, 1, 3, 3}, {.stride = 2, .padding = 1, .groups = 3});
  conv("single pixels", {2, 3, 2, 5}, {4, 5, 1, 1}, {});
  conv("single pixels in groups", {2, 3, 2, 4}, {6, 2, 1, 1}, {.groups = 2});
  conv("single pixels, strided", {1, 5, 4, 2}, {3, 2, 1, 1}, {.stride = 2});
  conv("same size, even window", {1, 3, 4, 2}, {2, 2, 2, 4}, {.padding = kSamePadding});
  conv("stride longer than the window", {1, 5, 7, 2}, {3, 2, 1, 2}, {.stride = {2, 3}});
  conv("stride and dilation with a common divisor", {1, 6, 7, 2}, {2, 2, 2, 3}, {.stride = 2, .dilation = {2, 1}});
  conv("the whole picture", {2, 3, 3, 2}, {5, 2, 3, 3}, {});
  conv("patches", {2, 4, 6, 3}, {7, 3, 2, 2}, {.stride = 2});
  conv("many windows, wide", {1, 9, 31, 33}, {2, 33, 3, 3}, {.padding = 1});
  conv("extents of 1", {1, 1, 1, 1}, {1, 1, 1, 1}, {});
  conv("no pictures", {0, 3, 3, 2}, {2, 2, 2, 2}, {});
  row("conv2d", "no bias", {{{2, 3, 3, 2}}, {{3, 2, 2, 2}, -1, 1}}, [](Vars v) { return conv2d(v[0], v[1], {}); });
  row("conv2d", "no bias, single pixels", {{{2, 3, 3, 2}}, {{3, 2, 1, 1}, -1, 1}},
      [](Vars v) { return conv2d(v[0], v[1], {}); });

  const auto line = [&](std::string what, const Shape& x, const Shape& weight, const Conv1dOptions& options) {
    row("conv1d", std::move(what), {{x}, {weight, -1, 1}, {{weight[0]}}},
        [options](Vars v) { return conv1d(v[0], v[1], v[2], options); });
  };
  line("one channel, same length", {2, 1, 7}, {3, 1, 5}, {.padding = kSamePadding});
  line("stride, padding, dilation", {2, 2, 9}, {3, 2, 3}, {.stride = 2, .padding = 1, .dilation = 2});
  line("groups, even window", {2, 4, 5}, {4, 2, 2}, {.padding = kSamePadding, .groups = 2});
  line("no samples", {0, 2, 4}, {3, 2, 2}, {});

  row("max_pool2d", "2 x 2", {{{2, 4, 6, 3}}}, [](Vars v) { return max_pool2d(v[0], 2); });
  row("max_pool2d", "overlapping, padded", {{{2, 5, 4, 3}}}, [](Vars v) {
    return max_pool2d(v[0], 3, {.stride = {2, 1}, .padding = 1});
  });
  row("max_pool2d", "wide", {{{1, 3, 3, 37}}}, [](Vars v) { return max_pool2d(v[0], {2, 3}, {.stride = 1}); });
  row("max_pool2d", "no pictures", {{{0, 4, 4, 2}}}, [](Vars v) { return max_pool2d(v[0], 2); });
  row("average_pool2d", "2 x 3, a rest", {{{2, 5, 7, 3}}}, [](Vars v) { return average_pool2d(v[0], {2, 3}); });
  row("average_pool2d", "overlapping, padding counts", {{{2, 4, 5, 2}}},
      [](Vars v) { return average_pool2d(v[0], 3, {.stride = 2, .padding = 1}); });
  row("average_pool2d", "overlapping, padding does not count", {{{2, 4, 5, 2}}},
      [](Vars v) { return average_pool2d(v[0], 3, {.stride = 2, .padding = 1, .count_padding = false}); });
  row("average_pool2d", "no pictures", {{{0, 4, 4, 2}}}, [](Vars v) { return average_pool2d(v[0], 2); });
  row("adaptive_average_pool2d", "uneven windows", {{{2, 5, 7, 3}}}, [](Vars v) {
    return adaptive_average_pool2d(v[0], {3, 2});
  });
  row("adaptive_average_pool2d", "more windows than pixels", {{{1, 2, 3, 2}}}, [](Vars v) {
    return adaptive_average_pool2d(v[0], {3, 5});
  });
  row("adaptive_average_pool2d", "no pictures", {{{0, 2, 3, 2}}},
      [](Vars v) { return adaptive_average_pool2d(v[0], 1); });

  const auto norm = [&](std::string what, const Shape& x) {
    const Shape channels{x[x.rank() - 1]};
    row("batch_norm", std::move(what), {{x}, {channels}, {channels}},
        [](Vars v) { return batch_norm(v[0], v[1], v[2], 1e-3).output; });
  };
  norm("pictures", {3, 2, 2, 5});
  norm("many rows", {101, 3});
  norm("wide", {4, 70});
  norm("one row", {1, 3});
  row("batch_norm_by", "pictures", {{{3, 2, 2, 5}}, {{5}}, {{5}}}, [](Vars v) {
    const std::vector<double> mean = {0, 0.5, -0.25, 1, -2}, variance = {1, 0.5, 2, 4, 0.25};
    const auto statistics = [&](const std::vector<double>& of) { return near(v, Tensor::from(of, {5})); };
    return batch_norm_by(v[0], statistics(mean), statistics(variance), v[1], v[2], 1e-3);
  });
}

}  // namespace attune::testing
