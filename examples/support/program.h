#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>

// Not <CLI/CLI.hpp>, which takes 4 s to compile: only files that define options need it.
namespace CLI {  // NOLINT(readability-identifier-naming): CLI11's own name
class App;
class Validator;
}  // namespace CLI

namespace attune::examples {

/// Options that fit their own syntax but not each other, or a value that the program cannot take: exit status 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Options that every program with computations has.
struct SharedOptions {
  std::optional<int> threads;         ///< --threads; applied by run_program()
  uint64_t seed = 1;                  ///< --seed
  std::string device = "cpu";         ///< --device; run_program() fails where it cannot be used
  std::string precision = "float32";  ///< --precision
};
void add_threads_option(CLI::App& app, SharedOptions& options);
void add_seed_option(CLI::App& app, SharedOptions& options);
void add_device_option(CLI::App& app, SharedOptions& options);
void add_precision_option(CLI::App& app, SharedOptions& options);

/// For Option::check: a whole number between `low` and `high`, both included; the message says so.
CLI::Validator whole_number(int64_t low, int64_t high = INT64_MAX);
/// For Option::check: a finite number above zero.
CLI::Validator positive_number();

/// The body of main(): parses the command line into `app`, applies the shared options, prints attune::blas_warning() on
/// standard error, runs `body` and flushes standard output. Returns the exit status: what `body` returned; 0 after
/// --help and --version; 2 for wrong usage; 1 for every other exception and when standard output cannot be written.
/// Failures are one line on standard error, "error: ...", control characters in it escaped; the exit status is the same
/// where that cannot be written.
int run_program(CLI::App& app, int argc, char** argv, const SharedOptions& options, const std::function<int()>& body);
/// The same for programs that compute nothing: no warning about kernels.
int run_program(CLI::App& app, int argc, char** argv, const std::function<int()>& body);

/// The text on one line: control characters and line ends are written as \n, \t, \x1b, \x9b.
std::string one_line(const std::string& text);

}  // namespace attune::examples
