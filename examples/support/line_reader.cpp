#include "examples/support/line_reader.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "datasets/utf8.h"
#include "framework/fail.h"

namespace attune::examples {
namespace {

constexpr size_t kReadBytes = size_t{1} << 16;
constexpr size_t kMaxLineBytes = size_t{1} << 20;
// A pipe that is silent for so long has its lines answered; a terminal at once.
constexpr int kPatienceMilliseconds = 200;

}  // namespace

LineReader::LineReader(int descriptor, std::string name)
    : descriptor_(descriptor), name_(std::move(name)), terminal_(isatty(descriptor) != 0) {
  struct stat status {};
  if (fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode)) total_bytes_ = status.st_size;
}

std::string LineReader::origin(size_t line) const { return fmt::format("{}: line {}", name_, number(line)); }

bool LineReader::fill() {
  buffer_.erase(0, std::exchange(begin_, 0));
  const size_t held = searched_ = buffer_.size();
  buffer_.resize(held + kReadBytes);
  ssize_t count = 0;
  do {
    count = ::read(descriptor_, buffer_.data() + held, kReadBytes);
  } while (count < 0 && errno == EINTR);
  const int problem = errno;
  buffer_.resize(held + static_cast<size_t>(std::max<ssize_t>(count, 0)));
  require<IoError>(count >= 0, "{}: cannot be read: {}", name_, std::generic_category().message(problem));
  return count > 0;
}

bool LineReader::more_is_there() const {
  pollfd request{.fd = descriptor_, .events = POLLIN, .revents = 0};
  return poll(&request, 1, terminal_ ? 0 : kPatienceMilliseconds) > 0;
}

bool LineReader::take(std::string& line) {
  const size_t end = buffer_.find('\n', searched_);
  const size_t length = std::min(end, buffer_.size()) - begin_;
  const std::string where = fmt::format("{}: line {}", name_, next_line_);
  require<FormatError>(length <= kMaxLineBytes, "{}: longer than {} bytes, expected a text line", where, kMaxLineBytes);
  searched_ = buffer_.size();
  if (end == std::string::npos && (!at_end_ || length == 0)) return false;
  searched_ = begin_;  // should the line be refused, it is found again

  std::string_view text = std::string_view(buffer_).substr(begin_, length);
  if (text.ends_with('\r')) text.remove_suffix(1);
  if (next_line_ == 1 && text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  utf8::require_valid(text, where);
  require<FormatError>(text.find('\0') == std::string_view::npos, "{}: NUL byte, expected text", where);
  line = text;

  const size_t taken = length + (end == std::string::npos ? 0 : 1);
  begin_ = searched_ = begin_ + taken;
  bytes_ += static_cast<int64_t>(taken);
  ++next_line_;
  return true;
}

std::vector<std::string> LineReader::next(size_t most) {
  first_line_ = next_line_;
  std::vector<std::string> lines;
  for (std::string line; lines.size() < most;) {
    try {
      if (take(line)) {
        lines.push_back(std::move(line));
        continue;
      }
    } catch (const FormatError&) {
      if (lines.empty()) throw;
      return lines;
    }
    if (at_end_ || (!lines.empty() && !more_is_there())) break;
    at_end_ = !fill();
  }
  return lines;
}

}  // namespace attune::examples
