// Steps recorded as CUDA graphs do what they do unrecorded.

#include "autograd/step_graphs.h"

#include <catch2/catch_test_macros.hpp>

#include <memory>
#include <string>
#include <vector>

#include "autograd/ops/ops.h"
#include "autograd/optim/adam.h"
#include "framework/caching_allocator.h"
#include "layers/embedding.h"
#include "layers/linear.h"
#include "layers/transformer/encoder.h"
#include "tests/support/devices.h"
#include "tests/support/tensors.h"

namespace attune::testing {
namespace {

struct Tagger : Module {
  Tagger()
      : embed(child<Embedding>("embed", 11, 8)),
        encoder(child<TransformerEncoder>(
            "encoder",
            TransformerEncoderOptions{.blocks = 1, .block = {.dim = 8, .heads = 2, .ffn_dim = 12, .dropout = 0.2}})),
        head(child<Linear>("head", 8, 11)) {}
  Embedding& embed;
  TransformerEncoder& encoder;
  Linear& head;
};

struct Batch {
  Tensor tokens;   // [B, T]
  Tensor lengths;  // [B]
};

/// Of one of two shapes, each with other tokens and lengths.
Batch batch_of(int64_t step) {
  const int64_t count = 3, length = step % 3 == 1 ? 6 : 5;
  std::vector<int64_t> ids, lengths;
  for (int64_t i = 0; i < count * length; ++i) ids.push_back((i * 7 + step * 3) % 11);
  for (int64_t i = 0; i < count; ++i) lengths.push_back(1 + (step + i) % length);
  return {Tensor::from(ids, {count, length}), Tensor::from(lengths, {count})};
}

/// A few steps of two batches each, whose gradients are added up.
struct Training {
  Training(Device device, GraphMode mode) {
    model.to(device);
    optimizer = std::make_unique<AdamW>(model.named_parameters(), AdamWOptions{.learning_rate = 0.01});
    graphs = std::make_unique<StepGraphs>(mode, model.named_parameters(),
                                          [this](const std::string& reason) { refusals.push_back(reason); });
  }

  void step() {
    for (int part = 0; part < 2; ++part) {
      const Batch batch = batch_of(batches++);
      const Tensor inputs[] = {batch.tokens, batch.lengths};
      const std::vector<Tensor>& found = graphs->run(inputs, [&](std::vector<Tensor>& results) {
        const AttentionMask mask = AttentionMask::padding(batch.lengths);
        const Variable logits = model.head(model.encoder(model.embed(batch.tokens), mask));
        const Variable loss = cross_entropy(logits, batch.tokens);
        loss.backward();
        if (waits) loss.item();
        results.push_back(uploads ? Tensor::full({}, 1).to(loss.device()) : loss.value());
      });
      copies.emplace_back(found[0]);
    }
    optimizer->step({.gradient_scale = 0.5, .clip_norm = 1});
  }
  std::vector<double> losses() {
    std::vector<double> all;
    for (PendingCopy& copy : copies) all.push_back(copy.get().item());
    return all;
  }

  struct Seed {
    Seed() { manual_seed(3); }
  };
  Seed before_the_model;
  Tagger model;
  std::unique_ptr<AdamW> optimizer;
  std::unique_ptr<StepGraphs> graphs;
  std::vector<std::string> refusals;
  int64_t batches = 0;
  std::vector<PendingCopy> copies;
  bool waits = false;
  bool uploads = false;
};

void check_same(Training& one, Training& other) {
  CHECK(one.losses() == other.losses());
  const StateDict left = one.model.state_dict(), right = other.model.state_dict();
  for (size_t i = 0; i < left.size(); ++i) {
    INFO(left[i].first);
    CHECK(same_values(left[i].second, right[i].second));
  }
}

TEST_CASE("steps recorded as graphs are the steps that are not", "[graphs][cuda]") {
  const Device cuda = cuda_or_skip();
  Training plain(cuda, GraphMode::kOff);
  for (int step = 0; step < 12; ++step) plain.step();
  CHECK(plain.graphs->size() == 0);
  for (const GraphMode mode : {GraphMode::kOn, GraphMode::kAuto}) {
    const int64_t before = is_emulated(cuda) ? emulated_replays() : 0;
    Training recorded(cuda, mode);
    for (int step = 0; step < 12; ++step) recorded.step();
    // Two shapes, whose gradients are the first or the second of a step; and the first of all, which found no zeros.
    CHECK(recorded.graphs->size() == 4);
    CHECK(recorded.refusals.empty());
    if (is_emulated(cuda)) CHECK(emulated_replays() - before == 23 - 4 * (mode == GraphMode::kOn ? 1 : 2));
    check_same(recorded, plain);
  }
}

TEST_CASE("steps in mixed precision are recorded, and see weights that others have changed",
          "[graphs][cuda][precision]") {
  const Device cuda = cuda_or_skip();
  const auto train = [](Training& training) {
    training.model.set_precision(Precision::kBFloat16);
    for (int step = 0; step < 9; ++step) {
      training.step();
      if (step != 5) continue;
      for (const auto& [name, weight] : training.model.named_parameters()) {
        Tensor(weight.value()).copy_(random_tensor(weight.shape(), DType::kFloat32, 9));
      }
    }
  };
  Training plain(cuda, GraphMode::kOff);
  train(plain);
  Training recorded(cuda, GraphMode::kOn);
  train(recorded);
  CHECK(recorded.graphs->size() > 0);
  CHECK(recorded.refusals.empty());
  check_same(recorded, plain);
}

TEST_CASE("nobody else is given the memory of recorded steps", "[graphs][cuda][memory]") {
  const Device cuda = cuda_or_skip();
  Training plain(cuda, GraphMode::kOff);
  for (int step = 0; step < 12; ++step) plain.step();
  Training training(cuda, GraphMode::kOn);
  for (int step = 0; step < 6; ++step) training.step();
  std::vector<Tensor> others;
  for (int64_t size = 1; size < 4000; size *= 2) {
    for (int i = 0; i < 20; ++i) others.push_back(Tensor::full({size}, 9, DType::kFloat32, cuda));
  }
  for (int step = 6; step < 12; ++step) training.step();
  check_same(training, plain);
  for (const Tensor& other : others) {
    CHECK_FALSE(is_recorded(*other.storage().get()));
    CHECK(same_values(other, Tensor::full(other.shape(), 9)));
  }
}

TEST_CASE("a step that cannot be recorded is computed as before, and that is said once", "[graphs][cuda][errors]") {
  const Device cuda = cuda_or_skip();
  struct Case {
    bool waits, uploads;
    const char* fails_at;
    const char* says;
  };
  for (const Case& c : {Case{true, false, "", "waits for a result"}, Case{false, true, "", "is not one of its inputs"},
                        Case{false, false, "capture", "no graphs, as asked for"}}) {
    if (*c.fails_at != '\0' && !is_emulated(cuda)) continue;
    INFO(c.says);
    const EnvironmentVariable failing("ATTUNE_EMULATED", c.fails_at);
    Training plain(cuda, GraphMode::kOff);
    plain.waits = c.waits;
    plain.uploads = c.uploads;
    for (int step = 0; step < 6; ++step) plain.step();
    Training refused(cuda, GraphMode::kOn);
    refused.waits = c.waits;
    refused.uploads = c.uploads;
    for (int step = 0; step < 6; ++step) refused.step();
    REQUIRE(refused.refusals.size() == 1);
    CHECK(refused.refusals[0].find(c.says) != std::string::npos);
    CHECK(refused.graphs->size() == 0);
    check_same(refused, plain);
  }
}

TEST_CASE("parameters that move are recorded where they are then", "[graphs][cuda]") {
  const Device cuda = cuda_or_skip();
  const auto train = [](Training& training) {
    for (int step = 0; step < 6; ++step) training.step();
    training.optimizer = std::make_unique<AdamW>(training.model.named_parameters());
    for (int step = 0; step < 6; ++step) training.step();
  };
  Training plain(cuda, GraphMode::kOff);
  train(plain);
  Training moved(cuda, GraphMode::kOn);
  train(moved);
  CHECK(moved.graphs->size() == 4);
  check_same(moved, plain);
}

TEST_CASE("on the CPU steps are computed as they come", "[graphs]") {
  Training plain(Device::cpu(), GraphMode::kOff);
  for (int step = 0; step < 3; ++step) plain.step();
  Training on(Device::cpu(), GraphMode::kOn);
  for (int step = 0; step < 3; ++step) on.step();
  CHECK(on.graphs->size() == 0);
  check_same(on, plain);
}

}  // namespace
}  // namespace attune::testing
