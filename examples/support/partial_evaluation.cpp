#include "examples/support/partial_evaluation.h"

#include <nlohmann/json.hpp>

#include <chrono>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "framework/atomic_file.h"

namespace attune::examples {
namespace {

using Clock = std::chrono::steady_clock;

/// Nothing where there is no such file or it is not one of ours.
PartialEvaluation::Json read(const std::filesystem::path& file) {
  constexpr uintmax_t kMost = uintmax_t{1} << 30;
  std::error_code error;
  if (std::filesystem::symlink_status(file, error).type() != std::filesystem::file_type::regular) return {};
  if (std::filesystem::file_size(file, error) > kMost || error) return {};
  std::ifstream in(file, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  PartialEvaluation::Json json = PartialEvaluation::Json::parse(text, nullptr, false);
  return json.is_object() && json.contains("parts") && json["parts"].is_object() ? json : PartialEvaluation::Json();
}

}  // namespace

struct PartialEvaluation::State {
  std::filesystem::path file;  // empty: nothing is kept
  Json header;
  Json parts = Json::object();
  std::string prefix;
  double save_every = 0;
  bool saved = true;
  Clock::time_point saved_at = Clock::now();
};

PartialEvaluation::PartialEvaluation() : state_(std::make_unique<State>()) {}
PartialEvaluation::~PartialEvaluation() = default;

void PartialEvaluation::begin(std::filesystem::path file, std::string run, int64_t step, double save_every) {
  *state_ = {.file = std::move(file),
             .header = {{"run", std::move(run)}, {"step", step}},
             .prefix = {},
             .save_every = save_every};
  Json before = read(state_->file);
  if (before.is_object() && before.contains("header") && before["header"] == state_->header) {
    state_->parts = std::move(before["parts"]);
  }
}

void PartialEvaluation::end() {
  if (state_->file.empty()) return;
  std::error_code error;
  std::filesystem::remove(state_->file, error);
  *state_ = State();
}

void PartialEvaluation::save() {
  if (state_->file.empty() || state_->saved) return;
  const Json json = {{"header", state_->header}, {"parts", state_->parts}};
  write_file_atomically(state_->file, json.dump(-1, ' ', false, Json::error_handler_t::replace));
  state_->saved = true;
  state_->saved_at = Clock::now();
}

void PartialEvaluation::set_prefix(const std::string& prefix) { state_->prefix = prefix; }

PartialEvaluation::Json PartialEvaluation::part(const std::string& name, const std::function<Json()>& compute) {
  if (state_->file.empty()) return compute();
  const std::string key = state_->prefix + name;
  if (const auto found = state_->parts.find(key); found != state_->parts.end()) return *found;
  const Json& kept = state_->parts[key] = compute();
  state_->saved = false;
  if (std::chrono::duration<double>(Clock::now() - state_->saved_at).count() >= state_->save_every) save();
  return kept;
}

}  // namespace attune::examples
