// Training steps of the experiments' models on the first CUDA device, recorded as CUDA graphs, beside PyTorch: eager,
// and compiled with CUDA graphs. Steps are given to the device behind each other; nobody waits for a loss.
#include <fmt/format.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "autograd/step_graphs.h"
#include "tests/benchmarks/benchmarks.h"
#include "tests/benchmarks/captioning_model.h"
#include "tests/benchmarks/contest.h"
#include "tests/benchmarks/sentiment_model.h"
#include "tests/benchmarks/sequence_model.h"
#include "tests/benchmarks/translation_model.h"

namespace attune::bench {
namespace {

const Device kCuda = Device::cuda();
constexpr Turns kTurns = {.warm_up = 10, .steps = 50};

void print_refusal(const std::string& reason) { fmt::print("    attune, not recorded: {}\n", reason); }

/// TrainingStep on the device.
template <class Model>
class RecordedStep {
 public:
  template <class... Sizes>
  explicit RecordedStep(Precision precision, const Sizes&... sizes) : model_(sizes...) {
    model_.to(kCuda);
    model_.set_precision(precision);
    adam_ = std::make_unique<Adam>(model_.named_parameters(), AdamOptions{.learning_rate = 1e-4});
    graphs_ = std::make_unique<StepGraphs>(GraphMode::kOn, model_.named_parameters(), print_refusal);
  }

  /// As TrainingStep; tensors on the host.
  template <class... Inputs>
  void operator()(const Tensor& target, const Inputs&... inputs) {
    const Tensor all[] = {target, inputs...};
    graphs_->run(all, [&](std::vector<Tensor>& found) {
      const Variable loss = sequence_loss(model_, target, inputs...);
      loss.backward();
      found.push_back(loss.value());
    });
    adam_->step();
  }

 private:
  Model model_;
  std::unique_ptr<Adam> adam_;
  std::unique_ptr<StepGraphs> graphs_;
};

struct StepTime {
  double milliseconds = 0;
  double host_microseconds = 0;  ///< until the host may go on
};

StepTime time_of(const std::function<void()>& step) {
  constexpr int kAhead = 10;  // fewer than a stream takes before its host has to wait
  synchronize(kCuda);
  double begin = now();
  for (int i = 0; i < kAhead; ++i) step();
  const double host = (now() - begin) / kAhead;
  synchronize(kCuda);
  begin = now();
  for (int i = 0; i < kTurns.steps; ++i) step();
  synchronize(kCuda);
  return {(now() - begin) / kTurns.steps * 1e3, host * 1e6};
}

/// What a model is called, what a step of it works through, and how the peer is told about it.
struct Contender {
  std::string name;
  Work work;
  std::string script;
  std::vector<std::string> arguments;
};

void compare(const Comparison& comparison, const Contender& contender, Precision precision,
             const std::function<void()>& step) {
  const std::string in = precision == Precision::kFull ? "float32" : "bf16";
  fmt::print("\n{}, {}\n", contender.name, in);
  for (int i = 0; i < kTurns.warm_up; ++i) step();
  std::vector<std::string> arguments = contender.arguments;
  arguments.insert(arguments.end(), {"--device", "cuda", "--precision", in, "--fused"});
  const Configuration configurations[] = {{"modules, eager", {"--variant", "modules"}},
                                          {"lean, eager", {"--variant", "lean"}},
                                          {"lean, compiled, CUDA graphs", {"--variant", "lean", "--compile"}}};
  std::vector<ChosenPeer> peers;
  for (const Configuration& configuration : configurations) {
    peers.push_back(choose_peer(comparison, contender.script, arguments, {configuration}, kTurns));
  }
  std::vector<double> times, hosts;
  std::vector<std::vector<double>> peer_times(peers.size()), ratios(peers.size());
  for (int round = 0; round < comparison.rounds; ++round) {
    const StepTime own = time_of(step);
    times.push_back(own.milliseconds);
    hosts.push_back(own.host_microseconds);
    for (size_t i = 0; i < peers.size(); ++i) {
      const double peer = peers[i].turn(kTurns);
      if (peer == 0) continue;
      peer_times[i].push_back(peer);
      ratios[i].push_back(peer / own.milliseconds);
    }
  }
  print_rate("attune", median(times), contender.work);
  fmt::print("  {:<44} {:7.1f} us\n", "the host is free after", median(hosts));
  for (size_t i = 0; i < peers.size(); ++i) {
    if (ratios[i].empty()) continue;
    print_rate(peers[i].name, median(peer_times[i]), contender.work);
    print_ratio(median(ratios[i]));
  }
  std::fflush(stdout);
}

void measure_sentiment(const Comparison& comparison, Precision precision) {
  const SentimentShape shape;
  SentimentStep step(shape, 0.1, kCuda, precision);
  compare(comparison, {"sentiment", {.count = shape.tokens()}, "train_step.py", {"--dropout", "0.1"}}, precision,
          [&] { step.give(); });
}

void measure_translation(const Comparison& comparison, TranslationShape shape, Precision precision) {
  shape.model.dropout = shape.model.attention_dropout = shape.model.hidden_dropout = 0.1;
  const TranslationBatch batch = translation_batch(shape);
  RecordedStep<examples::translation::TranslationModel> step(precision, shape.model, shape.source_vocabulary,
                                                             shape.target_vocabulary, 64);
  compare(comparison, {"translation, " + shape.name, {.count = shape.tokens()}, "translation.py", shape.arguments()},
          precision, [&] { step(batch.target_out, batch.source, batch.lengths, batch.target_in); });
}

void measure_captioning(const Comparison& comparison, const CaptioningShape& plain, Precision precision) {
  const CaptioningShape shape = plain.with_dropout(0.1);
  const CaptioningSample sample = captioning_sample(shape);
  RecordedStep<examples::captioning::CaptioningModel> step(precision, shape.model, shape.extents());
  compare(comparison,
          {"captioning, " + shape.name, {.count = shape.batch, .unit = "images"}, "captioning.py", shape.arguments()},
          precision, [&] { step(sample.target_out, sample.pictures, sample.picture_of, sample.target_in); });
}

/// The base model of Vaswani et al. (2017), with sentences as Multi30k has them.
TranslationShape base_shape() {
  return {.name = "d 512, 6 + 6 blocks",
          .model = {.dim = 512, .encoder_blocks = 6, .decoder_blocks = 6, .heads = 8, .ffn_dim = 2048},
          .source = 25,
          .target = 25};
}

}  // namespace

int run_cuda_steps(const Comparison& comparison) {
  require_device(kCuda);
  fmt::print("{}; dropout 0.1, the fused Adam\n", device_summary(kCuda));
  for (const Precision precision : {Precision::kFull, Precision::kBFloat16}) {
    measure_sentiment(comparison, precision);
    measure_translation(comparison, translation_shapes().front(), precision);
    measure_translation(comparison, base_shape(), precision);
    for (const CaptioningShape& shape : captioning_shapes()) measure_captioning(comparison, shape, precision);
  }
  return 0;
}

}  // namespace attune::bench
