#include "examples/captioning/snapshot.h"

#include <string>
#include <unordered_set>
#include <utility>

#include "examples/support/saved_model.h"
#include "examples/support/saved_parts.h"
#include "examples/support/text_trainer.h"
#include "framework/dtype.h"

namespace attune::examples::captioning {

std::unique_ptr<CaptioningModel> make_model(const Config& config, const TextCodec& codec) {
  return std::make_unique<CaptioningModel>(config.model, ModelExtents{.image_size = config.run.image_size,
                                                                      .vocabulary = codec.size(),
                                                                      .max_length = config.text.max_length});
}

ParameterList averaged_parts(const CaptioningModel& model) {
  ParameterList::Entries parts = model.named_parameters();
  std::unordered_set<std::string> names;
  for (const auto& [name, parameter] : parts) names.insert(name);
  for (const auto& [name, tensor] : model.state_dict()) {
    // A leaf of its own on the memory of the buffer, which keeps its place.
    if (!names.contains(name) && is_floating(tensor.dtype())) parts.emplace_back(name, Variable(tensor, true));
  }
  return parts;
}

Snapshot load_snapshot(const std::string& path) {
  const Checkpoint checkpoint = Checkpoint::load(path);
  Snapshot snapshot{
      .config = saved_config<Config>(checkpoint, path), .codec = codec_of(checkpoint, kCodecPath, path), .model = {}};
  build_saved_model(checkpoint, path, [&] { snapshot.model = make_model(snapshot.config, *snapshot.codec); });
  load_weights(path, *snapshot.model, [&] {
    snapshot.model->load_state_dict(checkpoint.tensors("model"));
    use_saved_average(averaged_parts(*snapshot.model), snapshot.config.training, checkpoint);
  });
  snapshot.model->eval();
  return snapshot;
}

}  // namespace attune::examples::captioning
