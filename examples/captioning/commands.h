#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "examples/support/graphs.h"
#include "examples/support/placement.h"
#include "examples/support/train_options.h"

namespace attune::examples::captioning {

struct TrainOptions : CommonTrainOptions {
  std::optional<std::string> data;  ///< folder of pictures and captions; none: the embedded scenes
  Device device;
  GraphMode graphs = GraphMode::kAuto;
};

/// How the best caption is looked for.
struct SearchOptions {
  int64_t beam = 5;             ///< 1: greedy
  double length_penalty = 0.4;  ///< exponent, 0: none; what is best for BLEU of Flickr8k's dev pictures
};

struct EvalOptions : SearchOptions {
  std::string checkpoint;
  std::string data;                   ///< folder; empty: the embedded scenes
  std::string split = "dev";          ///< pictures that a list of the folder names; of the scenes dev or test
  std::optional<std::string> blind;   ///< checkpoint of an image-blind model, for the table
  std::optional<std::string> output;  ///< file for the model's captions
  bool json = false;
  Placement placement;
};

struct CaptionOptions : SearchOptions {
  std::string checkpoint;
  std::vector<std::string> images;  ///< files
  std::optional<std::string> html;  ///< file for the page of what words looked at
  std::optional<std::string> png;   ///< folder for pictures of the same
  bool json = false;
  Placement placement;
};

// How each is asked for on the command line, but --threads, --device and, of a trained model, --precision.

void add_options(CLI::App& app, TrainOptions& options);
void add_options(CLI::App& app, EvalOptions& options);
void add_options(CLI::App& app, CaptionOptions& options);

// Each returns the exit status, and throws as run_program() expects.

int train(const TrainOptions& options);
int evaluate(const EvalOptions& options);
int caption(const CaptionOptions& options);

}  // namespace attune::examples::captioning
