// A block of Llama (Touvron et al., 2023) is options alone.

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <string>
#include <vector>

#include "autograd/ops/attention.h"
#include "autograd/ops/ops.h"
#include "autograd/optim/adam.h"
#include "autograd/tape.h"
#include "layers/embedding.h"
#include "layers/transformer/encoder.h"
#include "layers/transformer/transformer.h"
#include "tests/support/gradients.h"
#include "tests/support/tensors.h"

using namespace attune;
using namespace attune::testing;

namespace {

constexpr int64_t kDim = 16, kHeads = 4, kKeyHeads = 2, kHidden = 12, kSize = kDim / kHeads;
constexpr double kEps = 1e-6;

BlockOptions llama() {
  return {.dim = kDim,
          .heads = kHeads,
          .ffn_dim = kHidden,
          .dropout = 0,
          .activation = Activation::kSilu,
          .norm_first = true,
          .norm_eps = kEps,
          .bias = false,
          .key_heads = kKeyHeads,
          .positions = RotaryOptions{.layout = RotaryLayout::kHalves},
          .feed_forward = FeedForwardKind::kGated,
          .norm = NormKind::kRms};
}

Variable named(const Module& module, const std::string& name) {
  for (const auto& [known, parameter] : module.named_parameters()) {
    if (known == name) return parameter;
  }
  FAIL("no parameter " << name);
  return {};
}

Variable rms(const Variable& x, const Variable& weight) { return x / sqrt(mean(square(x), {2}, true) + kEps) * weight; }

/// Pairs i and i + K / 2 of x [B, N, H, K] turned by n 10000^(-2i / K).
Variable turned(const Variable& x) {
  const int64_t half = x.dim(3) / 2;
  std::vector<double> cosines, sines;
  for (int64_t n = 0; n < x.dim(1); ++n) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle =
          static_cast<double>(n) * std::pow(10000, -2 * static_cast<double>(i) / static_cast<double>(x.dim(3)));
      cosines.push_back(std::cos(angle));
      sines.push_back(std::sin(angle));
    }
  }
  const Variable c(Tensor::from(cosines, {1, x.dim(1), 1, half})), s(Tensor::from(sines, {1, x.dim(1), 1, half}));
  const Variable a = slice(x, 3, 0, half), b = slice(x, 3, half, 2 * half);
  return concat({a * c - b * s, a * s + b * c}, 3);
}

/// Causal attention of heads to the key head of their group.
Variable grouped_attention(const Variable& q, const Variable& k, const Variable& v) {
  const Tensor group = Tensor::from<int64_t>({0, 0, 1, 1}, {kHeads});
  const auto heads_first = [](const Variable& x) { return permute(x, {0, 2, 1, 3}); };
  const Variable keys = heads_first(index_select(k, 2, group)), values = heads_first(index_select(v, 2, group));
  const int64_t length = q.dim(1);
  Tensor seen = Tensor::zeros({length, length}, DType::kBool);
  for (int64_t t = 0; t < length; ++t) seen.select(0, t).slice(0, 0, t + 1).fill_(1);
  const Variable scores = matmul(heads_first(q), keys, false, true) * (1 / std::sqrt(static_cast<double>(kSize)));
  return heads_first(matmul(masked_softmax(scores, seen), values));
}

/// The block from ops, with the parameters of `layer`.
Variable by_hand(const Module& layer, const Variable& x) {
  const auto p = [&](const char* name) { return named(layer, name); };
  const auto product = [](const Variable& in, const Variable& weight) { return matmul(in, transpose(weight, 0, 1)); };
  const int64_t batch = x.dim(0), length = x.dim(1), keys = kKeyHeads * kSize;
  const Variable qkv = product(rms(x, p("norm1.weight")), p("attn.qkv.weight"));
  const Variable q = reshape(slice(qkv, 2, 0, kDim), {batch, length, kHeads, kSize});
  const Variable k = reshape(slice(qkv, 2, kDim, kDim + keys), {batch, length, kKeyHeads, kSize});
  const Variable v = reshape(slice(qkv, 2, kDim + keys, kDim + 2 * keys), {batch, length, kKeyHeads, kSize});
  const Variable heads = reshape(grouped_attention(turned(q), turned(k), v), {batch, length, kDim});
  const Variable y = x + product(heads, p("attn.out.weight"));
  const Variable z = rms(y, p("norm2.weight"));
  const Variable hidden = silu(product(z, p("ffn.gate.weight"))) * product(z, p("ffn.linear1.weight"));
  return y + product(hidden, p("ffn.linear2.weight"));
}

}  // namespace

TEST_CASE("a Llama block by options is the block composed by hand, in value and every gradient", "[layers][llama]") {
  TransformerEncoderLayer layer(llama());
  randomise(layer);
  layer.to(DType::kFloat64);
  const Variable x(random_tensor({2, 5, kDim}, DType::kFloat64, 1), true);
  const Tensor dy = random_tensor({2, 5, kDim}, DType::kFloat64, 2);
  const auto run = [&](const Variable& y) {
    std::vector<Tensor> all{y.value()};
    y.backward(dy);
    all.push_back(x.grad().clone());
    for (const Variable& parameter : layer.parameters()) all.push_back(parameter.grad().clone());
    layer.zero_grad();
    Variable(x).zero_grad();
    return all;
  };
  const std::vector<Tensor> expected = run(by_hand(layer, x));
  const std::vector<Tensor> found = run(layer(x, AttentionMask::causal()));
  REQUIRE(found.size() == 9);  // y, dx and 7 parameters
  REQUIRE(found.size() == expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    INFO("result " << i);
    CHECK_FALSE(all_zero(expected[i]));
    CHECK(max_difference(found[i], expected[i]) < 1e-12);
  }
}

TEST_CASE("a Llama block has no biases and names as others have", "[layers][llama]") {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : TransformerEncoder({.blocks = 1, .block = llama()}).state_dict()) {
    names.push_back(name);
  }
  CHECK(names == std::vector<std::string>{"block0.attn.qkv.weight", "block0.attn.out.weight",
                                          "block0.ffn.linear1.weight", "block0.ffn.gate.weight",
                                          "block0.ffn.linear2.weight", "block0.norm1.weight", "block0.norm2.weight",
                                          "norm.weight"});
  // The same options make decoder blocks and the whole.
  const Transformer whole({.encoder_blocks = 1, .decoder_blocks = 1, .block = llama()});
  for (const auto& [name, parameter] : whole.named_parameters()) CHECK_FALSE(name.ends_with("bias"));
  const Variable x(random_tensor({2, 3, kDim}, DType::kFloat32, 1)), y(random_tensor({2, 4, kDim}, DType::kFloat32, 2));
  CHECK(whole(x, y).shape() == y.shape());
}

TEST_CASE("a stack of Llama blocks under a causal mask learns 8 samples by heart", "[layers][llama][training]") {
  static constexpr int64_t kSamples = 8, kLength = 6, kTokens = 11;
  struct Model : Module {
    Embedding& embed = child<Embedding>("embed", kTokens, kDim);
    TransformerEncoder& blocks =
        child<TransformerEncoder>("blocks", TransformerEncoderOptions{.blocks = 2, .block = llama()});
    Linear& head = child<Linear>("head", kDim, kTokens, LinearOptions{.bias = false});

    Variable operator()(const Tensor& tokens) const { return head(blocks(embed(tokens), AttentionMask::causal())); }
  };
  manual_seed(5);
  Model model;
  std::vector<int64_t> text(kSamples * (kLength + 1));
  for (size_t i = 0; i < text.size(); ++i) {
    // The first token tells the samples apart, and comes only once: of equal tokens alone, attention cannot say how
    // many there are.
    const bool first = i % (kLength + 1) == 0;
    text[i] = first ? static_cast<int64_t>(i) / (kLength + 1)
                    : kSamples + static_cast<int64_t>(default_stream().below(kTokens - kSamples));
  }
  const Tensor all = Tensor::from(text, {kSamples, kLength + 1});
  const Tensor tokens = all.slice(1, 0, kLength).contiguous(), targets = all.slice(1, 1, kLength + 1).contiguous();
  Adam adam(model.parameters(), {.learning_rate = 1e-2});
  double loss = 0;
  for (int step = 0; step < 300; ++step) {
    const Variable l = cross_entropy(model(tokens), targets);
    loss = l.item();
    l.backward();
    adam.step();
  }
  CHECK(loss < 0.02);
}
