#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "datasets/caption_loader.h"
#include "examples/captioning/captioner.h"
#include "examples/captioning/commands.h"
#include "examples/captioning/controls.h"
#include "examples/captioning/corpus.h"
#include "examples/captioning/scores.h"
#include "examples/captioning/snapshot.h"
#include "examples/captioning/validation.h"
#include "examples/support/notice.h"
#include "examples/support/progress.h"
#include "examples/support/table.h"
#include "framework/atomic_file.h"
#include "framework/error.h"

namespace attune::examples::captioning {
namespace {

constexpr int64_t kTestScenes = 500;
constexpr uint64_t kShuffleSeed = 1;
constexpr size_t kProgressBlock = 256;  // pictures between two looks at the progress

/// Pictures that can be read, with what is said of them.
struct TestSet {
  PictureSet pictures;
  std::vector<int64_t> readable;  ///< numbers of the pictures
};

struct Written {
  std::vector<std::string> captions;  ///< of the readable pictures
  double seconds = 0;
};

/// How well references are foretold.
struct Foretold {
  double loss = 0;  ///< nats a token
  int64_t tokens = 0;
  int64_t overlong = 0;  ///< captions left out
};

/// One row of the table.
struct Measured {
  std::string name;
  CaptionScores scores;
  std::optional<Foretold> foretold{};
  double seconds = 0;  ///< 0: nothing was written
};

TestSet load_test_set(const EvalOptions& options, const RunConfig& run) {
  TestSet set;
  if (!options.data.empty()) {
    set.pictures = read_pictures(options.data, options.split, {.height = run.image_size, .width = run.image_size});
  } else if (!run.data.empty()) {
    throw UsageError(fmt::format("--data is missing: {} was trained on {}, not on the embedded scenes",
                                 options.checkpoint, run.data));
  } else if (options.split != "dev" && options.split != "test") {
    throw UsageError(fmt::format("--split is {}, the embedded scenes have dev and test", options.split));
  } else {
    const SceneSplit split = options.split == "dev" ? SceneSplit::kVal : SceneSplit::kTest;
    set.pictures = embedded_pictures(split, kTestScenes, run.image_size);
  }
  set.readable = set.pictures.readable();
  return set;
}

std::optional<Snapshot> load_blind(const EvalOptions& options, const RunConfig& run) {
  if (!options.blind) return {};
  Snapshot blind = load_snapshot(*options.blind);
  place(*blind.model, options.placement);
  const std::string& path = *options.blind;
  if (!blind.config.model.blind) {
    throw UsageError(
        fmt::format("--blind {}: this model sees pictures, expected one trained with --set model.blind=true", path));
  }
  if (blind.config.run.image_size != run.image_size) {
    throw UsageError(fmt::format("--blind {}: run.image_size is {} there and {} in {}, expected the same", path,
                                 blind.config.run.image_size, run.image_size, options.checkpoint));
  }
  return blind;
}

/// A caption of every readable picture.
Written write_all(const Captioner& captioner, const TestSet& set, const char* what) {
  Written written;
  Progress progress(std::ssize(set.readable), "captions");
  const auto begin = std::chrono::steady_clock::now();
  for (size_t at = 0; at < set.readable.size(); at += kProgressBlock) {
    const auto block = std::span(set.readable).subspan(at, std::min(kProgressBlock, set.readable.size() - at));
    for (std::vector<Caption>& best : captioner(*set.pictures.pictures, block)) {
      written.captions.push_back(std::move(best.front().text));
    }
    progress.update(std::ssize(written.captions), std::ssize(block), what, {});
  }
  written.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return written;
}

/// seen: the number of the picture that is shown in place of each.
Foretold foretell(const CaptioningParts& parts, const TestSet& set, std::span<const int64_t> seen) {
  EncodedCaptions encoded = encode_captions(set.pictures.captions, parts.codec, {.max_length = parts.max_length});
  const int64_t overlong = encoded.overlong;
  int64_t tokens = 0;
  for (int64_t i = 0; i < encoded.captions.size(); ++i) {
    int64_t& picture = encoded.pictures[static_cast<size_t>(i)];
    if (set.pictures.pictures->readable(picture)) tokens += encoded.captions.length(i) - 1;  // <bos> is not said
    picture = seen[static_cast<size_t>(picture)];
  }
  CaptionLoader loader(
      std::move(encoded), set.pictures.pictures,
      {.loader = {.batches = {.max_examples = 64, .shuffle = false}, .prefetch = 1}, .captions_per_picture = 5});
  return {.loss = mean_loss(parts.model, loader), .tokens = tokens, .overlong = overlong};
}

/// Numbers 0, 1, ... of the pictures; shuffled: those that can be read stand in a derangement.
std::vector<int64_t> seen_numbers(const TestSet& set, std::span<const int64_t> order) {
  std::vector<int64_t> seen(static_cast<size_t>(set.pictures.pictures->size()));
  std::iota(seen.begin(), seen.end(), 0);
  for (size_t i = 0; i < order.size(); ++i) {
    seen[static_cast<size_t>(set.readable[i])] = set.readable[static_cast<size_t>(order[i])];
  }
  return seen;
}

class Evaluation {
 public:
  Evaluation(const EvalOptions& options, const Snapshot& snapshot)
      : options_(options),
        snapshot_(snapshot),
        blind_(load_blind(options, snapshot.config.run)),
        set_(load_test_set(options, snapshot.config.run)),
        references_(set_.pictures.captions, set_.readable) {
    notice("{}", set_.pictures.description);
    measure_model();
    measure_frequent();
    measure_blind();
  }

  void print() const {
    Table table({{"captions by"},
                 {"BLEU-1", Table::Align::kRight},
                 {"BLEU-2", Table::Align::kRight},
                 {"BLEU-3", Table::Align::kRight},
                 {"BLEU-4", Table::Align::kRight},
                 {"CIDEr-D", Table::Align::kRight},
                 {"ROUGE-L", Table::Align::kRight},
                 {"perplexity", Table::Align::kRight},
                 {"captions/s", Table::Align::kRight}});
    for (const Measured& row : rows_) {
      std::vector<std::string> cells = {row.name};
      for (const double bleu : row.scores.bleu) cells.push_back(fmt::format("{:.1f}", 100 * bleu));
      cells.push_back(fmt::format("{:.3f}", row.scores.cider));
      cells.push_back(fmt::format("{:.1f}", 100 * row.scores.rouge_l));
      cells.push_back(row.foretold ? fmt::format("{:.2f}", std::exp(row.foretold->loss)) : "-");
      cells.push_back(row.seconds > 0 ? fmt::format("{:.1f}", pictures() / row.seconds) : "-");
      table.add(std::move(cells));
    }
    table.print();
    for (const std::string& note : notes_) fmt::print("{}\n", note);
  }

  std::string to_json() const {
    nlohmann::ordered_json json{{"pictures", set_.readable.size()}, {"beam", options_.beam}};
    for (const Measured& row : rows_) {
      nlohmann::ordered_json& entry = json["rows"].emplace_back();
      entry = {{"captions_by", row.name},
               {"bleu", row.scores.bleu},
               {"cider_d", row.scores.cider},
               {"rouge_l", row.scores.rouge_l}};
      if (row.foretold) {
        entry["loss"] = row.foretold->loss;
        entry["perplexity"] = std::exp(row.foretold->loss);
        entry["reference_tokens"] = row.foretold->tokens;
      }
      if (row.seconds > 0) entry["seconds"] = row.seconds;
    }
    if (objects_.words > 0) {
      json["attention_inside"] = objects_.inside.value();
      json["uniform_inside"] = objects_.uniform.value();
    }
    return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  }

 private:
  double pictures() const { return static_cast<double>(set_.readable.size()); }

  Captioner captioner_of(const Snapshot& snapshot) const {
    return Captioner(parts_of(snapshot), search_settings(options_));
  }

  /// Lines `image<TAB>caption`.
  void write_output(const std::vector<std::string>& captions) const {
    std::string text;
    for (size_t i = 0; i < captions.size(); ++i) {
      const CaptionedPicture& picture = set_.pictures.captions[static_cast<size_t>(set_.readable[i])];
      text += fmt::format("{}\t{}\n", one_line(picture.name), one_line(captions[i]));
    }
    write_file_atomically(*options_.output, text);
  }

  /// The model, and the same with pictures that are not those of the captions.
  void measure_model() {
    const Captioner captioner = captioner_of(snapshot_);
    const Written written = write_all(captioner, set_, "captions");
    if (options_.output) write_output(written.captions);
    const Foretold foretold = foretell(captioner.parts(), set_, seen_numbers(set_, {}));
    rows_.push_back({"the model", references_.score(written.captions), foretold, written.seconds});
    notes_.push_back(
        fmt::format("{} pictures with {} captions; {}; perplexity of {} tokens, <eos> and unknown words "
                    "among them{}",
                    with_commas(std::ssize(set_.readable)), with_commas(references_.size()),
                    options_.beam == 1 ? "greedy" : fmt::format("beam {}", options_.beam), with_commas(foretold.tokens),
                    foretold.overlong == 0 ? "" : fmt::format(", {} overlong captions left out", foretold.overlong)));
    objects_ = attention_on_objects(captioner, set_.pictures);
    if (objects_.words > 0) {
      notes_.push_back(
          fmt::format("attention inside the boxes of a word's objects: {:.1f} %; were it equal everywhere: "
                      "{:.1f} %; mean over {} words of the scenes' own captions",
                      100 * objects_.inside.value(), 100 * objects_.uniform.value(), with_commas(objects_.words)));
    }
    if (set_.readable.size() < 2) {
      notes_.push_back("shuffled pictures: left out, there is only one picture");
      return;
    }
    const std::vector<int64_t> order = derangement(std::ssize(set_.readable), kShuffleSeed);
    std::vector<std::string> shuffled;
    for (const int64_t number : order) shuffled.push_back(written.captions[static_cast<size_t>(number)]);
    rows_.push_back({"the model, shuffled pictures", references_.score(shuffled),
                     foretell(captioner.parts(), set_, seen_numbers(set_, order))});
  }

  void measure_frequent() {
    std::vector<CaptionedPicture> training;
    if (options_.data.empty()) {
      const RunConfig& run = snapshot_.config.run;
      training = embedded_pictures(SceneSplit::kTrain, run.scenes, run.image_size).captions;
    } else {
      try {
        training = read_captions(options_.data, {.split = "train"}).pictures;
      } catch (const Error& error) {
        notes_.push_back(fmt::format("most frequent caption: left out, {}", one_line(error.what())));
        return;
      }
    }
    const FrequentCaption frequent = most_frequent_caption(training);
    const std::vector<std::string> captions(set_.readable.size(), frequent.text);
    rows_.push_back({"most frequent caption", references_.score(captions)});
    notes_.push_back(fmt::format("most frequent caption of the training split, {} times: {}",
                                 with_commas(frequent.count), one_line(frequent.text)));
  }

  void measure_blind() {
    if (!blind_) {
      notes_.push_back(
          "image-blind language model: left out; train one with --set model.blind=true and name its checkpoint by "
          "--blind");
      return;
    }
    const Captioner captioner = captioner_of(*blind_);
    const Written written = write_all(captioner, set_, "blind captions");
    rows_.push_back({"image-blind language model", references_.score(written.captions),
                     foretell(captioner.parts(), set_, seen_numbers(set_, {})), written.seconds});
  }

  const EvalOptions& options_;
  const Snapshot& snapshot_;
  const std::optional<Snapshot> blind_;
  TestSet set_;
  References references_;
  std::vector<Measured> rows_;
  std::vector<std::string> notes_;
  ObjectAttention objects_;
};

}  // namespace

int evaluate(const EvalOptions& options) {
  const Snapshot snapshot = load_snapshot(options.checkpoint);
  place(*snapshot.model, options.placement);
  const Evaluation evaluation(options, snapshot);
  evaluation.print();
  if (options.json) fmt::print("{}\n", evaluation.to_json());
  return 0;
}

}  // namespace attune::examples::captioning
