// Ops of one's own: composed of others, whose derivatives they take, and with kernels of their own.
#include <attune.h>
#include <framework/kernels/kernel.h>

#include <cmath>
#include <cstdio>

using namespace attune;

/// Composed: relu(x)^2 (So et al., "Primer", 2021).
Variable squared_relu(const Variable& x) { return square(relu(x)); }

// In custom_op.cu.
void snake_cuda(const Tensor& x, double a, Tensor& y);
void snake_backward_cuda(const Tensor& x, const Tensor& dy, double a, Tensor& dx);

namespace {

// Snake, x + sin(a x)^2 / a, which learns what is periodic (Ziyin et al., "Neural networks fail to learn periodic
// functions and how to fix it", 2020, equation 3).
void snake_cpu(const Tensor& x, double a, Tensor& y) {
  visit_floating(x.dtype(), "snake", [&]<class T>(T) {
    const T *in = x.data<T>(), rate = static_cast<T>(a);
    T* out = y.data<T>();
    for (int64_t i = 0; i < x.numel(); ++i) out[i] = in[i] + std::sin(rate * in[i]) * std::sin(rate * in[i]) / rate;
  });
}

void snake_backward_cpu(const Tensor& x, const Tensor& dy, double a, Tensor& dx) {
  visit_floating(x.dtype(), "snake", [&]<class T>(T) {
    const T *in = x.data<T>(), *from = dy.data<T>(), rate = static_cast<T>(a);
    T* out = dx.data<T>();
    for (int64_t i = 0; i < x.numel(); ++i) out[i] = from[i] * (1 + std::sin(2 * rate * in[i]));
  });
}

#ifdef CUSTOM_OP_CUDA  // with custom_op.cu, which nvcc compiles
constexpr auto kSnake = custom_kernel("snake", snake_cpu, snake_cuda);
constexpr auto kSnakeBackward = custom_kernel("snake_backward", snake_backward_cpu, snake_backward_cuda);
#else
constexpr auto kSnake = custom_kernel("snake", snake_cpu);
constexpr auto kSnakeBackward = custom_kernel("snake_backward", snake_backward_cpu);
#endif

}  // namespace

Variable snake(const Variable& x, double a) {
  const Tensor in = x.value().contiguous();
  Tensor y = Tensor::empty_like(in);
  kSnake(in, a, y);
  return Tape::current().record("snake", y, {&x}, [saved = SavedTensor(in, "x"), a](Grads& grads) {
    Tensor dx = Tensor::empty_like(saved.get());
    kSnakeBackward(saved.get(), grads.dy(), a, dx);
    grads.add(0, dx);
  });
}

struct Periodic : Module {
  Linear& in = child<Linear>("in", 1, 64);
  Linear& out = child<Linear>("out", 64, 1);

  Variable operator()(const Tensor& x) const { return out(snake(in(Variable(x)), 1)); }
};

int main() {
  const GradcheckReport report = gradcheck([](std::span<const Variable> x) { return snake(squared_relu(x[0]), 2.5); },
                                           {randn({4, 6}, DType::kFloat64)});
  std::printf("%s\n", report.to_string().c_str());

  // Learns a wave left of 0, and is asked for it right of 0.
  const auto wave = [](const Tensor& x) { return sin(2.0 * x) + 0.2 * x; };
  const Device device = parse_device("auto");
  manual_seed(1);
  Periodic model;
  model.to(device);
  Adam adam(model.named_parameters(), {.learning_rate = 5e-3});
  for (int step = 1; step <= 2000; ++step) {
    const Tensor x = -8.0 * rand({256, 1}, DType::kFloat32, device);
    const Variable loss = mse_loss(model(x), wave(x));
    loss.backward();
    adam.step();
    if (step % 500 == 0) {
      const Tensor beyond = 4.0 * rand({256, 1}, DType::kFloat32, device);
      const NoGrad no_grad;
      std::printf("step %4d  loss %.5f  beyond %.5f\n", step, loss.item(),
                  mse_loss(model(beyond), wave(beyond)).item());
    }
  }
  return report.ok ? 0 : 1;
}
