#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "examples/support/graphs.h"
#include "examples/support/placement.h"
#include "examples/support/train_options.h"

namespace attune::examples::translation {

struct TrainOptions : CommonTrainOptions {
  std::optional<std::string> data;    ///< folder of train.LANG and val.LANG; none: the embedded grammar
  std::optional<std::string> source;  ///< language
  std::optional<std::string> target;
  Device device;
  GraphMode graphs = GraphMode::kAuto;
};

/// How the best translation is looked for, and what becomes of sentences that are longer than the model takes.
struct SearchOptions {
  int64_t beam = 5;             ///< 1: greedy
  double length_penalty = 1;    ///< exponent, 0: none
  double coverage_penalty = 0;  ///< weight, 0: none
  bool truncate = false;        ///< cut overlong sentences; false: they are an error
};

struct EvalOptions : SearchOptions {
  std::string checkpoint;
  std::string source_file;                   ///< empty: the test part of the embedded grammar
  std::vector<std::string> reference_files;  ///< translations of it
  std::optional<std::string> output;         ///< file for the model's translations
  bool json = false;
  Placement placement;
};

struct TranslateOptions : SearchOptions {
  std::string checkpoint;
  int64_t nbest = 1;
  bool sample = false;              ///< draw translations by their probability
  double temperature = 1;           ///< of the draws
  uint64_t seed = 1;                ///< of the draws
  std::optional<std::string> html;  ///< file for the page of alignments
  bool json = false;
  Placement placement;
};

// How each is asked for on the command line, but --threads, --device and, of a trained model, --precision.

void add_options(CLI::App& app, TrainOptions& options);
void add_options(CLI::App& app, EvalOptions& options);
void add_options(CLI::App& app, TranslateOptions& options);

// Each returns the exit status, and throws as run_program() expects.

int train(const TrainOptions& options);
int evaluate(const EvalOptions& options);
int translate(const TranslateOptions& options);

}  // namespace attune::examples::translation
