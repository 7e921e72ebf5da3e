#include <CLI/CLI.hpp>

#include "examples/translation/commands.h"
#include "examples/translation/config.h"

namespace attune::examples::translation {

void add_options(CLI::App& app, TrainOptions& options) {
  app.add_option("--data", options.data,
                 "Folder of train.LANG and val.LANG, line-aligned, plain or gzipped (default: an embedded grammar)")
      ->type_name("DIR");
  app.add_option("--source", options.source, "Language to translate from, as the files are named")->type_name("LANG");
  app.add_option("--target", options.target, "Language to translate into")->type_name("LANG");
  Config grammar = preset("grammar");
  add_train_options(app, options,
                    {.presets = preset_names(),
                     .default_preset = "transformer-tiny with --data, grammar without",
                     .settings = settings_help(settings_of(grammar), "grammar")});
}

}  // namespace attune::examples::translation
