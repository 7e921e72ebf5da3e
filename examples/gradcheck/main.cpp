// attune-gradcheck: verdicts on the gradients of every layer.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <optional>
#include <system_error>

#include "examples/gradcheck/report.h"
#include "examples/gradcheck/self_test.h"
#include "examples/support/interrupts.h"
#include "examples/support/program.h"
#include "examples/support/progress.h"
#include "examples/support/table.h"
#include "framework/atomic_file.h"
#include "framework/device.h"
#include "framework/error.h"
#include "framework/version.h"

namespace attune::examples {
namespace {

constexpr int kRandomCases = 40;         // per layer, besides one of each mask part
constexpr int kLargeCases = 6;           // per layer
constexpr int64_t kCorrectCases = 1000;  // of the self-test

struct Request {
  bool list = false;
  bool all = false;
  bool self_test = false;
  std::string layer;
  std::string options;
  std::string fault;
  std::string dtype = "float64";
  Device device;
  double seconds = 0;
  std::string json, junit, html;
};

/// Shows how far a run is once it takes longer than a moment.
class LateProgress {
 public:
  explicit LateProgress(const char* unit) : unit_(unit) {}

  void update(int64_t done, int64_t total, int64_t units, std::string_view title) {
    if (!progress_ && std::chrono::steady_clock::now() - start_ < std::chrono::seconds(1)) return;
    if (!progress_) {
      progress_.emplace(total, unit_);
      progress_->start_at(done);
    }
    progress_->update(done, units, title, {});
  }

 private:
  const char* unit_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::optional<Progress> progress_;
};

bool colours() { return isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr; }

/// Before any work is done.
void check_writable(const std::string& file) {
  if (file.empty()) return;
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path parent = fs::path(file).has_parent_path() ? fs::path(file).parent_path() : fs::path(".");
  int reason = 0;
  if (fs::is_directory(file, ignored)) {
    reason = EISDIR;
  } else if (!fs::is_directory(parent, ignored)) {
    reason = ENOENT;
  } else if (access(parent.c_str(), W_OK) != 0) {
    reason = errno;
  }
  if (reason != 0)
    throw IoError(fmt::format("{}: cannot be written: {}", file, std::generic_category().message(reason)));
}

void write(const std::string& file, const std::string& text) {
  if (!file.empty()) write_file_atomically(file, text);
}

int list() {
  Table table({{"layer"}, {"what"}, {"options"}});
  for (const LayerRow& row : catalogue()) table.add({row.name, row.what, Options(row.options).json()});
  table.print();
  return 0;
}

std::vector<PlannedCase> plan(const Request& request, uint64_t seed) {
  std::vector<PlannedCase> cases;
  const auto add = [&](const LayerRow& row, const Options* fixed) {
    for (PlannedCase& planned : plan_cases(row, fixed, kRandomCases, kLargeCases, seed))
      if (request.dtype == "float64" || !row.chooses(planned.options)) cases.push_back(std::move(planned));
  };
  if (request.all) {
    for (const LayerRow& row : catalogue()) add(row, nullptr);
  } else {
    const LayerRow& row = find_row(request.layer);
    if (request.options.empty()) {
      add(row, nullptr);
    } else {
      const Options options = parse_options("--options", row.options, request.options);
      add(row, &options);
    }
  }
  if (cases.empty())
    throw UsageError(fmt::format("{} makes choices, which are others in {}", request.layer, request.dtype));
  return cases;
}

int check(const Request& request, uint64_t seed) {
  const std::vector<PlannedCase> cases = plan(request, seed);
  std::optional<FaultInjection> injection;
  if (!request.fault.empty()) injection.emplace(find_fault(request.fault));
  RunSettings settings;
  if (injection) settings.made = [&](const Case& made) { injection->set_constants(made.constants); };
  settings.mixed = request.dtype == "mixed";
  settings.dtype = settings.mixed ? DType::kBFloat16 : parse_dtype(request.dtype);
  settings.device = request.device;
  const auto start = std::chrono::steady_clock::now();
  std::vector<CaseResult> results;
  {
    LateProgress progress("gradients");
    results = run_cases(cases, settings, request.seconds, [&](const CaseResult& result, int64_t done) {
      progress.update(done, std::ssize(cases), std::ssize(result.report.entries), result.layer);
      if (interrupted()) throw Error("interrupted");
    });
  }
  const RunDescription run{request.dtype, request.device.to_string(), seed,
                           std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
                           device_summary(request.device)};
  write(request.json, json_report(results, run));
  write(request.junit, junit_report(results, run));
  write(request.html, html_report(results, run));
  fmt::print("{}{} on {} in {:.1f} s, seed {}\n", text_report(results, !request.all, colours()), run.dtype, run.device,
             run.seconds, seed);
  return std::all_of(results.begin(), results.end(), [](const CaseResult& result) { return result.ok(); }) ? 0 : 1;
}

int test_self(const Request& request, uint64_t seed) {
  std::optional<SelfTestResult> result;
  {
    LateProgress progress("cases");
    result = self_test(seed, kCorrectCases, [&](int64_t done, int64_t total) {
      progress.update(done, total, 1, "self-test");
      if (interrupted()) throw Error("interrupted");
    });
  }
  write(request.json, json_report(*result));
  fmt::print("{}", text_report(*result, colours()));
  return result->ok() ? 0 : 1;
}

int run(const Request& request, uint64_t seed) {
  const int asked =
      (request.list ? 1 : 0) + (request.all ? 1 : 0) + (request.self_test ? 1 : 0) + (request.layer.empty() ? 0 : 1);
  if (asked != 1) throw UsageError("one of --list, --all, --layer and --self-test is expected");
  if (request.layer.empty() && !request.options.empty()) throw UsageError("--options needs --layer");
  if (!request.fault.empty() && request.dtype != "float64") throw UsageError("--fault needs --dtype float64");
  if (request.self_test && !(request.junit.empty() && request.html.empty() && request.fault.empty())) {
    throw UsageError("--self-test takes --json, --seed and --threads");
  }
  if ((request.self_test || !request.fault.empty()) && !request.device.is_cpu()) {
    throw UsageError("faults are put into the formulas of the CPU, expected --device cpu");
  }
  if (request.list) return list();
  for (const std::string& file : {request.json, request.junit, request.html}) check_writable(file);
  catch_interrupts();
  return request.self_test ? test_self(request, seed) : check(request, seed);
}

}  // namespace
}  // namespace attune::examples

int main(int argc, char** argv) {
  using namespace attune::examples;
  CLI::App app("Checks the gradients of layers and says what is known about each: OK, WRONG, NOISE or KINK.",
               "attune-gradcheck");
  app.set_version_flag("--version", attune::kVersion);
  app.footer(
      "float64 is judged by numeric derivatives, the other dtypes by the gradients of float64.\n"
      "Exit status: 0 when every verdict is OK, 1 otherwise, 2 for wrong usage.");
  Request request;
  SharedOptions shared;
  app.add_flag("--list", request.list, "The layers with their options and defaults");
  app.add_flag("--all", request.all, "Check every layer");
  app.add_option("--layer", request.layer, "Check one layer, every element")->type_name("NAME");
  app.add_option("--options", request.options, "Its options; random ones where this is not given")->type_name("JSON");
  app.add_option("--dtype", request.dtype, "float64, float32, bfloat16 or mixed: bfloat16 beside float32 parameters")
      ->check(CLI::IsMember({"float64", "float32", "bfloat16", "mixed"}))
      ->type_name("DTYPE")
      ->capture_default_str();
  add_device_option(app, shared);
  app.add_option("--seconds", request.seconds, "Time to spend; elements are drawn at random until then")
      ->type_name("N")
      ->check(positive_number());
  add_seed_option(app, shared);
  add_threads_option(app, shared);
  app.add_option("--json", request.json, "Write everything that was found as JSON")->type_name("FILE");
  app.add_option("--junit", request.junit, "Write the verdicts as JUnit XML")->type_name("FILE");
  app.add_option("--html", request.html, "Write one page for a browser")->type_name("FILE");
  app.add_flag("--self-test", request.self_test, "Put faults into the formulas and see that each is noticed");
  app.add_option("--fault", request.fault, "Put this fault of the self-test into the formulas first")
      ->type_name("NAME");
  return run_program(app, argc, argv, shared, [&] {
    request.device = attune::parse_device(shared.device);
    return run(request, shared.seed);
  });
}
