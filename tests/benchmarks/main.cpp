#include <CLI/CLI.hpp>

#include <cstdlib>
#include <filesystem>

#include "examples/support/program.h"
#include "tests/benchmarks/benchmarks.h"

int main(int argc, char** argv) {
  using namespace attune::bench;
  CLI::App app("Benchmarks of Attune. Ratios are taken side by side in one run; medians.");
  attune::examples::SharedOptions shared;
  attune::examples::add_threads_option(app, shared);
  app.require_subcommand(1);
  CLI::App* gemm = app.add_subcommand("gemm", "the models' matrix products, as a share of the FMA peak");
  Comparison comparison;
  const auto compared = [&](const char* name, const char* text) {
    CLI::App* command = app.add_subcommand(name, text);
    command->add_option("--python", comparison.python, "interpreter that may have torch")->capture_default_str();
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
  TranslationBenchmark translation_options;
  if (const char* data = std::getenv("ATTUNE_DATA"); data != nullptr) {
    const std::string folder = std::string(data) + "/multi30k";
    if (std::filesystem::is_directory(folder)) translation_options.data = folder;
  }
  translation->add_option("--only", translation_options.only, "one part")
      ->check(CLI::IsMember({"tiny", "small", "recurrent", "decode", "data"}));
  translation->add_option("--data", translation_options.data, "folder of Multi30k (default: $ATTUNE_DATA/multi30k)")
      ->type_name("DIR");
  CLI::App* cuda = app.add_subcommand("cuda", "kernels on a GPU, as shares of its copy bandwidth");
  CLI::App* kernels = app.add_subcommand("kernels", "single kernels (options of Google Benchmark may follow)");
  kernels->prefix_command();
  return attune::examples::run_program(app, argc, argv, shared, [&] {
    if (*gemm) return run_gemm();
    if (*cuda) return run_cuda();
    if (*step) return run_step(comparison);
    if (*translation) return run_translation(comparison, translation_options);
    if (*attention) return run_attention(comparison, longest);
    std::vector<std::string> rest = kernels->remaining();
    std::vector<char*> arguments{argv[0]};
    for (std::string& argument : rest) arguments.push_back(argument.data());
    return run_kernels(static_cast<int>(arguments.size()), arguments.data());
  });
}
