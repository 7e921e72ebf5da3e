#include "datasets/parallel_corpus.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <string_view>
#include <system_error>

#include "datasets/utf8.h"
#include "framework/fail.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

std::set<std::string> file_names(const std::string& folder) {
  std::set<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    names.insert(entry->path().filename().string());
  }
  require<IoError>(!error, "{}: cannot be read: {}", folder, error.message());
  return names;
}

std::string_view without_gz(std::string_view name) {
  if (name.ends_with(".gz")) name.remove_suffix(3);
  return name;
}

/// "de, en, fr": what follows "SPLIT." in the names.
std::string languages_of(const std::set<std::string>& names, const std::string& split) {
  std::set<std::string> languages;
  for (const std::string& name : names) {
    const std::string_view plain = without_gz(name);
    if (plain.starts_with(split + ".")) languages.emplace(plain.substr(split.size() + 1));
  }
  std::string list;
  for (const std::string& language : languages) list += (list.empty() ? "" : ", ") + language;
  return list.empty() ? "none" : list;
}

std::string path_of(const std::string& folder, const std::set<std::string>& names, const std::string& split,
                    const std::string& language) {
  const std::string name = split + "." + language;
  const bool plain = names.contains(name);
  const bool zipped = names.contains(name + ".gz");
  require<IoError>(plain || zipped, "{}: no {}, plain or .gz; languages of '{}' there: {}", folder, name, split,
                   languages_of(names, split));
  require<IoError>(plain != zipped, "{}: {} is there plain and as .gz, expected one of them", folder, name);
  return (fs::path(folder) / (plain ? name : name + ".gz")).string();
}

int64_t count_rest(TextReader& reader) {
  std::string_view line;
  while (reader.next(line)) continue;
  return reader.line_number();
}

}  // namespace

std::string ParallelCorpus::origin(size_t pair) const {
  return fmt::format("{} and {}: line {}", source_path, target_path, lines[pair]);
}

std::string ParallelCorpus::to_string() const {
  return fmt::format("{} pairs from {} and {}, {} with an empty side left out", size(), source_path, target_path,
                     empty);
}

ParallelCorpus read_parallel_files(const std::string& source_path, const std::string& target_path,
                                   const ParallelReadOptions& options) {
  TextReader source(source_path, options.text);
  TextReader target(target_path, options.text);
  return read_parallel_lines(source, target, options);
}

ParallelCorpus read_parallel_lines(TextReader& source, TextReader& target, const ParallelReadOptions& options) {
  const std::string& source_path = source.path();
  const std::string& target_path = target.path();
  ParallelCorpus corpus;
  corpus.source_path = source_path;
  corpus.target_path = target_path;
  std::string_view source_line;
  std::string_view target_line;
  for (;;) {
    const bool has_source = source.next(source_line);
    const bool has_target = target.next(target_line);
    if (!has_source && !has_target) break;
    if (has_source != has_target) {
      const int64_t source_count = count_rest(source);
      const int64_t target_count = count_rest(target);
      fail<FormatError>("{} has {} lines and {} has {}, expected as many: line i of one translates line i of the other",
                        source_path, source_count, target_path, target_count);
    }
    if (!options.keep_empty && (utf8::is_blank(source_line) || utf8::is_blank(target_line))) {
      ++corpus.empty;
      continue;
    }
    corpus.source.emplace_back(source_line);
    corpus.target.emplace_back(target_line);
    corpus.lines.push_back(source.line_number());
  }
  require<FormatError>(corpus.size() > 0, "{} and {}: no pairs ({} with an empty side), expected at least one",
                       source_path, target_path, corpus.empty);
  return corpus;
}

ParallelCorpus read_parallel(const std::string& folder, const std::string& split, const std::string& source,
                             const std::string& target, const ParallelReadOptions& options) {
  const std::set<std::string> names = file_names(folder);
  const std::string source_path = path_of(folder, names, split, source);
  return read_parallel_files(source_path, path_of(folder, names, split, target), options);
}

std::vector<std::string> parallel_splits(const std::string& folder, const std::string& source,
                                         const std::string& target) {
  std::set<std::string> of_source;
  std::set<std::string> of_target;
  for (const std::string& name : file_names(folder)) {
    const std::string_view plain = without_gz(name);
    for (const auto& [language, splits] : {std::pair{&source, &of_source}, std::pair{&target, &of_target}}) {
      if (plain.ends_with("." + *language)) splits->emplace(plain.substr(0, plain.size() - language->size() - 1));
    }
  }
  std::vector<std::string> both;
  std::set_intersection(of_source.begin(), of_source.end(), of_target.begin(), of_target.end(),
                        std::back_inserter(both));
  return both;
}

}  // namespace attune
