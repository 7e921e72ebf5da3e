#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "tests/torture/dice.h"

namespace attune::torture {

/// The bytes after an accident: flipped bits, other bytes, a cut, something doubled, left out or appended.
std::string damaged(Dice& dice, std::string bytes);

/// Changes up to `most` bytes near `at`.
void burst(Dice& dice, std::string& bytes, size_t at, size_t most);

/// A JSON text with one of its values, names or brackets made to harm.
std::string hostile_json(Dice& dice, const std::string& json);

/// One value as JSON has it, or not.
std::string hostile_value(Dice& dice);

/// A text in one line, harmless more often than not.
std::string hostile_line(Dice& dice);

/// Lines of a file that hold a hostile one here and there.
std::string hostile_lines(Dice& dice, int64_t count);

/// The bytes compressed by gzip; throws std::runtime_error.
std::string gzipped(const std::string& bytes);

}  // namespace attune::torture
