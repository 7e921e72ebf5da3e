#include "examples/sentiment/snapshot.h"

#include <utility>

#include "framework/fail.h"

namespace attune::examples {

Config config_of(const Checkpoint& checkpoint, const std::string& path) {
  require<FormatError>(checkpoint.contains("config"),
                       "{}: a checkpoint without configuration, expected one of attune-sentiment", path);
  Config config;
  settings_of(config).update_from_json(checkpoint.text("config"), path);
  check(config, path);
  return config;
}

Vocabulary vocabulary_of(const Checkpoint& checkpoint, const std::string& path) {
  require<FormatError>(checkpoint.contains("vocabulary"),
                       "{}: a checkpoint without vocabulary, expected one of attune-sentiment", path);
  try {
    return Vocabulary(checkpoint.list("vocabulary"));
  } catch (const FormatError& error) {
    fail<FormatError>("{}: {}", path, error.what());
  }
}

Snapshot load_snapshot(const std::string& path) {
  const Checkpoint checkpoint = Checkpoint::load(path);
  Snapshot snapshot{config_of(checkpoint, path), vocabulary_of(checkpoint, path), nullptr};
  snapshot.model = std::make_unique<SentimentModel>(snapshot.config.model, snapshot.vocabulary.size(),
                                                    snapshot.config.text.max_length);
  StateDict state = checkpoint.tensors("model");
  for (auto& [name, tensor] : checkpoint.tensors("average")) {
    for (auto& [own_name, own] : state) {
      if (own_name == name) own = tensor;
    }
  }
  try {
    snapshot.model->load_state_dict(state);
  } catch (const ShapeError& error) {
    // It lists everything; the first entries say enough here.
    constexpr size_t kShown = 300;
    std::string text = error.what();
    if (text.size() > kShown) text = text.substr(0, kShown) + " ...";
    fail<FormatError>("{}: its weights are not those of its configuration: {}", path, text);
  }
  snapshot.model->eval();
  return snapshot;
}

}  // namespace attune::examples
