#include "tests/support/training_runs.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <random>

#include "tests/support/paths.h"

namespace attune::testing {
namespace {

using Catch::Matchers::ContainsSubstring;

void check_equal_runs(const std::string& left_alone, const std::string& resumed) {
  for (const char* file : {"last.h5", "best.h5", "config.json", "log.jsonl"}) {
    INFO(file);
    CHECK(read_bytes(left_alone + "/" + file) == read_bytes(resumed + "/" + file));
  }
  CHECK(run("attune-checkpoint", {"diff", left_alone + "/last.h5", resumed + "/last.h5"}).status == 0);
}

}  // namespace

void check_error(const Finished& finished, int status, const std::string& text) {
  INFO(finished.err);
  CHECK(finished.status == status);
  CHECK(finished.err.starts_with("error: "));
  CHECK_THAT(finished.err, ContainsSubstring(text));
  CHECK(std::count(finished.err.begin(), finished.err.end(), '\n') == 1);
  CHECK(finished.out.empty());
}

void check_killed_run(std::string_view program, const TrainCommand& train) {
  const TemporaryDirectory directory;
  const std::string alone = directory / "alone";
  const auto begin = std::chrono::steady_clock::now();
  const Finished undisturbed = run(program, train(alone));
  INFO(undisturbed.err);
  REQUIRE(undisturbed.status == 0);
  const auto duration =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin).count();

  const std::string killed = directory / "killed";
  std::vector<std::string> command = train(killed);
  command.emplace_back("--resume");
  std::mt19937 random(std::random_device{}());
  std::uniform_int_distribution<int> moment(0, static_cast<int>(duration));
  int kills = 0;
  Finished finished;
  finished.status = 1;
  for (int i = 0; i < 8 && finished.status != 0; ++i) {
    finished = run_and_signal(program, command, moment(random), SIGKILL);
    INFO(finished.err);
    REQUIRE((finished.status == 0 || finished.status == 128 + SIGKILL));
    kills += finished.status != 0;
  }
  finished = run(program, command);
  INFO(finished.err);
  REQUIRE(finished.status == 0);
  INFO(kills << " kills within " << duration << " ms each");
  check_equal_runs(alone, killed);
}

void check_interrupted_run(std::string_view program, const TrainCommand& train) {
  const TemporaryDirectory directory;
  const std::string alone = directory / "alone";
  const std::string stopped = directory / "stopped";
  REQUIRE(run(program, train(alone)).status == 0);

  // Wait for the first checkpoint, however slow the machine.
  Finished finished;
  for (int wait = 50; finished.status == 0 || !std::filesystem::exists(stopped + "/last.h5"); wait *= 2) {
    std::filesystem::remove_all(stopped);
    finished = run_and_signal(program, train(stopped), wait, SIGINT);
    REQUIRE(wait < 60000);
    if (finished.status == 0) wait = 10;
  }
  CHECK(finished.status == 130);
  CHECK_THAT(finished.err,
             ContainsSubstring("go on with: " + std::string(program) + " train --resume --out " + stopped));
  // The command that it names: everything else is in the checkpoint.
  finished = run(program, {"train", "--resume", "--out", stopped});
  INFO(finished.err);
  CHECK(finished.status == 0);
  CHECK_THAT(finished.err, ContainsSubstring("resumed at step"));
  check_equal_runs(alone, stopped);

  // Once more: there is nothing left to do, and nothing changes.
  CHECK(run(program, {"train", "--resume", "--out", stopped}).status == 0);
  check_equal_runs(alone, stopped);
}

}  // namespace attune::testing
