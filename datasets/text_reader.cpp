#include "datasets/text_reader.h"

#include <cstring>
#include <utility>

#include "datasets/utf8.h"
#include "framework/fail.h"

namespace attune {
namespace {
constexpr size_t kBufferBytes = size_t{1} << 16;
}

TextReader::TextReader(std::string path, TextReaderOptions options)
    : TextReader(ByteReader(std::move(path)), options) {}

TextReader::TextReader(ByteReader bytes, TextReaderOptions options)
    : bytes_(std::move(bytes)), options_(options), buffer_(std::make_unique<char[]>(kBufferBytes)) {
  require<IoError>(!bytes_.is_folder(), "{}: is a folder, expected a text file", path());
  refill();
  const std::string_view first(buffer_.get(), end_);
  if (first.starts_with("\xEF\xBB\xBF")) begin_ = 3;
  require<FormatError>(first.size() < 262 || first.substr(257, 5) != "ustar",
                       "{}: is a tar archive, expected a text file or a folder; unpack it first", path());
}

std::string TextReader::where() const { return fmt::format("{}: line {}", path(), line_number_); }

void TextReader::refill() {
  begin_ = 0;
  end_ = bytes_.read(buffer_.get(), kBufferBytes);
  at_end_ = end_ < kBufferBytes;
}

bool TextReader::next(std::string_view& line) {
  carried_.clear();
  const auto limit = [&](size_t bytes) {
    require<FormatError>(bytes <= options_.max_line_bytes, "{}: line {}: longer than {} bytes, expected a text line",
                         path(), line_number_ + 1, options_.max_line_bytes);
  };
  for (;;) {
    if (begin_ == end_) {
      if (!at_end_) refill();
      if (begin_ == end_) {
        if (carried_.empty()) return false;
        line = carried_;
        break;
      }
    }
    const char* begin = buffer_.get() + begin_;
    const auto* newline = static_cast<const char*>(std::memchr(begin, '\n', end_ - begin_));
    const std::string_view part(begin, newline != nullptr ? static_cast<size_t>(newline - begin) : end_ - begin_);
    limit(carried_.size() + part.size());
    begin_ += part.size() + (newline != nullptr ? 1 : 0);
    if (newline != nullptr && carried_.empty()) {
      line = part;
      break;
    }
    carried_.append(part);
    if (newline != nullptr) {
      line = carried_;
      break;
    }
  }
  ++line_number_;
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (utf8::find_invalid(line) != std::string_view::npos) utf8::require_valid(line, where());
  if (line.find('\0') != std::string_view::npos) fail<FormatError>("{}: NUL byte, expected a text file", where());
  return true;
}

}  // namespace attune
