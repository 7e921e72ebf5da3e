#pragma once

#include <memory>
#include <string>

#include "datasets/caption_loader.h"
#include "examples/captioning/caption_loss.h"
#include "examples/captioning/corpus.h"
#include "examples/captioning/model.h"
#include "examples/captioning/snapshot.h"
#include "examples/captioning/validation.h"
#include "examples/support/text_trainer.h"

namespace attune::examples::captioning {

/// Trains a CaptioningModel. Units are pictures; losses are the cross-entropy alone, see CaptionLoss.
class Trainer final : public TextTrainer {
 public:
  /// Restarts default_stream() from the configuration's seed. config.run.steps may be 0 until it is planned.
  Trainer(const Config& config, const std::shared_ptr<const TextCodec>& codec, const TrainingData& data,
          Device device = Device::cpu(), GraphMode graphs = GraphMode::kAuto);

  CaptioningModel& model() { return *model_; }
  const char* unit() const override { return "pictures"; }

  /// Shows the share of the step's time that was spent waiting for pictures.
  StepReport report_step() override;
  void rehearse_evaluation() override { validate_.rehearse(*model_); }

  std::string config_json() const override { return to_json(config_); }
  std::string description() const override;
  std::string summary() const override;
  nlohmann::ordered_json result() const override;

 private:
  Trainer(std::unique_ptr<CaptioningModel> model, const Config& config, std::shared_ptr<const TextCodec> codec,
          const TrainingData& data, Device device, GraphMode graphs);

  Learned learn_batch() override;
  int64_t batches_per_epoch() const override { return train_.batches_per_epoch(); }
  DataPosition position() const override { return train_.position(); }
  void seek(const DataPosition& position) override { train_.seek(position); }
  TextScores validate() override { return validate_(*model_, partial_evaluation()); }
  void put_codecs(Checkpoint& checkpoint) const override;
  void put_state(Checkpoint& checkpoint) const override;
  void restore_state(const Checkpoint& checkpoint) override;
  /// Of the time of all steps that were reported.
  double share_waited() const;

  Config config_;
  std::shared_ptr<const TextCodec> codec_;
  std::unique_ptr<CaptioningModel> model_;
  CaptionLoss loss_;
  CaptionLoader train_;
  Validator validate_;
  double seconds_ = 0;  // of the steps that were reported
  double seconds_waited_ = 0;
};

}  // namespace attune::examples::captioning
