#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "datasets/utf8.h"
#include "examples/sentiment/classify.h"
#include "examples/sentiment/commands.h"
#include "examples/support/line_reader.h"
#include "examples/support/notice.h"
#include "examples/support/shading.h"
#include "framework/atomic_file.h"
#include "framework/fail.h"
#include "layers/attention/page.h"

namespace attune::examples {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kLines = 512;  // taken at once from a file or a busy pipe

/// What is printed and shown of the texts.
class Answers {
 public:
  Answers(const PredictOptions& options, const Snapshot& snapshot) : options_(options), snapshot_(snapshot) {}

  /// line: number of the text in standard input. A blank line has a line of answer too, one that says nothing.
  void add(const std::string& text, const std::string& origin, std::optional<int64_t> line) {
    if (line && utf8::is_blank(text)) {
      if (options_.json) print_json(text, line, nullptr);
      if (!options_.json) fmt::print("\n");
    } else {
      Prediction prediction = classify(snapshot_, text, origin);
      options_.json ? print_json(text, line, &prediction) : print(prediction);
      ++texts_;
      truncated_ += prediction.truncated ? 1 : 0;
      if (options_.html) examples_.push_back(std::move(prediction.weights));
    }
    std::fflush(stdout);
  }

  void finish() const {
    if (truncated_ > 0) {
      notice("warning: {} of {} texts have more than {} tokens: only so many were looked at", truncated_, texts_,
             snapshot_.config.text.max_length);
    }
    if (!options_.html) return;
    require<ValueError>(!examples_.empty(), "--html {}: no texts to show, expected at least one", *options_.html);
    write_file_atomically(*options_.html, attention_page(examples_, {.title = "attune-sentiment: what was looked at"}));
  }

 private:
  static void print(const Prediction& prediction) {
    const std::vector<ShadedToken> tokens(prediction.tokens.begin(), prediction.tokens.end());
    fmt::print("{} {:5.1f}%  {}\n", name_of(prediction.label), 100 * prediction.probability,
               shade(tokens, prediction.label == 1 ? Tone::kGreen : Tone::kRed, shading_for(stdout)));
  }

  /// prediction: nullptr for a blank line.
  static void print_json(const std::string& text, std::optional<int64_t> line, const Prediction* prediction) {
    Json object;
    if (line) object["line"] = *line;
    object["text"] = text;
    object["label"] = prediction != nullptr ? Json(prediction->label) : Json(nullptr);
    object["name"] = prediction != nullptr ? Json(name_of(prediction->label)) : Json(nullptr);
    object["probability"] = prediction != nullptr ? Json(prediction->probability) : Json(nullptr);
    object["truncated"] = prediction != nullptr && prediction->truncated;
    object["tokens"] = Json::array();
    if (prediction != nullptr) {
      for (const ReadToken& token : prediction->tokens) {
        object["tokens"].push_back({{"token", token.text}, {"known", token.known}, {"attention", token.attention}});
      }
    }
    fmt::print("{}\n", object.dump());
  }

  const PredictOptions& options_;
  const Snapshot& snapshot_;
  int64_t texts_ = 0;
  int64_t truncated_ = 0;
  std::vector<AttentionExample> examples_;
};

}  // namespace

int predict(const PredictOptions& options) {
  Snapshot snapshot = load_snapshot(options.checkpoint);
  TextConfig& config = snapshot.config.text;
  config.truncate = config.truncate || options.truncate;
  place(*snapshot.model, options.placement);
  Answers answers(options, snapshot);
  if (options.text) {
    answers.add(*options.text, "--text", {});
  } else {
    LineReader reader(STDIN_FILENO, "standard input");
    if (isatty(STDIN_FILENO) != 0) notice("a text a line; Ctrl-D ends");
    for (std::vector<std::string> lines = reader.next(kLines); !lines.empty(); lines = reader.next(kLines)) {
      for (size_t i = 0; i < lines.size(); ++i) answers.add(lines[i], reader.origin(i), reader.number(i));
    }
  }
  answers.finish();
  return 0;
}

}  // namespace attune::examples
