// attune-captioning: learns to say what is to be seen in pictures.
#include <CLI/CLI.hpp>

#include <string>

#include "examples/captioning/commands.h"
#include "framework/version.h"

int main(int argc, char** argv) {
  using namespace attune::examples;
  CLI::App app("Learns to say what is to be seen in pictures", "attune-captioning");
  app.set_version_flag("--version", attune::kVersion);
  app.require_subcommand(1);

  captioning::TrainOptions training;
  CLI::App* train_app = app.add_subcommand("train", "Train a model from scratch");
  captioning::add_options(*train_app, training);
  SharedOptions shared;
  add_device_option(*train_app, shared);
  std::string graphs = "auto";
  add_graphs_option(*train_app, graphs);

  captioning::EvalOptions evaluation;
  CLI::App* eval_app = app.add_subcommand("eval", "Compare captions with references");
  captioning::add_options(*eval_app, evaluation);
  add_threads_option(*eval_app, shared);
  add_device_option(*eval_app, shared);
  add_precision_option(*eval_app, shared);

  captioning::CaptionOptions writing;
  CLI::App* caption_app = app.add_subcommand("caption", "Write captions for pictures");
  captioning::add_options(*caption_app, writing);
  add_threads_option(*caption_app, shared);
  add_device_option(*caption_app, shared);
  add_precision_option(*caption_app, shared);

  return run_program(app, argc, argv, shared, [&] {
    evaluation.placement = writing.placement = placement_of(shared);
    training.device = evaluation.placement.device;
    training.graphs = graph_mode(graphs, training.device);
    if (train_app->parsed()) return captioning::train(training);
    return eval_app->parsed() ? captioning::evaluate(evaluation) : captioning::caption(writing);
  });
}
