#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "datasets/text_codec.h"
#include "framework/checkpoint.h"

namespace attune::examples {

/// Keeps a codec in a checkpoint: its bytes, eight in each element of an int64 tensor behind their number.
void put_codec(Checkpoint& checkpoint, std::string path, const TextCodec& codec);
/// Throws FormatError that begins with `file`, which the checkpoint was read from, when there is none.
std::unique_ptr<TextCodec> codec_of(const Checkpoint& checkpoint, std::string_view path, const std::string& file);

}  // namespace attune::examples
