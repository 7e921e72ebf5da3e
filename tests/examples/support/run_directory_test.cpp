#include "examples/support/run_directory.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <exception>
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

TEST_CASE("a run directory follows no links out of it", "[support]") {
  const TemporaryDirectory directory;
  const std::string target = directory.write("precious", "mine");
  const std::string out = directory / "out";
  fs::create_directories(out);
  // The probe: whatever has its name goes, its target stays.
  fs::create_symlink(target, out + "/.probe");
  { const RunDirectory run(out); }
  CHECK(read_bytes(target) == "mine");
  CHECK_FALSE(fs::exists(fs::symlink_status(out + "/.probe")));
  fs::create_hard_link(target, out + "/.probe");
  { const RunDirectory run(out); }
  CHECK(read_bytes(target) == "mine");
  // A link to a place where there is nothing yet is one too.
  for (const char* name : {"last.h5", "best.h5", "config.json", "log.jsonl", "evaluation.json"}) {
    for (const std::string& where : {target, directory / "nothing"}) {
      fs::create_symlink(where, fs::path(out) / name);
      CHECK(error_text<IoError>([&] { const RunDirectory run(out); }) ==
            "--out " + out + ": " + name + " is in the way: a link, which could lead out of the folder");
      fs::remove(fs::path(out) / name);
    }
    fs::create_symlink(target, fs::path(out) / (std::string(name) + ".tmp"));
    { const RunDirectory run(out); }
    CHECK_FALSE(fs::exists(fs::symlink_status(fs::path(out) / (std::string(name) + ".tmp"))));
  }
  CHECK(read_bytes(target) == "mine");
  CHECK_FALSE(fs::exists(directory / "nothing"));
  // Planted while the run is under way.
  const RunDirectory run(out);
  fs::create_symlink(target, out + "/log.jsonl");
  CHECK_THAT(error_text<IoError>([&] { run.append_log("{}"); }), ContainsSubstring("log.jsonl: cannot be written: "));
  CHECK(read_bytes(target) == "mine");
}

TEST_CASE("a folder holds a run from its first file on", "[support]") {
  const TemporaryDirectory directory;
  const fs::path out = directory / "out";
  const RunDirectory run(out);
  CHECK_FALSE(run.holds_run());
  CHECK_FALSE(run.holds_only_config());
  run.write_config("{}");
  CHECK(run.holds_run());
  CHECK(run.holds_only_config());
  run.reset_log({});  // of a run that has not been evaluated
  CHECK(run.holds_only_config());
  run.append_log("{}");
  CHECK_FALSE(run.holds_only_config());
  CHECK_FALSE(run.holds_checkpoint());
  directory.write("out/last.h5", "x");
  CHECK(run.holds_checkpoint());
  directory.write("out/best.h5", "x");
  directory.write("out/evaluation.json", "x");
  directory.write("out/notes.txt", "mine");
  run.clear();
  CHECK_FALSE(run.holds_run());
  CHECK(read_bytes(out / "notes.txt") == "mine");
  for (const char* file : {"best.h5", "log.jsonl", "last.h5"}) {
    directory.write("out/" + std::string(file), "x");
    CHECK(run.holds_run());
    fs::remove(out / file);
  }
}

/// Exit status of f() in a process in which flock() fails with `error`.
template <class F>
int without_locks(int error, F&& f) {
  const pid_t child = fork();
  if (child == 0) {
    sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_flock, 0, 1),
                            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)),
                            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog program{4, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
      _exit(77);
    }
    int status = 1;
    try {
      status = f();
    } catch (const std::exception&) {
    }
    _exit(status);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) SKIP("system calls cannot be filtered here");
  return WEXITSTATUS(status);
}

TEST_CASE("where the file system has no locks a run goes on without, and says so", "[support]") {
  const TemporaryDirectory directory;
  for (const int error : {EOPNOTSUPP, ENOLCK, ENOSYS}) {
    const std::string out = directory / std::to_string(error);
    const std::string err = out + ".err";
    CHECK(without_locks(error, [&] {
            if (freopen(err.c_str(), "w", stderr) == nullptr) return 2;
            const RunDirectory run(out);
            run.write_config("{}");
            run.append_log("{}");
            std::fflush(stderr);
            return 0;
          }) == 0);
    CHECK(read_bytes(out + "/config.json") == "{}");
    const std::string text = read_bytes(err);
    CHECK_THAT(text, ContainsSubstring("warning: --out " + out + ": the file system has no locks ("));
    CHECK(std::count(text.begin(), text.end(), '\n') == 1);
  }
  // Anything else is a failure still.
  CHECK(without_locks(EIO, [&] {
          const RunDirectory run(directory / "io");
          return 0;
        }) == 1);
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
