// Mixed precision: bfloat16 activations and products beside float32 parameters. That every layer takes it is checked by
// attune-gradcheck --dtype mixed, that the programs learn by it in tests/examples/precision_test.cpp.

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "autograd/ops/ops.h"
#include "autograd/optim/adam.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "layers/embedding.h"
#include "layers/linear.h"
#include "layers/norm.h"
#include "layers/transformer/decoder.h"
#include "layers/transformer/encoder.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

namespace attune::testing {
namespace {

constexpr DType kNarrow = DType::kBFloat16;
constexpr DType kWide = DType::kFloat32;

/// ||a - b|| and ||b|| over all tensors together.
struct Distance {
  double apart = 0;
  double norm = 0;

  void add(const Tensor& a, const Tensor& b) {
    const std::vector<double> x = values(a), y = values(b);
    REQUIRE(x.size() == y.size());
    for (size_t i = 0; i < x.size(); ++i) {
      apart += (x[i] - y[i]) * (x[i] - y[i]);
      norm += y[i] * y[i];
    }
  }
  double relative() const { return std::sqrt(apart / norm); }
};

/// n - 1, n - 2, ... 0
Tensor reversed(int64_t n) {
  std::vector<int64_t> indices;
  for (int64_t i = n - 1; i >= 0; --i) indices.push_back(i);
  return Tensor::from(indices, {n});
}

/// A block of an encoder and one of a decoder, from tokens to a loss. Of a function without kinks: where relu's side is
/// decided by rounding, a gradient is there or not.
struct Blocks : Module {
  explicit Blocks(bool norm_first)
      : embed(child<Embedding>("embed", 23, 32)),
        encoder(child<TransformerEncoderLayer>("encoder", BlockOptions{.dim = 32,
                                                                       .heads = 4,
                                                                       .ffn_dim = 64,
                                                                       .dropout = 0.1,
                                                                       .activation = Activation::kGelu,
                                                                       .norm_first = norm_first})),
        decoder(child<TransformerDecoderLayer>("decoder", BlockOptions{.dim = 32,
                                                                       .heads = 4,
                                                                       .ffn_dim = 64,
                                                                       .dropout = 0.1,
                                                                       .activation = Activation::kGelu,
                                                                       .norm_first = norm_first})),
        head(child<Linear>("head", 32, 23)) {}

  /// blocks: the encoder's alone, or both.
  Variable operator()(const Tensor& tokens, int blocks) const {
    const Variable x = embed(tokens);
    const Variable y = blocks == 1 ? encoder(x) : decoder(x, encoder(x), AttentionMask::causal());
    CHECK(y.dtype() == (precision() == Precision::kBFloat16 ? kNarrow : kWide));
    const Tensor targets = index_select(Variable(tokens.to(kWide)), 1, reversed(tokens.dim(1))).value();
    return linear_cross_entropy(y, head.weight(), head.bias(), targets.to(DType::kInt64));
  }

  Embedding& embed;
  TransformerEncoderLayer& encoder;
  TransformerDecoderLayer& decoder;
  Linear& head;
};

Tensor some_tokens(int64_t batch, int64_t length) {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < batch * length; ++i) ids.push_back(i * i % 23);
  return Tensor::from(ids, {batch, length});
}

TEST_CASE("gradients of Transformer blocks in bfloat16 are those in float32", "[layers][precision]") {
  const struct {
    bool norm_first;
    int blocks;
    double tolerance;
  } cases[] = {{true, 1, 1e-2}, {false, 1, 1e-2}, {true, 2, 2.5e-2}, {false, 2, 2.5e-2}};
  for (const auto& [norm_first, blocks, tolerance] : cases) {
    manual_seed(5);
    Blocks model(norm_first);
    const Tensor tokens = some_tokens(6, 16);
    double losses[2] = {};
    std::vector<Tensor> wanted;
    Distance distance;
    for (const Precision precision : {Precision::kFull, Precision::kBFloat16}) {
      manual_seed(7);  // of the dropout
      model.set_precision(precision);
      model.zero_grad();
      const Variable loss = model(tokens, blocks);
      CHECK(loss.dtype() == kWide);
      losses[static_cast<int>(precision)] = loss.item();
      loss.backward();
      size_t i = 0;
      for (const Variable& parameter : model.parameters()) {
        CHECK(parameter.dtype() == kWide);
        if (!parameter.grad().defined()) continue;  // of a block that is left out
        CHECK(parameter.grad().dtype() == kWide);
        if (precision == Precision::kFull) {
          wanted.push_back(parameter.grad().clone());
        } else {
          distance.add(parameter.grad(), wanted[i++]);
        }
      }
    }
    INFO("norm_first " << norm_first << ", " << blocks << " blocks: " << distance.relative());
    CHECK(std::abs(losses[1] - losses[0]) < 2e-3 * losses[0]);
    CHECK(distance.relative() < tolerance);
    CHECK(distance.relative() > 1e-5);  // something was rounded
  }
}

TEST_CASE("gradients of parameters are float32 sums over bfloat16", "[layers][precision]") {
  // Every number is exact, and no sum of them fits into the 8 bits of a bfloat16.
  constexpr int64_t kRows = 257;
  const Variable x(Tensor::full({kRows, 4}, 1, kNarrow));
  const Linear layer(4, 3);
  const LayerNorm norm(4);
  Embedding embed(2, 4);
  embed.set_precision(Precision::kBFloat16);
  for (int use = 0; use < 3; ++use) {
    const auto add_up = [](const Variable& y) {
      CHECK(y.dtype() == kNarrow);
      y.backward(Tensor::full(y.shape(), 1, kNarrow));
    };
    add_up(layer(x));
    add_up(norm(x));
    add_up(embed(Tensor::full({kRows}, 1, DType::kInt64)));
  }
  const double total = 3 * kRows;
  for (const double value : values(layer.weight().grad())) CHECK(value == total);
  for (const double value : values(layer.bias().grad())) CHECK(value == total);
  for (const double value : values(norm.bias().grad())) CHECK(value == total);
  for (const double value : values(embed.weight().grad().select(0, 1))) CHECK(value == total);
}

TEST_CASE("a parameter is rounded once, and again when it has changed", "[layers][precision]") {
  Linear layer(3, 2);
  const Variable& weight = layer.weight();
  const auto rounded = [&] {
    const Tensor now = weight.value_as(kNarrow);
    CHECK(same_values(now, weight.value().to(kNarrow)));
    return now;
  };
  const Tensor first = rounded();
  CHECK(rounded().raw() == first.raw());
  CHECK(weight.value_as(kWide).raw() == weight.value().raw());
  Tensor(weight.value()).fill_(3.14159);
  CHECK(values(rounded()).front() == 3.140625);

  // Placed into the optimizer's memory, then stepped.
  Adam adam(layer.named_parameters(), {.learning_rate = 0.1});
  const Variable x(Tensor::full({1, 3}, 1, kNarrow));
  std::vector<const void*> places;
  for (int step = 0; step < 3; ++step) {
    const Tensor before = rounded().clone();
    sum(layer(x)).backward();
    adam.step();
    CHECK(max_difference(rounded(), before) > 0.05);
    places.push_back(rounded().raw());
  }
  CHECK(places[1] == places[0]);
  CHECK(places[2] == places[0]);
  Linear other(3, 2);
  layer.load_state_dict(other.state_dict());
  CHECK(same_values(rounded(), other.weight().value().to(kNarrow)));
  layer.to(DType::kFloat64);
  rounded();
}

TEST_CASE("operands of other dtypes are refused beside bfloat16", "[layers][precision][errors]") {
  const NoGrad values_only;
  const Variable x(Tensor::zeros({2, 3}, kNarrow));
  Linear layer(3, 2);
  CHECK(layer(x).dtype() == kNarrow);
  layer.to(DType::kFloat64);
  CHECK(error_text<DTypeError>([&] { layer(x); }).find("linear: x is bfloat16 and weight is float64") == 0);
  // Only parameters follow: of two activations neither is rounded unasked.
  const Variable wide(Tensor::zeros({2, 3}));
  CHECK(error_text<DTypeError>([&] { add(x, wide); }).find("add: a is bfloat16 and b is float32") == 0);
}

}  // namespace
}  // namespace attune::testing
