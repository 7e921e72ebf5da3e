// The index arithmetic of CUDA kernels, which the host shares.

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

#include "framework/kernels/cuda/attention_band.h"
#include "framework/kernels/cuda/conv_padding.h"
#include "framework/kernels/cuda/flat_table.h"
#include "framework/kernels/cuda/matrix_steps.h"
#include "framework/kernels/cuda/reduction.h"
#include "framework/kernels/cuda/strided.h"

namespace attune::cuda {
namespace {

TEST_CASE("division by multiplication is division", "[cuda-index]") {
  std::vector<uint32_t> numbers = {0,  1,  2,   3,     5,     7,       10,         63,
                                   64, 65, 641, 65535, 65536, 1000003, 0x3fffffff, 0x7fffffff};
  for (uint32_t step = 1; step < 2000000000u; step = step * 3 / 2 + 1) numbers.push_back(step);
  bool right = true;
  for (const uint32_t divisor : numbers) {
    if (divisor == 0) continue;
    const Divider divider(divisor);
    for (const uint32_t n : numbers) {
      // Around multiples is where rounding shows.
      for (const uint64_t at :
           {uint64_t{n}, uint64_t{n} / divisor * divisor, uint64_t{n} / divisor * divisor + divisor - 1}) {
        if (at < 0x80000000u) right = right && divider.quotient(static_cast<uint32_t>(at)) == at / divisor;
      }
    }
  }
  CHECK(right);
  CHECK(Divider().quotient(12345) == 12345);
}

// Where every position of the shape lies in both operands, found axis by axis.
std::vector<std::pair<int64_t, int64_t>> expected(const Shape& shape, const Tensor& a, const Tensor& b) {
  const Tensor wide_a = a.expand(shape);
  const Tensor wide_b = b.expand(shape);
  std::vector<std::pair<int64_t, int64_t>> out;
  for (int64_t i = 0; i < shape.numel(); ++i) {
    int64_t rest = i, at_a = 0, at_b = 0;
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      at_a += rest % shape[axis] * wide_a.strides()[axis];
      at_b += rest % shape[axis] * wide_b.strides()[axis];
      rest /= shape[axis];
    }
    out.emplace_back(at_a, at_b);
  }
  return out;
}

TEST_CASE("walks visit every element of strided and broadcast operands in order, also in parts", "[cuda-index]") {
  struct Case {
    Shape shape;
    Tensor a, b;
  };
  const auto tensor = [](const Shape& shape) { return Tensor::zeros(shape); };
  const std::vector<Case> cases = {
      {{}, tensor({}), tensor({})},
      {{5}, tensor({5}), tensor({1})},
      {{2, 3, 4}, tensor({2, 3, 4}), tensor({4})},
      {{2, 3, 4}, tensor({2, 1, 4}), tensor({3, 1})},
      {{4, 3, 2}, tensor({2, 3, 4}).transpose(0, 2), tensor({4, 3, 2})},
      {{3, 2, 5}, tensor({6, 4, 9}).slice(0, 2, 5).slice(1, 1, 3).slice(2, 4, 9), tensor({5, 2, 3}).permute({2, 1, 0})},
      {{1, 7, 1}, tensor({1, 7, 1}), tensor({7, 1})},
      {{0, 3}, tensor({0, 3}), tensor({3})},
  };
  for (const Case& c : cases) {
    INFO(c.shape.to_string());
    const StridedShape<2> shape(c.shape, {&c.a, &c.b});
    CHECK(shape.numel() == c.shape.numel());
    for (const int64_t most : {int64_t{1} << 30, int64_t{7}, int64_t{4}, int64_t{1}}) {
      std::vector<std::pair<int64_t, int64_t>> seen;
      shape.for_each_part(
          [&](const Walk<2>& walk, uint32_t count, const int64_t(&begin)[2]) {
            CHECK(count <= most);
            for (uint32_t i = 0; i < count; ++i) {
              int64_t at[2];
              walk.offsets(i, at);
              seen.emplace_back(begin[0] + at[0], begin[1] + at[1]);
            }
          },
          most);
      CHECK(seen == expected(c.shape, c.a, c.b));
    }
  }
}

TEST_CASE("axes that lie behind each other are joined", "[cuda-index]") {
  const Tensor x = Tensor::zeros({4, 5, 6});
  const Tensor row = Tensor::zeros({6});
  CHECK(StridedShape<1>(x.shape(), {&x}).rank == 1);
  CHECK(StridedShape<1>(x.shape(), {&x}).contiguous(0));
  CHECK(StridedShape<2>(x.shape(), {&x, &row}).rank == 2);
  CHECK_FALSE(StridedShape<2>(x.shape(), {&x, &row}).contiguous(0));
  const Tensor turned = x.transpose(0, 1);
  CHECK(StridedShape<1>(turned.shape(), {&turned}).rank == 3);
}

// What sums of `x` to `shape` are made of: for every element of the result, which elements of x, found axis by axis.
std::vector<std::vector<int64_t>> summed_elements(const Shape& x, const Shape& shape) {
  std::vector<std::vector<int64_t>> out(static_cast<size_t>(shape.numel()));
  for (int64_t i = 0; i < x.numel(); ++i) {
    int64_t rest = i, to = 0, step = 1;
    for (int axis = x.rank() - 1; axis >= 0; --axis) {
      const int own = axis - (x.rank() - shape.rank());
      if (own >= 0 && shape[own] != 1) {
        to += rest % x[axis] * step;
        step *= shape[own];
      }
      rest /= x[axis];
    }
    out[static_cast<size_t>(to)].push_back(i);
  }
  return out;
}

TEST_CASE("reductions meet every element once, where it belongs", "[cuda-index]") {
  const std::vector<std::pair<Shape, Shape>> cases = {
      {{}, {}},
      {{7}, {}},
      {{7}, {1}},
      {{7}, {7}},
      {{2, 3, 4}, {4}},
      {{2, 3, 4}, {3, 1}},
      {{2, 3, 4}, {2, 1, 4}},
      {{2, 3, 4}, {2, 3, 1}},
      {{2, 3, 4}, {1, 3, 1}},
      {{2, 1, 4, 1}, {1, 1, 4, 1}},
      {{2, 3, 2, 2, 3}, {1, 3, 1, 2, 1}},
      {{2, 3, 2, 2, 3}, {2, 1, 2, 1, 3}},
  };
  for (const auto& [x, shape] : cases) {
    INFO(x.to_string() << " to " << shape.to_string());
    const Reduction r(x, shape);
    const int64_t kept = r.kept.count();
    const int64_t outputs = r.sums_runs ? kept : kept * r.run;
    REQUIRE(outputs == shape.numel());
    std::vector<std::vector<int64_t>> seen(static_cast<size_t>(outputs));
    for (int64_t o = 0; o < kept; ++o) {
      for (int64_t k = 0; k < r.reduced.count(); ++k) {
        for (int64_t i = 0; i < r.run; ++i) {
          seen[static_cast<size_t>(r.sums_runs ? o : o * r.run + i)].push_back(r.kept.offset(o) + r.reduced.offset(k) +
                                                                               i);
        }
      }
    }
    CHECK(seen == summed_elements(x, shape));
  }
}

TEST_CASE("cuBLAS reads the elements that the steps mean, transposed or not", "[cuda-index]") {
  bool right = true;
  int readable = 0;
  for (int64_t m = 1; m < 5; ++m) {
    for (int64_t n = 1; n < 5; ++n) {
      for (int64_t rows = 0; rows < 9; ++rows) {
        for (int64_t columns = 0; columns < 9; ++columns) {
          if (!is_readable({rows, columns}, m, n)) continue;
          ++readable;
          const MatrixSteps steps = decided({rows, columns}, m, n);
          const MatrixLayout own(steps, m, n);
          const MatrixLayout turned(steps.transposed(), n, m);
          for (int64_t i = 0; i < m; ++i) {
            for (int64_t j = 0; j < n; ++j) {
              const int64_t at = i * rows + j * columns;
              right = right && (own.by_columns ? i + j * own.step : i * own.step + j) == at;
              right = right && (turned.by_columns ? j + i * turned.step : j * turned.step + i) == at;
            }
          }
          right = right && own.step >= (own.by_columns ? m : n) && turned.step >= (turned.by_columns ? n : m);
        }
      }
    }
  }
  CHECK(right);
  CHECK(readable > 100);
  CHECK_FALSE(is_readable({0, 1}, 3, 2));  // rows on top of each other
  CHECK_FALSE(is_readable({4, 2}, 2, 2));  // no unit steps
  CHECK(is_readable({0, 1}, 1, 2));
}

TEST_CASE("bands of attention meet the keys and queries that their masks allow", "[cuda-index]") {
  constexpr int64_t kQueries = 7, kKeys = 9;
  bool right = true;
  for (const bool causal : {false, true}) {
    for (const int64_t offset : {-3, 0, 2}) {
      for (const int64_t left : {-1, 0, 3}) {
        for (const int64_t right_side : {-1, 0, 2}) {
          const Band band(causal, offset, left, right_side);
          const auto allowed = [&](int64_t t, int64_t s) {
            const int64_t at = t + offset;
            return (!causal || s <= at) && (left < 0 || s >= at - left) && (right_side < 0 || s <= at + right_side);
          };
          for (int64_t begin = 0; begin < kQueries; ++begin) {
            for (int64_t end = begin + 1; end <= kQueries; ++end) {
              const IndexRange keys = band.keys_of({begin, end}, kKeys);
              const IndexRange queries = band.queries_of({begin, end}, kKeys);  // the same numbers as keys
              bool all = true;
              for (int64_t other = 0; other < kKeys; ++other) {
                bool any_query = false, any_key = false;
                for (int64_t own = begin; own < end; ++own) {
                  right = right && band.allows(own, other) == allowed(own, other);
                  any_query = any_query || allowed(own, other);
                  any_key = any_key || allowed(other, own);
                  all = all && (other < 2 || other > 4 || allowed(own, other));
                }
                const bool in_keys = keys.begin <= other && other < keys.end;
                const bool in_queries = queries.begin <= other && other < queries.end;
                right = right && in_keys == any_query && in_queries == any_key;
              }
              right = right && band.allows_all({begin, end}, {2, 5}) == all;
            }
          }
        }
      }
    }
  }
  CHECK(right);
}

TEST_CASE("a table of ranges finds every element where it is, and by what it is updated", "[cuda-index]") {
  for (const int count : {1, 2, 3, 48, 49, 130}) {
    std::vector<FlatRange> ranges;
    std::vector<std::pair<int64_t, int64_t>> expected_at;  // index and range of every element
    int64_t begin = 32;
    for (int i = 0; i < count; ++i) {
      const int64_t length = kFlatAlignment * (i % 4);  // some are empty
      ranges.push_back({.begin = begin, .end = begin + length, .step = i + 1, .learning_rate = 0.1 * i});
      for (int64_t k = begin; k < begin + length; ++k) expected_at.emplace_back(k, i);
      begin += length + kFlatAlignment * (i % 3);
    }
    if (expected_at.empty()) continue;
    const auto rows = flat_table<int64_t>(ranges, [](const FlatRange& range) { return range.step - 1; });
    REQUIRE(rows.back().end == static_cast<int64_t>(expected_at.size()));
    std::vector<std::pair<int64_t, int64_t>> found;
    for (int64_t i = 0; i < rows.back().end; ++i) {
      int64_t at = i;
      const int64_t row = find_row(rows.data(), count, at);
      found.emplace_back(at, row);
    }
    CHECK(found == expected_at);
  }
}

TEST_CASE("what a range's elements are updated by", "[cuda-index]") {
  const FlatRange range{
      .begin = 0, .end = 16, .step = 3, .learning_rate = 0.5, .weight_decay = 0.1, .zero_gradient = true};
  const AdamRow<double> adam(range, {.beta1 = 0.9, .beta2 = 0.99});
  CHECK(std::abs(adam.rate - 0.5 / (1 - 0.729)) < 1e-12);
  CHECK(std::abs(adam.correction - 1 / std::sqrt(1 - 0.970299)) < 1e-12);
  CHECK((adam.shrink == 1 && adam.decay == 0.1 && adam.zero_gradient));
  const AdamRow<double> decoupled(range, {.decoupled = true});
  CHECK((decoupled.shrink == 0.95 && decoupled.decay == 0));
  const SgdRule rule{.momentum = 0.9, .dampening = 0.25};
  const SgdRow<double> later(range, rule), first(FlatRange{.step = 1}, rule);
  CHECK((later.rate == 0.5 && later.decay == 0.1 && later.keep == 0.9 && later.take == 0.75 && later.zero_gradient));
  CHECK((first.keep == 0 && first.take == 1 && !first.zero_gradient));
}

TEST_CASE("zeros behind an axis make cuDNN find as many windows as there are", "[cuda-index]") {
  const auto check = [](const ConvAxis& axis, int64_t in, int64_t out) {
    INFO(in << " " << axis.size << " " << axis.stride << " " << axis.padding << " " << axis.dilation);
    const int64_t behind = padding_behind(axis, in, out);
    CHECK(behind >= 0);
    CHECK((in + axis.padding + behind - axis.dilation * (axis.size - 1) - 1) / axis.stride + 1 == out);
  };
  for (const int64_t in : {1, 2, 7, 8, 31}) {
    for (const int64_t size : {1, 2, 3, 4, 5}) {
      for (const int64_t dilation : {1, 2}) {
        const int64_t reach = dilation * (size - 1);
        check({.size = size, .padding = reach / 2, .dilation = dilation}, in, in);  // kSamePadding
        for (const int64_t stride : {1, 2, 3}) {
          for (const int64_t padding : {int64_t{0}, int64_t{1}, reach}) {
            if (reach >= in + 2 * padding) continue;
            check({size, stride, padding, dilation}, in, (in + 2 * padding - reach - 1) / stride + 1);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace attune::cuda
