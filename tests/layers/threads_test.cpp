// What may be used from several threads: forward passes of one model. Run under the thread sanitizer as well:
// cmake --preset tsan && cmake --build build/tsan --target attune-tests && build/tsan/bin/attune-tests "[threads]"

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <barrier>
#include <memory>
#include <thread>
#include <vector>

#include "autograd/ops/ops.h"
#include "autograd/optim/adam.h"
#include "autograd/tape.h"
#include "layers/transformer/encoder.h"
#include "tests/support/tensors.h"

namespace attune::testing {
namespace {

constexpr int kThreads = 4;

TransformerEncoderOptions small() { return {.blocks = 2, .block = {.dim = 32, .heads = 4, .ffn_dim = 64}}; }

/// f(thread) in so many threads, which begin at the same time.
template <class F>
void at_once(int threads, F&& f) {
  std::barrier start(threads);
  std::vector<std::thread> all;
  for (int i = 0; i < threads; ++i) {
    all.emplace_back([&, i] {
      start.arrive_and_wait();
      f(i);
    });
  }
  for (std::thread& thread : all) thread.join();
}

TEST_CASE("a fresh model may be used by several threads at once, in every precision", "[threads]") {
  const RandomState before = default_stream().state();
  for (const Precision precision : {Precision::kFull, Precision::kBFloat16}) {
    for (const bool recording : {false, true}) {
      INFO("bfloat16: " << (precision == Precision::kBFloat16) << ", recording: " << recording);
      std::atomic<int> wrong{0};
      for (int round = 0; round < 10; ++round) {
        manual_seed(static_cast<uint64_t>(round));
        TransformerEncoder model(small());
        model.eval();
        model.set_precision(precision);
        const Variable x(default_stream()
                             .normal({2, 9, 32}, 0, 1)
                             .to(precision == Precision::kBFloat16 ? DType::kBFloat16 : DType::kFloat32));
        std::vector<Tensor> outputs(kThreads);
        at_once(kThreads, [&](int thread) {
          std::unique_ptr<NoGrad> no_grad;
          if (!recording) no_grad = std::make_unique<NoGrad>();
          for (int repeat = 0; repeat < 3; ++repeat) outputs[static_cast<size_t>(thread)] = model(x).value();
          Tape::current().clear();
        });
        const NoGrad no_grad;
        const std::vector<double> expected = values(model(x).value());
        for (const Tensor& y : outputs) wrong += values(y) != expected ? 1 : 0;
      }
      CHECK(wrong == 0);
    }
  }
  manual_seed(before.seed);
  default_stream().set_state(before);
}

TEST_CASE("models that are trained in threads of their own end as if alone", "[threads]") {
  const auto train = [](uint64_t seed) {
    manual_seed(seed);
    TransformerEncoder model(small());
    AdamW optimizer(model.named_parameters(), {.learning_rate = 1e-3});
    for (int step = 0; step < 5; ++step) {
      const Variable x(default_stream().normal({2, 9, 32}, 0, 1));
      mean(square(model(x))).backward();
      optimizer.step({.clip_norm = 1});
    }
    std::vector<double> all;
    for (const auto& [name, tensor] : model.state_dict()) {
      const std::vector<double> more = values(tensor);
      all.insert(all.end(), more.begin(), more.end());
    }
    return all;
  };
  const RandomState before = default_stream().state();
  std::vector<std::vector<double>> together(3);
  at_once(3, [&](int thread) { together[static_cast<size_t>(thread)] = train(static_cast<uint64_t>(thread)); });
  for (uint64_t seed = 0; seed < 3; ++seed) CHECK(together[seed] == train(seed));
  manual_seed(before.seed);
  default_stream().set_state(before);
}

}  // namespace
}  // namespace attune::testing
