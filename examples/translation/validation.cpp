#include "examples/translation/validation.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "autograd/tape.h"
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

double mean_loss(TranslationModel& model, PairLoader& loader) {
  const NoGrad no_grad;
  const Evaluating evaluating(model);
  const CrossEntropyLoss cross_entropy({.ignore_index = TextCodec::kPad, .reduction = Reduction::kSum});
  double sum = 0;
  int64_t tokens = 0;
  while (const PairBatch* batch = loader.next()) {
    const Variable features = model(batch->source, batch->source_lengths, batch->target_in);
    sum += cross_entropy(features, model.decoder().head(), batch->target_out).item();
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

double Validator::bleu(TranslationModel& model, int64_t max_length) const {
  const Translator translator(
      {.model = model, .source = sides_.source, .target = sides_.target, .max_length = max_length}, {});
  std::vector<std::string> translations;
  for (const std::vector<Translation>& found : translator(sources_)) translations.push_back(found.front().text);
  const std::vector<std::string> references[] = {references_};
  if (!tokenised_) return corpus_bleu(translations, references, {.lower_case = text_.lower_case}).score;
  return tokenised_bleu(translations, references, MosesTokenizer({.language = target_language_})).score;
}

TextScores Validator::scores(TranslationModel& model, int64_t max_length) {
  TextScores scores{.loss = mean_loss(model, loader_)};
  if (!sources_.empty()) scores.figures.emplace_back("bleu", bleu(model, max_length));
  return scores;
}

TextScores Validator::operator()(TranslationModel& model) { return scores(model, text_.max_length); }

TextScores Validator::rehearse(TranslationModel& model) {
  // A model that has learned nothing does not end its sentences.
  constexpr double kLonger = 1.3;  // than the mean: the last of a batch are waited for
  const SequencePairs& pairs = loader_.data();
  const double mean = static_cast<double>(pairs.target.token_count()) / static_cast<double>(pairs.size());
  return scores(model, std::min(text_.max_length, static_cast<int64_t>(std::ceil(kLonger * mean))));
}

}  // namespace attune::examples::translation
