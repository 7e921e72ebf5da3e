#include "layers/init.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>

#include "framework/error.h"
#include "framework/math/arithmetic.h"
#include "framework/math/create.h"
#include "framework/math/linalg.h"
#include "layers/conv.h"
#include "layers/embedding.h"
#include "layers/linear.h"
#include "layers/recurrent.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace attune;
using namespace attune::testing;
using Catch::Approx;

namespace {

struct Moments {
  double mean = 0;
  double stddev = 0;
  double lowest = 0;
  double highest = 0;
};

Moments moments(const Tensor& tensor) {
  const std::vector<double> x = values(tensor);
  Moments m;
  for (double v : x) m.mean += v / static_cast<double>(x.size());
  for (double v : x) m.stddev += (v - m.mean) * (v - m.mean) / static_cast<double>(x.size());
  m.stddev = std::sqrt(m.stddev);
  const auto [low, high] = std::minmax_element(x.begin(), x.end());
  m.lowest = *low;
  m.highest = *high;
  return m;
}

}  // namespace

TEST_CASE("initialisers have the spread of their formulas", "[init]") {
  RandomStream stream(5);
  const Shape shape{60, 40, 3, 2};  // fan in 240, fan out 360
  const double n = 60 * 40 * 6;
  const auto check = [&](const Tensor& tensor, double stddev) {
    const Moments m = moments(tensor);
    CHECK(std::abs(m.mean) < 5 * stddev / std::sqrt(n));
    CHECK(m.stddev == Approx(stddev).epsilon(0.03));
    return m;
  };
  const Moments xavier = check(init::xavier_uniform(shape, 2, stream), 2 * std::sqrt(2.0 / 600));
  CHECK(xavier.highest <= 2 * std::sqrt(6.0 / 600));
  CHECK(xavier.lowest >= -2 * std::sqrt(6.0 / 600));
  check(init::xavier_normal(shape, 3, stream), 3 * std::sqrt(2.0 / 600));
  const Moments kaiming = check(init::kaiming_uniform(shape, 1, init::Fan::kOut, stream), std::sqrt(1 / 360.0));
  CHECK(kaiming.highest <= std::sqrt(3 / 360.0));
  check(init::kaiming_normal(shape, 1.5, init::Fan::kIn, stream), 1.5 / std::sqrt(240.0));
  check(init::uniform({20000}, -3, 3, stream), std::sqrt(3.0));
  const Moments normal = moments(init::normal({20000}, 4, 0.5, stream));
  CHECK(normal.mean == Approx(4).epsilon(0.01));
  CHECK(normal.stddev == Approx(0.5).epsilon(0.03));
}

TEST_CASE("truncated_normal stays inside its bound", "[init]") {
  RandomStream stream(5);
  const Moments m = moments(init::truncated_normal({20000}, 1, 0.1, 2, stream));
  CHECK(m.lowest >= 0.8);
  CHECK(m.highest <= 1.2);
  CHECK(m.stddev == Approx(0.1 * 0.8796).epsilon(0.03));  // of a standard normal cut at 2
  CHECK_THROWS_AS(init::truncated_normal({1}, 0, 1, 0), ValueError);
}

TEST_CASE("initialisers draw from the stream that is given", "[init]") {
  RandomStream a(3);
  RandomStream b(3);
  CHECK(same_values(init::xavier_uniform({4, 5}, 1, a), init::xavier_uniform({4, 5}, 1, b)));
  CHECK_FALSE(same_values(init::xavier_uniform({4, 5}, 1, a), init::zeros({4, 5})));
  manual_seed(3);
  const Tensor first = init::normal({7}, 0, 1);
  manual_seed(3);
  CHECK(same_values(first, init::normal({7}, 0, 1)));
  CHECK(values(init::ones({2})) == std::vector<double>{1, 1});
  CHECK(values(init::constant({2}, 3)) == std::vector<double>{3, 3});
}

TEST_CASE("under SkipInit nothing is drawn", "[init]") {
  RandomStream stream(7);
  {
    const init::SkipInit skip;
    CHECK(init::uniform({2, 3}, -1, 1, stream).shape() == Shape{2, 3});
    CHECK(init::truncated_normal({4}, 0, 1, 2, stream).shape() == Shape{4});
    CHECK(init::xavier_normal({2, 3}, 1, stream).shape() == Shape{2, 3});
    CHECK(init::kaiming_uniform({2, 3}, 1, init::Fan::kIn, stream).shape() == Shape{2, 3});
    CHECK(values(init::constant({2}, 3)) == std::vector<double>{3, 3});
  }
  CHECK(stream.uniform() == RandomStream(7).uniform());
}

TEST_CASE("a scalar has no fans", "[init][errors]") { CHECK_THROWS_AS(init::xavier_uniform({}), ShapeError); }

TEST_CASE("an initializer is its function, drawn from the stream", "[init]") {
  const Shape shape{7, 5};
  const auto check = [&](const init::Initializer& initializer, const auto& function) {
    RandomStream a(3), b(3);
    CHECK(same_values(init::make(initializer, shape, a), function(b)));
    CHECK(a.state() == b.state());
  };
  check(init::Zeros{}, [&](RandomStream&) { return init::zeros(shape); });
  check(init::Ones{}, [&](RandomStream&) { return init::ones(shape); });
  check(init::Constant{0.3}, [&](RandomStream&) { return init::constant(shape, 0.3); });
  check(init::Uniform{-1, 2}, [&](RandomStream& s) { return init::uniform(shape, -1, 2, s); });
  check(init::Normal{1, 2}, [&](RandomStream& s) { return init::normal(shape, 1, 2, s); });
  check(init::TruncatedNormal{.stddev = 3, .bound = 1},
        [&](RandomStream& s) { return init::truncated_normal(shape, 0, 3, 1, s); });
  check(init::XavierUniform{2}, [&](RandomStream& s) { return init::xavier_uniform(shape, 2, s); });
  check(init::XavierNormal{2}, [&](RandomStream& s) { return init::xavier_normal(shape, 2, s); });
  check(init::KaimingUniform{1, init::Fan::kOut},
        [&](RandomStream& s) { return init::kaiming_uniform(shape, 1, init::Fan::kOut, s); });
  check(init::KaimingNormal{}, [&](RandomStream& s) { return init::kaiming_normal(shape, std::sqrt(2.0), {}, s); });
  check(init::Function([](const Shape& s) { return init::constant(s, 4); }),
        [&](RandomStream&) { return init::constant(shape, 4); });
}

TEST_CASE("layers take initial values as options, and draw what they drew without", "[init]") {
  const auto drawn = [](const auto& make) {
    manual_seed(3);
    return make();
  };
  CHECK(same_values(drawn([] { return Linear(4, 3).weight().value(); }), drawn([] {
                      return init::xavier_uniform({3, 4});
                    })));
  Linear linear(4, 3, {.weight_init = init::Constant{2}, .bias_init = init::Ones{}});
  CHECK(same_values(linear.weight().value(), init::constant({3, 4}, 2)));
  CHECK(same_values(linear.bias().value(), init::ones({3})));
  CHECK(same_values(drawn([] { return Embedding(4, 3).weight().value(); }), drawn([] {
                      return init::normal({4, 3}, 0, 1);
                    })));
  const Embedding table(4, 3, {.padding_index = 1, .weight_init = init::Constant{2}});
  CHECK(values(table.weight().value()) == std::vector<double>{2, 2, 2, 0, 0, 0, 2, 2, 2, 2, 2, 2});
  CHECK(same_values(drawn([] { return Conv1d(4, 3, 5).weight().value(); }), drawn([] {
                      return init::kaiming_uniform({3, 4, 5});
                    })));
  CHECK(values(Conv2d(1, 1, {1, 2}, {}, false, init::Constant{3}).weight().value()) == std::vector<double>{3, 3});
}

TEST_CASE("a function that gives other values than are asked for is refused", "[init][errors]") {
  const auto of = [](const Tensor& values) {
    return LinearOptions{.weight_init = init::Function([values](const Shape&) { return values; })};
  };
  CHECK(error_text<ShapeError>([&] {
          Linear(4, 3, of(Tensor::zeros({4, 3})));
        }) == "init: the function gave float32 [4, 3] on cpu, expected float32 [3, 4]");
  CHECK_THROWS_AS(Linear(4, 3, of(Tensor::zeros({3, 4}, DType::kFloat64))), ShapeError);
  CHECK_THROWS_AS(init::make(init::Function(), {2}), ValueError);
  CHECK_THROWS_AS(init::make(init::TruncatedNormal{.bound = 0}, {2}), ValueError);
}

TEST_CASE("orthogonal rows or columns have the length that is asked for", "[init]") {
  for (const Shape& shape : {Shape{7, 7}, Shape{5, 12}, Shape{12, 5}, Shape{4, 2, 3}, Shape{1, 9}}) {
    const int64_t rows = shape[0], columns = shape.numel() / rows;
    RandomStream stream(3);
    const Tensor w = init::orthogonal(shape, 1.5, stream).view({rows, columns}).to(DType::kFloat64);
    CHECK(w.numel() == shape.numel());
    const Tensor products = rows <= columns ? matmul(w, w.transpose(0, 1)) : matmul(w.transpose(0, 1), w);
    CHECK(max_difference(products, 2.25 * eye(std::min(rows, columns), -1, DType::kFloat64)) < 1e-6);
  }
  CHECK(init::orthogonal({0, 3}).shape() == Shape{0, 3});
  CHECK(error_text<ShapeError>([] { init::orthogonal({3}); }) ==
        "orthogonal: shape [3] given, expected two axes at least");
}

TEST_CASE("recurrent layers take initial values for each kind of parameter", "[init][recurrent]") {
  const RecurrentInit init{.weight_ih = init::Constant{0.25}, .weight_hh = init::Orthogonal{}, .bias = init::Zeros{}};
  const auto holds = [](const Module& module) {
    for (const auto& [name, parameter] : module.named_parameters()) {
      INFO(name);
      const Tensor value = parameter.value();
      if (name.starts_with("weight_ih")) CHECK(same_values(value, Tensor::full(value.shape(), 0.25)));
      if (name.starts_with("bias")) CHECK(same_values(value, Tensor::zeros(value.shape())));
      if (name.starts_with("weight_hh")) {
        const Tensor columns = value.to(DType::kFloat64);
        const Tensor products = matmul(columns.transpose(0, 1), columns);
        CHECK(max_difference(products, eye(4, -1, DType::kFloat64)) < 1e-6);
      }
    }
  };
  holds(GRU(3, 4, {.layers = 2, .bidirectional = true, .init = init}));
  holds(LSTM(3, 4, {.init = init}));
  holds(Rnn(3, 4, {.init = init}));
  holds(GRUCell(3, 4, true, {}, init));
  holds(LSTMCell(3, 4, true, init));
  holds(RnnCell(3, 4, true, Activation::kTanh, init));
}
