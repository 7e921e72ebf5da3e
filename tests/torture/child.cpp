#include "tests/torture/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <ios>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <thread>

extern char** environ;

namespace attune::torture {
namespace {

namespace fs = std::filesystem;

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

std::string quoted(const std::string& word) {
  const bool plain = !word.empty() && word.find_first_not_of(
                                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                          "_-./=:,+@%") == std::string::npos;
  if (plain) return word;
  std::string out = "'";
  for (const char c : word.substr(0, 200)) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  if (word.size() > 200) out += fmt::format("...{} bytes", word.size());
  return out + "'";
}

/// posix_spawn's lists, freed at the end of scope.
struct SpawnSettings {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;

  SpawnSettings() {
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
};

/// The environment with these variables. LD_PRELOAD and the like are for the program alone, so it is made anew.
std::vector<std::string> environment(const Command& command) {
  std::vector<std::string> out;
  for (char** variable = environ; *variable != nullptr; ++variable) out.emplace_back(*variable);
  for (const auto& [name, value] : command.variables) out.push_back(fmt::format("{}={}", name, value));
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (std::string& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

/// What a program left in a file; nothing of devices, which may have no end.
std::string kept(const fs::path& file) { return fs::is_regular_file(file) ? bytes_of(file) : std::string(); }

/// A file of /proc; nothing where the process ends between opening and reading it, which the stream buffer throws.
std::string process_text(const std::string& path) {
  try {
    return bytes_of(path);
  } catch (const std::ios_base::failure&) {
    return {};
  }
}

/// A process and those that it has begun, as far as they still belong to it.
std::vector<pid_t> family_of(pid_t process) {
  std::vector<pid_t> out = {process};
  for (size_t i = 0; i < out.size(); ++i) {
    std::istringstream children(process_text(fmt::format("/proc/{}/task/{}/children", out[i], out[i])));
    for (pid_t child = 0; children >> child;) out.push_back(child);
  }
  return out;
}

Usage usage_of(pid_t process) {
  // "pid (name) state ppid ...": the name may hold anything.
  const std::string stat = process_text(fmt::format("/proc/{}/stat", process));
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos || name_end + 2 >= stat.size()) return {};
  char state = 0;
  unsigned long user = 0;
  unsigned long system = 0;
  long pages = 0;
  // Fields 3, 14, 15 and 24 of proc(5).
  if (std::sscanf(stat.c_str() + name_end + 2,
                  "%c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %*u %*u %ld", &state,
                  &user, &system, &pages) != 4) {
    return {};
  }
  return {.processor_seconds = static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK)),
          .memory = pages * sysconf(_SC_PAGESIZE),
          .asleep = state == 'S'};
}

void kill_family(pid_t process) {
  for (const pid_t one : family_of(process)) kill(one, SIGKILL);
}

}  // namespace

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_bytes(const fs::path& path, std::string_view bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file.good()) throw std::runtime_error(path.string() + ": cannot be written");
}

std::string Command::to_string() const {
  std::string line;
  if (!directory.empty()) line += fmt::format("cd {} && ", quoted(directory.string()));
  for (const auto& [name, value] : variables) line += fmt::format("{}={} ", name, quoted(value));
  line += quoted(program);
  for (const std::string& word : arguments) line += ' ' + quoted(word);
  if (input_path) line += " <" + quoted(*input_path);
  if (output_path) line += " >" + quoted(*output_path);
  if (error_path) line += " 2>" + quoted(*error_path);
  for (const int descriptor : closed) line += fmt::format(" {}{}&-", descriptor, descriptor == 0 ? '<' : '>');
  return line;
}

Child::Child(const Command& command, const fs::path& folder, Clock::time_point deadline)
    : out_(command.output_path.value_or((folder / "out").string())),
      err_(command.error_path.value_or((folder / "err").string())),
      deadline_(deadline) {
  const std::string in = command.input_path.value_or((folder / "in").string());
  if (!command.input_path) write_bytes(in, command.input);
  if (!command.output_path) write_bytes(out_, "");
  if (!command.error_path) write_bytes(err_, "");

  SpawnSettings settings;
  if (!command.directory.empty()) {
    posix_spawn_file_actions_addchdir_np(&settings.files, fs::absolute(command.directory).c_str());
  }
  posix_spawn_file_actions_addopen(&settings.files, 0, fs::absolute(in).c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&settings.files, 1, fs::absolute(out_).c_str(), O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&settings.files, 2, fs::absolute(err_).c_str(), O_WRONLY, 0);
  for (const int descriptor : command.closed) posix_spawn_file_actions_addclose(&settings.files, descriptor);
  // Whatever this process was started with (nohup ignores SIGHUP).
  sigset_t all;
  sigset_t none;
  sigfillset(&all);
  sigemptyset(&none);
  posix_spawnattr_setsigdefault(&settings.attributes, &all);
  posix_spawnattr_setsigmask(&settings.attributes, &none);
  posix_spawnattr_setflags(&settings.attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);

  Words words = command.arguments;
  words.insert(words.begin(), command.program);
  Words variables = environment(command);
  begin_ = active_ = Clock::now();
  const int error = posix_spawn(&pid_, command.program.c_str(), &settings.files, &settings.attributes,
                                pointers(words).data(), pointers(variables).data());
  if (error != 0) {
    ended_ = true;
    throw std::runtime_error(fmt::format("{}: cannot be started: {}", command.program, std::strerror(error)));
  }
}

Child::~Child() {
  if (ended_) return;
  kill_family(pid_);
  waitpid(pid_, nullptr, 0);
}

bool Child::ended() {
  if (ended_) return true;
  struct rusage resources {};
  if (wait4(pid_, &wait_status_, WNOHANG, &resources) != pid_) return false;
  ended_ = true;
  seconds_ = seconds_between(begin_, Clock::now());
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  used_ = {.processor_seconds = seconds(resources.ru_utime) + seconds(resources.ru_stime),
           .memory = resources.ru_maxrss * 1024};
  return true;
}

bool Child::wait_for(double seconds) {
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  while (!ended()) {
    const auto now = Clock::now();
    if (now >= deadline_) throw Expired{};
    if (now >= end) return false;
    std::this_thread::sleep_for(std::min<Clock::duration>(end - now, std::chrono::microseconds(500)));
  }
  return true;
}

void Child::send(int signal) {
  if (!ended()) kill(pid_, signal);
}

Usage Child::usage() const {
  Usage sum = {.asleep = true};
  for (const pid_t process : family_of(pid_)) {
    const Usage one = usage_of(process);
    sum.processor_seconds += one.processor_seconds;
    sum.memory += one.memory;
    sum.asleep = sum.asleep && one.asleep;
  }
  return sum;
}

std::string Child::passed(const Limits& limits) {
  if (!ended_) {
    const Usage now = usage();
    if (now.processor_seconds != used_.processor_seconds || !now.asleep) active_ = Clock::now();
    used_ = now;
  }
  if (used_.processor_seconds > limits.processor_seconds) {
    return fmt::format("{:.1f} s of processor time", used_.processor_seconds);
  }
  if (used_.memory > limits.memory) return fmt::format("{} MiB of memory", used_.memory >> 20);
  if (const double idle = seconds_between(active_, Clock::now()); !ended_ && idle > limits.idle_seconds) {
    return fmt::format("waits for {:.0f} s and does nothing", idle);
  }
  return "";
}

Ended Child::finish(const Limits& limits) {
  Ended result;
  double pause = 0.002;
  while (!wait_for(pause) && result.limit.empty() && !result.trains) {
    pause = std::min(0.02, pause * 1.2);
    result.limit = passed(limits);
    result.trains = limits.training_seconds > 0 && used_.processor_seconds > limits.training_seconds &&
                    kept(err_).find(" parameters; ") != std::string::npos;
  }
  if (!ended()) {
    kill_family(pid_);
    waitpid(pid_, &wait_status_, 0);
    ended_ = true;
    seconds_ = seconds_between(begin_, Clock::now());
  } else if (result.limit.empty()) {
    result.limit = passed(limits);
  }
  result.signal = WIFSIGNALED(wait_status_) ? WTERMSIG(wait_status_) : 0;
  result.status = result.signal != 0 ? 128 + result.signal : WEXITSTATUS(wait_status_);
  result.out = kept(out_);
  result.err = kept(err_);
  result.seconds = seconds_;
  return result;
}

}  // namespace attune::torture
