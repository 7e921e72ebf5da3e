#include "framework/dual.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <functional>

using attune::Dual;
using Catch::Matchers::WithinAbs;

TEST_CASE("dual numbers carry the derivative of a formula", "[dual]") {
  using D = Dual<double>;
  const double x = 0.7;
  struct Row {
    const char* name;
    std::function<D(D)> f;
    std::function<double(double)> value;
    std::function<double(double)> slope;
  };
  const Row rows[] = {
      {"sum", [](D s) { return s + 3 - 2 * s; }, [](double s) { return 3 - s; }, [](double) { return -1.0; }},
      {"product", [](D s) { return s * s * s; }, [](double s) { return s * s * s; },
       [](double s) { return 3 * s * s; }},
      {"quotient", [](D s) { return 1 / (2 + s); }, [](double s) { return 1 / (2 + s); },
       [](double s) { return -1 / ((2 + s) * (2 + s)); }},
      {"exp", [](D s) { return exp(-s); }, [](double s) { return std::exp(-s); },
       [](double s) { return -std::exp(-s); }},
      {"log", [](D s) { return log(s); }, [](double s) { return std::log(s); }, [](double s) { return 1 / s; }},
      {"sqrt", [](D s) { return sqrt(s); }, [](double s) { return std::sqrt(s); },
       [](double s) { return 0.5 / std::sqrt(s); }},
      {"tanh", [](D s) { return tanh(s); }, [](double s) { return std::tanh(s); },
       [](double s) { return 1 - std::tanh(s) * std::tanh(s); }},
      {"sin", [](D s) { return sin(2 * s); }, [](double s) { return std::sin(2 * s); },
       [](double s) { return 2 * std::cos(2 * s); }},
      {"cos", [](D s) { return cos(s); }, [](double s) { return std::cos(s); }, [](double s) { return -std::sin(s); }},
      {"abs", [](D s) { return abs(-3 * s); }, [](double s) { return 3 * s; }, [](double) { return 3.0; }},
      {"extremes", [](D s) { return fmax(s, 2 * s) + fmin(s, 2 * s); }, [](double s) { return 3 * s; },
       [](double) { return 3.0; }},
      {"branch", [](D s) { return s < 0.5 ? s : s * s; }, [](double s) { return s * s; },
       [](double s) { return 2 * s; }},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const D y = row.f(D(x, 1));
    CHECK_THAT(y.value, WithinAbs(row.value(x), 1e-15));
    CHECK_THAT(y.slope, WithinAbs(row.slope(x), 1e-15));
  }
}
