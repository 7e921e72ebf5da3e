#include "examples/sentiment/classify.h"

#include <algorithm>
#include <cmath>

#include "autograd/tape.h"
#include "datasets/utf8.h"
#include "examples/sentiment/corpus.h"
#include "framework/fail.h"
#include "framework/math/create.h"
#include "framework/math/linalg.h"
#include "framework/math/rearrange.h"
#include "framework/math/reduce.h"
#include "layers/attention/recorder.h"

namespace attune::examples {
namespace {

/// Weights [T, S] of the one sample of a record, mean over its heads.
Tensor mean_over_heads(const AttentionRecorder::Record& record) {
  return mean(record.weights.select(0, 0).to(DType::kFloat64), {0});
}

/// How much each position counts in the pooled vector of one member, [1, T]; `last` is its last record.
Tensor pooling_shares(const std::string& pooling, const AttentionRecorder::Record& last, int64_t tokens) {
  if (pooling == "attention") return mean_over_heads(last);
  const Device device = last.weights.device();
  if (pooling == "mean") return Tensor::full({1, tokens}, 1 / static_cast<double>(tokens), DType::kFloat64, device);
  return one_hot(Tensor::zeros({1}, DType::kInt64, device), tokens, DType::kFloat64);
}

/// What the pooled positions look at in the last block, mean over the members.
std::vector<double> attention_received(const AttentionRecorder& recorder, const Snapshot& snapshot, int64_t tokens) {
  const std::string& pooling = snapshot.config.model.pooling;
  const auto members = static_cast<size_t>(snapshot.model->members());
  const size_t per_member = recorder.records().size() / members;
  std::vector<Tensor> received;
  for (size_t end = per_member; end <= recorder.records().size(); end += per_member) {
    const AttentionRecorder::Record& last = recorder.records()[end - 1];
    const AttentionRecorder::Record& block = pooling == "attention" ? recorder.records()[end - 2] : last;
    received.push_back(matmul(pooling_shares(pooling, last, tokens), mean_over_heads(block)));
  }
  return mean(concat(received, 0), {0}).to_vector<double>();
}

/// All that was recorded: words look at words and, where attention pools them, the pooled vector at words.
AttentionExample recorded_weights(const AttentionRecorder& recorder, const std::string& text,
                                  const std::vector<std::string>& words) {
  AttentionExample example{.title = text, .sequences = {{"text", words}, {"the pooled vector", {"pooled"}}}};
  for (const AttentionRecorder::Record& record : recorder.records()) {
    example.add(record, 0, record.path.ends_with(".pool") ? 1 : 0, 0);
  }
  return example;
}

}  // namespace

const char* name_of(int64_t label) { return label == 1 ? "positive" : "negative"; }

Prediction classify(const Snapshot& snapshot, const std::string& text, const std::string& origin) {
  if (const size_t at = utf8::find_invalid(text); at != std::string::npos) {
    fail<FormatError>("{}: byte {} of {} is not valid UTF-8, expected UTF-8 text", origin, at + 1, utf8::quoted(text));
  }
  const WordTokenizer tokenizer = make_tokenizer(snapshot.config.text);
  EncodedClassification stats;
  const std::vector<int64_t> ids = encode_text(text, origin, tokenizer, snapshot.vocabulary,
                                               encode_options(snapshot.config.text, kTruncateOption), &stats);
  std::vector<std::string> words = tokenizer(text);
  words.resize(ids.size());
  const auto length = static_cast<int64_t>(ids.size());

  const NoGrad no_grad;
  AttentionRecorder recorder(*snapshot.model);
  const Variable logits =
      (*snapshot.model)(Tensor::from(ids, {1, length}), Tensor::from(std::vector<int64_t>{length}, {1}));

  Prediction prediction;
  prediction.truncated = stats.truncated > 0;
  const double positive = SentimentModel::probabilities(logits.value()).item();
  require<ValueError>(std::isfinite(positive),
                      "{}: the model answers {}, expected a probability: its weights are not numbers; use another "
                      "checkpoint",
                      origin, positive);
  prediction.label = positive > 0.5 ? 1 : 0;
  prediction.probability = std::max(positive, 1 - positive);
  const std::vector<double> received = attention_received(recorder, snapshot, length);
  for (size_t i = 0; i < ids.size(); ++i) {
    prediction.tokens.push_back({{words[i], received[i]}, ids[i] != Vocabulary::kUnknown});
  }
  prediction.weights = recorded_weights(recorder, text, words);
  prediction.weights.note = fmt::format("{} {:.1f}%", name_of(prediction.label), 100 * prediction.probability);
  return prediction;
}

}  // namespace attune::examples
