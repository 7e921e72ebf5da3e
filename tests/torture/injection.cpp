#include <fmt/format.h>

#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstring>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/torture/run_folder.h"
#include "tests/torture/subjects.h"

namespace attune::torture {
namespace {

namespace fs = std::filesystem;

/// A call that is made to fail, and how.
struct Fault {
  std::string call;    ///< as the injector names it
  std::string action;  ///< a number of errno, "kill-before", ...
  int64_t number = 1;
  bool on = false;      ///< from this call on
  bool inside = false;  ///< only calls about files in the run's folder count

  bool kills() const { return action.starts_with("kill"); }
  std::string name() const {
    if (kills()) return fmt::format("{}: SIGKILL", call);
    if (action == "half") return fmt::format("{}: half", call);
    return fmt::format("{}: {}", call, strerrorname_np(std::stoi(action)));
  }
};

struct Counts {
  int64_t all = 0;
  int64_t inside = 0;
};
using CallCounts = std::map<std::string, Counts>;

std::vector<std::pair<std::string, std::string>> variables(const Trial& trial, const fs::path& folder,
                                                           const std::optional<Fault>& fault) {
  // The sanitizer's own library need not come first; leaks of a program that an error ends early are none.
  std::vector<std::pair<std::string, std::string>> out = {
      {"LD_PRELOAD", trial.options().injector.string()},
      {"ASAN_OPTIONS", "verify_asan_link_order=0"},
      {"ATTUNE_INJECT_REPORT", (trial.folder() / "injected").string()}};
  if (!fault || fault->inside) out.emplace_back("ATTUNE_INJECT_UNDER", folder.string());
  if (fault) {
    out.emplace_back("ATTUNE_INJECT",
                     fmt::format("{}:{}{}:{}", fault->call, fault->number, fault->on ? "+" : "", fault->action));
  }
  return out;
}

/// How often the command makes each call.
CallCounts count_calls(Trial& trial, Command command, const fs::path& folder) {
  fs::remove(trial.folder() / "injected");
  command.variables = variables(trial, folder, {});
  const Ended ended = trial.run(command, trial.options().training_limits);
  check_answer(ended);
  if (ended.status != 0) throw Failure(fmt::format("an undisturbed command ends with {}: {}", ended.status, ended.err));
  CallCounts counts;
  std::istringstream lines(bytes_of(trial.folder() / "injected"));
  std::string call;
  for (Counts count; lines >> call >> count.all >> count.inside;) counts[call] = count;
  if (counts.empty()) throw std::runtime_error(trial.options().injector.string() + " does nothing");
  return counts;
}

Words errors_of(const std::string& call) {
  const auto numbers = [](std::initializer_list<int> errors) {
    Words out;
    for (const int error : errors) out.push_back(std::to_string(error));
    return out;
  };
  if (call == "write") return numbers({ENOSPC, EIO, EDQUOT, EINTR, EFBIG});
  if (call == "read") return numbers({EIO, EINTR, EISDIR});
  if (call == "open") return numbers({EACCES, EMFILE, ENFILE, EIO, ENOSPC, EINTR, EROFS});
  if (call == "fsync") return numbers({EIO, ENOSPC, EDQUOT});
  if (call == "rename") return numbers({EXDEV, EACCES, ENOSPC, EIO});
  if (call == "ftruncate") return numbers({EIO, EINTR, ENOSPC});
  if (call == "flock") return numbers({ENOLCK, EINTR, EOPNOTSUPP});
  if (call == "unlink") return numbers({EACCES, EROFS, EIO, EBUSY});
  if (call == "mkdir") return numbers({EACCES, ENOSPC, EROFS});
  if (call == "pthread_create") return numbers({EAGAIN});
  return numbers({EIO, EINTR, ENOSPC});  // close
}

Fault fault_of(Dice& dice, const CallCounts& counts, const std::vector<std::string>& calls) {
  Fault fault;
  do {
    fault.call = dice.pick(calls);
    fault.inside = fault.call != "pthread_create" && dice.chance(0.75);
  } while (!counts.contains(fault.call) ||
           (fault.inside ? counts.at(fault.call).inside : counts.at(fault.call).all) == 0);
  const int64_t most = fault.inside ? counts.at(fault.call).inside : counts.at(fault.call).all;
  // Early calls happen once, most of the others are repetitions.
  fault.number = dice.chance(0.4) ? dice.between(1, std::min<int64_t>(most, 20)) : dice.between(1, most);
  const bool halves = fault.call == "write" || fault.call == "read";
  if (fault.call != "pthread_create" && dice.chance(0.35)) {
    fault.action = halves && fault.call == "write" && dice.chance(0.3) ? "kill-half"
                   : dice.chance(0.5)                                  ? "kill-before"
                                                                       : "kill-after";
  } else if (halves && dice.chance(0.2)) {
    fault.action = "half";
  } else {
    fault.action = dice.pick(errors_of(fault.call));
    // What is interrupted may be tried again for ever.
    fault.on = fault.action != std::to_string(EINTR) && dice.chance(0.3);
  }
  return fault;
}

/// Runs the command with the fault and says whether the call was met.
std::pair<Ended, bool> run_with(Trial& trial, Command command, const fs::path& folder, const Fault& fault) {
  fs::remove(trial.folder() / "injected");
  command.variables = variables(trial, folder, fault);
  Ended ended = trial.run(command, trial.options().training_limits);
  const bool hit = fs::exists(trial.folder() / "injected");
  trial.note(fmt::format("  {}, {}: {}", fault.name(), hit ? "met" : "not met", outcome_of(ended)));
  trial.count(fault.name(), hit ? outcome_of(ended) : "not met");
  return {std::move(ended), hit};
}

/// A run that is stopped in the middle, so that the next process has something to resume.
void begin_run(Trial& trial, const std::string& program, const Undisturbed& undisturbed, const fs::path& folder) {
  Child child = trial.start({.program = program, .arguments = undisturbed.into(folder)});
  if (!child.wait_for(undisturbed.seconds * (0.2 + 0.8 * trial.dice().unit()))) child.send(SIGKILL);
  child.finish(trial.options().training_limits);
  trial.note("  SIGKILL");
  check_whole(folder, undisturbed.folder);
}

void end_run(Trial& trial, const std::string& program, const Undisturbed& undisturbed, const fs::path& folder) {
  const Ended ended = trial.run({.program = program, .arguments = undisturbed.into(folder, {"--resume"})},
                                trial.options().training_limits);
  check_answer(ended);
  if (ended.status != 0) throw Failure(fmt::format("cannot be resumed: exit {}: {}", ended.status, ended.err));
  check_equal(folder, undisturbed.folder);
}

void fail_while_training(Trial& trial, TrainedProgram& program) {
  const Undisturbed& undisturbed = program.undisturbed(trial);
  const std::string executable = trial.program(program.executable());
  const fs::path profile = trial.folder() / "profile";
  const CallCounts counts =
      count_calls(trial, {.program = executable, .arguments = undisturbed.into(profile)}, profile);
  check_equal(profile, undisturbed.folder);

  // Counting takes as long as a run: several faults share it.
  for (int i = 0; i < 4; ++i) {
    const fs::path folder = trial.folder() / fmt::format("run{}", i);
    if (trial.dice().chance(0.5)) begin_run(trial, executable, undisturbed, folder);
    const Fault fault = fault_of(trial.dice(), counts,
                                 {"write", "read", "open", "close", "fsync", "rename", "ftruncate", "flock", "unlink",
                                  "mkdir", "pthread_create"});
    const auto [ended, hit] =
        run_with(trial, {.program = executable, .arguments = undisturbed.into(folder, {"--resume"})}, folder, fault);
    check_whole(folder, undisturbed.folder);
    if (!(hit && fault.kills() && ended.signal == SIGKILL && ended.limit.empty())) check_answer(ended);
    if (!hit && ended.status != 0) throw Failure(fmt::format("exit {} without a fault: {}", ended.status, ended.err));
    if (ended.status != 0) {
      end_run(trial, executable, undisturbed, folder);
    } else {
      // What cannot be removed stays.
      check_equal(folder, undisturbed.folder, !(hit && fault.call == "unlink"));
    }
    fs::remove_all(folder);
  }
}

/// The right answer or none.
void fail_while_using(Trial& trial, TrainedProgram& program) {
  const Undisturbed& undisturbed = program.undisturbed(trial);
  const std::string best = (undisturbed.folder / "best.h5").string();
  Command command;
  if (trial.dice().chance(0.25)) {
    command = {.program = trial.program("attune-checkpoint"), .arguments = {trial.dice().pick({"ls", "verify"}), best}};
  } else {
    std::vector<TrainedProgram::Use> uses = program.uses(best);
    std::erase_if(uses, [](const TrainedProgram::Use& use) { return !use.repeats; });
    const TrainedProgram::Use use = trial.dice().pick(uses);
    command = {.program = trial.program(program.executable()), .arguments = use.arguments, .input = use.input};
  }
  const fs::path data = trial.options().out;
  const CallCounts counts = count_calls(trial, command, data);
  const std::string expected = bytes_of(trial.folder() / "out");
  for (int i = 0; i < 4; ++i) {
    const Fault fault = fault_of(trial.dice(), counts, {"read", "open", "close", "pthread_create"});
    const auto [ended, hit] = run_with(trial, command, data, fault);
    if (hit && fault.kills() && ended.signal == SIGKILL) continue;
    check_answer(ended);
    if (ended.status == 0 && ended.out != expected) {
      throw Failure(fmt::format("a wrong answer and no error: '{}', expected '{}'", ended.out, expected));
    }
  }
}

/// Standard streams that are closed or full: what a program says gets lost, what it does must not.
void fail_to_speak(Trial& trial, TrainedProgram& program) {
  const Undisturbed& undisturbed = program.undisturbed(trial);
  const fs::path folder = trial.folder() / "run";
  Command command = {.program = trial.program(program.executable()), .arguments = undisturbed.into(folder)};
  const std::string what =
      trial.dice().pick({std::string("stderr full"), std::string("stderr closed"), std::string("stdout full"),
                         std::string("stdout closed"), std::string("stdin closed"), std::string("all closed")});
  if (what == "stderr full") command.error_path = "/dev/full";
  if (what == "stderr closed") command.closed = {2};
  if (what == "stdout full") command.output_path = "/dev/full";
  if (what == "stdout closed") command.closed = {1};
  if (what == "stdin closed") command.closed = {0};
  if (what == "all closed") command.closed = {0, 1, 2};
  const Ended ended = trial.run(command, trial.options().training_limits);
  trial.count(what, outcome_of(ended));
  const bool mute = what == "stdout full" || what == "stdout closed" || what == "all closed";
  if (what == "all closed" ? ended.status > 2 || !ended.limit.empty() : false) {
    throw Failure(fmt::format("{}: {}", what, outcome_of(ended)));
  }
  if (what != "all closed") check_answer(ended);
  if (ended.status != 0 && !mute) throw Failure(fmt::format("{}: exit {}: {}", what, ended.status, ended.err));
  check_equal(folder, undisturbed.folder);
}

}  // namespace

void inject_fault(Trial& trial, TrainedProgram& program) {
  const double kind = trial.dice().unit();
  if (kind < 0.6) {
    fail_while_training(trial, program);
  } else if (kind < 0.85) {
    fail_while_using(trial, program);
  } else {
    fail_to_speak(trial, program);
  }
}

}  // namespace attune::torture
