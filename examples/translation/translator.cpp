#include "examples/translation/translator.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "autograd/tape.h"
#include "datasets/batch_source.h"
#include "datasets/utf8.h"
#include "examples/support/interrupts.h"
#include "framework/fail.h"

namespace attune::examples::translation {
namespace {

// A translation may be so much longer than its source: beyond that it goes in circles.
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
  require<ValueError>(
      settings.beam > 0 && settings.best > 0 && (settings.best <= settings.beam || settings.temperature > 0),
      "translator: the best {} of {} hypotheses asked for, expected 1 or more of as many at least", settings.best,
      settings.beam);
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

std::vector<std::vector<int64_t>> Translator::batches(std::span<const std::vector<int64_t>> sentences) const {
  std::vector<int64_t> numbers, lengths;
  for (size_t i = 0; i < sentences.size(); ++i) {
    if (sentences[i].empty()) continue;
    numbers.push_back(static_cast<int64_t>(i));
    lengths.push_back(static_cast<int64_t>(sentences[i].size()));
  }
  if (numbers.empty()) return {};
  const int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  const int64_t rows = settings_.temperature > 0 ? settings_.best : settings_.beam;  // of each sentence
  const BatchPlan plan(
      lengths, {.max_examples = 0, .max_tokens = std::max(longest, settings_.batch_tokens / rows), .shuffle = false});
  std::vector<std::vector<int64_t>> batches;
  for (int64_t b = 0; b < plan.batches(); ++b) {
    std::vector<int64_t>& batch = batches.emplace_back();
    for (const int64_t example : plan.batch(b)) batch.push_back(numbers[static_cast<size_t>(example)]);
  }
  return batches;
}

std::vector<std::vector<Translation>> Translator::translate(std::span<const std::vector<int64_t>> sentences,
                                                            std::span<const int64_t> batch) const {
  const NoGrad no_grad;
  const Evaluating evaluating(parts_.model);
  std::vector<std::vector<Translation>> translations;
  for (std::vector<Hypothesis>& found : search(sentences, batch)) {
    std::vector<Translation>& best = translations.emplace_back();
    for (Hypothesis& hypothesis : found) {
      best.push_back({.text = parts_.target.preparation.restore(parts_.target.codec->decode(hypothesis.tokens)),
                      .score = hypothesis.score,
                      .log_probability = hypothesis.log_probability,
                      .tokens = std::move(hypothesis.tokens)});
    }
  }
  return translations;
}

std::vector<std::vector<Translation>> Translator::operator()(std::span<const std::vector<int64_t>> sentences) const {
  std::vector<std::vector<Translation>> translations(sentences.size(), {Translation{}});
  for (const std::vector<int64_t>& batch : batches(sentences)) {
    std::vector<std::vector<Translation>> found = translate(sentences, batch);
    for (size_t i = 0; i < batch.size(); ++i) translations[static_cast<size_t>(batch[i])] = std::move(found[i]);
  }
  return translations;
}

std::vector<std::vector<Hypothesis>> Translator::search(std::span<const std::vector<int64_t>> sentences,
                                                        std::span<const int64_t> batch) const {
  const auto size = std::ssize(batch);
  std::vector<int64_t> lengths, limits;
  for (const int64_t number : batch) {
    lengths.push_back(std::ssize(sentences[static_cast<size_t>(number)]));
    limits.push_back(std::min(parts_.max_length, kLongerFactor * lengths.back() + kLongerBy));
  }
  const int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  std::vector<int64_t> tokens(static_cast<size_t>(size * longest));
  fill_padded(
      batch, longest, TextCodec::kPad, [&](int64_t i) { return std::span(sentences[static_cast<size_t>(i)]); },
      tokens.data(), nullptr);
  const EncoderOutput source =
      parts_.model.encoder()(Tensor::from(tokens, {size, longest}), Tensor::from(lengths, {size}));
  const std::unique_ptr<Generation> generation =
      interruptible(parts_.model.decoder().start(source, {.capacity = *std::max_element(limits.begin(), limits.end()),
                                                          .attention = settings_.coverage_penalty > 0}));

  const DecodingOptions options{.bos = TextCodec::kBegin,
                                .eos = TextCodec::kEnd,
                                .forbidden = {TextCodec::kPad, TextCodec::kUnknown},
                                .max_length = limits};
  if (settings_.temperature > 0) {
    return sample(*generation, options, {.samples = settings_.best, .temperature = settings_.temperature},
                  default_stream());
  }
  if (settings_.beam == 1) return greedy_search(*generation, options);
  return beam_search(*generation, options,
                     {.width = settings_.beam,
                      .n_best = settings_.best,
                      .length_penalty = LengthPenalty::kPower,
                      .alpha = settings_.length_penalty,
                      .coverage_penalty = settings_.coverage_penalty,
                      .source_lengths = lengths});
}

}  // namespace attune::examples::translation
