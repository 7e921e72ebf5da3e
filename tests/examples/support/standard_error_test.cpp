// Standard error that cannot be written ends no work and changes no exit status.
#include <catch2/catch_test_macros.hpp>
#include <fmt/format.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>

#include "examples/support/notice.h"
#include "examples/support/progress.h"
#include "tests/support/paths.h"
#include "tests/support/sentiment.h"

namespace attune::examples {
namespace {

using testing::read_bytes;
using testing::TemporaryDirectory;

std::unique_ptr<std::FILE, int (*)(std::FILE*)> full_disk() {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/dev/full", "w"), std::fclose);
  REQUIRE(file != nullptr);
  REQUIRE(std::setvbuf(file.get(), nullptr, _IONBF, 0) == 0);
  return file;
}

TEST_CASE("progress that cannot be shown is dropped, also while an error is on its way", "[support]") {
  const auto file = full_disk();
  {
    Progress progress(10, "tokens", file.get());
    progress.update(5, 64, "epoch 1/2", {{"loss", 0.75, 4}});
    progress.print("a line between");
    progress.finish();
  }
  CHECK_THROWS_AS(
      [&] {
        Progress progress(10, "tokens", file.get());
        progress.update(5, 64, "epoch 1/2", {{"loss", 0.75, 4}});
        throw std::runtime_error("the actual error");
      }(),
      std::runtime_error);
  write_or_drop("text", file.get());
}

/// Exit status of a program of this build with a command line as shells read it.
int status_of(const std::string& program, const std::string& arguments) {
  const std::string command = fmt::format("exec '{}' {}", testing::program_path(program), arguments);
  const int status = std::system(command.c_str());  // NOLINT(cert-env33-c): a shell is what closes streams
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

TEST_CASE("errors keep their exit status where nobody can be told", "[support][program]") {
  for (const char* where : {"2>/dev/full", "2>&-", "</dev/null 2>&- >&-"}) {
    INFO(where);
    CHECK(status_of("attune-checkpoint", fmt::format("ls /etc/passwd {}", where)) == 1);
    CHECK(status_of("attune-checkpoint", fmt::format("mislead {}", where)) == 2);
    CHECK(status_of("attune-sentiment", fmt::format("predict --checkpoint /etc/passwd --text x {}", where)) == 1);
    CHECK(status_of("attune-translation", fmt::format("train --out /proc/none {}", where)) == 1);
    CHECK(status_of("attune-captioning", fmt::format("train --out x --set a=b {}", where)) == 2);
    CHECK(status_of("attune-gradcheck", fmt::format("--nonsense {}", where)) == 2);
  }
  // What is the result is not dropped.
  CHECK(status_of("attune-sentiment", "--version >/dev/full 2>&-") == 1);
  CHECK(status_of("attune-sentiment", "--version >&- 2>&-") == 1);
}

TEST_CASE("a training goes on where nobody can be told, and its files are what they are", "[program][sentiment]") {
  const TemporaryDirectory directory;
  const std::string data = directory.write("data.tsv", testing::review_lines(60));
  const auto train = [&](const std::string& name, const std::string& where) {
    std::string words;
    for (const std::string& word : testing::small_training(data, directory / name)) words += "'" + word + "' ";
    return status_of("attune-sentiment", words + "--set training.save_every=0 " + where);
  };
  REQUIRE(train("usual", ">/dev/null 2>&1") == 0);
  CHECK(train("full", ">/dev/null 2>/dev/full") == 0);
  CHECK(train("closed", ">/dev/null 2>&-") == 0);
  // The reader has gone: nothing is lost but the lines.
  CHECK(train("reader", "2>&1 >/dev/null | true; exec test -s '" + (directory / "reader/best.h5") + "'") == 0);
  for (const char* name : {"full", "closed"}) {
    for (const char* file : {"last.h5", "best.h5", "config.json", "log.jsonl"}) {
      INFO(name << '/' << file);
      CHECK(read_bytes(directory / name + "/" + file) == read_bytes(directory / "usual/" + file));
    }
  }
}

}  // namespace
}  // namespace attune::examples
