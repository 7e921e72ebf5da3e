// A small Transformer learns to answer: does the first token of a sequence occur in it again?
#include <attune.h>

#include <algorithm>
#include <cstdio>

using namespace attune;

constexpr int64_t kTokens = 20, kLength = 12, kBatch = 64, kDim = 32;

struct Classifier : Module {
  Embedding& embed = child<Embedding>("embed", kTokens, kDim);
  LearnedPositions& positions = child<LearnedPositions>("positions", kDim, kLength);
  TransformerEncoder& encoder = child<TransformerEncoder>(
      "encoder",
      TransformerEncoderOptions{.blocks = 1, .block = {.dim = kDim, .heads = 4, .ffn_dim = 64, .dropout = 0}});
  Linear& head = child<Linear>("head", kDim, 2);

  Variable operator()(const Tensor& tokens) const {        // int64 [B, T]
    const Variable x = encoder(positions(embed(tokens)));  // [B, T, D]
    return head(select(x, 1, 0));                          // [B, 2], read off at the first token
  }
};

/// tokens [B, T], drawn at random, and answers [B].
std::pair<Tensor, Tensor> draw_batch(RandomStream& random) {
  std::vector<int64_t> tokens(kBatch * kLength), answers;
  for (int64_t& token : tokens) token = static_cast<int64_t>(random.below(kTokens));
  for (auto row = tokens.begin(); row != tokens.end(); row += kLength) {
    answers.push_back(std::count(row, row + kLength, *row) > 1);
  }
  return {Tensor::from(tokens, {kBatch, kLength}), Tensor::from(answers, {kBatch})};
}

int main() {
  RandomStream random(1);
  Classifier model;
  Adam adam(model.named_parameters(), {.learning_rate = 3e-3});
  ConfusionMatrix score;
  for (int step = 1; step <= 1000; ++step) {
    const auto [tokens, answers] = draw_batch(random);
    const Variable logits = model(tokens);
    const Variable loss = cross_entropy(logits, answers);
    loss.backward();
    adam.step({.clip_norm = 1});

    score.add(answers, argmax(logits.value(), 1));
    if (step % 200 == 0) {
      std::printf("step %4d  loss %.3f  accuracy %.3f\n", step, loss.item(), score.accuracy());
      score.clear();
    }
  }
}
