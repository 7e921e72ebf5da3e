#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "examples/gradcheck/rows.h"
#include "layers/attention/core.h"

namespace attune::examples {

/// A variant of attention behind AttentionCore, and its C++ declaration, in which it is `layer`.
struct MadeCore {
  std::unique_ptr<AttentionCore> core;
  std::string declaration;
};

struct CoreRow {
  std::string name;
  std::string what;
  std::vector<OptionRow> options;
  std::function<MadeCore(const Options&, const Draw&)> make;
  std::vector<MaskPart> mask_parts = all_mask_parts();
  Coupling coupling = Coupling::kNone;
  bool grouped = true;  ///< heads may share keys: Hkv < H
  /// Whether keys have a width of their own, extent E.
  std::function<bool(const Options&)> separate_keys = [](const Options&) { return false; };
  bool equal_lengths = false;  ///< T = S
  bool equal_widths = false;   ///< Kv = K
  std::vector<ExtentRow> more_extents{};
  std::function<bool(const Options&)> chooses = [](const Options&) { return false; };
};

/// A row of the catalogue: q, k, v and a mask go through the core; weights, asked for by the option `weights`, count as
/// an output. Extents: B T S, H query heads, K their width, E that of the keys and V that of the values; with G = 2 two
/// query heads share a key head.
LayerRow core_row(CoreRow row);

}  // namespace attune::examples
