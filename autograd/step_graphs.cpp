#include "autograd/step_graphs.h"

#include <utility>

#include "autograd/tape.h"
#include "framework/error.h"
#include "framework/random.h"
#include "framework/step_capture.h"

namespace attune {
namespace {

constexpr int64_t kMostRecorded = 64;
constexpr size_t kMostKnown = 4096;

void append(std::string& key, int64_t number) { key.append(reinterpret_cast<const char*>(&number), sizeof(number)); }

}  // namespace

/// What is known of batches of a shape.
struct StepGraphs::Recorded {
  int64_t uses = 0;
  StepGraph* graph = nullptr;  // the rest is that of a recorded step
  std::vector<Tensor> inputs;  // on the device
  std::vector<Tensor> outputs;
  std::vector<const std::byte*> addresses;
  std::vector<Leaf::GradState> grad_states;  // after the step
  uint64_t draws_begin = 0;
  uint64_t draws = 0;

  Recorded() = default;
  ~Recorded() {
    if (graph != nullptr) cuda_plugin().drop(graph);
  }
  Recorded(const Recorded&) = delete;
  Recorded& operator=(const Recorded&) = delete;
};

StepGraphs::StepGraphs(GraphMode mode, const ParameterList& parameters, Refused refused)
    : mode_(mode), refused_(std::move(refused)) {
  for (const auto& [name, parameter] : parameters.entries()) leaves_.push_back(parameter.leaf());
  device_ = leaves_.front()->value.device();
  for (const LeafRef& leaf : leaves_) {
    if (leaf->value.device() != device_) mode_ = GraphMode::kOff;
  }
}

StepGraphs::~StepGraphs() = default;

const std::vector<Tensor>& StepGraphs::run(std::span<const Tensor> inputs, const Step& step) {
  found_.clear();
  if (mode_ == GraphMode::kOff || device_.is_cpu()) {
    step(found_);
    return found_;
  }
  // Recorded steps read what parameters are rounded to where it lies.
  for (const LeafRef& leaf : leaves_) {
    if (leaf->rounded.value.defined()) leaf->as_bfloat16();
  }
  // Computed before it is recorded: kernels are chosen, tables filled.
  const int64_t plain = mode_ == GraphMode::kOn ? 1 : 2;
  if (known_.size() >= kMostKnown) {
    std::erase_if(known_, [](const auto& entry) { return entry.second->graph == nullptr; });
  }
  std::unique_ptr<Recorded>& known = known_[key_of(inputs)];
  if (known != nullptr && known->graph != nullptr && known->addresses != addresses()) {
    known = nullptr;  // of parameters that have moved
    --size_;
  }
  if (known == nullptr) known = std::make_unique<Recorded>();
  if (known->graph == nullptr) {
    if (++known->uses <= plain || size_ >= kMostRecorded || !record(*known, inputs, step)) {
      step(found_);
      return found_;
    }
    ++size_;
  }
  replay(*known, inputs);
  found_ = known->outputs;
  return found_;
}

/// All that a step is the same for.
std::string StepGraphs::key_of(std::span<const Tensor> inputs) const {
  std::string key;
  append(key, static_cast<int64_t>(default_stream().state().seed));
  for (const Tensor& input : inputs) {
    append(key, static_cast<int64_t>(input.dtype()));
    append(key, input.rank());
    for (const int64_t extent : input.shape()) append(key, extent);
  }
  // Whether gradients are written, added to zeros, or added to others.
  for (const LeafRef& leaf : leaves_) {
    key += static_cast<char>(2 * static_cast<int>(leaf->grad_state) + (leaf->requires_grad ? 1 : 0));
  }
  return key;
}

std::vector<const std::byte*> StepGraphs::addresses() const {
  std::vector<const std::byte*> all;
  for (const LeafRef& leaf : leaves_) {
    for (const Tensor* x : {&leaf->value, &leaf->grad, &leaf->rounded.value}) all.push_back(x->raw());
  }
  return all;
}

std::vector<Leaf::GradState> StepGraphs::grad_states() const {
  std::vector<Leaf::GradState> all;
  for (const LeafRef& leaf : leaves_) all.push_back(leaf->grad_state);
  return all;
}

void StepGraphs::set_grad_states(const std::vector<Leaf::GradState>& states) {
  for (size_t i = 0; i < leaves_.size(); ++i) leaves_[i]->grad_state = states[i];
}

/// False, and nothing has happened, where the step cannot be recorded.
bool StepGraphs::record(Recorded& recorded, std::span<const Tensor> inputs, const Step& step) {
  const RandomState begin = default_stream().state();
  const std::vector<Leaf::GradState> before = grad_states();
  // Nothing has been computed, so that everything is as it was.
  const auto go_back = [&] {
    default_stream().set_state(begin);
    set_grad_states(before);
  };
  for (const Tensor& input : inputs) recorded.inputs.push_back(input.to(device_));
  try {
    StepCapture capture(device_, inputs, recorded.inputs);
    step(recorded.outputs);
    recorded.graph = capture.end();
  } catch (const Error& error) {
    Tape::current().clear();
    go_back();
    recorded.inputs.clear();
    recorded.outputs.clear();
    mode_ = GraphMode::kOff;
    if (refused_) refused_(error.what());
    return false;
  }
  recorded.addresses = addresses();
  recorded.grad_states = grad_states();
  recorded.draws_begin = begin.offset;
  recorded.draws = default_stream().state().offset - begin.offset;
  go_back();
  return true;
}

void StepGraphs::replay(const Recorded& recorded, std::span<const Tensor> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    Tensor copy = recorded.inputs[i];
    const size_t bytes = static_cast<size_t>(copy.numel()) * dtype_size(copy.dtype());
    if (bytes > 0) cuda_plugin().to_device(copy.raw(), inputs[i].raw(), bytes, device_.index);
  }
  const RandomState state = default_stream().state();
  cuda_plugin().replay(recorded.graph, state.offset - recorded.draws_begin);
  default_stream().set_state({state.seed, state.offset + recorded.draws});
  set_grad_states(recorded.grad_states);
}

}  // namespace attune
