#pragma once

#include <optional>
#include <string>

#include "examples/support/graphs.h"
#include "examples/support/placement.h"
#include "examples/support/train_options.h"

namespace attune::examples {

struct TrainOptions : CommonTrainOptions {
  std::optional<std::string> data;
  std::optional<std::string> dev;
  Device device;
  GraphMode graphs = GraphMode::kAuto;
};

struct EvalOptions {
  std::string checkpoint;
  std::string data;       ///< empty: the test part of the embedded reviews
  bool truncate = false;  ///< cut texts that are longer than the model takes; false: they are an error
  bool json = false;
  Placement placement;
};

struct PredictOptions {
  std::string checkpoint;
  std::optional<std::string> text;  ///< without: lines of standard input
  std::optional<std::string> html;  ///< file for the page of the weights
  bool truncate = false;            ///< as for eval
  bool json = false;
  Placement placement;
};

// Each returns the exit status, and throws as run_program() expects.

int train(const TrainOptions& options);
int evaluate(const EvalOptions& options);
int predict(const PredictOptions& options);

}  // namespace attune::examples
