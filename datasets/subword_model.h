#pragma once

#include <string>
#include <string_view>

namespace attune {

/// Throws FormatError that begins with `origin` unless `model`, SentencePiece's serialized model, is one that
/// train_subwords() can have made: pieces of unigrams or byte pairs, all different, with finite scores, <pad>, <unk>,
/// <bos> and <eos> before them, and no normalisation. SentencePiece trusts what it is given, and a table of
/// normalisation (precompiled_charsmap) that leads outside of itself ends the process.
void require_plain_model(std::string_view model, const std::string& origin);

}  // namespace attune
