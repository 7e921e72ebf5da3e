#include "datasets/classification.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "datasets/rewrite.h"
#include "datasets/utf8.h"
#include "framework/fail.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kExpectedLine = "expected 'label<TAB>text' with label 0 or 1";

// The two columns of a line. `label_first` says which is which.
struct Columns {
  std::string_view text;
  std::string_view label;
};

// False when the line does not have exactly one tab.
bool split_columns(std::string_view line, bool label_first, Columns& columns) {
  const size_t tab = line.find('\t');
  if (tab == std::string_view::npos || line.find('\t', tab + 1) != std::string_view::npos) return false;
  const std::string_view left = line.substr(0, tab);
  const std::string_view right = line.substr(tab + 1);
  columns = label_first ? Columns{right, left} : Columns{left, right};
  return true;
}

bool is_header(std::string_view line, bool label_first) {
  Columns columns;
  if (!split_columns(line, label_first, columns)) return false;
  return columns.label == "label" && (columns.text == "sentence" || columns.text == "text");
}

void add(ClassificationData& data, std::string_view text, int64_t label) {
  data.examples.push_back({std::string(text), label});
  ++data.report.class_counts[static_cast<size_t>(label)];
}

void read_lines(TextReader& reader, ClassificationData& data) {
  data.files = {reader.path()};
  data.report.format = "label<TAB>text";
  bool label_first = true;
  bool first_line = true;
  std::string expected(kExpectedLine);
  std::string_view line;
  while (reader.next(line)) {
    if (std::exchange(first_line, false)) {
      require<FormatError>(line != "index\tsentence",
                           "{}: header 'index<TAB>sentence' is that of GLUE's unlabelled test part, {}", reader.path(),
                           kExpectedLine);
      const bool text_label = is_header(line, false);
      if (text_label || is_header(line, true)) {
        label_first = !text_label;
        data.report.format = label_first ? "label<TAB>text with header" : "sentence<TAB>label with header";
        if (text_label) expected = "expected 'sentence<TAB>label' with label 0 or 1 (as the header says)";
        continue;
      }
    }
    if (utf8::is_blank(line)) {
      ++data.report.empty;
      continue;
    }
    Columns columns;
    if (!split_columns(line, label_first, columns)) {
      const auto tabs = std::count(line.begin(), line.end(), '\t');
      fail<FormatError>("{}: {} in {}, {}", reader.where(), tabs == 0 ? "no tab" : fmt::format("{} tabs", tabs),
                        utf8::quoted(line), expected);
    }
    if (columns.label != "0" && columns.label != "1") {
      const bool swapped = columns.text == "0" || columns.text == "1";
      fail<FormatError>("{}: label {} is not 0 or 1, {}{}", reader.where(), utf8::quoted(columns.label), expected,
                        swapped ? "; with the label last, a first line 'sentence<TAB>label' says so" : "");
    }
    if (utf8::is_blank(columns.text)) {
      ++data.report.empty;
      continue;
    }
    add(data, columns.text, columns.label == "1" ? 1 : 0);
    data.lines.push_back(reader.line_number());
  }
  require<FormatError>(reader.line_number() > 0, "{}: the file is empty, {}", reader.path(), kExpectedLine);
}

// Folder entries in the order of their names, which the file system does not promise.
std::vector<fs::path> sorted_reviews(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.ends_with(".txt") || name.ends_with(".txt.gz")) paths.push_back(entry->path());
  }
  require<IoError>(!error, "{}: cannot be read: {}", folder.string(), error.message());
  std::sort(paths.begin(), paths.end());
  return paths;
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

void read_folder(const fs::path& root, const ClassificationReadOptions& options, ClassificationData& data) {
  const auto has_classes = [](const fs::path& folder) {
    return is_folder(folder / "pos") && is_folder(folder / "neg");
  };
  const fs::path folder = has_classes(root) ? root : root / options.split;
  require<FormatError>(has_classes(folder),
                       "{}: a folder without {}/pos and {}/neg, expected an aclImdb folder or a file", root.string(),
                       options.split, options.split);
  data.report.format = "aclImdb folder";
  for (int64_t label : {0, 1}) {
    for (const fs::path& path : sorted_reviews(folder / (label == 1 ? "pos" : "neg"))) {
      TextReader reader(path.string(), options.text);
      std::string text;
      std::string_view line;
      while (reader.next(line)) text.append(text.empty() ? "" : " ").append(line);
      rewrite::replace_all(text, "<br />", " ");
      if (utf8::is_blank(text)) {
        ++data.report.empty;
        continue;
      }
      add(data, text, label);
      data.files.push_back(path.string());
    }
  }
}

void count_duplicates(ClassificationData& data) {
  std::unordered_map<std::string_view, int64_t> labels;
  labels.reserve(data.examples.size());
  for (const ClassificationExample& example : data.examples) {
    const auto [first, is_new] = labels.emplace(example.text, example.label);
    if (is_new) continue;
    ++data.report.duplicates;
    if (first->second != example.label) ++data.report.contradictions;
  }
}

/// Throws unless there are examples, and counts what is there twice.
void finish(ClassificationData& data, const std::string& path, const ClassificationReadOptions& options) {
  const auto [negative, positive] = data.report.class_counts;
  require<FormatError>(!data.examples.empty(), "{}: no examples ({} empty), {}", path, data.report.empty,
                       is_folder(path) ? "expected reviews in pos/*.txt and neg/*.txt" : kExpectedLine);
  require<FormatError>(!options.require_both_classes || (negative > 0 && positive > 0),
                       "{}: all {} examples have label {}, expected both 0 and 1 to learn from", path,
                       data.examples.size(), positive > 0 ? 1 : 0);
  count_duplicates(data);
}

}  // namespace

std::string ClassificationReport::to_string() const {
  return fmt::format(
      "{} examples ({} negative, {} positive) from {}, {} empty left out, {} duplicates ({} with the other label)",
      class_counts[0] + class_counts[1], class_counts[0], class_counts[1], format, empty, duplicates, contradictions);
}

std::string ClassificationData::origin(size_t example) const {
  if (example < lines.size()) return fmt::format("{}: line {}", files.front(), lines[example]);
  if (example < files.size()) return files[example];
  return fmt::format("example {}", example + 1);
}

ClassificationData read_classification(TextReader& reader, const ClassificationReadOptions& options) {
  ClassificationData data;
  read_lines(reader, data);
  finish(data, reader.path(), options);
  return data;
}

ClassificationData read_classification(const std::string& path, const ClassificationReadOptions& options) {
  if (!is_folder(path)) {
    TextReader reader(path, options.text);
    return read_classification(reader, options);
  }
  ClassificationData data;
  read_folder(path, options, data);
  finish(data, path, options);
  return data;
}

std::vector<int64_t> encode_text(const std::string& text, const std::string& origin, const WordTokenizer& tokenizer,
                                 const Vocabulary& vocabulary, const EncodeOptions& options,
                                 EncodedClassification* stats) {
  const std::vector<std::string> words = tokenizer(text);
  if (words.empty()) fail<FormatError>("{}: no words in the text, expected at least one", origin);
  std::vector<int64_t> ids = vocabulary.encode(words);
  if (stats != nullptr) stats->unknown += std::count(ids.begin(), ids.end(), Vocabulary::kUnknown);
  if (options.first) ids.insert(ids.begin(), *options.first);
  const auto length = static_cast<int64_t>(ids.size());
  if (options.max_length > 0 && length > options.max_length) {
    if (!options.truncate) {
      fail<FormatError>("{}: {} tokens, the model takes at most {}; shorten the text or {}", origin, length,
                        options.max_length, options.remedy);
    }
    ids.resize(static_cast<size_t>(options.max_length));
    if (stats != nullptr) ++stats->truncated;
  }
  return ids;
}

EncodedClassification encode_classification(const ClassificationData& data, const WordTokenizer& tokenizer,
                                            const Vocabulary& vocabulary, const EncodeOptions& options) {
  EncodedClassification encoded;
  for (size_t i = 0; i < data.examples.size(); ++i) {
    const ClassificationExample& example = data.examples[i];
    encoded.sequences.add(encode_text(example.text, data.origin(i), tokenizer, vocabulary, options, &encoded),
                          example.label);
  }
  return encoded;
}

}  // namespace attune
