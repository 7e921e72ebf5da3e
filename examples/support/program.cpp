#include "examples/support/program.h"

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <new>
#include <system_error>

#include "examples/support/notice.h"
#include "examples/support/placement.h"
#include "framework/device.h"
#include "framework/error.h"

namespace attune::examples {
namespace {

// A path or a name may have any length, and a list of what does not fit too: begin and end of it are enough to see.
std::string beginning_and_end(const std::string& line) {
  constexpr size_t kBegin = 2500, kEnd = 1000;
  if (line.size() <= kBegin + kEnd) return line;
  const auto whole = [&](size_t at) {
    while (at < line.size() && (static_cast<unsigned char>(line[at]) & 0xC0) == 0x80) ++at;
    return at;
  };
  return line.substr(0, whole(kBegin)) + " ... " + line.substr(whole(line.size() - kEnd));
}

int report(const std::string& message, int status) {
  notice("error: {}", beginning_and_end(one_line(message)));
  return status;
}

/// Occupies the numbers of standard streams that are closed (2>&-): the next file that is opened would get them, and
/// what is printed would end up in a checkpoint. Opened for the other direction, so that using them fails as before.
void reserve_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(stream, F_GETFD) >= 0 || errno != EBADF) continue;
    const int opened = open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);  // the lowest number there is
    if (opened > STDERR_FILENO) close(opened);
  }
}

/// What was printed must have arrived: a full disk shows only here.
int flush(int status) {
  const bool failed_before = std::ferror(stdout) != 0 || !std::cout;  // why, only those know who were writing
  errno = 0;
  std::cout.flush();
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout && !failed_before) return status;
  const bool known = errno != 0 && !failed_before;
  return report(
      fmt::format("standard output: {}", known ? std::generic_category().message(errno) : "cannot be written"), 1);
}

int run(CLI::App& app, int argc, char** argv, const SharedOptions* options, const std::function<int()>& body) {
  // Beyond a limit on file sizes write() then fails like on a full disk, instead of the process being killed.
  std::signal(SIGXFSZ, SIG_IGN);
  reserve_standard_streams();
  const auto usage = [&](const std::string& message) {
    return fmt::format("{} (see {} --help)", message, app.get_name());
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    return flush(app.exit(asked));
  } catch (const CLI::RequiredError& error) {
    // What is not known explains better what is missing: a misspelt subcommand, say.
    const auto unknown = app.remaining(true);
    return report(unknown.empty() ? usage(error.what()) : usage(fmt::format("not known: {}", fmt::join(unknown, " "))),
                  2);
  } catch (const CLI::ParseError& error) {
    return report(usage(error.what()), 2);
  }
  try {
    if (options != nullptr) {
      if (options->threads) set_num_threads(*options->threads);
      require_device(parse_device(options->device));
      if (const std::string warning = blas_warning(); !warning.empty()) notice("warning: {}", warning);
    }
    return flush(body());
  } catch (const UsageError& error) {
    return report(usage(error.what()), 2);
  } catch (const std::bad_alloc&) {
    return report("out of memory", 1);
  } catch (const std::exception& error) {
    return report(error.what(), 1);
  }
}

template <class T>
bool parse(const std::string& text, T& value) {
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && at == end;
}

}  // namespace

void add_threads_option(CLI::App& app, SharedOptions& options) {
  app.add_option("--threads", options.threads, "Threads to compute with (default: every core)")
      ->type_name("N")
      ->check(whole_number(1, 1024));
}

void add_seed_option(CLI::App& app, SharedOptions& options) {
  app.add_option("--seed", options.seed, "Seed of everything random")
      ->type_name("N")
      ->check(whole_number(0))
      ->capture_default_str();
}

void add_device_option(CLI::App& app, SharedOptions& options) {
  app.add_option("--device", options.device,
                 "Where to compute: cpu, cuda, cuda:1 ..., or auto (cuda where there is one)")
      ->type_name("NAME")
      ->check(CLI::Validator(
          [](std::string& text) {
            try {
              if (text != "auto") parse_device(text);
              return std::string();
            } catch (const Error& error) {
              return std::string(error.what());
            }
          },
          ""))
      ->capture_default_str();
}

void add_precision_option(CLI::App& app, SharedOptions& options) {
  app.add_option("--precision", options.precision,
                 "float32, or bf16: activations and products in bfloat16, whatever the model was trained in")
      ->type_name("NAME")
      ->check(CLI::IsMember(precision_names()))
      ->capture_default_str();
}

CLI::Validator whole_number(int64_t low, int64_t high) {
  const std::string range =
      high == INT64_MAX ? fmt::format("of at least {}", low) : fmt::format("from {} to {}", low, high);
  return CLI::Validator(
      [low, high, range](std::string& text) {
        int64_t value = 0;
        if (parse(text, value) && value >= low && value <= high) return std::string();
        return fmt::format("expected a whole number {}, got '{}'", range, text);
      },
      "");
}

CLI::Validator positive_number() {
  return CLI::Validator(
      [](std::string& text) {
        double value = 0;
        if (parse(text, value) && std::isfinite(value) && value > 0) return std::string();
        return fmt::format("expected a number above 0, got '{}'", text);
      },
      "");
}

int run_program(CLI::App& app, int argc, char** argv, const SharedOptions& options, const std::function<int()>& body) {
  return run(app, argc, argv, &options, body);
}

int run_program(CLI::App& app, int argc, char** argv, const std::function<int()>& body) {
  return run(app, argc, argv, nullptr, body);
}

std::string one_line(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    // U+0080 to U+009F are commands to a terminal as well: U+009B is what begins a colour.
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    const bool second = c == '\xC2' && next >= 0x80 && next <= 0x9F;
    if (second) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[++i]));
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace attune::examples
