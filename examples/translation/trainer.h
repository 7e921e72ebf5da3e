#pragma once

#include <memory>
#include <string>

#include "datasets/pair_loader.h"
#include "examples/support/text_trainer.h"
#include "examples/translation/corpus.h"
#include "examples/translation/model.h"
#include "examples/translation/snapshot.h"
#include "examples/translation/validation.h"
#include "layers/loss.h"

namespace attune::examples::translation {

/// Trains a TranslationModel. Units are tokens of both sides.
class Trainer final : public TextTrainer {
 public:
  /// Restarts default_stream() from the configuration's seed. config.run.steps may be 0 until it is planned.
  Trainer(const Config& config, const TextSides& sides, const TrainingData& data, Device device = Device::cpu(),
          GraphMode graphs = GraphMode::kAuto);

  TranslationModel& model() { return *model_; }

  void rehearse_evaluation() override { validate_.rehearse(*model_); }
  std::string config_json() const override { return to_json(config_); }
  std::string description() const override;

 private:
  Trainer(std::unique_ptr<TranslationModel> model, const Config& config, TextSides sides, const TrainingData& data,
          GraphMode graphs);

  Learned learn_batch() override;
  int64_t batches_per_epoch() const override { return train_.batches_per_epoch(); }
  DataPosition position() const override { return train_.position(); }
  void seek(const DataPosition& position) override { train_.seek(position); }
  TextScores validate() override { return validate_(*model_, partial_evaluation()); }
  void put_codecs(Checkpoint& checkpoint) const override { put_sides(checkpoint, sides_); }

  Config config_;
  TextSides sides_;
  std::unique_ptr<TranslationModel> model_;
  CrossEntropyLoss loss_;
  PairLoader train_;
  Validator validate_;
};

}  // namespace attune::examples::translation
