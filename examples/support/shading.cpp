#include "examples/support/shading.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "examples/support/program.h"

namespace attune::examples {
namespace {

/// A background by level of strength in the palette of 256 colours, and for 24 bits the share of each part of the
/// colour.
struct Palette {
  std::array<int, 5> steps;
  double red, green, blue;
};

constexpr Palette kPalettes[] = {
    {{0, 22, 28, 34, 40}, 0, 1, 0.25},    // Tone::kGreen
    {{0, 52, 88, 124, 160}, 1, 0, 0.25},  // Tone::kRed
    {{0, 17, 18, 20, 27}, 0.1, 0.4, 1},   // Tone::kBlue
};
constexpr const char* kReset = "\x1b[0m";

std::string marked(const std::string& token, double strength) {
  if (strength >= 2.0 / 3) return fmt::format("[[{}]]", token);
  return strength >= 1.0 / 3 ? fmt::format("[{}]", token) : token;
}

std::string coloured(const std::string& token, double strength, const Palette& palette, Shading shading) {
  if (shading == Shading::kColours24Bit) {
    const auto level = static_cast<int>(std::lround(190 * strength));
    if (level < 10) return token;
    const auto part = [level](double share) { return static_cast<int>(level * share); };
    return fmt::format("\x1b[48;2;{};{};{}m\x1b[38;2;255;255;255m{}{}", part(palette.red), part(palette.green),
                       part(palette.blue), token, kReset);
  }
  const auto level = static_cast<size_t>(std::lround(strength * static_cast<double>(palette.steps.size() - 1)));
  if (level == 0) return token;
  return fmt::format("\x1b[48;5;{}m\x1b[38;5;15m{}{}", palette.steps[level], token, kReset);
}

}  // namespace

Shading shading_for(std::FILE* out) {
  const char* no_color = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  if (isatty(fileno(out)) == 0 || (no_color != nullptr && *no_color != '\0') || terminal == nullptr ||
      std::strcmp(terminal, "dumb") == 0) {
    return Shading::kMarks;
  }
  const char* colours = std::getenv("COLORTERM");
  const bool any = colours != nullptr && (std::strcmp(colours, "truecolor") == 0 || std::strcmp(colours, "24bit") == 0);
  return any ? Shading::kColours24Bit : Shading::kColours256;
}

std::string shade(std::span<const ShadedToken> tokens, Tone tone, Shading shading) {
  double least = 1;
  double most = 0;
  for (const ShadedToken& token : tokens) {
    least = std::min(least, token.attention);
    most = std::max(most, token.attention);
  }
  const double range = std::max(most - least, 0.5 / static_cast<double>(std::max<size_t>(tokens.size(), 1)));
  std::string text;
  for (const ShadedToken& token : tokens) {
    const double strength = (token.attention - least) / range;
    const std::string shown = one_line(token.text);
    if (!text.empty()) text += ' ';
    text += shading == Shading::kMarks ? marked(shown, strength)
                                       : coloured(shown, strength, kPalettes[static_cast<size_t>(tone)], shading);
  }
  return text;
}

}  // namespace attune::examples
