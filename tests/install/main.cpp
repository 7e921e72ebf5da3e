#include <attune.h>

#include <iostream>

// Trains a line through two points and prints its slope.
int main() {
  const attune::Variable x(attune::Tensor::from<float>({1, 2}, {2, 1}));
  const attune::Tensor y = attune::Tensor::from<float>({3, 6}, {2, 1});
  attune::Variable slope(attune::Tensor::zeros({1, 1}), true);
  for (int step = 0; step < 50; ++step) {
    slope.zero_grad();
    attune::mean(attune::square(attune::matmul(x, slope) - attune::Variable(y))).backward();
    slope = attune::Variable(
        attune::Tensor::from<float>({static_cast<float>(slope.item() - 0.1 * slope.grad().item())}, {1, 1}), true);
  }
  std::cout << "slope " << slope.item() << '\n';
}
