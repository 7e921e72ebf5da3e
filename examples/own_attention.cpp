// Attention of one's own: a score and a mask as formulas, compiled into the fused kernel, checked, and trained with.
#include <attune.h>

#include <cstdio>

using namespace attune;

constexpr int64_t kTokens = 16, kLength = 24, kBatch = 32, kDim = 32, kBack = 3;

// Scores are bounded, and a key loses with its distance from where one should look: kBack tokens ago.
const ScoreFunction kScore([](auto score, const ScoreAt& at) {
  const int off = at.query - at.key - kBack;
  return 5 * tanh(score / 5) - 3.0f * (off < 0 ? -off : off);
});
// No query sees itself or what comes behind it.
const AttentionMask kMask = AttentionMask::where([](const ScoreAt& at) { return at.key < at.query; });

struct Recall : Module {
  Embedding& embed = child<Embedding>("embed", kTokens, kDim);
  MultiHeadAttention& attention =
      child<MultiHeadAttention>("attention", kDim, 4, MultiHeadAttentionOptions{},
                                std::make_unique<ScaledDotProduct>(ScaledDotProductOptions{.score = kScore}));
  Linear& head = child<Linear>("head", kDim, kTokens);

  Variable operator()(const Tensor& tokens) const {  // int64 [B, T] -> [B, T, kTokens]
    return head(attention(embed(tokens), kMask).output);
  }
};

int main() {
  RandomStream random(1);
  const auto draw = [&] { return random.normal({2, 6, 2, 4}, 0, 1, DType::kFloat64); };  // [B, T, H, K]
  ScaledDotProduct core({.score = kScore});
  const GradcheckReport report = gradcheck(
      [&](std::span<const Variable> x) { return core(x[0], x[1], x[2], kMask).output; }, {draw(), draw(), draw()});
  std::printf("%s\n", report.to_string().c_str());

  Recall model;
  Adam adam(model.named_parameters(), {.learning_rate = 1e-2});
  for (int step = 1; step <= 300; ++step) {
    Tensor tokens = Tensor::empty({kBatch, kLength}, DType::kInt64);
    Tensor wanted = Tensor::full({kBatch, kLength}, -100, DType::kInt64);  // nothing, for the first kBack
    for (int64_t i = 0; i < tokens.numel(); ++i) {
      tokens.data<int64_t>()[i] = static_cast<int64_t>(random.below(kTokens));
      if (i % kLength >= kBack) wanted.data<int64_t>()[i] = tokens.data<int64_t>()[i - kBack];
    }
    const Variable loss = cross_entropy(model(tokens), wanted);
    loss.backward();
    adam.step({.clip_norm = 1});
    if (step % 100 == 0) std::printf("step %3d  loss %.4f\n", step, loss.item());
  }
  return report.ok ? 0 : 1;
}
