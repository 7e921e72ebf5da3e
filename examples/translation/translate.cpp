#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "examples/support/line_reader.h"
#include "examples/support/notice.h"
#include "examples/support/progress.h"
#include "examples/translation/alignments.h"
#include "examples/translation/commands.h"
#include "examples/translation/snapshot.h"
#include "examples/translation/translator.h"
#include "framework/atomic_file.h"
#include "framework/fail.h"
#include "framework/random.h"
#include "layers/attention/page.h"

namespace attune::examples::translation {
namespace {

using Json = nlohmann::ordered_json;

// Enough for batches of similar lengths, and a translation is seen soon.
constexpr size_t kLines = 512;
constexpr size_t kMostExamples = 100;  // on a page

/// What is printed and shown of the translations.
class Answers {
 public:
  Answers(const TranslateOptions& options, const Translator& translator) : options_(options), translator_(translator) {}

  void add(const std::string& source, std::span<const int64_t> tokens, std::span<const Translation> translations) {
    if (options_.json) {
      print_json(source, translations);
    } else if (options_.nbest > 1) {
      for (const Translation& translation : translations) {
        fmt::print("{} ||| {} ||| {:.4f}\n", number_, one_line(translation.text), translation.score);
      }
    } else {
      fmt::print("{}\n", one_line(translations.front().text));
    }
    ++number_;
    if (options_.html && !tokens.empty() && examples_.size() < kMostExamples) {
      std::vector<int64_t> target = translations.front().tokens;
      if (std::ssize(target) < translator_.parts().max_length) target.push_back(TextCodec::kEnd);
      examples_.push_back(attention_example(translator_.parts(), tokens, target));
      examples_.back().title = source;
      examples_.back().note = translations.front().text;
    }
  }

  void write_page() const {
    if (!options_.html) return;
    require<ValueError>(!examples_.empty(), "--html {}: no sentences to show, expected at least one", *options_.html);
    write_file_atomically(*options_.html, attention_page(examples_, {.title = "attune-translation: alignments"}));
    if (examples_.size() == kMostExamples) {
      notice("{} shows the first {} sentences", *options_.html, kMostExamples);
    }
  }

 private:
  void print_json(const std::string& source, std::span<const Translation> translations) const {
    Json found = Json::array();
    for (const Translation& translation : translations) {
      found.push_back(
          {{"text", translation.text}, {"score", translation.score}, {"log_probability", translation.log_probability}});
    }
    const Json object{{"line", number_ + 1}, {"source", source}, {"translations", std::move(found)}};
    fmt::print("{}\n", object.dump(-1, ' ', false, Json::error_handler_t::replace));
  }

  const TranslateOptions& options_;
  const Translator& translator_;
  int64_t number_ = 0;
  std::vector<AttentionExample> examples_;
};

}  // namespace

int translate(const TranslateOptions& options) {
  if (!options.sample && options.nbest > options.beam) {
    throw UsageError(fmt::format("--nbest is {}, but --beam keeps only {}", options.nbest, options.beam));
  }
  const Snapshot snapshot = load_snapshot(options.checkpoint);
  place(*snapshot.model, options.placement);
  SearchSettings settings = search_settings(options);
  settings.best = options.nbest;
  if (options.sample) settings.temperature = options.temperature;
  manual_seed(options.seed);
  const Translator translator(parts_of(snapshot), settings);
  LineReader reader(STDIN_FILENO, "standard input");
  if (isatty(STDIN_FILENO) != 0) notice("a sentence a line; Ctrl-D ends");
  std::optional<Progress> progress;
  if (reader.total_bytes() > 0 && isatty(STDERR_FILENO) != 0) progress.emplace(reader.total_bytes(), "sentences");

  Answers answers(options, translator);
  for (std::vector<std::string> lines = reader.next(kLines); !lines.empty(); lines = reader.next(kLines)) {
    std::vector<std::vector<int64_t>> sentences;
    std::exception_ptr problem;  // with a line: those before it are answered first
    try {
      for (const std::string& line : lines) {
        sentences.push_back(translator.encode(line, reader.origin(sentences.size()), options.truncate));
      }
    } catch (const FormatError&) {
      problem = std::current_exception();
    }
    const std::vector<std::vector<Translation>> translations = translator(sentences);
    for (size_t i = 0; i < sentences.size(); ++i) answers.add(lines[i], sentences[i], translations[i]);
    std::fflush(stdout);
    if (problem) std::rethrow_exception(problem);
    if (progress) progress->update(reader.bytes(), std::ssize(lines), "translate", {});
  }
  answers.write_page();
  return 0;
}

}  // namespace attune::examples::translation
