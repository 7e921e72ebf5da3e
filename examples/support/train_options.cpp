#include "examples/support/train_options.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>

#include "examples/support/placement.h"

namespace attune::examples {

std::optional<double> parse_duration(const std::string& text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || !std::isfinite(value) || value <= 0) return {};
  const std::string_view unit(at, static_cast<size_t>(end - at));
  const double longest = std::numeric_limits<double>::max();
  if (unit.empty() || unit == "s") return value;
  if (unit == "m") return std::min(60 * value, longest);
  if (unit == "h") return std::min(3600 * value, longest);
  return {};
}

void add_train_options(CLI::App& app, CommonTrainOptions& options, const TrainHelp& help) {
  app.add_option("--out", options.out, "Folder for best.h5, last.h5, config.json, log.jsonl")
      ->type_name("DIR")
      ->required();
  app.add_option(
         "--preset", options.preset,
         fmt::format("Settings to begin with: {} (default: {})", fmt::join(help.presets, ", "), help.default_preset))
      ->type_name("NAME");
  app.add_option("--config", options.config, "JSON file of settings, such as a run's config.json")->type_name("FILE");
  app.add_option("--set", options.settings, "Change one setting, such as model.dim=64; may be repeated")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->take_all();
  app.add_option("--epochs", options.epochs,
                 "How often to go through the data; with --resume more often than planned at first, along the schedule "
                 "of a run of so many epochs")
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
  CLI::Option* resume =
      app.add_flag("--resume", options.resume, "Go on with the run in --out; begin it where there is none yet");
  app.add_flag("--overwrite", options.overwrite, "Begin anew over the run in --out, whose files are removed")
      ->excludes(resume);
  app.add_option("--init", options.init,
                 "Begin with the weights and the vocabulary of this checkpoint of the same model, best.h5 or last.h5; "
                 "settings of text and model are its own unless --preset or --config is given")
      ->type_name("FILE");
  app.add_option("--seed", options.seed, "Seed of everything random (default: 1)")
      ->type_name("N")
      ->check(whole_number(0));
  app.add_option("--threads", options.threads, "Threads to compute with (default: every core)")
      ->type_name("N")
      ->check(whole_number(1, 1024));
  app.add_option("--precision", options.precision,
                 "float32, or bf16: activations and products in bfloat16, beside float32 weights (default: float32)")
      ->type_name("NAME")
      ->check(CLI::IsMember(precision_names()));
  app.add_flag_callback(
      "--deterministic", [] { set_deterministic(true); },
      "Equal runs end with equal weights on a CUDA device too, as on the CPU they always do");
  app.add_flag("--json", options.json, "Print the result as a JSON object at the end");
  app.footer(help.settings);
}

}  // namespace attune::examples
