#include "examples/support/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "framework/atomic_file.h"
#include "framework/fail.h"

namespace attune::examples {
namespace {

namespace fs = std::filesystem;

std::string reason(int error) { return std::generic_category().message(error); }

}  // namespace

RunDirectory::RunDirectory(fs::path path) : path_(std::move(path)) {
  std::error_code error;
  fs::create_directories(path_, error);
  require<IoError>(!error, "--out {}: cannot be created: {}", path_.string(), error.message());
  for (const fs::path& file : {best(), last(), config(), log()}) {
    const fs::file_type type = fs::status(file, error).type();
    require<IoError>(type == fs::file_type::not_found || type == fs::file_type::regular,
                     "--out {}: {} is in the way: not a regular file", path_.string(), file.filename().string());
  }
  // The folder itself is locked: no file is left behind.
  lock_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool locked = lock_ >= 0 && ::flock(lock_, LOCK_EX | LOCK_NB) == 0;
  const int problem = errno;
  try {
    require<IoError>(locked, "--out {}: {}", path_.string(),
                     problem == EWOULDBLOCK ? "another process is training into it" : reason(problem));
    // The same way that checkpoints take, and large enough to notice a full disk.
    const fs::path probe = path_ / ".probe";
    write_file_atomically(probe, std::string(4096, ' '));
    fs::remove(probe, error);
    // What a killed run left: nobody else can be writing now.
    for (fs::path file : {best(), last(), config(), log()}) fs::remove(file += ".tmp", error);
  } catch (...) {
    if (lock_ >= 0) ::close(lock_);
    throw;
  }
}

RunDirectory::~RunDirectory() { ::close(lock_); }

bool RunDirectory::holds_run() const {
  std::error_code error;
  return fs::exists(last(), error);
}

void RunDirectory::write_config(std::string_view json) const { write_file_atomically(config(), json); }

void RunDirectory::reset_log(const std::vector<std::string>& lines) const {
  std::string text;
  for (const auto& line : lines) text += line + '\n';
  write_file_atomically(log(), text);
}

void RunDirectory::append_log(std::string_view line) const {
  const std::string text = std::string(line) + '\n';
  const int file = ::open(log().c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  require<IoError>(file >= 0, "{}: cannot be written: {}", log().string(), reason(errno));
  const off_t before = ::lseek(file, 0, SEEK_END);
  const ssize_t written = ::write(file, text.data(), text.size());
  const int error = written < 0 ? errno : ENOSPC;
  const bool whole = written == static_cast<ssize_t>(text.size());
  // Half a line would spoil the file for those who read it.
  if (!whole && before >= 0 && ::ftruncate(file, before) != 0) { /* the first error says enough */
  }
  ::close(file);
  require<IoError>(whole, "{}: cannot be written: {}", log().string(), reason(error));
}

}  // namespace attune::examples
