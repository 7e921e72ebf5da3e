// Captioning: training steps of the models beside PyTorch, writing captions with cached keys and values beside PyTorch,
// and how long training waits for pictures.
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>

#include "datasets/caption_loader.h"
#include "datasets/scenes.h"
#include "examples/captioning/corpus.h"
#include "framework/fail.h"
#include "framework/storage.h"
#include "tests/benchmarks/benchmarks.h"
#include "tests/benchmarks/captioning_model.h"
#include "tests/benchmarks/contest.h"
#include "tests/benchmarks/machine.h"
#include "tests/benchmarks/sequence_model.h"
#include "tests/support/pictures.h"

namespace attune::bench {
namespace {

namespace captioning = examples::captioning;
namespace fs = std::filesystem;

constexpr Turns kTurns = {.warm_up = 3, .steps = 5};

using CaptioningStep = TrainingStep<captioning::CaptioningModel>;

/// The ways to run the peer: of convolutions, PyTorch has them with the channels first and last.
std::vector<Configuration> configurations_of(const CaptioningShape& shape) {
  std::vector<Configuration> all = {{"modules, fused Adam", {"--variant", "modules", "--fused"}},
                                    {"lean, fused Adam", {"--variant", "lean", "--fused"}},
                                    {"lean, fused Adam, compiled", {"--variant", "lean", "--fused", "--compile"}}};
  if (!shape.has_convolutions()) return all;
  all.push_back({"lean, channels last, fused Adam", {"--variant", "lean", "--fused", "--channels-last"}});
  all.push_back(
      {"lean, channels last, fused Adam, compiled", {"--variant", "lean", "--fused", "--channels-last", "--compile"}});
  return all;
}

void train(const Comparison& comparison, const CaptioningShape& shape) {
  fmt::print("\ntrain {}, dropout {}: {} pictures of {} x {}, {} tokens about each, {:.2f} GFLOP a step\n", shape.name,
             shape.model.dropout, shape.batch, shape.image_size, shape.image_size, shape.tokens,
             shape.step_operations() / 1e9);
  const CaptioningSample sample = captioning_sample(shape);
  CaptioningStep training(shape.model, shape.extents());
  const auto step = [&] { training(sample.target_out, sample.pictures, sample.picture_of, sample.target_in); };
  for (int i = 0; i < kTurns.warm_up; ++i) step();
  const ChosenPeer peer = choose_peer(comparison, "captioning.py", shape.arguments(), configurations_of(shape), kTurns);
  const uint64_t allocations = memory_stats().system_allocations;
  const Contest times = contest(comparison, kTurns, peer, step);
  const Work work{.count = shape.batch, .unit = "images", .operations = shape.step_operations()};
  print_contest(times, peer, [&](const std::string& name, double milliseconds) {
    print_rates(name, milliseconds, work, times.peak);
  });
  fmt::print("  {:<44} {:7}\n", "system allocations after warm-up", memory_stats().system_allocations - allocations);
}

void decode(const Comparison& comparison, const CaptioningShape& shape, int64_t beam) {
  fmt::print("\ncaption by {}, {}: {} pictures read, {} tokens written about each\n", shape.name, search_name(beam),
             shape.batch, shape.tokens);
  captioning::CaptioningModel model(shape.model, shape.extents());
  model.eval();
  const Tensor pictures = captioning_sample(shape).pictures;
  const auto writing = [&] {
    const NoGrad no_grad;
    write_sequences(model.decoder(), model.encoder()(pictures), shape.tokens, beam);
  };
  for (int i = 0; i < kTurns.warm_up; ++i) writing();
  std::vector<std::string> arguments = shape.arguments();
  arguments.insert(arguments.end(), {"--task", beam == 1 ? "greedy" : "beam", "--beam", std::to_string(beam)});
  std::vector<Configuration> configurations = {{"lean", {"--variant", "lean"}}};
  if (shape.has_convolutions()) {
    configurations.push_back({"lean, channels last", {"--variant", "lean", "--channels-last"}});
  }
  const ChosenPeer peer = choose_peer(comparison, "captioning.py", arguments, configurations, kTurns);
  const Contest times = contest(comparison, kTurns, peer, writing);
  print_contest(times, peer, [&](const std::string& name, double milliseconds) {
    print_rate(name, milliseconds, {.count = shape.batch, .unit = "captions"});
  });
}

/// Drawn pictures as large as photographs of the usual data sets, in a folder that goes when this does.
class DrawnPictures {
 public:
  DrawnPictures() : folder_((fs::temp_directory_path() / "attune-bench-XXXXXX").string()) {
    require<IoError>(mkdtemp(folder_.data()) != nullptr, "{}: cannot make a folder for pictures", folder_);
    const std::vector<Scene> scenes = generate_scenes({.count = kPictures, .size = kSize});
    const std::vector<CaptionedPicture> captions = to_captions(scenes);
    fs::create_directory(fs::path(folder_) / "images");
    std::ofstream lines(fs::path(folder_) / "captions.tsv");
    for (size_t i = 0; i < scenes.size(); ++i) {
      const std::string name = captions[i].name + ".jpg";
      std::ofstream(fs::path(folder_) / "images" / name, std::ios::binary)
          << testing::jpeg_file(scenes[i].picture, {.quality = 90});
      for (const std::string& caption : captions[i].captions) lines << name << '\t' << caption << '\n';
    }
  }
  ~DrawnPictures() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  DrawnPictures(const DrawnPictures&) = delete;
  DrawnPictures& operator=(const DrawnPictures&) = delete;

  const std::string& folder() const { return folder_; }

 private:
  static constexpr int64_t kPictures = 256;
  static constexpr int64_t kSize = 416;

  std::string folder_;
};

/// Trains on pictures of files; they are decoded once, or every time that a batch asks for them.
void train_on(const std::string& folder, const std::string& split, bool kept) {
  constexpr int64_t kBatches = 30;
  CaptioningShape shape = captioning_shapes().back().with_dropout(0.1);
  PictureStoreOptions reading{.height = shape.image_size, .width = shape.image_size};
  if (!kept) reading.max_bytes = 0;
  const captioning::PictureSet set = captioning::read_pictures(folder, split, reading);
  const std::unique_ptr<TextCodec> codec = captioning::learn_words(set.captions, 5);
  shape.vocabulary = codec->size();
  CaptionLoader loader(
      encode_captions(set.captions, *codec, {.max_length = 40}), set.pictures,
      {.loader = {.batches = {.max_examples = shape.batch}},
       .augmentation = {
           .min_area = 0.6, .max_stretch = 1.3, .flip = 0.5, .brightness = 0.2, .contrast = 0.2, .saturation = 0.2}});
  CaptioningStep training(shape.model, shape.extents());
  double begin = 0;
  double waited = 0;
  int64_t images = 0;
  for (int64_t i = 0; i < kTurns.warm_up + kBatches; ++i) {
    if (i == kTurns.warm_up) {
      begin = now();
      waited = loader.seconds_waited();
    }
    const CaptionBatch* batch = loader.next();
    if (batch == nullptr) batch = loader.next();  // an epoch has ended
    training(batch->target_out, batch->pictures, batch->picture_of, batch->target_in);
    if (i >= kTurns.warm_up) images += batch->pictures.dim(0);
  }
  const double seconds = now() - begin;
  fmt::print("  {:<44} {:8.0f} images/s  {:5.1f}% of the time waits for pictures\n",
             kept ? "pictures kept decoded" : "files decoded for every batch", static_cast<double>(images) / seconds,
             100 * (loader.seconds_waited() - waited) / seconds);
}

void load(const std::string& data) {
  fmt::print("\ntrain {} on files, changed at random, made in one thread beside the training\n",
             captioning_shapes().back().name);
  std::optional<DrawnPictures> drawn;
  if (data.empty()) drawn.emplace();
  for (const bool kept : {true, false}) train_on(drawn ? drawn->folder() : data, drawn ? "" : "train", kept);
}

}  // namespace

int run_captioning(const Comparison& comparison, const CaptioningBenchmark& options) {
  fmt::print("{}\n", machine_line(fma_peak_gflops(num_threads())));
  const auto wanted = [&](const std::string& part) { return options.only.empty() || options.only == part; };
  for (const CaptioningShape& shape : captioning_shapes()) {
    if (!wanted(shape.part)) continue;
    for (const double dropout : {0.0, 0.1}) train(comparison, shape.with_dropout(dropout));
  }
  if (wanted("decode")) {
    for (const CaptioningShape& shape : {captioning_shapes().front(), captioning_shapes().back()}) {
      for (const int64_t beam : {1, 5}) decode(comparison, shape.with_dropout(0), beam);
    }
  }
  if (wanted("data")) load(options.data);
  fmt::print("\nafter: {}\n", machine_line(fma_peak_gflops(num_threads())));
  return 0;
}

}  // namespace attune::bench
