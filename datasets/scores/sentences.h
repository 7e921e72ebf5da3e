#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace attune::scores {

/// The version of sacreBLEU whose figures the tests hold; part of signatures.
inline constexpr std::string_view kSacreBleuVersion = "2.6.0";

// Errors begin with `who`, the name of the score.

/// Throws FormatError unless `text` is UTF-8: "BLEU: hypothesis 3: byte 5 ...", counted from 1.
void check_utf8(std::string_view who, std::string_view what, size_t number, std::string_view text);

/// Throws ValueError for no hypotheses, no references or sets of references of another length; FormatError for a
/// sentence that is not UTF-8.
void check_corpus(std::string_view who, std::span<const std::string> hypotheses,
                  std::span<const std::vector<std::string>> references);
/// The same for one sentence.
void check_sentence(std::string_view who, const std::string& hypothesis, std::span<const std::string> references);

/// Of each set of references the one of sentence i.
std::vector<std::string_view> references_of(std::span<const std::vector<std::string>> references, size_t i);

}  // namespace attune::scores
