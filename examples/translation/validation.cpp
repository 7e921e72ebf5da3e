#include "examples/translation/validation.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "autograd/tape.h"
#include "examples/support/finite.h"
#include "examples/support/interrupts.h"
#include "examples/translation/translator.h"
#include "layers/loss.h"

namespace attune::examples::translation {
namespace {

constexpr int64_t kBatchTokens = 8192;

PairLoader loader_of(const SequencePairs& pairs, int64_t max_length) {
  return PairLoader(pairs,
                    {.batches = {.max_examples = 0, .max_tokens = std::max(kBatchTokens, max_length), .shuffle = false},
                     .prefetch = 0});
}

}  // namespace

double mean_loss(TranslationModel& model, PairLoader& loader, PartialEvaluation& parts) {
  const NoGrad no_grad;
  const Evaluating evaluating(model);
  const CrossEntropyLoss cross_entropy({.ignore_index = TextCodec::kPad, .reduction = Reduction::kSum});
  double sum = 0;
  int64_t tokens = 0;
  rewind(loader);
  for (int64_t number = 0; const PairBatch* batch = loader.next(); ++number) {
    sum += number_or_nan(parts.part(fmt::format("loss/{}", number), [&] {
      end_if_interrupted();
      const Variable features = model(batch->source, batch->source_lengths, batch->target_in);
      return cross_entropy(features, model.decoder().head(), batch->target_out).item();
    }));
    tokens += batch->target_tokens;
  }
  return sum / static_cast<double>(tokens);
}

Validator::Validator(const Config& config, TextSides sides, const Validation& data)
    : text_(config.text),
      tokenised_(config.training.select == "tokenised-bleu"),
      target_language_(config.run.target),
      sides_(std::move(sides)),
      loader_(loader_of(data.pairs, config.text.max_length)) {
  if (config.training.select == "loss") return;
  const int64_t most = config.training.sentences;
  const int64_t count = most > 0 ? std::min(most, data.pairs.size()) : data.pairs.size();
  for (int64_t i = 0; i < count; ++i) {
    const std::span<const int64_t> tokens = data.pairs.source.tokens(i);
    sources_.emplace_back(tokens.begin(), tokens.end());
  }
  references_.assign(data.references.begin(), data.references.begin() + count);
}

double Validator::bleu(TranslationModel& model, int64_t max_length, PartialEvaluation& parts) const {
  const Translator translator(
      {.model = model, .source = sides_.source, .target = sides_.target, .max_length = max_length}, {});
  std::vector<std::string> translations(sources_.size());
  const std::vector<std::vector<int64_t>> batches = translator.batches(sources_);
  for (size_t b = 0; b < batches.size(); ++b) {
    const PartialEvaluation::Json texts = parts.part(fmt::format("translations/{}", b), [&] {
      PartialEvaluation::Json found;
      for (const auto& best : translator.translate(sources_, batches[b])) found.push_back(best.front().text);
      return found;
    });
    for (size_t i = 0; i < batches[b].size(); ++i) translations[static_cast<size_t>(batches[b][i])] = texts.at(i);
  }
  const std::vector<std::string> references[] = {references_};
  if (!tokenised_) return corpus_bleu(translations, references, {.lower_case = text_.lower_case}).score;
  return tokenised_bleu(translations, references, MosesTokenizer({.language = target_language_})).score;
}

TextScores Validator::scores(TranslationModel& model, int64_t max_length, PartialEvaluation& parts) {
  TextScores scores{.loss = mean_loss(model, loader_, parts)};
  if (!sources_.empty()) scores.figures.emplace_back("bleu", bleu(model, max_length, parts));
  return scores;
}

TextScores Validator::operator()(TranslationModel& model, PartialEvaluation& parts) {
  return scores(model, text_.max_length, parts);
}

TextScores Validator::rehearse(TranslationModel& model) {
  PartialEvaluation parts;  // of nothing
  // A model that has learned nothing does not end its sentences.
  constexpr double kLonger = 1.3;  // than the mean: the last of a batch are waited for
  const SequencePairs& pairs = loader_.data();
  const double mean = static_cast<double>(pairs.target.token_count()) / static_cast<double>(pairs.size());
  return scores(model, std::min(text_.max_length, static_cast<int64_t>(std::ceil(kLonger * mean))), parts);
}

}  // namespace attune::examples::translation
