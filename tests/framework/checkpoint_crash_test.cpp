#include <catch2/catch_test_macros.hpp>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "framework/atomic_file.h"
#include "framework/checkpoint.h"
#include "framework/error.h"
#include "tests/support/errors.h"
#include "tests/support/paths.h"

extern char** environ;

namespace attune {
namespace {

namespace fs = std::filesystem;
using testing::error_text;
using testing::read_bytes;
using testing::TemporaryDirectory;

constexpr const char* kSaverPath = "ATTUNE_TEST_SAVER_PATH";

/// Every number in it is `step`.
Checkpoint uniform_checkpoint(double step) {
  Checkpoint checkpoint;
  for (const char* name : {"a", "b", "c"}) checkpoint.put(name, Tensor::full({300, 1000}, step));
  return checkpoint;
}

ino_t inode(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

// Not a test of its own: what the next one starts and kills.
TEST_CASE("saves one checkpoint after the other until it is killed", "[.][checkpoint-saver]") {
  const char* path = std::getenv(kSaverPath);
  if (path == nullptr) SKIP(kSaverPath << " is not set");
  alarm(60);  // should the one who is to kill it die first
  for (int step = 1;; ++step) uniform_checkpoint(step).save(path);
}

TEST_CASE("a process killed while it saves leaves the old or the new checkpoint", "[checkpoint]") {
  const TemporaryDirectory directory;
  const std::string path = directory / "last.h5";
  uniform_checkpoint(0).save(path);
  REQUIRE(setenv(kSaverPath, path.c_str(), 1) == 0);
  double highest = 0;
  int unfinished = 0;
  for (int round = 0; round < 40 || (unfinished == 0 && round < 400); ++round) {
    std::string program = "/proc/self/exe";
    std::string filter = "[checkpoint-saver]";
    std::string quiet = "--out=" + directory / "saver.txt";
    std::vector<char*> arguments = {program.data(), filter.data(), quiet.data(), nullptr};
    const ino_t before = inode(path);
    pid_t child = 0;
    REQUIRE(posix_spawn(&child, program.c_str(), nullptr, nullptr, arguments.data(), environ) == 0);
    for (int wait = 0; wait < 10000 && inode(path) == before; ++wait) usleep(1000);
    // How long a save takes depends on the machine and its load: from short waits to long ones.
    usleep(static_cast<useconds_t>(round * 7919 % (10 << round % 5)) * 1000);
    REQUIRE(kill(child, SIGKILL) == 0);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));

    unfinished += fs::exists(path + ".tmp");
    const Checkpoint loaded = Checkpoint::load(path);
    const double step = loaded.tensor("a").select(0, 0).select(0, 0).item();
    highest = std::max(highest, step);
    CHECK(loaded.sha256() == uniform_checkpoint(step).sha256());
  }
  unsetenv(kSaverPath);
  // Else nothing was put to the test.
  CHECK(highest > 0);
  CHECK(unfinished > 0);
  // What the killed ones left is taken over.
  uniform_checkpoint(7).save(path);
  CHECK(!fs::exists(path + ".tmp"));
}

TEST_CASE("a full disk leaves the old checkpoint", "[checkpoint]") {
  const TemporaryDirectory directory;
  struct Disk {
    explicit Disk(std::string where) : path(std::move(where)) {
      fs::create_directory(path);
      if (mount("tmpfs", path.c_str(), "tmpfs", 0, "size=2m") != 0) {
        SKIP("no small file system can be mounted here: " << std::generic_category().message(errno));
      }
    }
    Disk(const Disk&) = delete;
    Disk& operator=(const Disk&) = delete;
    ~Disk() { umount2(path.c_str(), MNT_DETACH); }
    std::string path;
  } disk(directory / "disk");
  const std::string path = disk.path + "/last.h5";
  Checkpoint small;
  small.put("a", Tensor::full({10}, 3));
  small.save(path);
  const std::string before = read_bytes(path);
  CHECK(error_text<IoError>([&] { uniform_checkpoint(1).save(path); }) ==
        path + ": cannot be written: No space left on device");
  CHECK((read_bytes(path) == before));
  CHECK(!fs::exists(path + ".tmp"));
}

TEST_CASE("a limit on file sizes leaves the old checkpoint", "[checkpoint]") {
  const TemporaryDirectory directory;
  const std::string path = directory / "last.h5";
  Checkpoint().save(path);
  const std::string before = read_bytes(path);
  rlimit old{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &old) == 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1 << 20, old.rlim_max};
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string text = error_text<IoError>([&] { uniform_checkpoint(1).save(path); });
  REQUIRE(setrlimit(RLIMIT_FSIZE, &old) == 0);
  signal(SIGXFSZ, handler);
  CHECK(text == path + ": cannot be written: File too large");
  CHECK((read_bytes(path) == before));
  CHECK(!fs::exists(path + ".tmp"));
}

TEST_CASE("files that cannot be replaced are named with the reason", "[checkpoint]") {
  const TemporaryDirectory directory;
  const auto refusal = [](const std::string& path) {
    return error_text<IoError>([&] { write_file_atomically(path, "x"); });
  };
  CHECK(refusal(directory / "no/folder") == directory / "no/folder" + ": cannot be written: No such file or directory");
  CHECK(refusal(directory.write("file", "") + "/x") == directory / "file/x" + ": cannot be written: Not a directory");
  CHECK(refusal(directory.path()) == directory.path().string() + ": cannot be written: is a directory");
  CHECK(refusal("/dev/full") == "/dev/full: cannot be written: not a regular file");
  fs::create_symlink(directory / "nothing", directory / "dangling");
  CHECK(refusal(directory / "dangling") ==
        directory / "dangling" + ": cannot be written: a link to a file that does not exist");
}

TEST_CASE("replacing a file follows links and takes turns", "[checkpoint]") {
  const TemporaryDirectory directory;
  const std::string path = directory.write("file", "old");
  fs::create_symlink(path, directory / "link");
  write_file_atomically(directory / "link", "new");
  CHECK(fs::is_symlink(directory / "link"));
  CHECK(read_bytes(path) == "new");

  const int other = open((path + ".tmp").c_str(), O_RDWR | O_CREAT, 0600);
  REQUIRE(flock(other, LOCK_EX) == 0);
  CHECK(error_text<IoError>([&] { write_file_atomically(path, "newer"); }) ==
        path + ": cannot be written: another process is writing it");
  CHECK(fs::exists(path + ".tmp"));
  // What a killed process left may be longer.
  REQUIRE(write(other, "longer than what follows", 24) == 24);
  close(other);
  write_file_atomically(path, "newer");
  CHECK(read_bytes(path) == "newer");
  CHECK(!fs::exists(path + ".tmp"));
}

}  // namespace
}  // namespace attune
