#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace attune::examples {

/// The folder of one training run (--out): config.json, log.jsonl, best.h5, last.h5; evaluation.json while an
/// evaluation is under way, see PartialEvaluation.
///
/// What survives a kill at any moment: the checkpoints and config.json are replaced as one step, and log.jsonl is only
/// a copy of the history in last.h5: a resumed run writes it anew up to its own point and goes on. config.json comes
/// first and says all that a run is: where there is no last.h5 yet, the run begins again from it.
///
/// Links are not followed: where one of these names is a link, the folder is refused.
class RunDirectory {
 public:
  /// Creates the folder where it is missing and makes sure that files can be written in it, before any work is done.
  /// Holds it against other processes for the lifetime of this object; where the file system has no locks, says so on
  /// standard error and goes on without. Changes none of the files. Throws IoError.
  explicit RunDirectory(std::filesystem::path path);
  ~RunDirectory();
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path best() const { return path_ / "best.h5"; }
  std::filesystem::path last() const { return path_ / "last.h5"; }
  std::filesystem::path config() const { return path_ / "config.json"; }
  std::filesystem::path log() const { return path_ / "log.jsonl"; }
  std::filesystem::path evaluation() const { return path_ / "evaluation.json"; }

  /// There is a file of a run, whichever: nothing here may be overwritten unless that is asked for.
  bool holds_run() const;
  /// There is a run to go on with: last.h5 exists.
  bool holds_checkpoint() const;
  /// There is a run to begin again: it left config.json and nothing that it has learned.
  bool holds_only_config() const;

  /// Replaces config.json as one step. Throws IoError.
  void write_config(std::string_view json) const;
  /// Removes the files of a run, config.json last: whatever of them a kill leaves is of one run. Throws IoError.
  void clear() const;
  /// Removes what an evaluation has left that is over.
  void remove_evaluation() const;
  /// Replaces log.jsonl as one step by these lines: none for a new run, the checkpoint's history for a resumed one.
  void reset_log(const std::vector<std::string>& lines) const;
  /// Adds one line, without its end. Throws IoError.
  void append_log(std::string_view line) const;

 private:
  std::vector<std::filesystem::path> files() const;
  void require_plain_files() const;
  void lock();
  void probe() const;

  std::filesystem::path path_;
  int lock_ = -1;
};

}  // namespace attune::examples
