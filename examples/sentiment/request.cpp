#include "examples/sentiment/request.h"

#include <fmt/format.h>

namespace attune::examples {
namespace {

/// A resumed run must be the one that was begun.
void require_equal(const Config& requested, const Config& saved, const std::string& out) {
  const auto wanted = settings_of(requested);
  const auto kept = settings_of(saved);
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i].second == kept[i].second) continue;
    throw UsageError(fmt::format("--resume: {} is {} here but {} in the run of {}; leave it out to go on with that run",
                                 wanted[i].first, wanted[i].second, kept[i].second, out));
  }
}

}  // namespace

Config requested_config(const TrainOptions& options, const std::optional<Config>& saved) {
  if (options.preset && options.config) throw UsageError("--preset and --config are given, expected one of them");
  Config config;
  if (saved && !options.preset && !options.config) {
    config = *saved;
  } else {
    config = preset(options.preset.value_or(options.data ? "sst2" : "reviews"));
    if (options.config) update_from_file(config, *options.config);
    config.run.steps = 0;  // planned anew
    if (saved) config.run = saved->run;
  }
  for (const std::string& setting : options.settings) update_from_setting(config, setting);
  if (options.data) config.run.data = *options.data;
  if (options.dev) config.run.dev = *options.dev;
  if (options.epochs) config.training.epochs = *options.epochs;
  if (options.seed) config.run.seed = *options.seed;
  if (options.threads) config.run.threads = *options.threads;
  if (config.run.data.empty() && !config.run.dev.empty()) throw UsageError("--dev is given without --data");
  check(config, options.config.value_or("settings"));
  if (saved) require_equal(config, *saved, options.out);
  return config;
}

}  // namespace attune::examples
