#pragma once

#include <optional>
#include <string>

namespace attune::examples {

/// The trained model that a new run begins with (--init), read once, and only where it is needed.
template <class Snapshot>
class Initial {
 public:
  explicit Initial(Snapshot (*load)(const std::string& path)) : load_(load) {}

  const Snapshot& operator()(const std::string& path) {
    if (!snapshot_) snapshot_.emplace(load_(path));
    return *snapshot_;
  }
  /// None for an empty path.
  const Snapshot* of(const std::string& path) { return path.empty() ? nullptr : &(*this)(path); }

 private:
  Snapshot (*load_)(const std::string& path);
  std::optional<Snapshot> snapshot_;
};

}  // namespace attune::examples
