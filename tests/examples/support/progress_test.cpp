#include "examples/support/progress.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "tests/support/paths.h"

namespace attune::examples {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::Matches;

TEST_CASE("progress elsewhere than on a terminal is a few plain lines", "[support]") {
  const testing::TemporaryDirectory directory;
  std::FILE* out = std::fopen((directory / "err").c_str(), "w");
  REQUIRE(out != nullptr);
  {
    Progress progress(1000, "tokens", out);
    for (int step = 1; step <= 500; ++step) {
      progress.update(step, 64, "epoch 1/2", {{"loss", 0.75, 4}, {"accuracy", 81.26, 1, "%"}});
    }
    progress.print("a line between");
  }
  std::fclose(out);
  const std::string text = testing::read_bytes(directory / "err");
  CHECK(text.find('\r') == std::string::npos);
  CHECK(std::count(text.begin(), text.end(), '\n') == 2);
  CHECK_THAT(text,
             Matches("a line between\nepoch 1/2  50% \\| loss 0.7500 \\| accuracy 81.3% \\| [0-9.]+[kM]? tokens/s "
                     "\\| 0:0[0-9] left\n"));
}

/// A pseudo terminal: `file` is its inner side, read() what was written there.
class Terminal {
 public:
  explicit Terminal(unsigned short columns) : outer_(posix_openpt(O_RDWR | O_NOCTTY)) {
    if (outer_ < 0 || grantpt(outer_) != 0 || unlockpt(outer_) != 0) SKIP("no pseudo terminal here");
    const int inner = open(ptsname(outer_), O_RDWR | O_NOCTTY);
    REQUIRE(inner >= 0);
    winsize size{};
    size.ws_col = columns;
    REQUIRE(ioctl(inner, TIOCSWINSZ, &size) == 0);
    file = fdopen(inner, "w");
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal() {
    std::fclose(file);
    close(outer_);
  }
  std::string read() {
    std::string text;
    char buffer[4096];
    pollfd ready{outer_, POLLIN, 0};
    while (poll(&ready, 1, 100) > 0) {
      const ssize_t got = ::read(outer_, buffer, sizeof buffer);
      if (got <= 0) break;
      text.append(buffer, static_cast<size_t>(got));
    }
    return text;
  }

  std::FILE* file = nullptr;

 private:
  int outer_;
};

TEST_CASE("progress on a terminal is one line that is drawn anew", "[support]") {
  setenv("TERM", "xterm", 1);
  Terminal terminal(70);
  {
    Progress progress(10, "tokens", terminal.file);
    progress.start_at(4);
    progress.update(5, 0, "résumé", {{"loss", 0.5, 2}});
    usleep(110000);
    progress.update(10, 300, "résumé", {{"loss", 0.25, 2}});
    progress.print("above");
  }
  std::string text = terminal.read();
  const size_t second = text.find('\r', 1);
  CHECK_THAT(text.substr(0, second), Matches("\rrésumé \\[[=]+>[ ]+\\]  50% \\| loss 0.50 \\| 0:00 left[ ]*"));
  const size_t third = text.find('\r', second + 1);
  CHECK_THAT(text.substr(second, third - second),
             Matches("\rrésumé \\[[=]+\\] 100% \\| loss 0.25 \\| [0-9.]+k? tokens/s \\| 0:00 left[ ]*"));
  // The bar makes room for the line and is not drawn a third time.
  CHECK_THAT(text.substr(third), Matches("\r[ ]+\rabove\r\n"));
  for (size_t at = 0; at < third;) {
    const size_t end = text.find('\r', at + 1);
    CHECK(end - at <= 70 + 2);  // é takes two bytes, and there are two
    at = end;
  }
}

TEST_CASE("the time left of a resumed run follows from its own steps", "[support]") {
  const testing::TemporaryDirectory directory;
  std::FILE* out = std::fopen((directory / "err").c_str(), "w");
  REQUIRE(out != nullptr);
  {
    Progress progress(1010, "tokens", out);
    progress.start_at(999);
    usleep(300000);
    progress.update(1000, 10, "", {});
  }
  std::fclose(out);
  // One step took 0.3 s or a little more, ten are left.
  CHECK_THAT(testing::read_bytes(directory / "err"), Matches(" 99% .* 0:(0[3-9]|1[0-9]) left\n"));
}

TEST_CASE("progress fits a narrow terminal", "[support]") {
  setenv("TERM", "xterm", 1);
  Terminal terminal(20);
  {
    Progress progress(10, "tokens", terminal.file);
    progress.update(5, 100, "epoch 1/2", {{"loss", 0.5, 4}, {"accuracy", 50, 1}});
  }
  CHECK_THAT(terminal.read(), Matches("\repoch 1/2  50% \\| lo\r\n"));
}

}  // namespace
}  // namespace attune::examples
