#include "layers/transformer/encoder.h"

#include <catch2/catch_test_macros.hpp>

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"
#include "tests/support/heap_counter.h"

using namespace attune;
using namespace attune::testing;

namespace {

constexpr int64_t kDim = 6;

BlockOptions layer_options(bool norm_first, double dropout) {
  return {.dim = kDim,
          .heads = 2,
          .ffn_dim = 5,
          .dropout = dropout,
          .activation = Activation::kGelu,
          .norm_first = norm_first};
}

TransformerEncoderOptions options(bool norm_first, double dropout, int64_t blocks = 3) {
  return {.blocks = blocks,
          .block = {.dim = kDim, .heads = 2, .ffn_dim = 5, .dropout = dropout, .norm_first = norm_first}};
}

/// The parameters below `prefix`, without it.
StateDict below(const Module& module, const std::string& prefix) {
  StateDict out;
  for (const auto& [name, tensor] : module.state_dict()) {
    if (name.starts_with(prefix)) out.emplace_back(name.substr(prefix.size()), tensor);
  }
  return out;
}

const AttentionMask& padding() {
  static const AttentionMask mask = AttentionMask::padding(Tensor::from<int64_t>({5, 3}, {2}));
  return mask;
}

}  // namespace

TEST_CASE("an encoder layer is attention and feed-forward with residuals and norms", "[layers]") {
  for (bool norm_first : {false, true}) {
    TransformerEncoderLayer layer(layer_options(norm_first, 0));
    randomise(layer);
    layer.to(DType::kFloat64);
    MultiHeadAttention attn(kDim, 2);
    FeedForward ffn(kDim, 5, {.activation = Activation::kGelu});
    LayerNorm norm1(kDim), norm2(kDim);
    attn.load_state_dict(below(layer, "attn."));
    ffn.load_state_dict(below(layer, "ffn."));
    norm1.load_state_dict(below(layer, "norm1."));
    norm2.load_state_dict(below(layer, "norm2."));
    for (Module* module : std::initializer_list<Module*>{&attn, &ffn, &norm1, &norm2}) module->to(DType::kFloat64);

    const Variable x(random_tensor({2, 5, kDim}));
    Variable expected;
    if (norm_first) {
      const Variable y = x + attn(norm1(x), padding()).output;
      expected = y + ffn(norm2(y));
    } else {
      const Variable y = norm1(x + attn(x, padding()).output);
      expected = norm2(y + ffn(y));
    }
    CHECK(max_difference(layer(x, padding()).value(), expected.value()) < 1e-13);
  }
}

TEST_CASE("an encoder is its layers one after the other, with dropout too", "[layers]") {
  for (bool norm_first : {false, true}) {
    for (bool final_norm : {false, true}) {
      for (double dropout : {0.0, 0.4}) {
        INFO("norm_first " << norm_first << ", final_norm " << final_norm << ", dropout " << dropout);
        TransformerEncoderOptions whole = options(norm_first, dropout);
        whole.final_norm = final_norm;
        whole.block.activation = Activation::kGelu;
        TransformerEncoder encoder(whole);
        randomise(encoder);
        const Variable x(random_tensor({2, 5, kDim}, DType::kFloat32), true);
        const auto gradient_of = [&](const Variable& y) {
          y.backward(random_tensor(y.shape(), DType::kFloat32, 9));
          const Tensor gradient = x.grad().clone();
          Variable(x).zero_grad();
          return gradient;
        };
        std::vector<std::unique_ptr<TransformerEncoderLayer>> layers;
        for (int i = 0; i < 3; ++i) {
          layers.push_back(std::make_unique<TransformerEncoderLayer>(layer_options(norm_first, dropout)));
          layers.back()->load_state_dict(below(encoder, "block" + std::to_string(i) + "."));
        }
        LayerNorm norm(kDim);
        if (final_norm) norm.load_state_dict(below(encoder, "norm."));

        manual_seed(4);
        const Variable y = encoder(x, padding());
        const Tensor& value = y.value();
        const Tensor gradient = gradient_of(y);
        manual_seed(4);
        Variable z = x;
        for (const auto& layer : layers) z = (*layer)(z, padding());
        if (final_norm) z = norm(z);
        CHECK(max_difference(value, z.value()) < 2e-5);
        CHECK(max_difference(gradient, gradient_of(z)) < 5e-5);
      }
    }
  }
}

TEST_CASE("encoders have a final norm by default when norms come first", "[layers]") {
  CHECK(below(TransformerEncoder(options(true, 0)), "norm.").size() == 2);
  CHECK(below(TransformerEncoder(options(false, 0)), "norm.").empty());
  std::vector<std::string> names;
  for (const auto& [name, tensor] : TransformerEncoder(options(false, 0, 1)).state_dict()) names.push_back(name);
  CHECK(names == std::vector<std::string>{"block0.attn.qkv.weight", "block0.attn.qkv.bias", "block0.attn.out.weight",
                                          "block0.attn.out.bias", "block0.ffn.linear1.weight",
                                          "block0.ffn.linear1.bias", "block0.ffn.linear2.weight",
                                          "block0.ffn.linear2.bias", "block0.norm1.weight", "block0.norm1.bias",
                                          "block0.norm2.weight", "block0.norm2.bias"});
}

TEST_CASE("encoders have right gradients", "[layers][gradcheck]") {
  for (bool norm_first : {false, true}) {
    for (bool bias : {true, false}) {
      TransformerEncoderOptions whole = options(norm_first, 0, 2);
      whole.block.bias = bias;
      whole.block.activation = Activation::kGeluTanh;
      TransformerEncoder encoder(whole);
      randomise(encoder);
      const AttentionMask mask = padding() & AttentionMask::causal();
      check_gradients(encoder, {random_tensor({2, 5, kDim})}, [&](auto x) { return encoder(x[0], mask); });
      TransformerEncoderLayer layer(layer_options(norm_first, 0));
      randomise(layer);
      check_gradients(layer, {random_tensor({2, 5, kDim})}, [&](auto x) { return layer(x[0], mask); });
    }
  }
}

TEST_CASE("contract 3.3: a causal encoder with dropout does not see the future", "[layers][contract]") {
  for (bool norm_first : {false, true}) {
    TransformerEncoder encoder(options(norm_first, 0.3));
    const Tensor x = random_tensor({2, 6, kDim}, DType::kFloat32);
    const auto once = [&](const Tensor& in) {
      manual_seed(3);
      return encoder(Variable(in), AttentionMask::causal()).value();
    };
    const Tensor before = once(x);
    for (int64_t t = 0; t < 5; ++t) {
      Tensor changed = x.clone();
      changed.select(1, t + 1).fill_(2);
      const Tensor after = once(changed);
      CHECK(same_values(before.slice(1, 0, t + 1), after.slice(1, 0, t + 1)));
      CHECK_FALSE(same_values(before.slice(1, t + 1, 6), after.slice(1, t + 1, 6)));
    }
  }
}

TEST_CASE("contract 3.16: a padded batch equals each sequence alone, through the encoder", "[layers][contract]") {
  for (bool norm_first : {false, true}) {
    TransformerEncoder encoder(options(norm_first, 0));
    randomise(encoder);
    encoder.to(DType::kFloat64);
    const std::vector<int64_t> lengths{6, 2, 4};
    const Tensor mask_lengths = Tensor::from(lengths, {3});
    const Variable x(random_tensor({3, 6, kDim}), true);
    const Variable y = encoder(x, AttentionMask::padding(mask_lengths));
    const Tensor& output = y.value();
    sum(square(masked_mean(y, mask_lengths))).backward();
    std::vector<Tensor> batch_gradients;
    for (const Variable& parameter : encoder.parameters()) batch_gradients.push_back(parameter.grad().clone());
    encoder.zero_grad();
    for (int64_t b = 0; b < 3; ++b) {
      const int64_t n = lengths[static_cast<size_t>(b)];
      const Variable alone(x.value().slice(0, b, b + 1).slice(1, 0, n).contiguous(), true);
      const Variable z = encoder(alone);
      CHECK(max_difference(output.slice(0, b, b + 1).slice(1, 0, n), z.value()) < 1e-12);
      sum(square(mean(z, {1}))).backward();
      CHECK(max_difference(x.grad().slice(0, b, b + 1).slice(1, 0, n), alone.grad()) < 1e-12);
      CHECK(all_zero(x.grad().select(0, b).slice(0, n, 6)));
    }
    const std::vector<Variable> parameters = encoder.parameters();
    for (size_t i = 0; i < parameters.size(); ++i)
      CHECK(max_difference(parameters[i].grad(), batch_gradients[i]) < 1e-11);
  }
}

TEST_CASE("contract 3.6: NaN in padding stays there, through the encoder and its gradients", "[layers][contract]") {
  for (bool norm_first : {false, true}) {
    for (double dropout : {0.0, 0.3}) {
      INFO("norm_first " << norm_first << ", dropout " << dropout);
      TransformerEncoder encoder(options(norm_first, dropout));
      randomise(encoder);
      const Tensor lengths = Tensor::from<int64_t>({6, 2, 4}, {3});
      Tensor x = random_tensor({3, 6, kDim}, DType::kFloat32);
      const auto once = [&] {
        manual_seed(6);
        const Variable in(x.clone(), true);
        const Variable y = masked_mean(encoder(in, AttentionMask::padding(lengths)), lengths);
        sum(square(y)).backward();
        std::vector<Tensor> out{y.value(), in.grad()};
        for (const Variable& parameter : encoder.parameters()) out.push_back(parameter.grad().clone());
        encoder.zero_grad();
        return out;
      };
      const std::vector<Tensor> clean = once();
      x.select(0, 1).slice(0, 2, 6).fill_(std::numeric_limits<double>::quiet_NaN());
      x.select(0, 2).slice(0, 4, 6).fill_(std::numeric_limits<double>::infinity());
      const std::vector<Tensor> dirty = once();
      for (size_t i = 0; i < clean.size(); ++i) {
        INFO("result " << i);
        CHECK(same_values(clean[i], dirty[i]));
      }
    }
  }
}

TEST_CASE("a steady encoder step takes no memory from the heap", "[layers][memory]") {
  for (bool norm_first : {false, true}) {
    TransformerEncoder encoder(options(norm_first, 0.1));
    const Tensor x = random_tensor({4, 8, kDim}, DType::kFloat32);
    const Tensor lengths = Tensor::from<int64_t>({8, 2, 4, 5}, {4});
    const auto step = [&] {
      const Variable y = masked_mean(encoder(Variable(x), AttentionMask::padding(lengths)), lengths);
      sum(y).backward();
    };
    const std::vector<Variable> parameters = encoder.parameters();
    const auto reset = [&] {
      for (const Variable& parameter : parameters) {
        if (parameter.grad().defined()) parameter.leaf()->grad_state = Leaf::GradState::kEmpty;
      }
    };
    for (int i = 0; i < 3; ++i) {
      step();
      reset();
    }
    const uint64_t before = heap_allocations();
    const uint64_t system = memory_stats().system_allocations;
    for (int i = 0; i < 5; ++i) {
      step();
      reset();
    }
    CHECK(heap_allocations() == before);
    CHECK(memory_stats().system_allocations == system);
  }
}

TEST_CASE("the tape of an encoder layer is short", "[layers][memory]") {
  for (bool norm_first : {false, true}) {
    TransformerEncoder encoder(options(norm_first, 0.1, 2));
    const Variable x(random_tensor({4, 8, kDim}, DType::kFloat32), true);
    Tape::current().clear();
    encoder(x, AttentionMask::causal());
    // Per layer: qkv, attention, out, add & norm, two linears, add & norm, and two views; pre-norm has one norm more.
    CHECK(Tape::current().size() <= 2 * 9 + (norm_first ? 1 : 0));
    Tape::current().clear();
  }
}

TEST_CASE("encoder errors name the module", "[layers][errors]") {
  struct Model : Module {
    TransformerEncoder& encoder = child<TransformerEncoder>("encoder", options(false, 0));
  } model;
  CHECK(error_text<ShapeError>([&] {
          model.encoder(Variable(Tensor::zeros({2, 5, 7})));
        }) == "encoder.block0.attn: x is [2, 5, 7], expected [B, T, 6]");
  CHECK_THROWS_AS(TransformerEncoder(options(false, 0, 0)), ValueError);
  CHECK_THROWS_AS(TransformerEncoder(options(false, 1)), ValueError);
  CHECK_THROWS_AS(TransformerEncoder({.block = {.dim = 6, .heads = 4}}), ValueError);
}
