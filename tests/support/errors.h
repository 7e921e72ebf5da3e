#pragma once

#include <catch2/catch_test_macros.hpp>

#include <exception>
#include <string>
#include <utility>

namespace attune::testing {

/// Text of the E that f() throws. Fails the running test when f() throws nothing or something else, or when the text is
/// not a single line.
template <class E, class F>
std::string error_text(F&& f) {
  try {
    std::forward<F>(f)();
  } catch (const E& error) {
    const std::string text = error.what();
    INFO(text);
    CHECK(text.find('\n') == std::string::npos);
    return text;
  } catch (const std::exception& error) {
    FAIL("another kind of error: " << error.what());
  }
  FAIL("nothing was thrown");
  return {};
}

}  // namespace attune::testing
