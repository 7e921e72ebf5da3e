#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "datasets/byte_reader.h"

namespace attune {

struct TextReaderOptions {
  /// Longer lines are an error: a binary file without line ends must not fill the memory.
  size_t max_line_bytes = size_t{1} << 20;
};

/// Lines of a UTF-8 text file, plain or gzipped; which one is seen in the first bytes, the name does not matter. Pipes
/// that are written to work too (see ByteReader).
///
/// Lines end in LF or CR LF, the last one may go without. A byte-order mark at the beginning is dropped. Everything
/// else is handed out as it stands, blank lines included.
///
/// Throws IoError for a path that cannot be opened or read (a folder, a device, say) and FormatError for a damaged or
/// truncated gzip stream, bytes behind one, invalid UTF-8, a NUL byte, a tar archive, or a line above the limit; the
/// text names file and line.
class TextReader {
 public:
  explicit TextReader(std::string path, TextReaderOptions options = {});
  /// What is left of `bytes`.
  explicit TextReader(ByteReader bytes, TextReaderOptions options = {});

  /// Moves to the next line; false at the end. `line` stays valid until the next call.
  bool next(std::string_view& line);

  /// Number of the line handed out last, from 1; 0 before the first.
  int64_t line_number() const { return line_number_; }
  const std::string& path() const { return bytes_.path(); }
  /// "reviews.tsv: line 12", how errors begin.
  std::string where() const;

 private:
  void refill();

  ByteReader bytes_;
  TextReaderOptions options_;
  std::unique_ptr<char[]> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  bool at_end_ = false;
  std::string carried_;  // the part of a line that an earlier buffer held
  int64_t line_number_ = 0;
};

}  // namespace attune
