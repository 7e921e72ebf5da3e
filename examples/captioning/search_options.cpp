#include <CLI/CLI.hpp>

#include "examples/captioning/commands.h"

namespace attune::examples::captioning {
namespace {

void add_checkpoint(CLI::App& app, std::string& checkpoint) {
  app.add_option("--checkpoint", checkpoint, "best.h5 or last.h5 of a run")->type_name("FILE")->required();
}

void add_search(CLI::App& app, SearchOptions& options) {
  app.add_option("--beam", options.beam, "Hypotheses that are kept of each caption; 1: greedy")
      ->type_name("N")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
  app.add_option("--length-penalty", options.length_penalty, "Exponent of the length that scores are divided by")
      ->type_name("X")
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str();
}

}  // namespace

void add_options(CLI::App& app, EvalOptions& options) {
  add_checkpoint(app, options.checkpoint);
  app.add_option("--data", options.data, "Folder of pictures and captions (default: embedded scenes)")
      ->type_name("DIR");
  app.add_option("--split", options.split, "Pictures to write captions for: dev, test, ...")
      ->type_name("NAME")
      ->capture_default_str();
  add_search(app, options);
  app.add_option("--blind", options.blind,
                 "Checkpoint of the same decoder trained with --set model.blind=true, to compare with")
      ->type_name("FILE");
  app.add_option("--output", options.output, "Write the model's captions, lines of picture and caption")
      ->type_name("FILE");
  app.add_flag("--json", options.json, "Print the result as a JSON object at the end");
}

void add_options(CLI::App& app, CaptionOptions& options) {
  add_checkpoint(app, options.checkpoint);
  add_search(app, options);
  app.add_option("--html", options.html, "Write a page that shows where the model looked for every word")
      ->type_name("FILE");
  app.add_option("--png", options.png, "Folder for a picture of the same for every word")->type_name("DIR");
  app.add_flag("--json", options.json, "Print a JSON object for each picture");
  app.add_option("IMAGE", options.images, "Pictures, JPEG or PNG (default: some of the embedded scenes)")
      ->type_name("FILE");
}

}  // namespace attune::examples::captioning
