#include "datasets/text_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "datasets/utf8.h"
#include "framework/fail.h"

namespace attune {
namespace {
constexpr size_t kBufferBytes = size_t{1} << 16;
}

struct TextReader::Stream {
  gzFile file = nullptr;

  ~Stream() {
    if (file != nullptr) gzclose_r(file);
  }
};

TextReader::TextReader(std::string path, TextReaderOptions options)
    : path_(std::move(path)),
      options_(options),
      stream_(std::make_unique<Stream>()),
      buffer_(std::make_unique<char[]>(kBufferBytes)) {
  const int descriptor = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  require<IoError>(descriptor >= 0, "{}: cannot be opened for reading: {}", path_, std::strerror(errno));
  struct stat status {};
  const bool is_folder = fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode);
  if (!is_folder) stream_->file = gzdopen(descriptor, "rb");
  if (stream_->file == nullptr) close(descriptor);
  require<IoError>(!is_folder, "{}: is a folder, expected a text file", path_);
  require<IoError>(stream_->file != nullptr, "{}: cannot be opened for reading: out of memory", path_);
  gzbuffer(stream_->file, static_cast<unsigned>(kBufferBytes));
  refill();
  const std::string_view first(buffer_.get(), end_);
  if (first.starts_with("\xEF\xBB\xBF")) begin_ = 3;
  require<FormatError>(first.size() < 262 || first.substr(257, 5) != "ustar",
                       "{}: is a tar archive, expected a text file or a folder; unpack it first", path_);
}

TextReader::~TextReader() = default;
TextReader::TextReader(TextReader&&) noexcept = default;
TextReader& TextReader::operator=(TextReader&&) noexcept = default;

std::string TextReader::where() const { return fmt::format("{}: line {}", path_, line_number_); }

void TextReader::refill() {
  const int count = gzread(stream_->file, buffer_.get(), static_cast<unsigned>(kBufferBytes));
  const int saved_errno = errno;
  begin_ = 0;
  end_ = count > 0 ? static_cast<size_t>(count) : 0;
  if (end_ == kBufferBytes) return;
  at_end_ = true;
  int code = Z_OK;
  const char* message = gzerror(stream_->file, &code);
  if (code == Z_OK || code == Z_STREAM_END) return;
  require<IoError>(code != Z_ERRNO, "{}: cannot be read: {}", path_, std::strerror(saved_errno));
  fail<FormatError>("{}: damaged or truncated gzip file (zlib: {}); get it again", path_, message);
}

bool TextReader::next(std::string_view& line) {
  carried_.clear();
  const auto limit = [&](size_t bytes) {
    require<FormatError>(bytes <= options_.max_line_bytes, "{}: line {}: longer than {} bytes, expected a text line",
                         path_, line_number_ + 1, options_.max_line_bytes);
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
