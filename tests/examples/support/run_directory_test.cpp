#include "examples/support/run_directory.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <string>

#include "framework/error.h"
#include "tests/support/errors.h"
#include "tests/support/paths.h"

namespace attune::examples {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::ContainsSubstring;
using testing::error_text;
using testing::read_bytes;
using testing::TemporaryDirectory;

TEST_CASE("a run directory keeps a log that can be taken back", "[support]") {
  const TemporaryDirectory directory;
  const fs::path path = directory / "runs/first";
  {
    const RunDirectory run(path);
    CHECK(fs::is_empty(path));
    CHECK(!run.holds_run());
    run.write_config("{}\n");
    run.append_log(R"({"epoch":1})");
    run.append_log(R"({"epoch":2})");
    run.append_log(R"({"epoch":3})");
    CHECK(read_bytes(run.log()) == "{\"epoch\":1}\n{\"epoch\":2}\n{\"epoch\":3}\n");
  }
  directory.write("runs/first/last.h5", "x");
  directory.write("runs/first/best.h5.tmp", "left by a killed process");
  const RunDirectory run(path);
  CHECK(run.holds_run());
  CHECK(!fs::exists(path / "best.h5.tmp"));
  CHECK(read_bytes(run.config()) == "{}\n");
  run.reset_log({R"({"epoch":1})"});
  run.append_log(R"({"epoch":2})");
  CHECK(read_bytes(run.log()) == "{\"epoch\":1}\n{\"epoch\":2}\n");
  run.reset_log({});
  CHECK(read_bytes(run.log()).empty());
}

TEST_CASE("a run directory that cannot be written is refused before any work", "[support]") {
  const TemporaryDirectory directory;
  const auto refusal = [](const std::string& path) {
    return error_text<IoError>([&] { const RunDirectory run(path); });
  };
  const std::string file = directory.write("file", "");
  CHECK(refusal(file) == "--out " + file + ": cannot be created: Not a directory");
  CHECK(refusal(file + "/x") == "--out " + file + "/x: cannot be created: Not a directory");
  CHECK_THAT(refusal("/proc/none"), ContainsSubstring("--out /proc/none: cannot be created: "));
  CHECK_THAT(refusal("/proc/self"), ContainsSubstring(": cannot be written: "));
  fs::create_directories(directory / "out/last.h5");
  CHECK(refusal(directory / "out") == "--out " + directory / "out" + ": last.h5 is in the way: not a regular file");
}

TEST_CASE("a run directory belongs to one process", "[support]") {
  const TemporaryDirectory directory;
  {
    const RunDirectory run(directory.path());
    CHECK(error_text<IoError>([&] { const RunDirectory second(directory.path()); }) ==
          "--out " + directory.path().string() + ": another process is training into it");
  }
  const RunDirectory again(directory.path());
}

TEST_CASE("a line of the log that does not fit leaves no half", "[support]") {
  const TemporaryDirectory directory;
  const RunDirectory run(directory.path());
  const std::string line(600, 'x');
  run.append_log(line);
  rlimit old{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &old) == 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1024, old.rlim_max};
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string text = error_text<IoError>([&] { run.append_log(line); });
  REQUIRE(setrlimit(RLIMIT_FSIZE, &old) == 0);
  signal(SIGXFSZ, handler);
  CHECK_THAT(text, ContainsSubstring("log.jsonl: cannot be written: "));
  CHECK(read_bytes(run.log()) == line + '\n');
}

}  // namespace
}  // namespace attune::examples
