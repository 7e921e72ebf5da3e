#include "examples/translation/corpus.h"

#include <fmt/format.h>

#include <utility>

#include "datasets/bilingual.h"
#include "examples/support/table.h"

namespace attune::examples::translation {
namespace {

constexpr int64_t kTrainPairs = 12000;
constexpr int64_t kValPairs = 500;

ParallelCorpus embedded(BilingualSplit split, int64_t count, const char* name) {
  return to_corpus(generate_bilingual({.count = count, .split = split}), name);
}

std::vector<std::string> prepared(const TextPreparation& preparation, const std::vector<std::string>& sentences) {
  std::vector<std::string> prepared;
  prepared.reserve(sentences.size());
  for (const std::string& sentence : sentences) prepared.push_back(preparation(sentence));
  return prepared;
}

EncodedPairs encode(const TextSides& sides, const ParallelCorpus& corpus, const PairEncodeOptions& options) {
  ParallelCorpus words = corpus;
  words.source = prepared(sides.source.preparation, corpus.source);
  words.target = prepared(sides.target.preparation, corpus.target);
  return encode_pairs(words, *sides.source.codec, *sides.target.codec, options);
}

Overlong overlong_named(const std::string& name) {
  if (name == "truncate") return Overlong::kTruncate;
  return name == "error" ? Overlong::kError : Overlong::kLeaveOut;
}

}  // namespace

Corpus load_corpus(const RunConfig& run) {
  if (run.data.empty()) {
    return {.train = embedded(BilingualSplit::kTrain, kTrainPairs, "embedded train"),
            .val = embedded(BilingualSplit::kVal, kValPairs, "embedded val")};
  }
  return {.train = read_parallel(run.data, "train", run.source, run.target),
          .val = read_parallel(run.data, "val", run.source, run.target)};
}

TextSides learn_sides(const Config& config, const ParallelCorpus& corpus) {
  TextSides sides = preparations_of(config);
  const std::vector<std::string> source = prepared(sides.source.preparation, corpus.source);
  const std::vector<std::string> target = prepared(sides.target.preparation, corpus.target);
  const TextConfig& text = config.text;
  const CodecOptions options{.kind = text.codec == "bpe"       ? CodecKind::kBpe
                                     : text.codec == "unigram" ? CodecKind::kUnigram
                                                               : CodecKind::kWords,
                             .size = text.vocabulary,
                             .character_coverage = text.character_coverage,
                             .min_count = text.min_count};
  if (text.joint) {
    sides.source.codec = sides.target.codec = train_codec({source, target}, options);
  } else {
    sides.source.codec = train_codec({source}, options);
    sides.target.codec = train_codec({target}, options);
  }
  return sides;
}

TrainingData encode(const Config& config, const TextSides& sides, const Corpus& corpus) {
  const PairEncodeOptions limits{.max_length = config.text.max_length,
                                 .overlong = overlong_named(config.text.overlong)};
  EncodedPairs train = encode(sides, corpus.train, limits);
  EncodedPairs val = encode(sides, corpus.val, {.max_length = limits.max_length, .overlong = Overlong::kTruncate});
  TrainingData data;
  const std::string target = config.text.joint ? "" : fmt::format(" and {}", with_commas(sides.target.codec->size()));
  data.description =
      fmt::format("{}: {}\n{}: {}; vocabulary {}{}", corpus.train.to_string(), train.to_string(),
                  corpus.val.to_string(), val.to_string(), with_commas(sides.source.codec->size()), target);
  for (const size_t number : val.numbers) data.val.references.push_back(corpus.val.target[number]);
  data.train = std::move(train.pairs);
  data.val.pairs = std::move(val.pairs);
  return data;
}

}  // namespace attune::examples::translation
