#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace attune::examples {

using OptionValue = std::variant<bool, int64_t, double, std::string>;

/// An option of a layer as the catalogue knows it.
struct OptionRow {
  std::string name;
  OptionValue initial;               ///< the default, and the type
  std::vector<OptionValue> choices;  ///< what random draws pick from; nothing else is taken for texts
};

/// Values of a row's options.
class Options {
 public:
  Options() = default;
  /// The defaults.
  explicit Options(const std::vector<OptionRow>& rows);

  bool flag(std::string_view name) const { return std::get<bool>(at(name)); }
  int64_t whole(std::string_view name) const { return std::get<int64_t>(at(name)); }
  double number(std::string_view name) const { return std::get<double>(at(name)); }
  const std::string& text(std::string_view name) const { return std::get<std::string>(at(name)); }

  void set(std::string_view name, OptionValue value);
  const std::vector<std::pair<std::string, OptionValue>>& values() const { return values_; }

  /// {"bias":true,"heads":2}
  std::string json() const;

 private:
  size_t index(std::string_view name) const;
  const OptionValue& at(std::string_view name) const { return values_[index(name)].second; }

  std::vector<std::pair<std::string, OptionValue>> values_;
};

/// The defaults with what a JSON object mentions. Throws UsageError for text that is not JSON, unknown keys (naming the
/// nearest one), wrong types and texts that are none of the choices; messages begin with `who`.
Options parse_options(const std::string& who, const std::vector<OptionRow>& rows, std::string_view json);

/// The candidate that takes the fewest single-letter edits.
std::string nearest(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace attune::examples
