#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "examples/support/program.h"
#include "examples/support/settings.h"

namespace attune::examples {

/// What `train` of every program is asked for.
struct CommonTrainOptions {
  std::string out;
  std::optional<std::string> preset;
  std::optional<std::string> config;
  std::optional<int64_t> epochs;
  std::optional<double> budget;  ///< seconds
  bool resume = false;
  bool overwrite = false;
  std::optional<std::string> init;  ///< checkpoint whose weights are begun with
  std::optional<uint64_t> seed;
  std::optional<int> threads;
  std::optional<std::string> precision;
  std::vector<std::string> settings;
  bool json = false;
};

/// --out, --preset, --config, --set, --epochs, --budget, --resume, --overwrite, --init, --seed, --threads, --precision,
/// --deterministic and --json.
struct TrainHelp {
  std::vector<std::string> presets;
  std::string default_preset;  ///< "sst2 with --data, reviews without"
  std::string settings;        ///< settings_help()
};
void add_train_options(CLI::App& app, CommonTrainOptions& options, const TrainHelp& help);

/// "90", "90s", "10m", "1.5h" in seconds, finite; nothing for anything else.
std::optional<double> parse_duration(const std::string& text);

/// The configuration that a command line asks for, on top of a preset or, when a run is resumed, of the configuration
/// `saved` with it. Throws UsageError for values that cannot be, and when what is asked for is not what was saved.
///
/// Config: has run.seed, run.threads, run.precision, run.steps, run.init and training.epochs; settings_of(config) are
/// its Settings, and check(config, origin) throws where values do not fit each other. Only the precision may be another
/// than was saved, and there may be more epochs: then run.steps is 0, as of a run that is to be planned. preset(): the
/// configuration to begin with. own(config): sets what the program's own options ask for.
template <class Config, class Preset, class Own>
Config requested_config(const CommonTrainOptions& options, const std::optional<Config>& saved, const Preset& preset,
                        const Own& own) {
  if (options.preset && options.config) throw UsageError("--preset and --config are given, expected one of them");
  Config config;
  if (saved && !options.preset && !options.config) {
    config = *saved;
  } else {
    config = preset();
    if (options.config) settings_of(config).update_from_file(*options.config);
    config.run.steps = 0;  // planned anew
    if (saved) config.run = saved->run;
  }
  for (const std::string& setting : options.settings) settings_of(config).update_from_setting(setting);
  if (options.epochs) config.training.epochs = *options.epochs;
  if (options.seed) config.run.seed = *options.seed;
  if (options.threads) config.run.threads = *options.threads;
  if (options.precision) config.run.precision = *options.precision;
  if (options.init) config.run.init = *options.init;
  own(config);
  check(config, options.config.value_or("settings"));
  if (saved) {
    Config kept = *saved;
    kept.run.precision = config.run.precision;  // either goes on with what the other has learned
    if (config.training.epochs > kept.training.epochs) {
      kept.training.epochs = config.training.epochs;
      kept.run.steps = config.run.steps = 0;
    }
    require_same_settings(settings_of(config), settings_of(kept), options.out);
  }
  return config;
}

}  // namespace attune::examples
