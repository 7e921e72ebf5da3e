#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "datasets/text_reader.h"

namespace attune {

/// Takes a caption, valid UTF-8; `where` names its place in the file for messages.
using AddCaption =
    std::function<void(std::string_view image, std::string_view caption, const std::function<std::string()>& where)>;

/// Hands out what a file of captions holds, of any format of read_captions(), whose errors it throws. Returns the name
/// of the format.
std::string read_caption_file(const std::string& path, const TextReaderOptions& options, const AddCaption& add);

/// The JSON of COCO captions in memory.
void read_coco_captions(std::string_view text, const std::string& path, const AddCaption& add);

}  // namespace attune
