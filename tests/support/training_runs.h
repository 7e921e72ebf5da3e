#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/process.h"

namespace attune::testing {

/// Checks for a failure: this exit status, one line on standard error that has `text` in it, no output.
void check_error(const Finished& finished, int status, const std::string& text);

/// The command line that trains into folder `out`.
using TrainCommand = std::function<std::vector<std::string>(const std::string& out)>;

/// Checks that a run of `program` which is killed at random moments, and each time resumed, leaves byte by byte the
/// files of a run that was left alone.
void check_killed_run(std::string_view program, const TrainCommand& train);
/// Checks the same of a run that is interrupted and goes on with the command that it names, and once more when there is
/// nothing left to do.
void check_interrupted_run(std::string_view program, const TrainCommand& train);

}  // namespace attune::testing
