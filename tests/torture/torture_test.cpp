// attune-torture passes programs that are sound, and finds what is wrong with others.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/paths.h"
#include "tests/support/process.h"

namespace attune {
namespace {

using Catch::Matchers::ContainsSubstring;
using testing::Finished;
using testing::TemporaryDirectory;
namespace fs = std::filesystem;

constexpr const char* kTorture = "attune-torture";
constexpr int kSeed = 174;  // the first trial of faults asks a model, that of kills kills

/// The programs of this build, one of which is a script instead; $real is the program that it stands for.
std::string programs_with(const TemporaryDirectory& directory, const std::string& name, const std::string& script) {
  const fs::path folder = directory.path() / "programs";
  fs::create_directories(folder);
  for (const char* program : {"attune-sentiment", "attune-translation", "attune-captioning", "attune-checkpoint"}) {
    const std::string real = testing::program_path(program);
    if (name != program) {
      fs::create_symlink(real, folder / program);
      continue;
    }
    const std::string path =
        directory.write(fmt::format("programs/{}", program), fmt::format("#!/bin/sh\nreal={}\n{}\n", real, script));
    fs::permissions(path, fs::perms::owner_all);
  }
  return folder.string();
}

/// Trials of `subject` with a script in place of attune-sentiment or another program.
Finished torture(const TemporaryDirectory& directory, const std::string& subject, const std::string& name,
                 const std::string& script, int trials) {
  return testing::run(kTorture, {"--programs", programs_with(directory, name, script), "--only", subject, "--trials",
                                 std::to_string(trials), "--minutes", "2", "--seed", std::to_string(kSeed), "--seconds",
                                 "3", "--out", directory / "out"});
}

void check_found(const Finished& finished, const std::string& subject, const std::string& text) {
  INFO(finished.out << finished.err);
  CHECK(finished.status == 1);
  CHECK_THAT(finished.out, ContainsSubstring("failed: " + subject));
  CHECK_THAT(finished.out, ContainsSubstring(text));
  CHECK_THAT(finished.out, ContainsSubstring(fmt::format("--seed {} --repeat {}", kSeed, subject)));
  CHECK_THAT(testing::last_line(finished.out), !ContainsSubstring(" 0 failed"));
}

TEST_CASE("torture passes sound programs and leaves nothing behind", "[program][torture][release]") {
  const TemporaryDirectory directory;
  // A script that only begins the program is as good as the program.
  const Finished finished = torture(directory, "files/sentiment", "attune-sentiment", "exec $real \"$@\"", 2);
  INFO(finished.out << finished.err);
  CHECK(finished.status == 0);
  CHECK(testing::last_line(finished.out) == "2 passed, 0 failed");
  CHECK_FALSE(fs::exists(directory / "out"));
}

TEST_CASE("torture finds a checkpoint that is damaged when a run is resumed", "[program][torture][release]") {
  const TemporaryDirectory directory;
  const Finished finished = torture(directory, "kills/sentiment", "attune-sentiment",
                                    R"(last=''
for word in "$@"; do
  [ "$last" != --out ] || out=$word
  last=$word
done
case "$* " in *' --resume '*) [ ! -e "$out/best.h5" ] || printf x >>"$out/best.h5" ;; esac
exec $real "$@")",
                                    3);
  check_found(finished, "kills/sentiment/", "damaged checkpoint: ");
  CHECK(fs::exists(directory / "out"));
}

TEST_CASE("torture finds a run that ends with other weights", "[program][torture][release]") {
  const TemporaryDirectory directory;
  // What was saved is forgotten, and what is learned instead is something else.
  const Finished finished = torture(directory, "kills/sentiment", "attune-sentiment",
                                    R"(case "$*" in
  *--resume*) for word in "$@"; do last=$word; [ ! -e "$last/last.h5" ] || rm "$last/last.h5"; done ;;
esac
exec $real "$@")",
                                    3);
  check_found(finished, "kills/sentiment/", "last.h5 has gone back from step ");
}

TEST_CASE("torture finds errors that are swallowed", "[program][torture][release]") {
  const TemporaryDirectory directory;
  // Where a call fails, no answer and no error either.
  const Finished finished = torture(directory, "faults/sentiment", "attune-sentiment",
                                    R"([ -z "$ATTUNE_INJECT" ] || exit 0
exec $real "$@")",
                                    1);
  check_found(finished, "faults/sentiment/", "a wrong answer and no error");
}

TEST_CASE("torture finds crashes, second lines and limits that are passed", "[program][torture][release]") {
  const TemporaryDirectory directory;
  const auto checkpoint = [&](const std::string& script, const std::string& text) {
    check_found(torture(directory, "files/checkpoint", "attune-checkpoint", script, 1), "files/checkpoint/0", text);
    fs::remove_all(directory / "out");
    fs::remove_all(directory / "programs");
  };
  checkpoint("kill -SEGV $$", "killed by signal 11");
  checkpoint("echo 'error: no' >&2; echo 'and why' >&2; exit 1", "exit 1 with 1 lines of error and 1 others");
  checkpoint("exit 1", "exit 1 with 0 lines of error");
  checkpoint("echo 'error: no' >&2; exit 3", "exit 3, expected 0, 1 or 2");
  checkpoint("echo 'SUMMARY: AddressSanitizer: heap-use-after-free' >&2; exit 0", "sanitizer: ");
  checkpoint("while :; do :; done", "s of processor time");
  checkpoint("dd if=/dev/zero of=/dev/null bs=1500M count=1; exit 0", "MiB of memory");
}

TEST_CASE("torture refuses what it cannot try", "[program][torture][release]") {
  const TemporaryDirectory directory;
  directory.write("out/precious", "kept");
  const Finished taken = testing::run(kTorture, {"--out", directory / "out"});
  CHECK(taken.status == 1);
  CHECK_THAT(taken.err, ContainsSubstring("expected a new or an empty folder"));
  CHECK(testing::read_bytes(directory / "out/precious") == "kept");
  const Finished nothing = testing::run(kTorture, {"--programs", directory.path()});
  CHECK(nothing.status == 1);
  CHECK_THAT(nothing.err, ContainsSubstring("attune-sentiment is missing"));
  CHECK(testing::run(kTorture, {"--only", "kindness"}).status == 2);
  CHECK(testing::run(kTorture, {"--repeat", "kills/sentiment"}).status == 2);
}

}  // namespace
}  // namespace attune
