#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "datasets/text_codec.h"
#include "framework/checkpoint.h"
#include "layers/module.h"

// What the checkpoints of the programs have in common.

namespace attune::examples {

/// Keeps a codec in a checkpoint: its bytes, eight in each element of an int64 tensor behind their number.
void put_codec(Checkpoint& checkpoint, std::string path, const TextCodec& codec);
/// Throws FormatError that begins with `file`, which the checkpoint was read from, when there is none.
std::unique_ptr<TextCodec> codec_of(const Checkpoint& checkpoint, std::string_view path, const std::string& file);

/// Calls load(), which copies the tensors of a checkpoint into `model`; what does not fit, and weights that are not
/// finite, become a FormatError that begins with `file`.
void load_weights(const std::string& file, const Module& model, const std::function<void()>& load);

}  // namespace attune::examples
