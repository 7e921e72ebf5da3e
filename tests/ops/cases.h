#pragma once

// One table of ops: every function of autograd/ops has rows here, and ops_test.cpp puts every row through every check.

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "autograd/variable.h"

namespace attune::testing {

/// A differentiable operand: distinct values, evenly spaced in (low, high), shuffled. None is 0 or within 0.02 of it.
struct Input {
  Shape shape;
  double low = -2;
  double high = 2;
};

using Outputs = std::vector<Variable>;
using OpCall = std::function<Outputs(std::span<const Variable>)>;

struct OpCase {
  std::string op;    ///< name as declared
  std::string what;  ///< what is special about the row
  std::vector<Input> inputs;
  OpCall call;
  bool numeric = true;  ///< has a numeric derivative in float64
};

/// While it lives, what rows give their ops besides operands (masks, indices, lengths, tables) is copied and gathered
/// here, to be changed between forward and backward.
class BesidesOperands {
 public:
  BesidesOperands() { current() = this; }
  ~BesidesOperands() { current() = nullptr; }
  BesidesOperands(const BesidesOperands&) = delete;
  BesidesOperands& operator=(const BesidesOperands&) = delete;

  static BesidesOperands*& current() {
    thread_local BesidesOperands* gathering = nullptr;
    return gathering;
  }
  std::vector<Tensor> tensors;
};

/// What a row holds besides its operands, where they are. Every tensor that an op is given goes through here.
inline Tensor near(std::span<const Variable> operands, const Tensor& x) {
  BesidesOperands* gathering = BesidesOperands::current();
  if (!x.defined() || gathering == nullptr) return x.defined() ? x.to(operands[0].device()) : x;
  gathering->tensors.push_back(x.to(operands[0].device()).clone());
  return gathering->tensors.back();
}

/// A call that must fail, and what the message must say besides the op's name.
struct OpError {
  std::string op;
  std::function<void()> call;
  std::vector<std::string> says;
};

const std::vector<OpCase>& op_cases();
const std::vector<OpError>& op_errors();

// The rows by file of autograd/ops.
void add_elementwise_cases(std::vector<OpCase>& cases);
void add_activation_cases(std::vector<OpCase>& cases);
void add_shape_cases(std::vector<OpCase>& cases);
void add_product_cases(std::vector<OpCase>& cases);
void add_loss_cases(std::vector<OpCase>& cases);
void add_attention_cases(std::vector<OpCase>& cases);
void add_picture_cases(std::vector<OpCase>& cases);
void add_recurrent_cases(std::vector<OpCase>& cases);
/// Of Tensors' names: framework/math.
void add_math_cases(std::vector<OpCase>& cases);

void add_activation_errors(std::vector<OpError>& errors);
void add_loss_errors(std::vector<OpError>& errors);

}  // namespace attune::testing
