#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace attune::examples {

/// What an evaluation has found so far, part by part, in a small file: an evaluation that was killed goes on with the
/// part in which that happened, so that a run gets past it however often it is killed. Weights are a function of the
/// run and its step, hence what was found for the one is true of the other.
///
/// Without begin() nothing is kept: compute() is called for every part.
class PartialEvaluation {
 public:
  using Json = nlohmann::ordered_json;

  PartialEvaluation();
  ~PartialEvaluation();
  PartialEvaluation(const PartialEvaluation&) = delete;
  PartialEvaluation& operator=(const PartialEvaluation&) = delete;

  /// Of the evaluation after `step` of the run that `run` describes; what `file` has of the same one is taken over. The
  /// file is written at most every `save_every` seconds.
  void begin(std::filesystem::path file, std::string run, int64_t step, double save_every);
  /// The evaluation is over, and saved with the run: removes the file.
  void end();
  /// Writes what has not been written yet, before the process ends.
  void save();

  /// What was found as part `name`, or else compute(), which is kept. Texts are UTF-8, numbers finite or null.
  Json part(const std::string& name, const std::function<Json()>& compute);

  /// Names of parts from now on begin with this: an evaluation may look at several weights.
  void set_prefix(const std::string& prefix);

 private:
  struct State;

  std::unique_ptr<State> state_;
};

}  // namespace attune::examples
