#include "datasets/byte_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#include "framework/fail.h"
#include "framework/text.h"

namespace attune {
namespace {

using namespace std::string_view_literals;

constexpr size_t kStoredBytes = size_t{1} << 16;
constexpr std::string_view kGzipBegin = "\x1F\x8B"sv;
constexpr auto kPatience = std::chrono::seconds(3);
constexpr auto kPause = std::chrono::milliseconds(20);

}  // namespace

struct ByteReader::State {
  std::string name;
  int descriptor = -1;
  bool folder = false;
  int64_t total = -1;
  // What is stored: of the file from begin to end, or all of the memory.
  std::string stored = {};
  size_t begin = 0;
  size_t end = 0;
  bool at_end = false;
  bool zipped = false;
  bool in_member = false;  // of a gzip stream, which may have several
  z_stream stream{};
  std::string ahead = {};  // handed out by peek() and to be read again

  explicit State(std::string called) : name(std::move(called)) {}
  ~State() {
    if (zipped) inflateEnd(&stream);
    if (descriptor >= 0) ::close(descriptor);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void open_file();
  void wait_for_writer();
  ssize_t read_some(char* out, size_t size) const;
  /// At least `least` bytes from begin on, or all that there are.
  void store(size_t least);
  void begin_unzip();
  /// Moves to the next member of a gzip stream; false at the end.
  bool next_member();
  size_t unzip(char* out, size_t size);
  size_t copy(char* out, size_t size);
  size_t read(char* out, size_t size) { return zipped ? unzip(out, size) : copy(out, size); }
  [[noreturn]] void damaged(std::string_view what) const {
    fail<FormatError>("{}: damaged or truncated gzip file ({}); get it again", name, what);
  }
};

ssize_t ByteReader::State::read_some(char* out, size_t size) const {
  ssize_t count = 0;
  do {
    count = ::read(descriptor, out, size);
  } while (count < 0 && errno == EINTR);
  return count;
}

void ByteReader::State::open_file() {
  // Opening a pipe must not wait for its other end.
  descriptor = ::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  require<IoError>(descriptor >= 0, "{}: cannot be opened for reading: {}", name, system_message(errno));
  struct stat status {};
  const bool known = ::fstat(descriptor, &status) == 0;
  require<IoError>(known, "{}: cannot be opened for reading: {}", name, system_message(errno));
  folder = S_ISDIR(status.st_mode);
  if (S_ISREG(status.st_mode)) total = status.st_size;
  require<IoError>(folder || S_ISREG(status.st_mode) || S_ISFIFO(status.st_mode),
                   "{}: cannot be read: a device, expected a file or a pipe", name);
  stored.resize(kStoredBytes);
  if (S_ISFIFO(status.st_mode)) wait_for_writer();
  ::fcntl(descriptor, F_SETFL, ::fcntl(descriptor, F_GETFL) & ~O_NONBLOCK);
}

/// A read that does not wait finds bytes, that a writer is still silent, or that there is none.
void ByteReader::State::wait_for_writer() {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    const ssize_t count = read_some(stored.data(), stored.size());
    if (count > 0) end = static_cast<size_t>(count);
    if (count != 0) return;
    require<IoError>(std::chrono::steady_clock::now() < deadline,
                     "{}: cannot be read: a pipe that nobody writes to, expected a file or a pipe with a writer", name);
    std::this_thread::sleep_for(kPause);
  }
}

void ByteReader::State::store(size_t least) {
  while (end - begin < least && !at_end && descriptor >= 0) {
    std::memmove(stored.data(), stored.data() + begin, end - begin);
    end -= std::exchange(begin, 0);
    const ssize_t count = read_some(stored.data() + end, stored.size() - end);
    require<IoError>(count >= 0, "{}: cannot be read: {}", name, system_message(errno));
    at_end = count == 0;
    end += static_cast<size_t>(count);
  }
}

void ByteReader::State::begin_unzip() {
  store(kGzipBegin.size());
  if (!std::string_view(stored).substr(begin, end - begin).starts_with(kGzipBegin)) return;
  constexpr int kGzipOnly = 16;
  if (inflateInit2(&stream, MAX_WBITS + kGzipOnly) != Z_OK) throw std::bad_alloc();
  zipped = in_member = true;
}

bool ByteReader::State::next_member() {
  store(kGzipBegin.size());
  if (std::string_view(stored).substr(begin, end - begin).starts_with(kGzipBegin)) {
    inflateReset(&stream);
    return in_member = true;
  }
  for (; begin < end; store(1)) {
    const std::string_view rest = std::string_view(stored).substr(begin, end - begin);
    if (rest.find_first_not_of('\0') != std::string_view::npos) damaged("other bytes behind the compressed ones");
    begin = end;
  }
  return false;
}

size_t ByteReader::State::unzip(char* out, size_t size) {
  constexpr size_t kMostAtOnce = size_t{1} << 30;  // zlib counts in 32 bits
  size_t written = 0;
  while (written < size && (in_member || next_member())) {
    store(1);
    if (begin == end) damaged("unexpected end of file");
    stream.next_in = reinterpret_cast<unsigned char*>(stored.data() + begin);
    stream.avail_in = static_cast<unsigned>(std::min(end - begin, kMostAtOnce));
    stream.next_out = reinterpret_cast<unsigned char*>(out + written);
    stream.avail_out = static_cast<unsigned>(std::min(size - written, kMostAtOnce));
    const unsigned room = stream.avail_out, given = stream.avail_in;
    const int code = inflate(&stream, Z_NO_FLUSH);
    begin += given - stream.avail_in;
    written += room - stream.avail_out;
    if (code == Z_MEM_ERROR) throw std::bad_alloc();
    if (code == Z_STREAM_END) {
      in_member = false;
    } else if (code != Z_OK && code != Z_BUF_ERROR) {
      damaged(stream.msg != nullptr ? stream.msg : "not as gzip has it");
    }
  }
  return written;
}

size_t ByteReader::State::copy(char* out, size_t size) {
  size_t written = 0;
  while (written < size) {
    store(1);
    const size_t count = std::min(size - written, end - begin);
    if (count == 0) break;
    std::memcpy(out + written, stored.data() + begin, count);
    begin += count;
    written += count;
  }
  return written;
}

ByteReader::ByteReader(std::string path, std::unique_ptr<State> state)
    : path_(std::move(path)), state_(std::move(state)) {}

ByteReader::ByteReader(std::string path, Unzip unzip) : path_(std::move(path)), state_(std::make_unique<State>(path_)) {
  state_->open_file();
  if (!state_->folder && unzip == Unzip::kWhereZipped) state_->begin_unzip();
}

ByteReader ByteReader::from_memory(std::string bytes, std::string name, Unzip unzip) {
  auto state = std::make_unique<State>(name);
  state->total = static_cast<int64_t>(bytes.size());
  state->end = bytes.size();
  state->stored = std::move(bytes);
  if (unzip == Unzip::kWhereZipped) state->begin_unzip();
  return {std::move(name), std::move(state)};
}

ByteReader::~ByteReader() = default;
ByteReader::ByteReader(ByteReader&&) noexcept = default;
ByteReader& ByteReader::operator=(ByteReader&&) noexcept = default;

bool ByteReader::is_folder() const { return state_->folder; }
int64_t ByteReader::stored_bytes() const { return state_->total; }

std::string_view ByteReader::peek(size_t most) {
  std::string& ahead = state_->ahead;
  if (const size_t held = ahead.size(); held < most) {
    ahead.resize(most);
    ahead.resize(held + state_->read(ahead.data() + held, most - held));
  }
  return std::string_view(ahead).substr(0, most);
}

size_t ByteReader::read(char* out, size_t size) {
  std::string& ahead = state_->ahead;
  const size_t first = std::min(size, ahead.size());
  std::memcpy(out, ahead.data(), first);
  ahead.erase(0, first);
  return first + state_->read(out + first, size - first);
}

}  // namespace attune
