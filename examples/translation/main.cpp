// attune-translation: learns to translate from sentences and their translations.
#include <CLI/CLI.hpp>

#include <string>

#include "examples/translation/commands.h"
#include "framework/version.h"

int main(int argc, char** argv) {
  using namespace attune::examples;
  CLI::App app("Learns to translate from sentences and their translations", "attune-translation");
  app.set_version_flag("--version", attune::kVersion);
  app.require_subcommand(1);

  translation::TrainOptions training;
  CLI::App* train_app = app.add_subcommand("train", "Train a model from scratch");
  translation::add_options(*train_app, training);
  SharedOptions shared;
  add_device_option(*train_app, shared);
  std::string graphs = "auto";
  add_graphs_option(*train_app, graphs);

  translation::EvalOptions evaluation;
  CLI::App* eval_app = app.add_subcommand("eval", "Compare translations with references");
  translation::add_options(*eval_app, evaluation);
  add_threads_option(*eval_app, shared);
  add_device_option(*eval_app, shared);
  add_precision_option(*eval_app, shared);

  translation::TranslateOptions translating;
  CLI::App* translate_app = app.add_subcommand("translate", "Translate standard input, line by line");
  translation::add_options(*translate_app, translating);
  add_threads_option(*translate_app, shared);
  add_device_option(*translate_app, shared);
  add_precision_option(*translate_app, shared);

  return run_program(app, argc, argv, shared, [&] {
    evaluation.placement = translating.placement = placement_of(shared);
    training.device = evaluation.placement.device;
    training.graphs = graph_mode(graphs, training.device);
    if (train_app->parsed()) return translation::train(training);
    return eval_app->parsed() ? translation::evaluate(evaluation) : translation::translate(translating);
  });
}
