// attune-sentiment: learns whether texts are negative or positive, from labelled ones.
#include <CLI/CLI.hpp>

#include <string>

#include "examples/sentiment/commands.h"
#include "examples/sentiment/config.h"
#include "examples/support/model_options.h"
#include "framework/version.h"

namespace attune::examples {
namespace {

void add_train(CLI::App& app, TrainOptions& options) {
  app.add_option("--data", options.data, "Texts to learn from (default: embedded reviews)")->type_name("PATH");
  app.add_option("--dev", options.dev, "Texts to choose the best weights on (default: a tenth of the data)")
      ->type_name("PATH");
  Config reviews = preset("reviews");
  add_train_options(app, options,
                    {.presets = preset_names(),
                     .default_preset = "sst2 with --data, reviews without",
                     .settings = settings_help(settings_of(reviews), "reviews")});
}

void add_truncate(CLI::App& app, bool& truncate) {
  app.add_flag("--truncate", truncate, "Cut texts that are longer than the model takes");
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
  SharedOptions shared;
  add_train(*train_app, training);
  add_device_option(*train_app, shared);
  std::string graphs = "auto";
  add_graphs_option(*train_app, graphs);

  EvalOptions evaluation;
  CLI::App* eval_app = app.add_subcommand("eval", "Compare predictions with labels");
  add_checkpoint_option(*eval_app, evaluation.checkpoint);
  eval_app->add_option("--data", evaluation.data, "Labelled texts (default: the test part of the embedded reviews)")
      ->type_name("PATH");
  add_truncate(*eval_app, evaluation.truncate);
  eval_app->add_flag("--json", evaluation.json, "Print the result as a JSON object at the end");
  add_threads_option(*eval_app, shared);
  add_device_option(*eval_app, shared);
  add_precision_option(*eval_app, shared);

  PredictOptions prediction;
  CLI::App* predict_app = app.add_subcommand("predict", "Say what texts are, and which words were looked at");
  add_checkpoint_option(*predict_app, prediction.checkpoint);
  predict_app->add_option("--text", prediction.text, "One text (default: a text a line from standard input)")
      ->type_name("TEXT");
  predict_app
      ->add_option("--html", prediction.html, "Write a page to look at the attention weights of every layer and head")
      ->type_name("FILE");
  add_truncate(*predict_app, prediction.truncate);
  predict_app->add_flag("--json", prediction.json, "Print a JSON object for each text");
  add_threads_option(*predict_app, shared);
  add_device_option(*predict_app, shared);
  add_precision_option(*predict_app, shared);

  return run_program(app, argc, argv, shared, [&] {
    evaluation.placement = prediction.placement = placement_of(shared);
    training.device = evaluation.placement.device;
    training.graphs = graph_mode(graphs, training.device);
    if (train_app->parsed()) return train(training);
    return eval_app->parsed() ? evaluate(evaluation) : predict(prediction);
  });
}
