// Translation: training steps of the models beside PyTorch, decoding with cached keys and values beside PyTorch, and
// training on real batches.
#include <fmt/format.h>

#include "datasets/pair_loader.h"
#include "examples/translation/config.h"
#include "examples/translation/corpus.h"
#include "examples/translation/model.h"
#include "framework/storage.h"
#include "tests/benchmarks/benchmarks.h"
#include "tests/benchmarks/contest.h"
#include "tests/benchmarks/machine.h"
#include "tests/benchmarks/sequence_model.h"
#include "tests/benchmarks/translation_model.h"

namespace attune::bench {
namespace {

using examples::translation::TranslationModel;

constexpr Turns kTurns = {.warm_up = 3, .steps = 5};

using TranslationStep = TrainingStep<TranslationModel>;

void train(const Comparison& comparison, TranslationShape shape, double dropout) {
  // In every place where the layers of PyTorch have it.
  shape.model.dropout = shape.model.attention_dropout = shape.model.hidden_dropout = dropout;
  fmt::print("\ntrain {}, dropout {}: {} x ({} + {}) tokens, {:.2f} GFLOP a step\n", shape.name, dropout, shape.batch,
             shape.source, shape.target, shape.step_operations() / 1e9);
  const TranslationBatch batch = translation_batch(shape);
  TranslationStep training(shape.model, shape.source_vocabulary, shape.target_vocabulary, 64);
  const auto step = [&] { training(batch.target_out, batch.source, batch.lengths, batch.target_in); };
  for (int i = 0; i < kTurns.warm_up; ++i) step();
  const ChosenPeer peer = choose_peer(comparison, "translation.py", shape.arguments(),
                                      {{"modules, fused Adam", {"--variant", "modules", "--fused"}},
                                       {"lean, fused Adam", {"--variant", "lean", "--fused"}},
                                       {"lean, fused Adam, compiled", {"--variant", "lean", "--fused", "--compile"}}},
                                      kTurns);
  const uint64_t allocations = memory_stats().system_allocations;
  const Contest times = contest(comparison, kTurns, peer, step);
  const Work work{.count = shape.tokens(), .operations = shape.step_operations()};
  print_contest(times, peer, [&](const std::string& name, double milliseconds) {
    print_rates(name, milliseconds, work, times.peak);
  });
  fmt::print("  {:<44} {:7}\n", "system allocations after warm-up", memory_stats().system_allocations - allocations);
}

void decode(const Comparison& comparison, const TranslationShape& shape, int64_t beam) {
  fmt::print("\ndecode {}, {}: {} sentences of {} tokens, {} tokens written of each, cached keys and values\n",
             shape.name, search_name(beam), shape.batch, shape.source, shape.target);
  TranslationModel model(shape.model, shape.source_vocabulary, shape.target_vocabulary, 64);
  model.eval();
  const TranslationBatch batch = translation_batch(shape);
  const auto decoding = [&] {
    const NoGrad no_grad;
    write_sequences(model.decoder(), model.encoder()(batch.source, batch.lengths), shape.target, beam);
  };
  for (int i = 0; i < kTurns.warm_up; ++i) decoding();
  std::vector<std::string> arguments = shape.arguments();
  arguments.insert(arguments.end(), {"--task", beam == 1 ? "greedy" : "beam", "--beam", std::to_string(beam)});
  const ChosenPeer peer =
      choose_peer(comparison, "translation.py", arguments, {{"lean", {"--variant", "lean"}}}, kTurns);
  const Contest times = contest(comparison, kTurns, peer, decoding);
  print_contest(times, peer, [&](const std::string& name, double milliseconds) {
    print_rate(name, milliseconds, {.count = shape.batch, .unit = "sentences"});
  });
}

/// An epoch's first batches of real sentences, of Transformer-Tiny as the preset trains it.
void train_on(const std::string& folder) {
  namespace translation = examples::translation;
  constexpr int64_t kBatches = 60;
  translation::Config config = translation::preset("transformer-tiny");
  config.run.data = folder;
  config.run.source = "en";
  config.run.target = "de";
  const translation::Corpus corpus = translation::load_corpus(config.run);
  const translation::TextSides sides = translation::learn_sides(config, corpus.train);
  TranslationShape shape{.name = "tiny",
                         .model = config.model,
                         .source_vocabulary = sides.source.codec->size(),
                         .target_vocabulary = sides.target.codec->size()};
  PairLoader loader(translation::encode(config, sides, corpus).train,
                    {.batches = {.max_examples = 0, .max_tokens = config.training.max_tokens}});
  TranslationStep training(shape.model, shape.source_vocabulary, shape.target_vocabulary, config.text.max_length);
  double seconds = 0;
  double operations = 0;
  int64_t tokens = 0;
  int64_t places = 0;
  const double peak_before = fma_peak_gflops(num_threads());
  for (int64_t i = 0; i < kTurns.warm_up + kBatches; ++i) {
    const PairBatch* batch = loader.next();
    if (batch == nullptr) break;
    const double begin = now();
    training(batch->target_out, batch->source, batch->source_lengths, batch->target_in);
    if (i < kTurns.warm_up) continue;
    seconds += now() - begin;
    shape.batch = batch->source.dim(0);
    shape.source = batch->source.dim(1);
    shape.target = batch->target_in.dim(1);
    operations += shape.step_operations();
    tokens += batch->source_tokens + batch->target_tokens;
    places += shape.tokens();
  }
  const double peak = (peak_before + fma_peak_gflops(num_threads())) / 2;
  const double rate = operations / seconds / 1e9;
  fmt::print("\ntrain tiny on {}, batches of {} tokens on either side, dropout {}, vocabulary {}\n", folder,
             config.training.max_tokens, shape.model.dropout, shape.target_vocabulary);
  fmt::print("  {:<44} {:8.0f} tokens/s without padding ({:.1f}% is padding)  {:5.0f} GFLOP/s  {:5.1f}% of peak\n",
             "attune", static_cast<double>(tokens) / seconds,
             100 * (1 - static_cast<double>(tokens) / static_cast<double>(places)), rate, 100 * rate / peak);
}

}  // namespace

int run_translation(const Comparison& comparison, const TranslationBenchmark& options) {
  fmt::print("{}\n", machine_line(fma_peak_gflops(num_threads())));
  const auto wanted = [&](const std::string& name) { return options.only.empty() || options.only == name; };
  for (const TranslationShape& shape : translation_shapes()) {
    if (!wanted(shape.name)) continue;
    for (const double dropout : {0.0, 0.1}) train(comparison, shape, dropout);
  }
  if (wanted("decode")) {
    for (const int64_t beam : {1, 5}) decode(comparison, translation_shapes().front(), beam);
  }
  if (wanted("data")) {
    if (options.data.empty()) {
      fmt::print("\nreal batches: no folder of Multi30k, give --data or set ATTUNE_DATA\n");
    } else {
      train_on(options.data);
    }
  }
  fmt::print("\nafter: {}\n", machine_line(fma_peak_gflops(num_threads())));
  return 0;
}

}  // namespace attune::bench
