#include "layers/transformer/decoder.h"

#include <catch2/catch_test_macros.hpp>

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "layers/attention/linear_attention.h"
#include "layers/attention/relative.h"
#include "layers/transformer/transformer.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"

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

constexpr int64_t kMemory = 4;
const MemoryOptions kMemoryOptions{.dim = kMemory};

TransformerDecoderOptions options(bool norm_first, double dropout, int64_t blocks = 2) {
  return {.blocks = blocks,
          .block = {.dim = kDim,
                    .heads = 2,
                    .ffn_dim = 5,
                    .dropout = dropout,
                    .activation = Activation::kGelu,
                    .norm_first = norm_first},
          .memory = kMemoryOptions};
}

/// The parameters below `prefix`, without it.
StateDict below(const Module& module, const std::string& prefix) {
  StateDict out;
  for (const auto& [name, tensor] : module.state_dict()) {
    if (name.starts_with(prefix)) out.emplace_back(name.substr(prefix.size()), tensor);
  }
  return out;
}

const Tensor& lengths() {
  static const Tensor tensor = Tensor::from<int64_t>({4, 2}, {2});
  return tensor;
}

AttentionMask padding() { return AttentionMask::padding(lengths()); }

Tensor target(DType dtype = DType::kFloat64) { return random_tensor({2, 5, kDim}, dtype, 1); }
Tensor memory(DType dtype = DType::kFloat64) { return random_tensor({2, 4, kMemory}, dtype, 2); }

}  // namespace

TEST_CASE("a decoder layer is two attentions and feed-forward with residuals and norms", "[layers][decoder]") {
  for (bool norm_first : {false, true}) {
    TransformerDecoderLayer layer(layer_options(norm_first, 0), kMemoryOptions);
    randomise(layer);
    layer.to(DType::kFloat64);
    MultiHeadAttention attn(kDim, 2);
    MultiHeadAttention cross(kDim, 2, {.kdim = kMemory, .vdim = kMemory});
    FeedForward ffn(kDim, 5, {.activation = Activation::kGelu});
    LayerNorm norm1(kDim), norm2(kDim), norm3(kDim);
    const std::pair<const char*, Module*> parts[] = {{"attn.", &attn},   {"cross.", &cross}, {"ffn.", &ffn},
                                                     {"norm1.", &norm1}, {"norm2.", &norm2}, {"norm3.", &norm3}};
    for (const auto& [name, module] : parts) {
      module->load_state_dict(below(layer, name));
      module->to(DType::kFloat64);
    }
    const Variable x(target()), m(memory());
    const AttentionMask causal = AttentionMask::causal();
    Variable expected;
    if (norm_first) {
      const Variable y = x + attn(norm1(x), causal).output;
      const Variable z = y + cross(norm2(y), m, padding()).output;
      expected = z + ffn(norm3(z));
    } else {
      const Variable y = norm1(x + attn(x, causal).output);
      const Variable z = norm2(y + cross(y, m, padding()).output);
      expected = norm3(z + ffn(z));
    }
    CHECK(max_difference(layer(x, m, causal, padding()).value(), expected.value()) < 1e-13);
  }
}

TEST_CASE("a decoder is its layers one after the other, with dropout too", "[layers][decoder]") {
  for (bool norm_first : {false, true}) {
    for (bool final_norm : {false, true}) {
      for (double dropout : {0.0, 0.4}) {
        INFO("norm_first " << norm_first << ", final_norm " << final_norm << ", dropout " << dropout);
        TransformerDecoderOptions whole = options(norm_first, dropout, 3);
        whole.final_norm = final_norm;
        TransformerDecoder decoder(whole);
        randomise(decoder);
        std::vector<std::unique_ptr<TransformerDecoderLayer>> layers;
        for (int i = 0; i < 3; ++i) {
          layers.push_back(
              std::make_unique<TransformerDecoderLayer>(layer_options(norm_first, dropout), kMemoryOptions));
          layers.back()->load_state_dict(below(decoder, "block" + std::to_string(i) + "."));
        }
        LayerNorm norm(kDim);
        if (final_norm) norm.load_state_dict(below(decoder, "norm."));
        const Variable x(target(DType::kFloat32)), m(memory(DType::kFloat32));
        const NoGrad no_grad;
        manual_seed(4);
        const Variable y = decoder(x, m, AttentionMask::causal(), padding());
        manual_seed(4);
        Variable z = x;
        for (const auto& layer : layers) z = (*layer)(z, m, AttentionMask::causal(), padding());
        if (final_norm) z = norm(z);
        CHECK(max_difference(y.value(), z.value()) < 2e-5);
      }
    }
  }
}

TEST_CASE("decoders have right gradients", "[layers][decoder][gradcheck]") {
  for (bool norm_first : {false, true}) {
    for (bool bias : {true, false}) {
      TransformerDecoderOptions whole = options(norm_first, 0);
      whole.block.bias = bias;
      TransformerDecoder decoder(whole);
      randomise(decoder);
      const Call call = [&](auto x) { return decoder(x[0], x[1], AttentionMask::causal(), padding()); };
      check_gradients(decoder, {target(), memory()}, call);
    }
    TransformerDecoderLayer layer(layer_options(norm_first, 0), kMemoryOptions);
    randomise(layer);
    check_gradients(layer, {target(), memory()},
                    [&](auto x) { return layer(x[0], x[1], AttentionMask::causal(), padding()); });
  }
}

TEST_CASE("contract 3.18: decoding step by step is the full causal pass, batches and beams", "[layers][decoder]") {
  struct Variant {
    const char* name;
    void (*change)(TransformerDecoderOptions&);
  };
  const Variant variants[] = {
      {"plain", [](TransformerDecoderOptions&) {}},
      {"without norm", [](TransformerDecoderOptions& o) { o.final_norm = false; }},
      {"multi-query, rotary",
       [](TransformerDecoderOptions& o) {
         o.block.heads = 3;
         o.block.key_heads = 1;
         o.block.positions = RotaryOptions{};
       }},
      {"buckets", [](TransformerDecoderOptions& o) { o.block.positions = RelativeBucketsOptions{}; }},
      {"Shaw",
       [](TransformerDecoderOptions& o) {
         o.block.core = [] {
           return std::make_unique<RelativeAttention>(3, RelativeAttentionOptions{.max_distance = 2});
         };
       }},
      {"linear",
       [](TransformerDecoderOptions& o) {
         o.block.core = o.memory.core = [] { return std::make_unique<LinearAttention>(); };
       }},
  };
  for (bool norm_first : {false, true}) {
    for (const Variant& variant : variants) {
      INFO(variant.name << ", norm_first " << norm_first);
      TransformerDecoderOptions whole = options(norm_first, 0);
      variant.change(whole);
      TransformerDecoder decoder(whole);
      randomise(decoder);
      decoder.to(DType::kFloat64);
      decoder.eval();
      const Variable x(target()), m(memory());
      const Tensor full = decoder(x, m, AttentionMask::causal(), padding()).value();
      Tape::current().clear();
      TransformerDecoderCache cache = decoder.start(m, lengths());
      CHECK(cache.length() == 0);
      CHECK(cache.batch() == 2);
      for (int64_t t = 0; t < 5; ++t) {
        const Variable y = decoder.step(slice(x, 1, t, t + 1), cache);
        CHECK(max_difference(y.value(), full.slice(1, t, t + 1)) < 1e-12);
        CHECK(cache.length() == t + 1);
      }
      CHECK(Tape::current().size() == 0);

      // Beams: each sample three times from the start, then beams change places, within samples and across them.
      TransformerDecoderCache beams = decoder.start(m, lengths(), 8);
      beams.select(Tensor::from<int64_t>({0, 0, 0, 1, 1, 1}, {6}));
      std::vector<std::vector<int64_t>> told(6);  // the tokens that each beam has taken
      std::vector<int64_t> sample{0, 0, 0, 1, 1, 1};
      const Tensor vocabulary = random_tensor({9, kDim}, DType::kFloat64, 4);
      const std::vector<int64_t> moves[] = {{2, 2, 0, 3, 5, 3}, {0, 1, 2, 3, 4, 5}, {5, 1, 1, 0}, {3, 3}};
      int64_t token = 0;
      for (const std::vector<int64_t>& move : moves) {
        std::vector<int64_t> next;
        for (auto& beam : told) {
          beam.push_back(token = (token + 5) % 9);
          next.push_back(token);
        }
        const auto n = static_cast<int64_t>(told.size());
        const Variable y =
            decoder.step(reshape(index_select(Variable(vocabulary), 0, Tensor::from(next, {n})), {n, 1, kDim}), beams);
        for (int64_t b = 0; b < n; ++b) {
          const auto& beam = told[static_cast<size_t>(b)];
          const int64_t from = sample[static_cast<size_t>(b)];
          const auto count = static_cast<int64_t>(beam.size());
          const Variable tokens =
              reshape(index_select(Variable(vocabulary), 0, Tensor::from(beam, {count})), {1, count, kDim});
          const Tensor alone = decoder(tokens, Variable(memory().slice(0, from, from + 1)), AttentionMask::causal(),
                                       AttentionMask::padding(lengths().slice(0, from, from + 1)))
                                   .value();
          CHECK(max_difference(y.value().select(0, b).select(0, 0), alone.select(0, 0).select(0, count - 1)) < 1e-12);
        }
        beams.select(Tensor::from(move, {static_cast<int64_t>(move.size())}));
        std::vector<std::vector<int64_t>> chosen;
        std::vector<int64_t> samples;
        for (int64_t row : move) {
          chosen.push_back(told[static_cast<size_t>(row)]);
          samples.push_back(sample[static_cast<size_t>(row)]);
        }
        told = chosen;
        sample = samples;
      }
      Tape::current().clear();
    }
  }
}

TEST_CASE("contract 3.6: NaN in the memory's padding reaches nothing", "[layers][decoder][contract]") {
  for (bool norm_first : {false, true}) {
    TransformerDecoder decoder(options(norm_first, 0.3));
    randomise(decoder);
    Tensor m = memory(DType::kFloat32);
    const auto once = [&] {
      manual_seed(6);
      const Variable x(target(DType::kFloat32), true), in(m.clone(), true);
      const Variable y = decoder(x, in, AttentionMask::causal(), padding());
      sum(square(y)).backward();
      std::vector<Tensor> out{y.value(), x.grad(), in.grad()};
      for (const Variable& parameter : decoder.parameters()) out.push_back(parameter.grad().clone());
      decoder.zero_grad();
      return out;
    };
    const std::vector<Tensor> clean = once();
    m.select(0, 1).slice(0, 2, 4).fill_(std::numeric_limits<double>::quiet_NaN());
    const std::vector<Tensor> dirty = once();
    for (size_t i = 0; i < clean.size(); ++i) {
      INFO("result " << i);
      CHECK(same_values(clean[i], dirty[i]));
    }
  }
}

TEST_CASE("contract 3.3: a causal decoder with dropout does not see the future", "[layers][decoder][contract]") {
  for (bool norm_first : {false, true}) {
    TransformerDecoder decoder(options(norm_first, 0.3));
    const Tensor x = target(DType::kFloat32);
    const NoGrad no_grad;
    const auto once = [&](const Tensor& in) {
      manual_seed(3);
      return decoder(Variable(in), Variable(memory(DType::kFloat32)), AttentionMask::causal()).value();
    };
    const Tensor before = once(x);
    for (int64_t t = 0; t < 4; ++t) {
      Tensor changed = x.clone();
      changed.select(1, t + 1).fill_(2);
      const Tensor after = once(changed);
      CHECK(same_values(before.slice(1, 0, t + 1), after.slice(1, 0, t + 1)));
      CHECK_FALSE(same_values(before.slice(1, t + 1, 5), after.slice(1, t + 1, 5)));
    }
  }
}

TEST_CASE("a Transformer is its decoder on its encoder's output", "[layers][decoder]") {
  for (bool norm_first : {false, true}) {
    Transformer transformer({.encoder_blocks = 2,
                             .decoder_blocks = 1,
                             .block = {.dim = kDim, .heads = 2, .ffn_dim = 5, .dropout = 0, .norm_first = norm_first}});
    randomise(transformer);
    const Variable source(random_tensor({2, 4, kDim}, DType::kFloat32, 3)), x(target(DType::kFloat32));
    const Variable y =
        transformer(source, x, {.source = padding(), .target = AttentionMask::causal(), .memory = padding()});
    const Variable encoded = transformer.encoder()(source, padding());
    const Variable expected = transformer.decoder()(x, encoded, AttentionMask::causal(), padding());
    CHECK(same_values(y.value(), expected.value()));
    CHECK(below(transformer, "encoder.norm.").size() == 2);
    CHECK(below(transformer, "decoder.norm.").size() == 2);
    CHECK(below(transformer, "encoder.block1.").size() == 12);
    CHECK(below(transformer, "decoder.block0.").size() == 18);
    CHECK(below(transformer, "decoder.block1.").empty());
  }
  Tape::current().clear();
}

TEST_CASE("decoder errors name the module", "[layers][decoder][errors]") {
  struct Model : Module {
    TransformerDecoder& decoder = child<TransformerDecoder>("decoder", options(false, 0));
  } model;
  const Variable x(target(DType::kFloat32)), m(memory(DType::kFloat32));
  CHECK(error_text<ShapeError>([&] {
          model.decoder(Variable(Tensor::zeros({2, 5, 7})), m);
        }) == "decoder.block0.attn: x is [2, 5, 7], expected [B, T, 6]");
  CHECK(error_text<ShapeError>([&] { model.decoder(x, x); }) ==
        "decoder.block0.cross: key is [2, 5, 6], expected [B, S, 4]");
  CHECK(error_text<ShapeError>([&] { model.decoder.start(x); }) ==
        "decoder.block0.cross: memory is [2, 5, 6], expected [B, S, 4]");
  CHECK(error_text<ValueError>([&] {
          model.decoder.start(m, Tensor::from<int64_t>({4, 5}, {2}));
        }).find("sample 1") != std::string::npos);
  TransformerDecoderCache cache = model.decoder.start(m);
  CHECK(error_text<ValueError>([&] {
          cache.select(Tensor::from<int64_t>({0, 2}, {2}));
        }).starts_with("TransformerDecoderCache: "));
  CHECK_THROWS_AS(model.decoder.step(Variable(Tensor::zeros({3, 1, kDim})), cache), ShapeError);
  CHECK_THROWS_AS(TransformerDecoder(options(false, 0, 0)), ValueError);
  CHECK_THROWS_AS(TransformerDecoder(options(false, 1)), ValueError);
}

TEST_CASE("each dropout acts where it is said to", "[layers][decoder]") {
  const Variable x(random_tensor({2, 3, kDim})), memory(random_tensor({2, 4, kMemory}));
  const auto changes = [&](double branches, std::optional<double> attention, std::optional<double> hidden) {
    BlockOptions options = layer_options(false, branches);
    options.attention_dropout = attention;
    options.hidden_dropout = hidden;
    manual_seed(5);
    TransformerDecoderLayer layer(options, kMemoryOptions);
    layer.to(DType::kFloat64);
    const NoGrad no_grad;
    const Tensor trained = layer(x, memory).value().clone();
    layer.eval();
    return max_difference(trained, layer(x, memory).value()) > 1e-6;
  };
  CHECK_FALSE(changes(0, {}, {}));
  CHECK(changes(0, 0.5, {}));
  CHECK(changes(0, {}, 0.5));
  CHECK(changes(0.5, 0, 0));
}
