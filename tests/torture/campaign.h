#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tests/torture/child.h"
#include "tests/torture/dice.h"

namespace attune::torture {

/// What a campaign is asked for.
struct CampaignOptions {
  double minutes = 3;
  uint64_t trials = UINT64_MAX;  ///< of each subject, at most
  uint64_t seed = 1;
  int jobs = 1;                    ///< programs that run at a time
  std::filesystem::path programs;  ///< folder of attune-sentiment and the others
  std::filesystem::path injector;  ///< the library that makes system calls fail
  std::filesystem::path out;       ///< what failures leave is kept there
  Limits limits = {};              ///< of a program that is given a hostile file
  Limits training_limits = {.processor_seconds = 60, .idle_seconds = 30};
  std::string repeat;  ///< only this trial, such as "kills/sentiment/17"
};

/// What a program must not do, as one line for people.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// One try: everything in it is chosen by its dice. Throws away its folder unless it fails.
class Trial {
 public:
  Trial(const CampaignOptions& options, Clock::time_point deadline, std::string name, uint64_t seed);

  const CampaignOptions& options() const { return options_; }
  Dice& dice() { return dice_; }
  const std::string& name() const { return name_; }
  const std::filesystem::path& folder() const { return folder_; }
  std::string program(std::string_view name) const { return (options_.programs / name).string(); }

  /// Starts a program. Its command is part of what a failure says.
  Child start(const Command& command);
  Ended run(const Command& command, const Limits& limits) { return start(command).finish(limits); }
  /// Notes what is done, for the message of a failure.
  void note(std::string line) { history_.push_back(std::move(line)); }
  const Words& history() const { return history_; }

  /// A line of the final table: `what` was tried and ended so.
  void count(std::string what, std::string outcome) { counts_.emplace_back(std::move(what), std::move(outcome)); }
  const std::vector<std::pair<std::string, std::string>>& counts() const { return counts_; }

 private:
  const CampaignOptions& options_;
  Clock::time_point deadline_;
  std::string name_;
  Dice dice_;
  std::filesystem::path folder_;
  Words history_;
  std::vector<std::pair<std::string, std::string>> counts_;
};

/// Something that is tried again and again: "kills" of "sentiment".
struct Subject {
  std::string kind;
  std::string program;
  std::function<void(Trial&)> attempt;

  std::string name() const { return kind + '/' + program; }
};

/// Tries all subjects side by side until the time is over, each for an equal share of it.
class Campaign {
 public:
  Campaign(CampaignOptions options, std::vector<Subject> subjects);

  /// Shows progress on standard error and, at the end, a table, the failures and "N passed, N failed" on standard
  /// output. Returns the exit status: 1 where something failed or nothing was tried.
  int run();

 private:
  struct Share {
    double seconds = 0;  ///< spent
    int running = 0;     ///< trials
    uint64_t next = 0;   ///< number of the next trial
    int64_t passed = 0;
    int64_t failed = 0;
  };
  struct Row {
    int64_t tries = 0;
    std::map<std::string, int64_t> outcomes;
    int64_t failures = 0;
  };
  struct Report {
    std::string trial;
    std::string text;
    Words history;
    std::filesystem::path folder;
  };

  void work();
  size_t most_behind() const;
  void try_once(size_t subject, uint64_t number);
  void finished(size_t subject, const Trial& trial, double seconds, const std::optional<std::string>& failure);
  void show_progress();
  std::string table() const;
  std::string repeat_command(const std::string& trial) const;
  void print_failures() const;

  CampaignOptions options_;
  std::vector<Subject> subjects_;
  Clock::time_point begin_;
  Clock::time_point deadline_;

  std::mutex mutex_;  // of all that follows
  std::vector<Share> shares_;
  std::map<std::pair<std::string, std::string>, Row> rows_;  // by subject and what was tried
  std::vector<Report> reports_;                              // with folders, the first of each kind
  std::map<std::string, int64_t> alike_;                     // failures by subject and text
  Clock::time_point shown_;
};

}  // namespace attune::torture
