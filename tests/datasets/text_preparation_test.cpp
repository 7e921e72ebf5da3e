#include "datasets/text_preparation.h"

#include <catch2/catch_test_macros.hpp>

#include <string>

#include "framework/error.h"
#include "tests/support/errors.h"

namespace attune {
namespace {

TEST_CASE("text preparation: what is asked for, in order, and back", "[datasets][text][translation]") {
  const std::string text = "Der „Mann“ fährt,  ÖSTERREICH!";
  CHECK(TextPreparation()(text) == text);
  CHECK(TextPreparation({.lower_case = true})(text) == "der „mann“ fährt,  österreich!");
  CHECK(TextPreparation({.normalize = true})(text) == "Der \"Mann\" fährt, ÖSTERREICH!");
  const TextPreparation all({.normalize = true, .tokenize = true, .lower_case = true, .moses = {.language = "de"}});
  CHECK(all(text) == "der \" mann \" fährt , österreich !");
  CHECK(all.restore(all(text)) == "der \"mann\" fährt, österreich!");
  CHECK(TextPreparation({.lower_case = true}).restore("a , b") == "a , b");
  CHECK(all("").empty());
  CHECK(testing::error_text<FormatError>([&] { all("a\xff"); }) ==
        "text: byte 2 ('\\xff') is not valid UTF-8, expected UTF-8 text");
}

}  // namespace
}  // namespace attune
