#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <utility>
#include <vector>

#include "framework/checkpoint.h"

namespace attune::examples {

/// The configuration of a checkpoint; discarded where the text is not JSON, deeply nested or larger than any
/// configuration.
nlohmann::ordered_json configuration_json(const std::string& text);

/// The settings of a checkpoint under dotted keys, values as JSON; one that is none under the key "config".
std::vector<std::pair<std::string, std::string>> settings(const Checkpoint& checkpoint);

/// How two checkpoints differ.
struct Difference {
  struct Setting {
    std::string key;
    std::string a, b;  ///< JSON; empty where it is missing
  };
  struct Change {
    std::string path;
    std::string a, b;         ///< what each is: "float32 [2, 3]", "text", "list of 7"
    int64_t elements = 0;     ///< that differ
    double largest = 0;       ///< absolute difference; NaN when one of them is NaN and the other is not
    bool comparable = false;  ///< tensors of equal dtype and shape: the two above have a meaning
  };
  std::vector<Setting> settings;
  std::vector<std::string> only_a, only_b;
  std::vector<Change> changes;

  bool none() const { return settings.empty() && only_a.empty() && only_b.empty() && changes.empty(); }
};

/// Equal means bitwise equal.
Difference compare(const Checkpoint& a, const Checkpoint& b);

}  // namespace attune::examples
