#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "datasets/byte_reader.h"
#include "datasets/text_reader.h"

namespace attune {

/// Takes a caption, valid UTF-8; `where` names its place in the file for messages.
using AddCaption =
    std::function<void(std::string_view image, std::string_view caption, const std::function<std::string()>& where)>;

struct CaptionFormat {
  std::string name;
  bool has_splits = false;  ///< the file says itself which split each picture is in
};

/// Hands out what a file of captions holds, of any format of read_captions(), whose errors it throws. split: of a file
/// that has splits, the one that is handed out; empty: all.
CaptionFormat read_caption_file(ByteReader bytes, const TextReaderOptions& options, const std::string& split,
                                const AddCaption& add);

/// The same of JSON in memory: COCO's or Karpathy's.
CaptionFormat read_caption_json(std::string_view text, const std::string& path, const std::string& split,
                                const AddCaption& add);

/// The caption without line ends and runs of space.
std::string one_line_caption(std::string_view caption);

/// The first `columns` fields of a record of comma-separated values (RFC 4180): those in quotes may hold commas and,
/// doubled, quotes. The last column takes what is left, unquoted commas included. False when a quote is open at the end
/// or something stands behind a closed one.
bool split_csv(std::string_view record, int64_t columns, std::vector<std::string>& fields);

}  // namespace attune
