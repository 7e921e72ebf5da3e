#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace attune::testing {

/// What a finished program left behind.
struct Finished {
  int status = 0;  ///< exit status; 128 + signal when it was killed
  std::string out;
  std::string err;
};

/// Runs a program of this build ("attune-checkpoint") with these arguments and this standard input. Fails the running
/// test when it cannot be started.
Finished run(std::string_view program, const std::vector<std::string>& arguments, std::string_view input = "");

/// The same, but the program gets `signal` after so many milliseconds unless it has ended before.
Finished run_and_signal(std::string_view program, const std::vector<std::string>& arguments, int milliseconds,
                        int signal);

/// The last line without its end.
std::string last_line(std::string_view text);

}  // namespace attune::testing
