#include "framework/checkpoint_format.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <system_error>

#include "framework/fail.h"
#include "framework/sha256.h"
#include "framework/version.h"

namespace attune::checkpoint_format {
namespace {

constexpr std::string_view kMagic = "Attune checkpoint, format ";
constexpr std::string_view kHdf5Signature = "\x89HDF\r\n\x1a\n";

/// A file open for reading.
class Reader {
 public:
  explicit Reader(const std::string& path) : name_(path) {
    // O_NONBLOCK: opening a pipe must not wait for its other end.
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd_ < 0) fail_errno();
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { ::close(fd_); }

  /// Bytes of a regular file; throws IoError for anything else.
  size_t size() const {
    struct stat status {};
    if (::fstat(fd_, &status) != 0) fail_errno();
    require<IoError>(S_ISREG(status.st_mode), "{}: cannot be read: {}", name_,
                     S_ISDIR(status.st_mode) ? "is a directory" : "not a regular file");
    return static_cast<size_t>(status.st_size);
  }

  /// Up to `count` bytes; fewer only at the end of the file.
  size_t read(char* to, size_t count) const {
    size_t done = 0;
    while (done < count) {
      const ssize_t got = ::read(fd_, to + done, count - done);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail_errno();
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  }

 private:
  [[noreturn]] void fail_errno() const {
    fail<IoError>("{}: cannot be read: {}", name_, std::generic_category().message(errno));
  }

  std::string name_;
  int fd_ = -1;
};

/// The first bytes for a message: text as it is, the rest as \x89.
std::string printable(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes.substr(0, 8)) {
    if (byte >= ' ' && byte < 127) {
      out += byte;
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    }
  }
  return out;
}

/// The number behind the first `label`; 0 when there is none.
size_t number_after(std::string_view text, std::string_view label) {
  const size_t at = text.find(label);
  size_t value = 0;
  if (at != std::string_view::npos) std::from_chars(text.data() + at + label.size(), text.data() + text.size(), value);
  return value;
}

void verify_header(const std::string& name, std::string_view found, size_t size) {
  require<FormatError>(size > 0, "{}: the file is empty, expected an Attune checkpoint", name);
  require<FormatError>(!found.starts_with(kHdf5Signature),
                       "{}: an HDF5 file, but not an Attune checkpoint: the header in front is missing", name);
  require<FormatError>(found.starts_with(kMagic), "{}: not an Attune checkpoint: it begins with '{}'", name,
                       printable(found));
  const size_t version = number_after(found, kMagic);
  require<FormatError>(version <= Checkpoint::kFormatVersion,
                       "{}: checkpoint format {} is newer than {}, the newest that Attune {} reads; use a newer Attune",
                       name, version, Checkpoint::kFormatVersion, kVersion);
  require<FormatError>(found.size() == kHeaderBytes, "{}: cut off in its header: {} bytes are there", name, size);
  const size_t length = number_after(found, "length ");
  require<FormatError>(length == 0 || size == kHeaderBytes + length, "{}: {}: {} bytes are there, expected {}", name,
                       size < kHeaderBytes + length ? "cut off" : "damaged, something was appended", size,
                       kHeaderBytes + length);
}

}  // namespace

std::string header(size_t length, const std::string& sha256) {
  std::string text = fmt::format(
      "{}{}\nAn HDF5 file behind this block of {} bytes: h5py, h5dump and attune-checkpoint read it.\n"
      "length {}\nsha256 {}\n",
      kMagic, Checkpoint::kFormatVersion, kHeaderBytes, length, sha256);
  text.resize(kHeaderBytes - 1, ' ');
  return text + '\n';
}

void verify_bytes(const std::string& path) {
  const Reader file(path);
  const size_t size = file.size();
  std::string found(kHeaderBytes, '\0');
  found.resize(file.read(found.data(), found.size()));
  verify_header(path, found, size);

  Sha256 digest;
  std::vector<char> buffer(kChunkBytes);
  while (const size_t got = file.read(buffer.data(), buffer.size())) digest.update(buffer.data(), got);
  require<FormatError>(found == header(size - kHeaderBytes, digest.finish()),
                       "{}: damaged, or changed since it was written: its bytes do not match their SHA-256", path);
}

std::string content_sha256(const std::vector<Checkpoint::Entry>& entries) {
  std::vector<const Checkpoint::Entry*> ordered;
  for (const auto& entry : entries) ordered.push_back(&entry);
  std::sort(ordered.begin(), ordered.end(), [](const auto* a, const auto* b) { return a->path < b->path; });

  Sha256 digest;
  const auto add_text = [&](const std::string& text) { digest.update(text.c_str(), text.size() + 1); };
  for (const auto* entry : ordered) {
    digest.update(fmt::format("{}\n{}\n{}\n", entry->path, entry->dtype(), fmt::join(entry->shape(), ",")));
    if (const auto* tensor = std::get_if<Tensor>(&entry->value)) {
      digest.update(tensor->raw(), static_cast<size_t>(entry->bytes()));
    } else if (const auto* text = std::get_if<std::string>(&entry->value)) {
      add_text(*text);
    } else {
      for (const auto& item : std::get<std::vector<std::string>>(entry->value)) add_text(item);
    }
  }
  return digest.finish();
}

}  // namespace attune::checkpoint_format
