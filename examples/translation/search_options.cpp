#include <CLI/CLI.hpp>

#include "examples/support/model_options.h"
#include "examples/translation/commands.h"

namespace attune::examples::translation {
namespace {

void add_search(CLI::App& app, SearchOptions& options) {
  add_search_options(app, options.beam, options.length_penalty, "sentence");
  app.add_option("--coverage-penalty", options.coverage_penalty, "Weight of the penalty for words not looked at")
      ->type_name("X")
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str();
  app.add_flag("--truncate", options.truncate, "Cut sentences that are longer than the model takes");
}

}  // namespace

void add_options(CLI::App& app, EvalOptions& options) {
  add_checkpoint_option(app, options.checkpoint);
  app.add_option("--source-file", options.source_file,
                 "Sentences, a line each (default: the test part of the embedded grammar)")
      ->type_name("FILE");
  app.add_option("--reference-file", options.reference_files,
                 "Their translations, line by line; may be repeated for several of each")
      ->type_name("FILE")
      ->expected(1)
      ->take_all();
  add_search(app, options);
  app.add_option("--output", options.output, "Write the model's translations, line by line")->type_name("FILE");
  app.add_flag("--json", options.json, "Print the result as a JSON object at the end");
}

void add_options(CLI::App& app, TranslateOptions& options) {
  add_checkpoint_option(app, options.checkpoint);
  add_search(app, options);
  app.add_option("--nbest", options.nbest,
                 "Translations of each sentence, as lines 'number ||| translation ||| score' where there are several")
      ->type_name("N")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
  app.add_flag("--sample", options.sample, "Draw translations by their probability instead of searching the best");
  app.add_option("--temperature", options.temperature, "Divides the logits that are drawn from")
      ->type_name("X")
      ->check(positive_number())
      ->capture_default_str();
  app.add_option("--seed", options.seed, "Seed of the draws")
      ->type_name("N")
      ->check(whole_number(0))
      ->capture_default_str();
  app.add_option("--html", options.html, "Write a page to look at alignments with: what every layer and head looked at")
      ->type_name("FILE");
  app.add_flag("--json", options.json, "Print a JSON object for each sentence");
  app.footer("Sentences come from standard input, a line each; translations go to standard output.");
}

}  // namespace attune::examples::translation
