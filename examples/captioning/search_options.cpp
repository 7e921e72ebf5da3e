#include <CLI/CLI.hpp>

#include "examples/captioning/commands.h"
#include "examples/support/model_options.h"

namespace attune::examples::captioning {

void add_options(CLI::App& app, EvalOptions& options) {
  add_checkpoint_option(app, options.checkpoint);
  app.add_option("--data", options.data, "Folder of pictures and captions (default: embedded scenes)")
      ->type_name("DIR");
  app.add_option("--split", options.split, "Pictures to write captions for: dev, test, ...")
      ->type_name("NAME")
      ->capture_default_str();
  add_search_options(app, options.beam, options.length_penalty, "caption");
  app.add_option("--blind", options.blind,
                 "Checkpoint of the same decoder trained with --set model.blind=true, to compare with")
      ->type_name("FILE");
  app.add_option("--output", options.output, "Write the model's captions, lines of picture and caption")
      ->type_name("FILE");
  app.add_flag("--json", options.json, "Print the result as a JSON object at the end");
}

void add_options(CLI::App& app, CaptionOptions& options) {
  add_checkpoint_option(app, options.checkpoint);
  add_search_options(app, options.beam, options.length_penalty, "caption");
  app.add_option("--html", options.html, "Write a page that shows where the model looked for every word")
      ->type_name("FILE");
  app.add_option("--png", options.png, "Folder for a picture of the same for every word")->type_name("DIR");
  app.add_flag("--json", options.json, "Print a JSON object for each picture");
  app.add_option("IMAGE", options.images, "Pictures, JPEG or PNG (default: some of the embedded scenes)")
      ->type_name("FILE");
}

}  // namespace attune::examples::captioning
