#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace attune {
class Checkpoint;
}

namespace attune::examples {

/// Where a setting is kept and what it may be.
struct WholeSetting {
  int64_t* value;
  int64_t low;
  int64_t high = 1 << 30;
};
struct SeedSetting {
  uint64_t* value;
};
/// low <= value < high
struct NumberSetting {
  double* value;
  double low;
  double high = std::numeric_limits<double>::infinity();
};
struct SwitchSetting {
  bool* value;
};
/// One of the choices; anything where there are none.
struct TextSetting {
  std::string* value;
  std::vector<std::string> choices{};
};

struct Setting {
  const char* section;
  const char* name;
  std::variant<WholeSetting, SeedSetting, NumberSetting, SwitchSetting, TextSetting> kind;

  /// "model.dim"
  std::string key() const;
};

/// The settings of a program that lie in a struct of its own: as JSON, from JSON, and one by one from command lines.
/// Refers to that struct.
class Settings {
 public:
  /// program: its name, which the JSON carries.
  Settings(const char* program, std::vector<Setting> settings) : program_(program), settings_(std::move(settings)) {}

  /// Indented JSON, ended by a newline.
  std::string to_json() const;

  // Each sets what is mentioned, the rest stays; nothing is changed where it throws.

  /// From a JSON object. Throws FormatError that begins with `origin` for text that is not JSON (with its line),
  /// unknown keys, wrong types and values out of range, and settings of another program.
  void update_from_json(std::string_view json, const std::string& origin);
  /// The same from a file; also throws IoError.
  void update_from_file(const std::string& path);
  /// The entry "config" of a checkpoint, which was read from `path`.
  void update_from_checkpoint(const Checkpoint& checkpoint, const std::string& path);
  /// One "key=value", as in model.dim=64. Throws UsageError.
  void update_from_setting(const std::string& setting);

  /// All keys with their values.
  std::vector<std::pair<std::string, std::string>> values() const;

 private:
  const char* program_;
  std::vector<Setting> settings_;
};

/// The configuration of a checkpoint, which was read from `path`. Throws FormatError that begins with it. Config: as
/// for requested_config().
template <class Config>
Config saved_config(const Checkpoint& checkpoint, const std::string& path) {
  Config config;
  settings_of(config).update_from_checkpoint(checkpoint, path);
  check(config, path);
  return config;
}

/// What --help says: the keys and values but those of section "run".
std::string settings_help(const Settings& settings, const std::string& preset);

/// Throws UsageError naming the first setting in which a run that is to be resumed in folder `out` would be another
/// one.
void require_same_settings(const Settings& requested, const Settings& saved, const std::string& out);

}  // namespace attune::examples
