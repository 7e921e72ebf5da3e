// Modules on a CUDA device.

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <utility>
#include <vector>

#include "autograd/ops/ops.h"
#include "autograd/optim/adam.h"
#include "layers/embedding.h"
#include "layers/linear.h"
#include "layers/transformer/encoder.h"
#include "tests/support/devices.h"
#include "tests/support/tensors.h"

namespace attune::testing {
namespace {

// Without biases: that of the keys has no gradient but rounding errors, of which Adam makes whole steps.
struct Tagger : Module {
  Tagger()
      : embed(child<Embedding>("embed", 11, 8)),
        encoder(
            child<TransformerEncoder>("encoder", TransformerEncoderOptions{.blocks = 2,
                                                                           .block = {.dim = 8,
                                                                                     .heads = 2,
                                                                                     .ffn_dim = 12,
                                                                                     .dropout = 0.2,
                                                                                     .activation = Activation::kGelu,
                                                                                     .norm_first = true,
                                                                                     .bias = false}})),
        head(child<Linear>("head", 8, 11)) {}
  Embedding& embed;
  TransformerEncoder& encoder;
  Linear& head;
};

struct Trained {
  std::vector<double> losses;
  StateDict state;
};

// A few steps of learning to repeat what is read, with padding, dropout, clipping and weight decay.
Trained train(Device device, DType dtype, Precision precision) {
  manual_seed(3);
  Tagger model;
  model.to(dtype);
  model.set_precision(precision);
  model.to(device);
  AdamW optimizer(model.named_parameters(), {.learning_rate = 0.01});
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 4 * 6; ++i) ids.push_back(i * 7 % 11);
  const Tensor tokens = Tensor::from(ids, {4, 6}, device);
  const AttentionMask mask = AttentionMask::padding(Tensor::from<int64_t>({6, 2, 5, 1}, {4}, device));
  Trained out;
  for (int step = 0; step < 5; ++step) {
    const Variable loss = cross_entropy(model.head(model.encoder(model.embed(tokens), mask)), tokens);
    CHECK(loss.device() == device);
    out.losses.push_back(loss.item());
    loss.backward();
    optimizer.step({.clip_norm = 0.5});
  }
  out.state = model.state_dict();
  return out;
}

TEST_CASE("training on a CUDA device is training on the CPU", "[layers][cuda]") {
  const Device cuda = cuda_or_skip();
  const struct {
    DType dtype;
    Precision precision;
    double tolerance;
  } cases[] = {{DType::kFloat64, Precision::kFull, 1e-9},
               {DType::kFloat32, Precision::kFull, 2e-4},
               {DType::kFloat32, Precision::kBFloat16, 4e-2}};
  for (const auto& [dtype, precision, tolerance] : cases) {
    const Trained near = train(Device::cpu(), dtype, precision);
    const Trained far = train(cuda, dtype, precision);
    CHECK(near.losses.back() < near.losses.front());
    for (size_t i = 0; i < near.losses.size(); ++i) {
      CHECK(std::abs(near.losses[i] - far.losses[i]) <= tolerance * std::abs(near.losses[i]));
    }
    for (size_t i = 0; i < near.state.size(); ++i) {
      INFO(near.state[i].first);
      CHECK(far.state[i].second.device() == cuda);
      CHECK(max_difference(near.state[i].second, far.state[i].second.to(Device::cpu())) <= tolerance);
    }
  }
}

TEST_CASE("modules move between devices with all they hold", "[layers][cuda]") {
  const Device cuda = cuda_or_skip();
  Tagger model;
  const Variable weight = model.head.weight();
  const Tensor before = weight.value().clone();
  model.to(cuda);
  for (const auto& [name, tensor] : model.state_dict()) {
    INFO(name);
    CHECK(tensor.device() == cuda);
  }
  CHECK(same_values(weight.value(), before));
  Tagger other;
  other.load_state_dict(model.state_dict());  // from one device to another
  CHECK(same_values(other.head.weight().value(), before));
  model.to(Device::cpu());
  CHECK(weight.device().is_cpu());
  CHECK(same_values(weight.value(), before));
}

TEST_CASE("attention on a CUDA device is asked to be deterministic", "[layers][cuda]") {
  const Device cuda = cuda_or_skip();
  if (!is_emulated(cuda)) SKIP("a device that counts what its kernels are asked for is needed");
  Tagger tagger;
  tagger.to(cuda);
  const auto asked_by_a_step = [&] {
    const int64_t before = emulated_deterministic();
    const Variable y = tagger.encoder(tagger.embed(Tensor::zeros({2, 3}, DType::kInt64).to(cuda)));
    sum(y).backward();
    return emulated_deterministic() - before;
  };
  CHECK(asked_by_a_step() == 0);
  set_deterministic(true);
  const int64_t asked = asked_by_a_step();
  set_deterministic(false);
  CHECK(asked == 4);  // of 2 blocks, forward and backward
  CHECK(asked_by_a_step() == 0);
}

}  // namespace
}  // namespace attune::testing
