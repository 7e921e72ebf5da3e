#include "layers/attention/recorder.h"

#include <catch2/catch_test_macros.hpp>

#include <cmath>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "layers/attention/registry.h"
#include "layers/pooling.h"
#include "layers/transformer/encoder.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"

using namespace attune;
using namespace attune::testing;

namespace {

struct Model : Module {
  TransformerEncoder& encoder = child<TransformerEncoder>(
      "encoder", TransformerEncoderOptions{.blocks = 2, .block = {.dim = 8, .heads = 2, .ffn_dim = 8, .dropout = 0.3}});
  AttentionPooling& pool = child<AttentionPooling>("pool", 8, AttentionPoolingOptions{.heads = 2, .dropout = 0.3});

  Variable operator()(const Variable& x, const AttentionMask& mask) { return pool(encoder(x, mask), mask).output; }
};

const AttentionMask& mask() {
  static const AttentionMask mask = AttentionMask::padding(Tensor::from<int64_t>({5, 3}, {2}));
  return mask;
}

/// Everything that a training step leaves behind.
std::vector<Tensor> step(Model& model) {
  manual_seed(8);
  const Variable x(random_tensor({2, 5, 8}, DType::kFloat32), true);
  const Variable y = model(x, mask());
  sum(square(y)).backward();
  std::vector<Tensor> out{y.value(), x.grad()};
  for (const Variable& parameter : model.parameters()) out.push_back(parameter.grad().clone());
  model.zero_grad();
  const auto offset = static_cast<double>(default_stream().state().offset);
  out.push_back(Tensor::full({1}, offset));
  return out;
}

}  // namespace

TEST_CASE("AttentionRecorder hands out every attention's weights by path", "[attention]") {
  Model model;
  randomise(model);
  AttentionRecorder recorder(model);
  step(model);
  REQUIRE(recorder.records().size() == 3);
  const char* paths[] = {"encoder.block0.attn", "encoder.block1.attn", "pool"};
  for (size_t i = 0; i < 3; ++i) {
    const auto& [path, weights] = recorder.records()[i];
    CHECK(path == paths[i]);
    CHECK(weights.shape() == Shape{2, 2, i < 2 ? 5 : 1, 5});
    for (double total : values(sum(Variable(weights), {3}).value())) CHECK(std::abs(total - 1) < 1e-5);
    CHECK(all_zero(weights.select(0, 1).slice(2, 3, 5)));
  }
  recorder.clear();
  CHECK(recorder.records().empty());
}

TEST_CASE("AttentionRecorder changes nothing, bit by bit, in training and evaluation", "[attention]") {
  for (bool training : {true, false}) {
    Model model;
    randomise(model);
    model.train(training);
    const std::vector<Tensor> without = step(model);
    std::vector<Tensor> with;
    {
      AttentionRecorder recorder(model);
      with = step(model);
      CHECK(recorder.records().size() == 3);
    }
    REQUIRE(without.size() == with.size());
    for (size_t i = 0; i < with.size(); ++i) CHECK(same_values(without[i], with[i]));
  }
}

TEST_CASE("AttentionRecorder leaves nothing on the tape", "[attention]") {
  MultiHeadAttention attn(8, 2);
  const Variable x(random_tensor({2, 5, 8}, DType::kFloat32), true);
  Tape::current().clear();
  attn(x, mask());
  const size_t nodes = Tape::current().size();
  Tape::current().clear();
  AttentionRecorder recorder(attn);
  attn(x, mask());
  CHECK(Tape::current().size() == nodes);
  Tape::current().clear();
}

TEST_CASE("the recorded weights are those that were used", "[attention]") {
  MultiHeadAttention attn(8, 2);
  randomise(attn);
  AttentionRecorder recorder(attn);
  const Variable x(random_tensor({2, 5, 8}, DType::kFloat32));
  const AttentionResult asked = attn(x, mask(), Weights::kPerHead);
  attn(x, mask());
  attn(x, x, mask());
  REQUIRE(recorder.records().size() == 3);
  for (const auto& record : recorder.records()) {
    CHECK(record.path.empty());  // the module that the recorder was made for
    CHECK(max_difference(record.weights, asked.weights.value()) < 1e-6);
  }
}

TEST_CASE("a second recorder for the same module is an error; a later one is not", "[attention][errors]") {
  Model model;
  {
    AttentionRecorder first(model);
    CHECK(error_text<ValueError>([&] { AttentionRecorder second(model.encoder); }) ==
          "AttentionRecorder: 'block0.attn' is recorded already");
  }
  AttentionRecorder later(model);
  step(model);
  CHECK(later.records().size() == 3);
}

TEST_CASE("the recorded weights are those of the same draw", "[attention]") {
  for (const char* name : {"monotonic", "hard-image"}) {
    AttentionConfig config = attention_config(name);
    config.sizes = {.query = 4};
    const auto core = make_attention(config);
    const Variable q(random_tensor({2, 5, 1, 4}, DType::kFloat32, 1)),
        k(random_tensor({2, 6, 1, 4}, DType::kFloat32, 2));
    manual_seed(6);
    const Tensor drawn = (*core)(q, k, k, {}, true).weights.value();
    const RandomState after = default_stream().state();
    AttentionRecorder recorder(*core);
    manual_seed(6);
    (*core)(q, k, k);
    CHECK(default_stream().state() == after);
    CHECK(same_values(recorder.records().at(0).weights, drawn));
  }
}
