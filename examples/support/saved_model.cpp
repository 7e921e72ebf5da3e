#include "examples/support/saved_model.h"

#include "examples/support/table.h"
#include "framework/allocation_limit.h"
#include "framework/fail.h"
#include "layers/init.h"

namespace attune::examples {
namespace {

/// Besides the weights: what they are drawn from on the way, and the tables that the configuration determines.
constexpr size_t kTableBytes = size_t{1} << 28;
constexpr size_t kDraws = 3;
/// The same for tensors, which cost time and memory even where they are small.
constexpr size_t kTableCount = size_t{1} << 14;
constexpr size_t kDrawCount = 8;

}  // namespace

void build_saved_model(const Checkpoint& checkpoint, const std::string& path, const std::function<void()>& make) {
  int64_t weights = 0;
  size_t count = 0;
  for (const auto& entry : checkpoint.entries()) {
    if (!entry.path.starts_with("model/")) continue;
    weights += entry.bytes();
    ++count;
  }
  const AllocationLimit limit(
      kTableBytes + kDraws * static_cast<size_t>(weights), kTableCount + kDrawCount * count,
      fmt::format("{}: its weights are not those of its configuration: {} are there, far too few for the model", path,
                  readable_bytes(weights)));
  const init::SkipInit skip;
  try {
    make();
  } catch (const FormatError&) {
    throw;
  } catch (const Error& error) {
    fail<FormatError>("{}: {}", path, error.what());
  }
}

}  // namespace attune::examples
