#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace attune::examples {

/// A number to show beside the progress: {"loss", 0.4321, 4}. Names outlive the Progress: they are literals.
struct Figure {
  std::string_view name;
  double value = 0;
  int digits = 3;                ///< after the point
  std::string_view suffix = {};  ///< "%" or nothing
};

/// How far a long piece of work is, on standard error. On a terminal one line that is redrawn ten times a second:
///
///     epoch 2/5 [=========>          ]  47% | loss 0.4321 | accuracy 82.1% | 412k tokens/s | 0:17 left
///
/// elsewhere the same without the bar, as plain lines: every 5 seconds in the first minute, every 20 afterwards. What
/// cannot be written is dropped.
class Progress {
 public:
  /// `total` steps; rates are of `unit` per second. `out` is standard error unless a test says otherwise.
  Progress(int64_t total, std::string unit, std::FILE* out = stderr);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Steps and units that lie behind already when a run is resumed: they count for the bar, not for the rate.
  void start_at(int64_t done);
  /// Cheap enough for every step: draws only when it is time to. `done`: steps since the beginning; `units`: since the
  /// last call.
  void update(int64_t done, int64_t units, std::string_view title, std::span<const Figure> figures);
  void update(int64_t done, int64_t units, std::string_view title, std::initializer_list<Figure> figures) {
    update(done, units, title, std::span(figures.begin(), figures.size()));
  }
  /// A line of its own, above the bar.
  void print(std::string_view line);
  /// Draws the last state once more and ends the line. The destructor does the latter.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;

  std::string line(Clock::time_point now) const;
  void draw(Clock::time_point now);
  void erase();

  std::FILE* out_;
  bool terminal_;
  std::string unit_;
  int64_t total_;
  int64_t first_ = 0;
  int64_t done_ = 0;
  std::string title_;
  std::vector<Figure> figures_;
  int64_t units_ = 0;  // since rated_
  double rate_ = 0;    // units per second, smoothed
  Clock::time_point started_;
  Clock::time_point rated_;
  Clock::time_point next_draw_;
  int drawn_columns_ = 0;  // of the line on the terminal
  bool current_ = true;    // the last update has been drawn
};

}  // namespace attune::examples
