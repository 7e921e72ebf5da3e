// The library as its users meet it: installed, small, and quick to include.

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/support/paths.h"

namespace {

namespace fs = std::filesystem;
using attune::testing::read_bytes;
using attune::testing::TemporaryDirectory;

/// Runs a shell command and fails with its output unless it succeeds. Returns the output.
std::string run(const TemporaryDirectory& scratch, const std::string& command) {
  const std::string log = scratch / "log";
  const int status = std::system((command + " >'" + log + "' 2>&1").c_str());
  std::string output = read_bytes(log);
  INFO(command << '\n' << output);
  REQUIRE(status == 0);
  return output;
}

}  // namespace

TEST_CASE("an installed library serves a program that knows only <attune.h>", "[house][release]") {
  const TemporaryDirectory scratch;
  const std::string cmake = ATTUNE_CMAKE;
  run(scratch, cmake + " --install " ATTUNE_BINARY_DIR " --component library --prefix " + scratch / "prefix");
  run(scratch, cmake + " -S " ATTUNE_SOURCE_DIR "/tests/install -B " + scratch / "build" +
                   " -G Ninja -DCMAKE_PREFIX_PATH=" + scratch / "prefix" + " -DCMAKE_CXX_COMPILER=" ATTUNE_COMPILER);
  run(scratch, cmake + " --build " + scratch / "build");
  CHECK(run(scratch, scratch / "build/consumer") == "slope 3\n");
}

TEST_CASE("<attune.h> compiles in under 1.5 s", "[house][release]") {
  const TemporaryDirectory scratch;
  const std::string source = scratch.write("only_attune.cpp", "#include <attune.h>\n");
  double best = 1e9;
  for (int attempt = 0; attempt < 3; ++attempt) {
    const auto begin = std::chrono::steady_clock::now();
    run(scratch, std::string(ATTUNE_COMPILER) + " -std=c++20 -O2 -I" ATTUNE_SOURCE_DIR " -c " + source + " -o " +
                     scratch / "only_attune.o");
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  CHECK(best < 1.5);
}

TEST_CASE("the library without CUDA takes less than 10 MB", "[house][release]") {
  const auto bytes = fs::file_size(ATTUNE_LIBRARY);
  CHECK(bytes > 10'000);
  CHECK(bytes < 10'000'000);
}
