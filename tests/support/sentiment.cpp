#include "tests/support/sentiment.h"

#include "datasets/reviews.h"

namespace attune::testing {

std::string review_lines(int64_t count, uint64_t seed) {
  std::string lines;
  for (const ClassificationExample& example : generate_reviews({.count = count, .seed = seed})) {
    lines += std::to_string(example.label) + '\t' + example.text + '\n';
  }
  return lines;
}

std::vector<std::string> small_training(const std::string& data, const std::string& out,
                                        const std::vector<std::string>& more) {
  std::vector<std::string> words = {"train",
                                    "--out",
                                    out,
                                    "--data",
                                    data,
                                    "--dev",
                                    data,
                                    "--preset",
                                    "reviews",
                                    "--set",
                                    "training.epochs=3",
                                    "--set",
                                    "model.dim=16",
                                    "--set",
                                    "model.heads=2",
                                    "--set",
                                    "model.blocks=1",
                                    "--set",
                                    "model.ffn_dim=32",
                                    "--threads",
                                    "2"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

}  // namespace attune::testing
