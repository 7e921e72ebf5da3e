#include "tests/support/translation.h"

#include "datasets/bilingual.h"

namespace attune::testing {

std::string write_pairs(const TemporaryDirectory& directory, const std::string& folder, int64_t train, int64_t val) {
  const auto write = [&](const std::string& split, const std::vector<BilingualPair>& pairs) {
    std::string source, target;
    for (const BilingualPair& pair : pairs) {
      source += pair.source + '\n';
      target += pair.target + '\n';
    }
    directory.write(folder + "/" + split + ".en", source);
    directory.write(folder + "/" + split + ".es", target);
  };
  write("train", generate_bilingual({.count = train}));
  write("val", generate_bilingual({.count = val, .split = BilingualSplit::kVal}));
  return directory / folder;
}

std::vector<std::string> small_translation_training(const std::string& data, const std::string& out,
                                                    const std::vector<std::string>& more) {
  std::vector<std::string> words = {"train", "--out", out, "--data", data, "--source", "en", "--target", "es"};
  words.insert(words.end(), {"--preset", "grammar", "--threads", "2"});
  for (const char* setting :
       {"training.epochs=3", "training.max_tokens=300", "text.max_length=30", "model.dim=16", "model.heads=2",
        "model.encoder_blocks=1", "model.decoder_blocks=1", "model.ffn_dim=32"}) {
    words.insert(words.end(), {"--set", setting});
  }
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

}  // namespace attune::testing
