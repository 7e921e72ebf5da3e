#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "autograd/optim/optimizer.h"

namespace attune {

/// kAuto: shapes of batches that come up again and again are worth recording, others are not.
enum class GraphMode : uint8_t { kOff, kAuto, kOn };

/// Training steps on a CUDA device as CUDA graphs: what a step gives to the device is recorded for batches of a shape,
/// and from then on given to it in one call.
///
///     StepGraphs graphs(GraphMode::kAuto, model.named_parameters());
///     for (...) {
///       const Tensor inputs[] = {batch.tokens, batch.labels};
///       const auto& found = graphs.run(inputs, [&](std::vector<Tensor>& results) {
///         const Variable loss = cross_entropy(model(batch.tokens), batch.labels);
///         loss.backward();
///         results.push_back(loss.value());
///       });
///       optimizer.step();
///     }
///
/// Where a step cannot be recorded, and on the CPU, all steps are computed as they come.
class StepGraphs {
 public:
  /// A forward and a backward pass, and what of them is wanted.
  using Step = std::function<void(std::vector<Tensor>& found)>;

  /// Told why, once a step cannot be recorded; from then on none is.
  using Refused = std::function<void(const std::string& reason)>;

  /// parameters: all that the step trains. Of some on several devices nothing is recorded.
  StepGraphs(GraphMode mode, const ParameterList& parameters, Refused refused = {});
  ~StepGraphs();
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  /// What step() found; valid until the next call. Between calls with equal shapes, nothing that it computes with may
  /// change but: values of `inputs`, contiguous tensors on the host that it takes to the device (Tensor::to); values of
  /// tensors that stay where they are on the device, such as parameters; and the offset of default_stream(). It uses
  /// the host's values of inputs for checks alone, which are not made where the step is not run.
  const std::vector<Tensor>& run(std::span<const Tensor> inputs, const Step& step);

  /// Steps that are recorded.
  int64_t size() const { return size_; }

 private:
  struct Recorded;

  std::string key_of(std::span<const Tensor> inputs) const;
  std::vector<const std::byte*> addresses() const;
  std::vector<Leaf::GradState> grad_states() const;
  void set_grad_states(const std::vector<Leaf::GradState>& states);
  bool record(Recorded& recorded, std::span<const Tensor> inputs, const Step& step);
  void replay(const Recorded& recorded, std::span<const Tensor> inputs);

  GraphMode mode_;
  std::vector<LeafRef> leaves_;
  Device device_;
  std::map<std::string, std::unique_ptr<Recorded>> known_;
  int64_t size_ = 0;
  std::vector<Tensor> found_;
  Refused refused_;
};

}  // namespace attune
