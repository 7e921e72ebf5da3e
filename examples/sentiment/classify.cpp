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

/// Attention that each of S tokens got in the last look: weights [1, H, T, S].
std::vector<double> attention_received(const Tensor& weights, bool first_only) {
  const int64_t heads = weights.dim(1);
  const int64_t queries = first_only ? 1 : weights.dim(2);
  const int64_t keys = weights.dim(3);
  const Tensor dense = weights.contiguous();
  const float* w = dense.data<float>();
  std::vector<double> received(static_cast<size_t>(keys));
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t t = 0; t < queries; ++t) {
      const float* row = w + (h * weights.dim(2) + t) * keys;
      for (size_t s = 0; s < received.size(); ++s) received[s] += static_cast<double>(row[s]);
    }
  }
  for (double& share : received) share /= static_cast<double>(heads * queries);
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
  const float* z = logits.value().data<float>();
  prediction.label = z[1] > z[0] ? 1 : 0;
  prediction.probability = 1 / (1 + std::exp(-std::abs(static_cast<double>(z[1]) - static_cast<double>(z[0]))));
  const auto received = attention_received(recorder.records().back().weights, snapshot.config.model.pooling == "first");
  for (size_t i = 0; i < ids.size(); ++i) {
    prediction.tokens.push_back({words[i], ids[i] != Vocabulary::kUnknown, received[i]});
  }
  return prediction;
}

}  // namespace attune::examples
