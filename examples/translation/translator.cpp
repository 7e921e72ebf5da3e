#include "examples/translation/translator.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <utility>

#include "autograd/tape.h"
#include "datasets/batch_source.h"
#include "datasets/utf8.h"
#include "framework/fail.h"

namespace attune::examples::translation {
namespace {

// A translation may be longer than its source by a factor and some tokens: beyond that it goes in circles.
constexpr int64_t kLongerFactor = 2;
constexpr int64_t kLongerBy = 20;

}  // namespace

TranslationParts parts_of(const Snapshot& snapshot) {
  return {*snapshot.model, snapshot.source, snapshot.target, snapshot.config.text.max_length};
}

SearchSettings search_settings(const SearchOptions& options) {
  return {.beam = options.beam, .length_penalty = options.length_penalty, .coverage_penalty = options.coverage_penalty};
}

Translator::Translator(const TranslationParts& parts, const SearchSettings& settings)
    : parts_(parts), settings_(settings) {
  require<ValueError>(settings.beam > 0 && settings.best > 0 && settings.best <= settings.beam,
                      "translator: the best {} of {} hypotheses asked for, expected 1 or more of as many at least",
                      settings.best, settings.beam);
}

std::vector<int64_t> Translator::encode(std::string_view text, const std::string& origin, bool truncate) const {
  utf8::require_valid(text, origin);
  if (utf8::is_blank(text)) return {};
  std::vector<int64_t> tokens = parts_.source.codec->encode(parts_.source.preparation(text));
  const auto most = static_cast<size_t>(parts_.max_length);
  if (tokens.size() >= most) {
    require<FormatError>(truncate, "{}: {} tokens, the model takes at most {}; shorten the sentence or give --truncate",
                         origin, tokens.size() + 1, most);
    tokens.resize(most - 1);
  }
  tokens.push_back(TextCodec::kEnd);
  return tokens;
}

std::vector<std::vector<Translation>> Translator::operator()(std::span<const std::vector<int64_t>> sentences) const {
  std::vector<std::vector<Translation>> translations(sentences.size(), {Translation{}});
  std::vector<int64_t> numbers, lengths;
  for (size_t i = 0; i < sentences.size(); ++i) {
    if (sentences[i].empty()) continue;
    numbers.push_back(static_cast<int64_t>(i));
    lengths.push_back(static_cast<int64_t>(sentences[i].size()));
  }
  if (numbers.empty()) return translations;

  const NoGrad no_grad;
  const Evaluating evaluating(parts_.model);
  const int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  const BatchPlan plan(
      lengths,
      {.max_examples = 0, .max_tokens = std::max(longest, settings_.batch_tokens / settings_.beam), .shuffle = false});
  for (int64_t b = 0; b < plan.batches(); ++b) {
    std::vector<int64_t> batch;
    for (const int64_t example : plan.batch(b)) batch.push_back(numbers[static_cast<size_t>(example)]);
    std::vector<std::vector<Translation>> found = search(sentences, batch);
    for (size_t i = 0; i < batch.size(); ++i) translations[static_cast<size_t>(batch[i])] = std::move(found[i]);
  }
  return translations;
}

std::vector<std::vector<Translation>> Translator::search(std::span<const std::vector<int64_t>> sentences,
                                                         std::span<const int64_t> batch) const {
  const auto size = std::ssize(batch);
  std::vector<int64_t> lengths;
  for (const int64_t number : batch) lengths.push_back(std::ssize(sentences[static_cast<size_t>(number)]));
  const int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  std::vector<int64_t> tokens(static_cast<size_t>(size * longest));
  fill_padded(
      batch, longest, TextCodec::kPad, [&](int64_t i) { return std::span(sentences[static_cast<size_t>(i)]); },
      tokens.data(), nullptr);
  const EncoderOutput source =
      parts_.model.encoder()(Tensor::from(tokens, {size, longest}), Tensor::from(lengths, {size}));

  const int64_t most = std::min(parts_.max_length, kLongerFactor * longest + kLongerBy);
  const std::unique_ptr<Generation> generation = parts_.model.decoder().start(source, {.capacity = most});
  std::vector<std::vector<int64_t>> written(batch.size());
  std::vector<double> log_probabilities(batch.size());
  std::vector<int64_t> open(batch.size());  // sentences that go on
  std::iota(open.begin(), open.end(), 0);
  std::vector<int64_t> next(batch.size(), TextCodec::kBegin);
  for (int64_t t = 0; t < most && !open.empty(); ++t) {
    const Tensor logits = generation->step(Tensor::from(next, {std::ssize(next)})).contiguous();
    std::vector<int64_t> kept, kept_rows;
    next.clear();
    for (size_t row = 0; row < open.size(); ++row) {
      const float* begin = logits.data<float>() + static_cast<int64_t>(row) * logits.dim(1);
      const float* best = std::max_element(begin, begin + logits.dim(1));
      double sum = 0;
      for (const float* x = begin; x < begin + logits.dim(1); ++x) sum += std::exp(static_cast<double>(*x - *best));
      const auto sentence = static_cast<size_t>(open[row]);
      written[sentence].push_back(best - begin);
      log_probabilities[sentence] -= std::log(sum);
      if (best - begin == TextCodec::kEnd) continue;
      kept.push_back(open[row]);
      kept_rows.push_back(static_cast<int64_t>(row));
      next.push_back(best - begin);
    }
    if (kept.size() < open.size() && !kept.empty()) {
      generation->select(Tensor::from(kept_rows, {std::ssize(kept_rows)}));
    }
    open = std::move(kept);
  }

  std::vector<std::vector<Translation>> translations;
  for (size_t i = 0; i < batch.size(); ++i) {
    const double score = log_probabilities[i] / static_cast<double>(written[i].size());
    translations.push_back({finish(std::move(written[i]), score, log_probabilities[i])});
  }
  return translations;
}

Translation Translator::finish(std::vector<int64_t> tokens, double score, double log_probability) const {
  return {.text = parts_.target.preparation.restore(parts_.target.codec->decode(tokens)),
          .score = score,
          .log_probability = log_probability,
          .tokens = std::move(tokens)};
}

}  // namespace attune::examples::translation
