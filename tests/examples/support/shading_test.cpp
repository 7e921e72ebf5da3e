#include "examples/support/shading.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <string>
#include <vector>

namespace attune::examples {
namespace {

using Catch::Matchers::ContainsSubstring;

const std::vector<ShadedToken> kTokens = {{"not", 0.15}, {"bad", 0.55}, {"at", 0.05}, {"all", 0.25}};

TEST_CASE("tokens are shaded by the attention they got", "[support]") {
  CHECK(shade(kTokens, Tone::kGreen, Shading::kMarks) == "not [[bad]] at [all]");
  CHECK(shade(kTokens, Tone::kGreen, Shading::kColours256) ==
        "\x1b[48;5;22m\x1b[38;5;15mnot\x1b[0m \x1b[48;5;40m\x1b[38;5;15mbad\x1b[0m at "
        "\x1b[48;5;28m\x1b[38;5;15mall\x1b[0m");
  const auto fine = [](Tone tone) { return shade(kTokens, tone, Shading::kColours24Bit); };
  CHECK_THAT(fine(Tone::kGreen), ContainsSubstring("\x1b[48;2;0;190;47m\x1b[38;2;255;255;255mbad\x1b[0m"));
  CHECK_THAT(fine(Tone::kRed), ContainsSubstring("\x1b[48;2;190;0;47m\x1b[38;2;255;255;255mbad\x1b[0m"));
  CHECK_THAT(fine(Tone::kBlue), ContainsSubstring("\x1b[48;2;19;76;190m\x1b[38;2;255;255;255mbad\x1b[0m"));
}

TEST_CASE("where all tokens got about the same, none stands out", "[support]") {
  const std::vector<ShadedToken> level = {{"a", 0.32}, {"b", 0.34}, {"c", 0.34}};
  CHECK(shade(level, Tone::kGreen, Shading::kMarks) == "a b c");
  CHECK(shade({}, Tone::kGreen, Shading::kMarks).empty());
}

TEST_CASE("shaded text cannot command the terminal", "[support]") {
  const std::vector<ShadedToken> tokens = {{"\x1b[31m", 0.9}, {"a\nb", 0.1}};
  CHECK(shade(tokens, Tone::kRed, Shading::kMarks) == "[[\\x1b[31m]] a\\nb");
}

}  // namespace
}  // namespace attune::examples
