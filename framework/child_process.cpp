#include "framework/child_process.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <system_error>
#include <utility>
#include <vector>

#include "framework/fail.h"
#include "framework/text.h"

namespace attune {
namespace {

// A frame is its kind, the number of its bytes and these.
constexpr char kData = 'd';
constexpr char kEnd = 'e';
constexpr char kFormatError = 'f';
constexpr char kIoError = 'i';
constexpr char kNoMemory = 'm';
constexpr size_t kBufferBytes = size_t{1} << 16;
constexpr uint64_t kMaxMessageBytes = 4096;
// Exit status of a child whose results could not be written, though its parent listened.
constexpr int kCannotWrite = 3;

/// The child died without a word.
class Silent : public std::exception {};

/// Bytes of addresses that this process has in use; 0 where that cannot be found out.
uint64_t address_bytes() {
  const int file = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char text[64] = {};
  const ssize_t count = ::read(file, text, sizeof text - 1);
  ::close(file);
  return count <= 0 ? 0 : std::strtoull(text, nullptr, 10) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

void limit(int resource, uint64_t value) {
  rlimit now{};
  if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &now) != 0) return;
  now.rlim_cur = std::min<rlim_t>(now.rlim_cur, value);
  if (resource == RLIMIT_CPU) now.rlim_max = std::min<rlim_t>(now.rlim_max, value + 1);
  ::setrlimit(static_cast<__rlimit_resource_t>(resource), &now);
}

/// The child's first steps: it dies quietly, with its parent at the latest, and before it takes more than it may.
void settle_child(const ChildLimits& limits) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGTRAP, SIGXCPU, SIGPIPE}) {
    std::signal(signal, SIG_DFL);
  }
  // Sent to all of a group: what they mean is decided by the parent, and its handlers are not for here.
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) std::signal(signal, SIG_IGN);
  // What the C library says of a damaged heap goes to standard error.
  const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (nothing >= 0) {
    for (int descriptor = 0; descriptor <= 2; ++descriptor) ::dup2(nothing, descriptor);
  }
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_CPU, limits.cpu_seconds);
  if (const uint64_t there = address_bytes(); there > 0) limit(RLIMIT_AS, there + limits.memory_bytes);
}

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
constexpr uint32_t kArchitecture = 0;
#endif

/// From here on the system gives the child memory and takes what it writes to its parent; every other call fails. It
/// may have become somebody else's by what it reads. Kernels without this, and other processors, leave it out.
void close_system(int descriptor) {
  if (kArchitecture == 0) return;
  constexpr auto kNumber = static_cast<uint32_t>(offsetof(seccomp_data, nr));
  constexpr auto kArch = static_cast<uint32_t>(offsetof(seccomp_data, arch));
  constexpr auto kFirst = static_cast<uint32_t>(offsetof(seccomp_data, args));  // the low half: little-endian
  constexpr uint32_t kRefuse = SECCOMP_RET_ERRNO | EPERM;
  std::vector<sock_filter> program = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kArch),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, kRefuse),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNumber),
  };
  for (const int call :
       {SYS_brk,          SYS_mmap,   SYS_munmap,     SYS_mremap,       SYS_mprotect,       SYS_madvise,
        SYS_futex,        SYS_exit,   SYS_exit_group, SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_clock_gettime,
        SYS_gettimeofday, SYS_getpid, SYS_gettid,     SYS_sched_yield,  SYS_nanosleep,      SYS_clock_nanosleep,
        SYS_close,        SYS_fstat,  SYS_getrandom,  SYS_sigaltstack}) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(call), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }
  program.insert(program.end(), {BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(SYS_write), 0, 3),
                                 BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kFirst),
                                 BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(descriptor), 0, 1),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW), BPF_STMT(BPF_RET | BPF_K, kRefuse)});
  const sock_fprog filter{.len = static_cast<unsigned short>(program.size()), .filter = program.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

/// Throws what became of a child that died without a word. SIGKILL comes from outside: every limit has another signal.
[[noreturn]] void fail_ended(const std::string& who, int status, const ChildLimits& limits) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == kCannotWrite) {
    fail<IoError>("{}: cannot be read: the process that reads it could not pass on what it read; try again", who);
  }
  std::string how = "ends early";
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    if (signal == SIGKILL) {
      fail<IoError>(
          "{}: cannot be read: the process that reads it was killed (signal {}), as the system does where memory is "
          "short; try again",
          who, signal);
    }
    how = signal == SIGXCPU ? fmt::format("takes more than {} s", limits.cpu_seconds)
                            : fmt::format("crashes (signal {})", signal);
  }
  fail<FormatError>("{}: damaged, or made to do harm: reading it {}", who, how);
}

}  // namespace

void ByteSink::frame(char kind, std::string_view content) {
  char head[1 + sizeof(uint64_t)] = {kind};
  const uint64_t count = content.size();
  std::memcpy(head + 1, &count, sizeof count);
  for (std::string_view piece : {std::string_view(head, sizeof head), content}) {
    while (!piece.empty()) {
      const ssize_t written = ::write(descriptor_, piece.data(), piece.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) ::_exit(errno == EPIPE ? 1 : kCannotWrite);
      piece.remove_prefix(static_cast<size_t>(written));
    }
  }
}

void ByteSink::flush() {
  if (!buffer_.empty()) frame(kData, buffer_);
  buffer_.clear();
}

void ByteSink::bytes(const void* from, size_t count) {
  const std::string_view content(static_cast<const char*>(from), count);
  if (count < kBufferBytes) {
    buffer_ += content;
    if (buffer_.size() >= kBufferBytes) flush();
  } else {
    flush();
    frame(kData, content);
  }
}

void ByteSink::text(std::string_view value) {
  number(value.size());
  bytes(value.data(), value.size());
}

void ByteSource::raw(void* to, size_t count) {
  auto* at = static_cast<char*>(to);
  while (count > 0) {
    pollfd wait{.fd = descriptor_, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&wait, 1, silence_seconds_ * 1000);
    if (ready < 0 && errno == EINTR) continue;
    require<IoError>(ready != 0, "{}: cannot be read: nothing came for {} s", who_, silence_seconds_);
    const ssize_t got = ::read(descriptor_, at, count);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw Silent();
    at += got;
    count -= static_cast<size_t>(got);
  }
}

/// The next one with content; throws what the child could not do.
void ByteSource::next_frame() {
  while (left_ == 0) {
    char kind = 0;
    raw(&kind, 1);
    raw(&left_, sizeof left_);
    if (kind == kData) continue;
    std::string message(std::min(std::exchange(left_, 0), kMaxMessageBytes), '\0');
    raw(message.data(), message.size());
    if (kind == kFormatError) throw FormatError(message);
    if (kind == kIoError) throw IoError(message);
    if (kind == kNoMemory) fail<FormatError>("{}: reading it needs more memory than a file of its size may take", who_);
    throw Silent();
  }
}

void ByteSource::bytes(void* to, size_t count) {
  auto* at = static_cast<char*>(to);
  while (count > 0) {
    next_frame();
    const size_t part = std::min<uint64_t>(count, left_);
    raw(at, part);
    at += part;
    count -= part;
    left_ -= part;
  }
}

uint64_t ByteSource::number() {
  uint64_t value = 0;
  bytes(&value, sizeof value);
  return value;
}

std::string ByteSource::text(uint64_t max_bytes) {
  const uint64_t count = number();
  require<FormatError>(count <= max_bytes, "{}: a text of {} bytes, at most {} have room", who_, count, max_bytes);
  std::string value(count, '\0');
  bytes(value.data(), value.size());
  return value;
}

void ByteSource::expect_end() {
  char kind = 0;
  uint64_t count = 0;
  raw(&kind, 1);
  raw(&count, sizeof count);
  if (left_ != 0 || kind != kEnd || count != 0) throw Silent();
}

void run_in_child(const std::string& who, const ChildLimits& limits, const std::function<void(ByteSink&)>& produce,
                  const std::function<void(ByteSource&)>& consume) {
  int ends[2];
  const bool piped = ::pipe2(ends, O_CLOEXEC) == 0;
  require<IoError>(piped, "{}: cannot be read: {}", who, system_message(errno));
  ::fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);  // larger than usual: fewer changes between the two; no matter if refused
  const pid_t child = ::fork();
  if (child == 0) {
    // Those up to 2 are about to change their meaning.
    const int out = ::fcntl(ends[1], F_DUPFD_CLOEXEC, 3);
    ByteSink sink(out);
    settle_child(limits);
    close_system(out);
    try {
      produce(sink);
      sink.flush();
      sink.frame(kEnd, "");
    } catch (const FormatError& error) {
      sink.frame(kFormatError, std::string_view(error.what()).substr(0, kMaxMessageBytes));
    } catch (const std::bad_alloc&) {
      sink.frame(kNoMemory, "");
    } catch (const std::exception& error) {
      sink.frame(kIoError, std::string_view(error.what()).substr(0, kMaxMessageBytes));
    }
    ::_exit(0);  // no exit handlers: they are the parent's
  }
  const int error = errno;
  ::close(ends[1]);
  int status = 0;
  const auto reap = [&] {
    ::close(ends[0]);
    if (child < 0) return;
    ::kill(child, SIGKILL);
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
  };
  // Its own end says what happened, unless it closed the pipe and stays.
  const auto reap_by_itself = [&] {
    constexpr int kTries = 500;
    for (int i = 0; i < kTries; ++i) {
      const pid_t gone = ::waitpid(child, &status, WNOHANG);
      if (gone == child || (gone < 0 && errno != EINTR)) {
        ::close(ends[0]);
        return;
      }
      ::usleep(10000);
    }
    reap();
    status = 0;  // that signal was from here
  };
  if (child < 0) {
    reap();
    fail<IoError>("{}: cannot be read: no process can be started for it: {}", who, system_message(error));
  }
  try {
    ByteSource source(who, ends[0], limits.silence_seconds);
    consume(source);
    source.expect_end();
  } catch (const Silent&) {
    reap_by_itself();
    fail_ended(who, status, limits);
  } catch (...) {
    reap();
    throw;
  }
  reap();
}

}  // namespace attune
