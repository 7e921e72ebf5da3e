#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include "framework/random.h"
#include "tests/framework/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/framework/kernels/simd_test.cpp"
#include <hwy/foreach_target.h>

#include "framework/kernels/cpu/philox.h"
#include "framework/kernels/cpu/simd.h"

#ifndef ATTUNE_TESTS_FRAMEWORK_KERNELS_SIMD_TEST_
#define ATTUNE_TESTS_FRAMEWORK_KERNELS_SIMD_TEST_
namespace attune {
enum class Function { kExp, kExpBounded, kExpm1, kLog, kLog1p, kTanh, kSigmoid, kErf, kNormalCdf };
}
#endif

HWY_BEFORE_NAMESPACE();
namespace attune::cpu::HWY_NAMESPACE {

template <class T, class F>
void map(F f, const std::vector<T>& x, std::vector<T>& y) {
  const hn::ScalableTag<T> d;
  const size_t lanes = hn::Lanes(d);
  for (size_t i = 0; i < x.size(); i += lanes) {
    const size_t n = std::min(lanes, x.size() - i);
    StoreTail(f(d, LoadTail(d, x.data() + i, n)), d, y.data() + i, n);
  }
}

template <class T>
void apply(Function function, const std::vector<T>& x, std::vector<T>& y) {
  using D = hn::ScalableTag<T>;
  using V = hn::Vec<D>;
  switch (function) {
    case Function::kExp:
      return map([](D d, V v) HWY_ATTR { return Exp(d, v); }, x, y);
    case Function::kExpBounded:
      return map(
          [](D d, V v) HWY_ATTR {
            V one[1] = {v};
            ExpBounded(d, one);
            return one[0];
          },
          x, y);
    case Function::kExpm1:
      return map([](D d, V v) HWY_ATTR { return Expm1(d, v); }, x, y);
    case Function::kLog:
      return map([](D d, V v) HWY_ATTR { return Log(d, v); }, x, y);
    case Function::kLog1p:
      return map([](D d, V v) HWY_ATTR { return Log1p(d, v); }, x, y);
    case Function::kTanh:
      return map([](D d, V v) HWY_ATTR { return Tanh(d, v); }, x, y);
    case Function::kSigmoid:
      return map([](D d, V v) HWY_ATTR { return Sigmoid(d, v); }, x, y);
    case Function::kErf:
      return map([](D d, V v) HWY_ATTR { return Erf(d, v); }, x, y);
    case Function::kNormalCdf:
      return map([](D d, V v) HWY_ATTR { return NormalCdf(d, v); }, x, y);
  }
}

void apply_float(Function function, const std::vector<float>& x, std::vector<float>& y) { apply(function, x, y); }
void apply_double(Function function, const std::vector<double>& x, std::vector<double>& y) { apply(function, x, y); }

void draw_scales(RandomState state, double p, int64_t begin, std::vector<float>& out) {
  DropoutScales(state, DropoutScale(p), begin, static_cast<int64_t>(out.size()), out.data());
}
void drop(RandomState state, double p, int64_t begin, const std::vector<float>& x, std::vector<float>& y) {
  DropoutRange(state, DropoutScale(p), begin, static_cast<int64_t>(x.size()), x.data(), y.data());
}

}  // namespace attune::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attune {
namespace cpu {

HWY_EXPORT(apply_float);
HWY_EXPORT(apply_double);
HWY_EXPORT(draw_scales);
HWY_EXPORT(drop);

std::vector<float> apply(Function function, const std::vector<float>& x) {
  std::vector<float> y(x.size());
  HWY_DYNAMIC_DISPATCH(apply_float)(function, x, y);
  return y;
}
std::vector<double> apply(Function function, const std::vector<double>& x) {
  std::vector<double> y(x.size());
  HWY_DYNAMIC_DISPATCH(apply_double)(function, x, y);
  return y;
}
std::vector<float> scales(RandomState state, double p, int64_t begin, size_t n) {
  std::vector<float> out(n);
  HWY_DYNAMIC_DISPATCH(draw_scales)(state, p, begin, out);
  return out;
}
std::vector<float> dropped(RandomState state, double p, int64_t begin, const std::vector<float>& x) {
  std::vector<float> y(x.size());
  HWY_DYNAMIC_DISPATCH(drop)(state, p, begin, x, y);
  return y;
}

}  // namespace cpu

namespace {

using testing::for_each_instruction_set;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Largest relative error over evenly spaced (or, for geometric, evenly scaled) arguments, in units of epsilon.
template <class T>
double worst_error(Function function, long double (*reference)(long double), double low, double high, bool geometric) {
  constexpr int kCount = 50001;
  std::vector<T> x;
  for (int i = 0; i < kCount; ++i) {
    const double at = static_cast<double>(i) / (kCount - 1);
    x.push_back(static_cast<T>(geometric ? low * std::pow(high / low, at) : low + (high - low) * at));
  }
  const std::vector<T> y = cpu::apply(function, x);
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const long double expected = reference(x[i]);
    if (expected == 0) continue;
    const auto error = static_cast<double>(std::abs((y[i] - expected) / expected));
    worst = error <= worst ? worst : error;  // NaN counts
  }
  return worst / std::numeric_limits<T>::epsilon();
}

struct Range {
  Function function;
  long double (*reference)(long double);
  double low;
  double high;
  bool geometric;
  double limit;  // units of epsilon; a unit in the last place is one half to one of them
};

long double normal_cdf(long double x) { return std::erfc(-x / std::sqrt(2.0L)) / 2; }

const Range kRanges[] = {
    {Function::kExp, std::exp, -87.3, 88.7, false, 0.9},
    {Function::kExp, std::exp, 1e-9, 1, true, 0.8},
    {Function::kExpBounded, std::exp, -80, 0, false, 3.1},
    {Function::kExpBounded, std::exp, -1, 0, false, 1.6},
    {Function::kExpm1, std::expm1, -20, 20, false, 1.3},
    {Function::kExpm1, std::expm1, 1e-30, 1, true, 1.3},
    {Function::kLog, std::log, 1e-37, 1e37, true, 0.8},
    {Function::kLog, std::log, 0.6, 1.6, false, 0.8},
    {Function::kLog1p, std::log1p, 1e-30, 1e3, true, 1.2},
    {Function::kTanh, std::tanh, -20, 20, false, 1.8},
    {Function::kTanh, std::tanh, 1e-30, 1, true, 1.8},
    {Function::kSigmoid, [](long double x) { return 1 / (1 + std::exp(-x)); }, -80, 80, false, 1.4},
    {Function::kErf, std::erf, -6, 6, false, 4},
    {Function::kErf, std::erf, 1e-30, 6, true, 4},
    {Function::kNormalCdf, normal_cdf, -1, 8, false, 3},
    {Function::kNormalCdf, normal_cdf, -8, -1, false, 60},  // the rounding of x^2 / 2 is an error of exp
};

TEST_CASE("vector functions are accurate on every instruction set", "[simd][release]") {
  for_each_instruction_set([](const char* name) {
    for (const Range& r : kRanges) {
      INFO(name << ", function " << static_cast<int>(r.function) << " over " << r.low << " ... " << r.high);
      CHECK(worst_error<float>(r.function, r.reference, r.low, r.high, r.geometric) < r.limit);
      CHECK(worst_error<double>(r.function, r.reference, r.low, r.high, r.geometric) < r.limit);
    }
  });
}

template <class T>
void check_special(Function function, const std::vector<double>& x, const std::vector<double>& expected) {
  std::vector<T> in(x.begin(), x.end());
  const std::vector<T> y = cpu::apply(function, in);
  for (size_t i = 0; i < x.size(); ++i) {
    INFO("function " << static_cast<int>(function) << " of " << x[i] << " in " << sizeof(T) << " bytes gives " << y[i]);
    CHECK((std::isnan(expected[i]) ? std::isnan(y[i]) : y[i] == static_cast<T>(expected[i])));
  }
}

TEST_CASE("vector functions treat limits as the standard library does", "[simd]") {
  const std::vector<double> x{0, kInfinity, -kInfinity, kNan, 1e4, -1e4};
  for_each_instruction_set([&](const char* name) {
    INFO(name);
    const auto check = [&](Function function, const std::vector<double>& expected) {
      check_special<float>(function, x, expected);
      check_special<double>(function, x, expected);
    };
    check(Function::kExp, {1, kInfinity, 0, kNan, kInfinity, 0});
    check(Function::kExpm1, {0, kInfinity, -1, kNan, kInfinity, -1});
    check(Function::kLog, {-kInfinity, kInfinity, kNan, kNan, std::log(1e4), kNan});
    check(Function::kTanh, {0, 1, -1, kNan, 1, -1});
    check(Function::kSigmoid, {0.5, 1, 0, kNan, 1, 0});
    check(Function::kErf, {0, 1, -1, kNan, 1, -1});
    check(Function::kNormalCdf, {0.5, 1, 0, kNan, 1, 0});
    CHECK(std::signbit(cpu::apply(Function::kTanh, std::vector<float>{-0.0f})[0]));
    // Where the result of exp would be denormal it is 0.
    CHECK(cpu::apply(Function::kExp, std::vector<float>{-87.4f, -103}) == std::vector<float>{0, 0});
    CHECK(cpu::apply(Function::kLog, std::vector<float>{1e-40f})[0] == std::log(1e-40f));
    CHECK(cpu::apply(Function::kTanh, std::vector<float>{1e-40f})[0] == 1e-40f);
  });
}

TEST_CASE("dropout draws the same numbers on every instruction set, as random.h lays down", "[simd][random]") {
  for_each_instruction_set([](const char* name) {
    INFO(name);
    for (const uint64_t offset : {uint64_t{0}, uint64_t{0xfffffff8}, uint64_t{1} << 40}) {
      const RandomState state{0x123456789abcdef0, offset};
      for (const double p : {0.0, 0.1, 0.5, 0.999}) {
        for (const auto& [begin, n] : {std::pair{0, 64}, {0, 1000}, {37, 300}, {63, 1}, {64, 65}, {10, 0}}) {
          std::vector<float> x(static_cast<size_t>(n));
          for (size_t k = 0; k < x.size(); ++k) x[k] = static_cast<float>(k) + 1;
          const std::vector<float> scales = cpu::scales(state, p, begin, x.size());
          const std::vector<float> y = cpu::dropped(state, p, begin, x);
          int wrong = 0;
          for (int i = 0; i < n; ++i) {
            const int element = begin + i;
            const auto counter = offset + static_cast<uint64_t>(element / 64 * 16 + element % 16);
            const uint32_t word = philox(state.seed, counter).word[element / 16 % 4];
            const bool keep = word >= std::floor(p * 4294967296.0);
            const auto expected = keep ? static_cast<float>(1 / (1 - p)) : 0.0f;
            const auto at = static_cast<size_t>(i);
            if (scales[at] != expected || y[at] != x[at] * expected) ++wrong;
          }
          CHECK(wrong == 0);
        }
      }
    }
  });
}

}  // namespace
}  // namespace attune
#endif
