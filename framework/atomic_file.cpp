#include "framework/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "framework/fail.h"
#include "framework/text.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

/// For messages.
std::string name_of(const fs::path& path) { return shown(path.string(), 4096); }

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

/// The regular file that is to be replaced: `path` itself or what it links to.
fs::path resolve(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  require<IoError>(status.type() == fs::file_type::not_found || !error, "{}: cannot be written: {}", name_of(path),
                   error.message());
  if (status.type() == fs::file_type::not_found) {
    require<IoError>(!fs::is_symlink(path, error), "{}: cannot be written: a link to a file that does not exist",
                     name_of(path));
    return path;
  }
  require<IoError>(status.type() == fs::file_type::regular, "{}: cannot be written: {}", name_of(path),
                   status.type() == fs::file_type::directory ? "is a directory" : "not a regular file");
  return fs::is_symlink(path, error) ? fs::canonical(path, error) : path;
}

/// Opens the temporary file, empty, and holds it against other writers of the same file.
Descriptor open_temporary(const fs::path& temporary, const fs::path& path) {
  const auto expect = [&](bool ok, int error, const char* instead = nullptr) {
    require<IoError>(ok, "{}: cannot be written: {}", name_of(path),
                     instead != nullptr ? instead : system_message(error));
  };
  for (;;) {
    Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
    expect(file.get() >= 0, errno);
    // Where a file system has no locks, nothing keeps other writers away, as with programs that never ask.
    const bool held = ::flock(file.get(), LOCK_EX | LOCK_NB) == 0 || errno == EOPNOTSUPP || errno == ENOLCK ||
                      errno == ENOSYS || errno == EINVAL;
    expect(held, errno, errno == EWOULDBLOCK ? "another process is writing it" : nullptr);
    // Between our open and our lock the previous holder may have renamed the file away: then it is no longer ours.
    struct stat ours {};
    struct stat named {};
    if (::fstat(file.get(), &ours) != 0 || ::stat(temporary.c_str(), &named) != 0 || ours.st_ino != named.st_ino) {
      continue;
    }
    const bool emptied = ::ftruncate(file.get(), 0) == 0;
    expect(emptied, errno);
    return file;
  }
}

int write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return 0;
}

/// Makes the rename itself survive a loss of power. File systems without this notion answer EINVAL.
int flush_directory(const fs::path& directory) {
  const Descriptor fd(::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0) return errno;
  return ::fsync(fd.get()) == 0 || errno == EINVAL || errno == ENOTSUP ? 0 : errno;
}

}  // namespace

void write_file_atomically(const fs::path& path, std::span<const std::string_view> pieces) {
  const fs::path target = resolve(path);
  fs::path temporary = target;
  temporary += ".tmp";
  const Descriptor file = open_temporary(temporary, path);

  int error = 0;
  for (const std::string_view piece : pieces) {
    if (error == 0) error = write_all(file.get(), piece);
  }
  if (error == 0 && ::fsync(file.get()) != 0) error = errno;
  if (error == 0 && ::rename(temporary.c_str(), target.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(temporary.c_str());
    fail<IoError>("{}: cannot be written: {}", name_of(path), system_message(error));
  }
  error = flush_directory(target.parent_path());
  require<IoError>(error == 0, "{}: was written, but may not survive a loss of power: {}", name_of(path),
                   system_message(error));
}

}  // namespace attune
