#include "examples/support/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "examples/support/notice.h"
#include "examples/support/table.h"

namespace attune::examples {
namespace {

using namespace std::chrono_literals;

bool is_terminal(std::FILE* file) {
  const char* kind = std::getenv("TERM");
  return isatty(fileno(file)) != 0 && kind != nullptr && std::strcmp(kind, "dumb") != 0;
}

int terminal_columns(std::FILE* file) {
  winsize size{};
  return ioctl(fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string bar(double share, int columns) {
  const int filled = static_cast<int>(share * columns);
  std::string text(static_cast<size_t>(columns), ' ');
  std::fill_n(text.begin(), filled, '=');
  if (filled < columns) text[static_cast<size_t>(filled)] = '>';
  return "[" + text + "] ";
}

double seconds(std::chrono::steady_clock::duration time) { return std::chrono::duration<double>(time).count(); }

}  // namespace

Progress::Progress(int64_t total, std::string unit, std::FILE* out)
    : out_(out),
      terminal_(is_terminal(out)),
      unit_(std::move(unit)),
      total_(std::max<int64_t>(total, 1)),
      started_(Clock::now()),
      rated_(started_),
      next_draw_(started_ + (terminal_ ? 0s : 2s)) {}

Progress::~Progress() { finish(); }

void Progress::start_at(int64_t done) {
  first_ = done_ = done;
  started_ = rated_ = Clock::now();
}

void Progress::update(int64_t done, int64_t units, std::string_view title, std::span<const Figure> figures) {
  done_ = done;
  units_ += units;
  title_ = title;
  figures_.assign(figures.begin(), figures.end());
  current_ = false;
  if (const auto now = Clock::now(); now >= next_draw_) draw(now);
}

std::string Progress::line(Clock::time_point now) const {
  std::string text;
  for (const Figure& figure : figures_) {
    text += fmt::format(" | {} {:.{}f}{}", figure.name, figure.value, figure.digits, figure.suffix);
  }
  if (rate_ > 0) text += fmt::format(" | {} {}/s", readable_count(rate_), unit_);
  if (done_ > first_) {
    const double each = seconds(now - started_) / static_cast<double>(done_ - first_);
    text += fmt::format(" | {} left", readable_time(each * static_cast<double>(total_ - done_)));
  }
  const double share = std::clamp(static_cast<double>(done_) / static_cast<double>(total_), 0.0, 1.0);
  const std::string head = title_.empty() ? "" : title_ + " ";
  const std::string tail = fmt::format("{:3}%{}", static_cast<int>(share * 100), text);
  if (!terminal_) return head + tail;
  const int room = terminal_columns(out_) - 1 - display_width(head) - display_width(tail) - 3;
  if (room >= 8) return head + bar(share, std::min(room, 30)) + tail;
  return (head + tail).substr(0, static_cast<size_t>(terminal_columns(out_) - 1));
}

void Progress::draw(Clock::time_point now) {
  if (const double since = seconds(now - rated_); since > 0 && units_ > 0) {
    const double rate = static_cast<double>(units_) / since;
    rate_ = rate_ == 0 ? rate : 0.8 * rate_ + 0.2 * rate;
    units_ = 0;
    rated_ = now;
  }
  const std::string text = line(now);
  if (terminal_) {
    const int columns = display_width(text);
    write_or_drop(fmt::format("\r{}{:{}}", text, "", std::max(drawn_columns_ - columns, 0)), out_);
    drawn_columns_ = columns;
    next_draw_ = now + 100ms;
  } else {
    write_or_drop(text + '\n', out_);
    next_draw_ = now + (now - started_ < 60s ? 5s : 20s);
  }
  current_ = true;
}

void Progress::erase() {
  if (drawn_columns_ > 0) write_or_drop(fmt::format("\r{:{}}\r", "", drawn_columns_), out_);
  drawn_columns_ = 0;
}

void Progress::print(std::string_view line) {
  erase();
  write_or_drop(std::string(line) + '\n', out_);
}

void Progress::finish() {
  if (!current_) draw(Clock::now());
  if (drawn_columns_ > 0) write_or_drop("\n", out_);
  drawn_columns_ = 0;
}

}  // namespace attune::examples
