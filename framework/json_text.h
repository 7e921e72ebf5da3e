#pragma once

// For .cpp files only: what is looked at before nlohmann::json parses a text from a file or a command line. Its parser
// takes any depth, and what walks through the result then takes as much stack.

#include <cstddef>
#include <string>
#include <string_view>

namespace attune {

/// Of lists and objects inside each other.
inline constexpr size_t kMaxJsonDepth = 64;

/// Throws FormatError "ORIGIN: line 3: not JSON, expected EXPECTED" unless `text` is one JSON value that nlohmann::json
/// can hold, not nested deeper than kMaxJsonDepth.
void require_json(std::string_view text, const std::string& origin, std::string_view expected);
bool is_json(std::string_view text);

}  // namespace attune
