// attune-sentiment: learns whether texts are negative or positive, from labelled ones.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>

#include "examples/sentiment/commands.h"
#include "examples/sentiment/config.h"
#include "framework/version.h"

namespace attune::examples {
namespace {

/// "90", "90s", "10m", "1.5h" in seconds; nothing for anything else.
std::optional<double> parse_duration(const std::string& text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || !std::isfinite(value) || value <= 0) return {};
  const std::string_view unit(at, static_cast<size_t>(end - at));
  if (unit.empty() || unit == "s") return value;
  if (unit == "m") return 60 * value;
  if (unit == "h") return 3600 * value;
  return {};
}

std::string settings_help() {
  std::string text = "Settings for --set and --config, with their values in preset 'reviews':\n";
  for (const auto& [key, value] : settings_of(preset("reviews"))) {
    if (!key.starts_with("run.")) text += fmt::format("  {:32} {}\n", key, value);
  }
  return text;
}

void add_train(CLI::App& app, TrainOptions& options) {
  app.add_option("--data", options.data, "Texts to learn from (default: embedded reviews)")->type_name("PATH");
  app.add_option("--dev", options.dev, "Texts to choose the best weights on (default: a tenth of the data)")
      ->type_name("PATH");
  app.add_option("--out", options.out, "Folder for best.h5, last.h5, config.json, log.jsonl")
      ->type_name("DIR")
      ->required();
  app.add_option("--preset", options.preset,
                 fmt::format("Settings to begin with: {} (default: sst2 with --data, reviews without)",
                             fmt::join(preset_names(), " or ")))
      ->type_name("NAME");
  app.add_option("--config", options.config, "JSON file of settings, such as a run's config.json")->type_name("FILE");
  app.add_option("--set", options.settings, "Change one setting, such as model.dim=64; may be repeated")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all();
  app.add_option("--epochs", options.epochs, "How often to go through the data")
      ->type_name("N")
      ->check(whole_number(1, 1 << 30));
  app.add_option_function<std::string>(
         "--budget", [&options](const std::string& text) { options.budget = parse_duration(text); },
         "Plan fewer steps where needed to end within this time: 90s, 10m, 1h")
      ->type_name("TIME")
      ->check(CLI::Validator(
          [](std::string& text) {
            return parse_duration(text) ? std::string()
                                        : fmt::format("expected a time above 0 such as 90s, 10m or 1h, got '{}'", text);
          },
          ""));
  app.add_flag("--resume", options.resume, "Go on with the run in --out; begin it where there is none yet");
  app.add_option("--seed", options.seed, "Seed of everything random (default: 1)")
      ->type_name("N")
      ->check(whole_number(0));
  app.add_option("--threads", options.threads, "Threads to compute with (default: every core)")
      ->type_name("N")
      ->check(whole_number(1, 1024));
  app.add_flag("--json", options.json, "Print the result as a JSON object at the end");
  app.footer(settings_help());
}

void add_checkpoint(CLI::App& app, std::string& checkpoint) {
  app.add_option("--checkpoint", checkpoint, "best.h5 or last.h5 of a run")->type_name("FILE")->required();
}

}  // namespace
}  // namespace attune::examples

int main(int argc, char** argv) {
  using namespace attune::examples;
  CLI::App app("Learns whether texts are negative or positive, from labelled ones", "attune-sentiment");
  app.set_version_flag("--version", attune::kVersion);
  app.require_subcommand(1);

  TrainOptions training;
  CLI::App* train_app = app.add_subcommand("train", "Train a Transformer encoder from scratch");
  add_train(*train_app, training);

  SharedOptions shared;
  EvalOptions evaluation;
  CLI::App* eval_app = app.add_subcommand("eval", "Compare predictions with labels");
  add_checkpoint(*eval_app, evaluation.checkpoint);
  eval_app->add_option("--data", evaluation.data, "Labelled texts (default: the test part of the embedded reviews)")
      ->type_name("PATH");
  eval_app->add_flag("--json", evaluation.json, "Print the result as a JSON object at the end");
  add_threads_option(*eval_app, shared);

  PredictOptions prediction;
  CLI::App* predict_app = app.add_subcommand("predict", "Say what texts are, and which words were looked at");
  add_checkpoint(*predict_app, prediction.checkpoint);
  predict_app->add_option("--text", prediction.text, "One text (default: a text a line from standard input)")
      ->type_name("TEXT");
  predict_app
      ->add_option("--html", prediction.html, "Write a page to look at the attention weights of every layer and head")
      ->type_name("FILE");
  predict_app->add_flag("--json", prediction.json, "Print a JSON object for each text");
  add_threads_option(*predict_app, shared);

  return run_program(app, argc, argv, shared, [&] {
    if (train_app->parsed()) return train(training);
    return eval_app->parsed() ? evaluate(evaluation) : predict(prediction);
  });
}
