#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "examples/support/program.h"

namespace attune::examples {

struct TrainOptions {
  std::optional<std::string> data;
  std::optional<std::string> dev;
  std::string out;
  std::optional<std::string> preset;
  std::optional<std::string> config;
  std::optional<int64_t> epochs;
  std::optional<double> budget;  ///< seconds
  bool resume = false;
  std::optional<uint64_t> seed;
  std::optional<int> threads;
  std::vector<std::string> settings;
  bool json = false;
};

struct EvalOptions {
  std::string checkpoint;
  std::string data;  ///< empty: the test part of the embedded reviews
  bool json = false;
};

struct PredictOptions {
  std::string checkpoint;
  std::optional<std::string> text;  ///< without: lines of standard input
  std::optional<std::string> html;  ///< file for the page of the weights
  bool json = false;
};

/// Exit status of a run that was interrupted and can be resumed: 128 + SIGINT.
constexpr int kInterrupted = 130;

// Each returns the exit status, and throws as run_program() expects.

int train(const TrainOptions& options);
int evaluate(const EvalOptions& options);
int predict(const PredictOptions& options);

}  // namespace attune::examples
