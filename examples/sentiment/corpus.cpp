#include "examples/sentiment/corpus.h"

#include <fmt/format.h>

#include <utility>

#include "datasets/hash.h"
#include "datasets/reviews.h"
#include "framework/fail.h"

namespace attune::examples {
namespace {

constexpr int64_t kTrainReviews = 16000;
constexpr int64_t kOtherReviews = 2000;
constexpr uint64_t kHeldOut = 10;  // one text in so many

ClassificationData embedded(ReviewSplit split, int64_t count) {
  ClassificationData data;
  data.examples = generate_reviews({.count = count, .split = split});
  for (const ClassificationExample& example : data.examples) {
    ++data.report.class_counts[static_cast<size_t>(example.label)];
  }
  return data;
}

std::string counts(const ClassificationData& data) {
  return fmt::format("{} negative, {} positive", data.report.class_counts[0], data.report.class_counts[1]);
}

void add(ClassificationData& to, ClassificationData& from, size_t i) {
  ++to.report.class_counts[static_cast<size_t>(from.examples[i].label)];
  to.examples.push_back(std::move(from.examples[i]));
  if (i < from.lines.size()) {
    to.lines.push_back(from.lines[i]);
  } else {
    to.files.push_back(std::move(from.files[i]));
  }
}

/// Equal texts fall on the same side.
void hold_out(Corpus& corpus, const std::string& path) {
  ClassificationData all = std::exchange(corpus.train, {});
  if (!all.lines.empty()) corpus.train.files = corpus.dev.files = all.files;
  for (size_t i = 0; i < all.examples.size(); ++i) {
    const bool held_out = stable_hash(all.examples[i].text) % kHeldOut == 0;
    add(held_out ? corpus.dev : corpus.train, all, i);
  }
  for (const ClassificationData* part : {&corpus.train, &corpus.dev}) {
    const auto [negative, positive] = part->report.class_counts;
    require<FormatError>(negative > 0 && positive > 0,
                         "{}: too few examples ({}) to hold a tenth out with both labels; name a file by --dev", path,
                         all.examples.size());
  }
}

}  // namespace

Corpus load_corpus(const RunConfig& run) {
  Corpus corpus;
  if (run.data.empty()) {
    corpus.train = embedded(ReviewSplit::kTrain, kTrainReviews);
  } else {
    corpus.train = read_classification(run.data, {.require_both_classes = true});
  }
  const std::string all = corpus.train.report.to_string();
  if (!run.dev.empty()) {
    corpus.dev = read_classification(run.dev, {.require_both_classes = true, .split = "test"});
  } else if (run.data.empty()) {
    corpus.dev = embedded(ReviewSplit::kDev, kOtherReviews);
  } else {
    hold_out(corpus, run.data);
  }
  corpus.description = run.data.empty() ? fmt::format("embedded reviews ({})", counts(corpus.train))
                                        : fmt::format("{}: {}", run.data, all);
  corpus.description += fmt::format("; development: {} ({})",
                                    !run.dev.empty()   ? run.dev
                                    : run.data.empty() ? "embedded reviews"
                                                       : "a tenth of them held out",
                                    counts(corpus.dev));
  return corpus;
}

ClassificationData load_evaluation_data(const std::string& path) {
  if (path.empty()) return embedded(ReviewSplit::kTest, kOtherReviews);
  return read_classification(path, {.split = "test"});
}

WordTokenizer make_tokenizer(const TextConfig& config) {
  return WordTokenizer({.lower_case = config.lower_case, .split_punctuation = config.split_punctuation});
}

Vocabulary make_vocabulary(const TextConfig& config, const ClassificationData& data) {
  const WordTokenizer tokenizer = make_tokenizer(config);
  WordCounts counts;
  for (const ClassificationExample& example : data.examples) counts.add(tokenizer(example.text));
  return counts.vocabulary({.min_count = config.min_count, .max_size = config.max_vocabulary});
}

EncodeOptions encode_options(const TextConfig& config, const char* remedy) {
  return {.max_length = config.max_length, .truncate = config.truncate, .remedy = remedy};
}

EncodedClassification encode(const TextConfig& config, const Vocabulary& vocabulary, const ClassificationData& data,
                             const char* remedy) {
  return encode_classification(data, make_tokenizer(config), vocabulary, encode_options(config, remedy));
}

Loader evaluation_loader(LabelledSequences sequences) {
  return Loader(std::move(sequences),
                {.batches = {.max_examples = 256, .max_tokens = 65536, .shuffle = false}, .prefetch = 0});
}

}  // namespace attune::examples
