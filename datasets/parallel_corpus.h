#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "datasets/text_reader.h"

namespace attune {

struct ParallelReadOptions {
  /// Pairs of which a side has nothing but space are left out and counted; true: they stay, so that line i of an answer
  /// belongs to line i of a file.
  bool keep_empty = false;
  TextReaderOptions text = {};
};

/// Sentences and their translations, line by line.
struct ParallelCorpus {
  std::vector<std::string> source;
  std::vector<std::string> target;
  std::vector<int64_t> lines;  ///< of both files, from 1
  std::string source_path;
  std::string target_path;
  int64_t empty = 0;  ///< pairs left out: a side has nothing but space

  int64_t size() const { return static_cast<int64_t>(source.size()); }
  /// "train.en and train.de: line 12", for messages.
  std::string origin(size_t pair) const;
  /// "29000 pairs from data/train.en and data/train.de, 0 with an empty side left out"
  std::string to_string() const;
};

/// Reads two aligned files, plain or gzipped: line i of one is the translation of line i of the other.
///
/// Throws IoError and FormatError (see TextReader), and FormatError for files of different numbers of lines, naming
/// both, or without any pair.
ParallelCorpus read_parallel_files(const std::string& source_path, const std::string& target_path,
                                   const ParallelReadOptions& options = {});
/// The same of lines.
ParallelCorpus read_parallel_lines(TextReader& source, TextReader& target, const ParallelReadOptions& options = {});

/// read_parallel_files for DIR/SPLIT.SOURCE and DIR/SPLIT.TARGET, each with or without .gz: "data", "train", "en",
/// "de". Besides, throws IoError for a file that is not there, naming the languages that the split has, and for one
/// that is there plain and gzipped.
ParallelCorpus read_parallel(const std::string& folder, const std::string& split, const std::string& source,
                             const std::string& target, const ParallelReadOptions& options = {});

/// The splits of a folder that both languages have, in the order of their names: "test2016", "train", "val". Throws
/// IoError for a folder that cannot be read.
std::vector<std::string> parallel_splits(const std::string& folder, const std::string& source,
                                         const std::string& target);

}  // namespace attune
