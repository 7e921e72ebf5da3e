// An optimizer of one's own is a rule in Tensor arithmetic: groups, clipping, checks, state and every device are
// inherited.
#include <attune.h>

#include <cstdio>

using namespace attune;

/// Gradient descent by the sign of a running mean (Bernstein et al., "signSGD", 2018, with momentum).
class Signum final : public Optimizer {
 public:
  explicit Signum(const ParameterList& parameters, double learning_rate = 1e-3)
      : Optimizer("Signum", parameters, {.learning_rate = learning_rate}, {{"mean"}}) {}

 private:
  void update(ParameterUpdate& p) override {
    Tensor& mean = p.state[0];
    mean.copy_(lerp(mean, p.grad, 0.1));
    p.value -= p.learning_rate * (sign(mean) + p.weight_decay * p.value);
  }
};

int main() {
  // Learns y = sin(x0) x1 from samples.
  manual_seed(1);
  Sequential net;
  net.add<Linear>(2, 64, LinearOptions{.activation = Activation::kTanh});
  net.add<Linear>(64, 1);
  Signum optimizer(net.named_parameters());
  const CosineSchedule schedule{.peak = 3e-3, .total = 2000};
  for (int step = 0; step < 2000; ++step) {
    const Tensor x = randn({64, 2});
    const Tensor y = sin(x.slice(1, 0, 1)) * x.slice(1, 1, 2);
    const Variable loss = mse_loss(net(Variable(x)), y);
    loss.backward();
    optimizer.set_learning_rate(schedule.at(step));
    optimizer.step({.clip_norm = 1});
    if ((step + 1) % 500 == 0) std::printf("step %4d  loss %.4f\n", step + 1, loss.item());
  }
}
