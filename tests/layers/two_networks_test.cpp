// Two networks with a loss each, recorded side by side: what a tape that one backward() emptied could not train.

#include <catch2/catch_test_macros.hpp>

#include <cmath>

#include "autograd/ops/ops.h"
#include "autograd/optim/adam.h"
#include "autograd/tape.h"
#include "layers/linear.h"
#include "tests/support/tensors.h"

namespace attune {
namespace {

using namespace testing;

struct TwoLayers : Module {
  TwoLayers(int64_t in, int64_t hidden, int64_t out)
      : first(child<Linear>("first", in, hidden, LinearOptions{.activation = Activation::kTanh})),
        second(child<Linear>("second", hidden, out)) {}
  Variable operator()(const Variable& x) const { return second(first(x)); }
  Linear& first;
  Linear& second;
};

/// Generative adversarial networks (Goodfellow et al., 2014, algorithm 1, with the generator's other loss, section 3)
/// learn a normal distribution of mean 3 and standard deviation 0.5.
TEST_CASE("a generator and a discriminator learn from each other", "[tape][training]") {
  manual_seed(3);
  RandomStream random(4);
  constexpr int64_t kBatch = 128;
  TwoLayers generator(4, 16, 1);
  TwoLayers discriminator(1, 32, 1);
  Adam generator_adam(generator.named_parameters(), {.learning_rate = 2e-3, .beta1 = 0.5});
  Adam discriminator_adam(discriminator.named_parameters(), {.learning_rate = 4e-3, .beta1 = 0.5});
  const auto generate = [&] { return generator(Variable(random.normal({kBatch, 4}, 0, 1))); };
  double sum = 0, squares = 0;
  int64_t count = 0;
  for (int step = 0; step < 1500; ++step) {
    const Variable fake = generate();
    const Variable real(random.normal({kBatch, 1}, 3, 0.5));
    // -log D(real) - log(1 - D(fake)), of logits
    const Variable loss = mean(softplus(-discriminator(real))) + mean(softplus(discriminator(fake.detach())));
    loss.backward();
    discriminator_adam.step();

    mean(softplus(-discriminator(fake))).backward();  // through `fake`, which was recorded before the other backward()
    generator_adam.step();
    discriminator_adam.zero_grad();

    for (const double x : step < 1000 ? std::vector<double>() : values(fake.value())) {
      sum += x;
      squares += x * x;
      ++count;
    }
  }
  const double average = sum / static_cast<double>(count);
  const double stddev = std::sqrt(squares / static_cast<double>(count) - average * average);
  CHECK(std::abs(average - 3) < 0.3);
  CHECK(std::abs(stddev - 0.5) < 0.3);
  CHECK(Tape::current().size() == 0);
}

/// One-step actor-critic (Sutton and Barto, 2018, section 13.5, without the discount of time): in a corridor of six
/// fields, the reward lies at the right end.
TEST_CASE("an actor and a critic learn the way out of a corridor", "[tape][training]") {
  manual_seed(5);
  RandomStream random(6);
  constexpr int64_t kFields = 6;
  constexpr double kDiscount = 0.9;
  TwoLayers actor(kFields, 16, 2);
  TwoLayers critic(kFields, 16, 1);
  Adam actor_adam(actor.named_parameters(), {.learning_rate = 5e-3});
  Adam critic_adam(critic.named_parameters(), {.learning_rate = 1e-2});
  const auto at = [](int64_t field) {
    Tensor x = Tensor::zeros({1, kFields});
    x.slice(1, field, field + 1).fill_(1);
    return Variable(x);
  };
  int64_t steps = 0;
  for (int episode = 0; episode < 300; ++episode) {
    int64_t field = 0;
    for (steps = 0; field < kFields - 1 && steps < 100; ++steps) {
      const Variable log_policy = log_softmax(actor(at(field)));  // [1, 2]
      const bool right = random.uniform() < std::exp(values(log_policy.value())[1]);
      const int64_t next = right ? field + 1 : std::max<int64_t>(field - 1, 0);
      const double reward = next == kFields - 1 ? 1 : 0;
      const Variable value = critic(at(field));
      const double future = next == kFields - 1 ? 0 : kDiscount * [&] {
        const NoGrad no_grad;
        return critic(at(next)).item();
      }();
      const double advantage = reward + future - value.item();

      const Variable actor_loss = sum(slice(log_policy, 1, right, right + 1)) * -advantage;
      const Variable critic_loss = sum(square(value - (reward + future)));
      actor_loss.backward();
      critic_loss.backward();
      actor_adam.step({.clip_norm = 1});
      critic_adam.step({.clip_norm = 1});
      field = next;
    }
  }
  CHECK(steps <= 7);  // five is the shortest
  const NoGrad no_grad;
  for (int64_t field = 0; field < kFields - 1; ++field) {
    INFO("field " << field);
    CHECK(values(softmax(actor(at(field))).value())[1] > 0.8);
    CHECK(std::abs(critic(at(field)).item() - std::pow(kDiscount, kFields - 2 - field)) < 0.25);
  }
}

}  // namespace
}  // namespace attune
