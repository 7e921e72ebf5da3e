#include "framework/math/print.h"

#include <catch2/catch_test_macros.hpp>

#include <limits>
#include <sstream>

#include "framework/error.h"
#include "framework/math/arithmetic.h"
#include "framework/math/create.h"

namespace attune {
namespace {

Tensor floats(const std::vector<float>& numbers, const Shape& shape) { return Tensor::from(numbers, shape); }

TEST_CASE("tensors print as PyTorch prints them", "[math][print]") {
  CHECK(to_string(floats({1, 2.5, -3, 4}, {2, 2})) ==
        "[[ 1.0000,  2.5000],\n [-3.0000,  4.0000]] float32 [2, 2] on cpu");
  CHECK(to_string(floats({1, 2, 30}, {3})) == "[ 1.,  2., 30.] float32 [3] on cpu");
  CHECK(to_string(floats({0.5}, {})) == "0.5000 float32 [] on cpu");
  CHECK(to_string(floats({1e-5f, 1}, {2})) == "[1.0000e-05, 1.0000e+00] float32 [2] on cpu");
  CHECK(to_string(floats({1e9f}, {1})) == "[1.0000e+09] float32 [1] on cpu");
  CHECK(to_string(floats({std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity(), 1}, {3})) ==
        "[ nan, -inf,   1.] float32 [3] on cpu");
  CHECK(to_string(arange(3)) == "[0, 1, 2] int64 [3] on cpu");
  CHECK(to_string(Tensor::from(std::vector<bool>{true, false}, {2})) == "[ true, false] bool [2] on cpu");
  CHECK(to_string(Tensor::zeros({0, 2})) == "[] float32 [0, 2] on cpu");
  CHECK(to_string(Tensor()) == "undefined tensor");
  CHECK(to_string(arange(8).view({2, 2, 2})) ==
        "[[[0, 1],\n  [2, 3]],\n\n [[4, 5],\n  [6, 7]]] int64 [2, 2, 2] on cpu");
  CHECK(to_string(floats({0.123456f}, {1}), {.precision = 2}) == "[0.12] float32 [1] on cpu");
  std::ostringstream out;
  out << arange(2);
  CHECK(out.str() == "[0, 1] int64 [2] on cpu");
}

TEST_CASE("many elements are shortened", "[math][print]") {
  CHECK(to_string(arange(1001)) == "[   0,    1,    2, ...,  998,  999, 1000] int64 [1001] on cpu");
  CHECK(to_string(arange(2000).view({1000, 2}), {.edge_items = 1}) ==
        "[[   0,    1],\n ...,\n [1998, 1999]] int64 [1000, 2] on cpu");
  // Lines of at most 80 characters.
  std::istringstream lines(to_string(arange(100)));
  size_t longest = 0;
  for (std::string line; std::getline(lines, line);)
    longest = std::max(longest, line.substr(0, line.find(" int64")).size());
  CHECK(longest <= 80);
}

}  // namespace
}  // namespace attune
