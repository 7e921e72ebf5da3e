#include <CLI/CLI.hpp>

#include "examples/captioning/commands.h"
#include "examples/captioning/config.h"

namespace attune::examples::captioning {

void add_options(CLI::App& app, TrainOptions& options) {
  app.add_option("--data", options.data,
                 "Folder of images/, captions (image<TAB>caption, Flickr8k's or COCO's) and the lists train.txt and "
                 "dev.txt (default: embedded scenes)")
      ->type_name("DIR");
  Config scenes = preset("scenes");
  add_train_options(app, options,
                    {.presets = preset_names(),
                     .default_preset = "show-attend-tell with --data, scenes without",
                     .settings = settings_help(settings_of(scenes), "scenes")});
}

}  // namespace attune::examples::captioning
