#include "examples/sentiment/shading.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace attune::examples {
namespace {

constexpr std::array kGreens = {0, 22, 28, 34, 40};
constexpr std::array kReds = {0, 52, 88, 124, 160};
constexpr const char* kReset = "\x1b[0m";

std::string marked(const std::string& token, double strength) {
  if (strength >= 2.0 / 3) return fmt::format("[[{}]]", token);
  return strength >= 1.0 / 3 ? fmt::format("[{}]", token) : token;
}

std::string coloured(const std::string& token, double strength, bool positive, Shading shading) {
  if (shading == Shading::kColours24Bit) {
    const int level = static_cast<int>(std::lround(190 * strength));
    if (level < 10) return token;
    return positive ? fmt::format("\x1b[48;2;0;{};{}m\x1b[38;2;255;255;255m{}{}", level, level / 4, token, kReset)
                    : fmt::format("\x1b[48;2;{};0;{}m\x1b[38;2;255;255;255m{}{}", level, level / 4, token, kReset);
  }
  const auto& palette = positive ? kGreens : kReds;
  const auto level = static_cast<size_t>(std::lround(strength * (palette.size() - 1)));
  if (level == 0) return token;
  return fmt::format("\x1b[48;5;{}m\x1b[38;5;15m{}{}", palette[level], token, kReset);
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

std::string shade(const Prediction& prediction, Shading shading) {
  double least = 1;
  double most = 0;
  for (const ReadToken& token : prediction.tokens) {
    least = std::min(least, token.attention);
    most = std::max(most, token.attention);
  }
  // Where all words got about the same, none stands out.
  const double range = std::max(most - least, 0.5 / static_cast<double>(std::max<size_t>(prediction.tokens.size(), 1)));
  std::string text;
  for (const ReadToken& token : prediction.tokens) {
    const double strength = (token.attention - least) / range;
    if (!text.empty()) text += ' ';
    text += shading == Shading::kMarks ? marked(token.text, strength)
                                       : coloured(token.text, strength, prediction.label == 1, shading);
  }
  return text;
}

}  // namespace attune::examples
