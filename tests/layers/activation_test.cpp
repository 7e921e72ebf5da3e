#include "layers/activation.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include "framework/error.h"
#include "layers/sequential.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"

using namespace attune;
using namespace attune::testing;
using Catch::Approx;

namespace {

const std::vector<double> kX = {-4, -3, -0.5, 0, 0.5, 3, 4};

std::vector<double> results(const Variable& y) { return values(y.value()); }
Variable line() { return Variable(Tensor::from(kX, {7})); }

/// By the formulas of PyTorch's documentation, in float64.
void check(const Variable& y, const std::vector<double>& wanted) {
  const std::vector<double> found = results(y);
  REQUIRE(found.size() == wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    INFO("x = " << kX[i]);
    CHECK(found[i] == Approx(wanted[i]).epsilon(1e-9).margin(1e-12));
  }
}

}  // namespace

TEST_CASE("activations are PyTorch's", "[layers][activation]") {
  check(softplus(line()),
        {0.018149927918, 0.048587351574, 0.47407698418, 0.69314718056, 0.97407698418, 3.0485873516, 4.0181499279});
  check(log_sigmoid(line()), {-4.0181499279, -3.0485873516, -0.97407698418, -0.69314718056, -0.47407698418,
                              -0.048587351574, -0.018149927918});
  check(relu(line()), {0, 0, 0, 0, 0.5, 3, 4});
  check(silu(line()), {-0.071944839848, -0.14227761953, -0.1887703344, 0, 0.3112296656, 2.8577223805, 3.9280551602});
  check(gelu(line()),
        {-0.00012668496733, -0.0040496940949, -0.15426876936, 0, 0.34573123064, 2.9959503059, 3.999873315});
  check(gelu_tanh(line()),
        {-7.0245948192e-05, -0.0036373920818, -0.15428599017, 0, 0.34571400983, 2.9963626079, 3.9999297541});
  check(elu(line()), {-0.98168436111, -0.95021293163, -0.39346934029, 0, 0.5, 3, 4});
  check(elu(line(), 0.7), {-0.68717905278, -0.66514905214, -0.2754285382, 0, 0.5, 3, 4});
  check(celu(line(), 0.7), {-0.69769104597, -0.69036534929, -0.35732083831, 0, 0.5, 3, 4});
  check(selu(line()), {-1.7258986282, -1.6705687288, -0.6917581878, 0, 0.52535049368, 3.1521029621, 4.2028039494});
  check(leaky_relu(line(), 0.2), {-0.8, -0.6, -0.1, 0, 0.5, 3, 4});
  check(mish(line()), {-0.072591740792, -0.14564746128, -0.22074377465, 0, 0.3752452113, 2.986535005, 3.997412807});
  check(swish(line(), 1.5),
        {-0.0098904926265, -0.032960827892, -0.16041065041, 0, 0.33958934959, 2.9670391721, 3.9901095074});
  check(hard_sigmoid(line()), {0, 0, 0.41666666667, 0.5, 0.58333333333, 1, 1});
  check(hard_swish(line()), {0, 0, -0.20833333333, 0, 0.29166666667, 3, 4});
  check(softsign(line()), {-0.8, -0.75, -0.33333333333, 0, 0.33333333333, 0.75, 0.8});
  check(prelu(line(), Variable(Tensor::from<double>({0.3}, {1}))), {-1.2, -0.9, -0.15, 0, 0.5, 3, 4});
}

TEST_CASE("activations as modules are the functions", "[layers][activation]") {
  const Variable x = line();
  const auto same = [&](auto&& module, const Variable& y) { CHECK(same_values(module(x).value(), y.value())); };
  same(Relu(), relu(x));
  same(Gelu(), gelu(x));
  same(GeluTanh(), gelu_tanh(x));
  same(Silu(), silu(x));
  same(Selu(), selu(x));
  same(Mish(), mish(x));
  same(Tanh(), tanh(x));
  same(Sigmoid(), sigmoid(x));
  same(LogSigmoid(), log_sigmoid(x));
  same(Softplus(), softplus(x));
  same(Softsign(), softsign(x));
  same(HardSigmoid(), hard_sigmoid(x));
  same(HardSwish(), hard_swish(x));
  same(Softmax(), softmax(x));
  same(LogSoftmax(), log_softmax(x));
  same(Elu(0.5), elu(x, 0.5));
  same(Celu(0.5), celu(x, 0.5));
  same(LeakyRelu(0.5), leaky_relu(x, 0.5));
  same(Swish(2), swish(x, 2));
}

TEST_CASE("PRelu learns a slope for all or for each channel", "[layers][activation][gradcheck]") {
  PRelu one;
  PRelu each(3, 0.1);
  CHECK(one.parameter_count() == 1);
  CHECK(each.state_dict()[0].first == "weight");
  const Variable x(Tensor::from<float>({-2, 1, -4, 2, -2, 3}, {2, 3}));
  CHECK(results(one(x)) == std::vector<double>{-0.5, 1, -1, 2, -0.5, 3});
  randomise(each);
  check_gradients(one, {random_tensor({2, 3})}, [&](auto in) { return one(in[0]); });
  check_gradients(each, {random_tensor({2, 3})}, [&](auto in) { return each(in[0]); });
}

TEST_CASE("activations refuse numbers and shapes that cannot work", "[layers][activation][errors]") {
  CHECK(error_text<ValueError>([] { Elu(-1); }) == "Elu: alpha -1 given, expected 0 or more");
  CHECK(error_text<ValueError>([] { Celu(0); }) == "Celu: alpha 0 given, expected more than 0");
  CHECK(error_text<ValueError>([] { PRelu(0); }) == "PRelu: 0 slopes given, expected at least 1");
  Sequential net;
  net.add<PRelu>(3);
  CHECK(error_text<ShapeError>([&] {
          net(Variable(Tensor::zeros({2, 4})));
        }) == "0: input is [2, 4], expected [..., 3]");
}
