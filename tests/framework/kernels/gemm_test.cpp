#include "framework/kernels/cpu/gemm.h"

#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <cmath>
#include <limits>
#include <vector>

#include "framework/device.h"
#include "framework/random.h"

namespace attune::cpu {
namespace {

template <class T>
struct Problem {
  int64_t m, n, k;
  bool transpose_a, transpose_b;
  std::vector<T> a, b, c, bias;

  Problem(int64_t rows, int64_t columns, int64_t depth, bool ta, bool tb)
      : m(rows), n(columns), k(depth), transpose_a(ta), transpose_b(tb) {
    RandomStream random(static_cast<uint64_t>(m * 1000003 + n * 1009 + k));
    const auto draw = [&](std::vector<T>& to, int64_t count) {
      for (int64_t i = 0; i < count; ++i) to.push_back(static_cast<T>(random.uniform() * 2 - 1));
    };
    draw(a, m * k);
    draw(b, k * n);
    draw(c, m * n);
    draw(bias, n);
  }

  Product<T> product(std::vector<T>& out) const {
    Product<T> p;
    p.m = m;
    p.n = n;
    p.k = k;
    p.a = transpose_a ? Operand<T>{a.data(), 1, m} : Operand<T>{a.data(), k, 1};
    p.b = transpose_b ? Operand<T>{b.data(), 1, k} : Operand<T>{b.data(), n, 1};
    p.c = out.data();
    p.ldc = n;
    return p;
  }

  double exact(int64_t i, int64_t j) const {
    double sum = 0;
    for (int64_t l = 0; l < k; ++l) {
      const double x = a[static_cast<size_t>(transpose_a ? l * m + i : i * k + l)];
      const double y = b[static_cast<size_t>(transpose_b ? j * k + l : l * n + j)];
      sum += x * y;
    }
    return sum;
  }

  double tolerance() const { return std::numeric_limits<T>::epsilon() * static_cast<double>(k + 4) * 2; }
};

}  // namespace

TEMPLATE_TEST_CASE("products of every shape and layout match the definition", "[gemm]", float, double) {
  for (const int64_t m : {1, 2, 5, 6, 7, 13, 250}) {
    for (const int64_t n : {1, 3, 15, 16, 17, 33, 64, 65, 130}) {
      for (const int64_t k : {0, 1, 3, 8, 300}) {
        for (const int layout : {0, 1, 2, 3}) {
          const Problem<TestType> problem(m, n, k, layout / 2 == 1, layout % 2 == 1);
          std::vector<TestType> out(problem.c.size(), TestType{7});
          gemm(problem.product(out));
          double worst = 0;
          for (int64_t i = 0; i < m; ++i) {
            for (int64_t j = 0; j < n; ++j) {
              worst = std::max(worst, std::abs(out[static_cast<size_t>(i * n + j)] - problem.exact(i, j)));
            }
          }
          INFO("m " << m << " n " << n << " k " << k << " layout " << layout);
          REQUIRE(worst <= problem.tolerance());
        }
      }
    }
  }
}

TEMPLATE_TEST_CASE("alpha, accumulation, bias and relu come in that order", "[gemm]", float, double) {
  const bool split = GENERATE(false, true);  // few rows are a product of their own
  for (const int64_t n : {3, 64, 70}) {
    for (const int64_t k : {5, 600}) {
      const Problem<TestType> problem(17, n, k, false, true);
      std::vector<TestType> out = problem.c;
      Product<TestType> p = problem.product(out);
      p.alpha = TestType{0.5};
      p.accumulate = true;
      p.bias = problem.bias.data();
      p.relu = true;
      split ? parallel_gemm(p) : gemm(p);
      for (int64_t i = 0; i < 17; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          const auto at = static_cast<size_t>(i * n + j);
          const double wanted = 0.5 * problem.exact(i, j) + problem.c[at] + problem.bias[static_cast<size_t>(j)];
          REQUIRE(std::abs(out[at] - std::max(0.0, wanted)) <= problem.tolerance());
        }
      }
    }
  }
}

TEST_CASE("rows of C may lie apart, and nothing is written between them", "[gemm]") {
  const Problem<float> problem(9, 21, 12, false, false);
  constexpr int64_t kStep = 40;
  std::vector<float> out(9 * kStep, -3);
  Product<float> p = problem.product(out);
  p.ldc = kStep;
  gemm(p);
  for (int64_t i = 0; i < 9; ++i) {
    for (int64_t j = 0; j < kStep; ++j) {
      const float y = out[static_cast<size_t>(i * kStep + j)];
      if (j < 21) {
        CHECK(std::abs(y - problem.exact(i, j)) <= problem.tolerance());
      } else {
        CHECK(y == -3);
      }
    }
  }
}

TEMPLATE_TEST_CASE("a packed operand gives the same product from every entry", "[gemm]", float, double) {
  for (const bool transposed : {false, true}) {
    const Problem<TestType> problem(31, 200, 50, false, transposed);
    std::vector<TestType> whole(problem.c.size());
    gemm(problem.product(whole));
    std::vector<TestType> memory(static_cast<size_t>(50 * packed_columns(200) + 16));
    TestType* packed = memory.data();
    while (reinterpret_cast<uintptr_t>(packed) % 64 != 0) ++packed;
    CHECK(pack(problem.product(whole).b, 50, 200, packed));
    for (const int64_t from : {int64_t{0}, kPackedStep, 3 * kPackedStep}) {
      std::vector<TestType> out(problem.c.size());
      Product<TestType> p = problem.product(out);
      p.n = 200 - from;
      p.packed = packed + from * 50;
      gemm(p);
      for (int64_t i = 0; i < 31; ++i) {
        for (int64_t j = from; j < 200; ++j) {
          REQUIRE(out[static_cast<size_t>(i * 200 + j - from)] == whole[static_cast<size_t>(i * 200 + j)]);
        }
      }
    }
  }
}

TEST_CASE("with exact zeros a zero of A takes no part where B is NaN or infinite", "[gemm]") {
  for (const bool transposed : {false, true}) {
    Problem<float> problem(5, 20, 9, false, transposed);
    for (int64_t i = 0; i < 5; ++i) problem.a[static_cast<size_t>(i * 9 + 4)] = 0;
    Problem<float> clean = problem;
    for (int64_t j = 0; j < 20; ++j) {
      const auto at = static_cast<size_t>(transposed ? j * 9 + 4 : 4 * 20 + j);
      problem.b[at] = j % 2 == 0 ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
      clean.b[at] = 0;
    }
    std::vector<float> out(100);
    Product<float> p = problem.product(out);
    p.exact_zeros = true;
    gemm(p);
    for (int64_t i = 0; i < 5; ++i) {
      for (int64_t j = 0; j < 20; ++j) {
        CHECK(std::abs(out[static_cast<size_t>(i * 20 + j)] - clean.exact(i, j)) <= clean.tolerance());
      }
    }
    p.exact_zeros = false;
    gemm(p);
    CHECK(std::isnan(out[0]));
    // What does meet it is NaN as ever.
    problem.a[4] = 1;
    p = problem.product(out);
    p.exact_zeros = true;
    gemm(p);
    CHECK(std::isnan(out[0]));
    CHECK(std::isfinite(out[20]));
  }
}

TEST_CASE("the epilogue sees every row once, finished", "[gemm]") {
  const int64_t rows = GENERATE(5, 517);
  const Problem<float> problem(rows, 48, 20, false, true);
  for (const int threads : {1, 2, 3}) {
    const int before = num_threads();
    set_num_threads(threads);
    std::vector<float> out(problem.c.size());
    struct Seen {
      std::vector<std::atomic<int>> rows;
      const std::vector<float>* out;
      const Problem<float>* problem;
      std::atomic<bool> finished{true};
    } seen{std::vector<std::atomic<int>>(static_cast<size_t>(rows)), &out, &problem};
    Product<float> p = problem.product(out);
    p.epilogue = {[](void* raw, int64_t begin, int64_t end) {
                    auto& s = *static_cast<Seen*>(raw);
                    for (int64_t i = begin; i < end; ++i) {
                      ++s.rows[static_cast<size_t>(i)];
                      const double error = (*s.out)[static_cast<size_t>(i * 48 + 47)] - s.problem->exact(i, 47);
                      if (std::abs(error) > s.problem->tolerance()) s.finished = false;
                    }
                  },
                  &seen};
    parallel_gemm(p);
    set_num_threads(before);
    CHECK(seen.finished);
    for (const auto& count : seen.rows) REQUIRE(count == 1);
  }
}

TEST_CASE("the number of threads does not change a product", "[gemm]") {
  const int before = num_threads();
  struct Shape {
    int64_t m, n, k;
    bool transpose_a;
  };
  for (const auto& [m, n, k, transpose_a] : {Shape{300, 70, 400, false}, Shape{70, 300, 400, false},
                                             Shape{40, 300, 400, false}, Shape{40, 70, 5000, true}}) {
    const Problem<float> problem(m, n, k, transpose_a, !transpose_a);
    for (const bool accumulate : {false, true}) {
      const auto run = [&](int threads) {
        set_num_threads(threads);
        std::vector<float> out = problem.c;
        Product<float> p = problem.product(out);
        p.accumulate = accumulate;
        parallel_gemm(p);
        return out;
      };
      const std::vector<float> one = run(1);
      for (int64_t i = 0; i < m * n; i += 17) {
        const auto at = static_cast<size_t>(i);
        const double wanted = problem.exact(i / n, i % n) + (accumulate ? problem.c[at] : 0);
        REQUIRE(std::abs(one[at] - wanted) <= problem.tolerance());
      }
      for (const int threads : {2, 5}) CHECK(one == run(threads));
    }
  }
  set_num_threads(before);
}

}  // namespace attune::cpu
