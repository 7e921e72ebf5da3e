#include <CLI/CLI.hpp>

#include <cstdlib>
#include <filesystem>

#include "examples/support/program.h"
#include "tests/benchmarks/benchmarks.h"

namespace {

/// A folder of $ATTUNE_DATA, empty where there is none.
std::string data_folder(const char* name) {
  const char* data = std::getenv("ATTUNE_DATA");
  if (data == nullptr) return {};
  const std::string folder = std::string(data) + "/" + name;
  return std::filesystem::is_directory(folder) ? folder : std::string();
}

}  // namespace

int main(int argc, char** argv) {
  using namespace attune::bench;
  CLI::App app("Benchmarks of Attune. Ratios are taken side by side in one run; medians.");
  attune::examples::SharedOptions shared;
  attune::examples::add_threads_option(app, shared);
  app.require_subcommand(1);
  CLI::App* gemm = app.add_subcommand("gemm", "the models' matrix products, as a share of the FMA peak");
  CLI::App* conv = app.add_subcommand("conv", "convolutions of a picture encoder, as a share of the FMA peak");
  Comparison comparison;
  const auto compared = [&](const char* name, const char* text) {
    CLI::App* command = app.add_subcommand(name, text);
    command->add_option("--python", comparison.python, "interpreter that may have torch")->capture_default_str();
    command->add_option("--peers", comparison.peers, "folder of the scripts for torch")->type_name("DIR");
    command->add_option("--rounds", comparison.rounds, "alternations")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    command->add_flag("!--no-peer", comparison.with_peer, "Attune alone");
    return command;
  };
  CLI::App* step = compared("step", "a training step of the sentiment model, beside PyTorch where it is");
  CLI::App* attention = compared("attention", "fused attention, beside the composed path and PyTorch");
  int64_t longest = 4096;
  attention->add_option("--longest", longest, "queries and keys of the largest problem")
      ->check(CLI::Range(128, 65536))
      ->capture_default_str();
  CLI::App* translation = compared("translation", "training and decoding of the translation models, beside PyTorch");
  TranslationBenchmark translation_options{.only = {}, .data = data_folder("multi30k")};
  translation->add_option("--only", translation_options.only, "one part")
      ->check(CLI::IsMember({"tiny", "small", "recurrent", "decode", "data"}));
  translation->add_option("--data", translation_options.data, "folder of Multi30k (default: $ATTUNE_DATA/multi30k)")
      ->type_name("DIR");
  CLI::App* cuda = compared("cuda", "kernels on a GPU, as shares of its copy bandwidth, beside PyTorch");
  CLI::App* cuda_steps = compared("cuda-steps", "training steps of the models on a GPU, as graphs, beside PyTorch");
  CLI::App* captioning = compared("captioning", "training and decoding of the captioning models, beside PyTorch");
  CaptioningBenchmark captioning_options;
  captioning->add_option("--only", captioning_options.only, "one part")
      ->check(CLI::IsMember({"patch", "conv", "decode", "data"}));
  captioning
      ->add_option("--data", captioning_options.data,
                   "folder of images/, captions and train.txt to train on (default: drawn pictures)")
      ->type_name("DIR");
  CLI::App* kernels = app.add_subcommand("kernels", "single kernels (options of Google Benchmark may follow)");
  kernels->prefix_command();
  return attune::examples::run_program(app, argc, argv, shared, [&] {
    if (*gemm) return run_gemm();
    if (*cuda) return run_cuda(comparison);
    if (*cuda_steps) return run_cuda_steps(comparison);
    if (*conv) return run_conv();
    if (*step) return run_step(comparison);
    if (*translation) return run_translation(comparison, translation_options);
    if (*captioning) return run_captioning(comparison, captioning_options);
    if (*attention) return run_attention(comparison, longest);
    std::vector<std::string> rest = kernels->remaining();
    std::vector<char*> arguments{argv[0]};
    for (std::string& argument : rest) arguments.push_back(argument.data());
    return run_kernels(static_cast<int>(arguments.size()), arguments.data());
  });
}
