#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <iostream>
#include <string>

#include "datasets/utf8.h"
#include "examples/sentiment/classify.h"
#include "examples/sentiment/commands.h"
#include "examples/sentiment/shading.h"
#include "framework/fail.h"

namespace attune::examples {
namespace {

const char* name_of(int64_t label) { return label == 1 ? "positive" : "negative"; }

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
    fmt::print("{} {:5.1f}%  {}\n", name_of(prediction.label), 100 * prediction.probability,
               shade(prediction, shading_for(stdout)));
  }
  std::fflush(stdout);
}

}  // namespace

int predict(const PredictOptions& options) {
  const Snapshot snapshot = load_snapshot(options.checkpoint);
  if (options.text) {
    show(classify(snapshot, *options.text, "--text"), options.json);
    return 0;
  }
  if (isatty(STDIN_FILENO) != 0) fmt::print(stderr, "a text a line; Ctrl-D ends\n");
  std::string line;
  for (int64_t number = 1; std::getline(std::cin, line); ++number) {
    const bool blank = utf8::find_invalid(line) == std::string::npos && utf8::is_blank(line);
    if (!blank) show(classify(snapshot, line, fmt::format("standard input: line {}", number)), options.json);
  }
  require<IoError>(!std::cin.bad(), "standard input: cannot be read");
  return 0;
}

}  // namespace attune::examples
