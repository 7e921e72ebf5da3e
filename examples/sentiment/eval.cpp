#include <fmt/format.h>

#include <cmath>

#include "examples/sentiment/commands.h"
#include "examples/sentiment/corpus.h"
#include "examples/sentiment/evaluate.h"
#include "examples/sentiment/snapshot.h"
#include "framework/fail.h"

namespace attune::examples {

int evaluate(const EvalOptions& options) {
  Snapshot snapshot = load_snapshot(options.checkpoint);
  TextConfig& text = snapshot.config.text;
  text.truncate = text.truncate || options.truncate;
  place(*snapshot.model, options.placement);
  if (options.data.empty() && !snapshot.config.run.data.empty()) {
    throw UsageError(fmt::format("--data is missing: {} was trained on {}, not on the embedded reviews",
                                 options.checkpoint, snapshot.config.run.data));
  }
  const ClassificationData data = load_evaluation_data(options.data);
  EncodedClassification encoded = encode(text, snapshot.vocabulary, data, kTruncateOption);
  const int64_t truncated = encoded.truncated;
  const double unknown =
      100.0 * static_cast<double>(encoded.unknown) / static_cast<double>(encoded.sequences.token_count());
  Loader loader = evaluation_loader(std::move(encoded.sequences));
  const Scores scores = evaluate(*snapshot.model, loader);
  require<ValueError>(std::isfinite(scores.loss),
                      "{}: the loss is {}, expected a number: the weights are not numbers; use another checkpoint",
                      options.checkpoint, scores.loss);
  const ConfusionMatrix& counts = scores.confusion;
  fmt::print("accuracy {:.2f}% of {}, F1 {:.4f}, loss {:.4f}, {:.2f}% of the words unknown\n", 100 * counts.accuracy(),
             counts.total(), counts.f1(), scores.loss, unknown);
  fmt::print("negative: {} right, {} taken for positive; positive: {} right, {} taken for negative\n",
             counts.count(0, 0), counts.count(0, 1), counts.count(1, 1), counts.count(1, 0));
  if (truncated > 0) fmt::print("{} texts of more than {} tokens cut\n", truncated, text.max_length);
  if (options.json) fmt::print("{}\n", scores.to_json());
  return 0;
}

}  // namespace attune::examples
