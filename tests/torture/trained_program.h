#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "tests/torture/campaign.h"

namespace attune::torture {

/// A run that nothing disturbed: what others have to end like.
struct Undisturbed {
  Words train;  ///< command line without --out
  std::filesystem::path folder;
  double seconds = 0;

  Words into(const std::filesystem::path& out, const Words& more = {}) const;
};

/// One of the programs that train, with small settings that take a moment. Safe to be used by several threads.
class TrainedProgram {
 public:
  /// Writes its data below the campaign's folder. name: "sentiment", "translation" or "captioning".
  TrainedProgram(const CampaignOptions& options, std::string name);
  TrainedProgram(const TrainedProgram&) = delete;
  TrainedProgram& operator=(const TrainedProgram&) = delete;

  const std::string& name() const { return name_; }
  std::string executable() const { return "attune-" + name_; }
  size_t variants() const { return variants_.size(); }
  /// Trains it when it is asked for first. Throws Failure when that fails.
  const Undisturbed& undisturbed(Trial& trial, size_t variant);
  /// Any of them.
  const Undisturbed& undisturbed(Trial& trial) { return undisturbed(trial, trial.dice().below(variants())); }
  /// Folder or file of the data that are not embedded.
  const std::filesystem::path& data() const { return data_; }

  /// Command lines that use a checkpoint.
  struct Use {
    Words arguments;
    std::string input;
    bool repeats;  ///< prints the same each time: no speed
  };
  std::vector<Use> uses(const std::string& checkpoint) const;

 private:
  struct Variant {
    Words train;
    std::mutex mutex;
    std::optional<Undisturbed> done;
  };

  void sentiment();
  void translation();
  void captioning();
  /// words: what every variant begins with; each of `settings`: "key=value key=value ...".
  void add_variants(const Words& words, const std::vector<std::string>& settings);

  std::string name_;
  std::filesystem::path folder_;
  std::filesystem::path data_;
  std::vector<std::unique_ptr<Variant>> variants_;
};

}  // namespace attune::torture
