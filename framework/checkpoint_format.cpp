#include "framework/checkpoint_format.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <system_error>

#include "framework/fail.h"
#include "framework/sha256.h"
#include "framework/text.h"
#include "framework/version.h"

namespace attune::checkpoint_format {
namespace {

constexpr size_t kMaxNameBytes = 4096;
constexpr std::string_view kMagic = "Attune checkpoint, format ";
/// From here on a wrong file is better noticed before it is hashed.
constexpr size_t kLargeBytes = size_t{1} << 28;
constexpr std::string_view kHdf5Signature = "\x89HDF\r\n\x1a\n";

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

/// Little-endian, as HDF5 writes numbers.
uint64_t number_at(const unsigned char* bytes) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = (value << 8) | bytes[i];
  return value;
}

}  // namespace

std::string header(size_t length, const std::string& sha256, int version) {
  std::string text = fmt::format(
      "{}{}\nAn HDF5 file behind this block of {} bytes: h5py, h5dump and attune-checkpoint read it.\n"
      "length {}\nsha256 {}\n",
      kMagic, version, kHeaderBytes, length, sha256);
  text.resize(kHeaderBytes - 1, ' ');
  return text + '\n';
}

void VerifiedFile::fail_errno() const {
  fail<IoError>("{}: cannot be read: {}", name_, std::generic_category().message(errno));
}

/// Throws IoError for anything that is no regular file.
size_t VerifiedFile::regular_size() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) fail_errno();
  require<IoError>(S_ISREG(status.st_mode), "{}: cannot be read: {}", name_,
                   S_ISDIR(status.st_mode) ? "is a directory" : "not a regular file");
  return static_cast<size_t>(status.st_size);
}

/// Up to `count` bytes; fewer only at the end of the file.
size_t VerifiedFile::read(char* to, size_t count) const {
  size_t done = 0;
  while (done < count) {
    const ssize_t got = ::read(descriptor_, to + done, count - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_errno();
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

void VerifiedFile::verify_header(std::string_view found) const {
  require<FormatError>(size_ > 0, "{}: the file is empty, expected an Attune checkpoint", name_);
  require<FormatError>(!found.starts_with(kHdf5Signature),
                       "{}: an HDF5 file, but not an Attune checkpoint: the header in front is missing", name_);
  require<FormatError>(found.starts_with(kMagic), "{}: not an Attune checkpoint: it begins with '{}'", name_,
                       printable(found));
  const size_t version = number_after(found, kMagic);
  require<FormatError>(version <= Checkpoint::kFormatVersion,
                       "{}: checkpoint format {} is newer than {}, the newest that Attune {} reads; use a newer Attune",
                       name_, version, Checkpoint::kFormatVersion, kVersion);
  require<FormatError>(found.size() == kHeaderBytes, "{}: cut off in its header: {} bytes are there", name_, size_);
  const size_t length = number_after(found, "length ");
  require<FormatError>(length == 0 || size_ == kHeaderBytes + length, "{}: {}: {} bytes are there, expected {}", name_,
                       size_ < kHeaderBytes + length ? "cut off" : "damaged, something was appended", size_,
                       kHeaderBytes + length);
}

/// Before a large file is hashed, which takes its time: HDF5's first block says where its file ends.
void VerifiedFile::verify_extent() const {
  unsigned char block[36];
  const ssize_t got = ::pread(descriptor_, block, sizeof block, kHeaderBytes);
  const bool has_end = got == sizeof block && block[8] >= 2 && block[9] == 8 && block[10] == 8;
  if (!has_end) return;
  const uint64_t end = number_at(block + 28);
  require<FormatError>(end == size_, "{}: damaged: {} bytes are there, HDF5's own number is {}", name_, size_, end);
}

VerifiedFile::VerifiedFile(const std::string& path) : path_(path), name_(shown(path, kMaxNameBytes)) {
  // O_NONBLOCK: opening a pipe must not wait for its other end.
  const int opened = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (opened < 0) fail_errno();
  // Where a standard stream is closed, its number is not one for files.
  descriptor_ = ::fcntl(opened, F_DUPFD_CLOEXEC, 3);
  const int error = errno;
  ::close(opened);
  errno = error;
  if (descriptor_ < 0) fail_errno();
  try {
    size_ = regular_size();
    std::string found(kHeaderBytes, '\0');
    found.resize(read(found.data(), found.size()));
    verify_header(found);
    if (size_ > kLargeBytes) verify_extent();
    version_ = static_cast<int>(number_after(found, kMagic));

    Sha256 digest;
    std::vector<char> buffer(kChunkBytes);
    while (const size_t got = read(buffer.data(), buffer.size())) digest.update(buffer.data(), got);
    require<FormatError>(version_ >= 1 && found == header(size_ - kHeaderBytes, digest.finish(), version_),
                         "{}: damaged, or changed since it was written: its bytes do not match their SHA-256", name_);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

VerifiedFile::~VerifiedFile() { ::close(descriptor_); }

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
