#include "examples/support/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "examples/support/notice.h"
#include "framework/atomic_file.h"
#include "framework/fail.h"
#include "framework/text.h"

namespace attune::examples {
namespace {

namespace fs = std::filesystem;

/// Makes the entries of a folder survive a loss of power. File systems without this notion answer EINVAL; what cannot
/// be opened is somebody else's.
void flush_folder(const fs::path& folder) {
  const int file = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return;
  ::fsync(file);
  ::close(file);
}

/// Creates a folder and those above it that are missing, for good.
void create_folders(const fs::path& path, std::error_code& error) {
  std::vector<fs::path> parents;  // of what is created
  for (fs::path folder = path; !folder.empty() && !fs::exists(folder, error); folder = folder.parent_path()) {
    parents.push_back(folder.parent_path());
  }
  error.clear();
  fs::create_directories(path, error);
  if (error) return;
  for (const fs::path& parent : parents) flush_folder(parent);
}

/// A lock that the file system does not have, unlike one that somebody else holds.
bool is_unsupported(int error) {
  return error == EOPNOTSUPP || error == ENOTSUP || error == ENOLCK || error == ENOSYS || error == EINVAL;
}

bool is_there(const fs::path& file) {
  std::error_code error;
  return fs::symlink_status(file, error).type() != fs::file_type::not_found;
}

}  // namespace

RunDirectory::RunDirectory(fs::path path) : path_(std::move(path)) {
  std::error_code error;
  create_folders(path_, error);
  require<IoError>(!error, "--out {}: cannot be created: {}", path_.string(), error.message());
  require_plain_files();
  try {
    lock();
    probe();
    // What a killed run left: nobody else can be writing now.
    for (fs::path file : files()) fs::remove(file += ".tmp", error);
  } catch (...) {
    if (lock_ >= 0) ::close(lock_);
    throw;
  }
}

RunDirectory::~RunDirectory() { ::close(lock_); }

std::vector<fs::path> RunDirectory::files() const { return {best(), last(), evaluation(), log(), config()}; }

void RunDirectory::require_plain_files() const {
  for (const fs::path& file : files()) {
    std::error_code error;
    const fs::file_type type = fs::symlink_status(file, error).type();
    const std::string name = file.filename().string();
    require<IoError>(type != fs::file_type::symlink,
                     "--out {}: {} is in the way: a link, which could lead out of the folder", path_.string(), name);
    require<IoError>(type == fs::file_type::not_found || type == fs::file_type::regular,
                     "--out {}: {} is in the way: not a regular file", path_.string(), name);
  }
}

/// The folder itself is locked: no file is left behind.
void RunDirectory::lock() {
  lock_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ >= 0 && ::flock(lock_, LOCK_EX | LOCK_NB) == 0) return;
  const int problem = errno;
  if (lock_ >= 0 && is_unsupported(problem)) {
    notice("warning: --out {}: the file system has no locks ({}); nothing keeps another process from training into it",
           path_.string(), system_message(problem));
    return;
  }
  fail<IoError>("--out {}: {}", path_.string(),
                problem == EWOULDBLOCK ? "another process is training into it" : system_message(problem));
}

/// Writes a file that is large enough to notice a full disk, and removes it. Whatever has its name is not followed.
void RunDirectory::probe() const {
  const fs::path probe = path_ / ".probe";
  ::unlink(probe.c_str());  // of a killed process
  const int file = ::open(probe.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  require<IoError>(file >= 0, "{}: cannot be written: {}", probe.string(), system_message(errno));
  const std::string bytes(4096, ' ');
  errno = ENOSPC;
  const bool written =
      ::write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()) && ::fsync(file) == 0;
  const int error = errno;
  ::close(file);
  ::unlink(probe.c_str());
  require<IoError>(written, "{}: cannot be written: {}", probe.string(), system_message(error));
}

bool RunDirectory::holds_run() const {
  const std::vector<fs::path> all = files();
  return std::any_of(all.begin(), all.end(), is_there);
}

bool RunDirectory::holds_checkpoint() const { return is_there(last()); }

bool RunDirectory::holds_only_config() const {
  std::error_code error;
  const bool logged = is_there(log()) && fs::file_size(log(), error) > 0;
  return is_there(config()) && !is_there(last()) && !is_there(best()) && !logged;
}

void RunDirectory::write_config(std::string_view json) const { write_file_atomically(config(), json); }

void RunDirectory::clear() const {
  for (const fs::path& file : files()) {
    std::error_code error;
    fs::remove(file, error);
    require<IoError>(!error, "{}: cannot be removed: {}", file.string(), error.message());
  }
}

void RunDirectory::remove_evaluation() const {
  std::error_code error;
  fs::remove(evaluation(), error);
}

void RunDirectory::reset_log(const std::vector<std::string>& lines) const {
  std::string text;
  for (const auto& line : lines) text += line + '\n';
  write_file_atomically(log(), text);
}

void RunDirectory::append_log(std::string_view line) const {
  const std::string text = std::string(line) + '\n';
  const int file = ::open(log().c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  require<IoError>(file >= 0, "{}: cannot be written: {}", log().string(), system_message(errno));
  const off_t before = ::lseek(file, 0, SEEK_END);
  const ssize_t written = ::write(file, text.data(), text.size());
  const int error = written < 0 ? errno : ENOSPC;
  const bool whole = written == static_cast<ssize_t>(text.size());
  // Half a line would spoil the file for those who read it.
  if (!whole && before >= 0 && ::ftruncate(file, before) != 0) { /* the first error says enough */
  }
  ::close(file);
  require<IoError>(whole, "{}: cannot be written: {}", log().string(), system_message(error));
}

}  // namespace attune::examples
