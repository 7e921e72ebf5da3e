#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "datasets/utf8.h"
#include "examples/sentiment/classify.h"
#include "examples/sentiment/commands.h"
#include "examples/support/notice.h"
#include "examples/support/shading.h"
#include "framework/atomic_file.h"
#include "framework/fail.h"
#include "layers/attention/page.h"

namespace attune::examples {
namespace {

void print_json(const Prediction& prediction) {
  using Json = nlohmann::ordered_json;
  Json tokens = Json::array();
  for (const ReadToken& token : prediction.tokens) {
    tokens.push_back({{"token", token.text}, {"known", token.known}, {"attention", token.attention}});
  }
  fmt::print("{}\n", Json{{"label", prediction.label},
                          {"name", name_of(prediction.label)},
                          {"probability", prediction.probability},
                          {"tokens", std::move(tokens)}}
                         .dump());
}

void show(const Prediction& prediction, bool json) {
  if (json) {
    print_json(prediction);
  } else {
    const std::vector<ShadedToken> tokens(prediction.tokens.begin(), prediction.tokens.end());
    fmt::print("{} {:5.1f}%  {}\n", name_of(prediction.label), 100 * prediction.probability,
               shade(tokens, prediction.label == 1 ? Tone::kGreen : Tone::kRed, shading_for(stdout)));
  }
  std::fflush(stdout);
}

}  // namespace

int predict(const PredictOptions& options) {
  const Snapshot snapshot = load_snapshot(options.checkpoint);
  place(*snapshot.model, options.placement);
  std::vector<AttentionExample> examples;
  const auto answer = [&](const std::string& text, const std::string& origin) {
    Prediction prediction = classify(snapshot, text, origin);
    show(prediction, options.json);
    if (options.html) examples.push_back(std::move(prediction.weights));
  };
  if (options.text) {
    answer(*options.text, "--text");
  } else {
    if (isatty(STDIN_FILENO) != 0) notice("a text a line; Ctrl-D ends");
    std::string line;
    for (int64_t number = 1; std::getline(std::cin, line); ++number) {
      const bool blank = utf8::find_invalid(line) == std::string::npos && utf8::is_blank(line);
      if (!blank) answer(line, fmt::format("standard input: line {}", number));
    }
    require<IoError>(!std::cin.bad(), "standard input: cannot be read");
  }
  if (options.html) {
    require<ValueError>(!examples.empty(), "--html {}: no texts to show, expected at least one", *options.html);
    write_file_atomically(*options.html, attention_page(examples, {.title = "attune-sentiment: what was looked at"}));
  }
  return 0;
}

}  // namespace attune::examples
