#pragma once

#include <cstddef>
#include <string_view>

namespace attune {

/// The fewest single bytes to insert, delete or replace that turn a into b (Levenshtein, 1966): for suggesting names.
size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace attune
