#include "examples/gradcheck/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <stdexcept>

#include "examples/support/program.h"
#include "framework/edit_distance.h"

namespace attune::examples {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const OptionValue& value) {
  return std::visit([](const auto& v) { return Json(v); }, value);
}

/// Of the type of the default; a whole number is also a number.
bool convert(const Json& json, const OptionRow& row, OptionValue& value) {
  if (std::holds_alternative<bool>(row.initial)) {
    if (!json.is_boolean()) return false;
    value = json.get<bool>();
  } else if (std::holds_alternative<int64_t>(row.initial)) {
    if (!json.is_number_integer()) return false;
    value = json.get<int64_t>();
  } else if (std::holds_alternative<double>(row.initial)) {
    if (!json.is_number()) return false;
    value = json.get<double>();
  } else {
    if (!json.is_string()) return false;
    value = json.get<std::string>();
    return std::find(row.choices.begin(), row.choices.end(), value) != row.choices.end();
  }
  return true;
}

std::string expected(const OptionRow& row) {
  if (std::holds_alternative<bool>(row.initial)) return "true or false";
  if (std::holds_alternative<int64_t>(row.initial)) return "a whole number";
  if (std::holds_alternative<double>(row.initial)) return "a number";
  std::vector<std::string> texts;
  for (const OptionValue& choice : row.choices) texts.push_back(std::get<std::string>(choice));
  return fmt::format("one of {}", fmt::join(texts, ", "));
}

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace

Options::Options(const std::vector<OptionRow>& rows) {
  for (const OptionRow& row : rows) values_.emplace_back(row.name, row.initial);
}

size_t Options::index(std::string_view name) const {
  const auto found = std::find_if(values_.begin(), values_.end(), [&](const auto& v) { return v.first == name; });
  if (found == values_.end()) throw std::logic_error(fmt::format("Options: no option '{}'", name));
  return static_cast<size_t>(found - values_.begin());
}

void Options::set(std::string_view name, OptionValue value) { values_[index(name)].second = std::move(value); }

std::string Options::json() const {
  Json json = Json::object();
  for (const auto& [name, value] : values_) json[name] = to_json(value);
  return dump(json);
}

Options parse_options(const std::string& who, const std::vector<OptionRow>& rows, std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object()) {
    throw UsageError(fmt::format("{}: {} is not a JSON object such as {}", who, text, Options(rows).json()));
  }
  Options options(rows);
  std::vector<std::string> names;
  for (const OptionRow& row : rows) names.push_back(row.name);
  for (const auto& [name, value] : json.items()) {
    const auto row = std::find_if(rows.begin(), rows.end(), [&n = name](const OptionRow& r) { return r.name == n; });
    if (row == rows.end()) {
      if (names.empty()) throw UsageError(fmt::format("{}: unknown option '{}', there are none", who, name));
      throw UsageError(fmt::format("{}: unknown option '{}', the nearest is '{}' (of {})", who, name,
                                   nearest(name, names), fmt::join(names, ", ")));
    }
    OptionValue converted;
    if (!convert(value, *row, converted)) {
      throw UsageError(fmt::format("{}: {} is {}, expected {}", who, name, dump(value), expected(*row)));
    }
    options.set(name, std::move(converted));
  }
  return options;
}

std::string nearest(std::string_view name, const std::vector<std::string>& candidates) {
  return *std::min_element(candidates.begin(), candidates.end(), [&](const std::string& a, const std::string& b) {
    return edit_distance(name, a) < edit_distance(name, b);
  });
}

}  // namespace attune::examples
