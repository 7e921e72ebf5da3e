#include "examples/support/program.h"

#include <CLI/CLI.hpp>
#include <catch2/catch_test_macros.hpp>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "examples/support/train_options.h"
#include "framework/device.h"
#include "framework/error.h"
#include "tests/support/paths.h"

namespace attune::examples {
namespace {

struct Finished {
  int status;
  std::string err;
};

/// A program with these words on its command line.
Finished run(
    std::vector<std::string> words, const std::function<int()>& body = [] { return 0; },
    SharedOptions* given = nullptr) {
  CLI::App app("A test", "attune-test");
  SharedOptions own;
  SharedOptions& options = given != nullptr ? *given : own;
  add_threads_option(app, options);
  add_seed_option(app, options);
  add_device_option(app, options);
  double rate = 0;
  app.add_option("--rate", rate)->check(positive_number());
  std::string name = "attune-test";
  std::vector<char*> argv = {name.data()};
  for (auto& word : words) argv.push_back(word.data());
  const testing::TemporaryDirectory directory;
  const std::string path = directory.write("err", "");
  const int standard_error = dup(2);
  REQUIRE(freopen(path.c_str(), "w", stderr) != nullptr);
  const int status = run_program(app, static_cast<int>(argv.size()), argv.data(), options, body);
  std::fflush(stderr);
  dup2(standard_error, 2);
  close(standard_error);
  return {status, testing::read_bytes(path)};
}

TEST_CASE("programs turn failures into one line and an exit status", "[support]") {
  CHECK(run({}).status == 0);
  CHECK(run({}, [] { return 1; }).status == 1);
  const auto throwing = [](const auto& error) { return run({}, [&]() -> int { throw error; }); };
  const Finished usage = throwing(UsageError("--a without --b"));
  CHECK(usage.status == 2);
  CHECK(usage.err == "error: --a without --b (see attune-test --help)\n");
  const Finished failure = throwing(IoError("two\nlines"));
  CHECK(failure.status == 1);
  CHECK(failure.err == "error: two\\nlines\n");
  CHECK(throwing(std::bad_alloc()).err == "error: out of memory\n");
  CHECK(throwing(std::bad_alloc()).status == 1);
}

TEST_CASE("programs take whole and positive numbers only", "[support]") {
  for (const char* word : {"0", "-1", "1.5", "x", "", "1025", "99999999999999999999", "2x", "0x2"}) {
    const Finished finished = run({"--threads", word});
    CHECK(finished.status == 2);
    CHECK(finished.err == "error: --threads: expected a whole number from 1 to 1024, got '" + std::string(word) +
                              "' (see attune-test --help)\n");
  }
  for (const char* word : {"-1", "1e3", "x", "1 2"}) {
    INFO(word);
    CHECK(run({"--seed", word}).status == 2);
  }
  for (const char* word : {"0", "-0.5", "nan", "inf", "1e999", "x"}) {
    INFO(word);
    CHECK(run({"--rate", word}).status == 2);
  }
  CHECK(run({"--rate", "1e-3"}).status == 0);
  const int before = num_threads();
  SharedOptions options;
  CHECK(run(
            {"--threads", "1", "--seed", "7"}, [] { return num_threads() == 1 ? 0 : 1; }, &options)
            .status == 0);
  CHECK(options.seed == 7);
  CHECK(options.device == "cpu");
  for (const char* word : {"gpu", "cuda:x", "cuda:-1", ""}) {
    const Finished finished = run({"--device", word});
    CHECK(finished.status == 2);
    CHECK(finished.err == "error: --device: device '" + std::string(word) +
                              "' is unknown: expected cpu, cuda, cuda:N or auto (see attune-test --help)\n");
  }
  CHECK(run({"--device", "auto"}).status == 0);
  CHECK(run({"--device", "cuda:99"}).status == 1);
  set_num_threads(before);
}

TEST_CASE("messages stay on one line", "[support]") {
  CHECK(one_line("a\nb\tc\x1b[0m é") == "a\\nb\\tc\\x1b[0m é");
  CHECK(one_line("\xC2\x9B[0m \xC2\xA0\xC2\x80\xC2") == "\\x9b[0m \xC2\xA0\\x80\xC2");
}

TEST_CASE("a budget beyond all numbers is unlimited, not short", "[support]") {
  CHECK(parse_duration("90") == 90);
  CHECK(parse_duration("1.5h") == 5400);
  for (const char* text : {"1e300h", "1e308m", "1.7e308s", "1e300"}) {
    INFO(text);
    const std::optional<double> seconds = parse_duration(text);
    REQUIRE(seconds.has_value());
    CHECK(std::isfinite(*seconds));
    CHECK(*seconds >= 1e300);
  }
  for (const char* text : {"1e400h", "inf", "nan", "-1s", "0", "1d", ""}) CHECK_FALSE(parse_duration(text));
}

TEST_CASE("--deterministic holds for all that a training computes", "[support]") {
  CLI::App app;
  CommonTrainOptions options;
  add_train_options(app, options, {});
  REQUIRE_FALSE(deterministic());
  app.parse("--out folder --deterministic");
  CHECK(deterministic());
  set_deterministic(false);
}

}  // namespace
}  // namespace attune::examples
