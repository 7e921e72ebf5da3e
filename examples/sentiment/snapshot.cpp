#include "examples/sentiment/snapshot.h"

#include <utility>

#include "examples/support/saved_model.h"
#include "examples/support/saved_parts.h"
#include "framework/fail.h"

namespace attune::examples {

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
  Snapshot snapshot{saved_config<Config>(checkpoint, path), vocabulary_of(checkpoint, path), nullptr};
  build_saved_model(checkpoint, path, [&] {
    snapshot.model = std::make_unique<SentimentModel>(snapshot.config.model, snapshot.vocabulary.size(),
                                                      snapshot.config.text.max_length);
  });
  StateDict state = checkpoint.tensors("model");
  for (auto& [name, tensor] : checkpoint.tensors("average")) {
    for (auto& [own_name, own] : state) {
      if (own_name == name) own = tensor;
    }
  }
  load_weights(path, *snapshot.model, [&] { snapshot.model->load_state_dict(state); });
  snapshot.model->eval();
  return snapshot;
}

}  // namespace attune::examples
