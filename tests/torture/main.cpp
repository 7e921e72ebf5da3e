// attune-torture: kills the programs, makes their system calls fail and gives them hostile files, for as long as asked.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "examples/support/program.h"
#include "framework/fail.h"
#include "tests/torture/campaign.h"
#include "tests/torture/subjects.h"
#include "tests/torture/trained_program.h"

namespace attune::torture {
namespace {

namespace fs = std::filesystem;

constexpr std::array kNames = {"sentiment", "translation", "captioning"};

fs::path own_folder() { return fs::read_symlink("/proc/self/exe").parent_path(); }

fs::path new_folder() {
  std::string pattern = (fs::temp_directory_path() / "attune-torture-XXXXXX").string();
  require<IoError>(mkdtemp(pattern.data()) != nullptr, "{}: cannot be created", pattern);
  return pattern;
}

/// Sanitizers cost time and memory of their own.
void allow_for_sanitizers(CampaignOptions& options) {
  const std::string program = bytes_of(options.programs / "attune-checkpoint");
  if (program.find("__asan_init") == std::string::npos && program.find("__tsan_init") == std::string::npos) return;
  for (Limits* limits : {&options.limits, &options.training_limits}) {
    limits->processor_seconds *= 6;
    limits->memory *= 4;
  }
}

std::vector<Subject> subjects_of(const std::string& only, std::vector<std::unique_ptr<TrainedProgram>>& programs) {
  std::vector<Subject> out;
  const auto add = [&](const char* kind, const std::string& program, std::function<void(Trial&)> attempt) {
    Subject subject = {kind, program, std::move(attempt)};
    if (only.empty() || only == kind || only == subject.name()) out.push_back(std::move(subject));
  };
  for (const auto& owned : programs) {
    TrainedProgram& program = *owned;
    add("kills", program.name(), [&](Trial& trial) { kill_run(trial, program); });
    add("faults", program.name(), [&](Trial& trial) { inject_fault(trial, program); });
    add("files", program.name(), [&](Trial& trial) { give_hostile_file(trial, program); });
  }
  add("files", "checkpoint", give_hostile_file_to_checkpoint_program);
  if (out.empty())
    throw examples::UsageError("--only " + only + ": expected kills, faults, files or such as kills/sentiment");
  return out;
}

int torture(CampaignOptions options, const std::string& only) {
  // A program that crashes on purpose leaves no core, and nobody's pipe ends the campaign.
  const rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  std::signal(SIGPIPE, SIG_IGN);
  options.out = options.out.empty() ? new_folder() : fs::absolute(options.out);
  fs::create_directories(options.out);
  require<IoError>(fs::is_empty(options.out), "--out {}: expected a new or an empty folder", options.out.string());
  options.programs = fs::absolute(options.programs);
  for (const char* name : {"attune-sentiment", "attune-translation", "attune-captioning", "attune-checkpoint"}) {
    require<IoError>(access((options.programs / name).c_str(), X_OK) == 0, "--programs {}: {} is missing",
                     options.programs.string(), name);
  }
  require<IoError>(fs::exists(options.injector), "{} is missing", options.injector.string());
  allow_for_sanitizers(options);
  std::vector<std::unique_ptr<TrainedProgram>> programs;
  for (const char* name : kNames) programs.push_back(std::make_unique<TrainedProgram>(options, name));
  return Campaign(options, subjects_of(only, programs)).run();
}

}  // namespace
}  // namespace attune::torture

int main(int argc, char** argv) {
  using namespace attune;
  using examples::whole_number;
  torture::CampaignOptions options;
  options.programs = torture::own_folder();
  options.injector = torture::own_folder() / "attune_inject.so";
  options.jobs = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  std::string only;

  CLI::App app("Kills the programs, makes their system calls fail and gives them hostile files", "attune-torture");
  app.add_option("--minutes", options.minutes, "How long")
      ->type_name("X")
      ->check(examples::positive_number())
      ->capture_default_str();
  app.add_option("--seed", options.seed, "Seed of everything random")
      ->type_name("N")
      ->check(whole_number(0))
      ->capture_default_str();
  app.add_option("--only", only, "kills, faults or files, or one program of them: kills/sentiment (default: all)")
      ->type_name("KIND[/PROGRAM]");
  app.add_option("--trials", options.trials, "End after so many of each kind and program, if time is left")
      ->type_name("N")
      ->check(whole_number(1));
  app.add_option("--programs", options.programs, "Folder of the programs (default: that of this one)")
      ->type_name("DIR");
  app.add_option("--out", options.out,
                 "Folder for what failures leave (default: a new one for temporary files); removed when nothing failed")
      ->type_name("DIR");
  app.add_option("--jobs", options.jobs, "Programs that run at a time (default: as many as cores)")
      ->type_name("N")
      ->check(whole_number(1, 1024));
  app.add_option("--seconds", options.limits.processor_seconds,
                 "Processor time that a program may take for a hostile file; sanitizers get six times as much")
      ->type_name("X")
      ->check(examples::positive_number())
      ->capture_default_str();
  app.add_option("--repeat", options.repeat, "Only this trial, as a failure names it")->type_name("KIND/PROGRAM/N");
  return examples::run_program(app, argc, argv, [&] { return torture::torture(options, only); });
}
