#include "tests/support/process.h"

#include <catch2/catch_test_macros.hpp>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <chrono>
#include <thread>

#include "tests/support/paths.h"

extern char** environ;

namespace attune::testing {

namespace {

/// wait: gives the child its time; returns the status as waitpid() does.
template <class Wait>
Finished spawn(std::string_view program, const std::vector<std::string>& arguments, std::string_view input,
               Wait&& wait) {
  const TemporaryDirectory directory;
  const std::string in = directory.write("in", input);
  const std::string out = directory.write("out", "");
  const std::string err = directory.write("err", "");
  std::string path = program_path(program);
  std::vector<std::string> words = arguments;
  std::vector<char*> argv = {path.data()};
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t files;
  REQUIRE(posix_spawn_file_actions_init(&files) == 0);
  REQUIRE(posix_spawn_file_actions_addopen(&files, 0, in.c_str(), O_RDONLY, 0) == 0);
  REQUIRE(posix_spawn_file_actions_addopen(&files, 1, out.c_str(), O_WRONLY, 0) == 0);
  REQUIRE(posix_spawn_file_actions_addopen(&files, 2, err.c_str(), O_WRONLY, 0) == 0);
  pid_t child = 0;
  INFO(path);
  const int started = posix_spawn(&child, path.c_str(), &files, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  REQUIRE(started == 0);
  const int status = wait(child);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_bytes(out), read_bytes(err)};
}

int wait_for(pid_t child) {
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return status;
}

}  // namespace

Finished run(std::string_view program, const std::vector<std::string>& arguments, std::string_view input) {
  return spawn(program, arguments, input, wait_for);
}

Finished run_and_signal(std::string_view program, const std::vector<std::string>& arguments, int milliseconds,
                        int signal) {
  return spawn(program, arguments, "", [&](pid_t child) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
    while (std::chrono::steady_clock::now() < end) {
      int status = 0;
      if (waitpid(child, &status, WNOHANG) == child) return status;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    kill(child, signal);
    return wait_for(child);
  });
}

std::string last_line(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  return std::string(text.substr(text.rfind('\n') + 1));
}

}  // namespace attune::testing
