#pragma once

#include <memory>
#include <string>

#include "autograd/optim/optimizer.h"
#include "datasets/text_codec.h"
#include "examples/captioning/config.h"
#include "examples/captioning/model.h"
#include "framework/checkpoint.h"

namespace attune::examples::captioning {

std::unique_ptr<CaptioningModel> make_model(const Config& config, const TextCodec& codec);

/// What an average of weights is made of: the parameters, and the statistics of the batch normalisations, which belong
/// to them.
ParameterList averaged_parts(const CaptioningModel& model);

/// A trained model, in evaluation mode.
struct Snapshot {
  Config config;
  std::shared_ptr<const TextCodec> codec;
  std::unique_ptr<CaptioningModel> model;
};

/// Where a checkpoint of this program has its codec.
inline constexpr const char* kCodecPath = "codec";

/// Reads best.h5 or last.h5; of the latter the averaged weights, where the run keeps an average. Throws IoError and
/// FormatError that name the file.
Snapshot load_snapshot(const std::string& path);

}  // namespace attune::examples::captioning
