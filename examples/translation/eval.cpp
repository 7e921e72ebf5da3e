#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "datasets/encode_pairs.h"
#include "datasets/metrics.h"
#include "datasets/pair_loader.h"
#include "datasets/scores/bleu.h"
#include "datasets/scores/chrf.h"
#include "datasets/utf8.h"
#include "examples/support/progress.h"
#include "examples/support/table.h"
#include "examples/translation/alignments.h"
#include "examples/translation/commands.h"
#include "examples/translation/snapshot.h"
#include "examples/translation/translator.h"
#include "examples/translation/validation.h"
#include "framework/atomic_file.h"

namespace attune::examples::translation {
namespace {

constexpr size_t kBlock = 512;        // sentences between two looks at the progress
constexpr int64_t kTestPairs = 1000;  // of the embedded corpus
constexpr int64_t kLayerPairs = 500;  // of its validation split, to choose the layer of alignments on

/// Sentences, line by line, and one or more sets of translations.
struct TestSet {
  std::string name;
  std::vector<std::string> sources{};
  std::vector<std::vector<std::string>> references{};
  std::vector<BilingualPair> pairs{};  ///< of the embedded corpus
};

TestSet embedded_test_set() {
  TestSet test{.name = "embedded test",
               .pairs = generate_bilingual({.count = kTestPairs, .split = BilingualSplit::kTest})};
  test.references.emplace_back();
  for (const BilingualPair& pair : test.pairs) {
    test.sources.push_back(pair.source);
    test.references.front().push_back(pair.target);
  }
  return test;
}

TestSet load_test_set(const EvalOptions& options, const Config& config) {
  if (options.source_file.empty() != options.reference_files.empty()) {
    throw UsageError("--source-file and --reference-file belong together, one of them is missing");
  }
  if (options.source_file.empty()) {
    if (config.run.data.empty()) return embedded_test_set();
    throw UsageError(
        fmt::format("--source-file and --reference-file are missing: {} was trained on {}, not on the "
                    "embedded corpus",
                    options.checkpoint, config.run.data));
  }
  TestSet test{.name = options.source_file};
  for (const std::string& file : options.reference_files) {
    ParallelCorpus corpus = read_parallel_files(options.source_file, file, {.keep_empty = true});
    test.sources = std::move(corpus.source);
    test.references.push_back(std::move(corpus.target));
  }
  return test;
}

struct Translated {
  std::vector<std::string> texts;
  double seconds = 0;
};

Translated translate_all(const Translator& translator, const TestSet& test, bool truncate) {
  std::vector<std::vector<int64_t>> sentences;
  for (const std::string& source : test.sources) {
    sentences.push_back(
        translator.encode(source, fmt::format("{}: line {}", test.name, sentences.size() + 1), truncate));
  }
  Translated translated;
  Progress progress(std::ssize(sentences), "sentences");
  const auto begin = std::chrono::steady_clock::now();
  for (size_t at = 0; at < sentences.size(); at += kBlock) {
    const auto block = std::span(sentences).subspan(at, std::min(kBlock, sentences.size() - at));
    for (std::vector<Translation>& best : translator(block)) translated.texts.push_back(std::move(best.front().text));
    progress.update(std::ssize(translated.texts), std::ssize(block), "translate", {});
  }
  translated.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return translated;
}

/// Of all references.
struct ReferenceLoss {
  Mean mean;  ///< of -log(probability) of a token
  int64_t tokens = 0;
  int64_t overlong = 0;  ///< pairs left out
};

void add_reference_loss(const TranslationParts& parts, const TestSet& test, const std::vector<std::string>& references,
                        ReferenceLoss& loss) {
  ParallelCorpus corpus;
  corpus.source_path = test.name;
  corpus.target_path = "its references";
  for (size_t i = 0; i < references.size(); ++i) {
    if (utf8::is_blank(test.sources[i]) || utf8::is_blank(references[i])) continue;
    corpus.source.push_back(parts.source.preparation(test.sources[i]));
    corpus.target.push_back(parts.target.preparation(references[i]));
    corpus.lines.push_back(static_cast<int64_t>(i) + 1);
  }
  if (corpus.size() == 0) return;
  EncodedPairs encoded =
      encode_pairs(corpus, *parts.source.codec, *parts.target.codec, {.max_length = parts.max_length});
  const int64_t tokens = encoded.pairs.target.token_count() - encoded.pairs.size();  // <bos> is not said
  PairLoader loader(std::move(encoded.pairs), {.batches = {.max_examples = 64, .shuffle = false}, .prefetch = 0});
  loss.mean.add(mean_loss(parts.model, loader), static_cast<double>(tokens));
  loss.tokens += tokens;
  loss.overlong += encoded.overlong;
}

/// The layer that aligns the validation split best, and how it aligns the test split.
std::optional<LayerAlignment> best_alignment(const TranslationParts& parts, std::span<const BilingualPair> test) {
  if (test.empty()) return {};
  const std::vector<LayerAlignment> chosen_on =
      score_alignments(parts, generate_bilingual({.count = kLayerPairs, .split = BilingualSplit::kVal}));
  if (chosen_on.empty()) return {};
  const auto best = std::min_element(chosen_on.begin(), chosen_on.end(), [](const auto& a, const auto& b) {
    return a.score.error_rate() < b.score.error_rate();
  });
  return score_alignments(parts, test)[static_cast<size_t>(best - chosen_on.begin())];
}

struct Measured {
  BleuScore bleu;
  BleuScore bleu_lower;
  BleuScore bleu_tokens;
  double chrf = 0;
  ReferenceLoss loss{};
  std::optional<LayerAlignment> alignment{};
  int64_t sentences = 0;
  double seconds = 0;
};

constexpr BleuOptions kLowerCase = {.lower_case = true};

void print_table(const Measured& scores, const TestSet& test, const std::string& language, int64_t beam) {
  const auto references = std::ssize(test.references);
  Table table({{"score"}, {"value", Table::Align::kRight}, {"how"}});
  const auto row = [&](const char* name, double value, const std::string& how) {
    table.add({name, fmt::format("{:.2f}", value), how});
  };
  row("BLEU", scores.bleu.score, bleu_signature({}, references));
  row("BLEU, lower case", scores.bleu_lower.score, bleu_signature(kLowerCase, references));
  row("BLEU of tokens", scores.bleu_tokens.score,
      fmt::format("lower-cased Moses tokens ({}), not smoothed, as multi-bleu.perl", language));
  row("chrF", scores.chrf, chrf_signature({}, references));
  row("perplexity", std::exp(scores.loss.mean.value()),
      fmt::format("loss {:.4f} nats a token, {} tokens of references{}", scores.loss.mean.value(),
                  with_commas(scores.loss.tokens),
                  scores.loss.overlong == 0 ? "" : fmt::format(", {} overlong left out", scores.loss.overlong)));
  if (scores.alignment) {
    const AlignmentScore& score = scores.alignment->score;
    row("alignment error %", 100 * score.error_rate(),
        fmt::format("{}, mean of its heads; precision {:.1f}%, recall {:.1f}%; the layer was chosen on other sentences",
                    scores.alignment->layer, 100 * score.precision(), 100 * score.recall()));
  }
  row("sentences/s", static_cast<double>(scores.sentences) / scores.seconds,
      fmt::format("{}, {} sentences in {:.1f} s", beam == 1 ? "greedy" : fmt::format("beam {}", beam),
                  with_commas(scores.sentences), scores.seconds));
  table.print();
}

std::string to_json(const Measured& scores, const TestSet& test) {
  const auto references = std::ssize(test.references);
  nlohmann::ordered_json json{{"bleu", scores.bleu.score},
                              {"bleu_signature", bleu_signature({}, references)},
                              {"bleu_lower", scores.bleu_lower.score},
                              {"bleu_lower_signature", bleu_signature(kLowerCase, references)},
                              {"bleu_tokens", scores.bleu_tokens.score},
                              {"chrf", scores.chrf},
                              {"chrf_signature", chrf_signature({}, references)},
                              {"loss", scores.loss.mean.value()},
                              {"perplexity", std::exp(scores.loss.mean.value())},
                              {"reference_tokens", scores.loss.tokens},
                              {"overlong", scores.loss.overlong},
                              {"sentences", scores.sentences},
                              {"seconds", scores.seconds}};
  if (scores.alignment) {
    json["alignment_error_rate"] = scores.alignment->score.error_rate();
    json["alignment_layer"] = scores.alignment->layer;
  }
  return json.dump();
}

}  // namespace

int evaluate(const EvalOptions& options) {
  const Snapshot snapshot = load_snapshot(options.checkpoint);
  place(*snapshot.model, options.placement);
  const TestSet test = load_test_set(options, snapshot.config);
  const Translator translator(parts_of(snapshot), search_settings(options));
  const Translated translated = translate_all(translator, test, options.truncate);
  if (options.output) {
    std::string text;
    for (const std::string& line : translated.texts) text += one_line(line) + '\n';
    write_file_atomically(*options.output, text);
  }

  const std::string& language = snapshot.config.run.target;
  Measured scores{
      .bleu = corpus_bleu(translated.texts, test.references),
      .bleu_lower = corpus_bleu(translated.texts, test.references, kLowerCase),
      .bleu_tokens = tokenised_bleu(translated.texts, test.references, MosesTokenizer({.language = language})),
      .chrf = corpus_chrf(translated.texts, test.references),
      .sentences = std::ssize(translated.texts),
      .seconds = translated.seconds};
  for (const std::vector<std::string>& set : test.references) {
    add_reference_loss(translator.parts(), test, set, scores.loss);
  }
  scores.alignment = best_alignment(translator.parts(), test.pairs);
  print_table(scores, test, language, options.beam);
  if (options.json) fmt::print("{}\n", to_json(scores, test));
  return 0;
}

}  // namespace attune::examples::translation
