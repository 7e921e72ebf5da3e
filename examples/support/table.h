#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace attune::examples {

/// Columns that the text of a cell takes in a terminal: combining marks none, East Asian wide characters two.
int display_width(std::string_view utf8);

/// An aligned table for the terminal:
///
///     name                  dtype    shape       bytes
///     model/head/weight     float32  [2, 128]    1,024
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  /// As many cells as there are columns.
  void add(std::vector<std::string> cells);
  /// All lines, each ended.
  std::string to_string() const;
  void print(std::FILE* out = stdout) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

/// 1234567 as "1,234,567"
std::string with_commas(int64_t value);
/// 1536 as "1.5 KiB"
std::string readable_bytes(int64_t bytes);
/// 412345 as "412k", 1234 as "1.2k"
std::string readable_count(double value);
/// 75 seconds as "1:15", 3700 as "1:01:40"
std::string readable_time(double seconds);

}  // namespace attune::examples
