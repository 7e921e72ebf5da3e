// Formulas of the user's inside the CUDA backend's kernels, against the host's.

#include "tests/cuda/formulas.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "autograd/ops/attention.h"
#include "autograd/ops/ops.h"
#include "tests/support/devices.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

namespace attune::testing {
namespace {

struct Sizes {
  int64_t queries, keys, size, width;
};

/// Value and gradients of q, k, v and bias.
std::vector<Tensor> attend(const Sizes& sizes, DType dtype, Device device, const MaskSpec& mask,
                           const AttentionOptions& options, bool biased) {
  const auto operand = [&](const Shape& shape, uint64_t seed) {
    return Variable(random_tensor(shape, DType::kFloat64, seed).to(dtype).to(device), true);
  };
  const Variable q = operand({2, sizes.queries, 4, sizes.size}, 1), k = operand({2, sizes.keys, 2, sizes.size}, 2);
  const Variable v = operand({2, sizes.keys, 2, sizes.width}, 3);
  const Variable bias = biased ? operand({4, sizes.queries, sizes.keys}, 5) : Variable();
  RandomStream stream(7);
  AttentionOptions drawn = options;
  drawn.stream = &stream;
  const Variable y = attention(q, k, v, mask, bias, drawn).output;
  y.backward(random_tensor(y.shape(), DType::kFloat64, 4).to(dtype).to(device));
  std::vector<Tensor> found = {y.value(), q.grad(), k.grad(), v.grad()};
  if (biased) found.push_back(bias.grad());
  for (Tensor& x : found) x = x.to(Device::cpu()).to(DType::kFloat64);
  return found;
}

// Tiles of every size and more than one of each, and what has none.
constexpr Sizes kSizes[] = {{5, 7, 8, 8}, {70, 130, 40, 24}, {150, 90, 128, 128}, {33, 70, 160, 16}};

void check_both(DType dtype, double tolerance, const MaskSpec& mask, const AttentionOptions& options, bool biased) {
  const Device cuda = cuda_or_skip();
  for (const Sizes& sizes : kSizes) {
    INFO(sizes.queries << " queries, " << sizes.keys << " keys of " << sizes.size);
    const std::vector<Tensor> there = attend(sizes, dtype, cuda, mask, options, biased);
    const std::vector<Tensor> here = attend(sizes, dtype, Device::cpu(), mask, options, biased);
    for (size_t i = 0; i < here.size(); ++i) {
      INFO(i);
      const double largest = max_difference(here[i], Tensor::zeros(here[i].shape(), DType::kFloat64));
      CHECK(max_difference(there[i], here[i]) <= tolerance * std::max(1.0, largest));
    }
  }
}

}  // namespace

TEST_CASE("a formula compiled for CUDA devices is the host's", "[attention][user][cuda]") {
  check_both(DType::kFloat64, 1e-10, {}, {.score = curved_scores(0.02f)}, false);
  check_both(DType::kFloat32, 1e-5, {}, {.score = curved_scores(0.02f)}, false);
  check_both(DType::kFloat64, 1e-10, {.causal = true}, {.softcap = 3, .score = curved_scores(0.02f), .dropout = 0.2},
             true);
  check_both(DType::kFloat64, 1e-10, {.window_left = 3}, {.score = capped_scores(1.5f)}, true);
}

TEST_CASE("a mask compiled for CUDA devices is the host's", "[attention][user][cuda]") {
  const MaskFunction stripes = striped_keys(3);
  check_both(DType::kFloat64, 1e-10, {.where = stripes}, {}, false);
  check_both(DType::kFloat32, 1e-5, {.where = stripes & striped_keys(2)}, {.score = curved_scores(0.02f)}, false);
  check_both(DType::kFloat64, 1e-10, {.lengths = Tensor::from(std::vector<int64_t>{5, 0}, {2}), .where = stripes}, {},
             true);
}

TEST_CASE("functions of the host alone serve CUDA devices too", "[attention][user][cuda]") {
  const ScoreFunction bent([](auto score, const ScoreAt& at) { return score * score - 0.1 * at.key; });
  const MaskFunction odd([](const ScoreAt& at) { return at.key % 2 == 1; });
  const Tensor heads = Tensor::from(std::vector<int64_t>{1, 0, 1, 1, 1, 1, 0, 1}, {2, 4, 1, 1}).to(DType::kBool);
  check_both(DType::kFloat64, 1e-10, {.keep = heads, .where = odd & striped_keys(3)}, {}, false);
  check_both(DType::kFloat64, 1e-10, {.keep = heads, .where = striped_keys(3)}, {}, false);
  check_both(DType::kFloat64, 1e-10, {.causal = true, .where = odd}, {.score = bent}, true);
  check_both(DType::kFloat64, 1e-10, {.where = odd}, {.score = capped_scores(1.5f), .dropout = 0.2}, false);
}

TEST_CASE("a formula compiled for other operands is named", "[attention][user][cuda][errors]") {
  const Device cuda = cuda_or_skip();
  const auto call = [&] { attend(kSizes[0], DType::kBFloat16, cuda, {}, {.score = curved_scores(0.02f)}, false); };
  if (is_emulated(cuda)) {  // which computes with the host's formula
    CHECK_NOTHROW(call());
    return;
  }
  const std::string error = error_text<DeviceError>(call);
  CHECK(error.find("bfloat16") != std::string::npos);
  CHECK(error.find("with_cuda") != std::string::npos);
}

}  // namespace attune::testing
