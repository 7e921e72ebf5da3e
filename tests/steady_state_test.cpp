// After warm-up a training step asks the system for nothing: no memory, no page, no heap.
#include <attune.h>
#include <catch2/catch_test_macros.hpp>
#include <sys/resource.h>

#include "tests/support/heap_counter.h"

namespace attune {
namespace {

struct Classifier : Module {
  Embedding& embed = child<Embedding>("embed", 1000, 64, EmbeddingOptions{.padding_index = 0, .scale = true});
  LearnedPositions& positions = child<LearnedPositions>("positions", 64, 32);
  Dropout& drop = child<Dropout>("drop", 0.1);
  TransformerEncoder& encoder = child<TransformerEncoder>(
      "encoder",
      TransformerEncoderOptions{.blocks = 2, .block = {.dim = 64, .heads = 4, .ffn_dim = 128, .dropout = 0.1}});
  MeanPooling& pool = child<MeanPooling>("pool");
  Linear& head = child<Linear>("head", 64, 2);

  Variable operator()(const Tensor& tokens, const Tensor& lengths) const {
    const Variable x = encoder(drop(positions(embed(tokens))), AttentionMask::padding(lengths));
    return head(pool(x, lengths));
  }
};

int64_t page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

}  // namespace

TEST_CASE("a steady training step allocates nothing and touches no new page", "[steady]") {
  RandomStream random(3);
  std::vector<int64_t> ids(16 * 32), lengths(16, 32), labels(16);
  for (int64_t& id : ids) id = 1 + static_cast<int64_t>(random.below(999));
  for (size_t i = 0; i < 16; ++i) {
    labels[i] = static_cast<int64_t>(random.below(2));
    lengths[i] = 8 + static_cast<int64_t>(random.below(25));
  }
  const Tensor tokens = Tensor::from(ids, {16, 32});
  const Tensor length_tensor = Tensor::from(lengths, {16});
  const Tensor label_tensor = Tensor::from(labels, {16});
  Classifier model;
  AdamW optimizer(model.named_parameters(), {.learning_rate = 1e-3, .groups = {no_decay_of_vectors()}});
  double last = 0;
  const auto step = [&] {
    const Variable loss = cross_entropy(model(tokens, length_tensor), label_tensor);
    loss.backward();
    optimizer.step({.clip_norm = 1});
    last = loss.item();
  };
  struct Cost {
    uint64_t system_allocations, heap_allocations;
    int64_t faults;
    size_t bytes;
  };
  const auto ten_steps = [&] {
    const MemoryStats before = memory_stats();
    const int64_t faults = page_faults();
    const uint64_t heap = testing::heap_allocations();
    for (int i = 0; i < 10; ++i) step();
    const MemoryStats after = memory_stats();
    return Cost{after.system_allocations - before.system_allocations, testing::heap_allocations() - heap,
                page_faults() - faults, after.bytes_in_use - before.bytes_in_use};
  };
  // Warm-up lasts until every thread has had a share of everything, which takes longer on a busy machine; a step that
  // goes on asking for something never gets through.
  Cost cost{};
  for (int round = 0; round < 100; ++round) {
    cost = ten_steps();
    if (round > 0 && cost.faults == 0 && cost.bytes == 0) break;
  }
  CHECK(cost.system_allocations == 0);
  CHECK(cost.heap_allocations == 0);
  CHECK(cost.bytes == 0);
  if (!testing::sanitized()) CHECK(cost.faults == 0);
  CHECK(last > 0);
}

}  // namespace attune
