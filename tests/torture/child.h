#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/process.h"

namespace attune::torture {

using Clock = std::chrono::steady_clock;
using Words = std::vector<std::string>;

/// A program to be started.
struct Command {
  std::string program;  ///< path
  Words arguments;
  std::string input = {};                                           ///< bytes of standard input
  std::optional<std::string> input_path = {};                       ///< what standard input is instead
  std::optional<std::string> output_path = {};                      ///< where standard output goes; else it is kept
  std::optional<std::string> error_path = {};                       ///< the same of standard error
  std::vector<int> closed = {};                                     ///< descriptors that are closed, of 0, 1 and 2
  std::filesystem::path directory = {};                             ///< to start in; empty: this process's
  std::vector<std::pair<std::string, std::string>> variables = {};  ///< added to the environment

  /// As a line for a shell. Standard input is not part of it.
  std::string to_string() const;
};

/// How a program ended. `status` is 128 + signal when it was killed.
struct Ended : testing::Finished {
  int signal = 0;     ///< that ended it; 0: it ended itself
  std::string limit;  ///< what it went beyond, and was killed for: "12 s of processor time"; empty: nothing
  double seconds = 0;
  bool trains = false;  ///< killed because it had begun to train: see Limits
};

/// What a program may use. Processor time and not the clock, so that a busy machine finds no faults of its own.
struct Limits {
  double processor_seconds = 10;
  double idle_seconds = 20;  ///< that it may sleep at a stretch without using the processor
  int64_t memory = int64_t{1} << 30;
  /// Above 0: a program that has said "... parameters; ..." on standard error, which is when training begins, is ended
  /// after so much processor time, and that is no fault.
  double training_seconds = 0;
};

/// What a program and the processes that it has begun have used.
struct Usage {
  double processor_seconds = 0;
  int64_t memory = 0;
  bool asleep = false;
};

/// Thrown by waiting when the time for the whole campaign is over.
struct Expired {};

/// A running program. Nothing of it is left at the end of scope.
class Child {
 public:
  /// Files for its streams are made in `folder`. Throws std::runtime_error when it cannot be started.
  Child(const Command& command, const std::filesystem::path& folder, Clock::time_point deadline);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  /// Waits so long or until it has ended; false when it is still running.
  bool wait_for(double seconds);
  /// Does nothing once it has ended.
  void send(int signal);
  /// Waits for its end, which comes when it passes a limit, too.
  Ended finish(const Limits& limits);

 private:
  bool ended();
  Usage usage() const;
  std::string passed(const Limits& limits);

  std::filesystem::path out_;
  std::filesystem::path err_;
  Clock::time_point begin_;
  Clock::time_point deadline_;
  pid_t pid_ = 0;
  bool ended_ = false;
  int wait_status_ = 0;
  Usage used_;
  Clock::time_point active_;  ///< when it was last seen to use the processor
  double seconds_ = 0;
};

/// All bytes of a file; none when it cannot be read.
std::string bytes_of(const std::filesystem::path& path);
/// Throws std::runtime_error.
void write_bytes(const std::filesystem::path& path, std::string_view bytes);

}  // namespace attune::torture
