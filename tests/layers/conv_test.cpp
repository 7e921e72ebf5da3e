#include "layers/conv.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <cmath>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "tests/framework/kernels/targets.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"
#include "tests/support/heap_counter.h"

using namespace attune;
using namespace attune::testing;

namespace {

struct Windows {
  int64_t stride_rows, stride_columns, padding_rows, padding_columns, dilation_rows, dilation_columns;
};

/// The sum of the definition, element by element. x [B, H, W, C], weight [O, C / groups, KH, KW].
Tensor by_definition(const Tensor& x, const Tensor& weight, const Tensor& bias, const Windows& at, int64_t groups,
                     const Shape& shape) {
  Tensor y = Tensor::empty(shape, DType::kFloat64);
  const auto element = [](const Tensor& t, int64_t a, int64_t b, int64_t c, int64_t d) {
    return t.data<double>()[((a * t.dim(1) + b) * t.dim(2) + c) * t.dim(3) + d];
  };
  const int64_t in_group = weight.dim(1);
  const int64_t out_group = shape[3] / groups;
  auto* out = y.data<double>();
  for (int64_t b = 0; b < shape[0]; ++b) {
    for (int64_t i = 0; i < shape[1]; ++i) {
      for (int64_t j = 0; j < shape[2]; ++j) {
        for (int64_t o = 0; o < shape[3]; ++o) {
          double sum = bias.data<double>()[o];
          for (int64_t m = 0; m < weight.dim(2); ++m) {
            for (int64_t n = 0; n < weight.dim(3); ++n) {
              const int64_t row = i * at.stride_rows + m * at.dilation_rows - at.padding_rows;
              const int64_t column = j * at.stride_columns + n * at.dilation_columns - at.padding_columns;
              if (row < 0 || row >= x.dim(1) || column < 0 || column >= x.dim(2)) continue;
              for (int64_t c = 0; c < in_group; ++c) {
                sum += element(weight, o, c, m, n) * element(x, b, row, column, o / out_group * in_group + c);
              }
            }
          }
          *out++ = sum;
        }
      }
    }
  }
  return y;
}

double dot(const Tensor& a, const Tensor& b) {
  const std::vector<double> left = values(a), right = values(b);
  double sum = 0;
  for (size_t i = 0; i < left.size(); ++i) sum += left[i] * right[i];
  return sum;
}

struct Convolution {
  Shape x, weight;
  Windows at;
  int64_t groups;
  Shape y;
};

/// Values, and gradients along a random direction of x and of the weights, in which y is linear.
void check_by_definition(const Convolution& row) {
  const Tensor x = random_tensor(row.x);
  const Tensor weight = random_tensor(row.weight, DType::kFloat64, 2);
  const Tensor bias = random_tensor({row.y[3]}, DType::kFloat64, 3);
  const Tensor dy = random_tensor(row.y, DType::kFloat64, 4);
  const Tensor along_x = random_tensor(row.x, DType::kFloat64, 5);
  const Tensor along_weight = random_tensor(row.weight, DType::kFloat64, 6);
  const auto expected = [&](const Tensor& in, const Tensor& w, const Tensor& shift) {
    return by_definition(in, w, shift, row.at, row.groups, row.y);
  };
  const Tensor no_bias = Tensor::zeros(bias.shape(), DType::kFloat64);
  const Tensor y = expected(x, weight, bias);
  const double slope_x = dot(dy, expected(along_x, weight, no_bias));
  const double slope_weight = dot(dy, expected(x, along_weight, no_bias));

  const Conv2dOptions options{.stride = {row.at.stride_rows, row.at.stride_columns},
                              .padding = {row.at.padding_rows, row.at.padding_columns},
                              .dilation = {row.at.dilation_rows, row.at.dilation_columns},
                              .groups = row.groups};
  for_each_instruction_set([&](const char* name) {
    INFO(row.x.to_string() << " " << row.weight.to_string() << " " << name);
    const Variable in(x, true), w(weight, true);
    const Variable out = conv2d(in, w, Variable(bias), options);
    REQUIRE(out.shape() == row.y);
    CHECK(max_difference(out.value(), y) < 1e-11);
    sum(out * Variable(dy)).backward();
    CHECK(std::abs(dot(in.grad(), along_x) - slope_x) < 1e-8);
    CHECK(std::abs(dot(w.grad(), along_weight) - slope_weight) < 1e-8);

    const auto narrow = [](const Tensor& t) { return Variable(t.to(DType::kFloat32)); };
    CHECK(max_difference(conv2d(narrow(x), narrow(weight), narrow(bias), options).value(), y) < 1e-3);
  });
}

}  // namespace

TEST_CASE("conv2d is the sum of its definition, on every instruction set", "[layers][conv]") {
  const Convolution rows[] = {
      {{2, 5, 7, 4}, {6, 4, 3, 2}, {1, 1, 0, 0, 1, 1}, 1, {2, 3, 6, 6}},
      {{2, 6, 7, 4}, {6, 2, 2, 3}, {2, 3, 1, 2, 1, 1}, 2, {2, 4, 3, 6}},
      {{1, 8, 9, 3}, {3, 1, 3, 3}, {1, 2, 2, 1, 2, 3}, 3, {1, 8, 3, 3}},
      {{3, 4, 5, 6}, {8, 6, 1, 1}, {1, 1, 0, 0, 1, 1}, 1, {3, 4, 5, 8}},
      {{1, 4, 4, 2}, {3, 2, 1, 1}, {1, 1, 1, 0, 1, 1}, 1, {1, 6, 4, 3}},
      // Strides longer than the window, and with a divisor that the dilation has too: inputs that nothing sees.
      {{1, 7, 8, 3}, {2, 3, 2, 1}, {3, 2, 0, 0, 1, 1}, 1, {1, 2, 4, 2}},
      {{2, 9, 10, 4}, {3, 4, 3, 2}, {2, 4, 2, 1, 2, 6}, 1, {2, 5, 2, 3}},
      // Blocks of rows of a picture, of several pictures and of parts of a row; more than one panel of weights, with
      // columns for every width of a tile.
      {{2, 20, 19, 40}, {5, 40, 3, 3}, {1, 1, 1, 1, 1, 1}, 1, {2, 20, 19, 5}},
      {{9, 3, 4, 18}, {70, 18, 2, 2}, {1, 1, 0, 0, 1, 1}, 1, {9, 2, 3, 70}},
      {{1, 1, 1300, 3}, {20, 3, 1, 3}, {1, 1, 0, 1, 1, 1}, 1, {1, 1, 1300, 20}},
      // Runs too long for one part.
      {{1, 2, 3, 300}, {40, 300, 3, 3}, {1, 1, 1, 1, 1, 1}, 1, {1, 2, 3, 40}},
      // Windows that are read where they are, without a copy.
      {{2, 6, 8, 16}, {9, 16, 2, 3}, {2, 2, 0, 0, 1, 1}, 1, {2, 3, 3, 9}},
      // Tiles: with zeros around, read where they are, and of groups.
      {{4, 6, 12, 32}, {48, 32, 3, 3}, {1, 1, 1, 1, 1, 1}, 1, {4, 6, 12, 48}},
      {{3, 10, 14, 32}, {32, 32, 3, 3}, {1, 1, 0, 0, 1, 1}, 1, {3, 8, 12, 32}},
      {{2, 8, 16, 64}, {64, 32, 3, 3}, {1, 1, 2, 1, 1, 1}, 2, {2, 10, 16, 64}},
  };
  for (const Convolution& row : rows) check_by_definition(row);
}

TEST_CASE("tiles of a convolution compute what its windows compute", "[layers][conv]") {
  // A row and a column of zeros more change nothing but that the extents are odd, where no tiles fit.
  const Shape shape{3, 20, 36, 64};
  const Tensor x = random_tensor(shape);
  const Tensor weight = random_tensor({48, 64, 3, 3}, DType::kFloat64, 2);
  const Tensor dy = random_tensor({3, 20, 36, 48}, DType::kFloat64, 3);
  const auto run = [&](bool tiles, DType dtype) {
    Tensor picture = Tensor::zeros({3, tiles ? 20 : 21, tiles ? 36 : 37, 64}, dtype);
    picture.slice(1, 0, 20).slice(2, 0, 36).copy_(x.to(dtype));
    const Variable in(picture, true), w(weight.to(dtype), true);
    const Variable y = slice(slice(conv2d(in, w, {}, {.padding = 1}), 1, 0, 20), 2, 0, 36);
    sum(y * Variable(dy.to(dtype))).backward();
    const Tensor dx = in.grad().slice(1, 0, 20).slice(2, 0, 36);
    return std::vector<Tensor>{y.value(), dx.contiguous(), w.grad()};
  };
  const std::vector<Tensor> windows = run(false, DType::kFloat64);
  const std::vector<Tensor> tiles = run(true, DType::kFloat64);
  const std::vector<Tensor> narrow = run(true, DType::kFloat32);
  for (size_t i = 0; i < windows.size(); ++i) {
    const double norm = std::sqrt(dot(windows[i], windows[i]));
    const auto error = [&](const Tensor& found) {
      const Tensor difference = (Variable(found.to(DType::kFloat64)) - Variable(windows[i])).value();
      return std::sqrt(dot(difference, difference)) / norm;
    };
    CHECK(error(tiles[i]) < 1e-14);
    CHECK(error(narrow[i]) < 1e-6);
  }
}

TEST_CASE("threads do not change what a convolution computes", "[layers][conv][threads]") {
  const auto x = GENERATE(random_tensor({5, 17, 18, 24}), random_tensor({5, 16, 18, 32}));
  const Tensor weight = random_tensor({x.dim(3) * 2, x.dim(3), 3, 3}, DType::kFloat64, 2);
  const auto run = [&] {
    const Variable in(x, true), w(weight, true);
    const Variable y = conv2d(in, w, {}, {.stride = {x.dim(3) == 24 ? 2 : 1, 1}, .padding = 1});
    sum(square(y)).backward();
    return std::vector<Tensor>{y.value(), in.grad(), w.grad()};
  };
  const int before = num_threads();
  set_num_threads(1);
  const std::vector<Tensor> one = run();
  for (int threads : {2, 5}) {
    set_num_threads(threads);
    const std::vector<Tensor> several = run();
    CHECK(same_values(one[0], several[0]));
    CHECK(same_values(one[1], several[1]));
    CHECK(max_difference(one[2], several[2]) < 1e-8);
  }
  set_num_threads(before);
}

TEST_CASE("conv1d is conv2d with one row; same padding keeps the length", "[layers][conv]") {
  const Tensor x = random_tensor({2, 3, 8});
  for (int64_t size : {1, 2, 3, 4, 5}) {
    for (int64_t dilation : {1, 2}) {
      const Tensor weight = random_tensor({4, 3, size}, DType::kFloat64, 2);
      const Tensor y =
          conv1d(Variable(x), Variable(weight), {}, {.padding = kSamePadding, .dilation = dilation}).value();
      REQUIRE(y.shape() == Shape{2, 4, 8});
      const int64_t reach = dilation * (size - 1);
      const Windows at{1, 1, 0, reach / 2, 1, dilation};
      const Tensor picture = x.transpose(1, 2).contiguous().view({2, 1, 8, 3});
      const Tensor expected = by_definition(picture, weight.view({4, 3, 1, size}), Tensor::zeros({4}, DType::kFloat64),
                                            at, 1, {2, 1, 8, 4});
      CHECK(max_difference(y, expected.view({2, 8, 4}).transpose(1, 2)) < 1e-13);
    }
  }
}

TEST_CASE("convolution layers have right gradients and PyTorch's parameters", "[layers][conv][gradcheck]") {
  Conv2d conv(2, 4, {3, 2}, {.stride = {1, 2}, .padding = 1, .groups = 2});
  CHECK(conv.weight().shape() == Shape{4, 1, 3, 2});
  CHECK(conv.parameter_count() == 28);
  randomise(conv);
  check_gradients(conv, {random_tensor({2, 3, 4, 2})}, [&](auto in) { return conv(in[0]); });
  Conv1d line(2, 3, 3, {.padding = kSamePadding}, false);
  CHECK(line.weight().shape() == Shape{3, 2, 3});
  CHECK_FALSE(line.bias().defined());
  randomise(line);
  check_gradients(line, {random_tensor({2, 2, 5})}, [&](auto in) { return line(in[0]); });
  CHECK(conv(Variable(Tensor::zeros({0, 3, 4, 2}, DType::kFloat64))).shape() == Shape{0, 3, 3, 4});
}

TEST_CASE("a convolution asks neither heap nor system for memory in the steady state", "[layers][conv][memory]") {
  Conv2d first(3, 16, 3, {.padding = 1});
  Conv2d second(16, 32, 3, {.stride = 2, .padding = 1});
  Conv2d tiled(32, 32, 3, {.padding = 1});
  const Variable x(random_tensor({4, 16, 16, 3}, DType::kFloat32));
  const auto step = [&] { sum(square(tiled(second(relu(first(x)))))).backward(); };
  for (int i = 0; i < 5; ++i) step();
  const uint64_t heap = heap_allocations();
  const uint64_t system = memory_stats().system_allocations;
  for (int i = 0; i < 5; ++i) step();
  CHECK(heap_allocations() == heap);
  CHECK(memory_stats().system_allocations == system);
}

TEST_CASE("convolution layers name themselves and both shapes in errors", "[layers][conv][errors]") {
  struct Model : Module {
    Conv2d& stem = child<Conv2d>("stem", 3, 4, 3);
    Conv1d& line = child<Conv1d>("line", 2, 4, 3);
  } model;
  CHECK(error_text<ShapeError>([&] {
          model.stem(Variable(Tensor::zeros({2, 3, 8, 8})));
        }) == "stem: input is [2, 3, 8, 8], expected [B, H, W, 3]");
  CHECK(error_text<ShapeError>([&] {
          model.line(Variable(Tensor::zeros({2, 8, 2})));
        }) == "line: input is [2, 8, 2], expected [B, 2, S]");
  CHECK(error_text<ShapeError>([&] {
          model.stem(Variable(Tensor::zeros({2, 2, 8, 3})));
        }).starts_with("conv2d: the window of 3"));
  CHECK(error_text<ValueError>([] { Conv2d(3, 4, 3, {.groups = 2}); }) ==
        "Conv2d: 2 groups given for 3 -> 4 channels; they must divide both");
  CHECK_THROWS_AS(Conv2d(0, 4, 3), ValueError);
  CHECK_THROWS_AS(Conv2d(3, 4, {0, 3}), ValueError);
  CHECK_THROWS_AS(Conv1d(3, 4, 0), ValueError);
  Tape::current().clear();
}
