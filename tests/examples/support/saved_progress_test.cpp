#include "examples/support/saved_progress.h"

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include <string>

#include "framework/allocation_limit.h"
#include "framework/error.h"
#include "framework/tensor.h"
#include "tests/support/errors.h"

namespace attune::examples {
namespace {

using attune::testing::error_text;

TEST_CASE("the counts of a run's progress are whole numbers", "[program]") {
  const auto refused = [](const std::string& text) {
    return error_text<FormatError>([&] { progress_json(text, "attune-sentiment"); });
  };
  CHECK(progress_json(R"({"step": 3, "data": {"seed": 18446744073709551615, "batch": 0}})", "x").at("step") == 3);
  CHECK(refused(R"({"step": 1.5})") == "state/progress: step is 1.5, expected a whole number from 0 on");
  CHECK(refused(R"({"data": {"epoch": -1}})") == "state/progress: epoch is -1, expected a whole number from 0 on");
  CHECK(refused(R"({"waited": 9223372036854775808})") ==
        "state/progress: waited is 9223372036854775808, expected a whole number from 0 on");
  CHECK(refused(R"({"tokens": "7"})") == "state/progress: tokens is \"7\", expected a whole number from 0 on");
  const std::string other = "state/progress is not that of a run of attune-sentiment";
  CHECK(refused("[1]") == other);
  CHECK(refused("{") == other);
  CHECK(refused(R"({"step": 1e999})") == other);
  CHECK(refused(std::string(100000, '[')) == other);
}

TEST_CASE("a limit on allocations counts bytes and tensors of its scope", "[tensor]") {
  const auto refused = [](const auto& make) { return error_text<FormatError>(make); };
  {
    const AllocationLimit limit(1000, 3, "too much");
    Tensor::empty({100});
    CHECK(refused([] { Tensor::empty({200}); }) == "too much");
    Tensor::empty({100});
    Tensor::empty({1});
    CHECK(refused([] { Tensor::empty({1}); }) == "too much");
    const AllocationLimit inner(1 << 20, 10, "inner");
    CHECK(refused([] { Tensor::empty({1}); }) == "too much");
  }
  CHECK(Tensor::empty({1000}).numel() == 1000);
}

}  // namespace
}  // namespace attune::examples
