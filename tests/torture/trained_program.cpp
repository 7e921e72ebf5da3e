#include "tests/torture/trained_program.h"

#include <fmt/format.h>

#include <sstream>
#include <utility>

#include "datasets/bilingual.h"
#include "datasets/reviews.h"
#include "tests/support/pictures.h"

namespace attune::torture {
namespace {

namespace fs = std::filesystem;

std::string review_lines(int64_t count) {
  std::string lines;
  for (const ClassificationExample& example : generate_reviews({.count = count, .seed = 0})) {
    lines += fmt::format("{}\t{}\n", example.label, example.text);
  }
  return lines;
}

void write_pairs(const fs::path& folder, const std::string& split, const std::vector<BilingualPair>& pairs) {
  std::string source;
  std::string target;
  for (const BilingualPair& pair : pairs) {
    source += pair.source + '\n';
    target += pair.target + '\n';
  }
  write_bytes(folder / (split + ".en"), source);
  write_bytes(folder / (split + ".es"), target);
}

}  // namespace

Words Undisturbed::into(const fs::path& out, const Words& more) const {
  Words words = train;
  words.insert(words.end(), {"--out", out.string()});
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TrainedProgram::TrainedProgram(const CampaignOptions& options, std::string name)
    : name_(std::move(name)), folder_(options.out / "undisturbed" / name_), data_(options.out / "data" / name_) {
  if (name_ == "sentiment") sentiment();
  if (name_ == "translation") translation();
  if (name_ == "captioning") captioning();
}

void TrainedProgram::add_variants(const Words& words, const std::vector<std::string>& settings) {
  for (const std::string& line : settings) {
    auto variant = std::make_unique<Variant>();
    variant->train = words;
    std::istringstream stream(line);
    for (std::string word; stream >> word;) {
      if (!word.starts_with("--")) variant->train.emplace_back("--set");
      variant->train.push_back(word);
    }
    variants_.push_back(std::move(variant));
  }
}

void TrainedProgram::sentiment() {
  data_ += ".tsv";
  write_bytes(data_, review_lines(200));
  const std::string small =
      "model.dim=16 model.heads=2 model.blocks=1 model.ffn_dim=32 training.epochs=3 training.evaluations_per_epoch=2 ";
  const std::string own = fmt::format("--data={} --dev={} training.batch_size=8 ", data_.string(), data_.string());
  add_variants({"train", "--preset", "reviews"},
               {small + own + "--threads=1 training.save_every=0.02",
                small + own +
                    "--threads=2 training.save_every=0 training.average_decay=0.9 training.word_dropout=0.1 "
                    "model.members=2",
                small + own + "--threads=1 training.save_every=0.1 --precision=bf16",
                small + "--threads=1 training.save_every=0.2 training.epochs=1 --seed=5"});
}

void TrainedProgram::translation() {
  write_pairs(data_, "train", generate_bilingual({.count = 120}));
  write_pairs(data_, "val", generate_bilingual({.count = 10, .split = BilingualSplit::kVal}));
  const std::string small =
      "training.max_tokens=300 text.max_length=30 model.dim=16 model.heads=2 model.encoder_blocks=1 "
      "model.decoder_blocks=1 model.ffn_dim=32 model.hidden=16 training.epochs=3 training.evaluate_every=4 ";
  const std::string own = fmt::format("--data={} --source=en --target=es ", data_.string());
  add_variants({"train", "--preset", "grammar"},
               {small + own + "--threads=1 training.save_every=0.02 training.average_last=3",
                small + own +
                    "--threads=2 training.save_every=0 training.average_decay=0.9 training.accumulation=2 "
                    "text.codec=bpe text.joint=true text.vocabulary=150 text.dropout=0.1 training.r_drop=1",
                small + own + "--threads=1 training.save_every=0.1 model.kind=recurrent text.codec=words",
                small + own +
                    "--threads=1 training.save_every=0 --precision=bf16 text.codec=unigram "
                    "text.vocabulary=100"});
}

void TrainedProgram::captioning() {
  using testing::gradient_picture;
  std::string captions;
  std::string list;
  for (int i = 0; i < 6; ++i) {
    const std::string picture = fmt::format("{}.jpg", i);
    write_bytes(data_ / "images" / picture, testing::jpeg_file(gradient_picture(40 + 3 * i, 48)));
    captions += fmt::format("{}\ta picture of colours\n{}\tmany colours in a picture\n", picture, picture);
    list += picture + '\n';
  }
  write_bytes(data_ / "captions.tsv", captions);
  write_bytes(data_ / "train.txt", list);
  write_bytes(data_ / "dev.txt", list);
  const std::string small =
      "training.epochs=2 training.pictures=4 training.captions_per_picture=2 model.stem=4 model.channels=6 "
      "model.patch=8 model.dim=16 model.hidden=16 model.heads=2 model.ffn_dim=16 model.encoder_blocks=1 "
      "model.decoder_blocks=1 model.attention_hidden=8 run.image_size=32 run.scenes=24 training.evaluate_every=3 ";
  const std::string own = fmt::format("--data={} text.min_count=1 training.epochs=6 ", data_.string());
  add_variants({"train", "--preset", "scenes"},
               {small + "--threads=1 training.save_every=0.02",
                small + "--threads=2 training.save_every=0.1 model.encoder=patch model.decoder=transformer "
                        "training.average_last=2",
                small + "--threads=1 training.save_every=0 model.attention=hard-image training.label_smoothing=0",
                small + own + "--threads=1 training.save_every=0 --precision=bf16"});
}

const Undisturbed& TrainedProgram::undisturbed(Trial& trial, size_t variant) {
  Variant& one = *variants_[variant];
  const std::lock_guard lock(one.mutex);
  if (one.done) return *one.done;
  Undisturbed run{.train = one.train, .folder = folder_ / std::to_string(variant)};
  fs::remove_all(run.folder);
  const Ended ended = trial.run({.program = trial.program(executable()), .arguments = run.into(run.folder)},
                                trial.options().training_limits);
  if (ended.status != 0 || !ended.limit.empty()) {
    throw Failure(fmt::format("an undisturbed run ends with {} {}: {}", ended.status, ended.limit, ended.err));
  }
  run.seconds = ended.seconds;
  one.done = std::move(run);
  return *one.done;
}

std::vector<TrainedProgram::Use> TrainedProgram::uses(const std::string& checkpoint) const {
  const Words with = {"--checkpoint", checkpoint, "--threads", "1"};
  const auto use = [&](Words words, const Words& more, std::string input = "", bool repeats = true) {
    words.insert(words.end(), with.begin(), with.end());
    words.insert(words.end(), more.begin(), more.end());
    return Use{std::move(words), std::move(input), repeats};
  };
  if (name_ == "sentiment") {
    return {use({"predict"}, {"--json"}, "not bad at all .\na boring film\n"),
            use({"predict", "--text", "a truly moving film"}, {}), use({"eval"}, {"--data", data_.string(), "--json"})};
  }
  if (name_ == "translation") {
    return {use({"translate"}, {"--beam", "2"}, "the teacher 's dog sees her .\ndo you see the house ?\n"),
            use({"translate"}, {"--beam", "1", "--json"}, "the dog sees her .\n"),
            use({"eval"},
                {"--source-file", (data_ / "val.en").string(), "--reference-file", (data_ / "val.es").string(),
                 "--beam", "1"},
                "", false)};
  }
  const std::string picture = (data_ / "images/0.jpg").string();
  return {use({"caption"}, {"--beam", "2", "--json", picture}), use({"caption"}, {"--beam", "1", picture, picture}),
          use({"eval"}, {"--data", data_.string(), "--beam", "1"}, "", false)};
}

}  // namespace attune::torture
