// Attention of one's own: a score and a mask as formulas, compiled into the fused kernel, checked, and trained with.
#include <attune.h>

#include <cstdio>
#include <vector>

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
    std::vector<int64_t> drawn(kBatch * kLength);
    for (int64_t& token : drawn) token = static_cast<int64_t>(random.below(kTokens));
    const Tensor tokens = Tensor::from(drawn, {kBatch, kLength});
    // What stood kBack before; nothing for the first kBack.
    const Tensor wanted = pad(tokens.slice(1, 0, -kBack), {{0, 0}, {kBack, 0}}, -100);
    const Variable loss = cross_entropy(model(tokens), wanted);
    loss.backward();
    adam.step({.clip_norm = 1});
    if (step % 100 == 0) std::printf("step %3d  loss %.4f\n", step, loss.item());
  }
  return report.ok ? 0 : 1;
}
