#include "autograd/ops/ops.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <numeric>
#include <regex>
#include <set>

#include "autograd/gradcheck.h"
#include "autograd/ops/attention.h"
#include "autograd/tape.h"
#include "framework/fail.h"
#include "framework/kernels/mask.h"
#include "tests/framework/kernels/targets.h"
#include "tests/ops/cases.h"
#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/heap_counter.h"

namespace attune::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// f(row) for every row; a row that throws is a failure of its own.
template <class F>
void for_each_case(F f) {
  for (const OpCase& row : op_cases()) {
    INFO(row.op << ": " << row.what);
    try {
      f(row);
    } catch (const Error& error) {
      Tape::current().clear();
      FAIL_CHECK(error.what());
    }
  }
}

Tensor values(const Input& input, size_t which) {
  const int64_t n = input.shape.numel();
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  RandomStream(100 + which).shuffle(std::span(order));
  std::vector<double> out;
  for (const int64_t k : order) {
    const double at = (static_cast<double>(k) + 0.3 + 0.13 * static_cast<double>(which)) / static_cast<double>(n);
    out.push_back(input.low + (input.high - input.low) * at);
  }
  return Tensor::from(out, input.shape);
}

std::vector<Tensor> operands(const OpCase& row) {
  std::vector<Tensor> out;
  for (size_t i = 0; i < row.inputs.size(); ++i) out.push_back(values(row.inputs[i], i));
  return out;
}

struct Result {
  std::vector<Tensor> outputs;
  std::vector<Tensor> gradients;
};

// Values of the outputs, and gradients of their sum under fixed weights of both signs.
Variable weighted(const Outputs& outputs) {
  Variable total;
  RandomStream weights(5);
  for (const Variable& y : outputs) {
    const Variable weight(weights.normal(y.shape(), 0, 1, DType::kFloat64).to(y.dtype()).to(y.device()));
    const Variable part = sum(y * weight);
    total = total.defined() ? total + part : part;
  }
  return total;
}

Result run(const OpCase& row, const std::vector<Tensor>& inputs, unsigned wanted = ~0u) {
  Outputs leaves;
  for (size_t i = 0; i < inputs.size(); ++i) leaves.emplace_back(inputs[i], (wanted >> i & 1u) != 0);
  const Outputs outputs = row.call(leaves);
  Result result;
  for (const Variable& y : outputs) result.outputs.push_back(y.value());
  const Variable total = weighted(outputs);
  if (total.requires_grad()) total.backward();
  for (const Variable& leaf : leaves) result.gradients.push_back(leaf.grad());
  return result;
}

// Largest difference, relative to the largest value (at least 1). NaN agrees with NaN.
double difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const std::vector<double> x = a.to(DType::kFloat64).to_vector<double>();
  const std::vector<double> y = b.to(DType::kFloat64).to_vector<double>();
  double largest = 1;
  double apart = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[i]) && std::isnan(y[i])) continue;
    largest = std::max(largest, std::abs(y[i]));
    apart = std::max(apart, std::isnan(x[i]) || std::isnan(y[i]) ? kInfinity : std::abs(x[i] - y[i]));
  }
  return apart / largest;
}

void check_equal(const Result& a, const Result& b, double tolerance) {
  REQUIRE(a.outputs.size() == b.outputs.size());
  for (size_t i = 0; i < a.outputs.size(); ++i) {
    INFO("output " << i);
    CHECK(difference(a.outputs[i], b.outputs[i]) <= tolerance);
  }
  for (size_t i = 0; i < a.gradients.size(); ++i) {
    INFO("gradient " << i);
    REQUIRE(a.gradients[i].defined() == b.gradients[i].defined());
    if (a.gradients[i].defined()) CHECK(difference(a.gradients[i], b.gradients[i]) <= tolerance);
  }
}

// The same elements between NaNs in a larger storage.
Tensor padded(const Tensor& x) {
  Shape outer = x.shape();
  for (int axis = 0; axis < outer.rank(); ++axis) outer[axis] += 3;
  Tensor view = Tensor::full(outer, kNan, x.dtype());
  for (int axis = 0; axis < outer.rank(); ++axis) view = view.slice(axis, 2, 2 + x.dim(axis));
  view.copy_(x);
  return view;
}

// The same elements, stored with the last axis outermost.
Tensor reversed(const Tensor& x) {
  std::vector<int> axes(static_cast<size_t>(x.rank()));
  std::iota(axes.rbegin(), axes.rend(), 0);
  return x.permute(axes).clone().permute(axes);
}

// The same elements, every second of a storage with NaNs between.
Tensor spread(const Tensor& x) {
  Shape wide = x.shape();
  wide.push_back(2);
  Tensor all = Tensor::full(wide, kNan, x.dtype());
  Tensor view = all.select(-1, 1);
  view.copy_(x);
  return view;
}

std::string without_comments(const std::string& path) {
  std::ifstream file(path);
  REQUIRE(file);
  std::string text;
  for (std::string line; std::getline(file, line);) text += line.substr(0, line.find("//")) + '\n';
  return text;
}

TEST_CASE("every op has rows in the table", "[ops]") {
  std::set<std::string> tested;
  for (const OpCase& row : op_cases()) tested.insert(row.op);
  std::set<std::string> declared;
  for (const char* header :
       {"ops.h", "activation.h", "attention.h", "batch_norm.h", "conv.h", "loss.h", "pool.h", "recurrent.h"}) {
    const std::string text = without_comments(std::string(ATTUNE_SOURCE_DIR "/autograd/ops/") + header);
    const std::regex declaration(
        R"(\n(?:inline )?(?:Variable&?|std::pair<Variable, Variable>|std::vector<Variable>|\w+Result) (operator[^( ]+|\w+)\()");
    for (std::sregex_iterator at(text.begin(), text.end(), declaration), end; at != end; ++at) {
      declared.insert((*at)[1].str());
    }
  }
  CHECK(declared.size() > 50);
  for (const std::string& op : declared) {
    INFO(op);
    CHECK(tested.contains(op));
  }
  for (const std::string& op : tested) {
    INFO(op);
    CHECK(declared.contains(op));
  }
}

TEST_CASE("gradients agree with difference quotients", "[ops][gradcheck]") {
  for_each_case([](const OpCase& row) {
    if (!row.numeric) return;
    const GradcheckReport report =
        gradcheck(row.call, operands(row), {.absolute = 1e-9, .relative = 1e-8, .max_elements = 40});
    INFO(report.to_string());
    CHECK(report.ok);
  });
}

TEST_CASE("float32 agrees with float64", "[ops]") {
  for_each_case([](const OpCase& row) {
    std::vector<Tensor> narrow, wide;
    for (const Tensor& x : operands(row)) {
      narrow.push_back(x.to(DType::kFloat32));
      wide.push_back(narrow.back().to(DType::kFloat64));
    }
    check_equal(run(row, narrow), run(row, wide), 4e-6);
  });
}

TEST_CASE("bfloat16 is float32, rounded", "[ops]") {
  for_each_case([](const OpCase& row) {
    std::vector<Tensor> narrow, wide;
    for (const Tensor& x : operands(row)) {
      narrow.push_back(x.to(DType::kBFloat16));
      wide.push_back(narrow.back().to(DType::kFloat32));
    }
    const Result result = run(row, narrow);
    const bool is_loss = row.op.ends_with("cross_entropy") || row.op.ends_with("_loss") ||
                         row.op == "bce_with_logits" || row.op == "kl_div";
    for (const Tensor& y : result.outputs) CHECK(y.dtype() == (is_loss ? DType::kFloat32 : DType::kBFloat16));
    check_equal(result, run(row, wide), 0.02);
  });
}

TEST_CASE("strided, padded and transposed operands give what contiguous ones give", "[ops]") {
  for_each_case([](const OpCase& row) {
    using Layout = Tensor (*)(const Tensor&);
    const std::pair<Layout, const char*> layouts[] = {{padded, "padded"}, {reversed, "reversed"}, {spread, "spread"}};
    for (const auto& [layout, name] : layouts) {
      INFO(name);
      const std::vector<Tensor> plain = operands(row);
      std::vector<Tensor> strided;
      for (const Tensor& x : plain) strided.push_back(layout(x));
      check_equal(run(row, strided), run(row, plain), 1e-13);
    }
  });
}

TEST_CASE("operands that want no gradient get none and change nothing for the others", "[ops]") {
  for_each_case([](const OpCase& row) {
    const std::vector<Tensor> inputs = operands(row);
    const Result all = run(row, inputs);
    for (size_t i = 0; i < inputs.size(); ++i) {
      INFO("input " << i << " alone");
      const Result alone = run(row, inputs, 1u << i);
      for (size_t k = 0; k < inputs.size(); ++k) {
        if (k != i) CHECK_FALSE(alone.gradients[k].defined());
      }
      REQUIRE(alone.gradients[i].defined() == all.gradients[i].defined());
      if (all.gradients[i].defined()) CHECK(difference(alone.gradients[i], all.gradients[i]) <= 1e-13);
    }
  });
}

TEST_CASE("gradients add up over two uses and two backward passes", "[ops]") {
  for_each_case([](const OpCase& row) {
    const std::vector<Tensor> inputs = operands(row);
    const Result once = run(row, inputs);
    // Every operand reaches the op through two paths with a shared upstream gradient: 2 x = x + x.
    OpCase twice = row;
    twice.call = [&row](std::span<const Variable> x) {
      Outputs sums;
      for (const Variable& v : x) sums.push_back(v * 0.5 + v * 0.5);
      Outputs y = row.call(sums);
      for (Variable& v : y) v = v * 0.25 + v * 0.75;
      return y;
    };
    check_equal(run(twice, inputs), once, 1e-12);
  });
}

TEST_CASE("retained ops give their gradients again, and grad() gives the same", "[ops]") {
  for_each_case([](const OpCase& row) {
    const std::vector<Tensor> inputs = operands(row);
    const std::vector<Tensor> once = run(row, inputs).gradients;
    Outputs leaves;
    for (const Tensor& x : inputs) leaves.emplace_back(x, true);
    const Variable total = weighted(row.call(leaves));
    if (!total.requires_grad()) return;
    for (int pass = 0; pass < 2; ++pass) {
      for (Variable& leaf : leaves) leaf.zero_grad();
      total.backward({.retain = true});
      for (size_t i = 0; i < leaves.size(); ++i) {
        INFO("pass " << pass << ", gradient " << i);
        REQUIRE(leaves[i].grad().defined() == once[i].defined());
        if (once[i].defined()) CHECK(difference(leaves[i].grad(), once[i]) == 0);
      }
    }
    for (Variable& leaf : leaves) leaf.zero_grad();
    const std::vector<Tensor> apart = grad(total, std::span<const Variable>(leaves), {.allow_unused = true});
    for (size_t i = 0; i < leaves.size(); ++i) {
      INFO("grad(), gradient " << i);
      CHECK_FALSE(leaves[i].grad().defined());
      REQUIRE(apart[i].defined() == once[i].defined());
      if (once[i].defined()) CHECK(difference(apart[i], once[i]) == 0);
    }
    // Each alone: what leads to others is not passed.
    for (size_t i = 0; i < leaves.size() && once[i].defined(); ++i) {
      INFO("grad() of gradient " << i << " alone");
      CHECK(difference(grad(weighted(row.call(leaves)), {leaves[i]})[0], once[i]) <= 1e-12);
    }
  });
  CHECK(Tape::current().size() == 0);
}

/// Names of the declared ops that are given tensors besides operands.
std::set<std::string> ops_with_tensors() {
  std::set<std::string> names;
  for (const char* header : {"ops.h", "attention.h", "batch_norm.h", "loss.h", "recurrent.h"}) {
    const std::string text = without_comments(std::string(ATTUNE_SOURCE_DIR "/autograd/ops/") + header);
    const std::regex declaration(R"(\n(?:Variable|std::pair<Variable, Variable>|\w+Result) (\w+)\(([^;]*)\);)");
    for (std::sregex_iterator at(text.begin(), text.end(), declaration), end; at != end; ++at) {
      const std::string parameters = (*at)[2].str();
      if (parameters.find("const Tensor&") != std::string::npos || parameters.find("MaskSpec") != std::string::npos) {
        names.insert((*at)[1].str());
      }
    }
  }
  return names;
}

// What changes in place between forward and backward: every operand, every other tensor that the op was given, every
// output.
TEST_CASE("a tensor changed between forward and backward is an error, or changes no gradient", "[ops][memory]") {
  const auto change = [](Tensor x) {
    Tensor other = x.clone();
    if (x.dtype() == DType::kBool) kernels::logical_not(x, other);
    // Other indices and lengths that are allowed as well.
    for (int64_t i = 0; x.dtype() == DType::kInt64 && i < x.numel(); ++i) {
      int64_t& value = other.data<int64_t>()[i];
      if (value > 0) --value;
    }
    if (is_floating(x.dtype())) other = affine(Variable(x), 0.5, 0.1).value();
    x.copy_(other);
  };
  // Gradients of output `root`; `target`: which of the tensors changes before, none by itself. Their number comes back.
  const auto run_changed = [&](const OpCase& row, size_t root, int target, std::vector<Tensor>& gradients) {
    BesidesOperands besides;
    Outputs leaves;
    std::vector<Tensor> all;
    for (const Tensor& x : operands(row)) {
      leaves.emplace_back(x.clone(), true);
      all.push_back(leaves.back().value());
    }
    const Outputs outputs = row.call(leaves);
    all.insert(all.end(), besides.tensors.begin(), besides.tensors.end());
    for (const Variable& y : outputs) all.push_back(y.value());
    if (target >= 0) change(all[static_cast<size_t>(target)]);
    if (root < outputs.size() && outputs[root].requires_grad() && !outputs[root].is_leaf()) {
      outputs[root].backward(RandomStream(5).normal(outputs[root].shape(), 0, 1, DType::kFloat64));
    }
    Tape::current().clear();
    for (const Variable& leaf : leaves) gradients.push_back(leaf.grad().defined() ? leaf.grad().clone() : Tensor());
    return std::pair(static_cast<int>(all.size()), outputs.size());
  };
  std::set<std::string> noticed;  // ops that noticed a change of what is no operand
  std::set<std::string> given;    // ops with rows in which there is such
  for_each_case([&](const OpCase& row) {
    std::vector<Tensor> none;
    const auto [tensors, roots] = run_changed(row, 0, -1, none);
    if (tensors > std::ssize(row.inputs) + static_cast<int>(roots)) given.insert(row.op);
    for (size_t root = 0; root < roots; ++root) {
      std::vector<Tensor> expected;
      run_changed(row, root, -1, expected);
      for (int target = 0; target < tensors; ++target) {
        INFO("tensor " << target << " of " << tensors << ", output " << root);
        std::vector<Tensor> gradients;
        try {
          run_changed(row, root, target, gradients);
        } catch (const ValueError& error) {
          Tape::current().clear();
          const std::string text = error.what();
          INFO(text);
          CHECK(text.find("changed in place") != std::string::npos);
          const auto operands = std::ssize(row.inputs);
          if (target >= operands && text.starts_with(row.op + ":")) noticed.insert(row.op);
          continue;
        }
        for (size_t i = 0; i < gradients.size(); ++i) {
          INFO("gradient " << i);
          REQUIRE(gradients[i].defined() == expected[i].defined());
          if (gradients[i].defined()) CHECK(difference(gradients[i], expected[i]) == 0);
        }
      }
    }
  });
  CHECK(ops_with_tensors().size() >= 17);
  for (const std::string& op : ops_with_tensors()) {
    INFO(op << " is given tensors in no row: they go through near()");
    CHECK(given.contains(op));
  }
  for (const char* op : {"attention", "attention_packed_kv", "cross_entropy", "embedding", "gather", "index_select",
                         "masked_mean", "monotonic_alignment", "rotary", "where"}) {
    INFO(op);
    CHECK(noticed.contains(op));
  }
}

TEST_CASE("results do not depend on the number of threads beyond rounding", "[ops][threads]") {
  const int before = num_threads();
  for_each_case([](const OpCase& row) {
    const std::vector<Tensor> inputs = operands(row);
    set_num_threads(1);
    const Result one = run(row, inputs);
    set_num_threads(3);
    check_equal(run(row, inputs), one, 1e-12);
  });
  set_num_threads(before);
}

TEST_CASE("ops on the hot path ask neither heap nor system for memory in the steady state", "[ops][memory]") {
  RandomStream stream(1);
  const Variable table(stream.normal({500, 128}, 0, 1), true);
  const Variable gain(stream.normal({128}, 0, 1), true);
  std::vector<int64_t> ids;
  for (int i = 0; i < 2048; ++i) ids.push_back(static_cast<int64_t>(stream.below(500)));
  const Tensor tokens = Tensor::from(ids, {64, 32});
  const Tensor lengths = Tensor::full({64}, 20, DType::kInt64);
  const auto step = [&] {
    table.leaf()->grad_state = gain.leaf()->grad_state = Leaf::GradState::kEmpty;
    const Variable x = embedding(table, tokens, 0, 2);
    const Variable y = dropout(gelu(x * gain + x), 0.1, stream);
    const Variable half = slice(y, 2, 0, 64) + tanh(slice(y, 2, 64, 128));
    mean(masked_mean(half, lengths)).backward();
  };
  for (int i = 0; i < 3; ++i) step();
  const uint64_t heap = heap_allocations();
  const uint64_t system = memory_stats().system_allocations;
  for (int i = 0; i < 10; ++i) step();
  CHECK(heap_allocations() == heap);
  CHECK(memory_stats().system_allocations == system);
}

TEST_CASE("results are the same on every instruction set", "[ops]") {
  for_each_case([](const OpCase& row) {
    const std::vector<Tensor> inputs = operands(row);
    const Result best = run(row, inputs);
    for_each_instruction_set([&](const char* name) {
      INFO(name);
      check_equal(run(row, inputs), best, 1e-12);
    });
  });
}

// What of an op's rows CUDA has no kernel for yet is said, and counts as skipped.
TEST_CASE("CUDA agrees with the CPU", "[ops][cuda]") {
  const Device cuda = cuda_or_skip();
  std::set<std::string> lacking;
  for (const OpCase& row : op_cases()) {
    INFO(row.op << ": " << row.what);
    for (const auto& [dtype, tolerance] :
         {std::pair(DType::kFloat64, 1e-10), std::pair(DType::kFloat32, 1e-5), std::pair(DType::kBFloat16, 2e-2)}) {
      INFO(dtype_name(dtype));
      std::vector<Tensor> near, far;
      for (const Tensor& x : operands(row)) {
        near.push_back(x.to(dtype));
        far.push_back(near.back().to(cuda));
      }
      try {
        const Result result = run(row, far);
        for (const Tensor& y : result.outputs) CHECK((y.device() == cuda || row.op == "to_device"));
        check_equal(result, run(row, near), tolerance);
      } catch (const Error& error) {
        Tape::current().clear();
        const std::string text = error.what();
        if (text.find("has no kernel") == std::string::npos) {
          FAIL_CHECK(text);
        } else {
          lacking.insert(row.op);
        }
      }
    }
  }
  std::string list;
  for (const std::string& op : lacking) list += ' ' + op;
  if (!list.empty()) SKIP("no CUDA kernels for:" << list);
}

TEST_CASE("gradients on a CUDA device agree with difference quotients", "[ops][cuda][gradcheck]") {
  const Device cuda = cuda_or_skip();
  for_each_case([cuda](const OpCase& row) {
    if (!row.numeric) return;
    const OpCall there = [&row, cuda](std::span<const Variable> inputs) {
      Outputs far;
      for (const Variable& x : inputs) far.push_back(to_device(x, cuda));
      Outputs outputs = row.call(far);
      for (Variable& y : outputs) y = to_device(y, Device::cpu());
      return outputs;
    };
    const GradcheckReport report =
        gradcheck(there, operands(row), {.absolute = 1e-9, .relative = 1e-8, .max_elements = 40});
    INFO(report.to_string());
    CHECK(report.ok);
  });
}

TEST_CASE("masks, indices and lengths may be on another device", "[ops][cuda]") {
  const Device cuda = cuda_or_skip();
  const Tensor keep = Tensor::from(std::vector<int64_t>{1, 0, 1, 1, 1, 0}, {2, 3}).to(DType::kBool);
  const Tensor ids = Tensor::from(std::vector<int64_t>{2, 0, 2}, {3});
  const Tensor lengths = Tensor::from(std::vector<int64_t>{2, 1}, {2});
  const auto all = [&](Device device) {
    RandomStream stream(4);
    const auto leaf = [&](const Shape& shape) {
      return Variable(stream.normal(shape, 0, 1, DType::kFloat64).to(device), true);
    };
    const Variable x = leaf({2, 3});
    const Variable y = leaf({2, 3});
    const Variable table = leaf({3, 4});
    const Variable steps = leaf({2, 2, 3});
    const Variable q = leaf({2, 2, 1, 3});
    const Variable total = sum(where(keep, x, y)) + sum(masked_softmax(x, keep) * y) + sum(embedding(table, ids)) +
                           sum(index_select(table, 0, ids) * 2.0) + sum(masked_mean(steps, lengths)) +
                           cross_entropy(table, ids) +
                           linear_cross_entropy(x, y, {}, Tensor::zeros({2}, DType::kInt64)) +
                           sum(attention(q, q, q, {.lengths = lengths}).output);
    total.backward();
    return std::vector<Tensor>{total.value(), x.grad(), y.grad(), table.grad(), steps.grad(), q.grad()};
  };
  const std::vector<Tensor> near = all(Device::cpu());
  const std::vector<Tensor> far = all(cuda);
  for (size_t i = 0; i < near.size(); ++i) {
    INFO(i);
    CHECK(far[i].device() == cuda);
    CHECK(difference(far[i], near[i]) <= 1e-10);
  }
}

// Over more than one block of logits, of which the last is shorter.
TEST_CASE("R-Drop is cross-entropy and the divergence of two draws", "[ops]") {
  constexpr int64_t kExamples = 150, kClasses = 9000;
  const double alpha = GENERATE(0.5, 3.0);
  const Reduction reduction = GENERATE(Reduction::kMean, Reduction::kSum);
  RandomStream random(5);
  const auto leaf = [&](const Shape& shape) { return Variable(random.normal(shape, 0, 1, DType::kFloat64), true); };
  Variable x = leaf({2, kExamples, 2}), weight = leaf({kClasses, 2}), bias = leaf({kClasses});
  Tensor targets = Tensor::empty({2, kExamples}, DType::kInt64);
  for (int64_t i = 0; i < targets.numel(); ++i) {
    const int64_t example = i % kExamples;
    targets.data<int64_t>()[i] = example % 7 == 3 ? -100 : example * 50;
  }
  const auto found_of = [&](const Variable& loss) {
    for (Variable* input : {&x, &weight, &bias}) input->zero_grad();
    loss.backward();
    return std::vector<Tensor>{loss.value().clone(), x.grad().clone(), weight.grad().clone(), bias.grad().clone()};
  };
  const CrossEntropyOptions options{.label_smoothing = 0.1, .reduction = reduction, .r_drop = alpha};
  const Variable logits = linear(x, weight, bias);
  const Variable log_p = log_softmax(logits);
  const Variable first = select(log_p, 0, 0), second = select(log_p, 0, 1);
  Tensor counts = Tensor::full({kExamples, 1}, 1, DType::kFloat64);
  for (int64_t i = 3; i < kExamples; i += 7) counts.data<double>()[i] = 0;
  // KL(p || q) + KL(q || p)
  const Variable apart = sum((exp(first) - exp(second)) * (first - second) * Variable(counts));
  const double counted = 2 * sum(Variable(counts)).value().item();
  const Variable plain =
      cross_entropy(linear(x, weight, bias), targets, {.label_smoothing = 0.1, .reduction = reduction});
  const std::vector<Tensor> wanted =
      found_of(plain + apart * (alpha / 2 / (reduction == Reduction::kMean ? counted : 1)));
  const std::vector<Tensor> fused = found_of(linear_cross_entropy(x, weight, bias, targets, options));
  const std::vector<Tensor> of_logits = found_of(cross_entropy(linear(x, weight, bias), targets, options));
  for (size_t i = 0; i < wanted.size(); ++i) {
    INFO(i);
    CHECK(difference(fused[i], wanted[i]) <= 1e-10);
    CHECK(difference(of_logits[i], wanted[i]) <= 1e-10);
  }
}

TEST_CASE("wrong operands are refused by name", "[ops][errors]") {
  for (const OpError& row : op_errors()) {
    const std::string text = error_text<Error>(row.call);
    INFO(row.op << ": " << text);
    CHECK(text.starts_with(row.op + ":"));
    for (const std::string& part : row.says) {
      INFO("expected: " << part);
      CHECK(text.find(part) != std::string::npos);
    }
  }
  CHECK(Tape::current().size() == 0);
}

}  // namespace
}  // namespace attune::testing
