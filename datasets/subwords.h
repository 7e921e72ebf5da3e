#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "datasets/text_codec.h"

namespace attune {

/// SentencePiece's mark of a space before a piece, U+2581.
inline constexpr const char* kSpaceMark = "\xE2\x96\x81";

// The codecs that SentencePiece makes; see train_codec() and TextCodec::load(). Sentences are valid UTF-8.

std::unique_ptr<TextCodec> train_subwords(std::span<const std::span<const std::string>> sentences,
                                          const CodecOptions& options);
std::unique_ptr<TextCodec> load_subwords(std::string_view bytes, const std::string& origin);

}  // namespace attune
