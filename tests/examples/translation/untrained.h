#pragma once

#include <memory>
#include <string>

#include "datasets/bilingual.h"
#include "examples/translation/corpus.h"
#include "examples/translation/snapshot.h"
#include "framework/checkpoint.h"
#include "framework/random.h"

namespace attune::testing {

/// A small model that knows the words of some pairs of the embedded grammar and has not learned anything: what it
/// writes is a matter of chance, and always the same.
inline examples::translation::Snapshot untrained(const std::string& kind = "transformer") {
  using namespace examples::translation;
  Snapshot snapshot;
  snapshot.config = preset("grammar");
  snapshot.config.run.source = "en";
  snapshot.config.run.target = "es";
  ModelConfig& model = snapshot.config.model;
  model.kind = kind;
  model.dim = model.hidden = 16;
  model.heads = 2;
  model.ffn_dim = 32;
  snapshot.config.text.max_length = 24;
  const TextSides sides = learn_sides(snapshot.config, to_corpus(generate_bilingual({.count = 300}), "some"));
  snapshot.source = sides.source;
  snapshot.target = sides.target;
  manual_seed(3);
  snapshot.model = make_model(snapshot.config, sides);
  // Larger than at first, so that it prefers something, and another thing behind every word.
  for (auto& [name, weight] : snapshot.model->named_parameters()) {
    if (weight.rank() > 1) Tensor(weight.value()).copy_(default_stream().normal(weight.shape(), 0, 0.5));
  }
  snapshot.model->eval();
  return snapshot;
}

/// Writes it as a checkpoint of attune-translation.
inline void save(examples::translation::Snapshot& snapshot, const std::string& path) {
  Checkpoint checkpoint;
  checkpoint.put_text("config", to_json(snapshot.config));
  examples::translation::put_sides(checkpoint, {snapshot.source, snapshot.target});
  checkpoint.put_tensors("model", snapshot.model->state_dict());
  checkpoint.save(path);
}

}  // namespace attune::testing
