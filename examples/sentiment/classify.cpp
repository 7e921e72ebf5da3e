#include "examples/sentiment/classify.h"

#include <algorithm>

#include "autograd/tape.h"
#include "datasets/utf8.h"
#include "examples/sentiment/corpus.h"
#include "framework/fail.h"
#include "layers/attention/recorder.h"

namespace attune::examples {
namespace {

/// Adds the attention that each of S tokens got, averaged over heads and queries, times `share`: weights [1, H, T, S].
void add_attention(const Tensor& weights, bool first_only, double share, std::vector<double>& received) {
  const int64_t heads = weights.dim(1);
  const int64_t queries = first_only ? 1 : weights.dim(2);
  const int64_t keys = weights.dim(3);
  const Tensor dense = weights.contiguous();
  const float* w = dense.data<float>();
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t t = 0; t < queries; ++t) {
      const float* row = w + (h * weights.dim(2) + t) * keys;
      for (int64_t s = 0; s < keys; ++s) {
        received[static_cast<size_t>(s)] += share * static_cast<double>(row[s]) / static_cast<double>(heads * queries);
      }
    }
  }
}

/// Of the last attention of every member.
std::vector<double> attention_received(const AttentionRecorder& recorder, const Snapshot& snapshot, size_t tokens) {
  std::vector<double> received(tokens);
  const auto per_member = recorder.records().size() / static_cast<size_t>(snapshot.model->members());
  for (size_t last = per_member; last <= recorder.records().size(); last += per_member) {
    add_attention(recorder.records()[last - 1].weights, snapshot.config.model.pooling == "first",
                  1 / static_cast<double>(snapshot.model->members()), received);
  }
  return received;
}

}  // namespace

Prediction classify(const Snapshot& snapshot, const std::string& text, const std::string& origin) {
  if (const size_t at = utf8::find_invalid(text); at != std::string::npos) {
    fail<FormatError>("{}: byte {} of {} is not valid UTF-8, expected UTF-8 text", origin, at + 1, utf8::quoted(text));
  }
  const WordTokenizer tokenizer = make_tokenizer(snapshot.config.text);
  const std::vector<int64_t> ids =
      encode_text(text, origin, tokenizer, snapshot.vocabulary, encode_options(snapshot.config.text));
  const std::vector<std::string> words = tokenizer(text);
  const auto length = static_cast<int64_t>(ids.size());

  const NoGrad no_grad;
  AttentionRecorder recorder(*snapshot.model);
  const Variable logits =
      (*snapshot.model)(Tensor::from(ids, {1, length}), Tensor::from(std::vector<int64_t>{length}, {1}));

  Prediction prediction;
  const double positive = SentimentModel::probability(logits.value(), 0);
  prediction.label = positive > 0.5 ? 1 : 0;
  prediction.probability = std::max(positive, 1 - positive);
  const std::vector<double> received = attention_received(recorder, snapshot, ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    prediction.tokens.push_back({words[i], ids[i] != Vocabulary::kUnknown, received[i]});
  }
  return prediction;
}

}  // namespace attune::examples
