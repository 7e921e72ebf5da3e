#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "examples/sentiment/classify.h"

namespace attune::examples {

/// How tokens are made to stand out.
enum class Shading : uint8_t {
  kMarks,        ///< [[most]] and [much] attention, for plain text
  kColours256,   ///< backgrounds from the palette of 256 colours
  kColours24Bit  ///< backgrounds of any colour
};

/// What suits a stream: colours on a terminal, unless NO_COLOR is set; 24-bit ones where COLORTERM promises them.
Shading shading_for(std::FILE* out);

/// The tokens joined by spaces, each shaded by its attention relative to the largest: green for a positive text, red
/// for a negative one.
std::string shade(const Prediction& prediction, Shading shading);

}  // namespace attune::examples
