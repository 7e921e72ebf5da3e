// A library for LD_PRELOAD that makes one system call of a program fail, or kills the program in it.
//
//     ATTUNE_INJECT=CALL:N:ACTION     CALL: write, read, open, ...; N: the n-th such call; ACTION: a number of errno,
//     or
//                                     kill-before, kill-after, kill-half (of a write), half (a short read or write);
//                                     "N+" instead of N: from the n-th on
//     ATTUNE_INJECT_UNDER=FOLDER      only calls about files in it, when given
//     ATTUNE_INJECT_REPORT=FILE       gets "hit CALL PATH" for the first hit; without ATTUNE_INJECT, at the end of the
//                                     program, "CALL COUNT UNDER" for each call: how many there were, and in the folder
//
// The real calls are made directly, so that what the program or a sanitizer has put in between is not passed twice.
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

enum Call { kWrite, kRead, kOpen, kClose, kFsync, kRename, kTruncate, kFlock, kUnlink, kMkdir, kThread, kCalls };
constexpr std::array<const char*, kCalls> kNames = {"write",     "read",  "open",   "close", "fsync",         "rename",
                                                    "ftruncate", "flock", "unlink", "mkdir", "pthread_create"};

enum class Action { kNothing, kFail, kKillBefore, kKillAfter, kKillHalf, kHalf };

struct Settings {
  int call = -1;
  long number = 0;
  bool on = false;  ///< from the number on
  Action action = Action::kNothing;
  int error = 0;
  const char* under = nullptr;
  const char* report = nullptr;
};

std::array<std::atomic<long>, kCalls> all{};
std::array<std::atomic<long>, kCalls> under{};
std::atomic<bool> reported = false;

Action parse_action(const char* text, int& error) {
  if (std::strcmp(text, "kill-before") == 0) return Action::kKillBefore;
  if (std::strcmp(text, "kill-after") == 0) return Action::kKillAfter;
  if (std::strcmp(text, "kill-half") == 0) return Action::kKillHalf;
  if (std::strcmp(text, "half") == 0) return Action::kHalf;
  error = std::atoi(text);
  return Action::kFail;
}

Settings parse() {
  Settings out;
  out.under = std::getenv("ATTUNE_INJECT_UNDER");
  out.report = std::getenv("ATTUNE_INJECT_REPORT");
  const char* text = std::getenv("ATTUNE_INJECT");
  if (text == nullptr) return out;
  const char* colon = std::strchr(text, ':');
  if (colon == nullptr) return out;
  char* end = nullptr;
  out.number = std::strtol(colon + 1, &end, 10);
  if (*end == '+') {
    out.on = true;
    ++end;
  }
  if (*end != ':') return out;
  for (int call = 0; call < kCalls; ++call) {
    if (std::strncmp(text, kNames[static_cast<size_t>(call)], static_cast<size_t>(colon - text)) == 0 &&
        std::strlen(kNames[static_cast<size_t>(call)]) == static_cast<size_t>(colon - text)) {
      out.call = call;
    }
  }
  out.action = parse_action(end + 1, out.error);
  return out;
}

const Settings& settings() {
  static const Settings once = parse();
  return once;
}

void report(const char* text) {
  const auto file = static_cast<int>(
      syscall(SYS_openat, AT_FDCWD, settings().report, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  if (file < 0) return;
  syscall(SYS_write, file, text, std::strlen(text));
  syscall(SYS_close, file);
}

bool inside(const char* path) {
  const char* folder = settings().under;
  if (folder == nullptr) return true;
  const size_t length = std::strlen(folder);
  return path != nullptr && std::strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/// Counts a call about `path` and says what is to happen to it.
Action met(Call call, const char* path) {
  const int before = errno;
  const bool here = inside(path);
  const long number = here ? ++under[call] : under[call].load();
  ++all[call];
  const Settings& wanted = settings();
  Action action = Action::kNothing;
  if (wanted.call == call && here && (number == wanted.number || (wanted.on && number > wanted.number))) {
    action = wanted.action;
    if (wanted.report != nullptr && !reported.exchange(true)) {
      std::array<char, PATH_MAX + 64> line{};
      std::snprintf(line.data(), line.size(), "hit %s %s\n", kNames[call], path == nullptr ? "" : path);
      report(line.data());
    }
    if (action == Action::kKillBefore) kill(getpid(), SIGKILL);
  }
  errno = action == Action::kFail ? wanted.error : before;
  return action;
}

Action met(Call call, int descriptor) {
  std::array<char, 64> link{};
  std::array<char, PATH_MAX> path{};
  const int before = errno;
  std::snprintf(link.data(), link.size(), "/proc/self/fd/%d", descriptor);
  if (syscall(SYS_readlinkat, AT_FDCWD, link.data(), path.data(), path.size() - 1) < 0) path[0] = '\0';
  errno = before;
  return met(call, path.data());
}

long passed(Action action, long result) {
  if (action == Action::kKillAfter) kill(getpid(), SIGKILL);
  if (result < 0 && action != Action::kFail) return -1;  // errno is the call's
  return result;
}

/// The call itself where it is not to fail.
template <class... Arguments>
long real(Action action, long number, Arguments... arguments) {
  if (action == Action::kFail) return -1;
  return passed(action, syscall(number, arguments...));
}

size_t part(Action action, size_t count) {
  return action == Action::kHalf || action == Action::kKillHalf ? count / 2 + count % 2 : count;
}

int opened(int folder, const char* path, int flags, unsigned mode) {
  return static_cast<int>(real(met(kOpen, path), SYS_openat, folder, path, flags, mode));
}

template <class Function>
Function next(const char* name) {
  Function function = nullptr;
  void* symbol = dlsym(RTLD_NEXT, name);
  std::memcpy(&function, &symbol, sizeof function);
  return function;
}

__attribute__((destructor)) void report_counts() {
  if (settings().call >= 0 || settings().report == nullptr) return;
  for (size_t call = 0; call < kCalls; ++call) {
    std::array<char, 128> line{};
    std::snprintf(line.data(), line.size(), "%s %ld %ld\n", kNames[call], all[call].load(), under[call].load());
    report(line.data());
  }
}

}  // namespace

#define ATTUNE_INJECTED extern "C" __attribute__((visibility("default")))

ATTUNE_INJECTED ssize_t write(int file, const void* bytes, size_t count) {
  const Action action = met(kWrite, file);
  // Small writes are whole or not at all, whenever a process is killed.
  if (action == Action::kKillHalf && count < 4096) kill(getpid(), SIGKILL);
  const long written = real(action, SYS_write, file, bytes, part(action, count));
  if (action == Action::kKillHalf) kill(getpid(), SIGKILL);
  return written;
}

ATTUNE_INJECTED ssize_t read(int file, void* to, size_t count) {
  const Action action = met(kRead, file);
  return real(action, SYS_read, file, to, part(action, count));
}

ATTUNE_INJECTED ssize_t pread(int file, void* to, size_t count, off_t at) {
  const Action action = met(kRead, file);
  return real(action, SYS_pread64, file, to, part(action, count), at);
}

ATTUNE_INJECTED ssize_t pread64(int file, void* to, size_t count, off_t at) { return pread(file, to, count, at); }

ATTUNE_INJECTED int open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const unsigned mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, unsigned) : 0;
  va_end(more);
  return opened(AT_FDCWD, path, flags, mode);
}

ATTUNE_INJECTED int open64(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const unsigned mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, unsigned) : 0;
  va_end(more);
  return opened(AT_FDCWD, path, flags, mode);
}

ATTUNE_INJECTED int openat(int folder, const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const unsigned mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, unsigned) : 0;
  va_end(more);
  return opened(folder, path, flags, mode);
}

ATTUNE_INJECTED FILE* fopen(const char* path, const char* mode) {
  static const auto original = next<FILE* (*)(const char*, const char*)>("fopen");
  return met(kOpen, path) == Action::kFail ? nullptr : original(path, mode);
}

ATTUNE_INJECTED FILE* fopen64(const char* path, const char* mode) {
  static const auto original = next<FILE* (*)(const char*, const char*)>("fopen64");
  return met(kOpen, path) == Action::kFail ? nullptr : original(path, mode);
}

/// A close that fails has closed nevertheless, as on Linux.
ATTUNE_INJECTED int close(int file) {
  const Action action = met(kClose, file);
  const int error = errno;
  const long result = passed(action, syscall(SYS_close, file));
  if (action != Action::kFail) return static_cast<int>(result);
  errno = error;
  return -1;
}

ATTUNE_INJECTED int fsync(int file) { return static_cast<int>(real(met(kFsync, file), SYS_fsync, file)); }

ATTUNE_INJECTED int rename(const char* from, const char* to) {
  return static_cast<int>(real(met(kRename, to), SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}

ATTUNE_INJECTED int ftruncate(int file, off_t length) {
  return static_cast<int>(real(met(kTruncate, file), SYS_ftruncate, file, length));
}

ATTUNE_INJECTED int flock(int file, int operation) {
  return static_cast<int>(real(met(kFlock, file), SYS_flock, file, operation));
}

ATTUNE_INJECTED int unlink(const char* path) {
  return static_cast<int>(real(met(kUnlink, path), SYS_unlinkat, AT_FDCWD, path, 0));
}

ATTUNE_INJECTED int remove(const char* path) {
  const Action action = met(kUnlink, path);
  long result = real(action, SYS_unlinkat, AT_FDCWD, path, 0);
  if (result < 0 && action != Action::kFail && errno == EISDIR) {
    result = real(action, SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
  }
  return static_cast<int>(result);
}

ATTUNE_INJECTED int mkdir(const char* path, mode_t mode) {
  return static_cast<int>(real(met(kMkdir, path), SYS_mkdirat, AT_FDCWD, path, mode));
}

ATTUNE_INJECTED int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*body)(void*),
                                   void* argument) {
  static const auto original =
      next<int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*)>("pthread_create");
  const Action action = met(kThread, "");
  if (action == Action::kFail) return settings().error;
  const int result = original(thread, attributes, body, argument);
  passed(action, 0);
  return result;
}
