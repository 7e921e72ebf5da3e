#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/torture/run_folder.h"
#include "tests/torture/subjects.h"

namespace attune::torture {
namespace {

namespace fs = std::filesystem;

constexpr int kMostAttempts = 10;  // the last one is left alone

std::string name_of(int signal) {
  switch (signal) {
    case SIGKILL:
      return "SIGKILL";
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    case SIGHUP:
      return "SIGHUP";
    case SIGCONT:
      return "SIGSTOP, SIGCONT";
    default:
      return "none";
  }
}

std::string last_line_of(std::string text) {
  if (text.ends_with('\n')) text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

/// Exit statuses of a run that was asked to end and has saved what it knows.
std::vector<int> statuses_after(int signal) {
  if (signal == SIGTERM) return {128 + SIGTERM};
  if (signal == SIGINT) return {128 + SIGINT};
  if (signal == SIGHUP) return {128 + SIGHUP};
  return {};
}

/// What happens to one process.
struct Plan {
  int signal = 0;  ///< that ends it; SIGCONT: it is stopped for a moment and goes on; 0: none
  double moment = 0;
  bool twice = false;     ///< the same signal again at once: the process need not save
  bool intruder = false;  ///< a second process begins in the same folder
};

Plan plan_of(Dice& dice, double duration) {
  Plan plan;
  plan.signal = dice.pick({SIGKILL, SIGKILL, SIGKILL, SIGTERM, SIGINT, SIGHUP, SIGCONT});
  // Beginnings and ends, where files come into being, are short.
  const double share = dice.chance(0.3) ? 0.2 * dice.unit() : 1.1 * dice.unit();
  plan.moment = share * duration;
  plan.twice = plan.signal != SIGKILL && plan.signal != SIGCONT && dice.chance(0.1);
  plan.intruder = dice.chance(0.1);
  return plan;
}

/// One run in its folder, killed and resumed.
class KilledRun {
 public:
  KilledRun(Trial& trial, const TrainedProgram& program, const Undisturbed& undisturbed)
      : trial_(trial), program_(program), undisturbed_(undisturbed), folder_(trial.folder() / "run") {}

  void go() {
    for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
      const bool last = attempt == kMostAttempts - 1;
      if (once(attempt == 0, last ? Plan{} : plan_of(trial_.dice(), undisturbed_.seconds))) return;
    }
  }

 private:
  /// The command to go on with names nothing but the folder, once there is a run in it.
  Command command(bool first) {
    const bool begun = fs::exists(folder_ / "config.json") || fs::exists(folder_ / "last.h5");
    Words words = {"train", "--resume", "--out", folder_.string()};
    if (first) {
      words = undisturbed_.into(folder_);
    } else if (!begun || trial_.dice().chance(0.3)) {
      words = undisturbed_.into(folder_, {"--resume"});
    }
    return {.program = trial_.program(program_.executable()), .arguments = std::move(words)};
  }

  /// Returns whether the run is complete.
  bool once(bool first, const Plan& plan) {
    const Command process = command(first);
    const fs::path streams = trial_.folder();
    Child child = trial_.start(process);
    std::optional<Ended> intruder;
    if (plan.intruder && !child.wait_for(plan.moment / 2)) {
      trial_.note("at the same time:");
      fs::create_directories(streams / "second");
      Command second = process;
      second.output_path = (streams / "second/out").string();
      second.error_path = (streams / "second/err").string();
      write_bytes(*second.output_path, "");
      write_bytes(*second.error_path, "");
      second.arguments = undisturbed_.into(folder_, {"--resume"});
      intruder = trial_.run(second, trial_.options().training_limits);
    }
    if (plan.signal != 0 && !child.wait_for(plan.moment / (plan.intruder ? 2 : 1))) {
      if (plan.signal == SIGCONT) {
        child.send(SIGSTOP);
        child.wait_for(0.001 * static_cast<double>(trial_.dice().between(1, 50)));
      }
      child.send(plan.signal);
      if (plan.twice) child.send(plan.signal);
    }
    const Ended ended = child.finish(trial_.options().training_limits);
    trial_.note(fmt::format("  {} after {:.3f} s{}: {}", name_of(plan.signal), plan.moment, plan.twice ? ", twice" : "",
                            outcome_of(ended)));
    trial_.count(name_of(plan.signal), outcome_of(ended));
    if (intruder) judge_second(*intruder);
    return judge(plan, ended);
  }

  static bool was_kept_out(const Ended& ended) {
    return ended.status == 1 && ended.err.find("another process is training into it") != std::string::npos;
  }

  void judge_second(const Ended& ended) {
    trial_.count("second process", outcome_of(ended));
    check_answer(ended);
    if (ended.status != 0 && !was_kept_out(ended)) {
      throw Failure("a second process in the folder ends with: " + ended.err);
    }
  }

  bool judge(const Plan& plan, const Ended& ended) {
    check_whole(folder_, undisturbed_.folder);
    check_progress(ended);
    if (plan.signal == SIGKILL && ended.signal == SIGKILL && ended.limit.empty()) return false;
    if (plan.intruder && was_kept_out(ended)) return false;
    const std::vector<int> expected = statuses_after(plan.signal);
    const bool asked = std::find(expected.begin(), expected.end(), ended.status) != expected.end();
    if (!asked) {
      if (!expected.empty() && ended.status > 2 && ended.limit.empty()) {
        throw Failure(fmt::format("exit {} after {}, expected {}: {}", ended.status, name_of(plan.signal),
                                  expected.front(), last_line_of(ended.err)));
      }
      check_answer(ended);
      if (ended.status != 0) throw Failure(fmt::format("exit {}: {}", ended.status, ended.err));
      check_equal(folder_, undisturbed_.folder);
      return true;
    }
    // Before a run begins nothing has been learned: the signal may end the process as it ends any other.
    const bool began = ended.err.find(" parameters; ") != std::string::npos;
    if (ended.signal != 0 && began && !plan.twice) {
      throw Failure(fmt::format("{} ends a run that has begun, nothing is saved", name_of(ended.signal)));
    }
    if (ended.signal == 0) check_saved(ended);
    return false;
  }

  /// What was saved is never lost again.
  void check_progress(const Ended& ended) {
    const int64_t step = saved_step(folder_).value_or(0);
    if (step < step_) {
      throw Failure(fmt::format("last.h5 has gone back from step {} to {}: {}", step_, step, ended.err));
    }
    step_ = step;
  }

  /// "interrupted at step 12 of 40; go on with: ..." where 12 is what was saved.
  void check_saved(const Ended& ended) const {
    const std::string expected = fmt::format("interrupted at step {} of ", step_);
    if (ended.err.find(expected) == std::string::npos) {
      throw Failure(fmt::format("last.h5 has step {}, but the run says: {}", step_, ended.err));
    }
  }

  Trial& trial_;
  const TrainedProgram& program_;
  const Undisturbed& undisturbed_;
  fs::path folder_;
  int64_t step_ = 0;
};

}  // namespace

void kill_run(Trial& trial, TrainedProgram& program) { KilledRun(trial, program, program.undisturbed(trial)).go(); }

}  // namespace attune::torture
