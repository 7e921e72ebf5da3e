#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "datasets/sequences.h"
#include "datasets/text_reader.h"
#include "datasets/tokenizer.h"
#include "datasets/vocabulary.h"

namespace attune {

/// A text and its class: 0 negative, 1 positive.
struct ClassificationExample {
  std::string text;
  int64_t label = 0;

  bool operator==(const ClassificationExample&) const = default;
};

/// What was met while reading.
struct ClassificationReport {
  std::string format;                     ///< "label<TAB>text", "sentence<TAB>label with header" or "aclImdb folder"
  std::array<int64_t, 2> class_counts{};  ///< examples by label
  int64_t empty = 0;                      ///< left out: nothing but space, as a line or as a text
  int64_t duplicates = 0;                 ///< kept: a text that was there before
  int64_t contradictions = 0;             ///< those of them that were there with the other label

  /// "6917 examples (3309 negative, 3608 positive) from label<TAB>text, 0 empty left out, 12 duplicates (2 with the
  /// other label)"
  std::string to_string() const;
};

struct ClassificationData {
  std::vector<ClassificationExample> examples;
  ClassificationReport report;
  std::vector<std::string> files;  ///< one for all examples, or one for each
  std::vector<int64_t> lines;      ///< line of each example when there is one file

  /// Where an example comes from, for messages: "train.tsv: line 12" or "train/pos/0_9.txt".
  std::string origin(size_t example) const;
};

struct ClassificationReadOptions {
  /// Texts of one class alone are an error: nothing can be learned from them.
  bool require_both_classes = false;
  /// Part of an aclImdb folder that has several; a folder that holds pos/ and neg/ itself is taken as it is.
  std::string split = "train";
  TextReaderOptions text = {};
};

/// Reads labelled texts. What `path` holds is seen from its content, each plain or gzipped:
/// - lines `label<TAB>text`;
/// - lines `sentence<TAB>label` below exactly this header (GLUE's SST-2; `text` for `sentence` and the other order,
/// label
///   first, are recognised too);
/// - a folder as of the Large Movie Review Dataset (Maas et al., ACL 2011): pos/*.txt and neg/*.txt, or the same in
///   train/ and test/; one review a file (.txt or .txt.gz), in the order of the file names; <br /> becomes a space.
/// Labels are 0 and 1. Blank lines and blank texts are left out and counted.
///
/// Throws IoError and FormatError (see TextReader); besides, FormatError for a line without a tab or with two, another
/// label, no examples at all, or one class only when both are required. The text is one line: file, line, what was
/// expected.
ClassificationData read_classification(const std::string& path, const ClassificationReadOptions& options = {});
/// The same of lines.
ClassificationData read_classification(TextReader& reader, const ClassificationReadOptions& options = {});

struct EncodeOptions {
  /// Most tokens of an example, `first` included; 0: no limit.
  int64_t max_length = 0;
  /// What is longer is cut off at its end; false: it is an error.
  bool truncate = false;
  /// What the error says about that: how texts may be cut.
  const char* remedy = "allow truncation";
  /// Number of a token put before every text, such as <cls>.
  std::optional<int64_t> first = {};
};

struct EncodedClassification {
  LabelledSequences sequences;
  int64_t unknown = 0;    ///< words that the vocabulary does not know
  int64_t truncated = 0;  ///< examples that were cut
};

/// Token numbers of one text. Throws FormatError, beginning with `origin`, for a text without tokens or, unless it may
/// be truncated, above options.max_length. `stats` (optional) counts unknown words and truncated texts.
std::vector<int64_t> encode_text(const std::string& text, const std::string& origin, const WordTokenizer& tokenizer,
                                 const Vocabulary& vocabulary, const EncodeOptions& options,
                                 EncodedClassification* stats = nullptr);

/// encode_text for all examples, errors naming file and line.
EncodedClassification encode_classification(const ClassificationData& data, const WordTokenizer& tokenizer,
                                            const Vocabulary& vocabulary, const EncodeOptions& options = {});

}  // namespace attune
