#include "examples/support/settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "examples/support/program.h"
#include "framework/checkpoint.h"
#include "framework/fail.h"
#include "framework/json_text.h"
#include "framework/text.h"

namespace attune::examples {
namespace {

using Json = nlohmann::ordered_json;

/// No more of a value or a name than a message has room for.
constexpr size_t kShownBytes = 60;
/// Of a configuration: what is larger is something else.
constexpr size_t kMaxBytes = size_t{1} << 20;

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json value_of(const Setting& setting) {
  return std::visit([](const auto& kind) { return Json(*kind.value); }, setting.kind);
}

bool takes(const WholeSetting& to, const Json& json) {
  return json.is_number_integer() && json >= to.low && json <= to.high;
}
bool takes(const SeedSetting& /*to*/, const Json& json) { return json.is_number_integer() && json >= 0; }
bool takes(const NumberSetting& to, const Json& json) {
  return json.is_number() && json.get<double>() >= to.low && json.get<double>() < to.high;
}
bool takes(const SwitchSetting& /*to*/, const Json& json) { return json.is_boolean(); }
bool takes(const TextSetting& to, const Json& json) {
  if (!json.is_string()) return false;
  return to.choices.empty() ||
         std::find(to.choices.begin(), to.choices.end(), json.get<std::string>()) != to.choices.end();
}

std::string expected(const WholeSetting& to) { return fmt::format("a whole number from {} to {}", to.low, to.high); }
std::string expected(const SeedSetting& /*to*/) { return "a whole number of at least 0"; }
std::string expected(const NumberSetting& to) {
  if (std::isinf(to.high)) return fmt::format("a number of at least {}", to.low);
  return fmt::format("a number from {} to below {}", to.low, to.high);
}
std::string expected(const SwitchSetting& /*to*/) { return "true or false"; }
std::string expected(const TextSetting& to) {
  return to.choices.empty() ? "a text" : fmt::format("one of {}", fmt::join(to.choices, ", "));
}

std::string unknown(const std::vector<Setting>& settings, const std::string& key) {
  const std::string section = key.substr(0, key.find('.'));
  std::vector<std::string> there;
  for (const Setting& setting : settings) {
    if (setting.section == section) there.push_back(setting.key());
  }
  if (there.empty()) {
    for (const Setting& setting : settings) {
      const std::string name = fmt::format("{}.*", setting.section);
      if (there.empty() || there.back() != name) there.push_back(name);
    }
  }
  return fmt::format("unknown setting '{}', expected one of {}", shown(key, kShownBytes), fmt::join(there, ", "));
}

/// A value that was looked at and can be taken.
struct Assignment {
  const Setting* setting;
  Json value;

  void run() const {
    std::visit([&](const auto& kind) { value.get_to(*kind.value); }, setting->kind);
  }
};

/// Adds to `assignments` or says what is wrong.
std::string look_at(const std::vector<Setting>& settings, const std::string& key, const Json& value,
                    std::vector<Assignment>& assignments) {
  const auto found = std::find_if(settings.begin(), settings.end(), [&](const Setting& s) { return s.key() == key; });
  if (found == settings.end()) return unknown(settings, key);
  return std::visit(
      [&](const auto& kind) {
        if (!takes(kind, value)) {
          return fmt::format("{} is {}, expected {}", key, shown(dump(value), kShownBytes), expected(kind));
        }
        assignments.push_back({&*found, value});
        return std::string();
      },
      found->kind);
}

}  // namespace

std::string Setting::key() const { return fmt::format("{}.{}", section, name); }

std::string Settings::to_json() const {
  Json json = {{"program", program_}};
  for (const Setting& setting : settings_) json[setting.section][setting.name] = value_of(setting);
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

void Settings::update_from_json(std::string_view text, const std::string& origin) {
  require<FormatError>(text.size() <= kMaxBytes, "{}: more than {} bytes, which no configuration has", origin,
                       kMaxBytes);
  require_json(text, origin, R"(an object such as {"model": {"dim": 128}})");
  const Json json = Json::parse(text);
  require<FormatError>(json.is_object(), "{}: {} given, expected an object such as {{\"model\": {{\"dim\": 128}}}}",
                       origin, json.type_name());
  std::vector<Assignment> assignments;
  for (const auto& [section, values] : json.items()) {
    if (section == "program") {
      require<FormatError>(values.is_string() && values.get<std::string>() == program_,
                           "{}: made by program {}, expected {}", origin, shown(dump(values), kShownBytes), program_);
      continue;
    }
    require<FormatError>(values.is_object(), "{}: {} is {}, expected an object of settings", origin,
                         shown(section, kShownBytes), shown(dump(values), kShownBytes));
    for (const auto& [name, value] : values.items()) {
      const std::string problem = look_at(settings_, fmt::format("{}.{}", section, name), value, assignments);
      require<FormatError>(problem.empty(), "{}: {}", origin, problem);
    }
  }
  for (const Assignment& assignment : assignments) assignment.run();
}

void Settings::update_from_file(const std::string& path) {
  std::error_code error;
  const bool folder = std::filesystem::is_directory(path, error);
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxBytes + 1, '\0');  // some files never end
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  require<IoError>(!folder && file.is_open() && !file.bad(), "{}: cannot be read: {}", path,
                   folder ? "a folder" : std::generic_category().message(errno));
  update_from_json(text, path);
}

void Settings::update_from_checkpoint(const Checkpoint& checkpoint, const std::string& path) {
  require<FormatError>(checkpoint.contains("config"), "{}: a checkpoint without configuration, expected one of {}",
                       path, program_);
  update_from_json(checkpoint.text("config"), path);
}

void Settings::update_from_setting(const std::string& setting) {
  const size_t equals = setting.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw UsageError(fmt::format("--set {}: expected key=value, as in model.dim=64", shown(setting, kShownBytes)));
  }
  const std::string text = setting.substr(equals + 1);
  const Json value = is_json(text) ? Json::parse(text) : Json(text);
  std::vector<Assignment> assignments;
  const std::string problem = look_at(settings_, setting.substr(0, equals), value, assignments);
  if (!problem.empty()) throw UsageError(fmt::format("--set {}: {}", shown(setting, kShownBytes), problem));
  assignments.front().run();
}

std::vector<std::pair<std::string, std::string>> Settings::values() const {
  std::vector<std::pair<std::string, std::string>> values;
  for (const Setting& setting : settings_) values.emplace_back(setting.key(), dump(value_of(setting)));
  return values;
}

std::string settings_help(const Settings& settings, const std::string& preset) {
  std::string text = fmt::format("Settings for --set and --config, with their values in preset '{}':\n", preset);
  for (const auto& [key, value] : settings.values()) {
    if (!key.starts_with("run.")) text += fmt::format("  {:32} {}\n", key, value);
  }
  return text;
}

void require_same_settings(const Settings& requested, const Settings& saved, const std::string& out) {
  const auto wanted = requested.values();
  const auto kept = saved.values();
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i].second == kept[i].second) continue;
    throw UsageError(fmt::format("--resume: {} is {} here but {} in the run of {}; leave it out to go on with that run",
                                 wanted[i].first, wanted[i].second, kept[i].second, out));
  }
}

}  // namespace attune::examples
