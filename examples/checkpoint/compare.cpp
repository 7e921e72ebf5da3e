#include "examples/checkpoint/compare.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "framework/json_text.h"

namespace attune::examples {
namespace {

constexpr const char* kConfig = "config";

std::string describe(const Checkpoint::Entry& entry) {
  if (std::holds_alternative<std::string>(entry.value)) return "text";
  const auto shape = entry.shape();
  if (std::holds_alternative<Tensor>(entry.value)) return fmt::format("{} [{}]", entry.dtype(), fmt::join(shape, ", "));
  return fmt::format("list of {}", shape[0]);
}

/// The absolute difference of one element; 0 where both are NaN or the same infinity.
double distance(double a, double b) {
  if (a == b || (std::isnan(a) && std::isnan(b))) return 0;
  return std::abs(a - b);
}

/// Fills in how two tensors of equal dtype and shape differ.
void measure(const Tensor& a, const Tensor& b, Difference::Change& change) {
  change.comparable = true;
  const auto size = static_cast<int64_t>(dtype_size(a.dtype()));
  for (int64_t i = 0; i < a.numel(); ++i) {
    change.elements += std::memcmp(a.raw() + i * size, b.raw() + i * size, static_cast<size_t>(size)) != 0;
  }
  const auto x = a.to(DType::kFloat64).to_vector<double>();
  const auto y = b.to(DType::kFloat64).to_vector<double>();
  for (size_t i = 0; i < x.size(); ++i) {
    const double each = distance(x[i], y[i]);
    if (std::isnan(each)) {
      change.largest = each;
      return;
    }
    change.largest = std::max(change.largest, each);
  }
}

bool same_text(const Checkpoint::Value& a, const Checkpoint::Value& b) {
  if (a.index() != b.index() || std::holds_alternative<Tensor>(a)) return false;
  if (const auto* text = std::get_if<std::string>(&a)) return *text == std::get<std::string>(b);
  return std::get<std::vector<std::string>>(a) == std::get<std::vector<std::string>>(b);
}

void compare_entries(const Checkpoint::Entry& a, const Checkpoint::Entry& b, Difference& difference) {
  if (same_text(a.value, b.value)) return;
  Difference::Change change{.path = a.path, .a = describe(a), .b = describe(b)};
  const auto* x = std::get_if<Tensor>(&a.value);
  const auto* y = std::get_if<Tensor>(&b.value);
  if (x != nullptr && y != nullptr && x->dtype() == y->dtype() && x->shape() == y->shape()) {
    measure(*x, *y, change);
    if (change.elements == 0) return;
  }
  difference.changes.push_back(std::move(change));
}

void compare_settings(const Checkpoint& a, const Checkpoint& b, Difference& difference) {
  std::map<std::string, Difference::Setting> merged;
  for (const auto& [key, value] : settings(a)) merged[key].a = value;
  for (const auto& [key, value] : settings(b)) merged[key].b = value;
  for (auto& [key, setting] : merged) {
    if (setting.a != setting.b) difference.settings.push_back({key, setting.a, setting.b});
  }
}

}  // namespace

nlohmann::ordered_json configuration_json(const std::string& text) {
  constexpr size_t kMaxBytes = size_t{1} << 20;
  if (text.size() > kMaxBytes || !is_json(text)) return nlohmann::ordered_json::value_t::discarded;
  return nlohmann::ordered_json::parse(text);
}

std::vector<std::pair<std::string, std::string>> settings(const Checkpoint& checkpoint) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [path, value] : checkpoint.entries()) {
    const auto* text = std::get_if<std::string>(&value);
    if (path != kConfig || text == nullptr) continue;
    const auto ordered = configuration_json(*text);
    if (!ordered.is_object() || ordered.empty()) return {{kConfig, *text}};
    const auto flat = nlohmann::json(ordered).flatten();
    for (const auto& [pointer, setting] : flat.items()) {
      std::string key = pointer.substr(1);
      std::replace(key.begin(), key.end(), '/', '.');
      out.emplace_back(std::move(key), setting.dump());
    }
  }
  return out;
}

Difference compare(const Checkpoint& a, const Checkpoint& b) {
  Difference difference;
  compare_settings(a, b, difference);
  std::map<std::string, const Checkpoint::Entry*> others;
  for (const auto& entry : b.entries()) others[entry.path] = &entry;
  for (const auto& entry : a.entries()) {
    const auto other = others.find(entry.path);
    if (other == others.end()) {
      difference.only_a.push_back(entry.path);
      continue;
    }
    if (entry.path != kConfig) compare_entries(entry, *other->second, difference);
    others.erase(other);
  }
  for (const auto& entry : b.entries()) {
    if (others.contains(entry.path)) difference.only_b.push_back(entry.path);
  }
  return difference;
}

}  // namespace attune::examples
