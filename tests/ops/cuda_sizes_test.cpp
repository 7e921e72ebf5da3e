// What the op table's small operands do not reach on a CUDA device: rows of more than one block of threads, sums in
// several parts, many repeated indices, many ranges, dropout's draws.

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "autograd/ops/attention.h"
#include "autograd/ops/conv.h"
#include "autograd/ops/ops.h"
#include "autograd/ops/pool.h"
#include "framework/kernels/elementwise.h"
#include "framework/kernels/optim.h"
#include "framework/kernels/top_k.h"
#include "tests/support/devices.h"
#include "tests/support/tensors.h"

namespace attune::testing {
namespace {

struct Problem {
  std::string name;
  std::vector<Shape> inputs;
  std::function<Variable(const std::vector<Variable>&)> call;
};

std::vector<int64_t> repeated_ids(int64_t count, int64_t below) {
  RandomStream stream(8);
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < count; ++i) {
    ids.push_back(i % 3 == 0 ? 1 : static_cast<int64_t>(stream.below(static_cast<uint64_t>(below))));
  }
  return ids;
}

std::vector<Problem> problems() {
  using Vars = const std::vector<Variable>&;
  const auto tensor = [](const std::vector<int64_t>& values) {
    return Tensor::from(values, {static_cast<int64_t>(values.size())});
  };
  std::vector<Problem> all;
  for (const int64_t width : {int64_t{31}, int64_t{1024}, int64_t{1025}, int64_t{5000}}) {
    const Shape x{5, width};
    const std::string by = " of " + std::to_string(width);
    all.push_back({"softmax" + by, {x}, [](Vars v) { return softmax(v[0]); }});
    all.push_back({"log_softmax" + by, {x}, [](Vars v) { return log_softmax(v[0]); }});
    all.push_back({"layer_norm" + by, {x, {width}, {width}}, [](Vars v) { return layer_norm(v[0], v[1], v[2]); }});
    all.push_back({"rms_norm" + by, {x, {width}}, [](Vars v) { return rms_norm(v[0], v[1]); }});
    all.push_back({"cross_entropy" + by, {x}, [tensor](Vars v) {
                     return cross_entropy(v[0], tensor({0, 30, -100, 7, 3}), {.label_smoothing = 0.1});
                   }});
  }
  all.push_back({"softmax of many rows", {{70001, 3}}, [](Vars v) { return softmax(v[0]); }});
  all.push_back(
      {"layer_norm of many rows", {{70001, 4}, {4}, {4}}, [](Vars v) { return layer_norm(v[0], v[1], v[2]); }});
  all.push_back({"sum of everything", {{300, 1001}}, [](Vars v) { return sum(v[0]); }});
  all.push_back({"sum of long columns", {{9001, 5}}, [](Vars v) { return sum(v[0], {0}); }});
  all.push_back({"sum of wide columns", {{300, 2000}}, [](Vars v) { return sum(v[0], {0}); }});
  all.push_back({"sum of outer axes", {{70, 33, 40}}, [](Vars v) { return sum(v[0], {0, 2}); }});
  all.push_back({"a row added to many", {{5000, 37}, {37}}, [](Vars v) { return v[0] + v[1]; }});
  all.push_back({"a column times many", {{5000, 37}, {5000, 1}}, [](Vars v) { return v[0] * v[1]; }});
  all.push_back({"axes turned", {{40, 50, 30}}, [](Vars v) { return permute(v[0], {2, 0, 1}) * 2.0; }});
  all.push_back({"gelu of an odd number", {{10007}}, [](Vars v) { return gelu(v[0]); }});
  all.push_back({"gelu of a slice", {{10008}}, [](Vars v) { return gelu(slice(v[0], 0, 1, 10006)); }});
  all.push_back({"embedding, one id very often", {{50, 40}}, [tensor](Vars v) {
                   return embedding(v[0], tensor(repeated_ids(1000, 50)), 4, 1.5);
                 }});
  all.push_back(
      {"embedding, wide", {{9, 1500}}, [tensor](Vars v) { return embedding(v[0], tensor(repeated_ids(300, 9))); }});
  all.push_back({"matmul of a batch", {{6, 33, 50}, {6, 50, 47}}, [](Vars v) { return matmul(v[0], v[1]); }});
  all.push_back({"matmul, transposed and broadcast", {{2, 3, 50, 33}, {3, 47, 50}}, [](Vars v) {
                   return matmul(v[0], v[1], true, true);
                 }});
  for (const Activation activation : {Activation::kNone, Activation::kRelu, Activation::kGelu, Activation::kSilu}) {
    all.push_back({"linear, activation " + std::to_string(static_cast<int>(activation)),
                   {{300, 70}, {50, 70}, {50}},
                   [activation](Vars v) {
                     RandomStream stream(6);
                     return linear(v[0], v[1], v[2], activation, 0.25, stream);
                   }});
  }
  for (const int64_t keys : {int64_t{31}, int64_t{33}, int64_t{200}}) {
    for (const bool causal : {false, true}) {
      all.push_back(
          {"attention over " + std::to_string(keys) + (causal ? " keys, causal" : " keys"),
           {{2, 65, 4, 40}, {2, keys, 2, 40}, {2, keys, 2, 24}, {4, 65, keys}},
           [causal, keys](Vars v) {
             RandomStream stream(7);
             MaskSpec mask{.causal = causal, .causal_offset = keys - 65};
             mask.lengths = Tensor::from<int64_t>({keys, 20}, {2});
             return attention(v[0], v[1], v[2], mask, v[3], {.softcap = 5, .dropout = 0.2, .stream = &stream}).output;
           }});
    }
  }
  for (const int64_t keys : {int64_t{300}, int64_t{320}}) {
    for (const bool causal : {false, true}) {
      all.push_back({"long attention over " + std::to_string(keys) + (causal ? " keys, causal" : " keys"),
                     {{1, 300, 2, 64}, {1, keys, 2, 64}, {1, keys, 2, 32}},
                     [causal, keys](Vars v) {
                       return attention(v[0], v[1], v[2], {.causal = causal, .causal_offset = keys - 300}).output;
                     }});
    }
  }
  all.push_back({"conv2d", {{3, 20, 17, 8}, {12, 4, 3, 3}, {12}}, [](Vars v) {
                   return conv2d(v[0], v[1], v[2], {.stride = {2, 1}, .padding = {1, 2}, .groups = 2});
                 }});
  all.push_back({"max_pool2d", {{2, 21, 17, 5}}, [](Vars v) {
                   return max_pool2d(v[0], {3, 2}, {.stride = {2, 1}, .padding = {1, 0}});
                 }});
  all.push_back({"dropout", {{70, 101}}, [](Vars v) {
                   RandomStream stream(11);
                   return dropout(v[0], 0.3, stream);
                 }});
  return all;
}

std::vector<Tensor> results(const Problem& problem, DType dtype, Device device) {
  std::vector<Variable> leaves;
  for (size_t i = 0; i < problem.inputs.size(); ++i) {
    leaves.emplace_back(random_tensor(problem.inputs[i], dtype, 20 + i).to(device), true);
  }
  const Variable y = problem.call(leaves);
  std::vector<Tensor> out{y.value()};
  if (y.numel() == 1) {
    y.backward();
  } else {
    y.backward(random_tensor(y.shape(), y.dtype(), 5).to(device));
  }
  for (const Variable& leaf : leaves) out.push_back(leaf.grad());
  return out;
}

TEST_CASE("CUDA agrees with the CPU at sizes beyond one block", "[ops][cuda][sizes]") {
  const Device cuda = cuda_or_skip();
  for (const Problem& problem : problems()) {
    for (const auto& [dtype, tolerance] :
         {std::pair(DType::kFloat64, 1e-10), std::pair(DType::kFloat32, 2e-5), std::pair(DType::kBFloat16, 3e-2)}) {
      INFO(problem.name << ", " << dtype_name(dtype));
      const std::vector<Tensor> near = results(problem, dtype, Device::cpu());
      const std::vector<Tensor> far = results(problem, dtype, cuda);
      for (size_t i = 0; i < near.size(); ++i) {
        INFO("result " << i);
        // Of sums of thousands of terms: relative to the largest.
        double largest = 1;
        for (const double value : values(near[i])) largest = std::max(largest, std::abs(value));
        CHECK(max_difference(near[i], far[i]) <= tolerance * largest);
      }
    }
  }
}

TEST_CASE("CUDA gives the same results twice", "[ops][cuda][sizes]") {
  const Device cuda = cuda_or_skip();
  for (const Problem& problem : problems()) {
    INFO(problem.name);
    const std::vector<Tensor> once = results(problem, DType::kFloat32, cuda);
    const std::vector<Tensor> again = results(problem, DType::kFloat32, cuda);
    for (size_t i = 0; i < once.size(); ++i) CHECK(same_values(once[i], again[i]));
  }
}

TEST_CASE("dropout draws the same on a CUDA device", "[ops][cuda][sizes]") {
  const Device cuda = cuda_or_skip();
  for (const int64_t count : {int64_t{1}, int64_t{15}, int64_t{64}, int64_t{1000}, int64_t{4099}}) {
    const Variable ones(Tensor::full({count}, 1));
    for (const double p : {0.1, 0.5, 0.9}) {
      RandomStream near(3), far(3);
      const Tensor a = dropout(ones, p, near).value();
      const Tensor b = dropout(to_device(ones, cuda), p, far).value();
      CHECK(same_values(a, b));
      CHECK(near.state() == far.state());
    }
  }
}

TEST_CASE("optimizers take any number of ranges on a CUDA device", "[ops][cuda][sizes]") {
  const Device cuda = cuda_or_skip();
  constexpr int64_t kCount = 600;
  constexpr int64_t kLength = kCount * 2 * kFlatAlignment;
  std::vector<FlatRange> ranges;
  for (int64_t i = 0; i < kCount; ++i) {
    const int64_t begin = 2 * i * kFlatAlignment;
    ranges.push_back(
        {begin, begin + kFlatAlignment, 1 + i % 3, 0.01 * static_cast<double>(1 + i % 5), 0.1, i % 2 == 0});
  }
  const auto run = [&](Device device) {
    std::vector<Tensor> t;
    for (uint64_t seed = 0; seed < 4; ++seed) t.push_back(random_tensor({kLength}, DType::kFloat64, seed).to(device));
    kernels::mul(t[3], t[3], t[3]);  // means of squares
    // Of what is in the ranges: between them anything may be.
    t.push_back(Tensor::full({3, 2}, 0, DType::kFloat64, device));
    Tensor row = t[4].select(0, 0), broken = t[4].select(0, 1);
    kernels::sum_squares(t[1], ranges, row);
    Tensor gradient = t[1].clone();
    gradient.slice(0, kFlatAlignment, kFlatAlignment + 1).fill_(std::nan(""));
    kernels::sum_squares(gradient, ranges, broken);
    CHECK(broken.select(0, 1).item() == -1);
    gradient.slice(0, 9605, 9606).fill_(HUGE_VAL);
    gradient.slice(0, 9921, 9922).fill_(std::nan(""));
    kernels::sum_squares(gradient, ranges, broken);
    CHECK(std::isnan(broken.select(0, 0).item()));
    CHECK(broken.select(0, 1).item() == 9605);
    broken.fill_(0);
    kernels::clip_by_norm(-0.5, 3, t[4]);
    GradientTransform transform{.scale = 0.5, .limit = 0.7};
    kernels::adam_step(t[0], t[1], t[2], t[3], ranges, transform, {.decoupled = true});
    transform.scale_there = t[4].select(0, 2).slice(0, 1, 2);
    kernels::sgd_step(t[0], t[1], t[2], ranges, transform, {.momentum = 0.9, .dampening = 0.1, .nesterov = true});
    kernels::move_average(t[0], 0.25, t[2]);
    return t;
  };
  const std::vector<Tensor> near = run(Device::cpu());
  const std::vector<Tensor> far = run(cuda);
  for (size_t i = 0; i < near.size(); ++i) {
    INFO(i);
    CHECK(max_difference(near[i], far[i]) <= 1e-10 * (i == 4 ? 1e4 : 1));
  }
}

TEST_CASE("the largest of rows are the same on a CUDA device", "[ops][cuda][sizes]") {
  const Device cuda = cuda_or_skip();
  for (const int64_t width : {int64_t{7}, int64_t{3000}}) {
    Tensor x = random_tensor({6, width}, DType::kFloat32);
    x.select(0, 2).fill_(0.5);  // equals
    for (const int64_t k : {int64_t{1}, int64_t{5}}) {
      const auto run = [&](const Tensor& in) {
        Tensor values = Tensor::empty({6, k}, in.dtype(), in.device());
        Tensor indices = Tensor::empty({6, k}, DType::kInt64, in.device());
        kernels::top_k(in, values, indices);
        return std::pair(values, indices);
      };
      const auto near = run(x);
      const auto far = run(x.to(cuda));
      CHECK(same_values(near.first, far.first));
      CHECK(same_values(near.second, far.second));
    }
    Tensor near = Tensor::empty({6}), far = Tensor::empty({6}, DType::kFloat32, cuda);
    kernels::log_sum_exp(x, 0.7, near);
    kernels::log_sum_exp(x.to(cuda), 0.7, far);
    CHECK(max_difference(near, far) < 1e-5);
  }
}

}  // namespace
}  // namespace attune::testing
