#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "examples/support/train_options.h"

namespace attune::examples::translation {

struct TrainOptions : CommonTrainOptions {
  std::optional<std::string> data;    ///< folder of train.LANG and val.LANG; none: the embedded grammar
  std::optional<std::string> source;  ///< language
  std::optional<std::string> target;
};

struct EvalOptions {
  std::string checkpoint;
  std::string source_file;
  std::string reference_file;
  int64_t beam = 1;
  bool json = false;
};

struct TranslateOptions {
  std::string checkpoint;
  int64_t beam = 1;
  int64_t nbest = 1;
  std::optional<std::string> html;  ///< file for the page of alignments
};

// How each is asked for on the command line, but --threads.

void add_options(CLI::App& app, TrainOptions& options);
void add_options(CLI::App& app, EvalOptions& options);
void add_options(CLI::App& app, TranslateOptions& options);

// Each returns the exit status, and throws as run_program() expects.

int train(const TrainOptions& options);
int evaluate(const EvalOptions& options);
int translate(const TranslateOptions& options);

}  // namespace attune::examples::translation
