#include "tests/torture/run_folder.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <mutex>
#include <set>
#include <sstream>

#include "framework/error.h"

namespace attune::torture {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLongestError = 4000;  // bytes of a message: it quotes, it does not copy

std::mutex hdf5_mutex;

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

/// A few characters of what a program said, for a message.
std::string beginning(const std::string& text) {
  return text.size() <= 600 ? text : text.substr(0, 400) + " ... " + text.substr(text.size() - 200);
}

bool is_control(char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7f; }

}  // namespace

Checkpoint load_checkpoint(const fs::path& path) {
  const std::lock_guard lock(hdf5_mutex);
  try {
    return Checkpoint::load(path.string());
  } catch (const Error& error) {
    throw Failure(fmt::format("damaged checkpoint: {}", error.what()));
  }
}

void save_checkpoint(const Checkpoint& checkpoint, const fs::path& path) {
  const std::lock_guard lock(hdf5_mutex);
  checkpoint.save(path.string());
}

std::optional<int64_t> saved_step(const fs::path& run) {
  if (!fs::exists(run / "last.h5")) return {};
  const Checkpoint checkpoint = load_checkpoint(run / "last.h5");
  return nlohmann::json::parse(checkpoint.text("state/progress")).at("step").get<int64_t>();
}

void check_whole(const fs::path& run, const fs::path& undisturbed) {
  for (const char* name : {"last.h5", "best.h5"}) {
    if (fs::exists(run / name)) load_checkpoint(run / name);
  }
  std::istringstream log(bytes_of(run / "log.jsonl"));
  for (std::string line; std::getline(log, line);) {
    if (!nlohmann::json::accept(line)) throw Failure(fmt::format("log.jsonl holds a line that is not JSON: {}", line));
  }
  if (!fs::exists(run / "config.json")) return;
  auto own = nlohmann::json::parse(bytes_of(run / "config.json"));
  auto expected = nlohmann::json::parse(bytes_of(undisturbed / "config.json"));
  // The steps are planned once the data are read; until then the folder holds what was asked for.
  if (own.at("run").at("steps") == 0 && !fs::exists(run / "last.h5")) expected["run"]["steps"] = 0;
  if (own != expected) {
    throw Failure("config.json is not that of the run that was begun: another one is trained");
  }
}

void check_equal(const fs::path& run, const fs::path& undisturbed, bool nothing_else) {
  for (const char* name : {"config.json", "log.jsonl", "last.h5", "best.h5"}) {
    if (!fs::exists(run / name)) throw Failure(fmt::format("{} is missing after the run has ended", name));
    if (bytes_of(run / name) != bytes_of(undisturbed / name)) {
      throw Failure(
          fmt::format("{} is not byte for byte that of the undisturbed run in {}", name, undisturbed.string()));
    }
  }
  const std::set<std::string> names = names_in(run);
  if (nothing_else && names != names_in(undisturbed))
    throw Failure(fmt::format("files left behind: {}", fmt::join(names, ", ")));
}

void check_answer(const Ended& ended) {
  for (const char* report : {"Sanitizer", "runtime error:"}) {
    if (ended.err.find(report) != std::string::npos) throw Failure("sanitizer: " + beginning(ended.err));
  }
  if (!ended.limit.empty()) throw Failure("went beyond its limits: " + ended.limit);
  if (ended.trains) return;
  if (ended.signal != 0) {
    throw Failure(fmt::format("killed by signal {}: {}", ended.signal, beginning(ended.err)));
  }
  if (ended.status == 0) {
    if (ended.err.find("error: ") == 0) throw Failure("exit 0 with an error: " + beginning(ended.err));
    return;
  }
  if (ended.status != 1 && ended.status != 2) {
    throw Failure(fmt::format("exit {}, expected 0, 1 or 2: {}", ended.status, beginning(ended.err)));
  }
  const bool began = ended.err.find(" parameters; ") != std::string::npos;
  std::istringstream lines(ended.err);
  int errors = 0;
  int others = 0;
  std::string last;
  for (std::string line; std::getline(lines, line);) {
    last = line;
    ++(line.starts_with("error: ") ? errors : others);
  }
  if (errors != 1 || !last.starts_with("error: ") || (others > 0 && !began)) {
    throw Failure(fmt::format("exit {} with {} lines of error and {} others, expected one line: {}", ended.status,
                              errors, others, beginning(ended.err)));
  }
  if (last.size() > kLongestError) throw Failure(fmt::format("a message of {} bytes", last.size()));
  if (std::any_of(last.begin(), last.end(), is_control)) throw Failure("control characters in a message: " + last);
}

std::string outcome_of(const Ended& ended) {
  if (!ended.limit.empty()) return "beyond limits";
  if (ended.trains) return "trains";
  return ended.signal != 0 ? fmt::format("signal {}", ended.signal) : fmt::format("exit {}", ended.status);
}

}  // namespace attune::torture
