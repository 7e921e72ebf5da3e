#include "examples/translation/snapshot.h"

#include <utility>

#include "examples/support/saved_model.h"
#include "examples/support/saved_parts.h"
#include "examples/support/text_trainer.h"

namespace attune::examples::translation {
namespace {

TextPreparation preparation_of(const TextConfig& config, const std::string& language) {
  return TextPreparation({.normalize = config.normalize,
                          .tokenize = config.tokenize,
                          .lower_case = config.lower_case,
                          .moses = {.language = language}});
}

}  // namespace

TextSides preparations_of(const Config& config) {
  return {.source = {.preparation = preparation_of(config.text, config.run.source), .codec = nullptr},
          .target = {.preparation = preparation_of(config.text, config.run.target), .codec = nullptr}};
}

TextSides sides_of(const Checkpoint& checkpoint, const Config& config, const std::string& path) {
  TextSides sides = preparations_of(config);
  sides.source.codec = codec_of(checkpoint, "codec/source", path);
  sides.target.codec = config.text.joint ? sides.source.codec : codec_of(checkpoint, "codec/target", path);
  return sides;
}

void put_sides(Checkpoint& checkpoint, const TextSides& sides) {
  put_codec(checkpoint, "codec/source", *sides.source.codec);
  if (sides.target.codec != sides.source.codec) put_codec(checkpoint, "codec/target", *sides.target.codec);
}

std::unique_ptr<TranslationModel> make_model(const Config& config, const TextSides& sides) {
  return std::make_unique<TranslationModel>(config.model, sides.source.codec->size(), sides.target.codec->size(),
                                            config.text.max_length);
}

Snapshot load_snapshot(const std::string& path) {
  const Checkpoint checkpoint = Checkpoint::load(path);
  const Config config = saved_config<Config>(checkpoint, path);
  const TextSides sides = sides_of(checkpoint, config, path);
  Snapshot snapshot{.config = config, .source = sides.source, .target = sides.target, .model = {}};
  build_saved_model(checkpoint, path, [&] { snapshot.model = make_model(config, sides); });
  load_weights(path, *snapshot.model, [&] {
    snapshot.model->load_state_dict(checkpoint.tensors("model"));
    use_saved_average(snapshot.model->named_parameters(), snapshot.config.training, checkpoint);
  });
  snapshot.model->eval();
  return snapshot;
}

}  // namespace attune::examples::translation
