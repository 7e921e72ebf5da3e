#pragma once

#include <cstdint>
#include <cstdio>
#include <span>
#include <string>

namespace attune::examples {

/// A token and what it got of the attention that is looked at.
struct ShadedToken {
  std::string text;
  double attention = 0;
};

/// How tokens are made to stand out.
enum class Shading : uint8_t {
  kMarks,        ///< [[most]] and [much] attention, for plain text
  kColours256,   ///< backgrounds from the palette of 256 colours
  kColours24Bit  ///< backgrounds of any colour
};

enum class Tone : uint8_t { kGreen, kRed, kBlue };

/// What suits a stream: colours on a terminal, unless NO_COLOR is set; 24-bit ones where COLORTERM promises them.
Shading shading_for(std::FILE* out);

/// The tokens joined by spaces, each shaded by its attention: from the least of them, not at all, to the most. Where
/// all got about the same, none stands out. Control characters are written as \n, \t, \x1b: a text cannot forge
/// colours.
std::string shade(std::span<const ShadedToken> tokens, Tone tone, Shading shading);

}  // namespace attune::examples
