#include "examples/sentiment/classify.h"

#include <algorithm>
#include <cmath>

#include "autograd/tape.h"
#include "datasets/utf8.h"
#include "examples/sentiment/corpus.h"
#include "framework/fail.h"
#include "layers/attention/recorder.h"

namespace attune::examples {
namespace {

/// Mean over the heads of what position `t` gives to each key: weights [1, H, T, S], added to `row` times `share`.
void add_row(const Tensor& weights, int64_t t, double share, std::vector<double>& row) {
  const int64_t heads = weights.dim(1);
  const auto* w = weights.data<float>();
  for (int64_t h = 0; h < heads; ++h) {
    const float* from = w + (h * weights.dim(2) + t) * weights.dim(3);
    for (size_t s = 0; s < row.size(); ++s) row[s] += share * static_cast<double>(from[s]) / static_cast<double>(heads);
  }
}

/// How much each position counts in the pooled vector of one member, whose last record is that of attention pooling.
std::vector<double> pooling_shares(const std::string& pooling, const Tensor& last, size_t tokens) {
  std::vector<double> shares(tokens, pooling == "mean" ? 1 / static_cast<double>(tokens) : 0.0);
  if (pooling == "attention") add_row(last, 0, 1, shares);
  if (pooling == "first") shares[0] = 1;
  return shares;
}

/// What the pooled positions look at in the last block, mean over the members.
std::vector<double> attention_received(const AttentionRecorder& recorder, const Snapshot& snapshot, size_t tokens) {
  const std::string& pooling = snapshot.config.model.pooling;
  const auto members = static_cast<size_t>(snapshot.model->members());
  const size_t per_member = recorder.records().size() / members;
  std::vector<double> received(tokens);
  for (size_t end = per_member; end <= recorder.records().size(); end += per_member) {
    const Tensor last = recorder.records()[end - 1].weights.to(Device::cpu()).contiguous();
    const Tensor block =
        pooling == "attention" ? recorder.records()[end - 2].weights.to(Device::cpu()).contiguous() : last;
    const std::vector<double> shares = pooling_shares(pooling, last, tokens);
    for (size_t t = 0; t < tokens; ++t) {
      add_row(block, static_cast<int64_t>(t), shares[t] / static_cast<double>(members), received);
    }
  }
  return received;
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
  const double positive = SentimentModel::probability(logits.value().to(Device::cpu()), 0);
  require<ValueError>(std::isfinite(positive),
                      "{}: the model answers {}, expected a probability: its weights are not numbers; use another "
                      "checkpoint",
                      origin, positive);
  prediction.label = positive > 0.5 ? 1 : 0;
  prediction.probability = std::max(positive, 1 - positive);
  const std::vector<double> received = attention_received(recorder, snapshot, ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    prediction.tokens.push_back({{words[i], received[i]}, ids[i] != Vocabulary::kUnknown});
  }
  prediction.weights = recorded_weights(recorder, text, words);
  prediction.weights.note = fmt::format("{} {:.1f}%", name_of(prediction.label), 100 * prediction.probability);
  return prediction;
}

}  // namespace attune::examples
