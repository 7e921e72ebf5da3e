#include "tests/torture/campaign.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <exception>
#include <limits>
#include <thread>
#include <utility>

#include "examples/support/program.h"
#include "examples/support/table.h"

namespace attune::torture {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kReportedAlike = 2;  // failures of one subject and text that are kept and shown
constexpr size_t kShownLines = 4;      // of what was done; all of it is in the folder

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

std::string file_name(std::string text) {
  std::replace(text.begin(), text.end(), '/', '-');
  return text;
}

/// The text without what differs from trial to trial: numbers and paths.
std::string kind_of(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (std::isdigit(static_cast<unsigned char>(text[i])) != 0) {
      if (out.empty() || out.back() != '#') out += '#';
    } else if (text[i] == '/' && (i == 0 || text[i - 1] == ' ')) {
      while (i + 1 < text.size() && text[i + 1] != ' ' && text[i + 1] != ':') ++i;
      out += "PATH";
    } else {
      out += text[i];
    }
  }
  return out.substr(0, 80);
}

}  // namespace

Trial::Trial(const CampaignOptions& options, Clock::time_point deadline, std::string name, uint64_t seed)
    : options_(options),
      deadline_(deadline),
      name_(std::move(name)),
      dice_(seed),
      folder_(options.out / file_name(name_)) {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
  fs::create_directories(folder_);
}

Child Trial::start(const Command& command) {
  note(command.to_string());
  return Child(command, folder_, deadline_);
}

Campaign::Campaign(CampaignOptions options, std::vector<Subject> subjects)
    : options_(std::move(options)), subjects_(std::move(subjects)), shares_(subjects_.size()) {}

int Campaign::run() {
  begin_ = shown_ = Clock::now();
  deadline_ =
      begin_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(60 * options_.minutes));
  if (!options_.repeat.empty()) {
    deadline_ = begin_ + std::chrono::hours(24);
    const size_t slash = options_.repeat.rfind('/');
    const std::string subject = options_.repeat.substr(0, slash);
    const auto found =
        std::find_if(subjects_.begin(), subjects_.end(), [&](const Subject& one) { return one.name() == subject; });
    uint64_t number = 0;
    if (found == subjects_.end() || std::sscanf(options_.repeat.c_str() + slash + 1, "%lu", &number) != 1) {
      throw examples::UsageError(fmt::format("--repeat {} names no trial such as {}/0", options_.repeat,
                                             subjects_.empty() ? "" : subjects_.front().name()));
    }
    try_once(static_cast<size_t>(found - subjects_.begin()), number);
  } else {
    std::vector<std::thread> workers;
    for (int i = 0; i < options_.jobs; ++i) workers.emplace_back([this] { work(); });
    for (std::thread& worker : workers) worker.join();
  }
  show_progress();
  std::fputc('\n', stderr);
  fmt::print("{}\n", table());
  print_failures();
  int64_t passed = 0;
  int64_t failed = 0;
  for (const Share& share : shares_) {
    passed += share.passed;
    failed += share.failed;
  }
  fmt::print("{} passed, {} failed\n", passed, failed);
  if (failed == 0) {
    std::error_code ignored;
    fs::remove_all(options_.out, ignored);
  }
  return failed == 0 && passed > 0 ? 0 : 1;
}

void Campaign::work() {
  while (Clock::now() < deadline_) {
    size_t subject = 0;
    uint64_t number = 0;
    {
      const std::lock_guard lock(mutex_);
      subject = most_behind();
      if (shares_[subject].next >= options_.trials) return;  // so do all the others
      number = shares_[subject].next++;
      ++shares_[subject].running;
    }
    try_once(subject, number);
  }
}

/// Of those that may be tried again. A trial that is running counts as long as the average one, so that workers begin
/// with different subjects.
size_t Campaign::most_behind() const {
  double seconds = 0;
  double trials = 0;
  for (const Share& share : shares_) {
    seconds += share.seconds;
    trials += static_cast<double>(share.passed + share.failed);
  }
  const double average = trials > 0 ? seconds / trials : 1;
  size_t best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < shares_.size(); ++i) {
    const double spent = shares_[i].seconds + average * shares_[i].running;
    const bool may = shares_[i].next < options_.trials;
    if ((may && spent < least) || (may && shares_[best].next >= options_.trials)) {
      least = spent;
      best = i;
    }
  }
  return best;
}

void Campaign::try_once(size_t subject, uint64_t number) {
  const Subject& what = subjects_[subject];
  const Clock::time_point begin = Clock::now();
  Trial trial(options_, deadline_, fmt::format("{}/{}", what.name(), number),
              trial_seed(options_.seed, what.name(), number));
  std::optional<std::string> failure;
  try {
    what.attempt(trial);
  } catch (const Failure& error) {
    failure = error.what();
  } catch (const Expired&) {
    std::error_code ignored;
    fs::remove_all(trial.folder(), ignored);
    return;
  } catch (const std::exception& error) {
    failure = fmt::format("the trial itself: {}", error.what());
  }
  finished(subject, trial, seconds_since(begin), failure);
}

void Campaign::finished(size_t subject, const Trial& trial, double seconds, const std::optional<std::string>& failure) {
  const std::lock_guard lock(mutex_);
  Share& share = shares_[subject];
  share.seconds += seconds;
  --share.running;
  ++(failure ? share.failed : share.passed);
  const std::string name = subjects_[subject].name();
  for (const auto& [what, outcome] : trial.counts()) {
    Row& row = rows_[{name, what}];
    ++row.tries;
    ++row.outcomes[outcome];
  }
  bool kept = false;
  if (failure) {
    const std::string what = trial.counts().empty() ? "begin" : trial.counts().back().first;
    Row& row = rows_[{name, what}];
    if (trial.counts().empty()) ++row.tries;
    ++row.failures;
    kept = ++alike_[name + ": " + kind_of(*failure)] <= kReportedAlike;
    if (kept) {
      reports_.push_back({trial.name(), *failure, trial.history(), trial.folder()});
      write_bytes(trial.folder() / "history", fmt::format("{}\n{}\n", fmt::join(trial.history(), "\n"), *failure));
    }
  }
  if (!kept) {
    std::error_code ignored;
    fs::remove_all(trial.folder(), ignored);
  }
  if (seconds_since(shown_) > (isatty(STDERR_FILENO) != 0 ? 0.5 : 30)) show_progress();
}

void Campaign::show_progress() {
  shown_ = Clock::now();
  int64_t passed = 0;
  int64_t failed = 0;
  for (const Share& share : shares_) {
    passed += share.passed;
    failed += share.failed;
  }
  fmt::print(stderr, "{}{} of {} | {} passed, {} failed{}", isatty(STDERR_FILENO) != 0 ? "\r" : "",
             examples::readable_time(seconds_since(begin_)), examples::readable_time(60 * options_.minutes), passed,
             failed, isatty(STDERR_FILENO) != 0 ? "" : "\n");
}

std::string Campaign::table() const {
  using examples::Table;
  Table out({{"subject"}, {"what"}, {"tries", Table::Align::kRight}, {"failures", Table::Align::kRight}, {"outcomes"}});
  for (const auto& [key, row] : rows_) {
    Words outcomes;
    for (const auto& [outcome, count] : row.outcomes) outcomes.push_back(fmt::format("{} {}", count, outcome));
    out.add({key.first, key.second, examples::with_commas(row.tries), examples::with_commas(row.failures),
             fmt::format("{}", fmt::join(outcomes, ", "))});
  }
  return out.to_string();
}

std::string Campaign::repeat_command(const std::string& trial) const {
  return fmt::format("attune-torture --programs {} --seed {} --repeat {}", options_.programs.string(), options_.seed,
                     trial);
}

void Campaign::print_failures() const {
  for (const Report& report : reports_) {
    fmt::print("failed: {}: {}\n", report.trial, examples::one_line(report.text));
    const size_t count = report.history.size();
    for (size_t i = count - std::min(kShownLines, count); i < count; ++i) {
      fmt::print("  {}\n", examples::one_line(report.history[i]));
    }
    fmt::print("  again: {}\n  files: {}\n", repeat_command(report.trial), report.folder.string());
  }
  for (const auto& [kind, count] : alike_) {
    if (count > kReportedAlike) fmt::print("{} times in all: {}\n", count, examples::one_line(kind));
  }
}

}  // namespace attune::torture
