#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace attune::examples {

/// The folder of one training run (--out): config.json, log.jsonl, best.h5, last.h5.
///
/// What survives a kill at any moment: the checkpoints are replaced as one step, and log.jsonl is only a copy of the
/// history in last.h5: a resumed run writes it anew up to its own point and goes on.
class RunDirectory {
 public:
  /// Creates the folder where it is missing and makes sure that files can be written in it, before any work is done.
  /// Holds it against other processes for the lifetime of this object. Changes none of the files. Throws IoError.
  explicit RunDirectory(std::filesystem::path path);
  ~RunDirectory();
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path best() const { return path_ / "best.h5"; }
  std::filesystem::path last() const { return path_ / "last.h5"; }
  std::filesystem::path config() const { return path_ / "config.json"; }
  std::filesystem::path log() const { return path_ / "log.jsonl"; }

  /// There is something to resume: last.h5 exists.
  bool holds_run() const;

  /// Replaces config.json as one step. Throws IoError.
  void write_config(std::string_view json) const;
  /// Replaces log.jsonl as one step by these lines: none for a new run, the checkpoint's history for a resumed one.
  void reset_log(const std::vector<std::string>& lines) const;
  /// Adds one line, without its end. Throws IoError.
  void append_log(std::string_view line) const;

 private:
  std::filesystem::path path_;
  int lock_ = -1;
};

}  // namespace attune::examples
