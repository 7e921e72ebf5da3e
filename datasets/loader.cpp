#include "datasets/loader.h"

#include <algorithm>
#include <utility>

#include "datasets/batch_source.h"

namespace attune {
namespace {

struct LabelledSlot {
  Batch batch;
  ReusedTensor tokens;
  ReusedTensor lengths;
  ReusedTensor labels;
};

}  // namespace

struct Loader::State {
  State(LabelledSequences sequences, const LoaderOptions& options)
      : data(std::move(sequences)),
        pad(options.pad),
        source(BatchPlan(data.lengths(), options.batches), data.fingerprint(), options,
               [this](LabelledSlot& slot, std::span<const int64_t> examples, int64_t) { fill(slot, examples); }) {}

  void fill(LabelledSlot& slot, std::span<const int64_t> examples) const {
    Batch& batch = slot.batch;
    const BatchPlan& plan = source.plan();
    const auto rows = static_cast<int64_t>(examples.size());
    int64_t longest = 0;
    for (int64_t example : examples) longest = std::max(longest, data.length(example));
    batch.tokens = slot.tokens.view({rows, longest}, plan.most_tokens(), batch.tokens);
    batch.lengths = slot.lengths.view({rows}, plan.most_examples(), batch.lengths);
    batch.labels = slot.labels.view({rows}, plan.most_examples(), batch.labels);
    batch.examples.reserve(static_cast<size_t>(plan.most_examples()));
    batch.examples.assign(examples.begin(), examples.end());
    batch.token_count = fill_padded(
        examples, longest, pad, [this](int64_t example) { return data.tokens(example); }, batch.tokens.data<int64_t>(),
        batch.lengths.data<int64_t>());
    std::transform(examples.begin(), examples.end(), batch.labels.data<int64_t>(),
                   [this](int64_t example) { return data.label(example); });
  }

  const LabelledSequences data;
  const int64_t pad;
  BatchSource<LabelledSlot> source;
};

Loader::Loader(LabelledSequences data, const LoaderOptions& options)
    : state_(std::make_unique<State>(std::move(data), options)) {}

Loader::~Loader() = default;
Loader::Loader(Loader&&) noexcept = default;
Loader& Loader::operator=(Loader&&) noexcept = default;

int64_t Loader::batches_per_epoch() const { return state_->source.plan().batches(); }

const LabelledSequences& Loader::data() const { return state_->data; }

const Batch* Loader::next() {
  const LabelledSlot* slot = state_->source.next();
  return slot == nullptr ? nullptr : &slot->batch;
}

DataPosition Loader::position() const { return state_->source.position(); }

void Loader::seek(const DataPosition& position) { state_->source.seek(position); }

}  // namespace attune
