#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace attune::examples {

/// Lines of UTF-8 text from a descriptor, as they arrive: of a file or a busy pipe many at a time, of somebody who
/// types one. Lines end in LF or CR LF, the last one may go without; a byte-order mark at the beginning is dropped.
class LineReader {
 public:
  /// name: how errors call the text, "standard input". The descriptor stays open.
  LineReader(int descriptor, std::string name);

  /// The lines that follow, at least one and at most `most`: no further ones are waited for. None at the end.
  ///
  /// Throws IoError when nothing can be read; FormatError, naming the line, for invalid UTF-8, a NUL byte and more than
  /// 1 MiB, after the lines before it have been handed out.
  std::vector<std::string> next(size_t most);

  /// Of the last lines handed out, the number in the text, from 1, of one that is counted from 0.
  int64_t number(size_t line) const { return first_line_ + static_cast<int64_t>(line); }
  /// "standard input: line 12", the same for an error.
  std::string origin(size_t line) const;
  /// Bytes of the lines handed out so far.
  int64_t bytes() const { return bytes_; }
  /// What there is in all when it is a file; 0 otherwise.
  int64_t total_bytes() const { return total_bytes_; }

 private:
  /// Reads more. False at the end.
  bool fill();
  bool more_is_there() const;
  /// Takes a complete line out of the buffer.
  bool take(std::string& line);

  int descriptor_;
  std::string name_;
  bool terminal_;
  int64_t total_bytes_ = 0;
  std::string buffer_;
  size_t begin_ = 0;     // of what is not handed out yet
  size_t searched_ = 0;  // no line end from begin_ up to here
  bool at_end_ = false;
  int64_t first_line_ = 1;
  int64_t next_line_ = 1;
  int64_t bytes_ = 0;
};

}  // namespace attune::examples
